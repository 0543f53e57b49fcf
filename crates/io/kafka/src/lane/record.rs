//! A record as a lane reads it: borrowed from the client's buffer, its headers parsed when asked for.

use rdkafka::message::{BorrowedMessage, Message};

use super::headers::HeaderView;

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

    /// Its headers. They are parsed when first read.
    #[must_use]
    pub fn headers(&self) -> HeaderView<'_> {
        HeaderView::of(&self.0)
    }
}
