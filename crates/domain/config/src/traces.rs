//! `[traces]`: where spans of sampled events go.

use std::time::Duration;

use crate::form::{Integer, Span, Text, Texts};
use crate::option::{Group, Opt};
use crate::owners::Declared;
use crate::platform::{PAIRS, http_address, read_pairs};
use crate::secret::SecretText;
use crate::section::Section;
use crate::table::Own;

const ENDPOINT: Opt<Text> = Opt::new(
    "endpoint",
    Text("an http address, without a user in it"),
    "The base address of an OpenTelemetry collector: OTLP over HTTP. `/v1/traces` is added.",
    "\"http://collector:4318\"",
)
.required("write endpoint = \"http://collector:4318\", or leave [traces] out: nothing is traced then");
const HEADERS: Opt<Own> = Opt::new(
    "headers",
    PAIRS,
    "Headers of each request, such as a token. Their values appear in no output.",
    "{ authorization = { env = \"COLLECTOR_TOKEN\" } }",
)
.otherwise("none");
const ONE_IN: Opt<Integer<u32>> = Opt::new(
    "one_in",
    Integer::within(0, 1_000_000_000, "events"),
    "One event in so many is traced; 0: only those that trusted senders record.",
    "1000",
)
.or(1_000);
const MAX_PER_SECOND: Opt<Integer<u32>> = Opt::new(
    "max_per_second",
    Integer::within(0, 100_000, "events a second"),
    "So many events are traced at most, on each instance of ingest, whatever chose them.",
    "20",
)
.or(20);
const TRUSTED_SOURCES: Opt<Texts> = Opt::new(
    "trusted_sources",
    Texts,
    "Sources whose own traces go on here; the traces of others are linked to.",
    "[\"stores-qr\"]",
)
.otherwise("none");
const TIMEOUT: Opt<Span> = Opt::new(
    "timeout",
    Span::within(Duration::from_millis(100), Duration::from_secs(60)),
    "How long the collector may take to answer.",
    "\"5s\"",
)
.or(Duration::from_secs(5));

/// `[traces]`.
pub(crate) static GROUP: Group = Group {
    title: "[traces]",
    about: "Spans of sampled events, to an OpenTelemetry collector. Without it nothing is traced.",
    read_by: "every service",
    options: &[&ENDPOINT, &HEADERS, &ONE_IN, &MAX_PER_SECOND, &TRUSTED_SOURCES, &TIMEOUT],
    others: &[],
};

/// `[traces]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// The base address of an OpenTelemetry collector: OTLP over HTTP.
    pub endpoint: String,
    /// Headers of each request, such as a token. Their values are hidden.
    pub headers: Vec<(String, SecretText)>,
    /// One event in so many is traced; 0: only those that trusted senders record.
    pub one_in: u32,
    /// So many events a second are traced at most, on each instance of ingest.
    pub max_per_second: u32,
    /// Sources whose own traces go on here; the traces of others are linked to.
    pub trusted_sources: Vec<String>,
    /// How long the collector may take to answer.
    pub timeout: Duration,
}

/// None where the section is missing: nothing is traced then.
pub(crate) fn read(section: Option<Section<'_>>, sources: &Declared) -> Option<Traces> {
    let section = section?;
    section.demand(&ENDPOINT);
    let endpoint = http_address(&section, &ENDPOINT);
    let headers = read_pairs(&section, &HEADERS);
    let one_in = section.integer(&ONE_IN).unwrap_or(ONE_IN.usual());
    let max_per_second = section.integer(&MAX_PER_SECOND).unwrap_or(MAX_PER_SECOND.usual());
    let timeout = section.duration(&TIMEOUT).unwrap_or(TIMEOUT.usual());
    let mut trusted_sources = Vec::new();
    for (name, at) in section.texts(&TRUSTED_SOURCES).unwrap_or_default() {
        if sources.check("source", &name, &at, section.reading) {
            trusted_sources.push(name);
        }
    }
    section.finish();
    Some(Traces { endpoint: endpoint?, headers, one_in, max_per_second, trusted_sources, timeout })
}
