//! Secrets and their lifetimes, and what can be wrong with a scheme's configuration.

use std::fmt;

use crate::part::HeaderPart;

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// A shared secret, as the sender's dashboard shows it, under an id that may be logged.
///
/// It is live while `not_before <= now < not_after`. `Debug` shows id and lifetime, never the value; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    id: String,
    value: Vec<u8>,
    not_before: Option<UnixSeconds>,
    not_after: Option<UnixSeconds>,
}

impl Secret {
    /// A secret that is always live. `id` is public: it goes into metrics and onto rows.
    pub fn new(id: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), value: value.into(), not_before: None, not_after: None }
    }

    /// The same secret, refused before `from`.
    #[must_use]
    pub fn not_before(mut self, from: UnixSeconds) -> Self {
        self.not_before = Some(from);
        self
    }

    /// The same secret, refused from `until` on.
    #[must_use]
    pub fn not_after(mut self, until: UnixSeconds) -> Self {
        self.not_after = Some(until);
        self
    }

    /// Its public name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// From when on it is refused; none: never.
    pub fn ends(&self) -> Option<UnixSeconds> {
        self.not_after
    }

    /// Whether it may be used at `now`.
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.not_after.is_none_or(|until| now < until)
    }

    /// The secret to sign with at `now`: of those that are live the one that began last, of these the one that ends
    /// last, of these the first.
    pub fn newest_live(secrets: &[Secret], now: UnixSeconds) -> Option<&Secret> {
        let age = |secret: &Secret| (secret.not_before, secret.not_after.unwrap_or(UnixSeconds::MAX));
        let live = secrets.iter().filter(|secret| secret.is_live(now));
        live.reduce(|best, other| if age(other) > age(best) { other } else { best })
    }

    /// Whether there is any second at which it may be used.
    pub(crate) fn is_ever_live(&self) -> bool {
        !matches!((self.not_before, self.not_after), (Some(from), Some(until)) if from >= until)
    }

    /// Whether its lifetime has ended.
    pub(crate) fn is_over(&self, now: UnixSeconds) -> bool {
        self.not_after.is_some_and(|until| until <= now)
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }

    /// The same id and lifetime around another value.
    pub(crate) fn with_value(&self, value: Vec<u8>) -> Self {
        Self { value, ..self.clone() }
    }

    /// The same value, live for ever.
    pub(crate) fn without_lifetime(&self) -> Self {
        Self { not_before: None, not_after: None, ..self.clone() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why a scheme and its secrets cannot be used. Names the secret by id and never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A verifier without secrets would refuse everything.
    #[error("no secret is configured: add at least one")]
    NoSecret,
    /// Two secrets share an id, so their uses could not be told apart.
    #[error("secret id {id:?} is used twice: give each secret its own id")]
    DuplicateSecretId {
        /// The id that occurs twice.
        id: String,
    },
    /// An empty value would let anyone in.
    #[error("secret {id:?} is empty: is its variable or file set?")]
    EmptySecret {
        /// The secret's id.
        id: String,
    },
    /// `not_before` does not lie before `not_after`.
    #[error("secret {id:?} is never live: its not-before must lie before its not-after")]
    NeverLive {
        /// The secret's id.
        id: String,
    },
    /// The value is not base64 where the scheme wants it.
    #[error(
        "secret {id:?} is not base64 (after its `{prefix}` prefix, if any): copy all of it from the sender's page; if the sender uses \
         the text itself as the key, give the base64 of the text"
    )]
    NotBase64 {
        /// The secret's id.
        id: String,
        /// The prefix of this kind of secret.
        prefix: &'static str,
    },
    /// The decoded key has a length the scheme forbids.
    #[error(
        "secret {id:?} decodes to {found} bytes; {prefix} keys have {expected}: copy it again from the sender's page"
    )]
    KeyLength {
        /// The secret's id.
        id: String,
        /// The prefix of this kind of secret.
        prefix: &'static str,
        /// The allowed lengths in bytes, in words.
        expected: &'static str,
        /// The length found, in bytes.
        found: usize,
    },
    /// The two halves of an ed25519 key do not belong together.
    #[error("secret {id:?} is not a valid ed25519 key: its public half does not belong to its seed")]
    KeyPair {
        /// The secret's id.
        id: String,
    },
    /// A Basic secret must be `user:password`.
    #[error("secret {id:?} has no colon: for `basic` it is `user:password`")]
    NotUserPassword {
        /// The secret's id.
        id: String,
    },
    /// A secret that travels in a header must be visible ASCII.
    #[error(
        "secret {id:?} cannot travel in a header: it holds characters other than visible ASCII (a line break at its end?)"
    )]
    NotHeaderText {
        /// The secret's id.
        id: String,
    },
    /// Not a header name.
    #[error("{name:?} is not a header name")]
    HeaderName {
        /// The name as configured.
        name: String,
    },
    /// Not the name of a field in a header.
    #[error("{name:?} cannot name a field of a header: in `t=1,v1=ab` the fields are t and v1")]
    FieldName {
        /// The name as configured.
        name: String,
    },
    /// The code has no field of its own beside the fields that are read.
    #[error(
        "the signature is one of several fields of its header, and prefix {prefix:?} does not name it: write prefix = \"v1=\" for v1=…"
    )]
    CodeField {
        /// The prefix as configured.
        prefix: String,
    },
    /// The template has the time of an attempt, and nothing says where that is.
    #[error(
        "the signed template has {{timestamp}}, and no timestamp is configured: say where it is, such as timestamp = \"field:t\""
    )]
    NoTimestamp,
    /// The query parameter has no name.
    #[error("the query parameter that carries the secret has no name")]
    QueryName,
    /// The template of the signed content cannot be read.
    #[error("signed template {template:?}: {problem}")]
    Template {
        /// The template as configured.
        template: String,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
    /// Freshness needs a timestamp that the signature covers.
    #[error(
        "the timestamp {part} is not part of the signed template: anyone could change it; add {{timestamp}} or leave the timestamp out"
    )]
    TimestampNotSigned {
        /// The header, or the field of one.
        part: HeaderPart,
    },
    /// The tolerance must be positive.
    #[error("a timestamp tolerance of {seconds} s refuses everything: use 300 s")]
    Tolerance {
        /// The configured tolerance in seconds.
        seconds: i64,
    },
}
