use jiff::Timestamp;
use kafka::control::State;
use operate::status::{InstanceStatus, Lost, LostVerdict, Part, Problem, Severity, SourceStatus, StatusReport};

use super::super::tests::{AT, rendered};

fn part(name: &str, state: Severity, says: &str) -> Part {
    Part { name: name.into(), state: Some(state), says: says.into(), waiting: None, oldest_ms: None }
}

fn well() -> StatusReport {
    let at = Timestamp::from_millisecond(AT).unwrap();
    StatusReport {
        ok: true,
        state: Severity::Fine,
        headline: "everything works and nothing waits for a person".into(),
        at,
        lost: Lost {
            verdict: LostVerdict::Nothing,
            records: 0,
            proof: "each of the 1234567 settled records is one row; 3 wait in raw, which keeps records for 7d".into(),
        },
        engines: vec![
            part("kafka", Severity::Fine, "kafka-1:9092  12 lanes, incarnation 018f"),
            part("clickhouse", Severity::Fine, "http://ch:8123  complete through 2025-11-25 11:59:59Z"),
        ],
        stages: vec![
            part("ingest", Severity::Fine, "runs"),
            Part {
                waiting: Some(3),
                oldest_ms: Some(400),
                ..part("process", Severity::Fine, "3 wait, the oldest for 0s")
            },
        ],
        sources: vec![
            SourceStatus {
                name: "dub".into(),
                owner: "growth".into(),
                switch: Some(State::Accept),
                test: false,
                last_seen: Some(Timestamp::from_millisecond(AT - 4_000).unwrap()),
            },
            SourceStatus {
                name: "qr".into(),
                owner: "growth".into(),
                switch: Some(State::Pause),
                test: false,
                last_seen: None,
            },
        ],
        dead_letters_open: Some(0),
        instances: vec![InstanceStatus {
            address: "http://127.0.0.1:9464".into(),
            answers: true,
            config: Some("9f3c".into()),
            version: Some("0.1.0".into()),
            not_ready: Vec::new(),
        }],
        problems: Vec::new(),
    }
}

#[test]
fn a_status_when_all_is_well() {
    insta::assert_snapshot!("status_well", rendered(&well()));
}

#[test]
fn a_status_when_much_is_broken() {
    let problem = |severity, what: &str, why: &str, next: &str, runbook: &str| Problem {
        severity,
        what: what.into(),
        why: why.into(),
        next: next.into(),
        runbook: format!("docs/runbooks/{runbook}.md"),
    };
    let problems = vec![
        problem(
            Severity::Broken,
            "ClickHouse at http://ch:8123 does not answer: connection refused",
            "deliveries are taken as usual; their rows wait on Kafka, which keeps them for 7d",
            "start it, then: hookline status --config hookline.toml --watch",
            "service-down",
        ),
        problem(
            Severity::Attention,
            "source qr is paused by ana: plan change",
            "",
            "hookline resume source/qr --config hookline.toml",
            "paused-too-long",
        ),
    ];
    let report = StatusReport {
        ok: false,
        state: Severity::Broken,
        headline: format!("{} (and 1 more)", problems[0].what),
        lost: Lost { verdict: LostVerdict::NotProven, records: 0, proof: "rows cannot be asked".into() },
        stages: vec![Part { state: None, ..part("ingest", Severity::Fine, "no address of an instance is known") }],
        dead_letters_open: Some(12),
        instances: Vec::new(),
        problems,
        ..well()
    };
    insta::assert_snapshot!("status_broken", rendered(&report));
}
