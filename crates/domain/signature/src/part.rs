//! A part of a request's head: a header, or one field of a header such as `t=1795428000,v1=ab12`.

use std::fmt;

use crate::request::{Refusal, Request};
use crate::secret::ConfigError;
use crate::template::header_name;

/// What separates the fields of a header. Stripe and those who sign like it use a comma, Paddle a semicolon, Persona a space.
const SEPARATORS: [char; 4] = [',', ';', ' ', '\t'];

/// A header, or one of its fields.
///
/// Fields are `name=value`, separated by commas, semicolons or blanks; a value may stand in double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPart {
    /// The header's name.
    pub header: String,
    /// The name of the field; none: the whole value of the header.
    pub field: Option<String>,
}

impl HeaderPart {
    /// A header as a whole.
    pub fn whole(header: impl Into<String>) -> Self {
        Self { header: header.into(), field: None }
    }

    /// One field of a header.
    pub fn field(header: impl Into<String>, field: impl Into<String>) -> Self {
        Self { header: header.into(), field: Some(field.into()) }
    }

    /// The same part with its header's name in lower case.
    ///
    /// # Errors
    /// If one of the names cannot be one.
    pub(crate) fn checked(&self) -> Result<Self, ConfigError> {
        if let Some(field) = &self.field
            && (field.is_empty() || field.contains(SEPARATORS) || field.contains(['=', '"']))
        {
            return Err(ConfigError::FieldName { name: field.clone() });
        }
        Ok(Self { header: header_name(&self.header)?, field: self.field.clone() })
    }

    /// Its value in a request.
    pub(crate) fn value<'r>(&self, request: &Request<'r>) -> Result<&'r str, Refusal> {
        let value = request.header(&self.header)?;
        match &self.field {
            None => Ok(value),
            Some(name) => only_field(value, name),
        }
    }

    /// Writes `value` into headers that are about to be sent: in the header as a whole, or as one more field of it.
    pub(crate) fn write(&self, headers: &mut Vec<(String, String)>, value: &str) {
        let text = match &self.field {
            None => value.to_owned(),
            Some(field) => format!("{field}={value}"),
        };
        match headers.iter_mut().find(|(name, _)| *name == self.header) {
            Some((_, line)) => line.extend([",", &text]),
            None => headers.push((self.header.clone(), text)),
        }
    }
}

impl fmt::Display for HeaderPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            None => write!(f, "header:{}", self.header),
            Some(field) => write!(f, "header:{}:{field}", self.header),
        }
    }
}

/// The fields of a header value, in order.
pub(crate) fn fields(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(SEPARATORS).filter_map(|field| {
        let (name, value) = field.split_once('=')?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        Some((name, quoted.unwrap_or(value)))
    })
}

/// The field of that name. Two that differ are refused: which of them was signed would be a guess.
fn only_field<'v>(value: &'v str, name: &str) -> Result<&'v str, Refusal> {
    let mut values = fields(value).filter(|(found, _)| *found == name).map(|(_, value)| value);
    let first = values.next().filter(|value| !value.is_empty()).ok_or(Refusal::MalformedHeader)?;
    if values.all(|other| other == first) { Ok(first) } else { Err(Refusal::MalformedHeader) }
}
