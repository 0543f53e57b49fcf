//! Asking every running service to load the configuration again, and hearing whether it has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use config::Environment;
use jiff::Timestamp;
use kafka::control::{self, Kind, Object, State, Switch};
use serde::Serialize;

use crate::check::{self, Finding};
use crate::error::During;
use crate::status::services::{self, Answer};
use crate::{Installation, Report, Result, blocking};

/// How long the services have to take it: two seconds is usual.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often they are asked.
const EVERY: Duration = Duration::from_millis(250);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadReport {
    /// Whether the file is sound and no service has refused it.
    pub ok: bool,
    /// The version of the file; `None` when it has errors, and nothing was asked of any service.
    pub version: Option<String>,
    /// What is wrong with the file.
    pub errors: Vec<Finding>,
    /// What each service that could be asked says.
    pub instances: Vec<Instance>,
}

/// A service that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Where it serves metrics.
    pub address: String,
    /// How it took it.
    pub outcome: Taken,
    /// The version that it runs by; empty when it does not answer.
    pub version: String,
    /// Keys that wait for its next start.
    pub at_restart: Vec<String>,
}

/// How a service took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// It runs by the file.
    Yes,
    /// It has refused the file that it has; its log says why.
    Refused,
    /// It runs by a file of another version, since the file there is another one.
    Other,
    /// It has not said so in time.
    Late,
    /// It does not answer.
    Silent,
}

impl Report for ReloadReport {
    fn needs_attention(&self) -> bool {
        let whole = |one: &Instance| one.outcome == Taken::Yes && one.at_restart.is_empty();
        self.instances.is_empty() || !self.instances.iter().all(whole)
    }
}

impl ReloadReport {
    /// Whether something is broken: the file, or a service that refuses it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.ok
    }
}

/// What an instance has said of its loads so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Loads {
    taken: f64,
    refused: f64,
}

impl Loads {
    fn of(answer: &Answer) -> Self {
        let count = |outcome: &str| {
            let all = answer.of("hookline_config_loads_total").filter(|sample| sample.label("outcome") == outcome);
            all.map(|sample| sample.value).sum()
        };
        Self { taken: count("taken"), refused: count("refused") }
    }
}

/// Checks the file, asks all services to load it, and waits until those that can be asked have said how they took it.
/// `also` are further addresses to ask.
///
/// # Errors
/// When Kafka fails.
pub async fn reload(installation: &Installation, who: String, why: String, also: &[String]) -> Result<ReloadReport> {
    // The operator may not have the secrets of sources; each service looks its own up.
    let environment = Environment::of_process().without_secrets();
    let checked = check::check(&installation.file, &environment);
    let Some(version) = checked.version else {
        return Ok(ReloadReport { ok: false, version: None, errors: checked.errors, instances: Vec::new() });
    };
    let mut before: BTreeMap<String, Loads> = BTreeMap::new();
    for one in services::ask(installation, also).await {
        if let Ok(answer) = &one.answer {
            before.insert(one.address, Loads::of(answer));
        }
    }
    let object = Object::new(Kind::Configuration, version.as_str());
    let switch = Switch { state: State::Accept, who, why, until: None, at: Timestamp::now() };
    let cluster = installation.cluster.clone();
    blocking(move || control::set(&cluster, &object, &switch).during(|| format!("Kafka at {}", cluster.brokers)))
        .await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let facts = services::ask(installation, also).await;
        // One that was only guessed to be there may be missing.
        let known = facts.into_iter().filter(|one| one.named || one.answer.is_ok());
        let answers = known.map(|one| (one.address, one.answer.ok()));
        let instances: Vec<Instance> =
            answers.map(|(address, answer)| instance(address, answer.as_ref(), &mut before, &version)).collect();
        let waits = instances.iter().any(|one| matches!(one.outcome, Taken::Late | Taken::Silent));
        if Instant::now() >= deadline || !waits {
            let ok = instances.iter().all(|one| one.outcome != Taken::Refused);
            return Ok(ReloadReport { ok, version: Some(version), errors: Vec::new(), instances });
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How an instance took it, by what it said `before`: one that did not answer then is measured from its first answer.
fn instance(address: String, answer: Option<&Answer>, before: &mut BTreeMap<String, Loads>, wanted: &str) -> Instance {
    let Some(answer) = answer else {
        return Instance { address, outcome: Taken::Silent, version: String::new(), at_restart: Vec::new() };
    };
    let now = Loads::of(answer);
    let before = *before.entry(address.clone()).or_insert(now);
    let version = answer.of("hookline_config_info").map(|sample| sample.label("hash")).next().unwrap_or_default();
    let outcome = match () {
        () if now.refused > before.refused => Taken::Refused,
        () if now.taken > before.taken && version == wanted => Taken::Yes,
        () if now.taken > before.taken => Taken::Other,
        () => Taken::Late,
    };
    let keys = answer.of("hookline_config_restart_needed").filter(|sample| sample.value > 0.0);
    let at_restart = keys.map(|sample| sample.label("key").to_owned()).collect();
    Instance { address, outcome, version: version.to_owned(), at_restart }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_taken_it_once_it_says_so_anew() {
        let said = |text: &str| Answer { components: BTreeMap::new(), samples: services::samples(text) };
        let metrics = |taken: u32, refused: u32, hash: &str| {
            said(&format!(
                "hookline_config_info{{hash=\"{hash}\"}} 1\nhookline_config_loads_total{{outcome=\"taken\"}} {taken}\n\
                 hookline_config_loads_total{{outcome=\"refused\"}} {refused}\nhookline_config_restart_needed{{key=\"[ingest] tls\"}} 1\n"
            ))
        };
        let mut before = BTreeMap::from([("x".to_owned(), Loads::of(&metrics(3, 1, "a")))]);
        let mut outcome = |answer: Option<&Answer>| instance("x".into(), answer, &mut before, "b").outcome;
        assert_eq!(outcome(Some(&metrics(3, 1, "a"))), Taken::Late);
        assert_eq!(outcome(Some(&metrics(3, 1, "b"))), Taken::Late, "it ran by it before");
        assert_eq!(outcome(Some(&metrics(4, 1, "b"))), Taken::Yes);
        assert_eq!(outcome(Some(&metrics(4, 1, "c"))), Taken::Other);
        assert_eq!(outcome(Some(&metrics(3, 2, "a"))), Taken::Refused);
        assert_eq!(outcome(None), Taken::Silent);
        assert_eq!(instance("x".into(), Some(&metrics(4, 1, "b")), &mut before, "b").at_restart, ["[ingest] tls"]);

        // What one has refused or taken at any time before is not said of this file, if it did not answer then.
        for (first, then, outcome) in [
            (metrics(3, 1, "a"), metrics(4, 1, "b"), Taken::Yes),
            (metrics(3, 1, "a"), metrics(4, 1, "c"), Taken::Other),
            (metrics(3, 0, "a"), metrics(3, 1, "a"), Taken::Refused),
        ] {
            let mut before = BTreeMap::new();
            let mut taken = |answer: Option<&Answer>| instance("y".into(), answer, &mut before, "b").outcome;
            assert_eq!(taken(None), Taken::Silent);
            assert_eq!(taken(Some(&first)), Taken::Late);
            assert_eq!(taken(Some(&then)), outcome);
        }
    }
}
