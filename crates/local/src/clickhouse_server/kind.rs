//! Which of the two wrote a folder of tables: the engine that is a library, or a server. The two lay their folder out
//! differently, and neither is to find an empty database where the other has the rows.

use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};

/// The file that says it, in the folder of the tables.
const MARK: &str = "kind";
/// Where the library's engine keeps its databases: folders from before the mark have this and no mark.
const OF_LIBRARY: &str = "engine";

/// What writes the tables of a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The engine that is a library, in our own process.
    Library,
    /// A server of the user's.
    Server,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Server => "server",
        }
    }

    /// What wrote the folder; `None` if it is fresh.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Option<Self>> {
        let mark = folder.join(MARK);
        match std::fs::read_to_string(&mark) {
            Ok(text) => match [Self::Library, Self::Server].into_iter().find(|kind| kind.word() == text.trim()) {
                Some(kind) => Ok(Some(kind)),
                None => bail!(
                    "{} says {:?}, which this version of Hookline does not know: give another folder with --data DIR, or \
                     run the version that wrote it",
                    mark.display(),
                    text.trim()
                ),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(folder.join(OF_LIBRARY).is_dir().then_some(Self::Library))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", mark.display())),
        }
    }

    /// Notes that the folder is of this kind from now on. Whole or not at all: a full disk leaves no empty mark.
    pub(crate) fn mark(self, folder: &Path) -> anyhow::Result<()> {
        let (mark, unfinished) = (folder.join(MARK), folder.join("kind.unfinished"));
        std::fs::write(&unfinished, format!("{}\n", self.word()))
            .and_then(|()| std::fs::rename(&unfinished, &mark))
            .with_context(|| format!("cannot write {}", mark.display()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Library => "Hookline's own ClickHouse engine",
            Self::Server => "a ClickHouse server",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_the_kind_that_it_was_marked_with() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Kind::of(folder.path()).unwrap(), None);
        for kind in [Kind::Library, Kind::Server] {
            kind.mark(folder.path()).unwrap();
            assert_eq!(Kind::of(folder.path()).unwrap(), Some(kind));
        }
        std::fs::write(folder.path().join(MARK), "cluster\n").unwrap();
        let error = Kind::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("says \"cluster\"") && error.contains("--data DIR"), "{error}");
    }

    #[test]
    fn a_folder_from_before_the_mark_is_the_librarys() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(OF_LIBRARY)).unwrap();
        assert_eq!(Kind::of(folder.path()).unwrap(), Some(Kind::Library));
    }
}
