//! The page and the schema that are written from the declarations.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// `HOOKLINE_TEST_WRITE=1` writes the files anew.
fn is_as_published(path: &str, written: &str) {
    let file = repository().join(path);
    if std::env::var_os("HOOKLINE_TEST_WRITE").is_some() {
        fs::write(&file, written).unwrap();
    }
    let published = fs::read_to_string(&file).unwrap_or_default();
    let same = published == written;
    assert!(same, "{path} is not what the declarations give: write it with `just configuration`");
}

#[test]
fn the_page_and_the_schema_are_what_the_declarations_give() {
    is_as_published("docs/configuration.md", &hookline_config::reference());
    is_as_published("schemas/hookline.schema.json", &hookline_config::schema());
}

/// TOML as an editor hands it to a schema: dates are texts there.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

static SCHEMA: LazyLock<Mutex<(Schemas, SchemaIndex)>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&hookline_config::schema()).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("hookline.json", schema).unwrap();
    let index = compiler.compile("hookline.json", &mut schemas).unwrap();
    Mutex::new((schemas, index))
});

/// What the schema finds wrong with a text.
fn faults(text: &str) -> Option<String> {
    let value = json(toml::Value::Table(text.parse().unwrap()));
    let held = SCHEMA.lock().unwrap_or_else(PoisonError::into_inner);
    held.0.validate(&value, held.1).err().map(|error| format!("{error:#}"))
}

/// Every configuration that is accepted by a test of this crate comes past here.
pub(crate) fn the_schema_takes(text: &str) {
    if let Some(faults) = faults(text) {
        panic!("the schema refuses what is accepted: {faults}\nin\n{text}");
    }
}

#[test]
fn the_schema_takes_every_configuration_of_the_repository() {
    for path in [
        "deploy/hookline.example.toml",
        "deploy/rules/growth.toml",
        "deploy/compose/hookline.toml",
        "crates/domain/config/src/fresh.toml",
        "crates/domain/config/tests/whole-language.toml",
    ] {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        assert_eq!(faults(&text), None, "{path}");
    }
}

#[test]
fn the_schema_refuses_what_check_refuses_by_a_key_alone() {
    let base = crate::base();
    the_schema_takes(&base);
    for (from, to) in [
        ("version = 1", "version = 2"),
        ("version = 1", "version = 1\ntimezon = \"UTC\""),
        ("chat =", "chatt ="),
        ("adapter = \"dub\"", "adapter = \"dup\""),
        ("owner = \"growth\"\nsecrets", "secrets"),
        ("env = \"DUB_SECRET\"", "env = \"A\", file = \"b\""),
        ("id = \"a\", ", ""),
        ("adapter = \"dub\"", "adapter = \"dub\"\nremember = \"72h\""),
        ("adapter = \"dub\"", "adapter = \"dub\"\nquota = { per_second = 0 }"),
        ("adapter = \"dub\"", "adapter = \"dub\"\nscheme = \"dupp\""),
        ("adapter = \"dub\"", "adapter = \"dub\"\nscheme = { hmac = \"sha256\" }"),
        ("kind = \"csv\"", "kind = \"cvs\""),
        ("kind = \"csv\"", "kind = \"csv\"\nurl = \"https://a\""),
        ("[destination.log]", "[ingest]\nlisten = 8080\n[destination.log]"),
        ("[destination.log]", "[ingest]\nmax_body = \"256KB\"\n[destination.log]"),
        ("[destination.log]", "[destination.\"a b\"]"),
        ("[destination.log]", "[rule.r]\nowner = \"growth\"\nwhen = { evnt = \"visit\" }\n[destination.log]"),
        ("[destination.log]", "[rule.r]\nowner = \"growth\"\nwhen = {}\nalert = { count = 3 }\n[destination.log]"),
        ("[destination.log]", "[naming]\ncampaign = { patern = \"a\" }\n[destination.log]"),
    ] {
        let broken = base.replacen(from, to, 1);
        assert_ne!(broken, base, "{from}");
        assert!(faults(&broken).is_some(), "the schema takes {to:?}");
        assert!(!crate::errors(&broken).is_empty(), "check takes {to:?}");
    }
}
