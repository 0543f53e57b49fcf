//! What the configuration takes from its surroundings: variables and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;

use crate::document::{Entry, Node, Table, Value};
use crate::problem::{Origin, Place, Sink, did_you_mean};

/// The sections whose keys have a `HOOKLINE_<SECTION>_<KEY>` override.
pub(crate) const PLATFORM_SECTIONS: [&str; 10] =
    ["kafka", "clickhouse", "registry", "ingest", "process", "geo", "metrics", "traces", "console", "canary"];

/// `HOOKLINE_` variables that are not overrides; a `*` at the end stands for any ending.
const OTHER_VARIABLES: [&str; 6] = [
    "HOOKLINE_CACHE",
    "HOOKLINE_CLICKHOUSE_BIN",
    "HOOKLINE_ENGINE_ACCOUNTS",
    "HOOKLINE_LOG",
    "HOOKLINE_LOG_FORMAT",
    "HOOKLINE_TEST_*",
];

/// What the configuration takes from its surroundings. Read once at the edge, so that loading is a function of it.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    now: Timestamp,
    secrets: Lookup,
}

/// Which secrets are looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookup {
    All,
    /// Those of the platform's half: of Kafka, ClickHouse, the schema registry and the console.
    Platform,
    None,
}

impl Environment {
    /// The variables and the clock of this process. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: variables.collect(), now: Timestamp::now(), secrets: Lookup::All }
    }

    /// Given variables and time.
    pub fn new<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>, now: Timestamp) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.collect(), now, secrets: Lookup::All }
    }

    /// For checking where the secrets are not at hand: they are not looked up, so the result has none and cannot serve.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        self.secrets = Lookup::None;
        self
    }

    /// For tools that reach Kafka or ClickHouse and need nobody's webhook secret: as [`Environment::without_secrets`], but
    /// for the secrets of the platform's half.
    #[must_use]
    pub fn with_platform_secrets_only(mut self) -> Self {
        self.secrets = Lookup::Platform;
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether a secret is looked up that stands in the platform's half (or elsewhere).
    pub(crate) fn resolves_secrets(&self, of_platform: bool) -> bool {
        match self.secrets {
            Lookup::All => true,
            Lookup::Platform => of_platform,
            Lookup::None => false,
        }
    }

    /// Puts the overrides into the tree, each at the place of its variable, so that they are read and checked as the
    /// keys that they stand for. A variable that the configuration itself refers to is no override.
    pub(crate) fn override_keys(&self, root: &mut Table, sink: &Sink) {
        let referenced = referenced_variables(root);
        for (name, text) in &self.variables {
            let Some(rest) = name.strip_prefix("HOOKLINE_") else { continue };
            if is_other(name) || is_kubernetes_service_link(rest, text) {
                continue;
            }
            let origin = Rc::new(Origin { name: name.clone(), folder: ".".into(), environment: true });
            let at = Place::whole(&origin);
            let target = rest.split_once('_').map(|(section, key)| (section.to_lowercase(), key.to_lowercase()));
            match target {
                Some((section, key)) if PLATFORM_SECTIONS.contains(&section.as_str()) => {
                    set(root, &section, &key, text, &at);
                }
                _ if referenced.contains(name.as_str()) => {}
                _ => {
                    let section = rest.split('_').next().unwrap_or_default().to_lowercase();
                    let hint = match did_you_mean(&section, PLATFORM_SECTIONS) {
                        nearest if nearest.starts_with("did") => nearest,
                        _ => format!("HOOKLINE_<SECTION>_<KEY> exists for {}", PLATFORM_SECTIONS.join(", ")),
                    };
                    sink.error(&at, "overrides no key of the configuration", hint);
                }
            }
        }
    }
}

/// Names of variables only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("now", &self.now).finish_non_exhaustive()
    }
}

fn is_other(name: &str) -> bool {
    OTHER_VARIABLES.iter().any(|other| rules::Glob::new(other).matches(name))
}

/// Kubernetes puts the addresses of a service named `hookline-ingest` into every pod of its namespace.
fn is_kubernetes_service_link(rest: &str, text: &str) -> bool {
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || (rest.contains("PORT") && ["tcp://", "udp://"].iter().any(|scheme| text.starts_with(scheme)))
        || rest.split_once("PORT_").is_some_and(|(_, port)| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// The variables that `{ env = "…" }` refers to, anywhere.
fn referenced_variables(table: &Table) -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::List(items) => items.iter().for_each(|item| walk(&item.value, found)),
            Value::Table(table) => {
                for entry in &table.0 {
                    match &entry.node.value {
                        Value::Text(name) if entry.key == "env" => _ = found.insert(name.clone()),
                        inner => walk(inner, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(&Value::Table(table.clone()), &mut found);
    found
}

fn set(root: &mut Table, section: &str, key: &str, text: &str, at: &Place) {
    let node = Node { at: at.clone(), value: Value::Text(text.to_owned()) };
    let index = root.0.iter().position(|entry| entry.key == section).unwrap_or_else(|| {
        let table = Node { at: at.clone(), value: Value::Table(Table::default()) };
        root.0.push(Entry { key: section.to_owned(), at: at.clone(), node: table });
        root.0.len() - 1
    });
    // A section that is no table is a problem of its own, found when it is read.
    let Some(Value::Table(table)) = root.0.get_mut(index).map(|entry| &mut entry.node.value) else { return };
    table.0.retain(|entry| entry.key != key);
    table.0.push(Entry { key: key.to_owned(), at: at.clone(), node });
}
