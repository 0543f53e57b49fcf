//! No secret reaches a log line, an answer or a debug print, whatever a stranger or a configuration does.

use std::io::Write;
use std::sync::{Arc, Mutex};

use config::{Ingest as Http, Network};
use proptest::prelude::*;
use signature::{Algorithm, Encoding, HmacScheme, Scheme};
use tracing_subscriber::fmt::MakeWriter;

use super::door::{Door, source};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Log;
    fn make_writer(&'w self) -> Log {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn schemes() -> Vec<(Scheme, &'static str)> {
    let hmac = HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "x-signature".to_owned(),
        encoding: Encoding::Hex,
        prefix: String::new(),
        signed: "{body}".to_owned(),
        timestamp: None,
        delivery_id: None,
    };
    vec![
        (Scheme::Stripe, "stripe-signature"),
        (Scheme::GitHub, "x-hub-signature-256"),
        (Scheme::Shopify, "x-shopify-hmac-sha256"),
        (Scheme::Slack, "x-slack-signature"),
        (Scheme::Twilio, "x-twilio-signature"),
        (Scheme::Dub, "dub-signature"),
        (Scheme::Hookdeck, "x-hookdeck-signature"),
        (Scheme::Outpost, "x-outpost-signature"),
        (Scheme::Hmac(hmac), "x-signature"),
        (Scheme::Header { name: "x-secret".to_owned() }, "x-secret"),
        (Scheme::Bearer, "authorization"),
        (Scheme::Query { key: "key".to_owned() }, "x-nothing"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Each scheme, with a secret of its own; the secret stands nearly right and in the wrong places, as when somebody pastes it into
    /// the wrong field of a dashboard.
    #[test]
    fn nothing_that_is_said_holds_a_secret(secret in "[a-zA-Z0-9]{24}") {
        let (log, runtime) = (Log::default(), tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
        let said = tracing::subscriber::with_default(subscriber, || runtime.block_on(speak(&secret)));
        let logged = log.text();
        prop_assert!(logged.contains("answered 401"), "something is logged:\n{logged}");
        // What our own HTTP client says of itself is its affair.
        let ours = logged.lines().filter(|line| line.contains("ingest") || line.contains("kafka") || line.contains("signature"));
        for line in ours.chain(said.iter().map(String::as_str)) {
            prop_assert!(!line.contains(&secret), "{line}");
        }
    }
}

async fn speak(secret: &str) -> Vec<String> {
    let mut said = Vec::new();
    let sources: Vec<_> =
        schemes().into_iter().enumerate().map(|(n, (scheme, _))| source(&format!("s{n}"), scheme, secret)).collect();
    said.extend(sources.iter().map(|source| format!("{:?}", source.verifier)));
    let door = Door::open(sources, Http::default()).await;
    for (n, (_, header)) in schemes().into_iter().enumerate() {
        for value in [format!("{secret}x"), format!("Bearer {secret}x"), format!("t=1,v1={secret}"), String::new()] {
            for query in [format!("?key={secret}x"), format!("?token={secret}")] {
                let url = format!("http://{}/v1/webhooks/s{n}{query}", door.address);
                let request = door.client.post(url).header(header, &value).body(format!("{{\"secret\":\"{secret}\"}}"));
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 401, "s{n} {header}");
                said.push(format!("{:?}", answer.headers()));
                said.push(answer.text().await.unwrap());
            }
        }
    }
    said
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_is_logged_with_the_clients_address_and_the_receipt_and_sparingly() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let local: Network = "127.0.0.0/8".parse().unwrap();
    let door = Door::open(super::door::dubs(), Http { trusted_proxies: vec![local], ..Http::default() }).await;
    let mut receipt = String::new();
    for n in 0..20 {
        let answer = door.post("dub", b"{}", b"other", &[("x-forwarded-for", "10.9.9.9, 203.0.113.7")]).await;
        if n == 0 {
            receipt = answer.headers()["hookline-receipt"].to_str().unwrap().to_owned();
        }
    }
    let logged = log.text();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("answered 401")).collect();
    assert_eq!(lines.len(), 1, "{logged}");
    assert!(
        lines[0].contains("203.0.113.7") && lines[0].contains(&receipt) && receipt.starts_with("req_"),
        "{}",
        lines[0]
    );
}
