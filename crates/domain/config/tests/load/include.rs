//! Rules in files of their own.

use std::fs;
use std::path::Path;

use crate::{base, environment, load_file};

const RULE: &str =
    "owner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn errors(folder: &Path) -> Vec<String> {
    match load_file(folder, &environment(&[])) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn included_files_are_read_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hookline.toml", &format!("include = [\"rules/*.toml\"]\n{}", base()));
    write(folder.path(), "rules/web.toml", &format!("[rule.b]\n{RULE}"));
    write(folder.path(), "rules/growth.toml", &format!("[rule.z]\n{RULE}[rule.a]\n{RULE}"));
    write(folder.path(), "rules/notes.txt", "not TOML at all");
    let config = load_file(folder.path(), &environment(&[])).unwrap();
    let names: Vec<_> = config.rules.iter().map(|rule| rule.rule.name()).collect();
    assert_eq!(names, ["z", "a", "b"]);
}

#[test]
fn problems_in_an_included_file_name_that_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hookline.toml", &format!("include = [\"rules/growth.toml\"]\n{}", base()));
    write(folder.path(), "rules/growth.toml", &format!("\n[rule.a]\n{RULE}sned = 1\n"));
    assert_eq!(
        errors(folder.path()),
        [r#"rules/growth.toml:7:1: unknown key "sned" in [rule.a]; did you mean "send"?"#]
    );
}

#[test]
fn what_stands_twice_is_refused_and_both_places_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hookline.toml", &format!("include = [\"rules/*.toml\"]\n{}[rule.a]\n{RULE}", base()));
    write(folder.path(), "rules/growth.toml", &format!("version = 1\n[rule.a]\n{RULE}"));
    assert_eq!(
        errors(folder.path()),
        [
            "rules/growth.toml:1:1: version stands twice: first at hookline.toml:2; keep one of them",
            "rules/growth.toml:2:7: rule.a stands twice: first at hookline.toml:13; keep one of them",
        ]
    );
}

#[test]
fn a_named_file_must_exist_and_a_pattern_that_matches_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hookline.toml", &format!("include = [\"absent.toml\"]\n{}", base()));
    let found = errors(folder.path());
    assert!(found.len() == 1 && found[0].starts_with("absent.toml: cannot be read"), "{found:?}");
    write(folder.path(), "hookline.toml", &format!("include = [\"absent/*.toml\"]\n{}", base()));
    let config = load_file(folder.path(), &environment(&[])).unwrap();
    assert_eq!(config.warnings[0].to_string(), "hookline.toml:1:12: include \"absent/*.toml\" matches no file");
}

#[test]
fn only_the_main_file_includes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hookline.toml", &format!("include = [\"a.toml\"]\n{}", base()));
    write(folder.path(), "a.toml", "include = [\"b.toml\"]\n");
    assert_eq!(
        errors(folder.path()),
        ["a.toml:1:1: include stands in an included file; only the main file includes others"]
    );
}
