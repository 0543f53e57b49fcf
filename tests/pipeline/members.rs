//! Instances that share their lanes by a group: some join, one is killed, one is stopped, and everything is counted
//! once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::house::Program;
use testkit::oracle::{settle, variables, verify};
use traffic::dub::Generator;

use crate::harness::{Running, SOON, configure, dub, until};

/// Lanes of this installation: fewer than instances of `process`.
const LANES: u64 = 3;
/// An instance that is not heard of for so long is taken for dead.
const TAKEOVER_AFTER: Duration = Duration::from_secs(6);
/// How long the lanes of a dead instance may have no owner: until it is taken for dead, and what a busy machine needs then.
const ORPHANED: Duration = Duration::from_secs(40);

/// One instance of a stage.
struct Instance {
    program: Program,
    service: &'static str,
    metrics: String,
    client: reqwest::Client,
}

impl Instance {
    /// How many lanes it runs, if it answers.
    async fn owned(&self) -> Option<u64> {
        let text = self.metrics().await?;
        let name = format!(r#"hookline_lanes_owned{{service="{}"}} "#, self.service);
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }

    async fn metrics(&self) -> Option<String> {
        self.client.get(format!("{}/metrics", self.metrics)).send().await.ok()?.text().await.ok()
    }

    async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.metrics)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn stop(mut self) {
        let status = self.program.stop(Duration::from_secs(15)).unwrap();
        assert!(status.success(), "{} ended with {status}", self.service);
    }
}

/// The instances of one installation.
struct Site<'r> {
    running: &'r Running,
    config: PathBuf,
}

impl Site<'_> {
    fn start(&self, service: &'static str, name: &str, more: &[&str]) -> Instance {
        let (folder, engines) = (self.running.folder.path(), &self.running.house.addresses);
        let (windows, lanes) = (folder.join(format!("windows-{name}")).display().to_string(), LANES.to_string());
        let takeover_after = format!("{}s", TAKEOVER_AFTER.as_secs());
        // The last value of a variable counts.
        let own = [
            ("HOOKLINE_KAFKA_LANES", lanes.as_str()),
            ("HOOKLINE_KAFKA_TAKEOVER_AFTER", takeover_after.as_str()),
            ("HOOKLINE_PROCESS_DATA", windows.as_str()),
        ];
        let variables = [&variables(engines)[..], &own].concat();
        let metrics = testkit::house::free_address().unwrap();
        let arguments = [&[service, "--config", self.config.to_str().unwrap(), "--metrics", &metrics], more].concat();
        let program = Program::start(name, folder, &arguments, &variables).unwrap();
        let client = testkit::http::client(SOON).unwrap();
        Instance { program, service, metrics: format!("http://{metrics}"), client }
    }

    fn join(&self, service: &'static str, name: &str) -> Instance {
        self.start(service, name, &["--join"])
    }
}

/// Waits until the instances run these numbers of lanes, in any order, and are ready; returns how long that took.
async fn shared(patience: Duration, instances: &[&Instance], mut expected: Vec<u64>) -> Duration {
    let begun = Instant::now();
    expected.sort_unstable();
    let what = format!("{} shares {expected:?}", instances[0].service);
    until(patience, &what, || async {
        let mut owned = Vec::new();
        for instance in instances {
            owned.push(instance.owned().await?);
            if !instance.is_ready().await {
                return None;
            }
        }
        owned.sort_unstable();
        (owned == expected).then_some(())
    })
    .await
    .unwrap();
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_come_go_and_die_share_their_lanes_and_count_everything_once() {
    let running = Running::engines();
    let folder = running.folder.path();
    let site = Site { running: &running, config: configure(folder, &[("dub", "dub", "dub")]) };
    let listen = testkit::house::free_address().unwrap();
    let ingest = site.start("ingest", "ingest", &["--listen", &listen]);
    let (a, mut b) = (site.join("process", "process-a"), site.join("process", "process-b"));
    let (mut report, detect) = (site.join("report", "report-a"), site.join("detect", "detect-a"));
    shared(SOON, &[&a, &b], vec![2, 1]).await;
    shared(SOON, &[&report], vec![LANES]).await;
    shared(SOON, &[&detect], vec![LANES]).await;
    until(SOON, "ingest takes", || async { ingest.is_ready().await.then_some(()) }).await.unwrap();

    assert!(a.metrics().await.unwrap().contains(r#"hookline_group_member{service="process"} 1"#));

    // A platform that sends all the while, each click until it is taken, and every tenth of them again.
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let sending = {
        let (stop, sent, sender) = (Arc::clone(&stop), Arc::clone(&sent), dub(&format!("http://{listen}"), folder));
        tokio::spawn(async move {
            let mut generator = Generator::new(21);
            while !stop.load(Ordering::Relaxed) {
                let mut clicks: Vec<_> = (0..20).map(|_| generator.click()).collect();
                let number = clicks.len() as u64;
                clicks.extend([generator.again(&clicks[3]), generator.again(&clicks[17])]);
                sender.deliver_all(clicks, 4).await.unwrap();
                sent.fetch_add(number, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };

    // More come: the lanes are shared anew, and one that gets none is ready all the same.
    let c = site.join("process", "process-c");
    let joined = shared(SOON, &[&a, &b, &c], vec![1, 1, 1]).await;
    let d = site.join("process", "process-d");
    shared(SOON, &[&a, &b, &c, &d], vec![1, 1, 1, 0]).await;

    // One dies, and one is told to stop.
    b.program.kill().unwrap();
    let killed = shared(ORPHANED, &[&a, &c, &d], vec![1, 1, 1]).await;
    a.stop();
    let stopped = shared(SOON, &[&c, &d], vec![2, 1]).await;

    // The same of report and detect; what runs once beside lane 0 moves with it.
    let other = site.join("report", "report-b");
    shared(SOON, &[&report, &other], vec![2, 1]).await;
    report.program.kill().unwrap();
    shared(ORPHANED, &[&other], vec![LANES]).await;
    let second = site.join("detect", "detect-b");
    shared(SOON, &[&detect, &second], vec![2, 1]).await;
    detect.stop();
    shared(SOON, &[&second], vec![LANES]).await;
    until(SOON, "the ledger is kept", || async {
        other.metrics().await?.contains("hookline_ledger_missing_records 0").then_some(())
    })
    .await
    .unwrap();

    stop.store(true, Ordering::Relaxed);
    sending.await.unwrap();
    let sent = sent.load(Ordering::Relaxed);
    let asker = running.asker();
    settle(&asker, sent, Duration::from_secs(120)).await.unwrap();
    verify(&asker, sent).await.unwrap();
    println!(
        "{sent} clicks; lanes had new owners {joined:?} after a join, {killed:?} after a kill, {stopped:?} after a stop"
    );
    for instance in [c, d, other, second, ingest] {
        instance.stop();
    }
}
