//! The Confluent wire format: a zero byte, the schema's id (big endian), then Avro.
//!
//! Ids come from `schemas/index.json`, which a consumer without a registry reads too.

use crate::{Alert, DecodeError, Delivery, LinkEvent, SignalBatch};

/// A schema of `schemas/`, and the id that its bytes carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The registry subject: topic plus `-value`.
    pub subject: &'static str,
    /// The id in the wire format.
    pub id: u32,
    /// The version within the subject, stamped on events as `schema_version`.
    pub version: u16,
    /// The file in `schemas/`.
    pub file: &'static str,
}

/// Values of `hookline.events.v1`.
pub const EVENTS: Schema = Schema { subject: "hookline.events.v1-value", id: 1, version: 1, file: "link_event.1.avsc" };
/// Values of `hookline.signals.v1`.
pub const SIGNALS: Schema =
    Schema { subject: "hookline.signals.v1-value", id: 2, version: 1, file: "signal_batch.1.avsc" };
/// Values of `hookline.alerts.v1`.
pub const ALERTS: Schema = Schema { subject: "hookline.alerts.v1-value", id: 3, version: 1, file: "alert.1.avsc" };
/// Values of `hookline.deliveries.v1`.
pub const DELIVERIES: Schema =
    Schema { subject: "hookline.deliveries.v1-value", id: 4, version: 1, file: "delivery.1.avsc" };

/// Every schema that this build writes.
pub const SCHEMAS: [Schema; 4] = [EVENTS, SIGNALS, ALERTS, DELIVERIES];

const HEADER: usize = 5;

fn frame(schema: Schema, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema.id.to_be_bytes());
}

fn unframe(schema: Schema, bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_first_chunk::<HEADER>() {
        Some(([0, id @ ..], body)) => match u32::from_be_bytes(*id) {
            id if id == schema.id => Ok(body),
            id => Err(DecodeError::UnknownSchema(id)),
        },
        _ => Err(DecodeError::NoHeader),
    }
}

macro_rules! framed {
    ($($type:ident, $schema:ident;)*) => {$(
        impl<'a> $type<'a> {
            /// Appends the value of a Kafka record: header and Avro.
            pub fn write(&self, out: &mut Vec<u8>) {
                frame($schema, out);
                self.encode(out);
            }

            /// Reads the value of a Kafka record, borrowing its texts.
            ///
            /// # Errors
            /// When the header is missing, names another schema, or the rest is not exactly one record.
            pub fn from_wire(bytes: &'a [u8]) -> Result<Self, DecodeError> {
                Self::decode(unframe($schema, bytes)?)
            }
        }
    )*};
}

framed! {
    LinkEvent, EVENTS;
    SignalBatch, SIGNALS;
    Alert, ALERTS;
    Delivery, DELIVERIES;
}
