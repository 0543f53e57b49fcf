use std::time::Duration;

use serde_json::Value;

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Destination, Values, Verdict};
use crate::message::MessageKind::Alert;

fn hubspot() -> Box<dyn Destination> {
    built("hubspot", &Values::default().with("token", "t"))
}

#[test]
fn a_note_is_written_under_its_id_and_without_tags_of_the_sender() {
    let sent = request(step(&*hubspot(), &message(Alert), "", &[]));
    assert!(sent.url.ends_with("/notes/batch/upsert"));
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let input = &body["inputs"][0];
    assert_eq!((&input["idProperty"], &input["id"]), (&"hookline_id".into(), &"b1".into()));
    assert_eq!(input["properties"]["hs_timestamp"], "2026-11-29T10:00:00Z");
    let text = input["properties"]["hs_note_body"].as_str().unwrap().replace("<br>", "");
    assert!(!text.contains(['<', '>']), "{text}");
    let end = verdict(step(&*hubspot(), &message(Alert), "", &[answer(200, r#"{"results":[{"id":"5"}]}"#)]));
    assert_eq!(end, Verdict::Delivered { status: 200, receipt: "5".to_owned() });
}

#[test]
fn a_note_is_tied_to_the_contact_that_its_link_names() {
    let mut named = message(Alert);
    named.attributes.insert("contact".to_owned(), "42".to_owned());
    let written = answer(200, r#"{"results":[{"id":"5"}]}"#);
    let ties = request(step(&*hubspot(), &named, "", std::slice::from_ref(&written)));
    assert_eq!((ties.method, ties.url.ends_with("/notes/5/associations/default/contacts/42")), ("PUT", true));
    let end = verdict(step(&*hubspot(), &named, "", &[written.clone(), answer(404, "{}")]));
    assert_eq!(name(&end), "written in part");
    assert_eq!(name(&verdict(step(&*hubspot(), &named, "", &[written, answer(200, "{}")]))), "delivered");
}

#[test]
fn each_answer_has_its_verdict() {
    for (status, body, expected) in [
        (400, "{}", "rejected"),
        (400, r#"{"category":"PROPERTY_DOESNT_EXIST"}"#, "refused"),
        (401, "", "refused"),
        (403, "", "refused"),
        (207, r#"{"errors":[{"message":"bad"}]}"#, "rejected"),
        (429, "{}", "retry"),
        (502, "", "retry"),
    ] {
        assert_eq!(
            name(&verdict(step(&*hubspot(), &message(Alert), "", &[answer(status, body)]))),
            expected,
            "{status} {body}"
        );
    }
    let after = |policy: &str| match verdict(step(
        &*hubspot(),
        &message(Alert),
        "",
        &[answer(429, &format!(r#"{{"policyName":"{policy}"}}"#))],
    )) {
        Verdict::Retry { after, .. } => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(after("TEN_SECONDLY_ROLLING"), Some(Duration::from_secs(10)));
    assert_eq!(after("DAILY"), Some(Duration::from_secs(3_600)));
}
