//! `[traces]`: where spans of sampled events go.

use std::time::Duration;

use crate::defaults;
use crate::owners::Declared;
use crate::platform::{http_address, read_pairs};
use crate::secret::SecretText;
use crate::section::Section;

/// `[traces]`.
#[derive(Debug, Clone)]
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
    const FORM: &str = "write endpoint = \"http://collector:4318\", or leave [traces] out: nothing is traced then";
    let section = section?;
    if !section.has("endpoint") {
        section.missing("endpoint", FORM);
    }
    let endpoint = http_address(&section, "endpoint", "http://collector:4318");
    let number = |key, high: i64, default| {
        section.integer(key, 0..=high).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    let headers = read_pairs(&section, "headers", "write { authorization = { env = \"COLLECTOR_TOKEN\" } }");
    let one_in = number("one_in", 1_000_000_000, defaults::TRACES_ONE_IN);
    let max_per_second = number("max_per_second", 100_000, defaults::TRACES_PER_SECOND);
    let timeout = section.duration("timeout", defaults::TRACES_TIMEOUT_RANGE).unwrap_or(defaults::TRACES_TIMEOUT);
    let mut trusted_sources = Vec::new();
    for (name, at) in section.texts("trusted_sources").unwrap_or_default() {
        if sources.check("source", &name, &at, section.reading) {
            trusted_sources.push(name);
        }
    }
    section.finish();
    Some(Traces { endpoint: endpoint?, headers, one_in, max_per_second, trusted_sources, timeout })
}
