use super::super::testing::{answer, built, message, name, request, step, verdict};
use super::super::{Values, kind};
use crate::message::MessageKind;

fn values() -> Values {
    Values::default().with("url", "http://127.0.0.1:1/hook/").with("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
}

#[test]
fn the_thread_of_a_message_does_not_change_the_bytes_that_are_signed() {
    let destination = built("webhook", &values());
    let with = message(MessageKind::Alert);
    let without = crate::message::Message { thread: None, ..with.clone() };
    let (with, without) = (step(&*destination, &with, "", &[]), step(&*destination, &without, "", &[]));
    let sent = request(with);
    assert_eq!(sent, request(without));
    assert!(sent.body.starts_with(
        r#"{"id":"b1","type":"alert","rule":"broken-destination","owner":"web-ops","mention":"ann","do":"#
    ));
    assert!(sent.body.ends_with(r#""alert_ids":["a1"],"test":false}"#), "{}", sent.body);
    assert_eq!(sent.url, "http://127.0.0.1:1/hook/");
}

#[test]
fn each_answer_has_its_verdict() {
    let destination = built("webhook", &values());
    let message = message(MessageKind::Alert);
    for (status, expected) in [
        (200, "delivered"),
        (204, "delivered"),
        (307, "retry"),
        (400, "rejected"),
        (401, "refused"),
        (403, "refused"),
        (404, "rejected"),
        (405, "rejected"),
        (408, "retry"),
        (410, "refused"),
        (413, "rejected"),
        (415, "rejected"),
        (422, "rejected"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
    ] {
        assert_eq!(name(&verdict(step(&*destination, &message, "", &[answer(status, "")]))), expected, "{status}");
    }
}

#[test]
fn an_address_that_is_not_http_and_a_secret_that_cannot_sign_are_named() {
    let build = kind("webhook").unwrap().build;
    assert_eq!(build(&values().with("url", "ftp://x")).err().unwrap().key, "url");
    assert_eq!(build(&values().with("secret", "plain text!")).err().unwrap().key, "secret");
}
