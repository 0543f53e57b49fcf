use std::time::Duration;

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, Environment};
use warehouse::DeadLetterGroup;

use super::*;
use crate::installation::Overrides;
use crate::ledger::raw::Kept;
use crate::ledger::{LaneReport, LedgerReport};
use crate::offsets::OffsetRange;
use crate::status::{ComponentState, DestinationRow, InhibitedRow, PartitionFacts, Sample, SourceRow};

/// 2025-11-25T12:00:00Z.
const NOW: i64 = 1_764_072_000_000;

fn installation() -> Installation {
    let toml = "version = 1\n[owner]\nme = { name = \"Me\" }\n[kafka]\nbrokers = \"kafka-1:9092\"\n[clickhouse]\nurl = \"http://ch:8123\"\n\
        [source.dub]\nadapter = \"dub\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hookline.toml");
    std::fs::write(&path, toml).unwrap();
    let environment = Environment::new([("X", "y")], Timestamp::UNIX_EPOCH).without_secrets();
    let mut config = Config::load(&path, &environment).unwrap();
    config.sources[0].quiet_after = Some(Duration::from_secs(1_800));
    Installation::new(config, Path::new("hookline.toml"), Overrides::default()).unwrap()
}

fn lane() -> LaneReport {
    LaneReport {
        incarnation: "018f".into(),
        lane: 0,
        records: 1_000,
        expected: 1_000,
        missing: 0,
        repeated: 0,
        lost: 0,
        settled: Some(1_000),
        waiting: Some(0),
        waiting_minutes: 0,
        more: false,
        missing_offsets: Vec::new(),
        under_way: Vec::new(),
        repeated_offsets: Vec::new(),
        kept: Some(Kept { from: 0, to: 1_000 }),
        details: Vec::new(),
    }
}

fn well(installation: &Installation) -> Facts {
    let partition =
        PartitionFacts { partition: 0, low: 0, end: 1_000, position: Some(1_000), later: None, oldest: None };
    let stage = |(name, topic)| StageFacts { name, topic, partitions: vec![Ok(partition.clone())] };
    let names = ["ingest", "process lane 0", "report lane 0", "detect lane 0", "notify lane 0"];
    let ready = |name: &str| (name.to_owned(), ComponentState { state: "ready".into(), why: String::new() });
    let info = |name: &str, label: &str, value: &str| Sample {
        name: name.into(),
        labels: BTreeMap::from([(label.to_owned(), value.to_owned())]),
        value: 1.0,
    };
    let samples = vec![
        info("hookline_config_info", "hash", installation.config.version_hash()),
        info("hookline_build_info", "version", "0.1.0"),
    ];
    Facts {
        at: Timestamp::from_millisecond(NOW).unwrap(),
        log: Ok(LogFacts {
            incarnation: "018f".into(),
            lanes: 1,
            stages: STAGES.into_iter().map(stage).collect(),
            switched: Vec::new(),
            unreadable: Vec::new(),
        }),
        rows: Ok(RowFacts {
            ledger: LedgerReport {
                ok: true,
                incarnation: Some("018f".into()),
                kafka: None,
                lanes: vec![lane()],
                losses: Vec::new(),
                erasures: Vec::new(),
                next: Vec::new(),
            },
            dead_letters: Vec::new(),
            sources: vec![SourceRow { source: "dub".into(), last_seen: NOW - 3_000, complete_through: NOW - 1_000 }],
            destinations: Vec::new(),
            inhibited: Vec::new(),
        }),
        instances: vec![InstanceFacts {
            address: "http://127.0.0.1:9464".into(),
            named: true,
            answer: Ok(Answer { components: names.map(ready).into_iter().collect(), samples }),
        }],
    }
}

fn rows(facts: &mut Facts) -> &mut RowFacts {
    facts.rows.as_mut().unwrap()
}

fn behind(facts: &mut Facts, stage: usize, age_ms: i64, later: i64) {
    let stage = &mut facts.log.as_mut().unwrap().stages[stage];
    let partition = PartitionFacts {
        partition: 0,
        low: 0,
        end: 1_000,
        position: Some(400),
        later: Some(later),
        oldest: Some(NOW - age_ms),
    };
    stage.partitions = vec![Ok(partition)];
}

#[test]
fn all_is_well_and_it_is_proven() {
    let installation = installation();
    let report = judge(&installation, &well(&installation));
    assert!(report.ok && report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.lost.verdict, LostVerdict::Nothing);
    assert!(report.lost.proof.contains("each of the 1000 settled records is one row"), "{}", report.lost.proof);
    assert!(report.stages.iter().all(|stage| stage.state == Some(Severity::Fine)), "{:?}", report.stages);
    assert_eq!(report.instances[0].version.as_deref(), Some("0.1.0"));
}

#[test]
fn an_engine_that_is_away_is_the_one_finding_and_nothing_is_claimed_beyond_the_proof() {
    let installation = installation();
    let mut facts = well(&installation);
    facts.log = Err("no broker answers".into());
    rows(&mut facts).ledger.kafka = Some("Kafka does not answer".into());
    let failing = ComponentState { state: "failing".into(), why: "Kafka is away".into() };
    facts.instances[0].answer.as_mut().unwrap().components.insert("process lane 0".into(), failing.clone());
    let report = judge(&installation, &facts);
    assert_eq!((report.state, report.problems.len()), (Severity::Broken, 1), "{:?}", report.problems);
    assert!(report.headline.starts_with("Kafka at kafka-1:9092 does not answer"), "{}", report.headline);
    assert_eq!(report.lost.verdict, LostVerdict::NotProven);

    let mut facts = well(&installation);
    facts.rows = Err("cannot connect".into());
    behind(&mut facts, 1, 120_000, 400);
    facts.instances[0].answer.as_mut().unwrap().components.insert("report lane 0".into(), failing);
    let report = judge(&installation, &facts);
    assert_eq!((report.state, report.problems.len()), (Severity::Broken, 1), "{:?}", report.problems);
    assert!(report.problems[0].why.contains("7d"), "{:?}", report.problems);
    assert_eq!(report.lost.verdict, LostVerdict::NotProven);
}

#[test]
fn what_another_alert_holds_back_is_said_with_what_it_is() {
    let installation = installation();
    let mut facts = well(&installation);
    let error = "inhibit silent-source: source-quiet fires for dub".to_owned();
    rows(&mut facts).inhibited = vec![InhibitedRow { rule: "link-quiet".into(), held: 7, error }];
    let report = judge(&installation, &facts);
    assert_eq!((report.state, report.problems.len()), (Severity::Attention, 1), "{:?}", report.problems);
    let said = "7 messages of rule link-quiet are held back: inhibit silent-source: source-quiet fires for dub";
    assert!(report.headline.contains(said), "{}", report.headline);
}

#[test]
fn a_stage_that_stands_still_is_broken_and_one_that_catches_up_is_not() {
    let installation = installation();
    let mut facts = well(&installation);
    behind(&mut facts, 0, 60_000, 400);
    let report = judge(&installation, &facts);
    assert_eq!(report.state, Severity::Broken);
    assert!(
        report.headline.contains("process stands still: up to 600 records wait, the oldest for 1m"),
        "{}",
        report.headline
    );
    behind(&mut facts, 0, 60_000, 500);
    let report = judge(&installation, &facts);
    assert_eq!(report.state, Severity::Attention);
    assert!(report.headline.contains("it moves"), "{}", report.headline);
    behind(&mut facts, 0, 3_000, 400);
    assert!(judge(&installation, &facts).ok, "three seconds are no delay");

    // An instance that was asked does not run it: the command that starts it.
    behind(&mut facts, 0, 60_000, 400);
    facts.instances[0].answer.as_mut().unwrap().components.remove("process lane 0");
    let report = judge(&installation, &facts);
    assert!(report.problems[0].next.contains("hookline process --config hookline.toml"), "{:?}", report.problems);
    facts.instances.clear();
    assert_eq!(judge(&installation, &facts).state, Severity::Broken);
}

#[test]
fn a_lane_that_stopped_on_purpose_says_why_once() {
    let installation = installation();
    let mut facts = well(&installation);
    behind(&mut facts, 0, 60_000, 400);
    let answer = facts.instances[0].answer.as_mut().unwrap();
    let halted = ComponentState { state: "halted".into(), why: "the fuse of lane 0 has blown".into() };
    answer.components.insert("process lane 0".into(), halted);
    let labels = [("service", "process"), ("reason", "fuse")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    answer.samples.push(Sample { name: "hookline_stalled".into(), labels: labels.into(), value: 1.0 });
    let report = judge(&installation, &facts);
    assert_eq!((report.state, report.problems.len()), (Severity::Broken, 1), "{:?}", report.problems);
    assert!(report.headline.contains("process lane 0 stands still (fuse): the fuse of lane 0"), "{}", report.headline);
    assert!(report.problems[0].next.contains("hookline dlq list"), "{:?}", report.problems);
}

#[test]
fn what_is_missing_is_repairable_as_long_as_raw_holds_it() {
    let installation = installation();
    let mut facts = well(&installation);
    let missing = LaneReport { missing: 3, missing_offsets: vec![OffsetRange(10..13)], ..lane() };
    let ledger = &mut rows(&mut facts).ledger;
    (ledger.ok, ledger.lanes, ledger.next) = (false, vec![missing.clone()], vec!["hookline replay …".into()]);
    let report = judge(&installation, &facts);
    assert_eq!((report.lost.verdict, report.lost.records), (LostVerdict::Repairable, 3));
    assert_eq!(report.problems[0].next, "hookline replay …");
    rows(&mut facts).ledger.lanes = vec![LaneReport { kept: Some(Kept { from: 12, to: 1_000 }), ..missing }];
    let report = judge(&installation, &facts);
    assert_eq!(report.lost.verdict, LostVerdict::Lost);
    assert!(report.lost.proof.contains("no longer holds 2"), "{}", report.lost.proof);
}

#[test]
fn what_waits_for_a_person_needs_attention_and_is_not_broken() {
    let installation = installation();
    let mut facts = well(&installation);
    let words = " by ana: plan change";
    facts.log.as_mut().unwrap().switched.push((Object::source("dub"), State::Pause, words.into()));
    let group = DeadLetterGroup {
        source: "dub".into(),
        stage: "adapt".into(),
        reason: "missing_field".into(),
        number: 5,
        open: 4,
        redriven: 1,
        discarded: 0,
        first_seen: NOW,
        last_seen: NOW,
    };
    rows(&mut facts).dead_letters.push(group);
    rows(&mut facts).sources[0].last_seen = NOW - 3_600_000;
    rows(&mut facts).destinations.push(DestinationRow {
        destination: "crm".into(),
        owed: 2,
        oldest: NOW - 3_600_000,
        failed: 1,
        error: "HTTP 401".into(),
    });
    let report = judge(&installation, &facts);
    assert_eq!(report.state, Severity::Attention);
    let what: Vec<&str> = report.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "source dub is paused by ana: plan change",
            "source dub has sent nothing for 1h",
            "4 dead letters wait for a decision: 4 of dub (adapt, missing_field)",
            "2 messages to crm are late, the oldest by 1h",
            "1 messages to crm were given up in 24 hours: HTTP 401",
        ]
    );
    assert_eq!(report.dead_letters_open, Some(4));
    assert_eq!(report.sources[0].switch, Some(State::Pause));
}

#[test]
fn a_canary_is_dead_when_three_of_its_events_did_not_come_through() {
    let mut installation = installation();
    let canary = config::Canary {
        source: "canary".into(),
        rule: Some("canary".into()),
        interval: Duration::from_secs(60),
        patience: Duration::from_secs(30),
        ingest: None,
    };
    std::sync::Arc::make_mut(&mut installation.config).canary = Some(canary);
    let said = |samples: &[(&str, &str, f64)]| {
        let mut facts = well(&installation);
        let answer = facts.instances[0].answer.as_mut().unwrap();
        answer.samples.extend(samples.iter().map(|(name, path, value)| Sample {
            name: format!("hookline_canary_{name}"),
            labels: BTreeMap::from([("path".to_owned(), (*path).to_owned())]),
            value: *value,
        }));
        let report = judge(&installation, &facts);
        (report.state, report.headline)
    };
    let (last, failures) = ("last_success_timestamp_seconds", "failures_total");
    let since = "measured_since_timestamp_seconds";
    let ago = |seconds: i64| (NOW / 1_000 - seconds) as f64;
    let (state, headline) = said(&[]);
    assert_eq!(state, Severity::Attention);
    assert!(headline.starts_with("no instance that was asked runs the canary"), "{headline}");
    assert_eq!(said(&[(last, "row", ago(269)), (last, "message", ago(12)), (failures, "row", 3.0)]).0, Severity::Fine);
    assert_eq!(said(&[(last, "row", 0.0), (last, "message", 0.0)]).0, Severity::Fine, "it has just been started");
    let missed = |seconds| [(last, "row", 0.0), (since, "row", ago(seconds)), (failures, "row", 1.0)];
    assert_eq!(said(&missed(269)).0, Severity::Fine, "one event came too early");
    assert_eq!(said(&missed(271)).0, Severity::Broken);
    let broken = |samples: &[(&str, &str, f64)]| {
        let (state, headline) = said(samples);
        assert_eq!(state, Severity::Broken, "{headline}");
        headline
    };
    assert_eq!(
        broken(&[(last, "row", ago(300)), (last, "message", ago(300))]),
        "end to end is broken: no event of the canary has become a row for 5m"
    );
    assert_eq!(
        broken(&[
            (last, "row", ago(1)),
            (last, "message", 0.0),
            (since, "message", ago(300)),
            (failures, "message", 3.0)
        ]),
        "end to end is broken: no event of the canary has become a message since it was started"
    );
}

#[test]
fn an_instance_that_does_not_answer_is_a_finding_only_if_it_was_named() {
    let installation = installation();
    let mut facts = well(&installation);
    facts.instances[0].answer = Err("the connection is refused".into());
    assert_eq!(judge(&installation, &facts).state, Severity::Broken);
    facts.instances[0].named = false;
    assert!(judge(&installation, &facts).ok);
}

#[test]
fn retention_that_overtakes_a_stage_is_said_before_and_after() {
    let installation = installation();
    let mut facts = well(&installation);
    let day = 86_400_000;
    behind(&mut facts, 0, 6 * day + day / 2, 500);
    let report = judge(&installation, &facts);
    assert!(report.headline.contains("in 12h Kafka deletes what process has not read"), "{}", report.headline);
    let stage = &mut facts.log.as_mut().unwrap().stages[0];
    stage.partitions[0].as_mut().unwrap().low = 410;
    let report = judge(&installation, &facts);
    assert!(report.headline.contains("retention has deleted 10 records"), "{}", report.headline);
}

#[test]
fn spans_are_in_two_units_at_most() {
    let of = |seconds: i64| span(seconds * 1_000);
    assert_eq!([of(0), of(59), of(60), of(3_605), of(7 * 86_400 - 1)], ["0s", "59s", "1m", "1h", "6d 23h"]);
}
