//! `[metrics]`.

use super::{is_address, listen, listens};
use crate::form::{Text, Texts};
use crate::option::{Group, Opt};
use crate::section::Section;

const LISTEN: Opt<Text> = listens(
    "Where a service answers `/metrics`, `/healthz` and `/readyz`. `--metrics ADDR` where several share a machine.",
    "127.0.0.1:9464",
)
.read_by("every service");
const INSTANCES: Opt<Texts> = Opt::new(
    "instances",
    Texts,
    "Where all instances answer them, as `host:port`.",
    "[\"ingest-1:9464\", \"process-1:9464\"]",
)
.otherwise("`listen`")
.read_by("`status` and the console");

pub(crate) static GROUP: Group = Group {
    title: "[metrics]",
    about: "Metrics and health of every service.",
    read_by: "",
    options: &[&LISTEN, &INSTANCES],
    others: &[],
};

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// `host:port` to listen on.
    pub listen: String,
    /// Where all instances serve metrics and health, for `hookline status`; may be empty.
    pub instances: Vec<String>,
}

pub(crate) fn read_metrics(section: Option<Section<'_>>) -> Metrics {
    let Some(section) = section else {
        return Metrics { listen: LISTEN.usual().to_owned(), instances: Vec::new() };
    };
    let mut instances = Vec::new();
    for (address, at) in section.texts(&INSTANCES).unwrap_or_default() {
        if is_address(address.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')) {
            instances.push(address);
        } else {
            section.error(&at, format!("instance {address:?} is not an address"), "write \"host:9464\"");
        }
    }
    let metrics = Metrics { listen: listen(&section, &LISTEN), instances };
    section.finish();
    metrics
}
