//! Signatures: any request is refused or known to be signed, and what was signed is taken.

use signature::{
    Algorithm, Captured, Encoding, HeaderPart, HmacScheme, Message, Request, Scheme, Secret, SignedTime, Signer,
    Verifier, diagnose,
};

use crate::pick;

const NOW: i64 = 1_795_428_001;
const URL: &str = "https://hooks.example.com/v1/webhooks/s";

/// One byte chooses the scheme. Then a head and a body with an empty line between them; the head is the URL, for an
/// HMAC by configuration the text that is signed, and headers, a line each.
pub fn signatures(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let split = rest.windows(2).position(|two| two == b"\n\n");
    let (head, body) = split.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let url = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let signed = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let headers: Vec<(&str, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, line[colon + 1..].trim_ascii()))
        })
        .collect();
    let scheme = pick(&schemes(signed), *which).clone();
    let secrets = secrets(&scheme);
    let Ok(verifier) = Verifier::new(scheme.clone(), secrets.clone()) else { return };

    let other_urls = [URL.to_owned()];
    let longer = [body, b" "].concat();
    let lookup =
        |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    let request = Request { method: "POST", url, headers: &lookup, body };
    let verdict = verifier.verify(&request, NOW);
    assert_eq!(verdict, verifier.verify(&request, NOW));
    if verdict.is_ok() && signs_raw_bytes(&scheme) {
        let altered = Request { body: &longer, ..request };
        assert!(verifier.verify(&altered, NOW).is_err(), "a byte more, and still authentic");
    }
    let header_names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let captured = Captured { request, header_names: &header_names, other_urls: &other_urls };
    let findings = diagnose(&scheme, &secrets, &captured, NOW).expect("the verifier could be made");
    assert!(!findings.is_empty());

    // The same body, signed by somebody who may.
    for secret in &secrets {
        let Ok(signer) = Signer::new(&scheme, secret) else { continue };
        let (content_type, id) = ("application/json", "msg_1");
        let message = Message { method: "POST", url: URL, content_type, id, timestamp: NOW, body };
        let Ok(signed) = signer.sign(&message) else { continue };
        let content_type = ("content-type".to_owned(), content_type.to_owned());
        let headers: Vec<(String, String)> = signed.headers.into_iter().chain([content_type]).collect();
        let request = Request { method: "POST", url: &signed.url, headers: &headers.as_slice(), body };
        assert_eq!(
            verifier.verify(&request, NOW).map(|authentic| authentic.secret_id),
            Ok(secret.id()),
            "{}",
            scheme.name()
        );
    }
}

/// Every scheme; the template of the last is the input's.
fn schemes(signed: &str) -> Vec<Scheme> {
    let hmac = |signed: &str, timestamp: Option<&str>, encoding| {
        Scheme::Hmac(HmacScheme {
            algorithm: Algorithm::Sha256,
            header: "X-Signature".to_owned(),
            encoding,
            prefix: "v1=".to_owned(),
            signed: signed.to_owned(),
            timestamp: timestamp.map(|header| SignedTime { part: HeaderPart::whole(header), tolerance_seconds: 300 }),
            delivery_id: Some(HeaderPart::whole("X-Id")),
        })
    };
    vec![
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
        Scheme::Basic,
        Scheme::Bearer,
        Scheme::Header { name: "X-Secret".to_owned() },
        Scheme::Query { key: "key".to_owned() },
        hmac("{header:X-Time}.{body}", Some("X-Time"), Encoding::Hex),
        hmac(signed, signed.contains("X-Time").then_some("X-Time"), Encoding::Base64Url),
    ]
}

fn secrets(scheme: &Scheme) -> Vec<Secret> {
    match scheme {
        Scheme::StandardWebhooks | Scheme::Svix => vec![
            Secret::new("a", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            Secret::new("b", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ],
        Scheme::Basic => vec![Secret::new("a", "jane:one"), Secret::new("b", "jane:two")],
        _ => vec![Secret::new("a", "one-secret"), Secret::new("b", "another-secret")],
    }
}

/// Whether another body, byte for byte, needs another signature. Twilio signs what a form says, however it is written.
fn signs_raw_bytes(scheme: &Scheme) -> bool {
    !matches!(scheme, Scheme::Twilio | Scheme::Basic | Scheme::Bearer | Scheme::Header { .. } | Scheme::Query { .. })
}
