//! `hookline erase`, killed with kill -9 at random moments as a process, and asked again: it goes on where it was, and
//! what it leaves is what an erasure leaves that was never cut.

use std::collections::HashMap;
use std::convert::Infallible;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kafka::lane::read_all_committed;
use kafka::{Cluster, Topic};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use testkit::oracle::every_offset_is_one_row;
use traffic::Platform;

use crate::harness::canonical;
use crate::installation::{Installation, PATIENCE, data};
use crate::tool::tool;

/// Events of Dub, and of the other source.
const EVENTS: usize = 1_500;
const OTHERS: usize = 400;
/// The other source's events that were days ago, on a day that is closed when it is erased from.
const OLD: usize = 60;
/// A rule that tells of each visit, so that there are alerts and texts of messages to be erased.
const RULE: &str = r#"
[rule.every-visit]
owner = "me"
when  = { event = "visit" }
alert = { each = true }
send  = { to = ["log"], first = "now", then_every = "1m" }
do    = "Nothing: it is a test."
"#;
const WORD: [&str; 5] = ["--apply", "--who", "ana", "--why", "request 7"];

/// What is erased: by which arguments, and which rows that are.
struct Target {
    what: Vec<String>,
    rows: String,
}

impl Target {
    fn new(what: &[&str], rows: &str) -> Self {
        Self { what: what.iter().map(|one| (*one).to_owned()).collect(), rows: format!("({rows})") }
    }

    fn command(&self) -> Vec<&str> {
        ["erase"].into_iter().chain(self.what.iter().map(String::as_str)).chain(WORD).collect()
    }
}

/// When a command is killed that takes `whole`: mostly while it erases, now and then while it waits for requests that
/// are under way, or begins.
fn moment(random: &mut StdRng, whole: Duration) -> Duration {
    let part = if random.random_bool(0.2) { random.random_range(0.0..0.5) } else { random.random_range(0.5..1.0) };
    whole.mul_f64(part)
}

/// What kills met.
#[derive(Debug, Default)]
struct Met {
    untouched: usize,
    between: usize,
    rows_gone: usize,
    ended_before: usize,
}

impl Installation {
    async fn text(&self, sql: &str) -> String {
        match self.asker().one(sql).await.unwrap() {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    async fn count(&self, sql: &str) -> u64 {
        self.asker().number(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    /// Events of both sources, of today and of a day that is closed by then; alerts of the visits, and messages about
    /// them. How many records that are.
    async fn filled(&mut self, old: Timestamp) -> u64 {
        let dub: Vec<_> = (0..EVENTS).map(|_| self.clicks.event()).collect();
        assert_eq!(self.sender().deliver_all(dub, 8).await.unwrap().accepted, EVENTS as u64);
        let at = |number: usize| match number < OLD {
            true => old,
            false => Timestamp::now(),
        };
        let visit = |number: usize| {
            let slug = ["shoes", "winter", "autumn"][number % 3];
            let visit = json!({
                "id": format!("visit-{number}"), "type": "click", "time": at(number).to_string(), "campaign": "2026q4-de-old",
                "link": { "id": format!("l_{slug}"), "domain": "go.acme.example", "slug": slug },
                "visitor": { "ip": format!("198.51.100.{}", number % 50), "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
            });
            visit.to_string().into_bytes()
        };
        let sent =
            canonical(&self.fleet.ingest(), &data(&self.folder)).deliver_all((0..OTHERS).map(visit), 8).await.unwrap();
        assert_eq!(sent.accepted, OTHERS as u64);
        let records = (EVENTS + OTHERS) as u64;
        self.rows(records).await;
        let old = old.to_string()[..10].to_owned();
        let visits = self
            .count("SELECT count() FROM hookline.events WHERE type IN ('click', 'qr_scan') AND counted = 'human'")
            .await;
        self.asker()
            .until(&format!("SELECT least(count(), {visits}) FROM hookline.alert_log"), visits, PATIENCE)
            .await
            .unwrap();
        let closed = format!(
            "SELECT toUInt64(uniqExact(report) > 0) FROM hookline.closed_days WHERE day = '{old}' AND report = 'campaign_channel_daily'"
        );
        self.asker().until(&closed, 1, PATIENCE).await.unwrap();
        let told =
            "SELECT toUInt64(count() > 0) FROM hookline.delivery_log WHERE body LIKE '%shoes%' AND stage = 'planned'";
        self.asker().until(told, 1, PATIENCE).await.unwrap();
        // A message that is held may still tell of what is erased, and an erasure is not done before.
        let held = "SELECT toUInt64(count() = 0) FROM (SELECT argMax(stage::String, (at, attempt)) AS last FROM hookline.delivery_log \
                    GROUP BY bundle_id, destination HAVING last = 'held')";
        self.asker().until(held, 1, PATIENCE).await.unwrap();
        // Nothing comes beside what is erased from here on.
        self.fleet.kill("notify").unwrap();
        self.fleet.kill("process").unwrap();
        let logs = "SELECT (SELECT count() FROM hookline.alert_log) + (SELECT count() FROM hookline.delivery_log)";
        let mut before = u64::MAX;
        loop {
            let now = self.count(logs).await;
            if now == before {
                return records;
            }
            before = now;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// The links that the topic `links` speaks of.
    async fn named(&self) -> Vec<String> {
        let cluster = Cluster::new(&self.up.addresses.kafka);
        let read = move || {
            let mut said = std::collections::BTreeMap::new();
            read_all_committed::<Infallible>(&cluster, Topic::Links, 0, None, None, |record| {
                let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
                said.insert(key, record.payload().is_some());
                Ok(())
            })
            .unwrap();
            said.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// Starts a command and kills it after a while. Whether it was killed, and had not ended before.
    async fn cut(&self, command: &[&str], after: Duration) -> bool {
        let mut program = tokio::process::Command::new(testkit::house::binary().unwrap());
        program.args(command).arg("--config").arg(self.config()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = program.kill_on_drop(true).spawn().unwrap();
        tokio::select! {
            ended = child.wait() => {
                let code = ended.unwrap().code();
                assert!(code.is_some_and(|code| code < 2), "{command:?} ended with {code:?}");
                false
            }
            () = tokio::time::sleep(after) => {
                child.kill().await.unwrap();
                true
            }
        }
    }

    /// Kills the command about a target so often, or until it is done before it is killed; then lets it end. How long
    /// that took.
    async fn erased(
        &self,
        target: &Target,
        cuts: usize,
        whole: Duration,
        random: &mut StdRng,
        met: &mut Met,
    ) -> Duration {
        let rest = format!("SELECT count() FROM hookline.records WHERE {}", target.rows);
        let stubs = "SELECT count() FROM hookline.records WHERE outcome = 'erased'";
        let (rows, before) = (self.count(&rest).await, self.count(stubs).await);
        assert!(rows > 0, "{rest}");
        let look: Vec<&str> = ["erase"].into_iter().chain(target.what.iter().map(String::as_str)).collect();
        let look = self.does(&look).await;
        for _ in 0..cuts {
            if !self.cut(&target.command(), moment(random, whole)).await {
                met.ended_before += 1;
                break;
            }
            match (self.count(&rest).await, self.count(stubs).await - before) {
                (_, 0) => met.untouched += 1,
                (0, _) => met.rows_gone += 1,
                _ => met.between += 1,
            }
        }
        let begun = Instant::now();
        let (code, done) = tool(&self.config(), &target.command()).await.unwrap();
        let took = begun.elapsed();
        assert!(code < 2, "{done}");
        let one = &done["erasures"][0];
        assert!(one["done_at"].is_string() && resting(one) == 0, "{done}");
        assert_eq!(one["sent"], look["erasures"][0]["sent"], "{done}");
        assert_eq!((&one["records"], self.count(stubs).await - before), (&Value::from(rows), rows), "{done}");
        println!("{:?}: {rows} records; the last run took {took:.1?}", target.what);
        took
    }
}

/// How many rows rest of an erasure, as it says.
fn resting(erasure: &Value) -> u64 {
    erasure["after"].as_array().unwrap().iter().map(|rest| rest["rows"].as_u64().unwrap()).sum()
}

/// How many rows a query has, and a hash of all of them in any order.
fn fingerprint(rows: &str) -> String {
    format!(
        "SELECT concat(toString(count()), ' rows ', toString(groupBitXor(cityHash64(toString(tuple(*)))))) FROM ({rows})"
    )
}

fn from_environment(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: the command is in docs/reliability.md"]
async fn an_erasure_that_is_killed_at_random_moments_is_finished_by_the_same_command() {
    let services = ["ingest", "process", "report", "notify"];
    let mut it = Installation::with(&services, RULE, |_| HashMap::new()).await;
    let old = Timestamp::now() - SignedDuration::from_hours(72);
    let records = it.filled(old).await;
    let old = old.to_string()[..10].to_owned();
    let visitor = "SELECT concat(toString(visitor), ' ', toString(toDate(event_time))) FROM hookline.records \
                   WHERE source = 'dub' AND visitor != 0 AND link_id NOT IN ('link_help', 'link_shoes', 'link_black') \
                   GROUP BY visitor, toDate(event_time) ORDER BY count() DESC, visitor LIMIT 1";
    let visitor = it.text(visitor).await;
    let (visitor, day) = visitor.split_once(' ').unwrap();
    let of_visitor = format!("visitor = {visitor} AND toDate(event_time) = '{day}'");
    let targets = [
        // The first is not cut: how long does it take?
        Target::new(&["--link", "link_help"], "link_id = 'link_help'"),
        Target::new(&["--link", "go.acme.example/shoes"], "domain = 'go.acme.example' AND slug = 'shoes'"),
        Target::new(&["--link", "link_black"], "link_id = 'link_black'"),
        Target::new(&["--visitor", visitor, "--day", day], &of_visitor),
        Target::new(&["--source", "canonical"], "source = 'canonical'"),
    ];
    let erased: Vec<&str> = targets.iter().map(|target| target.rows.as_str()).collect();
    let erased = erased.join(" OR ");
    let all = it.count(&format!("SELECT count() FROM hookline.records WHERE {erased}")).await;
    let others = format!("SELECT * FROM hookline.records WHERE outcome != 'erased' AND NOT ({erased})");
    let kept = format!("SELECT alert_id FROM hookline.alert_log WHERE sample IN (SELECT event_key FROM ({others}))");
    let (of_others, of_kept) = (it.text(&fingerprint(&others)).await, it.text(&fingerprint(&kept)).await);
    let names = it.named().await;
    let speaks_of = |names: &[String], words: &[&str]| {
        words.iter().filter(|word| names.iter().any(|name| name.contains(**word))).count()
    };
    assert_eq!(speaks_of(&names, &["shoes", "black", "spring"]), 3, "{names:?}");

    let begun = Instant::now();
    let (mut random, mut met) =
        (StdRng::seed_from_u64(from_environment("HOOKLINE_TEST_SEED", 7) as u64), Met::default());
    let whole = it.erased(&targets[0], 0, Duration::ZERO, &mut random, &mut met).await;
    let cuts = from_environment("HOOKLINE_TEST_ERASE_KILLS", 12).div_ceil(targets.len() - 1);
    for target in &targets[1..] {
        it.erased(target, cuts, whole, &mut random, &mut met).await;
    }
    println!("uncut it takes {whole:.1?}; kills met {met:?}; {:.1?} in all", begun.elapsed());

    // All of it once more: each was noted once, and nothing rests of any.
    let (code, again) = tool(&it.config(), &[&["erase", "--again"][..], &WORD].concat()).await.unwrap();
    let erasures = again["erasures"].as_array().unwrap();
    assert!(code < 2 && erasures.len() == targets.len(), "{again}");
    assert!(erasures.iter().all(|one| resting(one) == 0 && one["done_at"].is_string()), "{again}");
    assert_eq!(again["unfinished_mutations"], 0, "{again}");
    for database in ["hookline", "hookline_test"] {
        assert_eq!(it.count(&format!("SELECT count() FROM {database}.records WHERE {erased}")).await, 0);
    }
    let bundles = "SELECT count() FROM hookline.delivery_log WHERE body LIKE '%shoes%' OR body LIKE '%blackfriday%' OR `group` LIKE '%shoes%'";
    assert_eq!(it.count(bundles).await, 0, "texts of messages");
    let names = it.named().await;
    assert_eq!(speaks_of(&names, &["shoes", "black", "help"]), 0, "{names:?}");
    assert_eq!(speaks_of(&names, &["spring"]), 1, "{names:?}");

    // Nothing of others has gone, and nothing stands twice.
    assert_eq!(it.text(&fingerprint(&others)).await, of_others);
    let alerts = "SELECT alert_id FROM hookline.alert_log WHERE attributes['erasure'] = ''";
    assert_eq!(it.text(&fingerprint(alerts)).await, of_kept);
    assert_eq!(it.count("SELECT count() FROM hookline.records WHERE outcome = 'erased'").await, all);
    assert_eq!(it.count("SELECT count() FROM hookline.records").await, records);
    every_offset_is_one_row(&it.asker()).await.unwrap();
    it.fleet.restart("process").unwrap();
    it.balances().await;
    // Closed days say what their rows say.
    it.does(&["rebuild", "--day", &old]).await;
    assert!(met.between + met.rows_gone > 0, "no kill met it while it erased: {met:?}");
}
