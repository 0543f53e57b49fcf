//! A record of `raw`: the element's bytes as they came, and what ingest knows about them in headers.
//!
//! The record's key is the event key; its partition is the lane of that key.

use std::borrow::Cow;

use thiserror::Error;

/// The version of this header set.
pub const FORMAT_VERSION: &str = "1";

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
}

/// Why a raw record's headers cannot be used: it was not written by Hookline, or by a newer one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// A header that every record has is missing.
    #[error("the raw record has no header {0:?}")]
    Missing(&'static str),
    /// A header's value cannot be read.
    #[error("the raw record's header {0:?} is unreadable")]
    Unreadable(String),
    /// The format version is not known to this build.
    #[error("the raw record has format version {0:?}; this version reads {FORMAT_VERSION:?}")]
    Version(String),
}

impl<'a> RawHeaders<'a> {
    /// The headers as they stand on the record.
    pub fn to_headers(&self) -> Vec<(Cow<'static, str>, Vec<u8>)> {
        let text = |value: &str| value.as_bytes().to_vec();
        let mut headers: Vec<(Cow<'static, str>, Vec<u8>)> = vec![
            ("hl-version".into(), text(FORMAT_VERSION)),
            ("source".into(), text(&self.source)),
            ("adapter".into(), text(&self.adapter)),
            ("received-at".into(), text(&self.received_at.to_string())),
            ("request-id".into(), text(&self.request_id)),
            ("secret-id".into(), text(&self.secret_id)),
            ("content-type".into(), text(&self.content_type)),
        ];
        if self.ordinal > 0 {
            headers.push(("ordinal".into(), text(&self.ordinal.to_string())));
        }
        for (name, value) in &self.cloud_event {
            headers.push((format!("ce-{name}").into(), text(value)));
        }
        if let Some(original) = &self.redrive_of {
            headers.push(("redrive-of".into(), text(original)));
        }
        if let Some(reason) = &self.quarantine {
            headers.push(("quarantine".into(), text(reason)));
        }
        headers
    }

    /// Reads the headers of a raw record, borrowing from it. Headers of other programs are passed over.
    ///
    /// # Errors
    /// When a header that every record has is missing or unreadable.
    pub fn from_headers(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HeaderError> {
        let mut this = Self::default();
        let (mut version, mut source, mut adapter, mut received_at) = (None, None, None, None);
        for (name, value) in headers {
            let text = std::str::from_utf8(value);
            let unreadable = || HeaderError::Unreadable(name.to_owned());
            let number = || text.map_err(|_| unreadable());
            match name {
                "hl-version" => version = Some(text.map_err(|_| unreadable())?),
                "source" => source = Some(text.map_err(|_| unreadable())?),
                "adapter" => adapter = Some(text.map_err(|_| unreadable())?),
                "received-at" => received_at = Some(number()?.parse().map_err(|_| unreadable())?),
                "request-id" => this.request_id = text.map_err(|_| unreadable())?.into(),
                "secret-id" => this.secret_id = text.map_err(|_| unreadable())?.into(),
                "content-type" => this.content_type = text.map_err(|_| unreadable())?.into(),
                "ordinal" => this.ordinal = number()?.parse().map_err(|_| unreadable())?,
                "redrive-of" => this.redrive_of = Some(text.map_err(|_| unreadable())?.into()),
                "quarantine" => this.quarantine = Some(text.map_err(|_| unreadable())?.into()),
                other => {
                    if let (Some(attribute), Ok(text)) = (other.strip_prefix("ce-"), text) {
                        this.cloud_event.push((attribute.into(), text.into()));
                    }
                }
            }
        }
        match version.ok_or(HeaderError::Missing("hl-version"))? {
            FORMAT_VERSION => {}
            other => return Err(HeaderError::Version(other.to_owned())),
        }
        this.source = source.ok_or(HeaderError::Missing("source"))?.into();
        this.adapter = adapter.ok_or(HeaderError::Missing("adapter"))?.into();
        this.received_at = received_at.ok_or(HeaderError::Missing("received-at"))?;
        Ok(this)
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
        };
        assert_eq!(read(&headers.to_headers()), Ok(headers));
    }

    #[test]
    fn a_record_of_another_version_or_program_is_named() {
        assert_eq!(read(&[]), Err(HeaderError::Missing("hl-version")));
        assert_eq!(read(&[("hl-version".into(), b"9".to_vec())]), Err(HeaderError::Version("9".into())));
        let broken = [("hl-version".into(), b"1".to_vec()), ("received-at".into(), b"noon".to_vec())];
        assert_eq!(read(&broken), Err(HeaderError::Unreadable("received-at".into())));
    }
}
