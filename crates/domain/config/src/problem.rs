//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

/// One thing that is wrong, or worth knowing, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, or the environment variable.
    pub file: String,
    /// Line, from 1; 0 for an environment variable or a file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 with line 0.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
        }
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// Everything that is wrong with a configuration, found in one run; never empty of errors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    /// What must be changed before anything starts.
    pub errors: Vec<Problem>,
    /// What is worth knowing.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "{warning} (warning)")?;
        }
        let count = self.errors.len();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}

/// A file (or an environment variable) that keys come from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// As it is shown.
    pub name: String,
    /// What relative paths in it start from.
    pub folder: PathBuf,
    /// Whether it is an environment variable: then its text stands for every type.
    pub environment: bool,
}

/// Where a key or value stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub origin: Rc<Origin>,
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// A file or variable as a whole.
    pub(crate) fn whole(origin: &Rc<Origin>) -> Self {
        Self { origin: Rc::clone(origin), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.origin.name),
            line => write!(f, "{}:{line}", self.origin.name),
        }
    }
}

/// Collects problems while reading, so that one run finds them all.
#[derive(Debug, Default)]
pub(crate) struct Sink(RefCell<Problems>);

impl Sink {
    pub(crate) fn error(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.0.borrow_mut().errors.push(problem(at, message.into(), hint.into()));
    }

    pub(crate) fn warn(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.0.borrow_mut().warnings.push(problem(at, message.into(), hint.into()));
    }

    /// Everything recorded, in the order of the files' lines.
    pub(crate) fn into_problems(self) -> Problems {
        let Problems { mut errors, mut warnings } = self.0.into_inner();
        for list in [&mut errors, &mut warnings] {
            list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            list.dedup();
        }
        Problems { errors, warnings }
    }
}

pub(crate) fn problem(at: &Place, message: String, hint: String) -> Problem {
    Problem { file: at.origin.name.clone(), line: at.line, column: at.column, message, hint }
}

/// The suggestion for a misspelt name: the nearest one, or else all of them if they are few.
pub fn did_you_mean<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let lower = wrong.to_lowercase();
    let nearest = names
        .iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, name)) => format!("did you mean {name:?}?"),
        None if names.is_empty() => String::new(),
        None if names.len() <= 16 => format!("one of: {}", names.join(", ")),
        None => String::new(),
    }
}
