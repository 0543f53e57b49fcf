//! The configuration that `hookline up` writes.

#![allow(clippy::unwrap_used, reason = "a test that panics says what broke")]

use std::fs;

use hookline_config::{Config, Environment, Fresh};
use jiff::Timestamp;
use signature::Scheme;

fn environment() -> Environment {
    Environment::new::<String, String>([], "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap())
}

#[test]
fn a_fresh_configuration_checks_clean() {
    let folder = tempfile::tempdir().unwrap();
    let path = Fresh::new([7; 96]).write(folder.path()).unwrap();
    let config = Config::load(&path, &environment()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings, []);
    let sources: Vec<_> = config.sources.iter().map(|source| (source.name.as_str(), &source.scheme)).collect();
    assert_eq!(sources, [("dub", &Scheme::Dub), ("canonical", &Scheme::StandardWebhooks)]);
    assert!(config.sources.iter().all(|source| source.secrets.len() == 1));
    let rules: Vec<_> = config.rules.iter().map(|rule| rule.rule.name()).collect();
    assert_eq!(rules, ["every-click-on-proposal", "broken-destination"]);
    let path = config.destinations[0].values.as_ref().unwrap().path("path").unwrap();
    assert_eq!(path, &folder.path().join("alerts.csv"));
    assert!(config.console.token.is_some());
}

#[test]
fn fresh_secrets_differ_and_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let random: [u8; 96] = std::array::from_fn(|index| index as u8);
    Fresh::new(random).write(folder.path()).unwrap();
    let secrets: Vec<_> = ["dub", "canonical", "console"]
        .iter()
        .map(|name| {
            let path = folder.path().join("secrets").join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::read_to_string(path).unwrap()
        })
        .collect();
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0] != secrets[2]);
    assert!(secrets.iter().all(|secret| secret.starts_with("whsec_")));
}

#[test]
fn writing_a_fresh_configuration_again_keeps_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = Fresh::new([1; 96]).write(folder.path()).unwrap();
    let secret = fs::read(folder.path().join("secrets/dub")).unwrap();
    fs::write(&path, "version = 1 # mine now\n").unwrap();
    assert_eq!(Fresh::new([2; 96]).write(folder.path()).unwrap(), path);
    assert_eq!(fs::read(folder.path().join("secrets/dub")).unwrap(), secret);
    assert_eq!(fs::read_to_string(&path).unwrap(), "version = 1 # mine now\n");
}
