//! The JSON Schema of the configuration, for editors, and JSON that keeps the order it is written in.

use serde::{Serialize, Serializer};

use crate::root;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Json {
    Json::Text(text.into())
}

/// An object.
pub(crate) fn object<K: Into<String>>(parts: impl IntoIterator<Item = (K, Json)>) -> Json {
    Json::Map(parts.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// What fits one of several.
pub(crate) fn any_of(choices: impl IntoIterator<Item = Json>) -> Json {
    object([("anyOf", Json::List(choices.into_iter().collect()))])
}

/// A text that fits a regular expression.
pub(crate) fn matching(pattern: &str) -> Json {
    object([("type", text("string")), ("pattern", text(pattern))])
}

/// A text with something in it: an empty one is refused everywhere.
pub(crate) fn some_text() -> Json {
    matching(r"\S")
}

/// One of several names.
pub(crate) fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> Json {
    let names = names.into_iter().map(text).collect();
    object([("type", text("string")), ("enum", Json::List(names))])
}

/// A list.
pub(crate) fn list_of(items: Json) -> Json {
    object([("type", text("array")), ("items", items)])
}

/// A part that stands under `$defs`.
pub(crate) fn shared(name: &str) -> Json {
    // Not beside other keywords: readers of this draft overlook them there.
    object([("allOf", Json::List(vec![object([("$ref", text(format!("#/$defs/{name}")))])]))])
}

/// Where a secret is.
pub(crate) const SECRET: &str = "secret";

fn secret() -> Json {
    let form = |key: &str, about: &str| {
        object([
            ("type", text("object")),
            ("properties", object([(key, object([("description", text(about))]).with_all(some_text()))])),
            ("additionalProperties", Json::Flag(false)),
            ("required", Json::List(vec![text(key)])),
        ])
    };
    any_of([
        form("env", "The environment variable that has the secret."),
        form("file", "The file that has the secret. Relative paths start at the folder of this file."),
    ])
}

impl Json {
    /// This object and the parts of another.
    pub(crate) fn with_all(self, other: Self) -> Self {
        match (self, other) {
            (Self::Map(mut parts), Self::Map(more)) => {
                parts.extend(more);
                Self::Map(parts)
            }
            (one, _) => one,
        }
    }

    /// As TOML has it.
    pub(crate) fn toml(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::List(items) => format!("[{}]", items.iter().map(Self::toml).collect::<Vec<_>>().join(", ")),
            Self::Map(parts) => {
                let parts: Vec<String> = parts.iter().map(|(key, value)| format!("{key} = {}", value.toml())).collect();
                format!("{{ {} }}", parts.join(", "))
            }
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(parts) => serializer.collect_map(parts.iter().map(|(key, value)| (key, value))),
        }
    }
}

/// The JSON Schema of `hookline.toml` and of the files that it includes: what an editor completes and underlines by.
///
/// It takes every configuration that [`crate::Config::load`] takes, and refuses unknown keys, wrong types and numbers
/// out of range. What depends on two keys, on other files or on the platform is checked by `hookline check` alone.
#[must_use]
pub fn schema() -> String {
    let head = object([
        ("$schema", text("http://json-schema.org/draft-07/schema#")),
        ("title", text("hookline.toml")),
        (
            "description",
            text("The configuration of Hookline, and the files that it includes. Written by `hookline config schema`."),
        ),
    ]);
    let shared = object([(
        "$defs",
        object([
            (SECRET, secret()),
            (crate::mapping::TEXT, crate::mapping::text_schema()),
            (crate::mapping::FACT, crate::mapping::fact_schema()),
        ]),
    )]);
    let whole = head.with_all(root::GROUP.schema(false)).with_all(shared);
    // Nothing in it can fail to be written: keys are texts.
    serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
}
