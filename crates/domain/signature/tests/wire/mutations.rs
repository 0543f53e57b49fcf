//! For every scheme, with secrets, ids, bodies and times at random: what its sender signs is authentic, and stays so under
//! no change of a single bit, of what was sent or of the key.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookline_signature::{Algorithm, Encoding, HeaderPart, HmacScheme, Refusal, Scheme, Secret, SignedTime, Verifier};
use proptest::prelude::*;

use crate::delivery::{Delivery, NOW};

/// The time that most senders have not reached yet.
const MOST: i64 = 4_000_000_000;

/// How a scheme writes a key down.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whsec,
    Whsk,
    Basic,
    Text,
}

/// The secret that is written from `key`.
fn secret(kind: Kind, key: &[u8]) -> Secret {
    named_secret("only", kind, key)
}

fn named_secret(id: impl Into<String>, kind: Kind, key: &[u8]) -> Secret {
    let value = match kind {
        Kind::Whsec => format!("whsec_{}", STANDARD.encode(key)),
        Kind::Whsk => format!("whsk_{}", STANDARD.encode(key)),
        Kind::Basic => format!("hookline:{}", hex(key)),
        Kind::Text => hex(key),
    };
    Secret::new(id, value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secrets whose keys differ from `key` by one bit.
fn other_secrets(kind: Kind, key: &[u8]) -> impl Iterator<Item = Secret> {
    (0..key.len() * 8).map(move |bit| {
        let mut other = key.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        secret(kind, &other)
    })
}

fn kind(scheme: &Scheme) -> Kind {
    match scheme {
        Scheme::StandardWebhooks | Scheme::Svix => Kind::Whsec,
        Scheme::Basic => Kind::Basic,
        _ => Kind::Text,
    }
}

fn generic(algorithm: Algorithm, encoding: Encoding, prefix: &str) -> Scheme {
    Scheme::Hmac(HmacScheme {
        algorithm,
        header: "X-Partner-Signature".into(),
        encoding,
        prefix: prefix.into(),
        signed: "{header:X-Partner-Id}.{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 60 }),
        delivery_id: Some(HeaderPart::whole("X-Partner-Id")),
    })
}

/// A scheme with its time and its delivery id beside the code, in one header.
fn in_fields(time: &str, prefix: &str, signed: &str) -> Scheme {
    const HEADER: &str = "X-Partner-Signature";
    Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        header: HEADER.into(),
        encoding: Encoding::Hex,
        prefix: prefix.into(),
        signed: format!("{{field:id}}.{signed}"),
        timestamp: Some(SignedTime { part: HeaderPart::field(HEADER, time), tolerance_seconds: 60 }),
        delivery_id: Some(HeaderPart::field(HEADER, "id")),
    })
}

/// The schemes that sign the body.
fn signing() -> Vec<(Scheme, Kind)> {
    let mut cases: Vec<_> = [
        Scheme::StandardWebhooks,
        Scheme::Svix,
        Scheme::Stripe,
        Scheme::Calendly,
        Scheme::Mux,
        Scheme::Convoy,
        in_fields("ts", "h1=", "{timestamp}:{body}"),
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
    .map(|scheme| (scheme.clone(), kind(&scheme)))
    .collect();
    cases.extend([(Scheme::StandardWebhooks, Kind::Whsk), (Scheme::Svix, Kind::Whsk)]);
    cases
}

/// The schemes where the secret itself travels.
fn carrying() -> Vec<(Scheme, Kind)> {
    let header = Scheme::Header { name: "X-Rebrandly-Secret".into() };
    let schemes = [header, Scheme::Basic, Scheme::Bearer, Scheme::Query { key: "key".into() }];
    schemes.into_iter().map(|scheme| (scheme.clone(), kind(&scheme))).collect()
}

/// The bytes of a header in which case means nothing: hex digits, and the name of an authorization scheme.
fn caseless(scheme: &Scheme, value: &[u8]) -> Range<usize> {
    let hex_bytes = match scheme {
        Scheme::Stripe | Scheme::Calendly | Scheme::Mux | Scheme::Convoy => 32,
        Scheme::GitHub | Scheme::Slack | Scheme::Dub | Scheme::Outpost => 32,
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

fn verifier_of(scheme: &Scheme, secret: &Secret) -> Verifier {
    Verifier::new(scheme.clone(), vec![secret.clone()]).unwrap()
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_signed_delivery_is_authentic_and_no_single_bit_of_it_can_change(
        id in "[a-zA-Z0-9_-]{1,12}",
        body in proptest::collection::vec(any::<u8>(), 1..24),
        time in 0..MOST,
        key in keys(),
    ) {
        for (scheme, kind) in signing() {
            let secret = secret(kind, &key);
            let verifier = verifier_of(&scheme, &secret);
            let delivery = Delivery::signed(&scheme, &secret, &id, time, &body);
            let verdict = delivery.verify(&verifier, time);
            prop_assert!(verdict.is_ok(), "{scheme:?}: {verdict:?}");
            for mutant in mutants(&scheme, &delivery) {
                prop_assert!(mutant.verify(&verifier, time).is_err(), "{scheme:?}: {:?} {:?}", mutant.headers, mutant.body);
            }
        }
    }

    #[test]
    fn no_single_bit_of_the_key_can_change(
        id in "[a-zA-Z0-9_-]{1,12}",
        body in proptest::collection::vec(any::<u8>(), 0..24),
        time in 0..MOST,
        key in keys(),
    ) {
        for (scheme, kind) in signing().into_iter().chain(carrying()) {
            let delivery = Delivery::signed(&scheme, &secret(kind, &key), &id, time, &body);
            for other in other_secrets(kind, &key) {
                let verdict = delivery.verify(&verifier_of(&scheme, &other), time);
                prop_assert_eq!(verdict, Err(Refusal::NoMatch), "{:?}", scheme);
            }
        }
    }

    /// Twilio signs the fields of a form, not its bytes: every bit that a field is made of counts.
    #[test]
    fn no_single_bit_of_a_form_that_twilio_signs_can_change(
        fields in proptest::collection::vec(("[a-z]{1,5}", "[a-zA-Z0-9]{1,5}"), 1..4),
        key in keys(),
    ) {
        let body = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let secret = secret(Kind::Text, &key);
        let delivery = Delivery::signed_as(&Scheme::Twilio, &secret, "application/x-www-form-urlencoded", "msg_1", NOW, body.as_bytes());
        let verifier = verifier_of(&Scheme::Twilio, &secret);
        prop_assert!(delivery.verify(&verifier, NOW).is_ok());
        for mutant in mutants(&Scheme::Twilio, &delivery) {
            prop_assert!(mutant.verify(&verifier, NOW).is_err(), "{} {:?}", mutant.url, String::from_utf8_lossy(&mutant.body));
        }
    }

    #[test]
    fn an_empty_body_is_signed_like_any_other(id in "[a-zA-Z0-9_-]{1,12}", key in keys()) {
        for (scheme, kind) in signing() {
            let secret = secret(kind, &key);
            let verifier = verifier_of(&scheme, &secret);
            let delivery = Delivery::signed(&scheme, &secret, &id, NOW, b"");
            prop_assert!(delivery.verify(&verifier, NOW).is_ok(), "{scheme:?}");
            let filled = Delivery { body: b"{}".to_vec(), ..delivery };
            prop_assert!(filled.verify(&verifier, NOW).is_err(), "{scheme:?}");
        }
    }

    #[test]
    fn a_secret_that_travels_is_authentic_and_no_single_bit_of_it_can_change(key in keys()) {
        for (scheme, kind) in carrying() {
            let secret = secret(kind, &key);
            let verifier = verifier_of(&scheme, &secret);
            let delivery = Delivery::signed(&scheme, &secret, "msg_1", NOW, b"");
            prop_assert!(delivery.verify(&verifier, NOW).is_ok(), "{scheme:?}");
            for mutant in mutants(&scheme, &delivery) {
                prop_assert!(mutant.verify(&verifier, NOW).is_err(), "{scheme:?}: {:?} {}", mutant.headers, mutant.url);
            }
        }
    }

    /// Of several secrets the one that signed is named, wherever it stands.
    #[test]
    fn with_several_live_secrets_the_one_that_signed_is_named(
        keys in proptest::collection::vec(keys(), 2..4),
        which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(keys.iter().enumerate().all(|(n, key)| !keys[..n].contains(key)));
        let which = which.index(keys.len());
        for (scheme, kind) in signing().into_iter().chain(carrying()) {
            let named = |n: usize| named_secret(format!("secret-{n}"), kind, &keys[n]);
            let verifier = Verifier::new(scheme.clone(), (0..keys.len()).map(named).collect()).unwrap();
            let delivery = Delivery::signed(&scheme, &named(which), "msg_1", NOW, b"{}");
            let verdict = delivery.verify(&verifier, NOW);
            prop_assert_eq!(verdict.map(|verdict| verdict.secret_id), Ok(format!("secret-{which}")), "{:?}", scheme);
        }
    }

    /// `verify` must withstand anything, so it is enough that it returns.
    #[test]
    fn arbitrary_headers_are_refused_and_never_panic(
        value in proptest::collection::vec(any::<u8>(), 0..80),
        url in ".{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..40),
        key in keys(),
    ) {
        for (scheme, kind) in signing().into_iter().chain(carrying()) {
            let secret = secret(kind, &key);
            let signed = Delivery::signed(&scheme, &secret, "msg_1", NOW, &body);
            let mut arbitrary = Delivery { url: url.clone(), ..signed };
            for (_, header) in &mut arbitrary.headers {
                header.clone_from(&value);
            }
            prop_assert!(arbitrary.verify(&verifier_of(&scheme, &secret), NOW).is_err(), "{scheme:?}");
        }
    }
}
