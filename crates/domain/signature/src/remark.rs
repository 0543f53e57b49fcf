//! What is worth saying about a secret that can be used, since it may not be what its sender uses.

use std::fmt;

use crate::scheme::Scheme;
use crate::secret::Secret;
use crate::standard::{is_around, shown_keys};

/// Something that an owner should look at. Names the secret by its id and never shows its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The text holds several keys.
    SeveralKeys {
        /// The secret's id.
        id: String,
        /// How many.
        count: usize,
    },
    /// White space or quotation marks around the text are part of the key.
    Surrounded {
        /// The secret's id.
        id: String,
    },
    /// The text holds a character that ends a query parameter when it stands there as it is.
    EndsParameter {
        /// The secret's id.
        id: String,
        /// The first such character.
        character: char,
    },
}

/// What is worth saying about `secret` in `scheme`.
pub fn remarks(scheme: &Scheme, secret: &Secret) -> Vec<Remark> {
    let (id, mut remarks) = (|| secret.id().to_owned(), Vec::new());
    let Ok(text) = std::str::from_utf8(secret.value()) else { return remarks };
    if matches!(scheme, Scheme::StandardWebhooks | Scheme::Svix) {
        let count = shown_keys(text).len();
        if count > 1 {
            remarks.push(Remark::SeveralKeys { id: id(), count });
        }
        return remarks;
    }
    if text.starts_with(is_around) || text.ends_with(is_around) {
        remarks.push(Remark::Surrounded { id: id() });
    }
    if let Scheme::Query { .. } = scheme
        && let Some(character) = text.chars().find(|c| matches!(c, '&' | '#'))
    {
        remarks.push(Remark::EndsParameter { id: id(), character });
    }
    remarks
}

impl Remark {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::SeveralKeys { .. } => {
                "give each its own entry in secrets, with its own id: then hookline_secret_uses_total says which one is still used".into()
            }
            Self::Surrounded { .. } => "take them off, unless the sender's page shows them as part of the secret".into(),
            Self::EndsParameter { character, .. } => format!(
                "in the address that the sender is given, write %{:02X} for {character}",
                u32::from(*character)
            ),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralKeys { id, count } => {
                write!(f, "secret {id:?} holds {count} keys: each of them is accepted, and the first one signs")
            }
            Self::Surrounded { id } => {
                write!(
                    f,
                    "secret {id:?} begins or ends with white space or quotation marks, and they are part of the key"
                )
            }
            Self::EndsParameter { id, character } => {
                write!(f, "secret {id:?} holds {character}, which ends a query parameter")
            }
        }
    }
}
