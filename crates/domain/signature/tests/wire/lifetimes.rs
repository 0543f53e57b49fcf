//! Rotation: several secrets, each with a lifetime.

use hookline_signature::{Authentic, ConfigError, Refusal, Scheme, Secret, Verifier};

use crate::delivery::{Delivery, NOW, WHSEC};

const NEXT: &str = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn signed_by(value: &str, at: i64) -> Delivery {
    Delivery::signed(&Scheme::StandardWebhooks, &Secret::new("sender", value), "msg_1", at, b"{}")
}

#[test]
fn during_a_rotation_the_answer_names_the_secret_that_is_still_used() {
    let secrets = vec![Secret::new("2026-09", NEXT), Secret::new("2026-03", WHSEC)];
    let verifier = Verifier::new(Scheme::StandardWebhooks, secrets).unwrap();
    assert_eq!(signed_by(NEXT, NOW).verify(&verifier, NOW).unwrap().secret_id, "2026-09");
    assert_eq!(signed_by(WHSEC, NOW).verify(&verifier, NOW).unwrap().secret_id, "2026-03");
}

#[test]
fn a_list_of_signatures_matches_by_any_of_them_and_passes_over_versions_it_does_not_know() {
    let old = signed_by(WHSEC, NOW);
    let new = signed_by(NEXT, NOW).header("webhook-signature");
    let list = format!("v2,AAAA v1,notbase64! {} {new}", old.header("webhook-signature"));
    let both = old.with_header("webhook-signature", list);
    for value in [WHSEC, NEXT] {
        let verifier = Verifier::new(Scheme::StandardWebhooks, vec![Secret::new("only", value)]).unwrap();
        assert_eq!(both.verify(&verifier, NOW).unwrap().secret_id, "only");
    }
}

#[test]
fn hmac_and_ed25519_secrets_work_side_by_side() {
    let private = Secret::new("sender", "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=");
    let secrets = vec![
        Secret::new("hmac", WHSEC),
        Secret::new("public", "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
        private.clone(),
    ];
    let verifier = Verifier::new(Scheme::StandardWebhooks, secrets).unwrap();
    let ed25519 = Delivery::signed(&Scheme::StandardWebhooks, &private, "msg_1", NOW, b"{}");
    assert_eq!(ed25519.verify(&verifier, NOW).unwrap().secret_id, "sender");
    assert_eq!(signed_by(WHSEC, NOW).verify(&verifier, NOW).unwrap().secret_id, "hmac");
}

#[test]
fn a_secret_is_live_from_its_first_second_to_the_one_before_its_last() {
    let secret = Secret::new("only", "shh").not_before(100).not_after(200);
    let verifier = Verifier::new(Scheme::Dub, vec![secret.clone()]).unwrap();
    let delivery = Delivery::signed(&Scheme::Dub, &secret, "msg_1", 0, b"{}");
    for (now, accepted) in [(99, false), (100, true), (199, true), (200, false)] {
        let verdict = delivery.verify(&verifier, now).map(|verdict| verdict.secret_id);
        let expected = if accepted { Ok("only".to_owned()) } else { Err(Refusal::NoLiveSecret) };
        assert_eq!(verdict, expected, "at {now}");
    }
}

#[test]
fn a_secret_past_its_time_is_no_match_beside_a_live_one() {
    let secrets = vec![Secret::new("old", WHSEC).not_after(NOW), Secret::new("new", NEXT)];
    let verifier = Verifier::new(Scheme::StandardWebhooks, secrets).unwrap();
    assert_eq!(signed_by(WHSEC, NOW - 1).verify(&verifier, NOW - 1).unwrap().secret_id, "old");
    assert_eq!(signed_by(WHSEC, NOW).verify(&verifier, NOW), Err(Refusal::NoMatch));
}

#[test]
fn secrets_that_cannot_work_are_refused_at_start() {
    let scheme = || Scheme::StandardWebhooks;
    assert_eq!(Verifier::new(scheme(), vec![]).unwrap_err(), ConfigError::NoSecret);
    let one = |secret: Secret| Verifier::new(scheme(), vec![secret]).unwrap_err();
    assert!(matches!(one(Secret::new("a", "")), ConfigError::EmptySecret { .. }));
    assert!(matches!(one(Secret::new("a", WHSEC).not_before(5).not_after(5)), ConfigError::NeverLive { .. }));
    assert!(matches!(one(Secret::new("a", "whsec_not base64")), ConfigError::NotBase64 { .. }));
    let twice = vec![Secret::new("a", WHSEC), Secret::new("a", NEXT)];
    assert!(matches!(Verifier::new(scheme(), twice).unwrap_err(), ConfigError::DuplicateSecretId { .. }));
}

#[test]
fn standard_keys_have_24_to_64_bytes_and_ed25519_keys_32() {
    let lengths = [
        ("whsec_", 23, false),
        ("whsec_", 24, true),
        ("", 24, true),
        ("whsec_", 64, true),
        ("whsec_", 65, false),
        ("whpk_", 31, false),
        ("whpk_", 32, true),
        ("whsk_", 32, true),
        ("whsk_", 33, false),
    ];
    for (prefix, length, accepted) in lengths {
        let value = format!("{prefix}{}", base64_of_zeros(length));
        let verifier = Verifier::new(Scheme::StandardWebhooks, vec![Secret::new("a", value)]);
        match verifier {
            Ok(_) => assert!(accepted, "{prefix}{length}"),
            Err(error) => {
                assert!(!accepted, "{prefix}{length}: {error}");
                assert!(matches!(error, ConfigError::KeyLength { found, .. } if found == length));
            }
        }
    }
    // A seed with a public key that is not its own.
    let mismatched = Secret::new("a", format!("whsk_{}", base64_of_zeros(64)));
    let error = Verifier::new(Scheme::StandardWebhooks, vec![mismatched]).unwrap_err();
    assert!(matches!(error, ConfigError::KeyPair { .. }));
}

fn base64_of_zeros(length: usize) -> String {
    let mut text = "A".repeat((length * 8).div_ceil(6));
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[test]
fn no_debug_output_and_no_error_shows_a_secret() {
    const SHOWN: &str = "TopSecretTopSecretTopSecret";
    let secret = |value: &str| Secret::new("visible-id", value);
    assert!(format!("{:?}", secret(SHOWN)).contains("visible-id"));
    let mut texts = vec![format!("{:?}", secret(SHOWN)), format!("{:#?}", secret(SHOWN))];
    for scheme in [Scheme::Dub, Scheme::Bearer, Scheme::Header { name: "x-key".into() }] {
        texts.push(format!("{:?}", Verifier::new(scheme.clone(), vec![secret(SHOWN)]).unwrap()));
        let message = hookline_signature::Message {
            method: "POST",
            url: "/",
            content_type: "application/json",
            id: "msg_1",
            timestamp: NOW,
            body: b"{}",
        };
        let signed = hookline_signature::Signer::new(&scheme, &secret(SHOWN)).unwrap().sign(&message).unwrap();
        texts.push(format!("{signed:?}"));
    }
    for (scheme, value) in [
        (Scheme::StandardWebhooks, format!("whsec_{SHOWN}!")),
        (Scheme::StandardWebhooks, format!("whsec_{}", &SHOWN[..20])),
        (Scheme::StandardWebhooks, format!("whsk_{}", &SHOWN[..20])),
        (Scheme::Basic, SHOWN.to_owned()),
        (Scheme::Bearer, format!("{SHOWN}\n")),
    ] {
        let error = Verifier::new(scheme, vec![secret(&value)]).unwrap_err();
        assert!(error.to_string().contains("visible-id"), "{error}");
        texts.extend([error.to_string(), format!("{error:?}")]);
    }
    for text in texts {
        assert!(!text.contains("TopSecret"), "{text}");
    }
}

#[test]
fn a_verifier_is_shared_between_threads_and_its_answer_is_small() {
    fn shared<T: Send + Sync>() {}
    shared::<Verifier>();
    shared::<hookline_signature::Signer>();
    shared::<Secret>();
    assert!(size_of::<Result<Authentic<'_>, Refusal>>() <= 64);
}

#[test]
fn the_secret_to_sign_with_is_the_live_one_that_began_last_then_the_one_that_ends_last_then_the_first() {
    let secret = |id: &str| Secret::new(id, "shh");
    let newest = |secrets: &[Secret]| Secret::newest_live(secrets, 150).map(|secret| secret.id().to_owned());
    let (old, new) = (secret("old").not_after(200), secret("new"));
    assert_eq!(newest(&[old.clone(), new.clone()]).as_deref(), Some("new"));
    assert_eq!(newest(&[old, new, secret("begun").not_before(100)]).as_deref(), Some("begun"));
    assert_eq!(newest(&[secret("first"), secret("second")]).as_deref(), Some("first"));
    assert_eq!(newest(&[secret("over").not_after(150), secret("to come").not_before(151)]), None);
}
