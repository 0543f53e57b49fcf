//! Another configuration while everything runs and is under load: taken by every service, or by none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::{House, Sender};
use tokio::runtime::Runtime;
use traffic::canonical::Generator;

use crate::alert_messages::Receiver;
use crate::alerts::{SECRET, wait_for};
use crate::harness::SOON;

const SECOND: &str = "whsec_c2Vjb25kLXNlY3JldC1vZi10aGUtc291cmNl";

/// What is configured now: the rest stays as it is.
#[derive(Clone, Default)]
struct Now<'a> {
    second_secret: bool,
    destination: Option<&'a str>,
    more: &'a str,
}

fn write(config: &Path, first: &str, now: &Now<'_>) {
    let secrets = match now.second_secret {
        true => r#"[{ id = "first", file = "first" }, { id = "second", file = "second" }]"#,
        false => r#"[{ id = "first", file = "first" }]"#,
    };
    let hook = |name: &str, url: &str| {
        format!(
            "[destination.{name}]\nkind = \"webhook\"\nowner = \"me\"\nurl = \"{url}\"\nsecret = {{ file = \"first\" }}\n\
             allow_private = true\n"
        )
    };
    let rules = match now.destination {
        Some(_) => {
            "[rule.added]\nowner = \"me\"\nwhen = { event = \"visit\", campaign = \"added\" }\nalert = { each = true }\n\
             send = { to = [\"second\"], first = \"now\", then_every = \"1s\" }\n\
             [rule.counts]\nowner = \"me\"\nwhen = { event = \"visit\", campaign = \"counted\" }\n\
             alert = { count = 3, per = \"campaign\", within = \"5s\" }\nsend = { to = [\"second\"], first = \"now\" }\n"
        }
        None => "",
    };
    let text = format!(
        "version = 1\ntimezone = \"UTC\"\n[owner]\nme = {{ name = \"Me\" }}\n[source.canonical]\nadapter = \"canonical\"\nowner = \"me\"\n\
         secrets = {secrets}\n{}{}\
         [rule.here]\nowner = \"me\"\nwhen = {{ event = \"visit\", campaign = \"here\" }}\nalert = {{ each = true }}\n\
         send = {{ to = [\"hook\"], first = \"now\", then_every = \"1s\" }}\n{rules}{}",
        hook("hook", first),
        now.destination.map(|url| hook("second", url)).unwrap_or_default(),
        now.more,
    );
    std::fs::write(config, text).unwrap();
}

async fn until_answered(sender: &Sender, body: &[u8]) -> u16 {
    loop {
        match sender.once(body).await.unwrap().0.as_u16() {
            503 => tokio::time::sleep(Duration::from_millis(200)).await,
            status => return status,
        }
    }
}

struct World {
    house: House,
    config: PathBuf,
    runtime: Runtime,
    generator: Arc<Mutex<Generator>>,
    accepted: Arc<AtomicU64>,
}

impl World {
    fn sender(&self, id: &str, secret: &str) -> Sender {
        let ingest = self.house.addresses.ingest.as_deref().unwrap();
        Sender::new(ingest, "canonical", Scheme::StandardWebhooks, Secret::new(id, secret)).unwrap()
    }

    /// Sends one visit of a person; the status. An event that is answered 503 is sent again, as platforms do.
    fn visit(&self, sender: &Sender, campaign: &str) -> u16 {
        let person = json!({ "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" });
        let patch = json!({ "type": "click", "campaign": campaign, "visitor": person });
        let body = self.generator.lock().unwrap().event_with(&patch);
        let status = self.runtime.block_on(until_answered(sender, &body));
        self.accepted.fetch_add(u64::from(status == 202), Ordering::SeqCst);
        status
    }

    /// `hookline reload`, until no service is late any more: a busy machine may need longer than the command waits.
    fn reload(&self, more: &[&str]) -> (Option<i32>, Value) {
        for _ in 0..4 {
            let (code, report) = self.hookline(&[&["reload", "--who", "ana"], more].concat());
            if report["instances"][0]["outcome"] != "late" {
                return (code, report);
            }
        }
        panic!("the services do not take the configuration")
    }

    /// How often a configuration was taken while everything ran.
    fn taken(&self) -> String {
        let metrics = self.metrics();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("hookline_config_loads_total{outcome=\"taken\"} "));
        line.unwrap().to_owned()
    }

    fn hookline(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = std::process::Command::new(testkit::house::binary().unwrap());
        let output = command.args(arguments).arg("--config").arg(&self.config).arg("--json").output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        assert!(!json.is_null(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), json)
    }

    fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.house.addresses.metrics.as_deref().unwrap());
        let client = testkit::http::client(SOON).unwrap();
        self.runtime.block_on(async { client.get(url).send().await.unwrap().text().await.unwrap() })
    }

    fn serves(&self, line: &str) -> bool {
        self.metrics().lines().any(|served| served == line)
    }

    /// The version in use.
    fn version(&self) -> String {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix("hookline_config_info{hash=\"")).unwrap();
        line.split('"').next().unwrap().to_owned()
    }
}

/// A report and a digest whose time came two minutes ago are sent as soon as they are configured, and not again.
fn a_report_is_sent_once_its_time_has_come(world: &World, receiver: &Receiver) {
    let due = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(120);
    let due = jiff::tz::TimeZone::UTC.to_datetime(due);
    let (at, weekday) = (due.strftime("%H:%M").to_string(), due.strftime("%A").to_string().to_lowercase());
    let day = due.date().yesterday().unwrap();
    let person = json!({ "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" });
    let patch =
        json!({ "type": "click", "time": format!("{day}T12:00:00Z"), "campaign": "reported", "visitor": person });
    let body = world.generator.lock().unwrap().event_with(&patch);
    assert_eq!(world.runtime.block_on(until_answered(&world.sender("first", SECRET), &body)), 202);
    world.accepted.fetch_add(1, Ordering::SeqCst);
    let asker = testkit::clickhouse::Asker::new(&world.house.addresses.clickhouse, "analyst", "").unwrap();
    let there = "SELECT sum(clicks) FROM hookline.campaign_channel_daily WHERE campaign = 'reported'";
    world.runtime.block_on(asker.until(there, 1, SOON)).unwrap();
    let more = format!(
        "[workflow]\nreceiver_owner = \"me\"\nfailures_owner = \"me\"\nfailures_digest = \"{weekday} {at}\"\n\
         failures_to = [\"hook\"]\n[rule.daily]\nowner = \"me\"\nwhen = {{ event = \"visit\", campaign = \"reported\" }}\n\
         report = {{ view = \"campaign_channel_daily\", every = \"day\", at = \"{at}\", to = [\"hook\"] }}\n"
    );
    write(&world.config, &receiver.url, &Now { second_secret: true, destination: Some(&receiver.url), more: &more });
    let (_, report) = world.reload(&[]);
    assert_eq!(report["instances"][0]["outcome"], "yes", "{report}");
    let reports = || {
        let got = receiver.got().into_iter().map(|(_, body, _)| body);
        got.filter(|body| body["type"] == "report").collect::<Vec<_>>()
    };
    wait_for("the report and the digest", || reports().len() == 2);
    let reports_are = reports();
    let daily = reports_are.iter().find(|body| body["rule"] == "daily").unwrap();
    assert_eq!(daily["title"], format!("campaign_channel_daily (campaign reported), {day}"));
    assert_eq!(daily["count"], 1, "{daily}");
    let csv = daily["attachment"]["csv"].as_str().unwrap();
    assert!(csv.lines().nth(1).unwrap().starts_with(&format!("\"{day}\",\"reported\"")), "{csv}");
    let failures = reports_are.iter().find(|body| body["rule"] == "workflow/failures").unwrap();
    assert!(failures["title"].as_str().unwrap().contains("none"), "{failures}");
    // Not again, after another load as well.
    let before = world.taken();
    world.house.program.signal("-HUP").unwrap();
    wait_for("SIGHUP is followed", || world.taken() != before);
    kafka::lane::pause("a report too many", Duration::from_secs(3));
    assert_eq!(reports().len(), 2);
}

#[test]
fn a_changed_configuration_is_taken_by_every_service_under_load_and_a_bad_one_changes_nothing() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("first"), SECRET).unwrap();
    std::fs::write(data.join("second"), SECOND).unwrap();
    let config = data.join("hookline.toml");
    write(&config, &first.url, &Now::default());
    let house = House::up(&data, &["--config", config.to_str().unwrap()]).unwrap();
    let (runtime, generator) = (Runtime::new().unwrap(), Arc::new(Mutex::new(Generator::new(5))));
    let world = World { house, config, runtime, generator, accepted: Arc::default() };
    let (with_first, with_second) = (world.sender("first", SECRET), world.sender("second", SECOND));
    let mut versions = BTreeSet::from([world.version()]);

    // Load, all the while.
    let over = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let (sender, over, generator) = (with_first.clone(), Arc::clone(&over), Arc::clone(&world.generator));
        let accepted = Arc::clone(&world.accepted);
        world.runtime.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let body = generator.lock().unwrap().visit();
                assert_eq!(until_answered(&sender, &body).await, 202, "under load");
                accepted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    assert_eq!(world.visit(&with_first, "here"), 202);
    wait_for("a message by the first configuration", || !first.got().is_empty());
    assert_eq!(world.visit(&with_second, "here"), 401, "that secret is not known yet");

    // A rule, a rule that counts, a destination and a secret more: by the command, for all.
    write(&world.config, &first.url, &Now { second_secret: true, destination: Some(&second.url), more: "" });
    let asked = Instant::now();
    let (code, report) = world.reload(&["--why", "a second team"]);
    println!("hookline reload, all services under load: {:?}", asked.elapsed());
    assert_eq!((code, &report["instances"][0]["outcome"]), (Some(0), &json!("yes")), "{report}");
    assert!(versions.insert(world.version()) && report["version"] == json!(world.version()), "{report}");
    assert_eq!(world.visit(&with_second, "added"), 202, "the new secret is taken at once");
    (0..4).for_each(|_| assert_eq!(world.visit(&with_first, "counted"), 202));
    let of =
        |receiver: &Receiver, rule: &str| receiver.got().iter().filter(|(_, body, _)| body["rule"] == rule).count();
    wait_for("a message of the new rule at the new destination", || of(&second, "added") == 1);
    wait_for("a message of the new rule that counts", || of(&second, "counts") == 1);

    // The destination is another one: by SIGHUP, for this process.
    write(&world.config, &first.url, &Now { second_secret: true, destination: Some(&first.url), more: "" });
    let before = world.taken();
    world.house.program.signal("-HUP").unwrap();
    wait_for("SIGHUP is followed", || world.taken() != before);
    assert!(versions.insert(world.version()));
    assert_eq!(world.visit(&with_second, "added"), 202);
    wait_for("the message goes to the other address", || of(&first, "added") == 1);
    assert_eq!(of(&second, "added"), 1);

    // Files with an error change nothing, and say so.
    let good = Now { second_secret: true, destination: Some(&first.url), more: "" };
    let wrong = "[rule.wrong]\nowner = \"unknown-team\"\nwhen = { event = \"visit\" }\nalert = { each = true }\n";
    write(&world.config, &first.url, &Now { more: wrong, ..good.clone() });
    let (code, report) = world.reload(&[]);
    assert_eq!((code, &report["version"]), (Some(2), &Value::Null), "{report}");
    assert!(report["errors"][0]["message"].as_str().unwrap().contains("unknown-team"), "{report}");
    world.house.program.signal("-HUP").unwrap();
    wait_for("the file is refused", || world.serves("hookline_config_refused 1"));
    assert!(world.house.program.log().contains("the configuration is not taken"), "the log says so");
    assert!(versions.contains(&world.version()));
    // What decides and cannot change is refused as a whole; what is read at the start is named.
    write(&world.config, &first.url, &Now { more: "[kafka]\nlanes = 9\n", ..good.clone() });
    let (code, report) = world.reload(&[]);
    assert_eq!((code, &report["instances"][0]["outcome"]), (Some(2), &json!("refused")), "{report}");
    assert!(world.house.program.log().contains("never changed in place"));
    write(&world.config, &first.url, &Now { more: "[ingest]\nmax_connections = 500\n", ..good });
    let (code, report) = world.reload(&[]);
    let instance = &report["instances"][0];
    let named = (&instance["outcome"], &instance["at_restart"]);
    assert_eq!((code, named), (Some(1), (&json!("yes"), &json!(["[ingest] max_connections"]))), "{report}");
    assert!(world.serves("hookline_config_refused 0"));
    let (_, history) = world.hookline(&["pause", "--history"]);
    assert!(history["changes"].as_array().unwrap().iter().any(|change| change["why"] == "a second team"), "{history}");

    a_report_is_sent_once_its_time_has_come(&world, &first);
    versions.insert(world.version());

    // Each event that was accepted is one row, by one of the configurations.
    over.store(true, Ordering::SeqCst);
    kafka::lane::pause("requests under way", Duration::from_secs(5));
    let accepted = world.accepted.load(Ordering::SeqCst);
    let asker = testkit::clickhouse::Asker::new(&world.house.addresses.clickhouse, "analyst", "").unwrap();
    world.runtime.block_on(async {
        asker.until("SELECT count() FROM hookline.records WHERE outcome = 'event'", accepted, SOON).await.unwrap();
        let others = "SELECT count() FROM hookline.records WHERE outcome NOT IN ('event', 'duplicate')";
        assert_eq!(asker.number(others).await.unwrap(), 0);
        let seen = asker.rows("SELECT DISTINCT config_version AS version FROM hookline.records").await.unwrap();
        let seen: BTreeSet<String> = seen.iter().map(|row| row["version"].as_str().unwrap().to_owned()).collect();
        assert!(seen.len() >= 3 && seen.is_subset(&versions), "{seen:?} of {versions:?}");
    });
    println!("{accepted} events under three configurations");
}
