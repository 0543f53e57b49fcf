//! A record as a lane reads it: borrowed from the client's buffer, its headers parsed when asked for.

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers, Message};

/// A record, borrowed from the reader's buffer.
#[derive(Debug)]
pub struct Record<'a>(pub(super) BorrowedMessage<'a>);

impl Record<'_> {
    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// Its value; `None` is Kafka's null, a cut on `events` or a deletion on compacted topics.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// Milliseconds since 1970: the broker's clock on `raw`, the producer's elsewhere; −1, as in Kafka, if there is none.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.0.timestamp().to_millis().unwrap_or(-1)
    }

    /// Its headers. They are parsed on the first call.
    #[must_use]
    pub fn headers(&self) -> HeaderView<'_> {
        HeaderView(self.0.headers())
    }
}

/// The headers of a record, borrowed.
#[derive(Clone, Copy)]
pub struct HeaderView<'a>(Option<&'a BorrowedHeaders>);

impl<'a> HeaderView<'a> {
    /// Names and values in order; a null value is empty. Kafka's header names are UTF-8; the client panics at one that is not.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let headers = self.0;
        (0..).map_while(move |place| {
            let header = headers?.try_get(place)?;
            Some((header.key, header.value.unwrap_or_default()))
        })
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_none_or(|headers| headers.count() == 0)
    }
}
