//! The template of signed content: literal text, `{body}`, `{timestamp}`, `{header:Name}`, `{header:Name:field}`,
//! `{field:name}`, `{method}`, `{url}`.

use std::borrow::Cow;

use crate::claim::Content;
use crate::part::HeaderPart;
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
    /// The value of a header or field, which must not contain the literal that follows it: otherwise bytes could be moved
    /// between the value and what follows without changing what is signed.
    Part {
        part: HeaderPart,
        until: Option<String>,
    },
}

impl Template {
    /// Reads a template. `{field:name}` is a field of `signature_header`, and `{timestamp}` is `timestamp`.
    pub(crate) fn parse(
        template: &str,
        signature_header: &str,
        timestamp: Option<&HeaderPart>,
    ) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::Template { template: template.to_owned(), problem };
        let timestamp = timestamp.map(HeaderPart::checked).transpose()?;
        let mut pieces = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let literal = rest.split(['{', '}']).next().unwrap_or_default();
            if literal.is_empty() {
                let (name, after) = rest
                    .strip_prefix('{')
                    .and_then(|inside| inside.split_once('}'))
                    .ok_or_else(|| wrong("a brace has no partner".to_owned()))?;
                let part = match name.split_once(':') {
                    None if name == "body" => Err(Piece::Body),
                    None if name == "method" => Err(Piece::Method),
                    None if name == "url" => Err(Piece::Url),
                    None if name == "timestamp" => Ok(timestamp.clone().ok_or(ConfigError::NoTimestamp)?),
                    Some(("field", field)) => Ok(HeaderPart::field(signature_header, field).checked()?),
                    Some(("header", header)) => Ok(header_part(header).checked()?),
                    _ => {
                        return Err(wrong(format!(
                            "{{{name}}} is unknown: use {{body}}, {{timestamp}}, {{header:Name}}, {{header:Name:field}}, \
                             {{field:name}}, {{method}} or {{url}}"
                        )));
                    }
                };
                pieces.push(part.map_or_else(|piece| piece, |part| Piece::Part { part, until: None }));
                rest = after;
            } else {
                // A time is read strictly, so it ends where it ends, and a fraction of a second may follow a full stop.
                if let Some(Piece::Part { part, until }) = pieces.last_mut()
                    && Some(&*part) != timestamp.as_ref()
                {
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

    /// Whether a part (its header in lower case) is covered by what is signed: itself, or the whole header that it is in.
    pub(crate) fn signs(&self, part: &HeaderPart) -> bool {
        self.parts()
            .any(|signed| signed.header == part.header && (signed.field.is_none() || signed.field == part.field))
    }

    /// The headers and fields that it reads, their headers in lower case.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &HeaderPart> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Part { part, .. } => Some(part),
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
                    Piece::Part { part, until } => {
                        let value = part.value(request)?;
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

/// `Name`, or `Name:field`.
fn header_part(text: &str) -> HeaderPart {
    match text.split_once(':') {
        Some((header, field)) => HeaderPart::field(header, field),
        None => HeaderPart::whole(text),
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
