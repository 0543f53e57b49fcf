//! How schemas may change: as `BACKWARD_TRANSITIVE` of a schema registry has it, without one. Whoever reads with a subject's
//! newest schema reads everything that was ever written under that subject, and an id means one schema for ever.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde::Deserialize;

/// What each id means: the fingerprint (CRC-64-AVRO) of its schema's canonical form, as hex. Lines are added with a new
/// version and never changed once records with that id are kept anywhere.
const MEANINGS: [(u32, &str); 5] = [
    (1, "6c522573f5acb567"),
    (2, "9bfc82d3bf82d602"),
    (3, "117382d10be824b7"),
    (4, "aec592454f9579ad"),
    (5, "624e445094b036c3"),
];

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../schemas")
}

/// `schemas/index.json`: each subject's versions, from the first on.
#[derive(Deserialize)]
struct Index {
    subjects: BTreeMap<String, BTreeMap<u32, Listed>>,
}

/// A version of a subject.
#[derive(Deserialize)]
struct Listed {
    id: u32,
    file: String,
}

impl Index {
    fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(schemas().join("index.json")).unwrap()).unwrap()
    }

    fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.subjects.values().flat_map(BTreeMap::values)
    }
}

impl Listed {
    fn schema(&self) -> Schema {
        parse(&std::fs::read_to_string(schemas().join(&self.file)).unwrap())
    }
}

fn parse(schema: &str) -> Schema {
    Schema::parse_str(schema).unwrap()
}

/// What keeps the last of `versions` from reading one of them; every version must be readable in full, whatever it holds.
fn incompatibilities(versions: &[Schema]) -> Vec<String> {
    let Some(newest) = versions.last() else { return vec!["there is no version".to_owned()] };
    let of_version = |(number, written): (usize, &Schema)| {
        let why = match SchemaCompatibility::can_read(written, newest) {
            Ok(Compatibility::Full) => return None,
            Ok(Compatibility::Partial) => "some of its values cannot be read".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!("version {}: {why}", number + 1))
    };
    versions.iter().enumerate().filter_map(of_version).collect()
}

#[test]
fn the_newest_schema_of_every_subject_reads_every_version() {
    let index = Index::read();
    assert!(!index.subjects.is_empty());
    for (subject, versions) in &index.subjects {
        let numbers: Vec<_> = versions.keys().copied().collect();
        let expected: Vec<_> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "{subject}: versions count from 1 without a gap: none is taken back");
        let schemas: Vec<_> = versions.values().map(Listed::schema).collect();
        let found = incompatibilities(&schemas);
        assert!(found.is_empty(), "{subject}: the newest schema does not read {found:#?}");
    }
}

#[test]
fn an_id_stands_for_one_schema_for_ever() {
    let index = Index::read();
    let mut found: Vec<_> =
        index.listed().map(|one| (one.id, one.schema().fingerprint::<Rabin>().to_string())).collect();
    found.sort();
    let found: Vec<_> = found.iter().map(|(id, fingerprint)| (*id, fingerprint.as_str())).collect();
    assert_eq!(
        found, MEANINGS,
        "ids are unique, none is taken back, and a changed schema is a new version with a new id"
    );
}

#[test]
fn every_schema_file_is_listed_once() {
    let index = Index::read();
    let listed: Vec<_> = index.listed().map(|one| one.file.clone()).collect();
    let files: BTreeSet<_> = std::fs::read_dir(schemas())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".avsc"))
        .collect();
    assert_eq!(listed.len(), files.len(), "{listed:?}");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), files);
}

/// A record of these fields.
fn record(fields: &str) -> Schema {
    parse(&format!(r#"{{ "type": "record", "name": "R", "fields": [{fields}] }}"#))
}

#[test]
fn an_incompatible_change_is_found_whichever_version_it_breaks() {
    let first = r#"{ "name": "a", "type": "long" }"#;
    let kind = |symbols: &str| {
        record(&format!(r#"{{ "name": "k", "type": {{ "type": "enum", "name": "K", "symbols": [{symbols}] }} }}"#))
    };
    let with = |more: &str| record(&format!("{first}, {more}"));
    let broken = [
        ("a field without a default", vec![record(first), with(r#"{ "name": "b", "type": "string" }"#)]),
        ("another type", vec![record(first), record(r#"{ "name": "a", "type": "string" }"#)]),
        ("a narrower type", vec![record(first), record(r#"{ "name": "a", "type": "int" }"#)]),
        ("a symbol taken away", vec![kind(r#""x", "y""#), kind(r#""x""#)]),
        ("null no more", vec![record(r#"{ "name": "a", "type": ["null", "long"] }"#), record(first)]),
    ];
    for (change, versions) in broken {
        let found = incompatibilities(&versions);
        assert!(found.len() == 1 && found[0].starts_with("version 1: "), "{change}: {found:?}");
    }
    // Version 3 reads version 2, and not version 1: compatibility with the one before is not enough.
    let required = r#"{ "name": "b", "type": "string" }"#;
    let optional = r#"{ "name": "b", "type": "string", "default": "" }"#;
    assert_eq!(incompatibilities(&[record(first), with(optional)]), [""; 0]);
    assert_eq!(incompatibilities(&[with(optional), with(required)]), [""; 0]);
    assert_eq!(incompatibilities(&[record(first), with(optional), with(required)]).len(), 1);
}

#[test]
fn a_compatible_change_is_let_through() {
    let first = record(r#"{ "name": "a", "type": "int" }"#);
    let wider = record(r#"{ "name": "a", "type": "long" }"#);
    let more = record(r#"{ "name": "a", "type": "long" }, { "name": "b", "type": "string", "default": "" }"#);
    let fewer = record(r#"{ "name": "b", "type": "string", "default": "" }"#);
    assert_eq!(incompatibilities(&[first, wider, more, fewer]), [""; 0]);
    assert_eq!(incompatibilities(&[]), ["there is no version"]);
}
