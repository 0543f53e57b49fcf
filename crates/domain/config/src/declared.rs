//! What is declared and what is read are the same: tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics says what broke")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use crate::option::{Declared, Group, Others};
use crate::{Config, Environment, root};

thread_local! {
    /// Which keys readers asked for, by the heading of their table.
    static ASKED: RefCell<BTreeSet<(&'static str, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
}

/// A reader asked for a key.
pub(crate) fn note(group: &'static Group, key: &'static str) {
    ASKED.with_borrow_mut(|asked| asked.insert((group.title, key)));
}

/// Reads a configuration that has everything, whatever is wrong with it.
fn read(text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hookline.toml");
    std::fs::write(&path, text).unwrap();
    let environment = Environment::new([("A", "a")], "2026-11-23T10:00:00Z".parse().unwrap()).without_secrets();
    let _ = Config::load(&path, &environment);
}

fn example_file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)).unwrap()
}

/// Every table of the declarations, with its keys.
fn walk(options: &[&'static dyn Declared], visit: &mut impl FnMut(&'static Group)) {
    for option in options {
        for group in option.groups() {
            visit(group);
            walk(group.options, visit);
            for others in group.others {
                let (Others::Listed(_, form) | Others::Named(_, form)) = others;
                walk(&[*form], visit);
            }
        }
    }
}

#[test]
fn every_option_that_is_declared_is_read() {
    let example = example_file("deploy/hookline.example.toml");
    let platform = "[registry]\nurl = \"http://a\"\n[geo]\ncountry = \"a\"\n[traces]\nendpoint = \"http://a\"\n[canary]\nsource = \"a\"\n";
    let tls = "tls = { cert = \"a\", key = \"b\" }\n[process]\n";
    let rules = example_file("deploy/rules/growth.toml");
    read(&format!("{}{platform}{rules}", example.replace("[process]\n", tls)));
    let map = "map = { event_key = { all = [\"a\"] }, value_minor = { path = \"b\", times = 1 }, currency = \"c\", ";
    let template = "url    = \"https://hooks.example.com/hookline\"\ntemplate = { text = \"{{ todo }}\" }\n";
    read(&example.replace("url    = \"https://hooks.example.com/hookline\"\n", template));
    read(&example_file("deploy/hookline.example.toml").replace("map     = { event_key = \"payload.eventId\", ", map));
    read(include_str!("../tests/whole-language.toml"));
    let mut unread = Vec::new();
    walk(root::GROUP.options, &mut |group| {
        for option in group.options {
            if !ASKED.with_borrow(|asked| asked.contains(&(group.title, option.key()))) {
                unread.push(format!("{} {}", group.title, option.key()));
            }
        }
    });
    // The conditions of `when` are read as they come, by the name of their field; a scheme by what it has.
    let by_name =
        ["when event", "scheme with a query query", "scheme with a header header", "scheme with an HMAC hmac"];
    unread.retain(|one| !by_name.contains(&one.as_str()));
    assert_eq!(unread, [""; 0]);
}

#[test]
fn every_option_says_what_it_means_and_shows_a_value() {
    let mut poor = Vec::new();
    walk(root::GROUP.options, &mut |group| {
        for option in group.options {
            let row = option.row();
            let sound = row.about.ends_with('.') && !row.form.is_empty();
            let example = format!("it = {}", row.example).parse::<toml::Table>();
            if !sound || (example.is_err() && option.groups().is_empty()) {
                poor.push(format!("{} {}: {:?} {:?}", group.title, option.key(), row.about, row.example));
            }
        }
    });
    assert_eq!(poor, [""; 0]);
}

#[test]
fn what_a_rule_counts_per_has_one_name() {
    let names: Vec<_> = rules::Per::EVERY.iter().map(|per| (per.name(), *per)).collect();
    assert_eq!(names, crate::alert::PERS);
}
