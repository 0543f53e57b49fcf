//! For every scheme: what its sender signs is authentic, and stays so under no change of a single bit.

use std::ops::Range;

use proptest::prelude::*;
use signature::{Algorithm, Encoding, HmacScheme, Refusal, Scheme, Secret, TimestampHeader, Verifier};

use crate::delivery::{Delivery, NOW, WHSEC};

/// A scheme and a secret that suits it.
fn case(scheme: Scheme) -> (Scheme, Secret) {
    let value = match &scheme {
        Scheme::StandardWebhooks | Scheme::Svix => WHSEC,
        Scheme::Basic => "hookline:correct-horse",
        _ => "correct-horse-battery-staple",
    };
    (scheme, Secret::new("only", value))
}

fn generic(algorithm: Algorithm, encoding: Encoding, prefix: &str) -> Scheme {
    Scheme::Hmac(HmacScheme {
        algorithm,
        header: "X-Partner-Signature".into(),
        encoding,
        prefix: prefix.into(),
        signed: "{header:X-Partner-Id}.{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(TimestampHeader { header: "X-Partner-Time".into(), tolerance_seconds: 60 }),
        delivery_id: Some("X-Partner-Id".into()),
    })
}

/// The schemes that sign the body.
fn signing() -> Vec<(Scheme, Secret)> {
    let mut cases: Vec<_> = [
        Scheme::StandardWebhooks,
        Scheme::Svix,
        Scheme::Stripe,
        Scheme::GitHub,
        Scheme::Shopify,
        Scheme::Slack,
        Scheme::Twilio,
        Scheme::Dub,
        Scheme::Hookdeck,
        Scheme::Outpost,
        generic(Algorithm::Sha1, Encoding::Hex, ""),
        generic(Algorithm::Sha256, Encoding::Hex, "v1="),
        generic(Algorithm::Sha512, Encoding::Base64, "HMAC-SHA512 Signature="),
        generic(Algorithm::Sha256, Encoding::Base64Url, "v1,"),
    ]
    .into_iter()
    .map(case)
    .collect();
    let ed25519 = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
    cases.push((Scheme::StandardWebhooks, Secret::new("only", ed25519)));
    cases
}

/// The schemes where the secret itself travels.
fn carrying() -> Vec<(Scheme, Secret)> {
    let header = Scheme::Header { name: "X-Rebrandly-Secret".into() };
    [header, Scheme::Basic, Scheme::Bearer, Scheme::Query { key: "key".into() }].into_iter().map(case).collect()
}

/// The bytes of a header in which case means nothing: hex digits, and the name of an authorization scheme.
fn caseless(scheme: &Scheme, value: &[u8]) -> Range<usize> {
    let hex_bytes = match scheme {
        Scheme::Stripe | Scheme::GitHub | Scheme::Slack | Scheme::Dub | Scheme::Outpost => 32,
        Scheme::Hmac(HmacScheme { encoding: Encoding::Hex, algorithm: Algorithm::Sha1, .. }) => 20,
        Scheme::Hmac(HmacScheme { encoding: Encoding::Hex, algorithm: Algorithm::Sha256, .. }) => 32,
        Scheme::Basic | Scheme::Bearer => return 0..value.iter().position(|byte| *byte == b' ').unwrap(),
        _ => 0,
    };
    value.len() - hex_bytes * 2..value.len()
}

/// Every delivery that differs from `delivery` by one bit of something its proof covers.
fn mutants(scheme: &Scheme, delivery: &Delivery) -> Vec<Delivery> {
    let mut mutants = Vec::new();
    for bit in 0..delivery.body.len() * 8 {
        let mut mutant = delivery.clone();
        mutant.body[bit / 8] ^= 1 << (bit % 8);
        mutants.push(mutant);
    }
    for (index, (name, value)) in delivery.headers.iter().enumerate() {
        // Not covered, and said so: the content type, and ids that `delivery_id_signed` is false for.
        if ["content-type", "x-github-delivery", "x-shopify-webhook-id", "x-hookdeck-event-id", "x-outpost-event-id"]
            .contains(&name.as_str())
        {
            continue;
        }
        let caseless =
            if name.contains("signature") || name == "authorization" { caseless(scheme, value) } else { 0..0 };
        for bit in 0..value.len() * 8 {
            let mut mutant = delivery.clone();
            mutant.headers[index].1[bit / 8] ^= 1 << (bit % 8);
            let same_but_for_case = mutant.headers[index].1.eq_ignore_ascii_case(value);
            if !(same_but_for_case && caseless.contains(&(bit / 8))) {
                mutants.push(mutant);
            }
        }
    }
    let covered_url = match scheme {
        Scheme::Twilio => 0,
        Scheme::Query { .. } => delivery.url.find('?').unwrap(),
        _ => delivery.url.len(),
    };
    for bit in covered_url * 8..delivery.url.len() * 8 {
        let mut url = delivery.url.clone().into_bytes();
        url[bit / 8] ^= 1 << (bit % 8);
        // A request line is ASCII, so other changes never get this far.
        if let Ok(url) = String::from_utf8(url) {
            mutants.push(Delivery { url, ..delivery.clone() });
        }
    }
    mutants
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_signed_delivery_is_authentic_and_no_single_bit_of_it_can_change(
        id in "[a-zA-Z0-9_-]{1,12}",
        body in proptest::collection::vec(any::<u8>(), 1..24),
    ) {
        for (scheme, secret) in signing() {
            let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
            let delivery = Delivery::signed(&scheme, &secret, &id, NOW, &body);
            let verdict = delivery.verify(&verifier, NOW);
            prop_assert!(verdict.is_ok(), "{scheme:?}: {verdict:?}");
            for mutant in mutants(&scheme, &delivery) {
                prop_assert!(mutant.verify(&verifier, NOW).is_err(), "{scheme:?}: {:?} {:?}", mutant.headers, mutant.body);
            }
        }
    }

    #[test]
    fn an_empty_body_is_signed_like_any_other(id in "[a-zA-Z0-9_-]{1,12}") {
        for (scheme, secret) in signing() {
            let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
            let delivery = Delivery::signed(&scheme, &secret, &id, NOW, b"");
            prop_assert!(delivery.verify(&verifier, NOW).is_ok(), "{scheme:?}");
            let filled = Delivery { body: b"{}".to_vec(), ..delivery };
            prop_assert!(filled.verify(&verifier, NOW).is_err(), "{scheme:?}");
        }
    }

    #[test]
    fn another_secret_never_matches(id in "[a-zA-Z0-9_-]{1,12}", body in ".{0,40}") {
        for (scheme, secret) in signing().into_iter().chain(carrying()) {
            let other = match scheme {
                Scheme::StandardWebhooks | Scheme::Svix => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                _ => "another:secret",
            };
            let verifier = Verifier::new(scheme.clone(), vec![Secret::new("other", other)]).unwrap();
            let delivery = Delivery::signed(&scheme, &secret, &id, NOW, body.as_bytes());
            prop_assert_eq!(delivery.verify(&verifier, NOW), Err(Refusal::NoMatch), "{:?}", scheme);
        }
    }

    /// `verify` must withstand anything, so it is enough that it returns.
    #[test]
    fn arbitrary_headers_are_refused_and_never_panic(
        value in proptest::collection::vec(any::<u8>(), 0..80),
        url in ".{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        for (scheme, secret) in signing().into_iter().chain(carrying()) {
            let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
            let signed = Delivery::signed(&scheme, &secret, "msg_1", NOW, &body);
            let mut arbitrary = Delivery { url: url.clone(), ..signed };
            for (_, header) in &mut arbitrary.headers {
                header.clone_from(&value);
            }
            prop_assert!(arbitrary.verify(&verifier, NOW).is_err(), "{scheme:?}");
        }
    }
}

#[test]
fn a_secret_that_travels_is_authentic_and_no_single_bit_of_it_can_change() {
    for (scheme, secret) in carrying() {
        let verifier = Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap();
        let delivery = Delivery::signed(&scheme, &secret, "msg_1", NOW, b"");
        assert!(delivery.verify(&verifier, NOW).is_ok(), "{scheme:?}");
        for mutant in mutants(&scheme, &delivery) {
            assert!(mutant.verify(&verifier, NOW).is_err(), "{scheme:?}: {:?} {}", mutant.headers, mutant.url);
        }
    }
}
