//! A record of `raw`: the element's bytes as they came, and what ingest knows about them in headers.
//!
//! The record's key is the event key; its partition is the lane of that key. What every record has stands in one header,
//! `hookline`, as texts between tabs: a header costs a fifth of a microsecond on either side, and there would be seven.
//! What few records have (`quarantine`, `redrive-of`, `ce-*`, `traceparent`) has a separate header.

use std::borrow::Cow;

use thiserror::Error;

use crate::trace::{TRACEPARENT, TraceContext};

/// The version of this header set.
pub const FORMAT_VERSION: &str = "1";

/// How far the clock of ingest may be from the broker's before its received time is not believed, in milliseconds: a record is
/// received at most this long before it is appended, as far as anybody who reads it knows.
pub const CLOCK_TRUST_MS: i64 = 300_000;

/// What ingest writes beside the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawHeaders<'a> {
    /// The configured source.
    pub source: Cow<'a, str>,
    /// The adapter that reads the bytes.
    pub adapter: Cow<'a, str>,
    /// When the request arrived, in milliseconds since 1970.
    pub received_at: i64,
    /// The receipt id that the sender was given.
    pub request_id: Cow<'a, str>,
    /// The id of the secret that the signature matched.
    pub secret_id: Cow<'a, str>,
    /// The element's place in its batch, from 0.
    pub ordinal: u32,
    /// The content type of the element, without parameters.
    pub content_type: Cow<'a, str>,
    /// `ce-*` headers of a CloudEvent in binary mode, without the prefix.
    pub cloud_event: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// `lane/offset` of the dead letter that this is a redrive of.
    pub redrive_of: Option<Cow<'a, str>>,
    /// Why ingest could not find an event in an authentic delivery: a fixed label.
    pub quarantine: Option<Cow<'a, str>>,
    /// The span that appended it, if the event is traced.
    pub trace: Option<TraceContext>,
}

/// Why a raw record's headers cannot be used: it was not written by Hookline, or by a newer one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The header that every record has is missing.
    #[error("the raw record has no header {HEADER:?}: it was not written by ingest")]
    Missing,
    /// A header's value cannot be read.
    #[error("the raw record's header {0:?} is unreadable")]
    Unreadable(String),
    /// The format version is not known to this build.
    #[error("the raw record has format version {0:?}; this version reads {FORMAT_VERSION:?}")]
    Version(String),
}

/// The header that every record has.
const HEADER: &str = "hookline";
/// Between its fields; names and ids have none, and one in a content type becomes a space.
const TAB: char = '\t';

impl<'a> RawHeaders<'a> {
    /// The headers as they stand on the record.
    pub fn to_headers(&self) -> Vec<(Cow<'static, str>, Vec<u8>)> {
        let Self { source, adapter, received_at, request_id, secret_id, ordinal, content_type, .. } = self;
        let mut fields = String::with_capacity(128);
        fields.push_str(FORMAT_VERSION);
        let (received_at, ordinal) = (received_at.to_string(), ordinal.to_string());
        for field in [source, adapter, received_at.as_str(), request_id, secret_id, ordinal.as_str(), content_type] {
            fields.push(TAB);
            fields.extend(field.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        }
        let mut headers: Vec<(Cow<'static, str>, Vec<u8>)> = vec![(HEADER.into(), fields.into_bytes())];
        for (name, value) in &self.cloud_event {
            headers.push((format!("ce-{name}").into(), value.as_bytes().to_vec()));
        }
        if let Some(original) = &self.redrive_of {
            headers.push(("redrive-of".into(), original.as_bytes().to_vec()));
        }
        if let Some(reason) = &self.quarantine {
            headers.push(("quarantine".into(), reason.as_bytes().to_vec()));
        }
        if let Some(trace) = &self.trace {
            headers.push((TRACEPARENT.into(), trace.to_header().into_bytes()));
        }
        headers
    }

    /// Reads the headers of a raw record, borrowing from it. Headers of other programs are passed over.
    ///
    /// # Errors
    /// When the header that every record has is missing or unreadable.
    pub fn from_headers(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HeaderError> {
        let mut this = None;
        let (mut redrive_of, mut quarantine, mut trace, mut cloud_event) = (None, None, None, Vec::new());
        for (name, value) in headers {
            let text = || std::str::from_utf8(value).map_err(|_| HeaderError::Unreadable(name.to_owned()));
            match name {
                HEADER => this = Some(Self::from_fields(text()?)?),
                "redrive-of" => redrive_of = Some(text()?.into()),
                "quarantine" => quarantine = Some(text()?.into()),
                TRACEPARENT => trace = TraceContext::parse(value),
                other => {
                    if let (Some(attribute), Ok(text)) = (other.strip_prefix("ce-"), text()) {
                        cloud_event.push((attribute.into(), text.into()));
                    }
                }
            }
        }
        Ok(Self { redrive_of, quarantine, trace, cloud_event, ..this.ok_or(HeaderError::Missing)? })
    }

    fn from_fields(fields: &'a str) -> Result<Self, HeaderError> {
        let mut fields = fields.split(TAB);
        let version = fields.next().unwrap_or_default();
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version.to_owned()));
        }
        let unreadable = || HeaderError::Unreadable(HEADER.to_owned());
        let mut field = || fields.next().ok_or_else(unreadable);
        let this = Self {
            source: field()?.into(),
            adapter: field()?.into(),
            received_at: field()?.parse().map_err(|_| unreadable())?,
            request_id: field()?.into(),
            secret_id: field()?.into(),
            ordinal: field()?.parse().map_err(|_| unreadable())?,
            content_type: field()?.into(),
            ..Self::default()
        };
        if fields.next().is_some() { Err(unreadable()) } else { Ok(this) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(Cow<'static, str>, Vec<u8>)]) -> Result<RawHeaders<'static>, HeaderError> {
        RawHeaders::from_headers(headers.iter().map(|(name, value)| (name.as_ref(), value.as_slice()))).map(|headers| {
            let own = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
            RawHeaders {
                source: own(&headers.source),
                adapter: own(&headers.adapter),
                received_at: headers.received_at,
                request_id: own(&headers.request_id),
                secret_id: own(&headers.secret_id),
                ordinal: headers.ordinal,
                content_type: own(&headers.content_type),
                cloud_event: headers.cloud_event.iter().map(|(name, value)| (own(name), own(value))).collect(),
                redrive_of: headers.redrive_of.as_ref().map(own),
                quarantine: headers.quarantine.as_ref().map(own),
                trace: headers.trace,
            }
        })
    }

    #[test]
    fn headers_are_read_back_as_they_were_written() {
        let headers = RawHeaders {
            source: "dub-main".into(),
            adapter: "dub".into(),
            received_at: 1_764_000_000_123,
            request_id: "req_1".into(),
            secret_id: "2026-09".into(),
            ordinal: 7,
            content_type: "application/json".into(),
            cloud_event: vec![("id".into(), "1".into()), ("source".into(), "/clicks".into())],
            redrive_of: Some("3/99".into()),
            quarantine: Some("not_json".into()),
            trace: TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        };
        assert_eq!(read(&headers.to_headers()), Ok(headers));
    }

    #[test]
    fn a_record_of_another_version_or_program_is_named() {
        let header = |value: &str| [(Cow::Borrowed("hookline"), value.as_bytes().to_vec())];
        assert_eq!(read(&[]), Err(HeaderError::Missing));
        assert_eq!(read(&header("9\tdub")), Err(HeaderError::Version("9".into())));
        for broken in ["1", "1\ta\tb\tnoon\tr\ts\t0\tc", "1\ta\tb\t1\tr\ts\t0", "1\ta\tb\t1\tr\ts\t0\tc\td"] {
            assert_eq!(read(&header(broken)), Err(HeaderError::Unreadable("hookline".into())), "{broken:?}");
        }
    }

    #[test]
    fn a_content_type_cannot_break_out_of_its_field() {
        let headers = RawHeaders { content_type: "a\tb\nc".into(), ..RawHeaders::default() };
        assert_eq!(read(&headers.to_headers()).unwrap().content_type, "a b c");
    }
}
