//! Signatures that others made: each test says who, and where it was not a document, with what. `hmac` stands for Python's
//! `hmac.new(key, content, hashlib.sha256)`, SDKs for the vendors' own Python packages.

use hookline_signature::{Algorithm, Encoding, HeaderPart, HmacScheme, Refusal, Scheme, SignedTime};

use crate::delivery::{Delivery, verifier};

/// The example of the Standard Webhooks specification, which its libraries repeat in their tests.
const SPEC_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SPEC_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SPEC_TIME: &str = "1614265330";
const SPEC_BODY: &[u8] = br#"{"test": 2432232314}"#;
const SPEC_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn spec(signature: &str) -> Delivery {
    let headers = [("webhook-id", SPEC_ID), ("webhook-timestamp", SPEC_TIME), ("webhook-signature", signature)];
    Delivery::post(&headers, SPEC_BODY)
}

#[test]
fn the_example_of_the_standard_webhooks_specification_is_authentic() {
    let verdict = spec(SPEC_SIGNATURE).verify(&verifier(Scheme::StandardWebhooks, SPEC_SECRET), 1_614_265_330).unwrap();
    assert_eq!(verdict.secret_id, "only");
    assert_eq!(verdict.delivery_id.as_deref(), Some(SPEC_ID));
    assert!(verdict.delivery_id_signed);
    assert_eq!(verdict.timestamp, Some(1_614_265_330));
}

#[test]
fn svix_differs_in_header_names_only() {
    let headers = [("Svix-Id", SPEC_ID), ("Svix-Timestamp", SPEC_TIME), ("Svix-Signature", SPEC_SIGNATURE)];
    let svix = Delivery::post(&headers, SPEC_BODY);
    let verdict = svix.verify(&verifier(Scheme::Svix, SPEC_SECRET), 1_614_265_330).unwrap();
    assert_eq!(verdict.delivery_id.as_deref(), Some(SPEC_ID));
    let wrong_scheme = svix.verify(&verifier(Scheme::StandardWebhooks, SPEC_SECRET), 1_614_265_330);
    assert_eq!(wrong_scheme, Err(Refusal::MissingHeader));
}

/// Svix's Python SDK 2.9.1: `Webhook("whsec_C2FV…").sign("msg_27UH…", datetime.fromtimestamp(1649367553, utc), body)`.
#[test]
fn what_the_svix_sdk_signs_is_authentic() {
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let headers = [
        ("svix-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
        ("svix-timestamp", "1649367553"),
        ("svix-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ];
    let svix = verifier(Scheme::Svix, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let verdict = Delivery::post(&headers, body).verify(&svix, 1_649_367_600).unwrap();
    assert_eq!(verdict.timestamp, Some(1_649_367_553));
}

/// `TestAsymmetricWebhookSign` of the specification's Go library; the public key by Python's `cryptography`.
#[test]
fn the_ed25519_example_of_the_go_library_is_authentic_by_either_half_of_the_key() {
    let signature = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==";
    for key in
        ["whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=", "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="]
    {
        let verdict = spec(signature).verify(&verifier(Scheme::StandardWebhooks, key), 1_614_265_330).unwrap();
        assert_eq!(verdict.delivery_id.as_deref(), Some(SPEC_ID), "{key}");
    }
}

/// `hmac(b"whsec_0123456789abcdef", body).hexdigest()`; that Dub keys the code with the
/// whole string, prefix included and not decoded, is in `createWebhookSignature` of its source.
#[test]
fn dub_signs_the_body_with_the_whole_secret_string() {
    let body = br#"{"id":"evt_1","event":"link.clicked","createdAt":"2026-01-01T00:00:00.000Z","data":{}}"#;
    let signature = "42ef2b887d43456f3154ff5a6b1b24cf4f58d11569f4b5bd9266ce93fe404a61";
    let delivery = Delivery::post(&[("Dub-Signature", signature)], body);
    let verdict = delivery.verify(&verifier(Scheme::Dub, "whsec_0123456789abcdef"), 0).unwrap();
    assert_eq!((verdict.delivery_id, verdict.timestamp), (None, None));
    let without_prefix = delivery.verify(&verifier(Scheme::Dub, "0123456789abcdef"), 0);
    assert_eq!(without_prefix, Err(Refusal::NoMatch));
}

/// "Testing the webhook payload validation" in GitHub's documentation.
#[test]
fn the_test_values_of_the_github_documentation_are_authentic() {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = [("X-Hub-Signature-256", signature), ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")];
    let delivery = Delivery::post(&headers, b"Hello, World!");
    let verdict = delivery.verify(&verifier(Scheme::GitHub, "It's a Secret to Everybody"), 0).unwrap();
    assert_eq!(verdict.delivery_id.as_deref(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    assert!(!verdict.delivery_id_signed);
}

/// "Verifying requests from Slack" in Slack's documentation.
#[test]
fn the_example_of_the_slack_documentation_is_authentic() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("X-Slack-Request-Timestamp", "1531420618"),
        ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ];
    let delivery = Delivery::post(&headers, body);
    let verdict = delivery.verify(&verifier(Scheme::Slack, "8f742231b10e8888abcd99yyyzzz85a5"), 1_531_420_618).unwrap();
    assert_eq!(verdict.timestamp, Some(1_531_420_618));
}

/// Stripe's Python SDK 16.1.0: `stripe.WebhookSignature._compute_signature("1492774577." + body, secret)` for both secrets; `v0`
/// is for test mode and means nothing here.
#[test]
fn stripe_signs_time_and_body_and_lists_a_signature_per_live_secret() {
    let body = br#"{"id":"evt_1Ab","object":"event"}"#;
    let header = "t=1492774577,v1=77984bc01d2a15d599ba8bc73c8ca9690493a40e02ba319820d7e535d0cbb226,v1=1d89607f8b6b5148c93e510480035712282356bb0ffda20ccf70caf6275af841,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
    let delivery = Delivery::post(&[("Stripe-Signature", header)], body);
    for secret in ["whsec_newnewnewnewnewnewnewnew", "whsec_oldoldoldoldoldoldoldold"] {
        let verdict = delivery.verify(&verifier(Scheme::Stripe, secret), 1_492_774_600).unwrap();
        assert_eq!(verdict.timestamp, Some(1_492_774_577));
    }
}

/// `base64.b64encode(hmac(b"hush", body).digest())`.
#[test]
fn shopify_and_hookdeck_sign_the_body_in_base64() {
    let body = br#"{"id":820982911946154508,"email":"jon@example.com"}"#;
    let signature = "D0UMXmhjwBRi4y66TmhJrDlhQABD7zI2fm3p6/QLMo8=";
    let shopify = Delivery::post(
        &[("X-Shopify-Hmac-SHA256", signature), ("X-Shopify-Webhook-Id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043")],
        body,
    );
    let verdict = shopify.verify(&verifier(Scheme::Shopify, "hush"), 0).unwrap();
    assert_eq!(verdict.delivery_id.as_deref(), Some("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"));
    assert!(!verdict.delivery_id_signed);

    let hookdeck = Delivery::post(&[("x-hookdeck-signature", signature), ("x-hookdeck-event-id", "evt_vRbd7dT")], body);
    let verdict = hookdeck.verify(&verifier(Scheme::Hookdeck, "hush"), 0).unwrap();
    assert_eq!(verdict.delivery_id.as_deref(), Some("evt_vRbd7dT"));
}

/// `hmac(b"secret1", b"{}").hexdigest()` and the same with `secret2`, in the form of Outpost's default header template `v0={{.Signatures | join ","}}`.
#[test]
fn outpost_lists_its_signatures_after_one_prefix() {
    let header = "v0=228d8320ad0c175ae86fae4db81b371769afb52c3c6e943a4df7a271586681cc,214df0f164dbc87562848f02b91d3152ed3889ae24ea0b1a50bbbb6fae6626af";
    let delivery = Delivery::post(&[("x-outpost-signature", header), ("x-outpost-event-id", "evt_9")], b"{}");
    for secret in ["secret1", "secret2"] {
        let verdict = delivery.verify(&verifier(Scheme::Outpost, secret), 0).unwrap();
        assert_eq!(verdict.delivery_id.as_deref(), Some("evt_9"));
    }
}

/// Outpost in its other mode, `standard`, is Standard Webhooks in every respect (`destwebhook/standard.go` of its source): header
/// names, content `{id}.{timestamp}.{body}`, `v1,` before each signature, secrets `whsec_` + base64.
/// `hmac(b64decode("VGhpcyBpcyBPdXRwb3N0J3Mgc2VjcmV0ISE="), b"evt_9.1700000000.{}")`, and the old secret's after it.
#[test]
fn outpost_in_standard_mode_is_standard_webhooks() {
    let headers = [
        ("webhook-id", "evt_9"),
        ("webhook-timestamp", "1700000000"),
        (
            "webhook-signature",
            "v1,rhVcQS3ETRPFCSQLwtPjN8+rEreu8sbCDLXg6asWTZg= v1,4MKJRzNJHw2ocCu8aUDDHDrUXMUHHzYdASlznNkEdlk=",
        ),
        ("webhook-topic", "link.clicked"),
    ];
    let delivery = Delivery::post(&headers, b"{}");
    for secret in ["whsec_VGhpcyBpcyBPdXRwb3N0J3Mgc2VjcmV0ISE=", "whsec_VGhpcyB3YXMgT3V0cG9zdCdzIHNlY3JldC4="] {
        let verdict = delivery.verify(&verifier(Scheme::StandardWebhooks, secret), 1_700_000_000).unwrap();
        assert_eq!(verdict.delivery_id.as_deref(), Some("evt_9"));
    }
}

/// `hmac(b"partner", b"1700000000." + body, sha512).hexdigest()`: a scheme that only its template describes.
#[test]
fn a_scheme_by_template_is_authentic() {
    let scheme = Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha512,
        header: "X-Partner-Signature".into(),
        encoding: Encoding::Hex,
        prefix: "v1=".into(),
        signed: "{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 300 }),
        delivery_id: None,
    });
    let signature = "v1=62e0a7902c32d602684a249d7c82624c3dbdac7d7a76218348f318adfbd5b036fe784781b605c6e5233d36a56c49ee5cf7d279c5604e5026f3c1f9fb5f61bd9c";
    let headers = [("X-Partner-Time", "1700000000"), ("X-Partner-Signature", signature)];
    let delivery = Delivery::post(&headers, br#"{"event":"short_url_clicked"}"#);
    assert_eq!(delivery.verify(&verifier(scheme, "partner"), 1_700_000_000).unwrap().timestamp, Some(1_700_000_000));
}

/// The `RequestValidator` tests of Twilio's Python library; its documentation has the first of them.
mod twilio {
    use super::*;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const FORM: &str =
        "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309";

    fn form(url: &str, body: &str, signature: &str) -> Delivery {
        let content_type = "application/x-www-form-urlencoded; charset=UTF-8";
        let headers = [("Content-Type", content_type), ("X-Twilio-Signature", signature)];
        Delivery { url: url.to_owned(), ..Delivery::post(&headers, body.as_bytes()) }
    }

    fn is_authentic(delivery: &Delivery) -> Result<(), Refusal> {
        delivery.verify(&verifier(Scheme::Twilio, "12345"), 0).map(drop)
    }

    #[test]
    fn form_fields_are_signed_after_the_url_in_order() {
        is_authentic(&form(URL, FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")).unwrap();
        let other_order =
            "To=%2B18005551212&Caller=%2B14158675309&CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309";
        is_authentic(&form(URL, other_order, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")).unwrap();
    }

    #[test]
    fn repeated_fields_are_signed_sorted_and_once() {
        let body = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234";
        is_authentic(&form(URL, body, "IK+Dwps556ElfBT0I3Rgjkr1wJU=")).unwrap();
    }

    #[test]
    fn the_port_may_be_signed_or_not() {
        for (url, signature) in [
            ("https://mycompany.com:1234/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("http://mycompany.com:1234/myapp.php?foo=1&bar=2", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
            ("https://mycompany.com/myapp.php?foo=1&bar=2", "kvajT1Ptam85bY51eRf/AJRuM3w="),
            ("http://mycompany.com/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ] {
            assert_eq!(is_authentic(&form(url, FORM, signature)), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_json_body_is_covered_by_its_hash_in_the_url() {
        let url = format!("{URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620");
        let body = br#"{"property": "value", "boolean": true}"#;
        let headers = [("Content-Type", "application/json"), ("X-Twilio-Signature", "a9nBmqA0ju/hNViExpshrM61xv4=")];
        let delivery = Delivery { url, ..Delivery::post(&headers, body) };
        is_authentic(&delivery).unwrap();

        let altered = Delivery { body: br#"{"property": "other", "boolean": true}"#.to_vec(), ..delivery };
        assert_eq!(is_authentic(&altered), Err(Refusal::NoMatch));
    }

    /// Twilio's Python SDK 9.13.0: `RequestValidator("12345").compute_signature(url, {})`, the hash by `hashlib.sha256`.
    #[test]
    fn a_batch_of_cloud_events_is_covered_by_its_hash() {
        let hash = "57638de49b203c1d207874f445c96f0e5a86ca3a185f51bb4025336f35aac156";
        let url = format!("https://hooks.example.com/v1/webhooks/sms?bodySHA256={hash}");
        let body = br#"[{"specversion":"1.0","type":"com.twilio.daptbt.link-shortening.link-clicked","id":"EV1"}]"#;
        let content_type = "application/cloudevents-batch+json";
        let headers = [("Content-Type", content_type), ("X-Twilio-Signature", "16KldTFX4vqb7xsyyXCp0IGrkKo=")];
        is_authentic(&Delivery { url, ..Delivery::post(&headers, body) }).unwrap();
    }

    #[test]
    fn a_body_that_nothing_covers_is_refused() {
        let headers = [("Content-Type", "application/json"), ("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")];
        let delivery = Delivery { url: URL.to_owned(), ..Delivery::post(&headers, b"{}") };
        assert_eq!(is_authentic(&delivery), Err(Refusal::UnsignedBody));
    }
}
