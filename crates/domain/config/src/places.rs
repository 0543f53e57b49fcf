//! Where things stand in the files of a configuration, for those who are told that a line decided something.

use std::path::Path;

use crate::document::{self, Table, Value};
use crate::problem::Sink;

/// The files of a configuration, as written.
#[derive(Debug, Default)]
pub struct Places(Table);

impl Places {
    /// Reads a configuration and what it includes. What cannot be read has no place; [`crate::Config::load`] says why.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        Self(document::read(path, &Sink::default()))
    }

    /// Where a key stands, such as `["rule", "promo-spike"]`: `rules/growth.toml:12`.
    #[must_use]
    pub fn of(&self, keys: &[&str]) -> Option<String> {
        let (last, tables) = keys.split_last()?;
        let table = tables.iter().try_fold(&self.0, |table, key| match &table.get(key)?.node.value {
            Value::Table(below) => Some(below),
            _ => None,
        })?;
        Some(table.get(last)?.at.to_string())
    }

    /// Where a text stands in a list, such as `"qa-"` in `["ignore", "test", "slug_prefixes"]`; else where the list
    /// stands.
    #[must_use]
    pub fn item(&self, keys: &[&str], text: &str) -> Option<String> {
        let (last, tables) = keys.split_last()?;
        let table = tables.iter().try_fold(&self.0, |table, key| match &table.get(key)?.node.value {
            Value::Table(below) => Some(below),
            _ => None,
        })?;
        let Value::List(items) = &table.get(last)?.node.value else { return self.of(keys) };
        let is_it = |value: &Value| matches!(value, Value::Text(item) if item.eq_ignore_ascii_case(text));
        items.iter().find(|item| is_it(&item.value)).map_or_else(|| self.of(keys), |item| Some(item.at.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_items_of_lists_have_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let text =
            "version = 1\n[ignore.test]\nslug_prefixes = [\n  \"qa-\",\n  \"test-\",\n]\n[rule.one]\nowner = \"me\"\n";
        std::fs::write(&path, text).unwrap();
        let places = Places::read(&path);
        let line = |place: Option<String>| place.and_then(|place| place.rsplit(':').next().map(str::to_owned));
        assert_eq!(line(places.of(&["rule", "one"])).as_deref(), Some("7"));
        assert_eq!(line(places.of(&["rule", "one", "owner"])).as_deref(), Some("8"));
        assert_eq!(line(places.item(&["ignore", "test", "slug_prefixes"], "test-")).as_deref(), Some("5"));
        assert_eq!(line(places.item(&["ignore", "test", "slug_prefixes"], "gone-")).as_deref(), Some("3"));
        assert_eq!(places.of(&["rule", "two"]), None);
    }
}
