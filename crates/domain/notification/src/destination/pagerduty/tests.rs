use std::time::Duration;

use serde_json::Value;

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Destination, Step, Values, Verdict};
use crate::message::MessageKind::{Acknowledged, Alert, Resolved, Summary};

fn pagerduty() -> Box<dyn Destination> {
    built("pagerduty", &Values::default().with("key", &"k".repeat(32)))
}

fn body(step: Step) -> Value {
    serde_json::from_str(&request(step).body).unwrap()
}

#[test]
fn a_start_triggers_and_its_end_resolves_by_the_same_key() {
    let (start, more) =
        (body(step(&*pagerduty(), &message(Alert), "", &[])), body(step(&*pagerduty(), &message(Summary), "", &[])));
    let end = body(step(&*pagerduty(), &message(Resolved), "", &[]));
    assert_eq!(
        (&start["event_action"], &more["event_action"], &end["event_action"]),
        (&"trigger".into(), &"trigger".into(), &"resolve".into())
    );
    assert!(
        [&start, &more, &end].iter().all(|event| event["dedup_key"] == "k1" && event["routing_key"] == "k".repeat(32))
    );
    assert_eq!(start["payload"]["severity"], "error");
    assert!(start["payload"]["summary"].as_str().unwrap().chars().all(|one| !one.is_control()));
}

#[test]
fn what_began_and_ended_in_one_message_is_triggered_and_resolved() {
    let mut brief = message(Alert);
    brief.thread.as_mut().unwrap().ends = true;
    let ok = answer(202, r#"{"status":"success"}"#);
    assert_eq!(body(step(&*pagerduty(), &brief, "", &[]))["event_action"], "trigger");
    assert_eq!(body(step(&*pagerduty(), &brief, "", std::slice::from_ref(&ok)))["event_action"], "resolve");
    let end = verdict(step(&*pagerduty(), &brief, "", &[ok.clone(), ok]));
    assert_eq!(end, Verdict::Delivered { status: 202, receipt: "k1".to_owned() });
}

#[test]
fn an_acknowledgement_acknowledges_by_the_same_key() {
    let ok = answer(202, r#"{"status":"success"}"#);
    let said = body(step(&*pagerduty(), &message(Acknowledged), "", &[]));
    assert_eq!(
        (&said["event_action"], &said["dedup_key"], &said["payload"]),
        (&"acknowledge".into(), &"k1".into(), &Value::Null)
    );
    let end = verdict(step(&*pagerduty(), &message(Acknowledged), "", &[ok]));
    assert_eq!(end, Verdict::Delivered { status: 202, receipt: "k1".to_owned() });
}

#[test]
fn each_answer_has_its_verdict() {
    for (status, body, expected) in [
        (202, "", "delivered"),
        (400, r#"{"message":"Event object is invalid","errors":["'payload.severity' is invalid"]}"#, "rejected"),
        (400, r#"{"errors":["Invalid routing key"]}"#, "refused"),
        (403, "", "refused"),
        (429, "", "retry"),
        (503, "", "retry"),
    ] {
        assert_eq!(
            name(&verdict(step(&*pagerduty(), &message(Alert), "", &[answer(status, body)]))),
            expected,
            "{body}"
        );
    }
    let busy = verdict(step(&*pagerduty(), &message(Alert), "", &[answer(429, "")]));
    assert!(matches!(busy, Verdict::Retry { after: Some(after), .. } if after == Duration::from_secs(120)));
}

#[test]
fn an_event_of_endless_texts_is_short_enough() {
    let mut endless = message(Alert);
    endless.title = "ü\n".repeat(9_000);
    endless.text = "\"".repeat(900_000);
    let sent = request(step(&*pagerduty(), &endless, "", &[]));
    let event: Value = serde_json::from_str(&sent.body).unwrap();
    assert!(event["payload"]["summary"].as_str().unwrap().len() <= 1_024 && sent.body.len() < 100_000);
}
