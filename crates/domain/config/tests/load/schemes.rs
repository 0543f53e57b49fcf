//! How sources prove themselves: every scheme of the language, as a configuration writes it.

use signature::{Algorithm, Encoding, HeaderPart, HmacScheme, Scheme, SignedTime};

use crate::{base, environment, errors, load_with};

/// The reference configuration, whose comment lists the names of all schemes.
const WHOLE_LANGUAGE: &str = include_str!("../whole-language.toml");

/// A secret for Standard Webhooks, and one that suits every other scheme.
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PLAIN: &str = "user:password";

/// A source with a scheme and one secret.
fn source(scheme: &str, more: &str) -> String {
    format!(
        "{}[source.s]\nadapter = \"canonical\"\nowner = \"growth\"\n{more}scheme = {scheme}\nsecrets = [{{ id = \"a\", env = \"S\" }}]\n",
        base()
    )
}

fn loaded(scheme: &str, secret: &str) -> Result<Scheme, String> {
    let more = "public_url = \"https://hooks.example.com/v1/webhooks/s\"\n";
    let config =
        load_with(&source(scheme, more), &environment(&[("S", secret)])).map_err(|problems| problems.to_string())?;
    let source = config.source("s").unwrap();
    assert!(signature::Verifier::new(source.scheme.clone(), source.secrets.clone()).is_ok());
    Ok(source.scheme.clone())
}

fn partner() -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "X-Partner-Signature".into(),
        encoding: Encoding::Hex,
        prefix: "v1=".into(),
        signed: "{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 60 }),
        delivery_id: Some(HeaderPart::whole("X-Partner-Id")),
    }
}

/// What a configuration writes, a secret that suits it, and what it means.
fn table() -> Vec<(&'static str, &'static str, &'static str, Scheme)> {
    let plain = |name, written, scheme| (name, written, PLAIN, scheme);
    vec![
        ("standard-webhooks", "\"standard-webhooks\"", WHSEC, Scheme::StandardWebhooks),
        ("svix", "\"svix\"", WHSEC, Scheme::Svix),
        plain("stripe", "\"stripe\"", Scheme::Stripe),
        plain("calendly", "\"calendly\"", Scheme::Calendly),
        plain("mux", "\"mux\"", Scheme::Mux),
        plain("convoy", "\"convoy\"", Scheme::Convoy),
        plain("github", "\"github\"", Scheme::GitHub),
        plain("shopify", "\"shopify\"", Scheme::Shopify),
        plain("slack", "\"slack\"", Scheme::Slack),
        plain("twilio", "\"twilio\"", Scheme::Twilio),
        plain("dub", "\"dub\"", Scheme::Dub),
        plain("hookdeck", "\"hookdeck\"", Scheme::Hookdeck),
        plain("outpost", "\"outpost\"", Scheme::Outpost),
        plain("basic", "\"basic\"", Scheme::Basic),
        plain("bearer", "\"bearer\"", Scheme::Bearer),
        plain("header", "{ header = \"X-Rebrandly-Secret\" }", Scheme::Header { name: "X-Rebrandly-Secret".into() }),
        plain("query", "{ query = \"key\" }", Scheme::Query { key: "key".into() }),
        plain(
            "hmac",
            "{ hmac = \"sha256\", header = \"X-Partner-Signature\", encoding = \"hex\", prefix = \"v1=\", \
             signed = \"{header:X-Partner-Time}.{body}\", timestamp = \"header:X-Partner-Time\", tolerance = \"60s\", \
             delivery_id = \"X-Partner-Id\" }",
            Scheme::Hmac(partner()),
        ),
        plain(
            "hmac",
            "{ hmac = \"sha1\", header = \"X-Signature\", encoding = \"base64\" }",
            Scheme::Hmac(HmacScheme {
                algorithm: Algorithm::Sha1,
                header: "X-Signature".into(),
                encoding: Encoding::Base64,
                prefix: String::new(),
                signed: "{body}".into(),
                timestamp: None,
                delivery_id: None,
            }),
        ),
        plain(
            "hmac",
            "{ hmac = \"sha512\", header = \"X-Signature\", encoding = \"base64url\" }",
            Scheme::Hmac(HmacScheme {
                algorithm: Algorithm::Sha512,
                header: "X-Signature".into(),
                encoding: Encoding::Base64Url,
                prefix: String::new(),
                signed: "{body}".into(),
                timestamp: None,
                delivery_id: None,
            }),
        ),
    ]
}

/// How a configuration writes a time that is a field of a header.
#[test]
fn a_time_beside_the_code_is_read_in_every_spelling() {
    let hmac = |header: &str, prefix: &str, signed: &str, part, delivery_id| {
        Scheme::Hmac(HmacScheme {
            algorithm: Algorithm::Sha256,
            header: header.into(),
            encoding: Encoding::Hex,
            prefix: prefix.into(),
            signed: signed.into(),
            timestamp: Some(SignedTime { part, tolerance_seconds: 300 }),
            delivery_id,
        })
    };
    let field = |header: &str, name: &str| HeaderPart::field(header, name);
    const CALENDLY: &str = "Calendly-Webhook-Signature";
    for (written, expected) in [
        (
            r#"{ hmac = "sha256", header = "Calendly-Webhook-Signature", encoding = "hex", prefix = "v1=", signed = "{timestamp}.{body}", timestamp = "field:t" }"#,
            hmac(CALENDLY, "v1=", "{timestamp}.{body}", field(CALENDLY, "t"), None),
        ),
        (
            r#"{ hmac = "sha256", header = "Paddle-Signature", prefix = "h1=", signed = "{field:ts}:{body}", timestamp = "field:ts" }"#,
            hmac("Paddle-Signature", "h1=", "{field:ts}:{body}", field("Paddle-Signature", "ts"), None),
        ),
        (
            r#"{ hmac = "sha256", header = "X-Sig", prefix = "s=", signed = "{header:X-Info:at}.{body}", timestamp = "header:X-Info:at", delivery_id = "field:id" }"#,
            hmac("X-Sig", "s=", "{header:X-Info:at}.{body}", field("X-Info", "at"), Some(field("X-Sig", "id"))),
        ),
        (
            r#"{ hmac = "sha256", header = "X-Sig", signed = "{timestamp}.{body}", timestamp = "header:X-Time", delivery_id = "header:X-Id" }"#,
            hmac("X-Sig", "", "{timestamp}.{body}", HeaderPart::whole("X-Time"), Some(HeaderPart::whole("X-Id"))),
        ),
    ] {
        assert_eq!(loaded(written, PLAIN), Ok(expected), "{written}");
    }
    for (written, why) in [
        (r#"{ hmac = "sha256", header = "X-Sig", signed = "{timestamp}.{body}", timestamp = "t" }"#, "field:t"),
        (
            r#"{ hmac = "sha256", header = "X-Sig", signed = "{timestamp}.{body}", timestamp = "field:t" }"#,
            "prefix = \"v1=\"",
        ),
        (
            r#"{ hmac = "sha256", header = "X-Sig", prefix = "v1=", signed = "{timestamp}.{body}" }"#,
            "timestamp = \"field:t\"",
        ),
        (
            r#"{ hmac = "sha256", header = "X-Sig", prefix = "v1=", signed = "{body}", timestamp = "field:t" }"#,
            "anyone could change it",
        ),
    ] {
        let said = loaded(written, PLAIN).unwrap_err();
        assert!(said.contains(why), "{written}: {said}");
    }
}

/// As platforms show it, and as files and variables hold it; and what is taken all the same and worth a look.
#[test]
fn a_secret_is_taken_as_it_is_shown_and_what_is_odd_about_it_is_said() {
    let warned = |scheme: &str, secret: &str| {
        let config =
            load_with(&source(scheme, ""), &environment(&[("S", secret)])).unwrap_or_else(|why| panic!("{why}"));
        let texts: Vec<String> =
            config.warnings.iter().map(|warning| format!("{} {}", warning.message, warning.hint)).collect();
        assert!(!texts.join("\n").contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "no message shows a secret");
        texts.join("\n")
    };
    let standard = "\"standard-webhooks\"";
    for secret in [WHSEC.to_owned(), format!("v1,{WHSEC}"), format!("\"{WHSEC}\"\r\n"), format!(" {WHSEC} ")] {
        assert_eq!(warned(standard, &secret), "", "{secret:?}");
    }
    assert!(warned(standard, &format!("v1,{WHSEC}|v1,{WHSEC}")).contains("2 keys"));
    assert_eq!(warned("\"dub\"", "whsec_abc\n"), "", "a line break at the end is no part of it");
    assert!(warned("\"dub\"", "whsec_abc ").contains("white space"));
    assert!(warned("\"github\"", "'abc'").contains("quotation marks"));
    assert_eq!(warned("{ query = \"key\" }", "ab+cd/ef=="), "");
    assert!(warned("{ query = \"key\" }", "ab&cd").contains("write %26 for &"));
}

#[test]
fn every_scheme_of_the_language_is_read_as_it_is_written() {
    for (name, written, secret, expected) in table() {
        assert_eq!(loaded(written, secret), Ok(expected.clone()), "{written}");
        assert_eq!(expected.name(), name);
    }
}

#[test]
fn every_name_in_the_reference_configuration_is_in_the_table() {
    let start = "# scheme: ";
    let line = WHOLE_LANGUAGE.lines().find_map(|line| line.strip_prefix(start)).unwrap();
    let names: Vec<&str> = line.trim_end_matches('.').split(" | ").collect();
    assert!(names.len() >= 18, "{names:?}");
    let known: Vec<&str> = table().iter().map(|(name, ..)| *name).collect();
    for name in names {
        assert!(known.contains(&name), "{name} of the reference configuration is not tested");
    }
}

/// Bitly's three ways: a key in the URL, HTTP Basic in the URL (which clients send as a header), and OAuth2 client credentials,
/// whose token is a bearer token that does not change.
#[test]
fn bitly_may_prove_itself_in_any_of_its_ways() {
    assert_eq!(loaded("{ query = \"key\" }", "k"), Ok(Scheme::Query { key: "key".into() }));
    assert_eq!(loaded("\"basic\"", "user:password"), Ok(Scheme::Basic));
    assert_eq!(loaded("\"bearer\"", "token"), Ok(Scheme::Bearer));
}

#[test]
fn a_secret_that_does_not_fit_its_scheme_is_found_before_a_delivery_is_refused() {
    for (scheme, secret, why) in [
        ("\"standard-webhooks\"", "too-short", "base64"),
        ("\"basic\"", "no-colon", "user:password"),
        ("\"bearer\"", "two\nlines", "visible ASCII"),
    ] {
        let said = loaded(scheme, secret).unwrap_err();
        assert!(said.contains(why), "{scheme}: {said}");
        assert!(!said.contains(secret), "no message shows a secret: {said}");
    }
    let unsigned = "{ hmac = \"sha256\", header = \"X-S\", timestamp = \"header:X-Time\" }";
    assert!(loaded(unsigned, PLAIN).unwrap_err().contains("anyone could change it"));
}

#[test]
fn a_scheme_that_signs_its_url_needs_the_public_one() {
    let said = errors(&source("\"twilio\"", "")).join("\n");
    assert!(said.contains("public_url"), "{said}");
}

#[test]
fn binary_cloud_events_are_set_aside_where_a_signature_does_not_cover_their_attributes() {
    let unproven = |scheme: &str, secret: &str, more: &str| {
        let text = source(scheme, more).replace("adapter = \"canonical\"", "adapter = \"cloudevents\"");
        let config = load_with(&text, &environment(&[("S", secret)])).unwrap_or_else(|problems| panic!("{problems}"));
        config.source("s").unwrap().dialect.attributes_unproven
    };
    assert!(unproven("\"standard-webhooks\"", WHSEC, ""));
    assert!(!unproven("\"standard-webhooks\"", WHSEC, "unsigned_attributes = \"accept\"\n"));
    assert!(unproven("\"github\"", PLAIN, "unsigned_attributes = \"quarantine\"\n"));
    // A token says nothing about what comes with it, whether in the body or beside it.
    assert!(!unproven("\"bearer\"", "a-token", ""));
    let hmac = |signed: &str| {
        format!(r#"{{ hmac = "sha256", header = "X-Signature", encoding = "hex", signed = "{signed}" }}"#)
    };
    let most = r"{header:CE-ID}\n{header:ce-source}\n{header:ce-type}\n{body}";
    assert!(unproven(&hmac(most), PLAIN, ""), "the time is not signed");
    assert!(!unproven(&hmac(&format!(r"{{header:ce-time}}\n{most}")), PLAIN, ""));

    let elsewhere = errors(
        &source("\"github\"", "unsigned_attributes = \"accept\"\n").replace("env = \"S\"", "env = \"DUB_SECRET\""),
    );
    assert!(elsewhere.len() == 1 && elsewhere[0].contains("only CloudEvents"), "{elsewhere:?}");
}
