//! The platform's half: where things are. Every key has a `HOOKLINE_<SECTION>_<KEY>` override.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use enrich::Network;

use crate::defaults;
use crate::document::Value;
use crate::privacy::networks;
use crate::secret::{Resolved, SecretText};
use crate::section::{Section, table_from_environment};

/// `[kafka]`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port`, separated by commas; none means the local engine of `hookline up`.
    pub brokers: Option<String>,
    /// Partitions of `raw`, `events` and `seen`; never changed in place. 4 with the local engine, 12 with brokers.
    pub lanes: u16,
    /// Replicas of every topic. 1 with the local engine, 3 with brokers.
    pub replication: u16,
    /// A member of a stage's group that is not heard of for so long is taken for dead, and its lanes are given to others.
    pub takeover_after: Duration,
    /// Further librdkafka properties, such as those of SASL. Their values are hidden, since some are secrets.
    pub properties: Vec<(String, SecretText)>,
}

/// `[clickhouse]`.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Its HTTP address; none means the local engine of `hookline up`.
    pub url: Option<String>,
    /// The user, `default` when left out.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<SecretText>,
    /// The cluster that tables are created on; none: one server.
    pub cluster: Option<String>,
}

/// `[registry]`: the schema registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its HTTP address, with the path of the interface that is like Confluent's.
    pub url: String,
    /// The user, if it wants one.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<SecretText>,
    /// Whether schemas that it does not have are registered; else they are only looked up.
    pub register: bool,
}

/// `[ingest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// `host:port` to listen on.
    pub listen: String,
    /// The largest body in bytes, for sources that say nothing.
    pub max_body: u64,
    /// Proxies whose `X-Forwarded-For` (or `Forwarded`) is believed.
    pub trusted_proxies: Vec<Network>,
    /// What TLS is spoken with; none: plain HTTP, for a proxy that ends TLS.
    pub tls: Option<Tls>,
    /// What bodies, and records that wait for Kafka, may take together, in bytes.
    pub memory: u64,
    /// Connections that may be open at once; of one address half of them.
    pub max_connections: u32,
    /// Requests of one source that may wait for their acknowledgement at once, for sources that say nothing.
    pub in_flight: u32,
    /// How long the head of a request may take, and the handshake of TLS.
    pub header_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
}

impl Default for Ingest {
    /// What holds without `[ingest]`.
    fn default() -> Self {
        Self {
            listen: defaults::INGEST_LISTEN.to_owned(),
            max_body: defaults::MAX_BODY,
            trusted_proxies: Vec::new(),
            tls: None,
            memory: defaults::INGEST_MEMORY,
            max_connections: defaults::MAX_CONNECTIONS,
            in_flight: defaults::IN_FLIGHT,
            header_timeout: defaults::HEADER_TIMEOUT,
            body_timeout: defaults::BODY_TIMEOUT,
            idle_timeout: defaults::IDLE_TIMEOUT,
        }
    }
}

/// `tls` of `[ingest]`: two PEM files. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, followed by those that it is signed with.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[process]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The folder of the window store: a cache, may be lost. Relative paths start where the service is started.
    pub data: PathBuf,
    /// So many dead letters in a row stop a lane; 0: none do.
    pub fuse_run: u32,
    /// So many dead letters in a hundred of the last records stop a lane; 0: none do.
    pub fuse_percent: u8,
}

impl Default for Process {
    /// What holds without `[process]`.
    fn default() -> Self {
        let (fuse_run, fuse_percent) = (defaults::FUSE_RUN, defaults::FUSE_PERCENT);
        Self { data: defaults::PROCESS_DATA.into(), fuse_run, fuse_percent }
    }
}

/// `[geo]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geo {
    /// An MMDB file of countries; relative paths start at the folder of the configuration. It may be replaced while
    /// everything runs.
    pub country: Option<PathBuf>,
}

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// `host:port` to listen on.
    pub listen: String,
    /// Where all instances serve metrics and health, for `hookline status`; may be empty.
    pub instances: Vec<String>,
}

/// `[console]`.
#[derive(Debug, Clone)]
pub struct Console {
    /// `host:port` to listen on.
    pub listen: String,
    /// What changes need; without it the console only reads.
    pub token: Option<SecretText>,
}

pub(crate) fn read_kafka(section: Option<Section<'_>>) -> Kafka {
    let Some(section) = section else {
        let (lanes, replication) = (defaults::LANES.0, defaults::REPLICATION.0);
        let (takeover_after, properties) = (defaults::TAKEOVER_AFTER, Vec::new());
        return Kafka { brokers: None, lanes, replication, takeover_after, properties };
    };
    let brokers = section.placed("brokers").and_then(|(text, at)| {
        let sound = text.split(',').map(str::trim).all(is_address);
        if !sound {
            section.error(&at, format!("brokers {text:?} are not addresses"), "write \"host:port,host:port\"");
        }
        sound.then(|| text.split(',').map(str::trim).collect::<Vec<_>>().join(","))
    });
    let remote = section.has("brokers");
    let choose = |(local, cluster): (u16, u16)| if remote { cluster } else { local };
    let number = |key, high: i64, default| {
        section.integer(key, 1..=high).and_then(|number| u16::try_from(number).ok()).unwrap_or(choose(default))
    };
    let lanes = number("lanes", 1_024, defaults::LANES);
    let replication = number("replication", 15, defaults::REPLICATION);
    let takeover_after =
        section.duration("takeover_after", defaults::TAKEOVER_AFTER_RANGE).unwrap_or(defaults::TAKEOVER_AFTER);
    let properties = read_pairs(&section, "properties", "write { \"security.protocol\" = \"SSL\" }");
    section.finish();
    Kafka { brokers, lanes, replication, takeover_after, properties }
}

/// A table of names and values, each a text or where it is kept; as a variable, the same text.
pub(crate) fn read_pairs(section: &Section<'_>, key: &'static str, form: &str) -> Vec<(String, SecretText)> {
    let Some(node) = section.node(key) else { return Vec::new() };
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
    let properties = Section::new(format!("{key} of {}", section.title), &node.at, table, section.reading);
    let mut pairs = Vec::new();
    for entry in &table.0 {
        let value = match &entry.node.value {
            Value::Text(text) => Some(SecretText::new(text.clone())),
            Value::Integer(number) => Some(SecretText::new(number.to_string())),
            Value::Flag(flag) => Some(SecretText::new(flag.to_string())),
            Value::Table(_) => properties.secret_of(&entry.node, &entry.key).value(),
            other => {
                section.error(&entry.node.at, format!("{} is {}, not a text", entry.key, other.kind()), "");
                None
            }
        };
        pairs.extend(value.map(|value| (entry.key.clone(), value)));
    }
    pairs
}

pub(crate) fn read_clickhouse(section: Option<Section<'_>>) -> ClickHouse {
    let mut clickhouse =
        ClickHouse { url: None, user: defaults::CLICKHOUSE_USER.to_owned(), password: None, cluster: None };
    let Some(section) = section else { return clickhouse };
    clickhouse.url = http_address(&section, "url", "https://host:8443");
    clickhouse.user = section.text("user").unwrap_or(clickhouse.user);
    clickhouse.password = section.secret("password").and_then(Resolved::value);
    clickhouse.cluster = section.text("cluster");
    section.finish();
    clickhouse
}

/// None where the section is missing: the schemas have the ids of `schemas/index.json` then.
pub(crate) fn read_registry(section: Option<Section<'_>>) -> Option<Registry> {
    let section = section?;
    if !section.has("url") {
        section.missing("url", "write \"http://host:8081\", or leave [registry] out: Hookline needs no registry");
    }
    let url = http_address(&section, "url", "http://host:8081");
    let (user, password) = (section.text("user"), section.secret("password").and_then(Resolved::value));
    if section.has("password") && !section.has("user") {
        section.error(section.place("password"), "password of [registry] has no user", "add user");
    }
    let register = section.flag("register").unwrap_or(true);
    section.finish();
    Some(Registry { url: url?, user, password, register })
}

/// An HTTP address without a slash at its end and without a password in it.
pub(crate) fn http_address(section: &Section<'_>, key: &'static str, such_as: &str) -> Option<String> {
    let (url, at) = section.placed(key)?;
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
        section.error(&at, format!("{key} {url:?} is not an http address"), format!("write {such_as:?}"));
    }
    sound.then(|| url.trim_end_matches('/').to_owned())
}

pub(crate) fn read_ingest(section: Option<Section<'_>>) -> Ingest {
    let mut ingest = Ingest::default();
    let Some(section) = section else { return ingest };
    let number =
        |key, range: RangeInclusive<i64>| section.integer(key, range).and_then(|number| u32::try_from(number).ok());
    let time = |key| section.duration(key, defaults::HTTP_TIMEOUT_RANGE);
    ingest.listen = listen(&section, defaults::INGEST_LISTEN);
    ingest.max_body = section.size("max_body", defaults::MAX_BODY_RANGE).unwrap_or(ingest.max_body);
    ingest.trusted_proxies = networks(&section, "trusted_proxies");
    ingest.tls = read_tls(&section);
    ingest.memory = section.size("memory", defaults::INGEST_MEMORY_RANGE).unwrap_or(ingest.memory);
    ingest.max_connections = number("max_connections", 16..=1_000_000).unwrap_or(ingest.max_connections);
    ingest.in_flight = number("in_flight", defaults::IN_FLIGHT_RANGE).unwrap_or(ingest.in_flight);
    ingest.header_timeout = time("header_timeout").unwrap_or(ingest.header_timeout);
    ingest.body_timeout = time("body_timeout").unwrap_or(ingest.body_timeout);
    ingest.idle_timeout = time("idle_timeout").unwrap_or(ingest.idle_timeout);
    section.finish();
    ingest
}

/// `{ cert = "…", key = "…" }`; as a variable, the same text.
fn read_tls(ingest: &Section<'_>) -> Option<Tls> {
    const FORM: &str = "write { cert = \"chain.pem\", key = \"key.pem\" }";
    let node = ingest.node("tls")?;
    let parsed;
    let node = if node.at.origin.environment {
        parsed = table_from_environment(node, ingest.reading.sink)?;
        &parsed
    } else {
        node
    };
    let Value::Table(table) = &node.value else {
        ingest.error(&node.at, format!("tls of [ingest] is {}, not a table", node.value.kind()), FORM);
        return None;
    };
    let section = Section::new("tls of [ingest]".to_owned(), &node.at, table, ingest.reading);
    for key in ["cert", "key"] {
        if !section.has(key) {
            section.missing(key, FORM);
        }
    }
    let (cert, key) = (section.path("cert"), section.path("key"));
    section.finish();
    Some(Tls { cert: cert?, key: key? })
}

pub(crate) fn read_process(section: Option<Section<'_>>) -> Process {
    let mut process = Process::default();
    let Some(section) = section else { return process };
    // Not relative to the file: data does not rest beside a configuration, which may be read-only.
    process.data = section.text("data").map_or(process.data, PathBuf::from);
    let number = |key, high: i64| section.integer(key, 0..=high);
    process.fuse_run =
        number("fuse_run", 1_000_000).and_then(|run| u32::try_from(run).ok()).unwrap_or(process.fuse_run);
    process.fuse_percent =
        number("fuse_percent", 100).and_then(|share| u8::try_from(share).ok()).unwrap_or(process.fuse_percent);
    section.finish();
    process
}

pub(crate) fn read_geo(section: Option<Section<'_>>) -> Geo {
    let Some(section) = section else { return Geo::default() };
    let geo = Geo { country: section.path("country") };
    if !section.has("country") {
        section.missing("country", "name an MMDB file of countries, or leave [geo] out");
    }
    section.finish();
    geo
}

pub(crate) fn read_metrics(section: Option<Section<'_>>) -> Metrics {
    let Some(section) = section else {
        return Metrics { listen: defaults::METRICS_LISTEN.to_owned(), instances: Vec::new() };
    };
    let mut instances = Vec::new();
    for (address, at) in section.texts("instances").unwrap_or_default() {
        if is_address(address.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')) {
            instances.push(address);
        } else {
            section.error(&at, format!("instance {address:?} is not an address"), "write \"host:9464\"");
        }
    }
    let metrics = Metrics { listen: listen(&section, defaults::METRICS_LISTEN), instances };
    section.finish();
    metrics
}

pub(crate) fn read_console(section: Option<Section<'_>>) -> Console {
    let Some(section) = section else {
        return Console { listen: defaults::CONSOLE_LISTEN.to_owned(), token: None };
    };
    let console = Console {
        listen: listen(&section, defaults::CONSOLE_LISTEN),
        token: section.secret("token").and_then(Resolved::value),
    };
    section.finish();
    console
}

fn listen(section: &Section<'_>, default: &str) -> String {
    let Some((text, at)) = section.placed("listen") else { return default.to_owned() };
    if is_address(&text) {
        return text;
    }
    section.error(&at, format!("listen {text:?} is no address"), format!("write \"{default}\""));
    default.to_owned()
}

/// `host:port`; the host is not looked up.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
    })
}
