//! The version of a configuration: the same for files that mean the same.

use crate::document::{Table, Value};
use crate::environment::PLATFORM_SECTIONS;

/// 12 hex digits over everything but the platform's half, which differs between instances of one system. Comments, the
/// order of keys and the split into files do not matter. Secrets count by where they are, not by what they are.
pub(crate) fn hash(root: &Table) -> String {
    let mut text = String::new();
    let deciding = root.0.iter().filter(|entry| !PLATFORM_SECTIONS.contains(&entry.key.as_str()));
    table(deciding.map(|entry| (entry.key.as_str(), &entry.node.value)).collect(), &mut text);
    let mut hash = event::keyed_hash_hex(&["configuration.v1", &text]);
    hash.truncate(12);
    hash
}

fn table(mut entries: Vec<(&str, &Value)>, out: &mut String) {
    entries.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (key, node) in entries {
        out.push_str(&format!("{key:?}:"));
        value(node, out);
        out.push(',');
    }
    out.push('}');
}

fn value(value_: &Value, out: &mut String) {
    match value_ {
        // Quoted, so that no text can pass for the structure around it.
        Value::Text(text) => out.push_str(&format!("{text:?}")),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(number),
        Value::Flag(flag) => out.push_str(&flag.to_string()),
        Value::Time(time) => out.push_str(&time.to_string()),
        Value::List(items) => {
            out.push('[');
            for item in items {
                value(&item.value, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Table(inner) => {
            table(inner.0.iter().map(|entry| (entry.key.as_str(), &entry.node.value)).collect(), out);
        }
    }
}
