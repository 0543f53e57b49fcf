//! Schemes where the secret itself travels: a header, HTTP Basic, a bearer token, a query parameter.

use std::borrow::Cow;

use base64::Engine as _;

use crate::claim::{BASE64, Claim, Proof, Read, proofs};
use crate::key::digest;
use crate::request::{Refusal, Request};
use crate::secret::{ConfigError, Secret};

/// Where the secret travels. Names are in lower case.
pub(crate) enum Token {
    Header(String),
    Basic,
    Bearer,
    Query(String),
}

impl Token {
    /// Refuses a secret that could never arrive this way.
    pub(crate) fn check(&self, secret: &Secret) -> Result<(), ConfigError> {
        let value = secret.value();
        match self {
            Self::Header(_) | Self::Bearer if !is_header_text(value) => {
                Err(ConfigError::NotHeaderText { id: secret.id().to_owned() })
            }
            Self::Basic if !value.contains(&b':') => Err(ConfigError::NotUserPassword { id: secret.id().to_owned() }),
            _ => Ok(()),
        }
    }

    /// Every value presented as the secret.
    fn presented<'r>(&self, request: &Request<'r>) -> Result<Vec<Cow<'r, [u8]>>, Refusal> {
        match self {
            Self::Header(name) => {
                let value = request.headers.get(name).ok_or(Refusal::MissingHeader)?;
                Ok(vec![Cow::Borrowed(value)])
            }
            Self::Basic => {
                let coded = authorization(request, "basic")?;
                let decoded = BASE64.decode(coded).map_err(|_| Refusal::MalformedHeader)?;
                Ok(vec![Cow::Owned(decoded)])
            }
            Self::Bearer => Ok(vec![Cow::Borrowed(authorization(request, "bearer")?.as_bytes())]),
            Self::Query(key) => {
                let values: Vec<_> = parameter(request.query(), key)
                    .flat_map(readings)
                    .map(|text| Cow::Owned(text.into_bytes()))
                    .collect();
                if values.is_empty() { Err(Refusal::MissingHeader) } else { Ok(values) }
            }
        }
    }
}

/// The values of a query parameter, as they stand there.
pub(crate) fn parameter<'q>(query: &'q str, key: &str) -> impl Iterator<Item = &'q str> {
    query.split('&').filter_map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name) == key).then_some(value)
    })
}

/// What a value may stand for. Senders are given an address with the secret in it, and not all of them write it as a form does:
/// a `+` may be a blank or itself, and a `%` may begin a triplet or be itself.
pub(crate) fn readings(value: &str) -> Vec<String> {
    let mut readings = vec![decoded(value)];
    for other in [decoded(&value.replace('+', "%2B")), value.to_owned()] {
        if !readings.contains(&other) {
            readings.push(other);
        }
    }
    readings
}

/// A name or value as a form has it.
pub(crate) fn decoded(text: &str) -> String {
    // As the value of a pair, since only that may hold a `=`.
    let pair = format!("={text}");
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Visible ASCII; spaces inside, since servers cut them off at the ends.
fn is_header_text(value: &[u8]) -> bool {
    value.iter().all(|byte| (b' '..=b'~').contains(byte)) && value.trim_ascii().len() == value.len()
}

/// The credentials of the `authorization` header; the name of its scheme is case-insensitive (RFC 9110, 11.1).
fn authorization<'r>(request: &Request<'r>, scheme: &str) -> Result<&'r str, Refusal> {
    let (name, credentials) = request.header("authorization")?.split_once(' ').ok_or(Refusal::MalformedHeader)?;
    if name.eq_ignore_ascii_case(scheme) { Ok(credentials.trim()) } else { Err(Refusal::MalformedHeader) }
}

impl Read for Token {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let presented = self.presented(request)?;
        Ok(Claim {
            content: Vec::new(),
            alternatives: Vec::new(),
            proofs: proofs(presented.iter().map(|value| Proof::Token(digest(value))))?,
            delivery_id: None,
            delivery_id_signed: false,
            timestamp: None,
            tolerance: None,
        })
    }
}
