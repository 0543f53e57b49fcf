//! What is wrong, with what to do about it: a method for each thing that is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka::Topic;
use kafka::control::{Kind, State};
use runtime::{HaltReason, WaitReason};

use super::judge::{answers, oldest, runs, service_of, span, waiting};
use super::{Answer, Facts, InstanceFacts, Problem, Severity, StageFacts};
use crate::Installation;

/// A stage is behind when its oldest unread record is older than this.
const BEHIND_MS: i64 = 15_000;
/// Below this, retention comes too near.
const HEADROOM: Duration = Duration::from_secs(24 * 3_600);
/// A message that is owed for longer than this is late.
const LATE_MS: i64 = 10 * 60_000;

/// What is wrong, as it is found.
pub(super) struct Findings<'f> {
    pub(super) installation: &'f Installation,
    pub(super) facts: &'f Facts,
    pub(super) problems: Vec<Problem>,
    /// Services whose trouble has been said: that they stand still is not said again.
    pub(super) explained: BTreeSet<String>,
}

impl Findings<'_> {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        what: String,
        why: impl Into<String>,
        next: String,
        runbook: &str,
    ) {
        let runbook = format!("docs/runbooks/{runbook}.md");
        self.problems.push(Problem { severity, what, why: why.into(), next, runbook });
    }

    pub(super) fn flag(&self) -> String {
        self.installation.flag()
    }

    /// The data folder of an `up` that has noted its addresses there.
    fn data(&self) -> String {
        self.installation.file.parent().map(|folder| folder.display().to_string()).unwrap_or_default()
    }

    /// Whether an `up` was killed: what it noted is there, and nothing answers.
    fn is_up_gone(&self) -> bool {
        let silent = self.facts.instances.iter().any(|instance| instance.named && instance.answer.is_err());
        self.installation.running.is_some() && silent && self.facts.log.is_err() && self.facts.rows.is_err()
    }

    pub(super) fn up_has_ended(&mut self) {
        if self.is_up_gone() {
            let what = "`hookline up` has ended: neither its engines nor its services answer".to_owned();
            let why = "what was answered 202 is in its data folder, and is taken up where it was";
            let next = format!("hookline up --data {}", self.data());
            self.add(Severity::Broken, what, why, next, "service-down");
        }
    }

    pub(super) fn engines(&mut self) {
        if self.is_up_gone() {
            return;
        }
        let data = self.data();
        let brings_back = |engine: &str| match &self.installation.running {
            Some(_) => format!(
                "`hookline up` starts it again by itself; if it does not, its log says why: tail {data}/logs/{engine}*.log"
            ),
            None => format!("start it, then: hookline status {} --watch", self.installation.flag()),
        };
        if let Err(why) = &self.facts.log {
            let brokers = self.installation.cluster.brokers.clone();
            let what = format!("Kafka at {brokers} does not answer: {why}");
            let follows = "deliveries are answered 503 and their senders send again; nothing new is counted or sent";
            self.add(Severity::Broken, what, follows, brings_back("kafka"), "service-down");
        }
        if let Err(why) = &self.facts.rows {
            let url = &self.installation.warehouse.url;
            let no_tables = why.contains("UNKNOWN_DATABASE") || why.contains("UNKNOWN_TABLE");
            let what = match no_tables {
                true => format!("ClickHouse at {url} has no tables of Hookline"),
                false => format!("ClickHouse at {url} does not answer: {why}"),
            };
            let kept = span(self.installation.plan.events_retention.as_millis() as i64);
            let follows =
                format!("deliveries are taken as usual; their rows wait on Kafka, which keeps them for {kept}");
            let next = match no_tables {
                true => format!("hookline migrate {}", self.flag()),
                false => brings_back("clickhouse"),
            };
            self.add(Severity::Broken, what, follows, next, "service-down");
        }
    }

    /// What instances say of themselves.
    pub(super) fn components(&mut self) {
        let away = self.facts.log.is_err() || self.facts.rows.is_err();
        let mut halted: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        let mut others: BTreeMap<(String, String), (String, Vec<String>)> = BTreeMap::new();
        for (instance, answer) in answers(self.facts) {
            for (name, component) in answer.components.iter().filter(|(_, component)| component.state != "ready") {
                let service = service_of(name).to_owned();
                match component.state.as_str() {
                    "halted" => {
                        let entry = halted.entry(service).or_insert_with(|| (component.why.clone(), Vec::new()));
                        entry.1.push(name.clone());
                    }
                    // What an engine that is away explains was said.
                    _ if away => drop(self.explained.insert(service)),
                    state => {
                        let entry = others
                            .entry((service, state.to_owned()))
                            .or_insert_with(|| (component.why.clone(), Vec::new()));
                        entry.1.push(format!("{name} at {}", instance.address));
                    }
                }
            }
            for stuck in answer.of("hookline_threads_stuck").filter(|sample| sample.value > 0.0) {
                let what = format!(
                    "{} threads of {} show no sign of life ({})",
                    stuck.value,
                    instance.address,
                    stuck.label("kind")
                );
                let next = format!("curl -s {}/livez names them; restart that instance", instance.address);
                self.add(Severity::Broken, what, "", next, "thread-stuck");
            }
        }
        for (service, (why, lanes)) in halted {
            let reason = stalled_reason(self.facts, &service);
            let what = match reason {
                Some(reason) => format!("{} stands still ({reason}): {why}", lanes.join(", ")),
                None => format!("{} stands still: {why}", lanes.join(", ")),
            };
            let next = way_out(reason.unwrap_or_default(), &self.flag());
            let follows =
                "it stopped on purpose, since going on could lose or double events; what waits for it is kept";
            self.add(Severity::Broken, what, follows, next, "lane-stalled");
            self.explained.insert(service);
        }
        for ((service, state), (why, names)) in others {
            let what = match why.is_empty() {
                true => format!("{} is {state}", names.join(", ")),
                false => format!("{} is {state}: {why}", names.join(", ")),
            };
            let next = format!("it tries again by itself; if it stays: hookline status {} --watch", self.flag());
            self.add(Severity::Attention, what, "", next, "lane-stalled");
            self.explained.insert(service);
        }
    }

    /// Instances that do not answer, or run on something else.
    pub(super) fn instances(&mut self) {
        if self.is_up_gone() {
            return;
        }
        for InstanceFacts { address, named, answer } in &self.facts.instances {
            if let (true, Err(why)) = (named, answer) {
                let what = format!("the services at {address} do not answer: {why}");
                let next = match &self.installation.running {
                    Some(_) => {
                        let data = self.installation.file.parent().map(|folder| folder.display().to_string());
                        format!("hookline up --data {}", data.unwrap_or_default())
                    }
                    None => format!("start them again; then: hookline status {}", self.flag()),
                };
                self.add(Severity::Broken, what, "no service is known to run there", next, "service-down");
            }
        }
        let ours = self.installation.config.version_hash();
        let other = |answer: &Answer| answer.of("hookline_config_info").any(|sample| sample.label("hash") != ours);
        let drifted: Vec<&str> = answers(self.facts)
            .filter(|(_, answer)| other(answer))
            .map(|(instance, _)| instance.address.as_str())
            .collect();
        if !drifted.is_empty() {
            let what = format!(
                "{} runs on another configuration than {}",
                drifted.join(", "),
                self.installation.file.display()
            );
            let next = format!("hookline check {0}, then hookline reload {0}", self.flag());
            self.add(Severity::Attention, what, format!("this file is {ours}"), next, "config-drift");
        }
    }

    /// Stages that do not keep up, by their positions in Kafka.
    pub(super) fn stages(&mut self) {
        let Ok(log) = &self.facts.log else { return };
        for stage in &log.stages {
            let name = stage.name;
            let deleted: u64 = stage.partitions.iter().flatten().map(|facts| facts.deleted_unread()).sum();
            // A stage that has never run has no position, and nothing was kept for it.
            let began = stage.partitions.iter().flatten().any(|facts| facts.position.is_some());
            if deleted > 0 && began {
                let what =
                    format!("retention has deleted {deleted} records of {} before {name} read them", stage.topic);
                let next = format!("hookline ledger recover {}", self.flag());
                self.add(Severity::Broken, what, "the command says which records those are", next, "records-missing");
            }
            if let Some(trouble) = stage.partitions.iter().find_map(|facts| facts.as_ref().err()) {
                let next = "look at the leaders of its partitions: kafka-topics.sh --describe".to_owned();
                self.add(
                    Severity::Broken,
                    format!("Kafka does not say how far {name} is: {trouble}"),
                    "",
                    next,
                    "lane-stalled",
                );
            }
            let Some(oldest) = oldest(stage) else { continue };
            let age = self.facts.at.as_millisecond() - oldest;
            self.headroom(stage, age);
            let waits_for_rows = name == "report" && self.facts.rows.is_err();
            if age < BEHIND_MS || waits_for_rows || self.explained.contains(name) {
                continue;
            }
            let stands: Vec<String> = stage
                .partitions
                .iter()
                .flatten()
                .filter(|facts| facts.oldest.is_some_and(|at| self.facts.at.as_millisecond() - at >= BEHIND_MS))
                .filter(|facts| facts.moves() != Some(true))
                .map(|facts| facts.partition.to_string())
                .collect();
            let waiting = waiting(stage);
            let flag = self.flag();
            if stands.is_empty() {
                let what =
                    format!("{name} is behind: up to {waiting} records wait, the oldest for {}; it moves", span(age));
                let next = format!("hookline status {flag} --watch; add instances if it does not catch up");
                self.add(Severity::Attention, what, "", next, "freshness-burn");
            } else {
                let runs = runs(self.facts, name);
                let all = stands.len() == stage.partitions.len();
                let which = if all { String::new() } else { format!(" in lane {}", stands.join(", ")) };
                let what = format!(
                    "{name} stands still{which}: up to {waiting} records wait, the oldest for {}{}",
                    span(age),
                    if runs == Some(false) { "; no instance that was asked runs it" } else { "" }
                );
                let next = match runs {
                    Some(true) => {
                        format!("the log of {name} says why; hookline ledger recover {flag} if a position is wrong")
                    }
                    _ => format!("if it does not run, start it: hookline {name} {flag}; if it runs, its log says why"),
                };
                let runbook = if runs == Some(true) { "lane-stalled" } else { "service-down" };
                self.add(Severity::Broken, what, "what waits is kept; nothing is lost by waiting", next, runbook);
            }
        }
    }

    fn headroom(&mut self, stage: &StageFacts, age: i64) {
        let Some(kept) = kept_for(self.installation, stage.topic) else { return };
        let left = kept.saturating_sub(Duration::from_millis(age.try_into().unwrap_or(0)));
        if left < HEADROOM && left < kept / 2 {
            let what = format!("in {} Kafka deletes what {} has not read", span(left.as_millis() as i64), stage.name);
            let next = format!("raise retention.ms of {} before you look for the cause", stage.topic);
            self.add(Severity::Broken, what, "", next, "retention-headroom-low");
        }
    }

    pub(super) fn ledger(&mut self) {
        let Ok(rows) = &self.facts.rows else { return };
        let repeated: usize = rows.ledger.lanes.iter().map(|lane| lane.repeated).sum();
        let missing: u64 = rows.ledger.lanes.iter().map(|lane| lane.missing).sum();
        let all = format!("hookline ledger {}", self.flag());
        let first = rows.ledger.next.first().unwrap_or(&all).clone();
        let why = format!("all of them: {all}");
        if missing > 0 {
            let what = format!("{missing} settled records have no row");
            self.add(Severity::Broken, what, why.clone(), first.clone(), "records-missing");
        }
        if repeated > 0 {
            let what = format!("{repeated} records have more than one row");
            self.add(Severity::Broken, what, why, first, "records-missing");
        }
    }

    pub(super) fn switches(&mut self) {
        let Ok(log) = &self.facts.log else { return };
        for (object, state, words) in &log.switched {
            let name = &object.id;
            let (what, why) = match (object.kind, state) {
                (_, State::Accept | State::Retired) => continue,
                (Kind::Source, State::Quarantine) => (
                    format!("source {name} is in quarantine{words}"),
                    "its deliveries become dead letters and are kept",
                ),
                (Kind::Source, State::Pause) => (
                    format!("source {name} is paused{words}"),
                    "its deliveries are answered 503, and some platforms switch a webhook off after a number of refusals",
                ),
                (Kind::Rule, _) => {
                    (format!("rule {name} is paused{words}"), "it says nothing new, and what it finds is kept")
                }
                (Kind::Destination, _) => (format!("destination {name} is paused{words}"), "what is for it waits"),
                (Kind::Silence | Kind::Message | Kind::Configuration, _) => continue,
            };
            let next = format!("hookline resume {object} {}", self.installation.flag());
            self.add(Severity::Attention, what, why, next, "paused-too-long");
        }
        for record in &log.unreadable {
            let what = format!("a switch cannot be read by this version: {record}");
            let next = format!("hookline pause --list {}", self.installation.flag());
            self.add(Severity::Attention, what, "", next, "lane-stalled");
        }
    }

    /// What is held back while another alert fires.
    pub(super) fn inhibited(&mut self) {
        let Ok(rows) = &self.facts.rows else { return };
        for row in &rows.inhibited {
            let what = format!("{} messages of rule {} are held back: {}", row.held, row.rule, row.error);
            let why = "what holds them back is told by its own rule, if that sends; what still fires when that is over is told then";
            let next = "the alerts: SELECT * FROM deliveries WHERE stage = 'held' ORDER BY last_at DESC LIMIT 20";
            self.add(Severity::Attention, what, why, next.to_owned(), "source-silent");
        }
    }

    pub(super) fn sources(&mut self) {
        for source in &self.installation.config.sources {
            let seen = self
                .facts
                .rows
                .as_ref()
                .ok()
                .and_then(|rows| rows.sources.iter().find(|row| row.source == source.name));
            let age = seen.map(|row| self.facts.at.as_millisecond() - row.last_seen);
            if let (Some(quiet_after), Some(age)) = (source.quiet_after, age)
                && age > quiet_after.as_millis() as i64
                && self.facts.log.is_ok()
            {
                let what = format!("source {} has sent nothing for {}", source.name, span(age));
                let why =
                    format!("its quiet_after is {}; owner {}", span(quiet_after.as_millis() as i64), source.owner);
                let next = format!("ask the sender; pause state: hookline pause --list {}", self.installation.flag());
                self.add(Severity::Attention, what, why, next, "source-silent");
            }
            let (mut refused, mut allowed) = (0.0_f64, 0.0);
            for (_, answer) in answers(self.facts) {
                let of = |name| {
                    answer.of(name).find(|sample| sample.label("source") == source.name).map(|sample| sample.value)
                };
                refused = refused.max(of("hookline_refusals_in_a_row").unwrap_or(0.0));
                allowed = of("hookline_refusals_allowed").unwrap_or(allowed);
            }
            if allowed > 0.0 && refused * 2.0 >= allowed {
                let what = format!(
                    "source {} has met {refused} refusals in a row; after {allowed} its platform gives up",
                    source.name
                );
                let next = format!(
                    "hookline pause source/{} --quarantine --why TEXT {}",
                    source.name,
                    self.installation.flag()
                );
                self.add(Severity::Broken, what, format!("owner {}", source.owner), next, "sender-about-to-give-up");
            }
        }
    }

    pub(super) fn dead_letters(&mut self) {
        let Ok(rows) = &self.facts.rows else { return };
        let open: u64 = rows.dead_letters.iter().map(|group| group.open).sum();
        if open == 0 {
            return;
        }
        let mut groups: Vec<_> = rows.dead_letters.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.open));
        let words = groups.iter().take(3).map(|group| {
            let source = if group.source.is_empty() { "source unknown" } else { &group.source };
            format!("{} of {source} ({}, {})", group.open, group.stage, group.reason)
        });
        let more = if groups.len() > 3 { ", …" } else { "" };
        let what = format!("{open} dead letters wait for a decision: {}{more}", words.collect::<Vec<_>>().join(", "));
        let next = format!("hookline dlq list {}", self.flag());
        self.add(
            Severity::Attention,
            what,
            "they are kept with their bytes and count nowhere",
            next,
            "dead-letters-arriving",
        );
    }

    pub(super) fn destinations(&mut self) {
        let mut open: BTreeSet<String> = BTreeSet::new();
        for (_, answer) in answers(self.facts) {
            let circuits = answer.of("hookline_circuit_open").filter(|sample| sample.value > 0.0);
            open.extend(circuits.map(|sample| sample.label("destination").to_owned()));
        }
        let owner = |name: &str| {
            let destination = self.installation.config.destination(name);
            destination.map_or_else(|| "not in this configuration".to_owned(), |found| format!("owner {}", found.owner))
        };
        let rows = self.facts.rows.as_ref().map_or(&[][..], |rows| &rows.destinations);
        let mut found = Vec::new();
        for name in &open {
            let error = rows.iter().find(|row| row.destination == *name).map_or("", |row| &row.error);
            let error = if error.is_empty() { String::new() } else { format!(": {error}") };
            let what = format!("destination {name} takes nothing{error}");
            found.push((Severity::Attention, what, owner(name), "destination-circuit-open"));
        }
        for row in rows {
            let name = &row.destination;
            let age = self.facts.at.as_millisecond() - row.oldest;
            if row.owed > 0 && age > LATE_MS && !open.contains(name) && self.facts.log.is_ok() {
                let what = format!("{} messages to {name} are late, the oldest by {}", row.owed, span(age));
                found.push((Severity::Attention, what, owner(name), "messages-late"));
            }
            if row.failed > 0 {
                let what = format!("{} messages to {name} were given up in 24 hours: {}", row.failed, row.error);
                found.push((Severity::Attention, what, owner(name), "destination-circuit-open"));
            }
        }
        let next = "what was tried, and the answers: SELECT * FROM delivery_attempts ORDER BY at DESC LIMIT 20";
        for (severity, what, why, runbook) in found {
            self.add(severity, what, why, next.to_owned(), runbook);
        }
    }
}

/// Why lanes of a service stand still for good, as the fixed label of its metric.
fn stalled_reason<'f>(facts: &'f Facts, service: &str) -> Option<&'f str> {
    let stalled = answers(facts).flat_map(|(_, answer)| answer.of("hookline_stalled"));
    let waits_for_a_person =
        |reason: &str| !matches!(WaitReason::named(reason), Some(WaitReason::Retry | WaitReason::Fenced));
    let reasons = stalled.filter(|sample| sample.value > 0.0 && sample.label("service") == service);
    reasons.map(|sample| sample.label("reason")).find(|reason| waits_for_a_person(reason))
}

/// The command that helps, by the reason of a stalled lane.
fn way_out(reason: &str, flag: &str) -> String {
    use HaltReason as Halt;

    match HaltReason::named(reason) {
        Some(Halt::RecordsMissing | Halt::RowsBeyondPosition | Halt::RowsVanished | Halt::Position) => {
            format!("hookline ledger recover {flag}")
        }
        Some(Halt::Fuse) => {
            format!("mend what it names and restart process, or see what they are: hookline dlq list {flag}")
        }
        Some(Halt::AnotherLife | Halt::RowsMissing) => format!("hookline ledger {flag}"),
        Some(Halt::RawReplaced | Halt::PositionUnknown | Halt::EventsReplaced) => {
            format!("stop all services, then: hookline ledger start-anew {flag}")
        }
        _ => "the runbook has the way out for each reason".to_owned(),
    }
}

fn kept_for(installation: &Installation, topic: Topic) -> Option<Duration> {
    match topic {
        Topic::Raw => Some(installation.plan.raw_retention),
        Topic::Events => Some(installation.plan.events_retention),
        _ => None,
    }
}
