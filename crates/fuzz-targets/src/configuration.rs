//! Configurations: any text is taken or refused with places, and a map that was taken reads any payload.

use std::cell::RefCell;
use std::fs;

use config::{Config, Environment, Problems};
use tempfile::TempDir;

use crate::payloads::both_halves;

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// A configuration around the map of a source.
const BEFORE: &str = r#"version = 1
[owner]
me = { name = "Me" }
[source.s]
adapter = "mapping"
owner = "me"
scheme = "dub"
secrets = [{ id = "a", env = "SECRET" }]
"#;

/// A whole configuration.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Other files are not part of the input, and an input that holds the secret itself proves nothing.
    if ["include", "file", "s3cret"].iter().any(|word| text.contains(word)) {
        return;
    }
    match load(text) {
        Ok(config) => {
            let again = load(text).expect("the same text");
            assert_eq!(config.version_hash(), again.version_hash());
            let _: (_, _, _) = (config.routes(), config.enrich_settings(), config.longest_window());
        }
        Err(problems) => {
            assert!(!problems.errors.is_empty());
            let lines = text.split('\n').count();
            for problem in problems.errors.iter().chain(&problems.warnings) {
                assert!(!problem.message.is_empty() && problem.line <= lines, "{problem}");
                assert!(!problem.to_string().contains("s3cret"), "a secret is shown");
            }
        }
    }
}

/// The lines of a source's map and a body, with a line `---` between them.
pub fn mapping(data: &[u8]) {
    let Some(at) = data.windows(5).position(|five| five == b"\n---\n") else { return };
    let (map, body) = (&data[..at], &data[at + 5..]);
    let Ok(map) = std::str::from_utf8(map) else { return };
    if ["include", "file"].iter().any(|word| map.contains(word)) {
        return;
    }
    let Ok(config) = load(&format!("{BEFORE}{map}\n")) else { return };
    let Some(source) = config.source("s") else { return };
    for content_type in ["application/json", "application/x-ndjson", "application/x-www-form-urlencoded"] {
        both_halves(source.adapter, &source.dialect, content_type, &[], body);
    }
}

fn load(text: &str) -> Result<Config, Problems> {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a folder"));
        let file = folder.path().join("hookline.toml");
        fs::write(&file, text).expect("a file");
        let now = "2026-11-23T10:00:00Z".parse().expect("a time");
        Config::load(&file, &Environment::new([("SECRET", "s3cret")], now))
    })
}
