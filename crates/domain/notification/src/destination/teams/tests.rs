use serde_json::Value;

use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Destination, Values, kind};
use crate::message::MessageKind::{Alert, Resolved, Summary};

fn teams() -> Box<dyn Destination> {
    built("teams", &Values::default().with("url", "https://prod-1.westeurope.logic.azure.com/x?sig=s"))
}

#[test]
fn a_card_has_no_markup_of_the_sender_and_one_mention() {
    let sent = request(step(&*teams(), &message(Alert), "", &[]));
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let card = &body["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["version"]), (&"AdaptiveCard".into(), &"1.4".into()));
    let blocks = card["body"].as_array().unwrap();
    let markdown: Vec<&Value> = blocks.iter().filter(|block| block["type"] == "TextBlock").collect();
    assert_eq!(markdown.len(), 1, "only TextBlocks are Markdown");
    assert_eq!(markdown[0]["text"], "<at>Ann</at>");
    assert_eq!(card["msteams"]["entities"][0]["mentioned"]["id"], "ann@example.com");
    assert_eq!(sent.body.matches("<at>").count(), 2, "the sender's own is not one: {}", sent.body);
}

#[test]
fn only_the_first_message_mentions() {
    for kind in [Summary, Resolved] {
        assert!(!request(step(&*teams(), &message(kind), "", &[])).body.contains("msteams"));
    }
}

#[test]
fn a_card_of_endless_texts_is_one_that_teams_takes() {
    let mut endless = message(Alert);
    endless.title = "\"ü".repeat(30_000);
    endless.text = format!("x\n{}", "\"\\\nü".repeat(30_000));
    let sent = request(step(&*teams(), &endless, "", &[]));
    assert!(sent.body.len() <= 28 * 1_024, "{} bytes", sent.body.len());
}

#[test]
fn each_answer_has_its_verdict() {
    for (status, expected) in [
        (202, "delivered"),
        (200, "delivered"),
        (400, "rejected"),
        (413, "rejected"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (410, "refused"),
        (429, "retry"),
        (500, "retry"),
    ] {
        assert_eq!(name(&verdict(step(&*teams(), &message(Alert), "", &[answer(status, "")]))), expected, "{status}");
    }
}

#[test]
fn a_connector_that_microsoft_switched_off_is_named() {
    let values = Values::default().with("url", "https://acme.webhook.office.com/webhookb2/x");
    assert!((kind("teams").unwrap().build)(&values).err().unwrap().message.contains("connector"));
}
