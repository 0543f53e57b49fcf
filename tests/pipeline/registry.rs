//! A schema registry over HTTP: a real one (Apicurio, by the interface that is like Confluent's), which others have used before us.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use event::wire::EVENTS;
use kafka::lane::read_all_committed;
use kafka::{Cluster, Topic};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::Sender;
use testkit::oracle::Fleet;
use traffic::canonical::Generator;

use crate::foreign::{Python, said};
use crate::harness::{ROOT, Running, SOON, configure, run, signal, until};

const VERSION: &str = "3.0.9";
const SHA256: &str = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43";

/// A registry of its own, in memory; it goes when this goes.
struct Apicurio {
    process: Child,
    /// Of the interface that is like Confluent's.
    url: String,
    client: reqwest::Client,
}

impl Apicurio {
    async fn start() -> Self {
        let folder = tokio::task::spawn_blocking(fetched).await.unwrap();
        let free: std::net::SocketAddr = testkit::house::free_address().unwrap().parse().unwrap();
        let process = Command::new("java")
            .args(["-Xmx256m", "-jar"])
            .arg(folder.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
            .envs([("QUARKUS_HTTP_HOST", "127.0.0.1"), ("QUARKUS_HTTP_PORT", &free.port().to_string())])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://{free}/apis/ccompat/v7");
        let this = Self { process, url, client: testkit::http::client(SOON).unwrap() };
        let up = async || {
            let answer = this.client.get(format!("{}/subjects", this.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        until(Duration::from_secs(120), "the registry answers", up).await.unwrap();
        this
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.url)).json(body);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    /// Somebody registers a record of this name with this field.
    async fn takes(&self, subject: &str, name: &str, field: &str) -> u64 {
        let schema = json!({
            "type": "record", "name": name, "namespace": "com.example",
            "fields": [{ "name": field, "type": "string" }],
        });
        let body = json!({ "schema": schema.to_string() });
        let taken = self.ask(reqwest::Method::POST, &format!("/subjects/{subject}/versions"), &body).await;
        taken["id"].as_u64().unwrap()
    }

    fn signal(&self, name: &str) {
        signal(self.process.id(), name).unwrap();
    }
}

impl Drop for Apicurio {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the registry lies; fetched once with Maven, checked by its sum.
fn fetched() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = named("HOOKLINE_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("hookline")))
        .unwrap_or_else(|| named("HOME").unwrap().join(".cache/hookline"));
    let folder = root.join(format!("apicurio-{VERSION}"));
    if folder.join("whole").exists() {
        return folder;
    }
    std::fs::create_dir_all(&root).unwrap();
    let making = tempfile::tempdir_in(&root).unwrap();
    let artifact = format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all");
    println!("fetching Apicurio Registry {VERSION} with Maven (108 MB, once)");
    let copy = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy";
    let out = format!("-DoutputDirectory={}", making.path().display());
    said(Command::new("mvn").args(["-B", "-q", copy, &artifact, &out]));
    let packed = making.path().join(format!("apicurio-registry-app-{VERSION}-all.tar.gz"));
    let sum = said(Command::new("sha256sum").arg(&packed));
    assert!(sum.starts_with(SHA256), "Maven's answer is refused: {sum} is not {SHA256}");
    said(Command::new("tar").arg("xzf").arg(&packed).arg("-C").arg(making.path()));
    std::fs::remove_file(&packed).unwrap();
    std::fs::write(making.path().join("whole"), "").unwrap();
    // Somebody else may have been faster; then what is there is as good.
    if std::fs::rename(making.path(), &folder).is_ok() {
        let _ = making.keep();
    }
    folder
}

/// The configuration of an installation, with a registry or without.
struct Configuration {
    base: String,
    path: PathBuf,
}

impl Configuration {
    fn of(running: &Running) -> Self {
        let path = configure(running.folder.path(), &[("canonical", "canonical", "standard-webhooks")]);
        let engines = &running.house.addresses;
        let base = format!(
            "{}[kafka]\nbrokers = \"{}\"\nlanes = 4\nreplication = 1\n[clickhouse]\nurl = \"{}\"\nuser = \"hookline\"\n",
            std::fs::read_to_string(&path).unwrap(),
            engines.kafka,
            engines.clickhouse
        );
        let this = Self { base, path };
        this.write("");
        this
    }

    fn write(&self, registry: &str) -> &Path {
        std::fs::write(&self.path, format!("{}{registry}", self.base)).unwrap();
        &self.path
    }

    /// Starts `process` by hand; it has to end by itself. Returns what it said.
    async fn process_ends(&self, registry: &str) -> String {
        let elsewhere = self.path.with_file_name("other.toml");
        std::fs::write(&elsewhere, format!("{}{registry}", self.base)).unwrap();
        let metrics = ["--metrics", "127.0.0.1:0"];
        let (code, said) =
            run(&[&["process", "--config", elsewhere.to_str().unwrap()], &metrics[..]].concat()).await.unwrap();
        assert_eq!(code, Some(2), "{said}");
        said
    }
}

/// The schema ids on `events`, each once, in the order of the number.
async fn ids_on_events(brokers: &str) -> BTreeSet<u32> {
    let cluster = Cluster::new(brokers);
    let read = move || {
        let mut ids = BTreeSet::new();
        for lane in 0..4 {
            read_all_committed::<Infallible>(&cluster, Topic::Events, lane, None, None, |record| {
                if let Some([0, a, b, c, d, ..]) = record.payload() {
                    ids.insert(u32::from_be_bytes([*a, *b, *c, *d]));
                }
                Ok(())
            })
            .unwrap();
        }
        ids
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_switched_on_under_way_and_its_absence_stops_nothing_that_runs() {
    let python = Python::with_clients();
    let (running, registry) = (Running::engines(), Apicurio::start().await);
    let configuration = Configuration::of(&running);
    let (folder, engines, asker) = (running.folder.path(), &running.house.addresses, running.asker());
    // Ids that ours have without a registry belong to somebody else here.
    for n in 0..6 {
        registry.takes(&format!("others-{n}"), "Other", &format!("field_{n}")).await;
    }
    let on = format!("[registry]\nurl = \"{}\"\n", registry.url);

    // Without a registry, as ever.
    let fleet = Fleet::start(folder, &configuration.path, engines, &["ingest", "process", "report"]).unwrap();
    let text = std::fs::read_to_string(folder.join("secrets/canonical")).unwrap();
    let sender = Sender::new(&fleet.ingest(), "canonical", Scheme::StandardWebhooks, Secret::new("first", text.trim()));
    let (sender, mut clicks) = (sender.unwrap(), Generator::new(3));
    let mut sent = 0;
    let mut send = async || {
        let bodies: Vec<_> = (0..20).map(|_| clicks.visit()).collect();
        sender.deliver_all(bodies, 4).await.unwrap();
        sent += 20;
        sent
    };
    let rows = async |number: u64| {
        let there = asker.until("SELECT count() FROM hookline.records", number, SOON).await;
        there.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    };
    rows(send().await).await;
    assert_eq!(ids_on_events(&engines.kafka).await, BTreeSet::from([EVENTS.id]));

    // It is only to be looked up, and does not have ours.
    let said = configuration.process_ends(&format!("{on}register = false\n")).await;
    assert!(said.contains("does not have schemas/link_event.1.avsc") && said.contains("register = true"), "{said}");

    // Switched on while it does not answer: process and report wait for it, and say so; ingest needs none.
    registry.signal("-STOP");
    configuration.write(&on);
    for service in ["ingest", "process", "report"] {
        fleet.kill(service).unwrap();
        fleet.restart(service).unwrap();
    }
    let waiting = send().await;
    let get = async |service: &str, path: &str| {
        let url = format!("{}{path}", fleet.metrics(service).unwrap());
        testkit::http::client(SOON).unwrap().get(url).send().await.ok()?.text().await.ok()
    };
    for service in ["process", "report"] {
        let says = async || get(service, "/readyz").await.filter(|text| text.contains("does not answer"));
        let states = until(SOON, "it says what it waits for", says).await.unwrap();
        assert!(states.contains("schema registry"), "{states}");
        assert!(get(service, "/metrics").await.unwrap().contains("hookline_registry_reached 0"));
        assert!(fleet.logs().contains("waiting for the schema registry"));
    }
    assert_eq!(asker.number("SELECT count() FROM hookline.records").await.unwrap(), waiting - 20);
    registry.signal("-CONT");
    rows(waiting).await;
    assert!(get("process", "/metrics").await.unwrap().contains("hookline_registry_reached 1"));

    // Our schemas are there now, under ids of its own, and held to what schemas/ is held to.
    let subject = format!("/subjects/{}", EVENTS.subject);
    let found = registry.ask(reqwest::Method::POST, &subject, &json!({ "schema": EVENTS.text })).await;
    let id = u32::try_from(found["id"].as_u64().unwrap()).unwrap();
    assert!(id > 6, "{found}");
    assert_eq!(ids_on_events(&engines.kafka).await, BTreeSet::from([EVENTS.id, id]));
    let rule = registry.client.get(format!("{}/config/{}", registry.url, EVENTS.subject)).send().await.unwrap();
    assert_eq!(rule.json::<Value>().await.unwrap()["compatibilityLevel"], "BACKWARD_TRANSITIVE");

    // Gone while they run: nothing happens.
    registry.signal("-STOP");
    rows(send().await).await;
    registry.signal("-CONT");

    // Whoever knows the registry and nothing else of ours reads every record.
    let (brokers, schemas) = (&engines.kafka, format!("{ROOT}/schemas"));
    let decoded = python.run("decode_events.py", &[brokers, &schemas, "hookline.events.v1", &registry.url]);
    assert_eq!(
        decoded.as_array().unwrap().len() as u64,
        asker.number("SELECT count() FROM hookline.records").await.unwrap()
    );
    let whole = "SELECT toUInt64(sum(missing) + sum(repeated)) FROM hookline.ledger";
    asker.until(whole, 0, SOON).await.unwrap();
    fleet.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_subject_somebody_else_has_taken_is_refused_in_words() {
    let (running, registry) = (Running::engines(), Apicurio::start().await);
    let configuration = Configuration::of(&running);
    registry.takes(EVENTS.subject, "SomethingElse", "a").await;
    let rule = json!({ "compatibility": "BACKWARD" });
    registry.ask(reqwest::Method::PUT, &format!("/config/{}", EVENTS.subject), &rule).await;
    let said = configuration.process_ends(&format!("[registry]\nurl = \"{}\"\n", registry.url)).await;
    assert!(said.contains("not compatible") && said.contains(EVENTS.subject), "{said}");

    // What answers there is no registry.
    let clickhouse = &running.house.addresses.clickhouse;
    let said = configuration.process_ends(&format!("[registry]\nurl = \"{clickhouse}\"\n")).await;
    assert!(said.contains("is no schema registry"), "{said}");
}
