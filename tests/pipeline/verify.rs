//! `hookline verify` as an operator uses it: a captured request, and the reason in words.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use signature::{Message, Scheme, Secret, Signer};
use tempfile::TempDir;

/// What no answer may show.
const SECRETS: [&str; 4] = [
    "whsec_0123456789abcdefDub",
    "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "the-partners-own-secret",
    "old-dub-secret",
];

/// A configuration with one source of each kind that is asked about.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [dub, standard, partner, old] = SECRETS;
        for (name, secret) in [
            ("dub", dub),
            ("standard", standard),
            ("partner", partner),
            ("old", old),
            ("dub-with-space", " old-dub-secret "),
        ] {
            std::fs::write(folder.path().join(name), secret).unwrap();
        }
        let config = r#"version = 1
[owner]
me = { name = "Me" }
[source.dub]
adapter = "dub"
owner = "me"
secrets = [{ id = "now", file = "dub" }, { id = "ended", file = "old", until = 2026-01-01 }]
[source.own]
adapter = "canonical"
owner = "me"
secrets = [{ id = "a", file = "standard" }]
[source.careless]
adapter = "canonical"
owner = "me"
scheme = "dub"
secrets = [{ id = "a", file = "dub-with-space" }]
[source.partner]
adapter = "canonical"
owner = "me"
scheme = { hmac = "sha256", header = "X-Partner-Signature", prefix = "v1=" }
secrets = [{ id = "a", file = "partner" }]
[source.sms]
adapter = "twilio"
owner = "me"
public_url = "https://public.example.com/v1/webhooks/sms"
secrets = [{ id = "a", file = "partner" }]
"#;
        std::fs::write(folder.path().join("hookline.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(testkit::house::binary().unwrap());
        command.arg("verify").arg("--config").arg(self.path().join("hookline.toml")).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in SECRETS {
            assert!(!said.contains(secret), "a secret is shown: {said}");
        }
        output
    }

    /// Captures a delivery in a file, and has it verified.
    fn verify(&self, captured: &[u8], more: &[&str]) -> (Option<i32>, Value) {
        let file = self.path().join("captured.http");
        std::fs::write(&file, captured).unwrap();
        let mut arguments = vec!["--json", "--request", file.to_str().unwrap()];
        arguments.extend(more);
        let output = self.run(&arguments);
        let answer = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        // What it says to a person says no more and no less.
        let people = self.run(&arguments[1..]);
        assert_eq!(people.status.code(), output.status.code());
        assert!(String::from_utf8_lossy(&people.stdout).contains("Next: "));
        (output.status.code(), answer)
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What a sender puts on the wire.
fn signed(source: &str, scheme: &Scheme, secret: &str, at: i64, body: &[u8]) -> Vec<u8> {
    let url = format!("https://hooks.example.com/v1/webhooks/{source}");
    let message =
        Message { method: "POST", url: &url, content_type: "application/json", id: "msg_1", timestamp: at, body };
    let signed = Signer::new(scheme, &Secret::new("sender", secret)).unwrap().sign(&message).unwrap();
    let path = signed.url.strip_prefix("https://hooks.example.com").unwrap();
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\n");
    for (name, value) in signed.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

fn kinds(answer: &Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

const BODY: &[u8] = br#"{"id":"evt_1","event":"link.clicked"}"#;

#[test]
fn an_authentic_delivery_is_called_so_with_the_secret_that_signed_it() {
    let desk = Desk::new();
    let (code, answer) = desk.verify(&signed("dub", &Scheme::Dub, SECRETS[0], now(), BODY), &[]);
    assert_eq!((code, &answer["ok"], &answer["secret_id"]), (Some(0), &json!(true), &json!("now")));
    assert_eq!((&answer["source"], &answer["verdict"]), (&json!("dub"), &json!("authentic")));
}

#[test]
fn a_capture_that_has_only_grown_old_is_told_so_and_judged_as_of_its_time() {
    let desk = Desk::new();
    let then = now() - 7_200;
    let captured = signed("own", &Scheme::StandardWebhooks, SECRETS[1], then, BODY);
    let (code, answer) = desk.verify(&captured, &[]);
    assert_eq!((code, kinds(&answer)), (Some(1), vec!["stale"]));
    assert!(answer["next"].as_str().unwrap().contains("--at"), "{answer}");
    // The time that it proposes is the right one.
    let proposed = answer["signed_at"].as_str().unwrap().to_owned();
    for at in [proposed.as_str(), &then.to_string()] {
        assert_eq!(desk.verify(&captured, &["--at", at]).0, Some(0), "{at}");
    }
    let early = (then - 7_200).to_string();
    assert_eq!(kinds(&desk.verify(&captured, &["--at", &early]).1), ["future"]);
}

#[test]
fn each_way_to_fail_is_named() {
    let desk = Desk::new();
    let authentic = signed("dub", &Scheme::Dub, SECRETS[0], now(), BODY);
    let text = String::from_utf8(authentic.clone()).unwrap();
    let pretty =
        text.replace(std::str::from_utf8(BODY).unwrap(), "{\n  \"id\": \"evt_1\",\n  \"event\": \"link.clicked\"\n}");
    let cases: Vec<(&str, Vec<u8>, Vec<&str>, &str)> = vec![
        (
            "a secret past its end",
            signed("dub", &Scheme::Dub, SECRETS[3], now(), BODY),
            vec!["no_match", "secret_not_live"],
            "whose end has passed",
        ),
        (
            "a secret with white space",
            signed("careless", &Scheme::Dub, SECRETS[3], now(), BODY),
            vec!["no_match", "secret_differs"],
            "white space",
        ),
        (
            "a line break at the end",
            [authentic.as_slice(), b"\n"].concat(),
            vec!["no_match", "body_differs"],
            "take the line break off",
        ),
        ("a pretty body", pretty.into_bytes(), vec!["no_match", "body_differs"], "white space out of the body's JSON"),
        (
            "another body",
            text.replace("evt_1", "evt_2").into_bytes(),
            vec!["no_match", "unexplained"],
            "nothing that was tried",
        ),
        (
            "another secret",
            signed("dub", &Scheme::Dub, "whsec_anothers", now(), BODY),
            vec!["no_match", "unexplained"],
            "compare the secret",
        ),
        (
            "another scheme",
            signed("dub", &Scheme::GitHub, SECRETS[0], now(), BODY),
            vec!["missing_header", "header_missing", "scheme_differs"],
            "under the scheme github",
        ),
        (
            "a stranger's scheme",
            signed("dub", &Scheme::Stripe, "whsec_anothers", now(), BODY),
            vec!["missing_header", "header_missing", "looks_like"],
            "form of the scheme stripe",
        ),
        (
            "another header",
            text.replace("/webhooks/dub", "/webhooks/partner").into_bytes(),
            vec!["missing_header", "header_missing", "looks_like"],
            "x-partner-signature is missing",
        ),
        (
            "another encoding",
            signed(
                "partner",
                &Scheme::Hmac(signature::HmacScheme {
                    algorithm: signature::Algorithm::Sha256,
                    header: "X-Partner-Signature".into(),
                    encoding: signature::Encoding::Base64,
                    prefix: "v1=".into(),
                    signed: "{body}".into(),
                    timestamp: None,
                    delivery_id: None,
                }),
                SECRETS[2],
                now(),
                BODY,
            ),
            vec!["malformed_header", "parameters_differ"],
            "encoding = \"base64\"",
        ),
    ];
    let other_host = (
        "another address than the configured one",
        signed("sms", &Scheme::Twilio, SECRETS[2], now(), b"[]"),
        vec!["no_match", "url_differs"],
        "for the URL https://hooks.example.com/v1/webhooks/sms: set public_url so",
    );
    for (what, captured, expected, says) in cases.into_iter().chain([other_host]) {
        let (code, answer) = desk.verify(&captured, &[]);
        assert_eq!((code, kinds(&answer)), (Some(1), expected), "{what}: {answer}");
        assert!(answer["findings"].to_string().contains(&says.replace('"', "\\\"")), "{what}: {answer}");
    }
}

#[test]
fn a_delivery_to_the_wrong_address_is_recognised() {
    let desk = Desk::new();
    let captured = signed("own", &Scheme::Dub, SECRETS[0], now(), BODY);
    let (code, answer) = desk.verify(&captured, &[]);
    assert_eq!((code, &answer["signed_as"]), (Some(1), &json!("dub")), "{answer}");
    assert!(answer["next"].as_str().unwrap().contains("/v1/webhooks/dub"));
    assert_eq!(desk.verify(&captured, &["--source", "dub"]).0, Some(0));
}

#[test]
fn a_request_may_be_given_in_pieces_or_as_a_har_file() {
    let desk = Desk::new();
    let captured = String::from_utf8(signed("dub", &Scheme::Dub, SECRETS[0], now(), BODY)).unwrap();
    let header = captured.lines().find(|line| line.starts_with("dub-signature")).unwrap();
    let body = desk.path().join("body");
    std::fs::write(&body, BODY).unwrap();
    let body = body.to_str().unwrap();
    let pieces = desk.run(&["--source", "dub", "--header", header, "--body", body]);
    assert_eq!(pieces.status.code(), Some(0), "{}", String::from_utf8_lossy(&pieces.stdout));

    let (name, value) = header.split_once(": ").unwrap();
    let har = json!({ "log": { "entries": [{ "request": {
        "method": "POST", "url": "https://hooks.example.com/v1/webhooks/dub",
        "headers": [{ "name": name, "value": value }], "postData": { "text": std::str::from_utf8(BODY).unwrap() },
    } }] } });
    assert_eq!(desk.verify(har.to_string().as_bytes(), &[]).0, Some(0));
}

#[test]
fn wrong_use_is_exit_code_2_and_says_what_to_do() {
    let desk = Desk::new();
    let file = desk.path().join("broken");
    std::fs::write(&file, "no request").unwrap();
    let broken = file.to_str().unwrap();
    for (arguments, says) in [
        (vec![], "--request"),
        (vec!["--request", "/nowhere"], "cannot be read"),
        (vec!["--request", broken, "--source", "dub"], "is not a captured request"),
        (vec!["--source", "dubb", "--header", "A: b"], "did you mean \"dub\""),
        (vec!["--header", "A: b"], "several sources"),
        (vec!["--source", "dub", "--header", "nonsense"], "Name: value"),
        (vec!["--source", "dub", "--header", "A: b", "--at", "noon"], "2026-11-25T18:00:00Z"),
    ] {
        let output = desk.run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}

/// What ingest refuses, verify explains: both are asked about the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn verify_agrees_with_a_running_ingest() {
    let running = crate::harness::Running::everything();
    let data = running.folder.path().join("data");
    let ingest = running.house.addresses.ingest.clone().unwrap();
    let secret = std::fs::read_to_string(data.join("secrets/dub")).unwrap();
    let client = testkit::http::client(Duration::from_secs(10)).unwrap();
    let config = data.join("hookline.toml");
    for (body, status, code) in [(BODY.to_vec(), 202, 0), ([BODY, b"\n"].concat(), 401, 1)] {
        let captured = signed("dub", &Scheme::Dub, secret.trim(), now(), BODY);
        let head = &captured[..captured.len() - BODY.len()];
        let text = String::from_utf8(head.to_vec()).unwrap();
        let header = text.lines().find_map(|line| line.strip_prefix("dub-signature: ")).unwrap().to_owned();
        let request = client.post(format!("{ingest}/v1/webhooks/dub?dry_run=1")).header("dub-signature", header);
        let answer = request.header("content-type", "application/json").body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);

        let file = data.join("captured.http");
        std::fs::write(&file, [head, &body].concat()).unwrap();
        let output = Command::new(testkit::house::binary().unwrap())
            .args(["verify", "--config", config.to_str().unwrap(), "--request", file.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
