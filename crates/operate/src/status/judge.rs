//! What the facts mean: pure, so that every finding has a test.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kafka::Topic;
use kafka::control::{Kind, Object, State};

use super::findings::Findings;
use super::rows::time;
use super::{
    Answer, Facts, InstanceFacts, InstanceStatus, LogFacts, Lost, LostVerdict, Part, Problem, RowFacts, STAGES,
    Severity, SourceStatus, StageFacts, StatusReport,
};
use crate::Installation;

/// Makes the report of what was said.
#[must_use]
pub fn judge(installation: &Installation, facts: &Facts) -> StatusReport {
    let mut findings = Findings { installation, facts, problems: Vec::new(), explained: BTreeSet::new() };
    findings.up_has_ended();
    findings.engines();
    findings.components();
    findings.instances();
    findings.stages();
    findings.ledger();
    findings.switches();
    findings.sources();
    findings.dead_letters();
    findings.destinations();
    findings.inhibited();
    findings.canary();
    let mut problems = findings.problems;
    // Within one severity, the order in which they were found stays: what explains others is found first.
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let state = problems.first().map_or(Severity::Fine, |problem| problem.severity);
    let headline = match problems.as_slice() {
        [] => "everything works and nothing waits for a person".to_owned(),
        [only] => only.what.clone(),
        [first, others @ ..] => format!("{} (and {} more)", first.what, others.len()),
    };
    StatusReport {
        ok: state == Severity::Fine,
        state,
        headline,
        at: facts.at,
        lost: lost(installation, facts),
        engines: engines(installation, facts),
        stages: stages(facts, &problems),
        sources: sources(installation, facts),
        dead_letters_open: facts.rows.as_ref().ok().map(|rows| rows.dead_letters.iter().map(|group| group.open).sum()),
        instances: facts.instances.iter().map(instance).collect(),
        problems,
    }
}

/// Instances that answered.
pub(super) fn answers(facts: &Facts) -> impl Iterator<Item = (&InstanceFacts, &Answer)> {
    facts.instances.iter().filter_map(|instance| Some((instance, instance.answer.as_ref().ok()?)))
}

/// The service of a component: `process lane 3` is of `process`.
pub(super) fn service_of(component: &str) -> &str {
    component.split(' ').next().unwrap_or(component)
}

/// When the oldest record that waits for a stage was appended.
pub(super) fn oldest(stage: &StageFacts) -> Option<i64> {
    stage.partitions.iter().flatten().filter_map(|facts| facts.oldest).min()
}

pub(super) fn waiting(stage: &StageFacts) -> u64 {
    // A partition that was looked into and gave no record has nothing but marks of transactions.
    let waits = stage.partitions.iter().flatten().filter(|facts| facts.oldest.is_some());
    waits.map(super::PartitionFacts::waiting).sum()
}

/// Whether an instance that was asked runs a service; `None` when none answered with components.
pub(super) fn runs(facts: &Facts, service: &str) -> Option<bool> {
    let mut known = None;
    for (_, answer) in answers(facts) {
        let has = answer.components.keys().any(|name| service_of(name) == service);
        known = Some(known.unwrap_or(false) || has);
    }
    known
}

fn lost(installation: &Installation, facts: &Facts) -> Lost {
    let rows = match &facts.rows {
        Ok(rows) => rows,
        Err(_) => {
            let kept = span(installation.plan.raw_retention.as_millis() as i64);
            let proof = format!(
                "rows cannot be asked. What was answered 202 is on Kafka's disks, which keep it for {kept}; ask again when \
                 ClickHouse answers"
            );
            return Lost { verdict: LostVerdict::NotProven, records: 0, proof };
        }
    };
    let lanes = &rows.ledger.lanes;
    let (records, missing): (u64, u64) =
        (lanes.iter().map(|lane| lane.records).sum(), lanes.iter().map(|lane| lane.missing).sum());
    let acknowledged: u64 = lanes.iter().map(|lane| lane.lost).sum();
    let acknowledged = match acknowledged {
        0 => String::new(),
        lost => format!("; {lost} were written down as lost before"),
    };
    if missing > 0 {
        let gone: u64 = lanes.iter().map(|lane| crate::offsets::total(&lane.kept_and_gone().1)).sum();
        let unknown = rows.ledger.kafka.is_some();
        let (verdict, proof) = match (unknown, gone) {
            (true, _) => {
                (LostVerdict::NotProven, "whether raw still holds them is unknown until Kafka answers".to_owned())
            }
            (false, 0) => (
                LostVerdict::Repairable,
                "raw still holds all of them: hookline replay brings their rows in".to_owned(),
            ),
            (false, gone) => (LostVerdict::Lost, format!("raw no longer holds {gone} of them")),
        };
        return Lost {
            verdict,
            records: missing,
            proof: format!("{missing} settled records have no row; {proof}{acknowledged}"),
        };
    }
    let (verdict, waiting) = match &facts.log {
        Ok(log) => {
            let unread: u64 = log.stages.iter().filter(|stage| stage.topic == Topic::Raw).map(waiting).sum();
            let kept = span(installation.plan.raw_retention.as_millis() as i64);
            (LostVerdict::Nothing, format!("; {unread} wait in raw, which keeps records for {kept}"))
        }
        Err(_) => (LostVerdict::NotProven, "; what came after them is on Kafka's disks and cannot be asked".to_owned()),
    };
    let proof = match records {
        0 => format!("no record has been settled yet{waiting}{acknowledged}"),
        records => format!("each of the {records} settled records is one row{waiting}{acknowledged}"),
    };
    Lost { verdict, records: 0, proof }
}

fn engines(installation: &Installation, facts: &Facts) -> Vec<Part> {
    let part =
        |name: &str, state, says| Part { name: name.into(), state: Some(state), says, waiting: None, oldest_ms: None };
    let kafka = match &facts.log {
        Ok(LogFacts { lanes, incarnation, .. }) => part(
            "kafka",
            Severity::Fine,
            format!("{}  {lanes} lanes, incarnation {incarnation}", installation.cluster.brokers),
        ),
        Err(why) => part("kafka", Severity::Broken, format!("{}  {why}", installation.cluster.brokers)),
    };
    let url = &installation.warehouse.url;
    let clickhouse = match &facts.rows {
        Ok(RowFacts { sources, .. }) => {
            let through = sources.iter().filter_map(|row| time(row.complete_through)).max();
            let through = through.map(|at| format!("  complete through {}", at.strftime("%F %TZ"))).unwrap_or_default();
            part("clickhouse", Severity::Fine, format!("{url}{through}"))
        }
        Err(why) => part("clickhouse", Severity::Broken, format!("{url}  {why}")),
    };
    vec![kafka, clickhouse]
}

fn stages(facts: &Facts, problems: &[Problem]) -> Vec<Part> {
    let now = facts.at.as_millisecond();
    let worst = |name: &str| {
        let about = problems.iter().filter(|problem| problem.what.split([' ', ':', ',']).any(|word| word == name));
        about.map(|problem| problem.severity).max()
    };
    let said = |name: &str| match runs(facts, name) {
        Some(true) => "runs",
        Some(false) => "no instance that was asked runs it",
        None => "no address of an instance is known",
    };
    let ingest = match runs(facts, "ingest") {
        Some(true) => Part {
            name: "ingest".into(),
            state: Some(if facts.log.is_err() { Severity::Broken } else { worst("ingest").unwrap_or(Severity::Fine) }),
            says: if facts.log.is_err() { "answers 503: Kafka is away".into() } else { "runs".into() },
            waiting: None,
            oldest_ms: None,
        },
        _ => Part { name: "ingest".into(), state: None, says: said("ingest").into(), waiting: None, oldest_ms: None },
    };
    let mut parts = vec![ingest];
    for (name, _) in STAGES {
        let stage = facts.log.as_ref().ok().and_then(|log| log.stages.iter().find(|stage| stage.name == name));
        let Some(stage) = stage else {
            let says = "waits for Kafka".to_owned();
            parts.push(Part { name: name.into(), state: Some(Severity::Broken), says, waiting: None, oldest_ms: None });
            continue;
        };
        let age = oldest(stage).map(|oldest| (now - oldest).max(0));
        let waiting = waiting(stage);
        let behind = match age {
            Some(age) => format!("{waiting} wait, the oldest for {}", span(age)),
            None => "nothing waits".to_owned(),
        };
        let blocked = name == "report" && facts.rows.is_err();
        let (state, says) = match (worst(name), blocked) {
            (_, true) => (Severity::Broken, format!("waits for ClickHouse; {behind}")),
            (Some(severity), _) => (severity, behind),
            // Nothing tells a stage that does not run from one that has nothing to do, unless an instance says it.
            (None, _) if runs(facts, name) == Some(false) && age.is_none() => {
                (Severity::Fine, format!("{behind}; {}", said(name)))
            }
            (None, _) => (Severity::Fine, behind),
        };
        parts.push(Part { name: name.into(), state: Some(state), says, waiting: Some(waiting), oldest_ms: age });
    }
    parts
}

fn sources(installation: &Installation, facts: &Facts) -> Vec<SourceStatus> {
    let switch = |name: &str| {
        let log = facts.log.as_ref().ok()?;
        let source = |object: &Object| object.kind == Kind::Source && object.id == name;
        Some(log.switched.iter().find(|(object, ..)| source(object)).map_or(State::Accept, |(_, state, _)| *state))
    };
    let last_seen = |name: &str| -> Option<Timestamp> {
        time(facts.rows.as_ref().ok()?.sources.iter().find(|row| row.source == name)?.last_seen)
    };
    let status = |source: &config::Source| SourceStatus {
        name: source.name.clone(),
        owner: source.owner.clone(),
        switch: switch(&source.name),
        test: source.test,
        last_seen: last_seen(&source.name),
    };
    installation.config.sources.iter().map(status).collect()
}

fn instance(facts: &InstanceFacts) -> InstanceStatus {
    let answer = facts.answer.as_ref();
    let label = |metric: &str, label: &str| {
        answer.ok().and_then(|answer| Some(answer.of(metric).next()?.label(label).to_owned()))
    };
    let not_ready = |answer: &Answer| {
        let waiting = answer.components.iter().filter(|(_, component)| component.state != "ready");
        waiting
            .map(|(name, component)| format!("{name}: {} {}", component.state, component.why).trim().to_owned())
            .collect()
    };
    InstanceStatus {
        address: facts.address.clone(),
        answers: answer.is_ok(),
        config: label("hookline_config_info", "hash"),
        version: label("hookline_build_info", "version"),
        not_ready: answer.map_or_else(|_| Vec::new(), not_ready),
    }
}

/// A span of time in at most two units: `14m 5s`, `6d 23h`.
#[must_use]
pub(super) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(units.len() - 1);
    let (unit, size) = units[first];
    let rest =
        units.get(first + 1).map(|(unit, smaller)| (unit, seconds % size / smaller)).filter(|(_, count)| *count > 0);
    match rest {
        Some((smaller, count)) => format!("{}{unit} {count}{smaller}", seconds / size),
        None => format!("{}{unit}", seconds / size),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
