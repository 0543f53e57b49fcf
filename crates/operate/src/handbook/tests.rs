use std::path::Path;

use config::{Config, Environment};
use jiff::Timestamp;

use super::*;

fn config(folder: &Path, more: &str) -> Config {
    let toml = format!(
        "version = 1\n[owner]\nme = {{ name = \"Me\", chat = \"#me\" }}\n\
         [workflow]\nreceiver_owner = \"me\"\nfailures_owner = \"me\"\nlogs = \"https://logs.example.com\"\nhandbook = \"HANDBOOK.md\"\n\
         [source.dub]\nadapter = \"dub\"\nowner = \"me\"\nsecrets = [{{ id = \"2026\", env = \"A\" }}]\n{more}"
    );
    let path = folder.join("hookline.toml");
    std::fs::write(&path, toml).unwrap();
    let environment = Environment::new([("A", "hunter2hunter2hunter2")], Timestamp::UNIX_EPOCH);
    Config::load(&path, &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// As a stored handbook: the marks are all that is looked at.
fn stored(handbook: &Handbook) -> String {
    handbook.parts.iter().filter_map(Part::mark).map(|mark| format!("{mark}\n## a part\n")).collect()
}

#[tokio::test]
async fn a_stored_handbook_drifts_in_the_parts_whose_configuration_has_changed_and_in_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let before = config(folder.path(), "");
    let file = folder.path().join("HANDBOOK.md");
    assert!(matches!(drift(&before), Some((path, Drift::Unreadable(_))) if path == file));
    std::fs::write(&file, "# Our own notes\n").unwrap();
    assert_eq!(drift(&before), Some((file.clone(), Drift::Unmarked)));

    let handbook = handbook(&before, None).await;
    assert!(handbook.ok, "{:?}", handbook.missing);
    std::fs::write(&file, stored(&handbook)).unwrap();
    assert_eq!(drift(&before), None);

    let after = config(
        folder.path(),
        "[source.own]\nadapter = \"dub\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n",
    );
    let titles = match drift(&after) {
        Some((_, Drift::Parts(titles))) => titles,
        other => panic!("{other:?}"),
    };
    assert_eq!(titles, ["Who answers for what", "Who sends: the webhooks that are enabled"]);
}

#[tokio::test]
async fn what_the_record_asks_for_and_the_configuration_does_not_say_is_named_and_no_secret_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let all = serde_json::to_string(&handbook(&config, None).await).unwrap();
    assert!(all.contains("2026") && !all.contains("hunter2"), "{all}");

    let toml = "version = 1\n[owner]\nme = { name = \"Me\" }\n[source.dub]\nadapter = \"dub\"\nowner = \"me\"\n\
                secrets = [{ id = \"2026\", env = \"A\" }]\n";
    std::fs::write(folder.path().join("bare.toml"), toml).unwrap();
    let environment = Environment::new([("A", "hunter2")], Timestamp::UNIX_EPOCH);
    let bare = Config::load(&folder.path().join("bare.toml"), &environment).unwrap();
    let handbook = handbook(&bare, None).await;
    assert_eq!((handbook.ok, handbook.missing.len()), (false, 2), "{:?}", handbook.missing);
}
