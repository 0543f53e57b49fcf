//! The own codec against the `apache-avro` crate, and the schemas against the files in `schemas/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::borrow::Cow;
use std::path::PathBuf;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use hookline_event::wire::Ids;
use hookline_event::{
    Alert, Counted, DecodeError, Delivery, EventType, LinkEvent, LinkRecord, Map, Millis, Outcome, Signal, SignalBatch,
    wire,
};
use proptest::prelude::*;

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../schemas")
}

/// `UPDATE_SCHEMAS=1 cargo test -p hookline-event` writes the files instead.
#[test]
fn schema_files_equal_the_declared_records() {
    let declared = [
        (wire::EVENTS, LinkEvent::schema()),
        (wire::SIGNALS, SignalBatch::schema()),
        (wire::ALERTS, Alert::schema()),
        (wire::DELIVERIES, Delivery::schema()),
        (wire::LINKS, LinkRecord::schema()),
    ];
    for (schema, declared) in declared {
        let path = schemas().join(schema.file);
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, format!("{declared}\n")).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap();
        assert_eq!(stored.trim_end(), declared, "{} differs from the record in crates/domain/event", schema.file);
        Schema::parse_str(&stored).unwrap();
    }
}

#[test]
fn the_index_names_every_schema_with_its_id() {
    let index: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(schemas().join("index.json")).unwrap()).unwrap();
    for schema in wire::SCHEMAS {
        let entry = &index["subjects"][schema.subject][schema.version.to_string()];
        assert_eq!(entry["id"], schema.id, "{}", schema.subject);
        assert_eq!(entry["file"], schema.file, "{}", schema.subject);
    }
}

fn library_value(bytes: &[u8], schema: &str) -> Avro {
    let schema = Schema::parse_str(schema).unwrap();
    let mut rest = bytes;
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "the library leaves {} bytes", rest.len());
    let written = GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value.clone()).unwrap();
    assert_eq!(written, bytes, "the library writes other bytes");
    value
}

fn field<'v>(record: &'v Avro, name: &str) -> &'v Avro {
    let Avro::Record(fields) = record else { panic!("no record") };
    &fields.iter().find(|(field, _)| field == name).unwrap().1
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    "\\PC{0,40}".prop_map(Cow::Owned)
}

prop_compose! {
    fn any_event()(
        texts in proptest::collection::vec(text(), 12),
        numbers in any::<(i64, i64, u64, u64, i64, u16, bool)>(),
        // One entry: the library's map has no order, so more could not be compared byte for byte.
        extra in proptest::collection::vec((text(), text()), 0..=1),
        trace in proptest::collection::vec(text(), 0..4),
        kinds in (0..Outcome::ALL.len(), 0..EventType::ALL.len(), 0..Counted::ALL.len()),
    ) -> LinkEvent<'static> {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap_or_default();
        LinkEvent {
            outcome: Outcome::ALL[kinds.0], r#type: EventType::ALL[kinds.1], counted: Counted::ALL[kinds.2],
            event_time: Millis(numbers.0), received_at: Millis(numbers.1), visitor: numbers.2, raw_offset: numbers.3,
            value_minor: numbers.4, redirect_status: numbers.5, test: numbers.6,
            subtype: text(), event_key: text(), link_id: text(), campaign: text(), country: text(), detail: text(),
            destination_path: text(), slug: text(), extra: Map(extra), trace, ..LinkEvent::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_event_is_read_back_and_the_library_agrees_byte_for_byte(event in any_event()) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        prop_assert_eq!(&LinkEvent::decode(&bytes).unwrap(), &event);
        let value = library_value(&bytes, &LinkEvent::schema());
        prop_assert_eq!(field(&value, "event_key"), &Avro::String(event.event_key.to_string()));
        prop_assert_eq!(field(&value, "event_time"), &Avro::TimestampMillis(event.event_time.0));
        prop_assert_eq!(field(&value, "raw_offset"), &Avro::Long(event.raw_offset as i64));
        prop_assert_eq!(field(&value, "test"), &Avro::Boolean(event.test));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = LinkEvent::from_wire(&Ids::FIXED, &bytes);
        let _ = SignalBatch::decode(&bytes);
    }

    #[test]
    fn a_changed_or_shortened_record_never_panics(event in any_event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let at = at.index(bytes.len());
        prop_assert!(LinkEvent::decode(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = LinkEvent::decode(&bytes);
    }
}

#[test]
fn signals_nest_and_the_library_agrees() {
    let signal = Signal { rule: "promo".into(), count: 3, pane: Millis(60_000), ..Signal::default() };
    let batch = SignalBatch { lane: 3, watermark: Millis(61_000), signals: vec![signal.clone(), signal] };
    let mut bytes = Vec::new();
    batch.encode(&mut bytes);
    assert_eq!(SignalBatch::decode(&bytes).unwrap(), batch);
    library_value(&bytes, &SignalBatch::schema());
}

#[test]
fn a_value_carries_the_confluent_header_and_others_are_refused() {
    let mut bytes = Vec::new();
    LinkEvent::default().write(&Ids::FIXED, &mut bytes);
    assert_eq!(bytes[..5], [0, 0, 0, 0, 1]);
    assert!(LinkEvent::from_wire(&Ids::FIXED, &bytes).is_ok());
    bytes.push(0);
    assert_eq!(LinkEvent::from_wire(&Ids::FIXED, &bytes), Err(DecodeError::Trailing(1)));
    bytes[4] = 9;
    assert_eq!(LinkEvent::from_wire(&Ids::FIXED, &bytes), Err(DecodeError::UnknownSchema(9)));
    assert_eq!(LinkEvent::from_wire(&Ids::FIXED, b"{}"), Err(DecodeError::NoHeader));
}

#[test]
fn every_field_has_a_default_so_that_newer_readers_read_older_bytes() {
    for schema in [LinkEvent::schema(), SignalBatch::schema(), Alert::schema(), Delivery::schema()] {
        let Schema::Record(record) = Schema::parse_str(&schema).unwrap() else { panic!("no record") };
        assert!(record.fields.iter().all(|field| field.default.is_some()));
    }
}
