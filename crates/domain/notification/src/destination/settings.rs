//! The section of a destination: each key is declared once, and read, checked and documented by that.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A text that nothing prints: passwords, tokens, addresses with a token in them.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// How the value of a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A text.
    Text,
    /// A reference to a secret.
    Secret,
    /// A reference to a secret, or a text: an address that may carry a token.
    SecretOrText,
    /// A list of texts.
    Texts,
    /// A path; relative ones start at the folder of the file that they stand in.
    Path,
    /// One of several names.
    Choice(&'static [&'static str]),
}

/// A key of a destination's section. A key with a dot stands in a table: `repo.name` is `repo = { name = … }`.
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// How its value is written.
    pub form: Form,
    /// What it means.
    pub about: &'static str,
    /// What to write, where it must not be left out.
    pub required: Option<&'static str>,
    /// What holds where it is left out, in Markdown; empty if it must not be.
    pub left_out: &'static str,
    /// A value as it may be. It stands in for a secret that was not looked up, when the rest is checked.
    pub example: &'static str,
}

impl fmt::Debug for Setting {
    /// By its key: examples look like secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setting({})", self.key)
    }
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, a secret or one of several names.
    Text(SecretText),
    /// A list of texts.
    Texts(Vec<String>),
    /// A path.
    Path(PathBuf),
}

/// What a section says, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, Value>);

/// What is wrong with the value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key.
    pub key: &'static str,
    /// What is wrong, without the value where it is a secret.
    pub message: String,
    /// What to do; empty where the message says it.
    pub hint: String,
}

impl Fault {
    pub(super) fn new(key: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, message: message.into(), hint: hint.into() }
    }
}

impl Values {
    /// Sets a value.
    pub fn set(&mut self, key: &'static str, value: Value) {
        self.0.insert(key, value);
    }

    /// Sets a text.
    #[must_use]
    pub fn with(mut self, key: &'static str, text: &str) -> Self {
        self.set(key, Value::Text(SecretText::new(text)));
        self
    }

    /// Whether the key stands there.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The text under a key, empty where it is left out.
    pub fn text(&self, key: &str) -> &str {
        match self.0.get(key) {
            Some(Value::Text(text)) => text.reveal(),
            _ => "",
        }
    }

    /// The texts under a key.
    pub fn texts(&self, key: &str) -> &[String] {
        match self.0.get(key) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// The path under a key.
    pub fn path(&self, key: &str) -> Option<&Path> {
        match self.0.get(key) {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        }
    }

    /// The address under a key, without a slash at its end; `otherwise` where it is left out.
    pub(super) fn address(&self, key: &'static str, otherwise: &str) -> Result<String, Fault> {
        let text = if self.has(key) { self.text(key) } else { otherwise };
        match ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)) {
            true => Ok(text.trim_end_matches('/').to_owned()),
            false => Err(Fault::new(key, format!("{key} is not an http address"), "write https://HOST/PATH")),
        }
    }
}
