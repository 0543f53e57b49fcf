//! What is found out about a captured delivery that was refused.

use signature::{BodyChange, Finding, Refusal, Request, Scheme, Secret, SecretChange, diagnose};

use crate::delivery::{Delivery, NOW, WHSEC};

fn look(delivery: &Delivery, scheme: &Scheme, secrets: &[Secret]) -> Vec<Finding> {
    let headers = delivery.headers.as_slice();
    let request = Request { method: &delivery.method, url: &delivery.url, headers: &headers, body: &delivery.body };
    diagnose(scheme, secrets, &request, NOW).unwrap()
}

/// The findings after a `no_match`, when the configured secret is `value`.
fn after_no_match(delivery: &Delivery, scheme: &Scheme, value: &str) -> Vec<Finding> {
    let mut findings = look(delivery, scheme, &[Secret::new("only", value)]);
    assert_eq!(findings.remove(0), Finding::Refused(Refusal::NoMatch));
    findings
}

fn only() -> String {
    "only".to_owned()
}

#[test]
fn a_good_delivery_is_called_authentic() {
    let secret = Secret::new("only", WHSEC);
    let delivery = Delivery::signed(&Scheme::StandardWebhooks, &secret, "msg_1", NOW, b"{}");
    let findings = look(&delivery, &Scheme::StandardWebhooks, &[secret]);
    assert_eq!(findings, [Finding::Authentic { secret_id: only() }]);
}

#[test]
fn a_stale_delivery_is_only_stale() {
    let secret = Secret::new("only", WHSEC);
    let delivery = Delivery::signed(&Scheme::StandardWebhooks, &secret, "msg_1", NOW - 400, b"{}");
    let findings = look(&delivery, &Scheme::StandardWebhooks, &[secret]);
    assert_eq!(findings, [Finding::Refused(Refusal::Stale { seconds: 400 })]);
}

#[test]
fn a_secret_outside_its_lifetime_is_named() {
    for (secret, over) in
        [(Secret::new("only", WHSEC).not_after(NOW), true), (Secret::new("only", WHSEC).not_before(NOW + 1), false)]
    {
        let delivery = Delivery::signed(&Scheme::StandardWebhooks, &secret, "msg_1", NOW, b"{}");
        let findings = look(&delivery, &Scheme::StandardWebhooks, &[secret]);
        let expected = [Finding::Refused(Refusal::NoLiveSecret), Finding::SecretNotLive { secret_id: only(), over }];
        assert_eq!(findings, expected);
    }
}

#[test]
fn a_secret_in_the_wrong_form_is_recognised() {
    let dub = |value: &str| Delivery::signed(&Scheme::Dub, &Secret::new("sender", value), "msg_1", NOW, b"{}");
    let whsec = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0";
    for (used, configured, change) in [
        (whsec, "whsec_c2VjcmV0c2VjcmV0c2VjcmV0\n", SecretChange::Trim),
        (whsec, "c2VjcmV0c2VjcmV0c2VjcmV0", SecretChange::AddPrefix),
        ("c2VjcmV0c2VjcmV0c2VjcmV0", whsec, SecretChange::TakeOffPrefix),
        ("secretsecretsecret", whsec, SecretChange::Decode),
    ] {
        let findings = after_no_match(&dub(used), &Scheme::Dub, configured);
        assert_eq!(findings, [Finding::SecretDiffers { secret_id: only(), change }], "{change:?}");
    }
    // The sender keys with the text although the scheme decodes it: base64 of "whsec_MfKQ…" is what we must decode.
    let text_as_key = "d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3dBQUFBQUFBQUFBQT0=";
    let delivery =
        Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("sender", text_as_key), "msg_1", NOW, b"{}");
    let findings = after_no_match(&delivery, &Scheme::StandardWebhooks, WHSEC);
    let change = SecretChange::UseAsText;
    assert_eq!(findings, [Finding::SecretDiffers { secret_id: only(), change }]);
}

#[test]
fn an_altered_body_is_recognised() {
    for (sent, captured, change) in [
        ("{}", "{}\n", BodyChange::TakeOffLineBreak),
        ("{}\n", "{}", BodyChange::AddLineBreak),
        ("{\r\n}", "{\n}", BodyChange::CrLfLineBreaks),
        ("{\n \"a\": 1}", "{\r\n \"a\": 1}", BodyChange::LfLineBreaks),
        (r#"{"a \" b":[1,2]}"#, "{\n  \"a \\\" b\": [1, 2]\n}", BodyChange::CompactJson),
    ] {
        let secret = Secret::new("only", "shh");
        let mut delivery = Delivery::signed(&Scheme::Dub, &secret, "msg_1", NOW, sent.as_bytes());
        delivery.body = captured.as_bytes().to_vec();
        let findings = after_no_match(&delivery, &Scheme::Dub, "shh");
        assert_eq!(findings, [Finding::BodyDiffers { secret_id: only(), change }], "{change:?}");
    }
}

#[test]
fn a_url_that_a_proxy_hides_is_recognised() {
    let secret = Secret::new("only", "token");
    let mut delivery = Delivery::signed(&Scheme::Twilio, &secret, "msg_1", NOW, b"{}");
    let signed = delivery.url.clone();
    delivery.url = signed.replace("https://", "http://");
    assert_eq!(
        after_no_match(&delivery, &Scheme::Twilio, "token"),
        [Finding::UrlDiffers { secret_id: only(), signed }]
    );
}

#[test]
fn the_scheme_the_sender_really_uses_is_named() {
    let delivery = Delivery::signed(&Scheme::Svix, &Secret::new("sender", WHSEC), "msg_1", NOW, b"{}");
    let with_its_secret = look(&delivery, &Scheme::StandardWebhooks, &[Secret::new("only", WHSEC)]);
    assert_eq!(
        with_its_secret,
        [Finding::Refused(Refusal::MissingHeader), Finding::SchemeDiffers { secret_id: only(), scheme: "svix" }]
    );
    let with_another = look(&delivery, &Scheme::Dub, &[Secret::new("only", "other")]);
    assert_eq!(with_another, [Finding::Refused(Refusal::MissingHeader), Finding::LooksLike { scheme: "svix" }]);
}

#[test]
fn what_cannot_be_explained_is_not_explained_away() {
    let delivery = Delivery::signed(&Scheme::Dub, &Secret::new("sender", "shh"), "msg_1", NOW, b"{}");
    let findings = after_no_match(&delivery, &Scheme::Dub, "quite another");
    assert_eq!(findings, [Finding::Unexplained]);
    assert!(findings[0].to_string().contains("raw bytes"));
}
