//! `[ingest]`: the HTTP edge.

use std::path::PathBuf;
use std::time::Duration;

use enrich::Network;

use super::{listen, listens};
use crate::document::Value;
use crate::form::{Bytes, File, Integer, Span, Text, Texts};
use crate::option::{Group, Opt};
use crate::privacy::networks;
use crate::section::{Section, table_from_environment};
use crate::table::Table;

/// A body may take at most this part of `memory`: a quarter is one source's share, and it must hold several.
pub(crate) const BODIES_IN_MEMORY: u64 = 16;

/// The key `max_body`, of `[ingest]` and of sources: 1 KiB to 16 MiB.
pub(crate) const fn max_body(about: &'static str) -> Opt<Bytes> {
    Opt::new("max_body", Bytes::within(1 << 10, 16 << 20), about, "\"1MiB\"")
}

/// The key `in_flight`, of `[ingest]` and of sources.
pub(crate) const fn in_flight(about: &'static str) -> Opt<Integer<u32>> {
    Opt::new("in_flight", Integer::within(1, 100_000, "requests"), about, "2048")
}

const fn timeout(key: &'static str, about: &'static str, default_seconds: u64) -> Opt<Span> {
    let span = Span::within(Duration::from_millis(100), Duration::from_secs(3_600));
    Opt::new(key, span, about, "\"30s\"").or(Duration::from_secs(default_seconds))
}

const LISTEN: Opt<Text> = listens("Where webhooks are taken.", "127.0.0.1:8080");
const MAX_BODY: Opt<Bytes> =
    max_body("The largest body, on the wire and decompressed, for sources that do not say it.").or(256 << 10);
const TRUSTED_PROXIES: Opt<Texts> = Opt::new(
    "trusted_proxies",
    Texts,
    "Networks of proxies whose `X-Forwarded-For` (or `Forwarded`) is believed.",
    "[\"10.0.0.0/8\"]",
)
.otherwise("none");
const TLS: Opt<Table> = Opt::new(
    "tls",
    Table(&TLS_GROUP),
    "The certificate that TLS is spoken with. Files that are replaced are taken up by themselves.",
    "{ cert = \"chain.pem\", key = \"key.pem\" }",
)
.otherwise("plain HTTP, for a proxy that ends TLS");
const MEMORY: Opt<Bytes> = Opt::new(
    "memory",
    Bytes::within(16 << 20, 1 << 40),
    "What bodies, and records that wait for Kafka, may take, half each. One source gets at most half of its part.",
    "\"256MiB\"",
)
.or(256 << 20);
const MAX_CONNECTIONS: Opt<Integer<u32>> = Opt::new(
    "max_connections",
    Integer::within(16, 1_000_000, "connections"),
    "Connections that may be open at once; of one address half of them.",
    "8192",
)
.or(8_192);
/// At 40 ms an acknowledgement the default is 50,000 requests a second.
const IN_FLIGHT: Opt<Integer<u32>> = in_flight(
    "Requests of one source that may wait for their acknowledgement at once, for sources that do not say it.",
)
.or(2_048);
const HEADER_TIMEOUT: Opt<Span> =
    timeout("header_timeout", "How long the head of a request may take, and the handshake of TLS.", 10);
const BODY_TIMEOUT: Opt<Span> = timeout(
    "body_timeout",
    "How long a body may take. One that comes slower than 1 KiB a second is cut off after 2 s.",
    10,
);
/// Longer than senders and load balancers keep connections (60 s), so that they close first.
const IDLE_TIMEOUT: Opt<Span> = timeout("idle_timeout", "How long a connection may be without a request.", 75);

pub(crate) static GROUP: Group = Group {
    title: "[ingest]",
    about: "The HTTP edge.",
    read_by: "ingest",
    options: &[
        &LISTEN,
        &MAX_BODY,
        &TRUSTED_PROXIES,
        &TLS,
        &MEMORY,
        &MAX_CONNECTIONS,
        &IN_FLIGHT,
        &HEADER_TIMEOUT,
        &BODY_TIMEOUT,
        &IDLE_TIMEOUT,
    ],
    others: &[],
};

const TLS_FORM: &str = "write { cert = \"chain.pem\", key = \"key.pem\" }";
const CERT: Opt<File> =
    Opt::new("cert", File, "A PEM file: the certificate, followed by those that it is signed with.", "\"chain.pem\"")
        .required(TLS_FORM);
const KEY: Opt<File> = Opt::new("key", File, "A PEM file: its private key.", "\"key.pem\"").required(TLS_FORM);

static TLS_GROUP: Group = Group {
    title: "tls",
    about: "Two PEM files. They are read again when they change.",
    read_by: "",
    options: &[&CERT, &KEY],
    others: &[],
};

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
            listen: LISTEN.usual().to_owned(),
            max_body: MAX_BODY.usual(),
            trusted_proxies: Vec::new(),
            tls: None,
            memory: MEMORY.usual(),
            max_connections: MAX_CONNECTIONS.usual(),
            in_flight: IN_FLIGHT.usual(),
            header_timeout: HEADER_TIMEOUT.usual(),
            body_timeout: BODY_TIMEOUT.usual(),
            idle_timeout: IDLE_TIMEOUT.usual(),
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

pub(crate) fn read_ingest(section: Option<Section<'_>>) -> Ingest {
    let mut ingest = Ingest::default();
    let Some(section) = section else { return ingest };
    ingest.listen = listen(&section, &LISTEN);
    ingest.max_body = section.size(&MAX_BODY).unwrap_or(ingest.max_body);
    ingest.trusted_proxies = networks(&section, &TRUSTED_PROXIES);
    ingest.tls = read_tls(&section);
    ingest.memory = section.size(&MEMORY).unwrap_or(ingest.memory);
    ingest.max_connections = section.integer(&MAX_CONNECTIONS).unwrap_or(ingest.max_connections);
    ingest.in_flight = section.integer(&IN_FLIGHT).unwrap_or(ingest.in_flight);
    ingest.header_timeout = section.duration(&HEADER_TIMEOUT).unwrap_or(ingest.header_timeout);
    ingest.body_timeout = section.duration(&BODY_TIMEOUT).unwrap_or(ingest.body_timeout);
    ingest.idle_timeout = section.duration(&IDLE_TIMEOUT).unwrap_or(ingest.idle_timeout);
    section.finish();
    ingest
}

/// `{ cert = "…", key = "…" }`; as a variable, the same text.
fn read_tls(ingest: &Section<'_>) -> Option<Tls> {
    let node = ingest.node(&TLS)?;
    let parsed;
    let node = if node.at.origin.environment {
        parsed = table_from_environment(node, ingest.reading.sink)?;
        &parsed
    } else {
        node
    };
    let Value::Table(table) = &node.value else {
        ingest.error(&node.at, format!("tls of [ingest] is {}, not a table", node.value.kind()), TLS_FORM);
        return None;
    };
    let section = Section::new("tls of [ingest]".to_owned(), &node.at, table, ingest.reading).declared_as(&TLS_GROUP);
    section.demand(&CERT);
    section.demand(&KEY);
    let (cert, key) = (section.path(&CERT), section.path(&KEY));
    section.finish();
    Some(Tls { cert: cert?, key: key? })
}
