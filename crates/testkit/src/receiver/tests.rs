use std::time::Duration;

use serde_json::{Value, json};

use super::*;

async fn post(receiver: &Receiver, path: &str, body: &Value) -> Result<(u16, String), reqwest::Error> {
    let client = crate::http::client(Duration::from_secs(1)).unwrap();
    let url = format!("http://{}{path}", receiver.address);
    let request = client.post(url).header("authorization", "Bearer x").json(body).send().await?;
    Ok((request.status().as_u16(), request.text().await?))
}

#[tokio::test]
async fn slack_edits_what_it_was_given_and_shows_threads_without_markup_of_senders() {
    let slack = Receiver::start(Platform::Slack).unwrap();
    let message = |text: &str| {
        json!({ "channel": "C1", "text": "x", "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": text } },
            { "type": "section", "text": { "type": "mrkdwn", "text": "<@U0ANN>" } },
        ] })
    };
    let (status, said) = post(&slack, "/api/chat.postMessage", &message("first <!channel>")).await.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["ok"]), (200, &json!(true)));
    let mut reply = message("reply");
    reply["thread_ts"] = said["ts"].clone();
    post(&slack, "/api/chat.postMessage", &reply).await.unwrap();
    let mut edit = message("second");
    edit["ts"] = said["ts"].clone();
    post(&slack, "/api/chat.update", &edit).await.unwrap();
    edit["ts"] = "1.2".into();
    assert!(post(&slack, "/api/chat.update", &edit).await.unwrap().1.contains("message_not_found"));
    let page = slack.page();
    assert!(page.contains("<h3>second</h3>") && page.contains("(edited)") && page.contains("1 reply<"), "{page}");
    assert!(page.contains("class=pill>@U0ANN") && !page.contains("<!channel>"), "{page}");
    assert_eq!(slack.faults(), Vec::<String>::new());
    let (_, said) = post(&slack, "/api/chat.postMessage", &message(&"x".repeat(151))).await.unwrap();
    assert!(said.contains("invalid_blocks") && slack.faults()[0].contains("151 characters"), "{said}");
}

#[tokio::test]
async fn a_receiver_answers_as_it_is_told_to() {
    let jira = Receiver::start(Platform::Jira).unwrap();
    jira.next([Behaviour::Busy, Behaviour::Gone, Behaviour::Broken, Behaviour::Resets, Behaviour::Hangs]);
    let nothing = json!({});
    let ask = || post(&jira, "/rest/api/3/issue", &nothing);
    for status in [429, 410, 500] {
        assert_eq!(ask().await.unwrap().0, status);
    }
    assert!(!ask().await.unwrap_err().is_timeout(), "it ends the connection");
    assert!(ask().await.unwrap_err().is_timeout(), "it hangs");
    assert_eq!(jira.requests().len(), 5);
}

#[test]
fn jira_reads_a_hundred_issues_at_once_and_no_more() {
    let asks = |most: usize| {
        let keys: Vec<String> = (1..=most).map(|number| format!("WEB-{number}")).collect();
        let headers = vec![("authorization".to_owned(), "Basic eDp5".to_owned())];
        let body = json!({ "issueIdsOrKeys": keys, "fields": ["labels"] }).to_string();
        let path = "/rest/api/3/issue/bulkfetch".to_owned();
        Platform::Jira.double().take(&Request { method: "POST".to_owned(), path, headers, body }).status
    };
    assert_eq!([0, 1, 100, 101].map(asks), [400, 200, 200, 400]);
}

#[tokio::test]
async fn github_drops_labels_of_who_may_not_set_them_and_lists_by_label_and_page() {
    let github = Receiver::start(Platform::GitHub).unwrap();
    let client = crate::http::client(Duration::from_secs(60)).unwrap();
    let ask = async |path: &str, body: Option<Value>| -> Value {
        let url = format!("http://{}/repos/a/b/issues{path}", github.address);
        let request = body.map_or_else(|| client.get(&url), |body| client.post(&url).json(&body));
        let request = request.header("authorization", "Bearer x").header("user-agent", "x");
        request.send().await.unwrap().json().await.unwrap()
    };
    let issue = json!({ "title": "t", "body": "b", "labels": ["hookline"] });
    github.next([Behaviour::Strips]);
    assert_eq!(ask("", Some(issue.clone())).await["labels"], json!([]));
    assert_eq!(ask("", Some(issue)).await["labels"][0]["name"], "hookline");
    let numbers =
        |list: Value| list.as_array().unwrap().iter().filter_map(|one| one["number"].as_u64()).collect::<Vec<_>>();
    assert_eq!(numbers(ask("?labels=hookline&state=all", None).await), [2]);
    assert_eq!(numbers(ask("?state=all&per_page=100&page=1", None).await), [2, 1]);
    assert_eq!(numbers(ask("?state=all&per_page=1&page=2", None).await), [1]);
    ask("/2/comments", Some(json!({ "body": "first" }))).await;
    assert_eq!(
        ask("/2/comments?since=2026-11-29T10:00:00Z&per_page=50&page=1", None).await,
        json!([{ "body": "first" }])
    );
    assert_eq!(github.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn every_platform_names_its_section_and_shows_an_empty_page() {
    for (name, platform) in Platform::ALL {
        let receiver = Receiver::start(platform).unwrap();
        assert_eq!(Platform::parse(name), Some(platform));
        assert!(platform.section(receiver.address).contains(&receiver.address.to_string()), "{name}");
        assert!(receiver.page().contains("<section"), "{name}");
    }
}
