//! Secrets: where they are, never what they are.

use std::fs;

use crate::document::{Node, Value};
use crate::form::{Secret, SecretOrText};
use crate::option::Opt;
use crate::problem::Place;
use crate::section::Section;

pub use notification::destination::SecretText;

const FORMS: &str = "write { env = \"VARIABLE\" } or { file = \"PATH\" }: secrets do not belong in this file";

/// What a reference to a secret came to.
pub(crate) enum Resolved {
    /// Here it is.
    Value(SecretText),
    /// It was not looked up, as asked.
    NotLookedUp,
    /// A problem, which is recorded.
    Failed,
}

impl Resolved {
    pub(crate) fn value(self) -> Option<SecretText> {
        match self {
            Self::Value(text) => Some(text),
            Self::NotLookedUp | Self::Failed => None,
        }
    }
}

impl<'a> Section<'a> {
    /// The secret under a key, given as a reference. An empty override says that there is none, as if the key were left
    /// out: a variable cannot be taken back everywhere, and no secret is empty.
    pub(crate) fn secret(&self, opt: &Opt<Secret>) -> Option<Resolved> {
        self.secret_at(opt.key)
    }

    /// As [`Section::secret`], by the key.
    pub(crate) fn secret_at(&self, key: &'static str) -> Option<Resolved> {
        let none =
            |node: &Node| node.at.origin.environment && matches!(&node.value, Value::Text(text) if text.is_empty());
        self.node_of(key).filter(|node| !none(node)).map(|node| self.secret_of(node, key))
    }

    /// A value that is a secret in some forms and plain text in others, such as an address.
    pub(crate) fn secret_or_text(&self, opt: &Opt<SecretOrText>) -> Option<Resolved> {
        self.secret_or_text_at(opt.key)
    }

    /// As [`Section::secret_or_text`], by the key.
    pub(crate) fn secret_or_text_at(&self, key: &'static str) -> Option<Resolved> {
        let node = self.node_of(key)?;
        match &node.value {
            Value::Text(text) => Some(Resolved::Value(SecretText::new(text.clone()))),
            _ => Some(self.secret_of(node, key)),
        }
    }

    pub(crate) fn secret_of(&self, node: &'a Node, key: &str) -> Resolved {
        match &node.value {
            Value::Table(_) => {
                let Some(reference) = self.section_of(node, key) else { return Resolved::Failed };
                let resolved = reference.referenced();
                reference.finish();
                resolved
            }
            Value::Text(text) if node.at.origin.environment => Resolved::Value(SecretText::new(text.clone())),
            _ => {
                self.error(&node.at, format!("{key} in {} is {}", self.title, node.value.kind()), FORMS);
                Resolved::Failed
            }
        }
    }

    /// The secret that this table refers to by `env` or `file`.
    pub(crate) fn referenced(&self) -> Resolved {
        let (variable, file) = (self.placed_at("env"), self.placed_at("file"));
        match (variable, file) {
            (Some((name, at)), None) => self.in_variable(&name, &at),
            (None, Some((name, at))) => self.in_file(&name, &at),
            (None, None) => {
                if self.node_of("env").is_none() && self.node_of("file").is_none() {
                    self.error(self.at, format!("{} does not say where its secret is", self.title), FORMS);
                }
                Resolved::Failed
            }
            (Some(_), Some((_, at))) => {
                self.error(&at, format!("{} names both a variable and a file", self.title), "keep one of them");
                Resolved::Failed
            }
        }
    }

    fn in_variable(&self, name: &str, at: &Place) -> Resolved {
        if !self.reading.environment.resolves_secrets(self.reading.of_platform) {
            return Resolved::NotLookedUp;
        }
        match self.reading.environment.variable(name) {
            // As from a file: a line break at its end comes from the tool that made it.
            Some(value) if !value.trim().is_empty() => {
                Resolved::Value(SecretText::new(value.trim_end_matches(['\n', '\r'])))
            }
            found => {
                let state = if found.is_some() { "empty" } else { "not set" };
                self.error(
                    at,
                    format!("the environment variable {name} is {state}"),
                    "set it, or check with --without-secrets",
                );
                Resolved::Failed
            }
        }
    }

    fn in_file(&self, name: &str, at: &Place) -> Resolved {
        if !self.reading.environment.resolves_secrets(self.reading.of_platform) {
            return Resolved::NotLookedUp;
        }
        let path = at.origin.folder.join(name);
        let why = match fs::read_to_string(&path) {
            // Editors and `echo` end files with a line break that is not part of the secret, and some begin them with a mark.
            Ok(text) => match text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']) {
                "" => "is empty".to_owned(),
                secret => return Resolved::Value(SecretText::new(secret)),
            },
            Err(error) => format!("cannot be read: {error}"),
        };
        self.error(at, format!("the secret file {} {why}", path.display()), "fix it, or check with --without-secrets");
        Resolved::Failed
    }
}
