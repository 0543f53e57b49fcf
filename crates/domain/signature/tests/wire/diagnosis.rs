//! What is found out about a captured delivery that was refused.

use hookline_signature::{
    Algorithm, BodyChange, Captured, Encoding, Finding, HeaderPart, HmacChange, HmacScheme, Refusal, Request, Scheme,
    Secret, SecretChange, SignedTime, diagnose,
};

use crate::delivery::{Delivery, NOW, WHSEC};

fn look(delivery: &Delivery, scheme: &Scheme, secrets: &[Secret]) -> Vec<Finding> {
    look_with(delivery, scheme, secrets, &[])
}

fn look_with(delivery: &Delivery, scheme: &Scheme, secrets: &[Secret], other_urls: &[String]) -> Vec<Finding> {
    let headers = delivery.headers.as_slice();
    let names: Vec<&str> = delivery.headers.iter().map(|(name, _)| name.as_str()).collect();
    let request = Request { method: &delivery.method, url: &delivery.url, headers: &headers, body: &delivery.body };
    diagnose(scheme, secrets, &Captured { request, header_names: &names, other_urls }, NOW).unwrap()
}

/// A scheme that only its template describes.
fn partner() -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "X-Partner-Signature".into(),
        encoding: Encoding::Hex,
        prefix: "v1=".into(),
        signed: "{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 300 }),
        delivery_id: None,
    }
}

/// Every scheme that signs the body, with a secret that suits it.
fn signing() -> Vec<(Scheme, &'static str)> {
    let text = "correct-horse";
    vec![
        (Scheme::StandardWebhooks, WHSEC),
        (Scheme::StandardWebhooks, "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="),
        (Scheme::Svix, WHSEC),
        (Scheme::Stripe, text),
        (Scheme::GitHub, text),
        (Scheme::Shopify, text),
        (Scheme::Slack, text),
        (Scheme::Dub, text),
        (Scheme::Hookdeck, text),
        (Scheme::Outpost, text),
        (Scheme::Hmac(partner()), text),
    ]
}

/// Every scheme in which the secret itself travels.
fn carrying() -> Vec<(Scheme, &'static str)> {
    let header = Scheme::Header { name: "X-Rebrandly-Secret".into() };
    let secret = "user:correct-horse";
    [header, Scheme::Basic, Scheme::Bearer, Scheme::Query { key: "key".into() }].map(|scheme| (scheme, secret)).to_vec()
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

fn missing(header: &str) -> Finding {
    Finding::HeaderMissing { header: header.to_owned() }
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
        ("0", "30", SecretChange::DecodeHex),
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
        ("{}\r\n", "{}", BodyChange::AddCrLf),
        ("{}", "  {}\t", BodyChange::Trim),
        ("{}", "\u{feff}{}", BodyChange::TakeOffByteOrderMark),
        ("\u{feff}{}", "{}", BodyChange::AddByteOrderMark),
        (r#"{"a \" b":[1,2]}"#, "{\n  \"a \\\" b\": [1, 2]\n}", BodyChange::CompactJson),
        ("{\"a\":\"gr\u{fc}n\"}", "{\"a\":\"gr\u{c3}\u{bc}n\"}", BodyChange::Latin1Bytes),
        ("{\"a\":\"gr\u{fc}n\"}", r#"{"a": "gr\u00fcn"}"#, BodyChange::JavaScriptJson),
        (r#"{"a": "gr\u00fcn", "b": 1}"#, "{\"a\":\"gr\u{fc}n\",\"b\":1}", BodyChange::PythonJson),
        (
            r#"{"a":"gr\u00fcn","u":"https:\/\/x.example\/"}"#,
            "{\"a\":\"gr\u{fc}n\",\"u\":\"https://x.example/\"}",
            BodyChange::PhpJson,
        ),
        (r#"{"u":"/?a=1\u0026b=2"}"#, r#"{"u":"/?a=1&b=2"}"#, BodyChange::GoJson),
        ("{\n  \"a\": 1\n}", r#"{"a":1}"#, BodyChange::IndentedJson),
        ("{\n    \"a\": [\n        1\n    ]\n}", r#"{"a":[1]}"#, BodyChange::IndentedJson),
        ("{\n\t\"a\": 1\n}", r#"{"a":1}"#, BodyChange::IndentedJson),
    ] {
        let secret = Secret::new("only", "shh");
        let mut delivery = Delivery::signed(&Scheme::Dub, &secret, "msg_1", NOW, sent.as_bytes());
        delivery.body = captured.as_bytes().to_vec();
        let findings = after_no_match(&delivery, &Scheme::Dub, "shh");
        assert_eq!(findings, [Finding::BodyDiffers { secret_id: only(), change }], "{change:?}");
    }
}

#[test]
fn a_body_that_was_turned_into_latin_1_is_recognised() {
    let secret = Secret::new("only", "shh");
    let mut delivery = Delivery::signed(&Scheme::Dub, &secret, "msg_1", NOW, "{\"a\":\"gr\u{fc}n\"}".as_bytes());
    delivery.body = b"{\"a\":\"gr\xfcn\"}".to_vec();
    let findings = after_no_match(&delivery, &Scheme::Dub, "shh");
    assert_eq!(findings, [Finding::BodyDiffers { secret_id: only(), change: BodyChange::Utf8OfLatin1 }]);
}

#[test]
fn in_every_scheme_that_signs_the_body_a_body_altered_on_the_way_is_recognised() {
    for (scheme, value) in signing() {
        let secret = Secret::new("only", value);
        let mut delivery = Delivery::signed(&scheme, &secret, "msg_1", NOW, br#"{"id":"evt_1","n":[1,2]}"#);
        assert_eq!(
            look(&delivery, &scheme, std::slice::from_ref(&secret)),
            [Finding::Authentic { secret_id: only() }],
            "{scheme:?}"
        );
        delivery.body = b"{\n  \"id\": \"evt_1\",\n  \"n\": [1, 2]\n}\n".to_vec();
        let expected = Finding::BodyDiffers { secret_id: only(), change: BodyChange::CompactJson };
        assert_eq!(after_no_match(&delivery, &scheme, value), [expected], "{scheme:?}");
    }
}

#[test]
fn in_every_scheme_a_wrong_secret_stays_unexplained_and_a_missing_header_is_named() {
    for (scheme, value) in signing().into_iter().chain(carrying()) {
        let other = match scheme {
            Scheme::StandardWebhooks | Scheme::Svix => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            _ => "another:secret",
        };
        let delivery = Delivery::signed(&scheme, &Secret::new("only", value), "msg_1", NOW, b"{}");
        let findings = after_no_match(&delivery, &scheme, other);
        assert_eq!(findings, [Finding::Unexplained], "{scheme:?}");

        let mut bare = delivery;
        bare.url = "https://hooks.example.com/v1/webhooks/shop".into();
        bare.headers.retain(|(name, _)| name == "content-type");
        let findings = look(&bare, &scheme, &[Secret::new("only", value)]);
        assert_eq!(findings[0], Finding::Refused(Refusal::MissingHeader), "{scheme:?}");
        assert!(
            findings.len() > 1 && findings[1..].iter().all(|f| matches!(f, Finding::HeaderMissing { .. })),
            "{findings:?}"
        );
    }
}

#[test]
fn whatever_scheme_the_sender_uses_it_is_found_when_another_is_configured() {
    for (used, value) in signing().into_iter().chain(carrying()) {
        if value.starts_with("whs") || matches!(used, Scheme::Hmac(_)) {
            continue;
        }
        let configured = if used == Scheme::Dub { Scheme::GitHub } else { Scheme::Dub };
        let delivery = Delivery::signed(&used, &Secret::new("sender", value), "msg_1", NOW, b"{}");
        let findings = look(&delivery, &configured, &[Secret::new("only", value)]);
        let name = match &used {
            Scheme::Header { .. } => "{ header = \"x-rebrandly-secret\" }".to_owned(),
            Scheme::Query { key } => format!("{{ query = {key:?} }}"),
            plain => plain.name().to_owned(),
        };
        let expected = Finding::SchemeDiffers { secret_id: only(), scheme: name };
        assert!(findings.contains(&expected), "{used:?}: {findings:?}");
    }
}

#[test]
fn a_scheme_by_template_with_one_wrong_parameter_is_put_right() {
    let secret = Secret::new("only", "shh");
    let body_alone = HmacScheme { signed: "{body}".into(), timestamp: None, ..partner() };
    for (change, used) in [
        (
            HmacChange::Header("x-other-signature".into()),
            HmacScheme { header: "X-Other-Signature".into(), ..partner() },
        ),
        (HmacChange::Algorithm(Algorithm::Sha512), HmacScheme { algorithm: Algorithm::Sha512, ..partner() }),
        (HmacChange::Encoding(Encoding::Base64), HmacScheme { encoding: Encoding::Base64, ..partner() }),
        (HmacChange::Prefix("sha256="), HmacScheme { prefix: "sha256=".into(), ..partner() }),
        (HmacChange::Signed("{body}".into()), body_alone),
        (
            HmacChange::Signed("{header:X-Partner-Time}:{body}".into()),
            HmacScheme { signed: "{header:X-Partner-Time}:{body}".into(), ..partner() },
        ),
    ] {
        let mut delivery = Delivery::signed(&Scheme::Hmac(used), &secret, "msg_1", NOW, b"{}");
        if !delivery.headers.iter().any(|(name, _)| name == "x-partner-time") {
            delivery = delivery.with_header("x-partner-time", NOW.to_string());
        }
        let findings = look(&delivery, &Scheme::Hmac(partner()), std::slice::from_ref(&secret));
        let expected = Finding::HmacDiffers { secret_id: only(), change };
        assert!(findings.contains(&expected), "{expected:?} is not in {findings:?}");
    }
}

#[test]
fn another_url_that_the_sender_was_given_is_recognised_and_its_query_is_not_shown() {
    let secret = Secret::new("only", "token");
    let mut delivery = Delivery::signed(&Scheme::Twilio, &secret, "msg_1", NOW, b"{}");
    let signed = delivery.url.clone();
    delivery.url = signed.replace("hooks.example.com", "10.0.0.7:8080");
    let findings = look_with(&delivery, &Scheme::Twilio, &[secret], std::slice::from_ref(&signed));
    let without_query = signed.split('?').next().unwrap().to_owned();
    assert_eq!(findings[1..], [Finding::UrlDiffers { secret_id: only(), signed: without_query }]);
}

#[test]
fn no_finding_shows_a_secret() {
    const SHOWN: &str = "TopSecretTopSecretTopSecretTopSe";
    let cases = [
        (Scheme::Query { key: "key".into() }, SHOWN.to_owned(), format!("{SHOWN}x")),
        (Scheme::Dub, SHOWN.to_owned(), format!("whsec_{SHOWN}")),
        (Scheme::Bearer, SHOWN.to_owned(), format!("{SHOWN}x")),
        (
            Scheme::Hmac(HmacScheme { signed: "{url}{body}".into(), timestamp: None, ..partner() }),
            SHOWN.to_owned(),
            SHOWN.to_owned(),
        ),
    ];
    for (scheme, used, configured) in cases {
        let mut delivery = Delivery::signed(&scheme, &Secret::new("sender", used), "msg_1", NOW, b"{}");
        delivery.url = format!(
            "{}{}token={SHOWN}",
            delivery.url.replace("https", "http"),
            if delivery.url.contains('?') { '&' } else { '?' }
        );
        for under in [scheme, Scheme::Dub, Scheme::Basic] {
            let configured = if under == Scheme::Basic { format!("u:{configured}") } else { configured.clone() };
            for finding in look(&delivery, &under, &[Secret::new("only", configured)]) {
                assert!(!format!("{finding} {finding:?}").contains("TopSecret"), "{finding}");
            }
        }
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
        [Finding::UrlDiffers { secret_id: only(), signed: signed.split('?').next().unwrap().to_owned() }]
    );
}

#[test]
fn the_scheme_the_sender_really_uses_is_named() {
    let delivery = Delivery::signed(&Scheme::Svix, &Secret::new("sender", WHSEC), "msg_1", NOW, b"{}");
    let with_its_secret = look(&delivery, &Scheme::StandardWebhooks, &[Secret::new("only", WHSEC)]);
    assert_eq!(
        with_its_secret,
        [
            Finding::Refused(Refusal::MissingHeader),
            missing("webhook-id"),
            missing("webhook-timestamp"),
            missing("webhook-signature"),
            Finding::SchemeDiffers { secret_id: only(), scheme: "svix".into() },
        ]
    );
    let with_another = look(&delivery, &Scheme::Dub, &[Secret::new("only", "other")]);
    assert_eq!(
        with_another,
        [Finding::Refused(Refusal::MissingHeader), missing("dub-signature"), Finding::LooksLike { scheme: "svix" }]
    );
}

#[test]
fn what_cannot_be_explained_is_not_explained_away() {
    let delivery = Delivery::signed(&Scheme::Dub, &Secret::new("sender", "shh"), "msg_1", NOW, b"{}");
    let findings = after_no_match(&delivery, &Scheme::Dub, "quite another");
    assert_eq!(findings, [Finding::Unexplained]);
    assert!(findings[0].to_string().contains("raw bytes"));
}
