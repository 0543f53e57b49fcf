//! A time beside the code, in one header: `t=1795428000,v1=ab12`, as many platforms sign.

use hookline_signature::{
    Algorithm, ConfigError, Encoding, HeaderPart, HmacScheme, Refusal, Scheme, Secret, SignedTime, Signer, Verifier,
};
use proptest::prelude::*;

use crate::delivery::{Delivery, verifier};

/// 2026-11-23T10:00:00Z.
const AT: i64 = 1_795_428_000;
const HEADER: &str = "X-Partner-Signature";
const BODY: &[u8] = br#"{"id":"click-1"}"#;

fn scheme(time: &str, prefix: &str, signed: &str) -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        header: HEADER.into(),
        encoding: Encoding::Hex,
        prefix: prefix.into(),
        signed: signed.into(),
        timestamp: Some(SignedTime { part: HeaderPart::field(HEADER, time), tolerance_seconds: 300 }),
        delivery_id: None,
    }
}

/// Made with Python's `hmac` over what each platform's page says is signed.
#[test]
fn calendly_mux_and_convoy_are_known_by_name() {
    for (scheme, secret, header, value, body) in [
        (
            Scheme::Calendly,
            "calendly-key",
            "Calendly-Webhook-Signature",
            "t=1795428000,v1=c61244ec17b9f6593de1146df63b0f0f619f632a02f580a024799fff8bd4bf13",
            &br#"{"event":"invitee.created"}"#[..],
        ),
        (
            Scheme::Mux,
            "mux-key",
            "Mux-Signature",
            "t=1795428000,v1=cd9ed5bd5df18f17ce4845ce8211716cd370797fe8d098983ac7198a39dd8597",
            br#"{"type":"video.asset.ready"}"#,
        ),
        // While a secret is changed, Convoy signs with both, and with a second scheme under v2.
        (
            Scheme::Convoy,
            "convoy-key",
            "X-Convoy-Signature",
            "t=1795428000,v1=331b07a7f34685b7a255cf49838e5f18a4d20e78fb977db28079ce06597a7a87,v1=f13652d4c6ad7c4cb83f22cf470382197feec1fde58a366ed266baa9cc5aede5,v2=00",
            br#"{"event":"charge"}"#,
        ),
    ] {
        let delivery = Delivery::post(&[(header, value)], body);
        let verdict = delivery.verify(&verifier(scheme.clone(), secret), AT + 10);
        assert_eq!(verdict.map(|verdict| verdict.timestamp), Ok(Some(AT)), "{scheme:?}");
        assert_eq!(delivery.verify(&verifier(scheme, "other"), AT), Err(Refusal::NoMatch));
    }
}

/// How others write the same thing. Each signature is Python's `hmac(b"partner-key", time + separator + body)`.
#[test]
fn every_way_to_write_the_fields_is_read() {
    const DOT: &str = "7186522f750b5d39f781bdf95d53cffe7a4b5a1b3d0afadb354b253c26cdbdd7";
    const MILLIS: &str = "0583080d24a06507c9177d8d3b9923d07bb0e0ecde0a5f4b399f71deadaa1dcc";
    let dot = || scheme("t", "v1=", "{timestamp}.{body}");
    let base64 = |encoding| HmacScheme { encoding, ..dot() };
    let cases = [
        ("Calendly", dot(), format!("t=1795428000,v1={DOT}")),
        ("with a blank after the comma", dot(), format!("t=1795428000, v1={DOT}")),
        ("the other way round", dot(), format!("v1={DOT},t=1795428000")),
        ("WorkOS, in milliseconds", dot(), format!("t=1795428000123, v1={MILLIS}")),
        ("Sanity, in milliseconds and base64url", base64(Encoding::Base64Url), {
            "t=1795428000123,v1=BYMIDSSgZQfJF32NO5kj0Huw4OzeCl9LOZ9x3q2qHcw".into()
        }),
        ("base64, which ends in =", base64(Encoding::Base64), {
            "t=1795428000,v1=cYZSL3ULXTn3gb35XVPP/npLWhs9CvrbNUslPCbNvdc=".into()
        }),
        ("Persona, while its secret changes", dot(), format!("t=1795428000,v1=00 t=1795428000,v1={DOT}")),
        ("Cloudflare Stream", scheme("time", "sig1=", "{timestamp}.{body}"), format!("time=1795428000,sig1={DOT}")),
        (
            "Paddle",
            scheme("ts", "h1=", "{timestamp}:{body}"),
            "ts=1795428000;h1=84c53e1b76d09368026cb87548128d5364b08807ccc767907f54422d93776399".into(),
        ),
        ("in quotes, after a word", dot(), format!("HMAC t=\"1795428000\", v1=\"{DOT}\"")),
        (
            "RFC 3339, with a fraction of a second",
            dot(),
            "t=2026-11-23T10:00:00.5Z,v1=f4ec2e07dcc329156d9872d5446bd4f57a610a3a4bded31b3c2d8c4392bc3c62".into(),
        ),
        ("by the field's name in the template", scheme("t", "v1=", "{field:t}.{body}"), format!("t=1795428000,v1={DOT}")),
        (
            "by the header's and the field's name",
            scheme("t", "v1=", "{header:x-partner-signature:t}.{body}"),
            format!("t=1795428000,v1={DOT}"),
        ),
        (
            "another hash",
            HmacScheme { algorithm: Algorithm::Sha512, ..scheme("t", "v1=", "{timestamp},{body}") },
            "t=1795428000,v1=b191ca45a33420198011e7d959cf0e9ae828cd0f49377e566cd8383150f473806ebc64aff7ab93796d7d45eb9c0e51bc933cb159561d1328cc71edc4d31c98be".into(),
        ),
    ];
    for (name, scheme, value) in cases {
        let delivery = Delivery::post(&[(HEADER, &value)], BODY);
        let verdict = delivery.verify(&verifier(Scheme::Hmac(scheme.clone()), "partner-key"), AT);
        assert_eq!(verdict.map(|verdict| verdict.timestamp), Ok(Some(AT)), "{name}: {value}");
        let stale = delivery.verify(&verifier(Scheme::Hmac(scheme), "partner-key"), AT + 301);
        assert_eq!(stale, Err(Refusal::Stale { seconds: 301 }), "{name}");
    }
}

#[test]
fn a_time_in_a_field_of_another_header_and_an_id_beside_it_are_read() {
    let scheme = Scheme::Hmac(HmacScheme {
        timestamp: Some(SignedTime { part: HeaderPart::field("X-Partner-Info", "t"), tolerance_seconds: 300 }),
        delivery_id: Some(HeaderPart::field("X-Partner-Info", "id")),
        ..scheme("t", "", "{timestamp}.{header:X-Partner-Info:id}.{body}")
    });
    let headers = [
        ("X-Partner-Info", "id=msg_1;t=1795428000"),
        (HEADER, "07139fb5568ccf806b0a32edb22ab83af9305d11416c9f25eb9cb32ca7652fb6"),
    ];
    let delivery = Delivery::post(&headers, BODY);
    let verdict = delivery.verify(&verifier(scheme, "partner-key"), AT).unwrap();
    assert_eq!((verdict.delivery_id.as_deref(), verdict.delivery_id_signed), (Some("msg_1"), true));
    assert_eq!(verdict.timestamp, Some(AT));
}

#[test]
fn what_leaves_open_which_time_was_signed_is_refused() {
    const CODE: &str = "7186522f750b5d39f781bdf95d53cffe7a4b5a1b3d0afadb354b253c26cdbdd7";
    let verifier = verifier(Scheme::Hmac(scheme("t", "v1=", "{timestamp}.{body}")), "partner-key");
    let verdict = |value: &str| Delivery::post(&[(HEADER, value)], BODY).verify(&verifier, AT);
    for value in [
        format!("v1={CODE}"),
        format!("t=,v1={CODE}"),
        format!("T=1795428000,v1={CODE}"),
        format!("t=1795428000,t=1795428001,v1={CODE}"),
        format!("t=1795428000.,v1={CODE}"),
        format!("t=+1795428000,v1={CODE}"),
        format!("t=soonT,v1={CODE}"),
        "t=1795428000".to_owned(),
        format!("t=1795428000,v2={CODE}"),
        format!("t=1795428000,{CODE}"),
    ] {
        assert_eq!(verdict(&value), Err(Refusal::MalformedHeader), "{value}");
    }
    assert!(verdict(&format!("t=1795428000,v1={CODE}")).is_ok());
}

#[test]
fn a_template_of_fields_that_cannot_work_is_refused_at_start() {
    let start = |scheme: HmacScheme| Verifier::new(Scheme::Hmac(scheme), vec![Secret::new("a", "k")]).unwrap_err();
    for prefix in ["", "v1", "=", "sha256:"] {
        let refused = start(scheme("t", prefix, "{timestamp}.{body}"));
        assert_eq!(refused, ConfigError::CodeField { prefix: prefix.into() }, "the code needs a field of its own");
    }
    assert_eq!(start(scheme("t,", "v1=", "{timestamp}.{body}")), ConfigError::FieldName { name: "t,".into() });
    assert_eq!(start(scheme("", "v1=", "{timestamp}.{body}")), ConfigError::FieldName { name: String::new() });
    let unsigned = start(scheme("t", "v1=", "{body}"));
    assert_eq!(unsigned, ConfigError::TimestampNotSigned { part: HeaderPart::field(HEADER, "t") });
    assert!(unsigned.to_string().contains("header:X-Partner-Signature:t"), "{unsigned}");
    let without = HmacScheme { timestamp: None, ..scheme("t", "v1=", "{timestamp}.{body}") };
    assert_eq!(start(without), ConfigError::NoTimestamp);
}

proptest! {
    /// What one side signs in fields the other side verifies, and no other time or id fits the same code.
    #[test]
    fn what_is_signed_in_fields_is_verified_and_nothing_else_is(
        separator in prop::sample::select(vec![".", ",", ":", "", ", ", "|"]),
        time in prop::sample::select(vec!["t", "ts", "time", "created"]),
        code in prop::sample::select(vec!["v1=", "s=", "h1=", "sig1=", "signature="]),
        encoding in prop::sample::select(vec![Encoding::Hex, Encoding::Base64, Encoding::Base64Url]),
        id in "[a-z0-9_]{1,12}",
        body in prop::collection::vec(any::<u8>(), 0..60),
        at in 1_000_000_000_i64..9_999_999_999,
    ) {
        let scheme = Scheme::Hmac(HmacScheme {
            encoding,
            delivery_id: Some(HeaderPart::field(HEADER, "id")),
            ..scheme(time, code, &format!("{{field:id}}/{{timestamp}}{separator}{{body}}"))
        });
        let secret = Secret::new("only", "partner-key");
        let delivery = Delivery::signed(&scheme, &secret, &id, at, &body);
        let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
        let verdict = delivery.verify(&verifier, at).unwrap();
        prop_assert_eq!((verdict.delivery_id.as_deref(), verdict.timestamp), (Some(id.as_str()), Some(at)));
        let value = delivery.header(HEADER);
        let later = value.replace(&format!("{time}={at}"), &format!("{time}={}", at + 1));
        prop_assert_eq!(delivery.clone().with_header(HEADER, later).verify(&verifier, at), Err(Refusal::NoMatch));
        let other = value.replace(&format!("id={id}"), &format!("id={id}x"));
        prop_assert_eq!(delivery.with_header(HEADER, other).verify(&verifier, at), Err(Refusal::NoMatch));
        // An id that would read differently out of its field is not signed.
        let message = hookline_signature::Message {
            method: "POST", url: "https://h/", content_type: "application/json", id: "a,b", timestamp: at, body: &body,
        };
        prop_assert!(Signer::new(&scheme, &secret).unwrap().sign(&message).is_err());
    }
}
