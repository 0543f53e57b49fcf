//! The platform's half: where things are. Every key has a `HOOKLINE_<SECTION>_<KEY>` override.

mod clickhouse;
mod console;
mod geo;
mod ingest;
mod kafka;
mod metrics;
mod process;
mod registry;

pub use clickhouse::ClickHouse;
pub use console::Console;
pub use geo::Geo;
pub use ingest::{Ingest, Tls};
pub use kafka::Kafka;
pub use metrics::Metrics;
pub use process::Process;
pub use registry::Registry;

pub(crate) use clickhouse::read_clickhouse;
pub(crate) use console::read_console;
pub(crate) use geo::read_geo;
pub(crate) use ingest::{BODIES_IN_MEMORY, in_flight, max_body, read_ingest};
pub(crate) use kafka::{LANES_WHERE, read_kafka};
pub(crate) use metrics::read_metrics;
pub(crate) use process::read_process;
pub(crate) use registry::read_registry;

use crate::document::Value;
use crate::form::{Text, Texts};
use crate::option::Opt;
use crate::schema::{self, Json, any_of, object, shared, text};
use crate::secret::SecretText;
use crate::section::{Placed, Section, table_from_environment};
use crate::table::Own;

/// The tables, as the file may have them.
pub(crate) mod groups {
    pub(crate) use super::clickhouse::GROUP as CLICKHOUSE;
    pub(crate) use super::console::GROUP as CONSOLE;
    pub(crate) use super::geo::GROUP as GEO;
    pub(crate) use super::ingest::GROUP as INGEST;
    pub(crate) use super::kafka::GROUP as KAFKA;
    pub(crate) use super::metrics::GROUP as METRICS;
    pub(crate) use super::process::GROUP as PROCESS;
    pub(crate) use super::registry::GROUP as REGISTRY;
}

/// A key `listen`.
const fn listens(about: &'static str, default: &'static str) -> Opt<Text> {
    Opt::new("listen", Text("`host:port`"), about, "\"0.0.0.0:8080\"").or(default)
}

/// The address under a key that [`listens`] declares.
fn listen(section: &Section<'_>, opt: &Opt<Text>) -> String {
    let default = opt.default.unwrap_or_default();
    let Some((text, at)) = section.placed(opt) else { return default.to_owned() };
    if is_address(&text) {
        return text;
    }
    section.error(&at, format!("listen {text:?} is not an address"), format!("write \"{default}\""));
    default.to_owned()
}

/// An HTTP address without a slash at its end and without a password in it.
pub(crate) fn http_address(section: &Section<'_>, opt: &Opt<Text>) -> Option<String> {
    http_address_of(section, opt.key, opt.example, section.placed(opt)?)
}

/// A list of those.
fn http_addresses(section: &Section<'_>, opt: &Opt<Texts>) -> Vec<String> {
    let listed = section.texts(opt).unwrap_or_default();
    listed.into_iter().filter_map(|placed| http_address_of(section, opt.key, opt.example, placed)).collect()
}

fn http_address_of(section: &Section<'_>, key: &str, example: &str, (url, at): Placed) -> Option<String> {
    if url.contains('@') {
        // Not repeated: what stands before the @ may be a password.
        section.error(
            &at,
            format!("{key} of {} holds a user", section.title),
            "write user and password as keys of their own",
        );
        return None;
    }
    let sound = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if !sound {
        section.error(&at, format!("{key} {url:?} is not an http address"), format!("write {example}"));
    }
    sound.then(|| url.trim_end_matches('/').to_owned())
}

/// A table of names and values, each a text or where it is kept.
pub(crate) const PAIRS: Own = Own::new(pairs_schema, "a table: a text, a number, a flag or a secret for each name");

/// What is under a key of the form [`PAIRS`]; as a variable, the same text.
pub(crate) fn read_pairs(section: &Section<'_>, opt: &Opt<Own>) -> Vec<(String, SecretText)> {
    let (key, form) = (opt.key, format!("write {}", opt.example));
    let Some(node) = section.node(opt) else { return Vec::new() };
    let parsed;
    let table = match &node.value {
        Value::Table(table) => table,
        Value::Text(_) if node.at.origin.environment => {
            parsed = table_from_environment(node, section.reading.sink);
            match parsed.as_ref().map(|node| &node.value) {
                Some(Value::Table(table)) => table,
                _ => {
                    section.error(&node.at, "is not a table", form);
                    return Vec::new();
                }
            }
        }
        _ => {
            section.error(&node.at, format!("{key} is {}, not a table", node.value.kind()), form);
            return Vec::new();
        }
    };
    let values = Section::new(format!("{key} of {}", section.title), &node.at, table, section.reading);
    let mut pairs = Vec::new();
    for entry in &table.0 {
        let value = match &entry.node.value {
            Value::Text(text) => Some(SecretText::new(text.clone())),
            Value::Integer(number) => Some(SecretText::new(number.to_string())),
            Value::Flag(flag) => Some(SecretText::new(flag.to_string())),
            Value::Table(_) => values.secret_of(&entry.node, &entry.key).value(),
            other => {
                section.error(&entry.node.at, format!("{} is {}, not a text", entry.key, other.kind()), "");
                None
            }
        };
        pairs.extend(value.map(|value| (entry.key.clone(), value)));
    }
    pairs
}

fn pairs_schema() -> Json {
    let plain = object([("type", Json::List(["string", "integer", "boolean"].map(text).to_vec()))]);
    object([("type", text("object")), ("additionalProperties", any_of([plain, shared(schema::SECRET)]))])
}

/// `host:port`; the host is not looked up.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
    })
}
