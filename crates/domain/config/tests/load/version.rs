//! The version of a configuration follows what it decides by.

use std::fs;

use crate::{base, environment, load_file, load_with, sound};

fn version(text: &str) -> String {
    sound(text).version_hash().to_owned()
}

#[test]
fn comments_order_and_the_platforms_half_do_not_change_the_version() {
    let plain = version(&base());
    assert!(plain.len() == 12 && plain.chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(plain, version(&format!("# a comment\n{}\n[kafka]\nlanes = 8\n", base())));
    let (sources, destination) =
        base().split_once("[destination.log]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (head, source) = sources.split_once("[source.dub-main]").unwrap();
    assert_eq!(plain, version(&format!("{head}[destination.log]{destination}[source.dub-main]{source}")));
    let overridden = load_with(&base(), &environment(&[("HOOKLINE_KAFKA_BROKERS", "a:1")])).unwrap();
    assert_eq!(plain, overridden.version_hash());
}

#[test]
fn a_split_into_files_does_not_change_the_version() {
    let rule = "[rule.a]\nowner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hookline.toml"), format!("include = [\"a.toml\"]\n{}", base())).unwrap();
    fs::write(folder.path().join("a.toml"), rule).unwrap();
    let split = load_file(folder.path(), &environment(&[])).unwrap();
    assert_eq!(split.version_hash(), version(&format!("{}{rule}", base())));
}

#[test]
fn what_decides_changes_the_version_and_a_secrets_value_does_not() {
    let plain = version(&base());
    for (from, to) in [
        ("id = \"a\"", "id = \"b\""),
        ("[destination.log]", "remember_for = \"71h\"\n[destination.log]"),
        ("\"alerts.csv\"", "\"other.csv\""),
        ("name = \"Growth\"", "name = \"Growth team\""),
    ] {
        assert_ne!(plain, version(&base().replace(from, to)), "{to}");
    }
    let rotated = load_with(&base(), &environment(&[("DUB_SECRET", "whsec_other")])).unwrap();
    assert_eq!(plain, rotated.version_hash());
}
