//! What running services say: `/readyz` and `/metrics` of those whose addresses are known.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde::Deserialize;

use crate::Installation;

/// How long an instance may take.
const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(6);

/// A service that was asked.
#[derive(Debug, Clone)]
pub struct InstanceFacts {
    /// Where.
    pub address: String,
    /// Whether someone named the address, so that no answer is a finding.
    pub named: bool,
    /// What it said, or why it said nothing.
    pub answer: Result<Answer, String>,
}

/// What an instance said.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Its components.
    pub components: BTreeMap<String, ComponentState>,
    /// Its metrics; none when the listener serves health only.
    pub samples: Vec<Sample>,
}

/// How a component is, as `/readyz` says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ComponentState {
    /// `ready`, `starting`, `failing` or `halted`.
    pub state: String,
    /// Why it is not ready.
    #[serde(default)]
    pub why: String,
}

/// One number of `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Answer {
    /// The samples of a metric.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

impl Sample {
    /// A label; empty when there is none of that name.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Asks the `up` that runs on this configuration, the instances that the configuration names, and `also`. Where none
/// of them is known, the metrics listener of the configuration on this machine.
pub(crate) async fn ask(installation: &Installation, also: &[String]) -> Vec<InstanceFacts> {
    let config = &installation.config;
    let mut named: Vec<String> = Vec::new();
    let of_up = installation.running.as_ref().and_then(|running| running.metrics.clone());
    for address in config.metrics.instances.iter().chain(also).chain(&of_up) {
        let address = url(address);
        if !named.contains(&address) {
            named.push(address);
        }
    }
    let guessed = named.is_empty() && installation.running.is_none();
    if guessed {
        named.push(url(&config.metrics.listen.replace("0.0.0.0:", "127.0.0.1:")));
    }
    // An error means that a provider is installed already, which is all that is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .build();
    let asked = named.into_iter().map(|address| {
        let client = client.as_ref().map(Client::clone).map_err(ToString::to_string);
        tokio::spawn(async move {
            let answer = match client {
                Ok(client) => one(&client, &address).await,
                Err(error) => Err(error),
            };
            InstanceFacts { address, named: !guessed, answer }
        })
    });
    let mut instances = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        instances.extend(asked.await.ok());
    }
    instances
}

fn url(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

async fn one(client: &Client, address: &str) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Ready {
        components: BTreeMap<String, ComponentState>,
    }
    let words = |error: reqwest::Error| match (error.is_timeout(), error.is_connect()) {
        (true, _) => format!("no answer within {} s", WHOLE.as_secs()),
        (_, true) => "the connection is refused".to_owned(),
        _ => error.without_url().to_string(),
    };
    let answer = client.get(format!("{address}/readyz")).send().await.map_err(words)?;
    let ready: Ready = answer.json().await.map_err(|_| "what answers there is not a Hookline".to_owned())?;
    let metrics = client.get(format!("{address}/metrics")).send().await.map_err(words)?;
    let text = if metrics.status().is_success() { metrics.text().await.map_err(words)? } else { String::new() };
    Ok(Answer { components: ready.components, samples: samples(&text) })
}

/// The samples of a text in Prometheus's format; lines that are not samples are passed over.
pub(crate) fn samples(text: &str) -> Vec<Sample> {
    let lines = text.lines().filter(|line| line.starts_with("hookline_"));
    lines.filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// `a="b",c="d"`, with `\"`, `\\` and `\n` in the values.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        for (at, character) in after.char_indices() {
            match (escaped, character) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = at;
                    break;
                }
                (true, 'n') => {
                    value.push('\n');
                    escaped = false;
                }
                (_, character) => {
                    value.push(character);
                    escaped = false;
                }
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = after.get(end + 1..).unwrap_or_default();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_with_their_labels() {
        let text = "# HELP hookline_stalled Lanes\n# TYPE hookline_stalled gauge\n\
                    hookline_stalled{reason=\"fuse\",service=\"process\"} 1\nhookline_build_info{version=\"a\\\"b,c=\\\\\"} 1\n\
                    hookline_lanes_left_out 0\nhookline_retention_headroom_seconds{topic=\"raw\"} +Inf\nprocess_threads 9\n";
        let read = samples(text);
        assert_eq!(read.len(), 4, "{read:?}");
        assert_eq!((read[0].label("reason"), read[0].label("service"), read[0].value), ("fuse", "process", 1.0));
        assert_eq!(read[1].label("version"), "a\"b,c=\\");
        assert_eq!((read[2].name.as_str(), read[2].label("any")), ("hookline_lanes_left_out", ""));
        assert!(read[3].value.is_infinite());
    }

    #[test]
    fn an_address_may_come_with_or_without_its_scheme() {
        assert_eq!(url("ingest-1:9464"), "http://ingest-1:9464");
        assert_eq!(url("https://ingest-1/"), "https://ingest-1");
    }
}
