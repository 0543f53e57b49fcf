//! Secrets as the pages of platforms show them, and as they come out of files, variables and addresses.

use hookline_signature::{
    Captured, ConfigError, Finding, ParameterChange, Refusal, Remark, Request, Scheme, Secret, Verifier, diagnose,
    remarks,
};
use proptest::prelude::*;

use crate::delivery::{Delivery, NOW, verifier};

/// 32 bytes whose base64 has `+` and `/`, so that its alphabet for URLs differs.
const KEY: &str = "++++////++++////++++////++++////++++////++8=";
const OTHER: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What signs with the key `KEY` itself.
fn signed() -> Delivery {
    Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("only", format!("whsec_{KEY}")), "msg_1", NOW, b"{}")
}

#[test]
fn a_standard_webhooks_secret_is_taken_as_its_platform_shows_it() {
    let url_safe = KEY.replace('+', "-").replace('/', "_");
    let bare = KEY.trim_end_matches('=');
    for shown in [
        format!("whsec_{KEY}"),
        KEY.to_owned(),
        format!("v1,whsec_{KEY}"),
        format!("v1, whsec_{KEY}"),
        format!("\"v1,whsec_{KEY}\""),
        format!("'whsec_{KEY}'"),
        format!("`whsec_{KEY}`"),
        format!("\u{201c}whsec_{KEY}\u{201d}"),
        format!("  whsec_{KEY} \r\n"),
        format!("\u{feff}whsec_{KEY}\n"),
        format!("whsec_{bare}"),
        format!("whsec_{url_safe}"),
        format!("v1,whsec_{}", url_safe.trim_end_matches('=')),
        format!("whsec_{}\n{}", &KEY[..20], &KEY[20..]),
        // Several at once, while one takes the other's place.
        format!("v1,whsec_{OTHER}|v1,whsec_{KEY}"),
        format!("v1,whsec_{KEY} v1,whsec_{OTHER}"),
        format!("whsec_{OTHER} whsec_{KEY}"),
        format!("whsec_{OTHER},whsec_{KEY}"),
        format!("\"whsec_{OTHER}\", \"whsec_{KEY}\""),
        format!("{OTHER}|{KEY}"),
    ] {
        let verifier = verifier(Scheme::StandardWebhooks, &shown);
        assert!(signed().verify(&verifier, NOW).is_ok(), "{shown:?}");
    }
    // Signed with the first of several.
    let shown = Secret::new("only", format!("v1,whsec_{KEY}|v1,whsec_{OTHER}"));
    let delivery = Delivery::signed(&Scheme::StandardWebhooks, &shown, "msg_1", NOW, b"{}");
    assert_eq!(delivery.header("webhook-signature"), signed().header("webhook-signature"));
}

#[test]
fn what_may_be_a_text_that_the_sender_uses_as_it_is_is_not_guessed_at() {
    // With `_` and `-` it would decode, in the alphabet for URLs, to a key that the sender does not have.
    for text in ["polar_whs_aaaabbbbccccddddeeeeffffgggghhhh", "not a secret", "whsec_", "\"\"", "v1,", "whsec_!!"] {
        let refused = Verifier::new(Scheme::StandardWebhooks, vec![Secret::new("a", text)]).unwrap_err();
        let said = refused.to_string();
        assert!(!said.contains(text.trim_matches('"')) || text.len() < 7, "{said}");
        assert!(
            matches!(
                refused,
                ConfigError::NotBase64 { .. } | ConfigError::EmptySecret { .. } | ConfigError::KeyLength { .. }
            ),
            "{text:?}: {refused}"
        );
    }
}

#[test]
fn what_an_owner_should_look_at_is_said_without_the_secret() {
    let said = |scheme: Scheme, value: &str| -> Vec<String> {
        let remarks = remarks(&scheme, &Secret::new("a", value));
        remarks.iter().map(|remark| format!("{remark}; {}", remark.hint())).collect()
    };
    let none = Vec::<String>::new();
    for (scheme, value) in [
        (Scheme::StandardWebhooks, format!("v1,whsec_{KEY}")),
        (Scheme::StandardWebhooks, format!("\"whsec_{KEY}\"")),
        (Scheme::Dub, "whsec_abc".into()),
        (query(), "ab+cd/ef==%41 x".into()),
        (Scheme::Bearer, "a&b#c".into()),
    ] {
        assert_eq!(said(scheme, &value), none, "{value}");
    }
    let several = said(Scheme::Svix, &format!("v1,whsec_{KEY}|v1,whsec_{OTHER}"));
    assert!(several.len() == 1 && several[0].contains("2 keys"), "{several:?}");
    for value in ["abc ", "\tabc", "\"abc\"", "'abc'", "abc\n", "\u{feff}abc"] {
        let around = said(Scheme::Dub, value);
        assert!(around.len() == 1 && around[0].contains("quotation marks"), "{value:?}: {around:?}");
    }
    let ends = said(query(), "ab#cd&ef");
    assert!(ends.len() == 1 && ends[0].contains("holds #") && ends[0].contains("%23"), "{ends:?}");
    assert!(matches!(remarks(&query(), &Secret::new("a", "x&"))[..], [Remark::EndsParameter { character: '&', .. }]));
}

fn by_query(query: &str) -> Delivery {
    Delivery { url: format!("/v1/webhooks/q?{query}"), ..Delivery::post(&[], b"{}") }
}

fn query() -> Scheme {
    Scheme::Query { key: "key".into() }
}

#[test]
fn a_secret_in_a_query_is_taken_as_it_is_shown_and_percent_encoded() {
    for (secret, written) in [
        ("ab+cd/ef==", "ab+cd/ef=="),
        ("ab+cd/ef==", "ab%2Bcd%2Fef%3D%3D"),
        ("ab+cd/ef==", "ab%2bcd/ef=="),
        ("ab cd", "ab+cd"),
        ("ab cd", "ab%20cd"),
        ("50%off", "50%off"),
        ("50%off", "50%25off"),
        ("a%41b", "a%41b"),
        ("a%41b", "a%2541b"),
        ("a+b c", "a+b%20c"),
        ("über", "%C3%BCber"),
    ] {
        for query_string in [format!("key={written}"), format!("x=1&key={written}&y=2"), format!("k%65y={written}")] {
            let verdict = by_query(&query_string).verify(&verifier(query(), secret), NOW);
            assert_eq!(verdict.map(drop), Ok(()), "{secret:?} as {query_string}");
        }
    }
    for (secret, written) in [("ab+cd", "abcd"), ("ab+cd", "ab%20cd"), ("ab", "AB"), ("50%off", "50"), ("a", "")] {
        let verdict = by_query(&format!("key={written}")).verify(&verifier(query(), secret), NOW);
        assert_eq!(verdict.map(drop), Err(Refusal::NoMatch), "{secret:?} as {written}");
    }
}

#[test]
fn a_secret_that_its_address_cuts_or_encodes_twice_is_explained() {
    let explain = |secret: &str, query_string: &str| {
        let delivery = by_query(query_string);
        let headers = delivery.headers.as_slice();
        let request = Request { method: "POST", url: &delivery.url, headers: &headers, body: b"{}" };
        let captured = Captured { request, header_names: &[], other_urls: &[] };
        diagnose(&query(), &[Secret::new("only", secret)], &captured, NOW).unwrap().pop().unwrap()
    };
    let differs = |change| Finding::ParameterDiffers { secret_id: "only".into(), parameter: "key".into(), change };
    assert_eq!(explain("ab&cd", "key=ab&cd"), differs(ParameterChange::CutAt('&')));
    assert_eq!(explain("ab#cd", "key=ab#cd"), differs(ParameterChange::CutAt('#')));
    assert_eq!(explain("a+b&cd&e", "x=1&key=a+b&cd&e"), differs(ParameterChange::CutAt('&')));
    assert_eq!(explain("ab+cd/", "key=ab%252Bcd%252F"), differs(ParameterChange::EncodedTwice));
    assert!(explain("ab&cd", "key=ab&cd").to_string().contains("write %26 for &"));
    assert_eq!(explain("ab+cd/ef==", "key=ab+cd/ef=="), Finding::Authentic { secret_id: "only".into() });
    let missing = explain("ab", "Kee=ab&x=1").to_string();
    assert!(missing.contains("under the scheme { query = \"Kee\" }"), "{missing}");
}

proptest! {
    /// However a client writes it (as it is, as a form, percent-encoded), the secret is recognised, and no other text is.
    #[test]
    fn a_query_secret_is_recognised_however_it_is_written(
        secret in "[ -%'-~äß]{1,20}".prop_filter("ends the parameter", |secret| !secret.contains(['#', '&'])),
        other in "[ -%'-~]{1,20}",
    ) {
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for written in [&secret, &form, &form.replace('+', "%20"), &percent] {
            let verdict = by_query(&format!("key={written}")).verify(&verifier(query(), &secret), NOW);
            prop_assert_eq!(verdict.map(drop), Ok(()), "as {}", written);
        }
        let decoded: Vec<u8> = form_urlencoded::parse(format!("={other}").as_bytes()).next().unwrap().1.into_owned().into();
        let literal = form_urlencoded::parse(format!("={}", other.replace('+', "%2B")).as_bytes()).next().unwrap().1.into_owned();
        let is_same = [other.as_bytes(), &decoded, literal.as_bytes()].contains(&secret.as_bytes());
        let verdict = by_query(&format!("key={}", other.replace('#', "%23"))).verify(&verifier(query(), &secret), NOW);
        prop_assume!(!other.contains('#'));
        prop_assert_eq!(verdict.is_ok(), is_same);
    }

    /// Whatever is around a key, the same key is read; and no text makes it panic.
    #[test]
    fn what_is_around_a_key_changes_nothing(
        key in prop::collection::vec(any::<u8>(), 24..64),
        before in prop::sample::select(vec!["", " ", "\"", "'", "\u{feff}", "v1,", "\"v1,", "`", "v1a, "]),
        after in prop::sample::select(vec!["", " ", "\n", "\r\n", "\"", "'", "`", "|", ","]),
        garbage in "\\PC{0,40}",
    ) {
        use base64::Engine as _;
        let shown = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key));
        let secret = Secret::new("only", shown.as_str());
        let delivery = Delivery::signed(&Scheme::StandardWebhooks, &secret, "msg_1", NOW, b"{}");
        let verifier = verifier(Scheme::StandardWebhooks, &format!("{before}{shown}{after}"));
        prop_assert!(delivery.verify(&verifier, NOW).is_ok());
        let _ = Verifier::new(Scheme::StandardWebhooks, vec![Secret::new("a", garbage)]);
    }
}
