use std::time::Duration;

use serde_json::{Value, json};

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Answer, Destination, Step, Values, Verdict, kind};
use super::find::around;
use crate::message::Message;
use crate::message::MessageKind::{Alert, Resolved, Summary};

fn values() -> Values {
    let values = Values::default().with("site", "http://127.0.0.1:1").with("project", "WEB").with("issue_type", "Bug");
    values.with("user", "me@example.com").with("token", "t")
}

fn jira() -> Box<dyn Destination> {
    built("jira", &values())
}

fn issue(number: u64, category: &str, message: &str) -> Value {
    json!({
        "key": format!("WEB-{number}"),
        "fields": { "status": { "statusCategory": { "key": category } }, "labels": ["hookline", "hookline-k1"] },
        "properties": { "hookline": { "message": message } },
    })
}

fn list(issues: &[Value]) -> Answer {
    answer(200, &json!({ "issues": issues }).to_string())
}

fn transitions(keys: &[&str]) -> Answer {
    let all: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(id, key)| json!({ "id": format!("{}", 10 + id), "to": { "statusCategory": { "key": key } } }))
        .collect();
    answer(200, &json!({ "transitions": all }).to_string())
}

/// Plays the answers to a message, and returns what was asked, as method, path and body, and the verdict.
fn play(message: &Message, receipt: &str, answers: &[Answer]) -> (Vec<(String, String, String)>, Verdict) {
    let mut asked = Vec::new();
    for given in 0..=answers.len() {
        match step(&*jira(), message, receipt, &answers[..given]) {
            Step::Http(request) => {
                let path = request.url.trim_start_matches("http://127.0.0.1:1/rest/api/3").to_owned();
                asked.push((request.method.to_owned(), path, request.body));
            }
            other => return (asked, verdict(other)),
        }
    }
    panic!("it came to no end: {asked:?}")
}

fn paths(asked: &[(String, String, String)]) -> Vec<String> {
    asked.iter().map(|(method, path, _)| format!("{method} {}", path.split('?').next().unwrap())).collect()
}

#[test]
fn a_start_reads_the_newest_issues_and_opens_one_where_there_is_none() {
    let created = answer(201, r#"{"id":"10007","key":"WEB-8"}"#);
    let (asked, end) = play(&message(Alert), "", &[list(&[]), list(&[issue(7, "new", "x")]), list(&[]), created]);
    assert_eq!(paths(&asked), ["POST /search/jql", "POST /search/jql", "POST /issue/bulkfetch", "POST /issue"]);
    assert!(asked[2].2.contains("\"WEB-1\"") && asked[2].2.contains("\"WEB-76\""), "{}", asked[2].2);
    let body: Value = serde_json::from_str(&asked[3].2).unwrap();
    assert_eq!(body["fields"]["labels"], json!(["hookline", "hookline-k1"]));
    assert_eq!(
        (&body["fields"]["project"]["key"], &body["fields"]["issuetype"]["name"]),
        (&json!("WEB"), &json!("Bug"))
    );
    let document = &body["fields"]["description"];
    assert_eq!((&document["type"], &document["version"]), (&json!("doc"), &json!(1)));
    assert_eq!(document["content"][0]["content"][0]["attrs"]["id"], "5b10a2844c20165700ede21g");
    assert!(body["fields"]["summary"].as_str().unwrap().len() <= 255);
    assert_eq!(end, Verdict::Delivered { status: 201, receipt: "WEB-8".to_owned() });
    let login = request(step(&*jira(), &message(Alert), "", &[]));
    assert!(login.headers.contains(&("authorization".to_owned(), "Basic bWVAZXhhbXBsZS5jb206dA==".to_owned())));
}

#[test]
fn an_issue_that_the_search_does_not_know_yet_is_found_and_gets_no_twin() {
    let fresh = list(&[issue(8, "new", "b1")]);
    let (asked, end) = play(&message(Alert), "", &[list(&[]), list(&[issue(7, "new", "x")]), fresh]);
    assert_eq!(asked.len(), 3);
    assert!(matches!(end, Verdict::Delivered { receipt, .. } if receipt == "WEB-8"));
}

#[test]
fn a_new_start_moves_a_closed_issue_back_and_comments() {
    let old = list(&[issue(7, "done", "b0")]);
    let answers =
        [old, answer(200, r#"{"comments":[]}"#), answer(201, "{}"), transitions(&["done", "new"]), answer(204, "")];
    let (asked, end) = play(&message(Alert), "", &answers);
    let expected = [
        "POST /search/jql",
        "GET /issue/WEB-7/comment",
        "POST /issue/WEB-7/comment",
        "GET /issue/WEB-7/transitions",
        "POST /issue/WEB-7/transitions",
    ];
    assert_eq!(paths(&asked), expected);
    assert_eq!(asked[4].2, r#"{"transition":{"id":"11"}}"#);
    assert!(matches!(end, Verdict::Delivered { receipt, .. } if receipt == "WEB-7"));
    // A summary leaves it closed.
    let answers = [list(&[issue(7, "done", "b0")]), answer(200, r#"{"comments":[]}"#), answer(201, "{}")];
    assert_eq!(name(&play(&message(Summary), "", &answers).1), "delivered");
}

#[test]
fn the_end_comments_once_and_moves_the_issue_to_done() {
    let known = answer(200, &issue(7, "indeterminate", "b0").to_string());
    let answers = [
        known.clone(),
        answer(200, r#"{"comments":[]}"#),
        answer(201, "{}"),
        transitions(&["new", "done"]),
        answer(204, ""),
    ];
    let (asked, end) = play(&message(Resolved), "WEB-7", &answers);
    assert_eq!(paths(&asked)[0], "GET /issue/WEB-7");
    assert_eq!(asked[4].2, r#"{"transition":{"id":"11"}}"#);
    assert!(!asked[2].2.contains("mention") && matches!(end, Verdict::Delivered { receipt, .. } if receipt == "WEB-7"));
    // The comment was written by an attempt of which the outcome was lost.
    let written = answer(200, r#"{"comments":[{"body":{"text":"hookline b1"}}]}"#);
    let (asked, _) =
        play(&message(Resolved), "WEB-7", &[known.clone(), written, transitions(&["done"]), answer(204, "")]);
    assert!(!paths(&asked).contains(&"POST /issue/WEB-7/comment".to_owned()));
    // A workflow that does not allow it.
    let (_, end) =
        play(&message(Resolved), "WEB-7", &[known, answer(200, "{}"), answer(201, "{}"), transitions(&["new"])]);
    assert_eq!(name(&end), "written in part");
    let (_, nothing) = play(&message(Resolved), "", &[list(&[]), list(&[]), list(&[])]);
    assert_eq!(name(&nothing), "delivered", "what was never opened needs no closing");
}

#[test]
fn each_refusal_has_its_verdict() {
    let of = |status, body: &str| play(&message(Resolved), "WEB-7", &[answer(status, body)]).1;
    for (status, body, expected) in [
        (400, "{}", "rejected"),
        (401, "", "refused"),
        (403, "", "refused"),
        (404, "", "refused"),
        (410, "", "refused"),
        (413, "", "rejected"),
        (500, "", "retry"),
    ] {
        assert_eq!(name(&of(status, body)), expected, "{status} {body}");
    }
    assert!(matches!(of(429, ""), Verdict::Retry { after: Some(after), .. } if after == Duration::from_secs(60)));
}

#[test]
fn an_issue_that_was_deleted_is_opened_anew() {
    let gone = answer(404, r#"{"errorMessages":["Issue does not exist or you do not have permission to see it."]}"#);
    let (asked, end) = play(&message(Alert), "WEB-7", &[gone, answer(201, r#"{"key":"WEB-9"}"#)]);
    assert_eq!((paths(&asked)[1].as_str(), name(&end)), ("POST /issue", "delivered"));
}

#[test]
fn what_is_wrong_with_a_section_is_named_by_its_key() {
    let fault = |values: Values| (kind("jira").unwrap().build)(&values).err().map(|fault| fault.key);
    assert_eq!(fault(values()), None);
    for project in ["web", "WEB-1", "", "A B", "\" OR 1=1"] {
        assert_eq!(fault(values().with("project", project)), Some("project"), "{project}");
    }
    assert_eq!(fault(values().with("site", "acme.atlassian.net")), Some("site"));
    assert_eq!(fault(values().with("user", "a:b")), Some("user"));
}

#[test]
fn jira_is_asked_for_a_hundred_issues_at_most() {
    for newest in [0, 1, 2, 29, 30, 31, 32, 70, 100, 12_345, u64::MAX] {
        let asked: Vec<u64> = around(newest).collect();
        assert!((1..=100).contains(&asked.len()), "{newest}: {}", asked.len());
        assert!(asked.is_sorted() && asked[0] == newest.saturating_sub(30).max(1) && !asked.contains(&0), "{newest}");
        assert!(newest == u64::MAX || (1..=69).all(|more| asked.contains(&(newest + more))), "{newest}");
    }
    assert_eq!([0, 30, 31, 12_345].map(|newest| around(newest).count()), [69, 99, 100, 100]);
    let (asked, _) =
        play(&message(Alert), "", &[list(&[]), list(&[issue(400, "new", "x")]), list(&[]), answer(500, "")]);
    let body: Value = serde_json::from_str(&asked[2].2).unwrap();
    assert_eq!(body["issueIdsOrKeys"].as_array().unwrap().len(), 100);
}

/// A start for which no issue is there yet, and the answer to the request that opens one.
fn opening(answer: Answer) -> Verdict {
    play(&message(Alert), "", &[list(&[]), list(&[]), list(&[]), answer]).1
}

#[test]
fn a_project_that_is_set_up_otherwise_refuses_and_loses_no_message() {
    for (body, expected) in [
        (r#"{"errors":{"issuetype":"Specify a valid issue type"}}"#, "refused"),
        (r#"{"errorMessages":[],"errors":{"customfield_10020":"Team is required."}}"#, "refused"),
        (
            r#"{"errors":{"labels":"Field 'labels' cannot be set. It is not on the appropriate screen, or unknown."}}"#,
            "refused",
        ),
        (r#"{"errors":{"summary":"too long","customfield_10020":"Team is required."}}"#, "refused"),
        (r#"{"errors":{"summary":"too long"}}"#, "rejected"),
        (r#"{"errors":{"description":"Operation value must be an Atlassian Document"}}"#, "rejected"),
        (r#"{"errorMessages":["INVALID_INPUT"],"errors":{}}"#, "rejected"),
    ] {
        let end = opening(answer(400, body));
        assert_eq!(name(&end), expected, "{body}");
        if let Verdict::Refused { error, .. } = &end {
            assert!(error.contains("issue_type") && error.lines().count() == 1, "{error}");
        }
    }
    let Verdict::Refused { error, .. } =
        opening(answer(400, r#"{"errors":{"customfield_10020":"Team is required."}}"#))
    else {
        panic!("it is lost")
    };
    assert!(error.contains("customfield_10020: Team is required."), "{error}");
    // A project that is not there is said by the search, before an issue is opened.
    let unknown = r#"{"errorMessages":["The value 'WEB' does not exist for the field 'project'."],"errors":{}}"#;
    let (_, end) = play(&message(Alert), "", &[answer(400, unknown)]);
    assert!(matches!(&end, Verdict::Refused { error, .. } if error.contains("see project")), "{end:?}");
}

#[test]
fn an_issue_that_cannot_be_moved_is_written_all_the_same() {
    let known = answer(200, &issue(7, "indeterminate", "b0").to_string());
    let written = [known, answer(200, r#"{"comments":[]}"#), answer(201, "{}")];
    let asks = answer(400, r#"{"errorMessages":[],"errors":{"resolution":"Resolution is required."}}"#);
    for more in [vec![transitions(&["new"])], vec![transitions(&["done"]), asks]] {
        let (_, end) = play(&message(Resolved), "WEB-7", &[&written[..], &more].concat());
        assert!(
            matches!(&end, Verdict::WrittenInPart { error, .. } if error.starts_with("WEB-7 is written")),
            "{end:?}"
        );
    }
}
