//! Mails, as a server that others wrote receives them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::{House, Sender};
use traffic::canonical::Generator;

use crate::alerts::{SECRET, wait_for};
use crate::foreign::Python;
use crate::harness::SOON;

/// `tests/clients/mail_server.py`, and what it took.
struct MailServer {
    child: Child,
    _input: ChildStdin,
    ports: Value,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    fn start(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let python = Python::with_clients();
        let mut command: Command =
            python.script("mail_server.py", &[certificate.to_str().unwrap(), key.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let mails: Arc<Mutex<Vec<Value>>> = Arc::default();
        let into = Arc::clone(&mails);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, _input: input, ports, mails }
    }

    /// The mails to one of those who get them, in order.
    fn to(&self, who: &str) -> Vec<Value> {
        let to = json!(format!("{who}@example.com"));
        let mails = self.mails.lock().unwrap();
        mails.iter().filter(|mail| mail["to"].as_array().unwrap().contains(&to)).cloned().collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It ends with its input; this one waits for nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Destinations by name: the listener, those who get the mail, and what else the section says.
const DESTINATIONS: [(&str, &str, &str, &str); 7] = [
    ("implicit", "tls", r#""team@example.com", "gone@example.com""#, LOGIN),
    ("starttls", "starttls", r#""start@example.com""#, LOGIN),
    ("slow", "plain", r#""later@example.com""#, PLAIN),
    ("cut", "plain", r#""cut@example.com""#, PLAIN),
    ("gone", "plain", r#""gone@example.com""#, PLAIN),
    (
        "stranger",
        "starttls",
        r#""wrong@example.com""#,
        "user = \"hookline\"\npassword = { file = \"wrong\" }\nca = \"cert.pem\"",
    ),
    ("distrust", "tls", r#""never@example.com""#, "user = \"hookline\"\npassword = { file = \"right\" }"),
];
const LOGIN: &str = "user = \"hookline\"\npassword = { file = \"right\" }\nca = \"cert.pem\"";
const PLAIN: &str = "tls = \"none\"";

fn configuration(folder: &Path, server: &MailServer) -> String {
    for (file, text) in [("secret", SECRET), ("right", "right"), ("wrong", "wrong")] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let mut text = "version = 1\n[owner]\nme = { name = \"Me\", email = \"me@example.com\" }\n\
        [source.canonical]\nadapter = \"canonical\"\nowner = \"me\"\nsecrets = [{ id = \"first\", file = \"secret\" }]\n"
        .to_owned();
    for (name, listener, to, more) in DESTINATIONS {
        let scheme = if listener == "tls" { "smtps" } else { "smtp" };
        let port = &server.ports[listener];
        text.push_str(&format!(
            "[destination.{name}]\nkind = \"smtp\"\nowner = \"me\"\nurl = \"{scheme}://localhost:{port}\"\n\
             from = \"hookline@example.com\"\nto = [{to}]\nallow_private = true\n{more}\n"
        ));
    }
    let all = DESTINATIONS.map(|(name, ..)| format!("{name:?}")).join(", ");
    text.push_str(&format!(
        "[rule.broken]\nowner = \"me\"\nwhen = {{ event = \"error\" }}\n\
         alert = {{ count = 3, per = \"link\", within = \"5s\" }}\n\
         send = {{ to = [{all}], first = \"now\", then_every = \"1s\", say_when_over = true }}\ndo = \"Fix it.\"\n"
    ));
    text
}

#[test]
fn mails_arrive_in_threads_and_each_refusal_is_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = MailServer::start(folder.path());
    let config = folder.path().join("hookline.toml");
    std::fs::write(&config, configuration(folder.path(), &server)).unwrap();
    let house = House::up(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.as_deref().unwrap();
    let sender = Sender::new(ingest, "canonical", Scheme::StandardWebhooks, Secret::new("first", SECRET)).unwrap();
    let (runtime, mut generator) = (tokio::runtime::Runtime::new().unwrap(), Generator::new(1));
    for _ in 0..4 {
        let event = generator.event_with(&json!({
            "type": "error", "link": { "id": "l_gone", "slug": "gone" },
            "error": { "kind": "destination_unavailable", "detail": "HTTP 503" },
            "visitor": { "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
        }));
        assert_eq!(runtime.block_on(sender.once(&event)).unwrap().0, 202);
    }
    // The beginning and the end, by TLS of either kind and without.
    wait_for("every mail", || ["team", "start", "later", "cut"].iter().all(|who| server.to(who).len() >= 2));
    for (who, tls) in [("team", true), ("start", true), ("later", false)] {
        let mails = server.to(who);
        let header = |place: usize, name: &str| mails[place]["headers"][name].clone();
        assert_eq!(mails.len(), 2, "{who}: {mails:?}");
        assert_eq!(mails[0]["defects"], json!([]));
        assert_eq!(mails[0]["from"], "hookline@example.com");
        assert_eq!((&mails[0]["tls"], &mails[0]["login"]), (&json!(tls), &json!(tls)), "{who}");
        let first = header(0, "Message-ID");
        assert!(first.as_str().unwrap().ends_with("@example.com>"), "{first}");
        assert_eq!((header(1, "In-Reply-To"), header(1, "References")), (first.clone(), first));
        assert_eq!(header(1, "Subject"), format!("Re: {}", header(0, "Subject").as_str().unwrap()));
        assert_eq!(header(0, "Auto-Submitted"), "auto-generated");
        assert_eq!(header(0, "List-Id"), "<broken.hookline.example.com>");
        assert!(mails[0]["text"].as_str().unwrap().contains("Do: Fix it."), "{}", mails[0]["text"]);
        assert!(mails[0]["html"].as_str().unwrap().contains("Fix it."));
        assert!(mails[1]["text"].as_str().unwrap().starts_with("broken: over"), "{}", mails[1]["text"]);
    }
    // A connection that broke after the mail was there: the same mail again, by its id.
    let cut = server.to("cut");
    assert_eq!(cut[0]["headers"]["Message-ID"], cut[1]["headers"]["Message-ID"]);
    for who in ["gone", "wrong", "never"] {
        assert!(server.to(who).is_empty(), "{who}");
    }

    // What became of each stands in ClickHouse, with the reason, and without the password.
    let asker = testkit::clickhouse::Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let query = "SELECT destination, stage, status, error, body FROM hookline.delivery_attempts \
        WHERE stage IN ('attempted', 'delivered', 'failed') ORDER BY at";
    let settled = "SELECT toUInt64(uniqExact(destination)) FROM hookline.delivery_attempts \
        WHERE stage IN ('attempted', 'delivered', 'failed')";
    runtime.block_on(asker.until(settled, DESTINATIONS.len() as u64, SOON)).unwrap();
    let rows = runtime.block_on(asker.rows(query)).unwrap();
    let of = |name: &str| rows.iter().find(|row| row["destination"] == name).unwrap();
    for (name, stage, status, words) in [
        ("implicit", "delivered", 250, ""),
        ("starttls", "delivered", 250, ""),
        ("slow", "attempted", 452, "452"),
        ("cut", "attempted", 0, "did not finish"),
        ("gone", "failed", 550, "rejected"),
        ("stranger", "attempted", 535, "535"),
        ("distrust", "attempted", 0, "certificate"),
    ] {
        let row = of(name);
        assert_eq!((&row["stage"], &row["status"]), (&json!(stage), &json!(status)), "{row}");
        assert!(row["error"].as_str().unwrap().contains(words), "{row}");
    }
    assert!(of("implicit")["body"].as_str().unwrap().ends_with("not taken for 1 of 2: 550"), "{}", of("implicit"));
    let metrics = runtime.block_on(async {
        let url = format!("{}/metrics", house.addresses.metrics.as_deref().unwrap());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    });
    assert!(metrics.contains("hookline_circuit_open{destination=\"stranger\"} 1"), "a wrong password refuses");
    kafka::lane::pause("a mail too many", Duration::from_millis(500));
    assert_eq!(server.to("team").len(), 2);
}
