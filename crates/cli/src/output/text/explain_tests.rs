use operate::explain::{
    Because, Difference, Edge, ExplainReport, Explained, RecordPlace, RuleVerdict, StageVerdict, Versions,
};
use serde_json::json;

use super::super::tests::rendered;

fn because(what: &str, is: &str, by: &str) -> Because {
    Because { what: what.into(), is: is.into(), by: by.into() }
}

fn stage(stage: &'static str, verdict: &str, because: Vec<Because>) -> StageVerdict {
    StageVerdict { stage, verdict: verdict.into(), because }
}

fn click() -> Explained {
    Explained {
        place: Some(RecordPlace { lane: 3, offset: 17, has_row: true, has_bytes: true }),
        stages: vec![
            stage(
                "ingest",
                "received by source dub at 2025-11-25 12:00:00.000Z, receipt req_1",
                vec![because("secret", "2026-09", "hookline.toml:20")],
            ),
            stage("label", "counts as bot (crawler:Googlebot)", vec![because("counted", "bot", "the list of bots")]),
        ],
        rules: Some(vec![
            RuleVerdict {
                rule: "promo-spike".into(),
                place: "rules/growth.toml:12".into(),
                matched: false,
                why: "it counts as bot".into(),
                then: String::new(),
            },
            RuleVerdict {
                rule: "every-visit".into(),
                place: "rules/growth.toml:20".into(),
                matched: true,
                why: "the event is a click".into(),
                then: "an alert; messages go to log".into(),
            },
        ]),
        unreadable: vec!["country".into()],
        config: Versions { stored: Some("9f3c".into()), now: "aa01".into() },
        differences: Some(vec![Difference { column: "channel".into(), stored: json!("direct"), now: json!("email") }]),
        row: json!({ "type": "click" }).as_object().cloned().unwrap_or_default(),
    }
}

#[test]
fn a_stored_event_that_would_be_another_now() {
    let report =
        ExplainReport { ok: false, about: "req_1".into(), edge: None, events: vec![click()], next: Vec::new() };
    insta::assert_snapshot!("explain_stored", rendered(&report));
}

#[test]
fn a_request_that_is_not_authentic() {
    let edge = Edge {
        source: "dub".into(),
        authentic: Some(false),
        by: "no secret of the source matches".into(),
        events: 1,
        undecodable: None,
    };
    let event =
        Explained { place: None, differences: None, rules: Some(Vec::new()), unreadable: Vec::new(), ..click() };
    let next = vec!["why its signature fails: hookline verify --request FILE".into()];
    let report = ExplainReport { ok: false, about: "req.http".into(), edge: Some(edge), events: vec![event], next };
    insta::assert_snapshot!("explain_request", rendered(&report));
}

#[test]
fn what_nothing_is_known_of() {
    let report = ExplainReport {
        ok: false,
        about: "req_2".into(),
        edge: None,
        events: Vec::new(),
        next: vec!["hookline verify".into()],
    };
    insta::assert_snapshot!("explain_unknown", rendered(&report));
}
