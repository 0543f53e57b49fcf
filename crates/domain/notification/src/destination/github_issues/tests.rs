use std::time::Duration;

use serde_json::{Value, json};

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Answer, Destination, Values, Verdict, kind};
use crate::message::MessageKind::{Alert, Resolved, Summary};

fn github() -> Box<dyn Destination> {
    let values = Values::default().with("repo.name", "example/web").with("repo.token", "t").with("api", "http://127.0.0.1:1");
    built("github-issues", &values)
}

fn list(issues: &Value) -> Answer {
    answer(200, &issues.to_string())
}

fn ours(state: &str, message: &str) -> Answer {
    let body = format!("x\r\n<!-- hookline-message:{message} -->\r\n<!-- hookline:k1 -->\r\n");
    list(&json!([{ "number": 4, "state": "open", "body": "`<!-- hookline:k1 -->`" }, { "number": 7, "state": state, "body": body }]))
}

#[test]
fn a_start_looks_for_its_issue_and_opens_one_where_there_is_none() {
    let looks = request(step(&*github(), &message(Alert), "", &[]));
    assert_eq!((looks.method, looks.url.contains("/search")), ("GET", false));
    assert!(looks.url.starts_with("http://127.0.0.1:1/repos/example/web/issues?labels=hookline&state=all"));
    let opens = request(step(&*github(), &message(Alert), "", &[list(&json!([]))]));
    let body: Value = serde_json::from_str(&opens.body).unwrap();
    assert_eq!((opens.method, &body["labels"][0]), ("POST", &"hookline".into()));
    assert!(body["title"].as_str().unwrap().chars().count() <= 256);
    let text = body["body"].as_str().unwrap();
    assert!(text.starts_with("@ann-gh\n") && text.contains("<!-- hookline:k1 -->"));
    let created = answer(201, r#"{"number":7}"#);
    let end = verdict(step(&*github(), &message(Alert), "", &[list(&json!([])), created]));
    assert_eq!(end, Verdict::Delivered { status: 201, receipt: "7".to_owned() });
}

#[test]
fn texts_of_senders_neither_mention_nor_link() {
    let opens = request(step(&*github(), &message(Alert), "", &[list(&json!([]))]));
    let body: Value = serde_json::from_str(&opens.body).unwrap();
    let hostile = body["body"].as_str().unwrap().lines().find(|line| line.contains("@org/team")).unwrap().trim_end();
    assert!(hostile.starts_with("``") && hostile.ends_with("``"), "{hostile}");
    assert!(!body["title"].as_str().unwrap().contains("@org") && !body["title"].as_str().unwrap().contains("#12"));
}

#[test]
fn an_attempt_whose_outcome_was_lost_opens_no_twin() {
    let end = verdict(step(&*github(), &message(Alert), "", &[ours("open", "b1")]));
    assert!(matches!(end, Verdict::Delivered { receipt, .. } if receipt == "7"));
}

#[test]
fn a_new_start_opens_a_closed_issue_again_and_a_summary_does_not() {
    let again = request(step(&*github(), &message(Alert), "", &[ours("closed", "b0")]));
    assert_eq!((again.method, again.body.as_str()), ("PATCH", r#"{"state":"open"}"#));
    let comment = request(step(&*github(), &message(Alert), "", &[ours("closed", "b0"), answer(200, "{}")]));
    assert!(comment.url.ends_with("/7/comments"));
    let summary = request(step(&*github(), &message(Summary), "", &[ours("closed", "b0")]));
    assert!(summary.url.ends_with("/7/comments"));
}

#[test]
fn the_end_comments_and_closes_by_the_number_that_is_known() {
    let comment = request(step(&*github(), &message(Resolved), "7", &[]));
    assert!(comment.url.ends_with("/issues/7/comments") && !comment.body.contains("@ann"));
    let close = request(step(&*github(), &message(Resolved), "7", &[answer(201, "{}")]));
    assert_eq!((close.method, close.body.contains("completed")), ("PATCH", true));
    let end = verdict(step(&*github(), &message(Resolved), "7", &[answer(201, "{}"), answer(200, "{}")]));
    assert_eq!(end, Verdict::Delivered { status: 200, receipt: "7".to_owned() });
    let nothing = verdict(step(&*github(), &message(Resolved), "", &[list(&json!([]))]));
    assert_eq!(name(&nothing), "delivered", "what was never opened needs no closing");
}

#[test]
fn each_refusal_has_its_verdict_and_rate_limits_their_time() {
    let of = |answer: Answer| verdict(step(&*github(), &message(Resolved), "7", &[answer]));
    for (status, body, expected) in [
        (401, "", "refused"), (403, r#"{"message":"Resource not accessible"}"#, "refused"), (404, "", "refused"),
        (410, "", "refused"), (422, "", "rejected"), (301, "", "refused"), (429, "", "retry"), (500, "", "retry"),
        (403, r#"{"message":"You have exceeded a secondary rate limit."}"#, "retry"),
    ] {
        assert_eq!(name(&of(answer(status, body))), expected, "{status} {body}");
    }
    let mut spent = answer(403, "{}");
    spent.headers = vec![
        ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
        ("x-ratelimit-reset".to_owned(), (1_764_000_000 + 1_800).to_string()),
    ];
    assert!(matches!(of(spent), Verdict::Retry { after: Some(after), .. } if after == Duration::from_secs(1_800)));
}

#[test]
fn a_name_that_is_not_a_repository_is_named() {
    for name in ["web", "a/b/c", "a/b?x", "/b"] {
        let values = Values::default().with("repo.name", name).with("repo.token", "t");
        assert_eq!((kind("github-issues").unwrap().build)(&values).err().unwrap().key, "repo.name");
    }
}
