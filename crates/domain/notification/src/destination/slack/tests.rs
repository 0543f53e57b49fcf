use serde_json::Value;

use super::super::testing::{HOSTILE, answer, built, message, name, request, step, verdict};
use super::super::{Values, Verdict, kind};
use crate::message::MessageKind::{Alert, Resolved, Summary};

const RECEIPT: &str = r#"{"channel":"C1","ts":"1.2"}"#;

fn token() -> Box<dyn super::super::Destination> {
    built("slack", &Values::default().with("token", "xoxb-1").with("channel", "C1A").with("api", "http://127.0.0.1:1"))
}

fn webhook() -> Box<dyn super::super::Destination> {
    built("slack", &Values::default().with("url", "https://hooks.slack.com/x"))
}

#[test]
fn texts_of_senders_stand_where_nothing_pings_or_formats() {
    let sent = request(step(&*webhook(), &message(Alert), "", &[]));
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let markup: Vec<&str> = body["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|block| block["text"]["type"] == "mrkdwn")
        .map(|block| block["text"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(markup, ["<@U0ANN>"], "the only markup is our own mention");
    let fallback = body["text"].as_str().unwrap();
    assert!(!fallback.contains(['<', '>', '\0']) && fallback.contains("&lt;!channel&gt;"), "{fallback}");
    assert!(body["blocks"][0]["text"]["text"].as_str().unwrap().contains(&HOSTILE[..10]));
    assert_eq!((&body["unfurl_links"], &body["unfurl_media"]), (&false.into(), &false.into()));
}

#[test]
fn only_the_first_message_pings() {
    for kind in [Summary, Resolved] {
        let sent = request(step(&*webhook(), &message(kind), "", &[]));
        assert!(!sent.body.contains("mrkdwn"), "{}", sent.body);
    }
}

#[test]
fn limits_of_slack_hold_for_endless_texts() {
    let mut endless = message(Alert);
    endless.title = "é<".repeat(9_000);
    endless.text = format!("x\n{}", "ü&".repeat(9_000));
    let sent = request(step(&*webhook(), &endless, "", &[]));
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let length = |at: &str| body.pointer(at).unwrap().as_str().unwrap().chars().count();
    assert!(length("/blocks/0/text/text") <= 150 && length("/blocks/2/text/text") <= 3_000);
    assert!(body["blocks"].to_string().len() < 12_000);
}

#[test]
fn a_webhook_answers_in_plain_text() {
    for (status, body, expected) in [
        (200, "ok", "delivered"),
        (400, "invalid_payload", "rejected"),
        (400, "user_not_found", "rejected"),
        (403, "action_prohibited", "refused"),
        (404, "no_service", "refused"),
        (410, "channel_is_archived", "refused"),
        (429, r#"{"retry_after":1,"ok":false,"error":"rate_limited"}"#, "retry"),
        (500, "rollup_error", "retry"),
    ] {
        assert_eq!(name(&verdict(step(&*webhook(), &message(Alert), "", &[answer(status, body)]))), expected, "{body}");
    }
}

#[test]
fn an_answer_of_200_is_judged_by_its_body() {
    for (error, expected) in [
        ("ratelimited", "retry"),
        ("internal_error", "retry"),
        ("fatal_error", "retry"),
        ("msg_too_long", "rejected"),
        ("msg_blocks_too_long", "rejected"),
        ("invalid_blocks", "rejected"),
        ("no_text", "rejected"),
        ("invalid_auth", "refused"),
        ("account_inactive", "refused"),
        ("token_revoked", "refused"),
        ("missing_scope", "refused"),
        ("not_in_channel", "refused"),
        ("channel_not_found", "refused"),
        ("is_archived", "refused"),
    ] {
        let said = answer(200, &format!(r#"{{"ok":false,"error":"{error}"}}"#));
        assert_eq!(name(&verdict(step(&*token(), &message(Alert), "", &[said]))), expected, "{error}");
    }
    assert_eq!(name(&verdict(step(&*token(), &message(Alert), "", &[answer(200, "<html>")]))), "retry");
}

#[test]
fn the_end_edits_what_was_opened_and_answers_in_its_thread() {
    let ok = answer(200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#);
    let opened = verdict(step(&*token(), &message(Alert), "", std::slice::from_ref(&ok)));
    assert_eq!(opened, Verdict::Delivered { status: 200, receipt: RECEIPT.to_owned() });
    let over = message(Resolved);
    let update = request(step(&*token(), &over, RECEIPT, &[]));
    assert!(update.url.ends_with("/chat.update") && update.body.contains("Over since"));
    let body: Value = serde_json::from_str(&update.body).unwrap();
    assert_eq!((&body["channel"], &body["ts"], body["blocks"].is_array()), (&"C1".into(), &"1.2".into(), true));
    let reply = request(step(&*token(), &over, RECEIPT, std::slice::from_ref(&ok)));
    assert!(reply.url.ends_with("/chat.postMessage") && reply.body.contains(r#""thread_ts":"1.2""#));
    let end = verdict(step(&*token(), &over, RECEIPT, &[ok.clone(), ok]));
    assert_eq!(end, Verdict::Delivered { status: 200, receipt: RECEIPT.to_owned() });
}

#[test]
fn what_is_gone_is_posted_anew_and_what_cannot_be_edited_is_answered() {
    let gone = answer(200, r#"{"ok":false,"error":"message_not_found"}"#);
    let anew = request(step(&*token(), &message(Resolved), RECEIPT, std::slice::from_ref(&gone)));
    assert!(!anew.body.contains("thread_ts") && anew.body.contains(r#""channel":"C1A""#));
    let new = answer(200, r#"{"ok":true,"channel":"C1","ts":"9.9"}"#);
    let end = verdict(step(&*token(), &message(Resolved), RECEIPT, &[gone, new]));
    assert!(matches!(end, Verdict::Delivered { receipt, .. } if receipt.contains("9.9")));
    let closed = answer(200, r#"{"ok":false,"error":"edit_window_closed"}"#);
    assert!(request(step(&*token(), &message(Resolved), RECEIPT, &[closed])).body.contains("thread_ts"));
    let slow = answer(200, r#"{"ok":false,"error":"ratelimited"}"#);
    assert_eq!(
        name(&verdict(step(&*token(), &message(Resolved), RECEIPT, &[slow]))),
        "retry",
        "nothing was posted yet"
    );
}

#[test]
fn a_section_needs_one_way_and_the_id_of_its_channel() {
    let build = kind("slack").unwrap().build;
    let key = |values: Values| build(&values).err().map(|fault| fault.key);
    assert_eq!(key(Values::default()), Some("url"));
    assert_eq!(key(Values::default().with("url", "https://x.y").with("token", "t")), Some("token"));
    assert_eq!(key(Values::default().with("token", "t").with("channel", "#sales")), Some("channel"));
}
