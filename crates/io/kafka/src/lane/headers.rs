//! The headers of a record, read from the client without its own reader, which panics at a name that is not UTF-8.
#![allow(unsafe_code, reason = "the client has no other access to headers that does not panic")]

use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_resp_err_t};
use rdkafka::message::{BorrowedMessage, Message};
use runtime::LogLimit;

/// How often it is said that a header was passed over: who writes to a topic can cause it.
static LINES: LogLimit = LogLimit::every(Duration::from_secs(60));

/// The headers of a record, borrowed.
#[derive(Clone, Copy)]
pub struct HeaderView<'a>(&'a BorrowedMessage<'a>);

impl<'a> HeaderView<'a> {
    pub(super) fn of(message: &'a BorrowedMessage<'a>) -> Self {
        Self(message)
    }

    /// Names and values in order; a null value is empty. A header whose name is not UTF-8 is none of ours: it is passed
    /// over, as those of other programs are, and said in the log.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.raw().filter_map(move |(name, value)| match name.to_str() {
            Ok(name) => Some((name, value)),
            Err(_) => {
                self.say_passed_over(name);
                None
            }
        })
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there are none, whatever their names.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.raw().next().is_none()
    }

    /// Names as they were written.
    fn raw(self) -> impl Iterator<Item = (&'a CStr, &'a [u8])> {
        let message = self.0;
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives for 'a, and the client writes a pointer to the headers that the message owns, or
        // none with an error.
        let told = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut headers) };
        let there = told == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null();
        (0..).take_while(move |_| there).map_while(move |at| {
            let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` are those of a message that lives for 'a and that no one changes; past the last of them
            // the client answers with an error.
            let told = unsafe { rd_kafka_header_get_all(headers, at, &raw mut name, &raw mut value, &raw mut bytes) };
            if told != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            // SAFETY: the client ends each name with a zero, and name and value live as long as the message, 'a.
            let name = unsafe { CStr::from_ptr(name) };
            let value: &[u8] = match value.is_null() {
                true => &[],
                // SAFETY: as above, of so many bytes as the client has told.
                false => unsafe { std::slice::from_raw_parts(value.cast(), bytes) },
            };
            Some((name, value))
        })
    }

    fn say_passed_over(self, name: &CStr) {
        if let Some(left_out) = LINES.due() {
            let (topic, partition, offset) = (self.0.topic(), self.0.partition(), self.0.offset());
            let name = name.to_string_lossy();
            tracing::warn!(
                topic,
                partition,
                offset,
                %name,
                left_out,
                "the name of a header is not UTF-8: the header is passed over; see who writes to the topic beside Hookline"
            );
        }
    }
}
