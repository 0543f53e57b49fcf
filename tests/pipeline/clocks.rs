//! Clocks that jump while everything runs: ingest's, the broker's, `process`'s. One at a time, ahead and back, by more than the window.

use std::collections::HashMap;
use std::path::Path;

use testkit::clock::Clock;
use testkit::oracle::every_offset_is_one_row;

use crate::harness::until;
use crate::installation::{Installation, PATIENCE, ROWS};

/// The window is three days.
const DAYS_4: i64 = 4 * 24 * 3_600;
const DUPLICATES: &str = "SELECT count() FROM hookline.records WHERE outcome = 'duplicate'";
const COUNTED_TWICE: &str =
    "SELECT count() FROM (SELECT event_key FROM hookline.events GROUP BY event_key HAVING count() > 1)";

/// An installation in which three clocks can be set.
struct Clocked {
    it: Installation,
    clocks: HashMap<String, Clock>,
    bodies: Vec<Vec<u8>>,
    rows: u64,
    duplicates: u64,
}

impl Clocked {
    async fn start() -> Self {
        let mut clocks = HashMap::new();
        let made = |folder: &Path| {
            // Of the engines Kafka alone.
            let clock = |(name, of): (&str, _)| (name.to_owned(), Clock::new(folder, name, of).unwrap());
            clocks = HashMap::from([("broker", Some("java")), ("ingest", None), ("process", None)].map(clock));
            clocks.clone()
        };
        let it = Installation::with(&["ingest", "process", "report"], "", made).await;
        Self { it, clocks, bodies: Vec::new(), rows: 0, duplicates: 0 }
    }

    fn set(&self, whose: &str, ahead: i64) {
        self.clocks[whose].set(ahead).unwrap();
    }

    /// Sends new clicks and then every click that was ever sent, and sees that only the new ones count.
    async fn sends_all_again(&mut self, when: &str) {
        let fresh: Vec<Vec<u8>> = (0..20).map(|_| self.it.clicks.click()).collect();
        self.delivers(fresh.clone()).await;
        self.bodies.extend(fresh);
        let again = self.bodies.clone();
        self.duplicates += again.len() as u64;
        self.delivers(again).await;
        let asker = self.it.asker();
        assert_eq!(asker.number(DUPLICATES).await.unwrap(), self.duplicates, "{when}\n{}", self.it.fleet.logs());
        assert_eq!(asker.number(COUNTED_TWICE).await.unwrap(), 0, "{when}");
    }

    async fn delivers(&mut self, bodies: Vec<Vec<u8>>) {
        self.rows += bodies.len() as u64;
        let sent = self.it.sender().deliver_all(bodies.clone(), 8).await;
        let sent = sent.unwrap_or_else(|error| panic!("{error:#}\n{}", self.it.fleet.logs()));
        assert_eq!(sent.accepted, bodies.len() as u64);
        self.it.rows(self.rows).await;
    }

    /// How often `process` has said that a clock is off.
    async fn told(&self, clock: &str) -> f64 {
        let url = format!("{}/metrics", self.it.fleet.metrics("process").unwrap());
        let name = format!("hookline_clock_disagreements_total{{clock=\"{clock}\"");
        let value = async || {
            let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
            text.lines().find(|line| line.starts_with(&name))?.rsplit_once(' ')?.1.parse().ok()
        };
        until(PATIENCE, &name, value).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clock_that_jumps_by_more_than_the_window_and_back_counts_nothing_twice_and_is_told() {
    let mut it = Clocked::start().await;
    it.sends_all_again("clocks are right").await;
    for (whose, ahead, told_as) in [
        ("ingest", DAYS_4, "ingest"),
        ("ingest", -DAYS_4, "ingest"),
        ("process", DAYS_4, "process"),
        ("process", -DAYS_4, "process"),
        ("broker", DAYS_4, "ingest"),
        ("broker", -DAYS_4, "ingest"),
    ] {
        let told = it.told(told_as).await;
        it.set(whose, ahead);
        it.sends_all_again(&format!("{whose}'s clock is {ahead} s off")).await;
        assert!(it.told(told_as).await > told, "nobody says that {whose}'s clock is {ahead} s off");
        // Its window on disk is lost under the wrong clock, and read back from `seen`.
        it.it.fleet.kill("process").unwrap();
        it.it.fleet.lose_windows("process").unwrap();
        it.it.fleet.restart("process").unwrap();
        it.sends_all_again(&format!("{whose}'s clock is {ahead} s off, and process has lost its window")).await;
        it.set(whose, 0);
        it.sends_all_again(&format!("{whose}'s clock was {ahead} s off")).await;
        if whose != "broker" {
            let elsewhere =
                "SELECT count() FROM hookline.records WHERE abs(dateDiff('second', received_at, now())) > 1200";
            assert_eq!(it.it.asker().number(elsewhere).await.unwrap(), 0, "{whose} {ahead}");
        }
    }
    let ahead = "SELECT count() FROM hookline.completeness WHERE complete_through > now() + INTERVAL 10 MINUTE";
    assert_eq!(it.it.asker().number(ahead).await.unwrap(), 0, "nothing is complete beyond today");
    let told = it.told("process").await;
    it.sends_all_again("all are right again").await;
    assert_eq!(it.told("process").await, told, "nobody complains of what is over");
    it.it.balances().await;
    every_offset_is_one_row(&it.it.asker()).await.unwrap();
    assert_eq!(it.it.asker().number(ROWS).await.unwrap(), it.rows);
}
