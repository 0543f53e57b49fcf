//! The template of signed content: literal text, `{body}`, `{header:Name}`, `{method}`, `{url}`.

use std::borrow::Cow;

use crate::claim::Content;
use crate::request::{Refusal, Request};
use crate::secret::ConfigError;

/// A template, read once.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Literal(String),
    Body,
    Method,
    Url,
    /// The value of a header, which must not contain the literal that follows it: otherwise bytes could be moved between
    /// the header and what follows without changing what is signed.
    Header {
        name: String,
        until: Option<String>,
    },
}

impl Template {
    pub(crate) fn parse(template: &str) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::Template { template: template.to_owned(), problem };
        let mut pieces = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let literal = rest.split(['{', '}']).next().unwrap_or_default();
            if literal.is_empty() {
                let (name, after) = rest
                    .strip_prefix('{')
                    .and_then(|inside| inside.split_once('}'))
                    .ok_or_else(|| wrong("a brace has no partner".to_owned()))?;
                pieces.push(match name.split_once(':') {
                    None if name == "body" => Piece::Body,
                    None if name == "method" => Piece::Method,
                    None if name == "url" => Piece::Url,
                    Some(("header", header)) => Piece::Header { name: header_name(header)?, until: None },
                    _ => {
                        return Err(wrong(format!(
                            "{{{name}}} is unknown: use {{body}}, {{header:Name}}, {{method}} or {{url}}"
                        )));
                    }
                });
                rest = after;
            } else {
                if let Some(Piece::Header { until, .. }) = pieces.last_mut() {
                    *until = Some(literal.to_owned());
                }
                pieces.push(Piece::Literal(literal.to_owned()));
                rest = &rest[literal.len()..];
            }
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Body)) {
            return Err(wrong("{body} is missing, so the body would not be authenticated".to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Whether the header `name` (lower case) is part of what is signed.
    pub(crate) fn signs_header(&self, name: &str) -> bool {
        self.header_names().any(|signed| signed == name)
    }

    /// The headers it reads, in lower case.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Header { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// The content of one request.
    pub(crate) fn content<'r>(&'r self, request: &Request<'r>) -> Result<Content<'r>, Refusal> {
        self.0
            .iter()
            .map(|piece| {
                Ok(Cow::Borrowed(match piece {
                    Piece::Literal(text) => text.as_bytes(),
                    Piece::Body => request.body,
                    Piece::Method => request.method.as_bytes(),
                    Piece::Url => request.url.as_bytes(),
                    Piece::Header { name, until } => {
                        let value = request.header(name)?;
                        if until.as_ref().is_some_and(|until| would_end_early(value, until)) {
                            return Err(Refusal::MalformedHeader);
                        }
                        value.as_bytes()
                    }
                }))
            })
            .collect()
    }
}

/// Whether `until` occurs in `value` + `until` anywhere before its end, so that a reader would split at the wrong place.
fn would_end_early(value: &str, until: &str) -> bool {
    format!("{value}{until}").find(until) != Some(value.len())
}

/// A header name in lower case, if it is one (RFC 9110: a token).
pub(crate) fn header_name(name: &str) -> Result<String, ConfigError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(ConfigError::HeaderName { name: name.to_owned() });
    }
    Ok(name.to_ascii_lowercase())
}
