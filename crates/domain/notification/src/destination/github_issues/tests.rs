use std::time::Duration;

use serde_json::{Value, json};

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Answer, Destination, Values, Verdict, kind};
use crate::message::MessageKind::{Alert, Resolved, Summary};

fn github() -> Box<dyn Destination> {
    let values =
        Values::default().with("repo.name", "example/web").with("repo.token", "t").with("api", "http://127.0.0.1:1");
    built("github-issues", &values)
}

fn list(issues: &Value) -> Answer {
    answer(200, &issues.to_string())
}

/// Neither the issues with our label nor the newest of all have it.
fn none() -> [Answer; 2] {
    [list(&json!([])), list(&json!([]))]
}

fn comments(message: &str) -> Answer {
    let body = format!("` Owner: web-ops `  \r\n<!-- hookline-message:{message} -->");
    list(&json!([{ "body": "` <!-- hookline-message:b1 --> `" }, { "body": body }]))
}

fn ours(state: &str, message: &str) -> Answer {
    let body = format!("x\r\n<!-- hookline-message:{message} -->\r\n<!-- hookline:k1 -->\r\n");
    list(
        &json!([{ "number": 4, "state": "open", "body": "`<!-- hookline:k1 -->`" }, { "number": 7, "state": state, "body": body }]),
    )
}

#[test]
fn a_start_looks_for_its_issue_and_opens_one_where_there_is_none() {
    let looks = request(step(&*github(), &message(Alert), "", &[]));
    assert_eq!((looks.method, looks.url.contains("/search")), ("GET", false));
    assert!(looks.url.starts_with("http://127.0.0.1:1/repos/example/web/issues?labels=hookline&state=all"));
    let looks_again = request(step(&*github(), &message(Alert), "", &[list(&json!([]))]));
    assert!(looks_again.method == "GET" && looks_again.url.contains("/issues?state=all&"), "{}", looks_again.url);
    let opens = request(step(&*github(), &message(Alert), "", &none()));
    let body: Value = serde_json::from_str(&opens.body).unwrap();
    assert_eq!((opens.method, &body["labels"][0]), ("POST", &"hookline".into()));
    assert!(body["title"].as_str().unwrap().chars().count() <= 256);
    let text = body["body"].as_str().unwrap();
    assert!(text.starts_with("@ann-gh\n") && text.contains("<!-- hookline:k1 -->"));
    let created = answer(201, r#"{"number":7,"labels":[{"name":"Hookline"}]}"#);
    let end = verdict(step(&*github(), &message(Alert), "", &[&none()[..], &[created]].concat()));
    assert_eq!(end, Verdict::Delivered { status: 201, receipt: "7".to_owned() });
}

#[test]
fn texts_of_senders_neither_mention_nor_link() {
    let opens = request(step(&*github(), &message(Alert), "", &none()));
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
    let opened = [ours("closed", "b0"), answer(200, "{}"), comments("b0")];
    let comment = request(step(&*github(), &message(Alert), "", &opened));
    assert_eq!((comment.method, comment.url.ends_with("/7/comments")), ("POST", true));
    let summary = request(step(&*github(), &message(Summary), "", &[ours("closed", "b0"), comments("b0")]));
    assert_eq!((summary.method, summary.url.ends_with("/7/comments")), ("POST", true));
}

#[test]
fn the_end_comments_and_closes_by_the_number_that_is_known() {
    let looks = request(step(&*github(), &message(Resolved), "7", &[]));
    // A day before the end of what it tells of.
    assert!(looks.method == "GET" && looks.url.contains("/issues/7/comments?since="), "{}", looks.url);
    let so_far = [comments("b0"), answer(201, "{}"), answer(200, "{}")];
    let comment = request(step(&*github(), &message(Resolved), "7", &so_far[..1]));
    assert!(comment.method == "POST" && comment.url.ends_with("/issues/7/comments") && !comment.body.contains("@ann"));
    let close = request(step(&*github(), &message(Resolved), "7", &so_far[..2]));
    assert_eq!((close.method, close.body.contains("completed")), ("PATCH", true));
    let end = verdict(step(&*github(), &message(Resolved), "7", &so_far));
    assert_eq!(end, Verdict::Delivered { status: 200, receipt: "7".to_owned() });
    let nothing = verdict(step(&*github(), &message(Resolved), "", &none()));
    assert_eq!(name(&nothing), "delivered", "what was never opened needs no closing");
}

#[test]
fn a_comment_whose_outcome_was_lost_is_not_written_again() {
    let close = request(step(&*github(), &message(Resolved), "7", &[comments("b1")]));
    assert_eq!((close.method, close.url.ends_with("/issues/7")), ("PATCH", true));
    let more = verdict(step(&*github(), &message(Summary), "7", &[comments("b1")]));
    assert_eq!(more, Verdict::Delivered { status: 200, receipt: "7".to_owned() });
    // It stands on a later page.
    let full = list(&json!(vec![json!({ "body": "a comment of a person" }); 50]));
    let next = request(step(&*github(), &message(Summary), "7", std::slice::from_ref(&full)));
    assert!(next.method == "GET" && next.url.ends_with("&page=2"), "{}", next.url);
    assert_eq!(name(&verdict(step(&*github(), &message(Summary), "7", &[full, comments("b1")]))), "delivered");
}

#[test]
fn an_issue_without_its_label_is_said_and_found_all_the_same() {
    let dropped = answer(201, r#"{"number":7,"labels":[{"name":"bug"}]}"#);
    for created in [dropped, answer(201, r#"{"number":7,"labels":[]}"#)] {
        let Verdict::Refused { error, .. } =
            verdict(step(&*github(), &message(Alert), "", &[&none()[..], &[created]].concat()))
        else {
            panic!("it is taken for delivered")
        };
        assert!(error.contains("issue 7") && error.contains("repo.token") && error.lines().count() == 1, "{error}");
    }
    // Once that is mended the message is sent again: the issue is there.
    let end = verdict(step(&*github(), &message(Alert), "", &[list(&json!([])), ours("open", "b1")]));
    assert_eq!(end, Verdict::Delivered { status: 200, receipt: "7".to_owned() });
    // So is that of an earlier start, among labelled ones too.
    let others = list(&json!([{ "number": 2, "state": "open", "body": "<!-- hookline:k2 -->" }]));
    for labelled in [list(&json!([])), others] {
        let again = request(step(&*github(), &message(Alert), "", &[labelled, ours("closed", "b0")]));
        assert_eq!((again.method, again.url.ends_with("/issues/7")), ("PATCH", true), "no twin");
    }
    let quotes = json!([{ "number": 9, "state": "open", "pull_request": {}, "body": "<!-- hookline:k1 -->" }]);
    assert_eq!(request(step(&*github(), &message(Alert), "", &[list(&json!([])), list(&quotes)])).method, "POST");
}

#[test]
fn an_issue_that_was_deleted_is_opened_anew_and_stops_nothing() {
    for status in [404, 410] {
        let gone = answer(status, r#"{"message":"This issue was deleted"}"#);
        let [labelled, all] = none();
        let opens = request(step(&*github(), &message(Summary), "7", &[gone.clone(), labelled.clone(), all.clone()]));
        assert_eq!((opens.method, opens.url.ends_with("/issues")), ("POST", true));
        assert_eq!(
            name(&verdict(step(&*github(), &message(Resolved), "7", &[gone.clone(), labelled, all]))),
            "delivered"
        );
        // Nothing of the repository is there.
        assert_eq!(name(&verdict(step(&*github(), &message(Summary), "7", &[gone.clone(), gone]))), "refused");
    }
}

#[test]
fn each_refusal_has_its_verdict_and_rate_limits_their_time() {
    let of = |answer: Answer| verdict(step(&*github(), &message(Resolved), "", &[answer]));
    for (status, body, expected) in [
        (401, "", "refused"),
        (403, r#"{"message":"Resource not accessible"}"#, "refused"),
        (404, "", "refused"),
        (410, "", "refused"),
        (422, "", "rejected"),
        (301, "", "refused"),
        (429, "", "retry"),
        (500, "", "retry"),
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
