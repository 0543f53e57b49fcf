//! Why deliveries are refused, and the forms that are refused for good.

use hookline_signature::{
    Algorithm, ConfigError, Encoding, HeaderPart, HmacScheme, Message, Refusal, Scheme, Secret, SignError, SignedTime,
    Signer, Verifier, sign,
};
use proptest::prelude::*;

use crate::delivery::{Delivery, NOW, WHSEC, verifier};

fn partner(signed: &str) -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "X-Partner-Signature".into(),
        encoding: Encoding::Hex,
        prefix: "v1=".into(),
        signed: signed.into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 300 }),
        delivery_id: None,
    }
}

#[test]
fn freshness_is_300_seconds_both_ways_where_the_time_is_signed_per_attempt() {
    let fresh = [
        (Scheme::StandardWebhooks, WHSEC),
        (Scheme::Svix, WHSEC),
        (Scheme::Stripe, "shh"),
        (Scheme::Slack, "shh"),
        (Scheme::Hmac(partner("{header:X-Partner-Time}.{body}")), "shh"),
    ];
    for (scheme, value) in fresh {
        let delivery = Delivery::signed(&scheme, &Secret::new("only", value), "msg_1", NOW, b"{}");
        let at = |now| delivery.verify(&verifier(scheme.clone(), value), now).map(|verdict| verdict.timestamp);
        assert_eq!(at(NOW + 300), Ok(Some(NOW)), "{scheme:?}");
        assert_eq!(at(NOW - 300), Ok(Some(NOW)), "{scheme:?}");
        assert_eq!(at(NOW + 301), Err(Refusal::Stale { seconds: 301 }), "{scheme:?}");
        assert_eq!(at(NOW - 301), Err(Refusal::Future { seconds: 301 }), "{scheme:?}");
        assert!(matches!(at(i64::MAX), Err(Refusal::Stale { .. })), "{scheme:?}");
        assert!(matches!(at(i64::MIN), Err(Refusal::Future { .. })), "{scheme:?}");
    }
}

#[test]
fn senders_that_retry_the_same_bytes_for_days_are_never_stale() {
    for scheme in [Scheme::Dub, Scheme::GitHub, Scheme::Shopify, Scheme::Hookdeck, Scheme::Outpost, Scheme::Twilio] {
        let delivery = Delivery::signed(&scheme, &Secret::new("only", "shh"), "msg_1", NOW, b"{}");
        let verdict = delivery.verify(&verifier(scheme.clone(), "shh"), NOW + 3 * 86_400);
        assert_eq!(verdict.map(|verdict| verdict.timestamp), Ok(None), "{scheme:?}");
    }
}

#[test]
fn a_stale_delivery_with_a_wrong_signature_is_no_match() {
    let delivery = Delivery::signed(&Scheme::Stripe, &Secret::new("only", "shh"), "msg_1", NOW, b"{}");
    assert_eq!(delivery.verify(&verifier(Scheme::Stripe, "other"), NOW + 9000), Err(Refusal::NoMatch));
}

#[test]
fn each_missing_header_is_named_missing() {
    let whole = Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("only", WHSEC), "msg_1", NOW, b"{}");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let verdict = whole.clone().without_header(name).verify(&verifier(Scheme::StandardWebhooks, WHSEC), NOW);
        assert_eq!(verdict, Err(Refusal::MissingHeader), "{name}");
    }
}

#[test]
fn headers_out_of_form_are_malformed() {
    let standard = verifier(Scheme::StandardWebhooks, WHSEC);
    let whole = Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("only", WHSEC), "msg_1", NOW, b"{}");
    let with = |name: &str, value: &str| whole.clone().with_header(name, value).verify(&standard, NOW);
    for time in ["", "soon", "+1614265330", "-1", " 1614265330", "1614265330.5", "1614265330000000"] {
        assert_eq!(with("webhook-timestamp", time), Err(Refusal::MalformedHeader), "{time:?}");
    }
    for signature in ["", "v1", "v1,", "v1,!", "v2,AAAA", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
        assert_eq!(with("webhook-signature", signature), Err(Refusal::MalformedHeader), "{signature:?}");
    }
    let endless = vec!["v1,AAAA"; 17].join(" ");
    assert_eq!(with("webhook-signature", &endless), Err(Refusal::MalformedHeader));
    assert_eq!(with("webhook-signature", "v1,AAAA"), Err(Refusal::NoMatch));
}

#[test]
fn a_truncated_signature_is_no_match() {
    let whole = Delivery::signed(&Scheme::Dub, &Secret::new("only", "shh"), "msg_1", NOW, b"{}");
    let signature = whole.header("dub-signature");
    for length in (2..64).step_by(2) {
        let verdict =
            whole.clone().with_header("dub-signature", &signature[..length]).verify(&verifier(Scheme::Dub, "shh"), NOW);
        assert_eq!(verdict, Err(Refusal::NoMatch), "{length}");
    }
}

#[test]
fn an_id_with_a_dot_is_refused_although_its_signature_is_right() {
    // `a` + `.` + `1614265330.{}` and `a.1614265330` + `.` + `{}` are the same bytes, so one signature fits both.
    let signed = Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("only", WHSEC), "a", NOW, b"1614265330.{}");
    let shifted = Delivery { body: b"{}".to_vec(), ..signed.clone() }.with_header("webhook-id", "a.1614265330");
    assert!(signed.verify(&verifier(Scheme::StandardWebhooks, WHSEC), NOW).is_ok());
    for id in ["a.1614265330", "", "."] {
        let verdict =
            shifted.clone().with_header("webhook-id", id).verify(&verifier(Scheme::StandardWebhooks, WHSEC), NOW);
        assert_eq!(verdict, Err(Refusal::BadId), "{id:?}");
    }
    let error = sign(&Scheme::Svix, &Secret::new("only", WHSEC), "a.b", NOW, b"{}").unwrap_err();
    assert_eq!(error, SignError::BadId { id: "a.b".into() });
}

proptest! {
    /// Bytes moved between a header and what follows it must not keep the signature valid.
    #[test]
    fn one_signature_fits_one_way_to_split_the_content(
        content in "[ab.]{2,14}",
        separator in prop::sample::select(vec![".", "..", "a.", ".a.", "aba"]),
    ) {
        let scheme = Scheme::Hmac(HmacScheme {
            signed: format!("{{header:X-Id}}{separator}{{body}}"),
            timestamp: None,
            delivery_id: Some(HeaderPart::whole("X-Id")),
            ..partner("")
        });
        let secret = Secret::new("only", "shh");
        let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
        let splits: Vec<_> = (1..content.len())
            .filter(|at| content[*at..].starts_with(separator))
            .map(|at| (&content[..at], &content[at + separator.len()..]))
            .collect();
        let signatures: Vec<_> =
            splits.iter().filter_map(|(id, body)| sign(&scheme, &secret, id, NOW, body.as_bytes()).ok()).collect();
        prop_assert!(signatures.len() <= 1, "{splits:?}");
        for signed in &signatures {
            let signature = &signed.iter().find(|(name, _)| name == "x-partner-signature").unwrap().1;
            let accepted = splits.iter().filter(|(id, body)| {
                let delivery = Delivery::post(&[("x-id", id), ("x-partner-signature", signature)], body.as_bytes());
                delivery.verify(&verifier, NOW).is_ok()
            });
            prop_assert_eq!(accepted.count(), 1, "{:?}", splits);
        }
    }
}

/// Made with Python's `hmac`: HubSpot's v3 scheme, which runs method, URL, body and a time in milliseconds together.
#[test]
fn a_template_can_sign_method_url_body_and_a_time_in_milliseconds() {
    let scheme = Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "X-HubSpot-Signature-v3".into(),
        encoding: Encoding::Base64,
        prefix: String::new(),
        signed: "{method}{url}{body}{header:X-HubSpot-Request-Timestamp}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-HubSpot-Request-Timestamp"), tolerance_seconds: 300 }),
        delivery_id: None,
    });
    assert!(scheme.signs_url());
    let headers = [
        ("X-HubSpot-Request-Timestamp", "1614265330123"),
        ("X-HubSpot-Signature-v3", "fh8AXdJmUVNIf5yDJEU7UigH4UoisaAfEX/WgZ91Fvw="),
    ];
    let delivery = Delivery::post(&headers, br#"[{"eventId":1}]"#);
    let verdict = delivery.verify(&verifier(scheme.clone(), "app-secret"), NOW).unwrap();
    assert_eq!(verdict.timestamp, Some(NOW));
    let elsewhere = Delivery { url: "https://evil.example.com/".into(), ..delivery.clone() };
    assert_eq!(elsewhere.verify(&verifier(scheme.clone(), "app-secret"), NOW), Err(Refusal::NoMatch));
    let put = Delivery { method: "PUT".into(), ..delivery };
    assert_eq!(put.verify(&verifier(scheme, "app-secret"), NOW), Err(Refusal::NoMatch));
}

#[test]
fn a_generic_scheme_that_would_not_protect_is_refused_at_start() {
    let start = |scheme: HmacScheme| Verifier::new(Scheme::Hmac(scheme), vec![Secret::new("a", "shh")]).unwrap_err();
    for signed in ["", "{header:X-Partner-Time}", "{body", "body}", "{payload}{body}", "{header}{body}", "{}{body}"] {
        assert!(matches!(start(partner(signed)), ConfigError::Template { .. }), "{signed:?}");
    }
    assert_eq!(start(partner("{body}")), ConfigError::TimestampNotSigned { part: HeaderPart::whole("X-Partner-Time") });
    assert!(matches!(start(partner("{header:X Y}.{body}")), ConfigError::HeaderName { .. }));
    let mut impatient = partner("{header:x-partner-time}.{body}");
    impatient.timestamp = Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 0 });
    assert_eq!(start(impatient), ConfigError::Tolerance { seconds: 0 });
    let mut unnamed = partner("{header:X-Partner-Time}.{body}");
    unnamed.header = String::new();
    assert!(matches!(start(unnamed), ConfigError::HeaderName { .. }));

    let start = |scheme, value: &str| Verifier::new(scheme, vec![Secret::new("a", value)]).unwrap_err();
    assert_eq!(start(Scheme::Query { key: String::new() }, "shh"), ConfigError::QueryName);
    assert!(matches!(start(Scheme::Header { name: "a:b".into() }, "shh"), ConfigError::HeaderName { .. }));
    assert!(matches!(start(Scheme::Basic, "no-colon"), ConfigError::NotUserPassword { .. }));
    assert!(matches!(start(Scheme::Bearer, "token\n"), ConfigError::NotHeaderText { .. }));
}

#[test]
fn tokens_are_found_where_clients_put_them() {
    // `Basic dXNlcjpwYTpzcw==` is `user:pa:ss`, by Python's `base64`.
    for value in ["Basic dXNlcjpwYTpzcw==", "basic dXNlcjpwYTpzcw", "BASIC  dXNlcjpwYTpzcw=="] {
        let delivery = Delivery::post(&[("Authorization", value)], b"{}");
        assert!(delivery.verify(&verifier(Scheme::Basic, "user:pa:ss"), NOW).is_ok(), "{value}");
    }
    let query = Scheme::Query { key: "key".into() };
    for (url, verdict) in [
        ("/hook?key=a%2Fb+c", Ok(())),
        ("https://example.com/hook?x=1&key=a/b%20c#top", Ok(())),
        ("/hook?key=wrong&key=a/b+c", Ok(())),
        ("/hook?key=a/b", Err(Refusal::NoMatch)),
        ("/hook?KEY=a/b+c", Err(Refusal::MissingHeader)),
        ("/hook#?key=a/b+c", Err(Refusal::MissingHeader)),
        ("/hook", Err(Refusal::MissingHeader)),
    ] {
        let delivery = Delivery { url: url.into(), ..Delivery::post(&[], b"{}") };
        assert_eq!(delivery.verify(&verifier(query.clone(), "a/b c"), NOW).map(drop), verdict, "{url}");
    }
    let bearer_as_basic = Delivery::post(&[("Authorization", "Bearer x")], b"{}");
    assert_eq!(bearer_as_basic.verify(&verifier(Scheme::Basic, "user:x"), NOW), Err(Refusal::MalformedHeader));
}

#[test]
fn every_refusal_has_a_listed_label() {
    let refusals = [
        Refusal::MissingHeader,
        Refusal::MalformedHeader,
        Refusal::BadId,
        Refusal::UnsignedBody,
        Refusal::NoMatch,
        Refusal::Stale { seconds: 301 },
        Refusal::Future { seconds: 301 },
        Refusal::NoLiveSecret,
    ];
    assert_eq!(refusals.map(Refusal::label), Refusal::LABELS);
}

#[test]
fn what_cannot_be_signed_is_said_before_it_is_sent() {
    let message = Message {
        method: "POST",
        url: "https://example.com/hook?x=1#top",
        content_type: "application/json",
        id: "msg_1",
        timestamp: NOW,
        body: b"{}",
    };
    let secret = Secret::new("only", "a/b c");
    let signer = Signer::new(&Scheme::Query { key: "key".into() }, &secret).unwrap();
    assert_eq!(signer.sign(&message).unwrap().url, "https://example.com/hook?x=1&key=a%2Fb+c#top");
    assert!(matches!(sign(&Scheme::Twilio, &secret, "a", NOW, b""), Err(SignError::NeedsUrl { scheme: "twilio" })));

    let early = Message { timestamp: -1, ..message };
    assert_eq!(signer.sign(&early).unwrap_err(), SignError::Timestamp { timestamp: -1 });
    let public = Secret::new("only", "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
    let error = Signer::new(&Scheme::StandardWebhooks, &public).err().unwrap();
    assert_eq!(error, SignError::PublicKey { id: "only".into() });
    let unknown = Scheme::Hmac(partner("{header:X-Partner-Time}.{header:X-Other}.{body}"));
    let error = Signer::new(&unknown, &secret).err().unwrap();
    assert_eq!(error, SignError::UnknownHeader { header: "x-other".into() });
}

#[test]
fn schemes_without_parameters_are_read_by_name() {
    for name in [
        "standard-webhooks",
        "svix",
        "stripe",
        "github",
        "shopify",
        "slack",
        "twilio",
        "dub",
        "hookdeck",
        "outpost",
        "basic",
        "bearer",
    ] {
        assert_eq!(name.parse::<Scheme>().unwrap().name(), name);
    }
    for name in ["hmac", "header", "query", "Dub", ""] {
        let error = name.parse::<Scheme>().unwrap_err();
        assert!(error.to_string().contains("standard-webhooks"), "{error}");
    }
}
