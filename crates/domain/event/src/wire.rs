//! The Confluent wire format: a zero byte, the schema's id (big endian), then Avro.
//!
//! Without a registry, ids are those of `schemas/index.json`, which a consumer without one reads too. With a registry, what is
//! written carries the id that it gave, and both are read: what stood on the topics before stays readable.

use crate::{Alert, DecodeError, Delivery, LinkEvent, LinkRecord, SignalBatch};

/// A schema of `schemas/`, and the id that its bytes carry without a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The registry subject: topic plus `-value`.
    pub subject: &'static str,
    /// The id in the wire format where no registry gives another.
    pub id: u32,
    /// The version within the subject, stamped on events as `schema_version`.
    pub version: u16,
    /// The file in `schemas/`.
    pub file: &'static str,
    /// The text of that file.
    pub text: &'static str,
}

macro_rules! schema {
    ($subject:literal, $id:literal, $version:literal, $file:literal) => {
        Schema {
            subject: $subject,
            id: $id,
            version: $version,
            file: $file,
            text: include_str!(concat!("../../../../schemas/", $file)),
        }
    };
}

/// Values of `hookline.events.v1`.
pub const EVENTS: Schema = schema!("hookline.events.v1-value", 1, 1, "link_event.1.avsc");
/// Values of `hookline.signals.v1`.
pub const SIGNALS: Schema = schema!("hookline.signals.v1-value", 2, 1, "signal_batch.1.avsc");
/// Values of `hookline.alerts.v1`.
pub const ALERTS: Schema = schema!("hookline.alerts.v1-value", 3, 1, "alert.1.avsc");
/// Values of `hookline.deliveries.v1`.
pub const DELIVERIES: Schema = schema!("hookline.deliveries.v1-value", 4, 1, "delivery.1.avsc");
/// Values of `hookline.links.v1`.
pub const LINKS: Schema = schema!("hookline.links.v1-value", 5, 1, "link_record.1.avsc");

/// Every schema that this build writes.
pub const SCHEMAS: [Schema; 5] = [EVENTS, SIGNALS, ALERTS, DELIVERIES, LINKS];

/// The ids that values carry in one installation: those of `schemas/index.json`, and those that a registry has given.
///
/// A topic has one subject, so an id that the registry gave to somebody else's schema is never taken for one of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// In the order of [`SCHEMAS`].
    registered: [Option<u32>; SCHEMAS.len()],
}

impl Ids {
    /// Without a registry.
    pub const FIXED: Ids = Ids { registered: [None; SCHEMAS.len()] };

    /// What a registry gave, in the order of [`SCHEMAS`].
    #[must_use]
    pub fn registered(ids: [u32; SCHEMAS.len()]) -> Self {
        Self { registered: ids.map(Some) }
    }

    /// The id that values of the `nth` schema of [`SCHEMAS`] are written with.
    fn written(&self, nth: usize) -> u32 {
        self.registered[nth].unwrap_or(SCHEMAS[nth].id)
    }

    fn reads(&self, nth: usize, id: u32) -> bool {
        id == SCHEMAS[nth].id || self.registered[nth] == Some(id)
    }
}

const HEADER: usize = 5;

fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

/// The id and the Avro of a value.
fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes.split_first_chunk::<HEADER>() {
        Some(([0, id @ ..], body)) => Ok((u32::from_be_bytes(*id), body)),
        _ => Err(DecodeError::NoHeader),
    }
}

macro_rules! framed {
    ($($type:ident, $nth:literal;)*) => {$(
        impl<'a> $type<'a> {
            /// Appends the value of a Kafka record: header and Avro.
            pub fn write(&self, ids: &Ids, out: &mut Vec<u8>) {
                frame(ids.written($nth), out);
                self.encode(out);
            }

            /// Reads the value of a Kafka record, borrowing its texts.
            ///
            /// # Errors
            /// When the header is missing, names another schema, or the rest is not exactly one record.
            pub fn from_wire(ids: &Ids, bytes: &'a [u8]) -> Result<Self, DecodeError> {
                match unframe(bytes)? {
                    (id, body) if ids.reads($nth, id) => Self::decode(body),
                    (id, _) => Err(DecodeError::UnknownSchema(id)),
                }
            }
        }
    )*};
}

framed! {
    LinkEvent, 0;
    SignalBatch, 1;
    Alert, 2;
    Delivery, 3;
    LinkRecord, 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ids: &Ids) -> Vec<u8> {
        let mut bytes = Vec::new();
        Alert::default().write(ids, &mut bytes);
        bytes
    }

    #[test]
    fn what_was_written_before_there_was_a_registry_stays_readable_and_nothing_else_does() {
        let with = Ids::registered([71, 72, 73, 74, 75]);
        let another = Ids::registered([1_001, 1_002, 1_003, 1_004, 1_005]);
        assert_eq!(written(&Ids::FIXED)[..5], [0, 0, 0, 0, 3]);
        assert_eq!(written(&with)[..5], [0, 0, 0, 0, 73]);
        for ids in [Ids::FIXED, with, another] {
            assert_eq!(Alert::from_wire(&ids, &written(&ids)), Ok(Alert::default()));
            assert_eq!(Alert::from_wire(&ids, &written(&Ids::FIXED)), Ok(Alert::default()));
        }
        assert_eq!(Alert::from_wire(&Ids::FIXED, &written(&with)), Err(DecodeError::UnknownSchema(73)));
        assert_eq!(Alert::from_wire(&another, &written(&with)), Err(DecodeError::UnknownSchema(73)));
    }

    #[test]
    fn an_id_counts_for_its_own_subject_only_whoever_else_has_it() {
        // The registry gave alerts the number that signals have without one.
        let ids = Ids::registered([5, 6, 2, 7, 8]);
        assert_eq!(Alert::from_wire(&ids, &written(&ids)), Ok(Alert::default()));
        assert_eq!(Delivery::from_wire(&ids, &written(&ids)), Err(DecodeError::UnknownSchema(2)));
        assert!(SCHEMAS.iter().enumerate().all(|(nth, schema)| ids.reads(nth, schema.id)));
    }
}
