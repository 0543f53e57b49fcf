//! The workflow record and its review, on the real engines.

use serde_json::Value;

use crate::harness::{Running, SOON, configure};
use crate::tool::{said, tool};

const WORKFLOW: &str = r#"
[workflow]
receiver_owner = "me"
failures_owner = "me"
logs = "https://logs.example.com"
handbook = "HANDBOOK.md"
[rule.never]
owner = "me"
when = { event = "error", campaign = "none-has-it" }
alert = { each = true }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_handbook_says_what_is_used_and_drifts_with_the_configuration_and_the_review_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = configure(&data, &[("canonical", "canonical", "standard-webhooks")]);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}{WORKFLOW}")).unwrap();
    let running = Running::within(folder, &["--config", config.to_str().unwrap()]);
    let (code, _, errors) =
        said(&config, &["send", "--count", "300", "--seed", "4", "--duplicates", "20"]).await.unwrap();
    assert_eq!(code, 0, "{errors}");
    running.asker().until("SELECT count() FROM hookline.where_is", 300, SOON).await.unwrap();

    // Check says that no handbook is stored; with one, nothing; after a change, which part is of another configuration.
    let check = async || -> String {
        let (_, answer) = tool(&config, &["check"]).await.unwrap();
        answer["warnings"].to_string()
    };
    assert!(check().await.contains("the handbook"), "{}", check().await);
    let file = data.join("HANDBOOK.md");
    let written = ["handbook", "--out", file.to_str().unwrap()];
    let (code, _, errors) = said(&config, &written).await.unwrap();
    // The owner has no address, so the record is not complete.
    assert_eq!(code, 1, "{errors}");
    assert!(!check().await.contains("handbook"), "{}", check().await);
    let handbook = std::fs::read_to_string(&file).unwrap();
    for words in
        ["| canonical | click |", "link_id | 100 %", "hookline pause source/canonical", "https://logs.example.com"]
    {
        assert!(handbook.contains(words), "{words} is not in {handbook}");
    }
    let changed = std::fs::read_to_string(&config).unwrap().replace("rule.never", "rule.hardly_ever");
    std::fs::write(&config, changed).unwrap();
    let drift = check().await;
    assert!(drift.contains("another configuration in: ") && drift.contains("What is told to whom"), "{drift}");
    let (code, page, _) = said(&config, &["handbook", "--html"]).await.unwrap();
    assert!(code == 1 && page.starts_with("<!doctype html>") && !page.contains("<script"), "{page}");

    let (code, review) = tool(&config, &["review", "--days", "7"]).await.unwrap();
    let found = |title: &str| -> String {
        let points = review["points"].as_array().unwrap();
        points
            .iter()
            .find(|point| point["title"] == title)
            .map_or(Value::Null, |point| point["todo"].clone())
            .to_string()
    };
    assert_eq!(code, 1, "{review:#}");
    assert!(found("Rules and their noise").contains("hardly_ever did not fire"), "{review:#}");
    assert!(found("Retries and duplicates").contains("are duplicates"), "{review:#}");
    assert!(found("The handbook").contains("has drifted"), "{review:#}");
    assert_eq!(found("Personal data in stored columns"), "[]", "{review:#}");
}
