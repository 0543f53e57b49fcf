//! What is done to a running installation, in an order of chance that a seed repeats.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::availability::Availability;
use super::cuts::Cuts;
use super::engines::{Engine, Engines};
use super::fleet::Fleet;
use crate::clickhouse::Asker;

mod engines;
mod kinds;

pub use kinds::Blow;

/// Blocks count as certain five minutes after a takeover of their lane. So that engines are killed under certain blocks
/// too, some rounds in a row (these, of every eight) leave `report` alone.
const SPARED: std::ops::Range<usize> = 3..6;

/// An instance that was sent SIGSTOP.
struct Sleeper {
    name: String,
    wakes: Instant,
    /// The instance that has its lanes meanwhile.
    rival: Option<String>,
}

/// Two instances with the same lanes, of which one will be killed.
struct Duel {
    between: [String; 2],
    ends: Instant,
}

/// What has been done so far.
#[derive(Debug, Default, Clone)]
pub struct Done {
    /// Processes that were ended by kill -9.
    pub kills: u32,
    /// Processes that were stopped by SIGSTOP and went on.
    pub pauses: u32,
    /// Instances that ended by themselves, as a supervisor of services sees it, and were started again.
    pub ended: u32,
    /// kill -9 and SIGSTOP of engines, of those above.
    pub engine_blows: u32,
    /// How often each blow was dealt.
    pub blows: std::collections::BTreeMap<Blow, u32>,
}

/// Deals blows.
pub(crate) struct Hand<'a> {
    fleet: &'a Fleet,
    engines: &'a Engines,
    /// ClickHouse, as somebody who sees all queries that run.
    owner: Asker,
    random: StdRng,
    say: &'a (dyn Fn(&str) + Send + Sync),
    deck: Vec<Blow>,
    round: Vec<(Blow, usize)>,
    rounds: usize,
    sleepers: Vec<Sleeper>,
    duels: Vec<Duel>,
    engine_wakes: Option<(Engine, Instant)>,
    /// How long the stages take after a blow; without it nobody asks.
    availability: Option<&'a Availability>,
    /// The network of the brokers.
    cuts: Option<&'a Cuts>,
    /// Engines that were killed since that was last asked, and the process ids that they had.
    killed_engines: Vec<(Engine, Option<u32>)>,
    done: Done,
}

impl<'a> Hand<'a> {
    pub(crate) fn new(
        fleet: &'a Fleet,
        engines: &'a Engines,
        owner: Asker,
        round: Vec<(Blow, usize)>,
        seed: u64,
        say: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Self {
        Self {
            fleet,
            engines,
            owner,
            random: StdRng::seed_from_u64(seed),
            say,
            deck: Vec::new(),
            round,
            rounds: 0,
            sleepers: Vec::new(),
            duels: Vec::new(),
            engine_wakes: None,
            availability: None,
            cuts: None,
            killed_engines: Vec::new(),
            done: Done::default(),
        }
    }

    /// From now on each blow at an engine is followed by the question when every stage moves again.
    pub(crate) fn timed_by(mut self, availability: Option<&'a Availability>) -> Self {
        self.availability = availability;
        self
    }

    /// The network that faults happen to, in the order in which they are given.
    pub(crate) fn cutting(mut self, cuts: Option<&'a Cuts>) -> Self {
        self.cuts = cuts;
        self
    }

    /// What has been done so far.
    pub(crate) fn done(&self) -> &Done {
        &self.done
    }

    /// Whether the current round is over.
    pub(crate) fn is_round_over(&self) -> bool {
        self.deck.is_empty()
    }

    /// Waits a moment, then deals the next blow.
    pub(crate) async fn next(&mut self) -> anyhow::Result<()> {
        let gap = self.between(200, 1_800);
        self.wait(gap).await?;
        if self.deck.is_empty() {
            self.deck = self.round.iter().flat_map(|(blow, times)| std::iter::repeat_n(*blow, *times)).collect();
            match self.cuts {
                None => self.deck.shuffle(&mut self.random),
                Some(_) => self.deck.reverse(),
            }
            self.rounds += 1;
        }
        let Some(blow) = self.deck.pop() else { return Ok(()) };
        *self.done.blows.entry(blow).or_default() += 1;
        match blow {
            Blow::Kill => self.kill_one().await,
            Blow::KillTwice => self.kill_twice().await,
            Blow::LoseWindows => self.lose_windows().await,
            Blow::Kafka => {
                let broker = self.broker()?;
                self.kill_engine(broker, "").await?;
                self.recovers(true).await
            }
            Blow::BrokersInRow => self.kill_in_row().await,
            Blow::PauseBroker => self.pause_broker().await,
            Blow::ClickHouse => {
                self.kill_engine(Engine::ClickHouse, "").await?;
                self.recovers(true).await
            }
            Blow::BothEngines => {
                self.kill_both().await?;
                self.recovers(false).await
            }
            Blow::EngineTwice => {
                self.kill_engine_twice().await?;
                self.recovers(false).await
            }
            Blow::InsideInsert => self.inside_insert().await,
            Blow::InsideCommit => self.inside_commit().await,
            Blow::Pause => self.pause(false),
            Blow::TwoOwners => self.pause(true),
            Blow::PauseEngine => self.pause_engine().await,
            Blow::Scale => self.scale().await,
            Blow::Cut(fault) => self.cut(fault).await,
            Blow::Calm => {
                let calm = self.between(8_000, 16_000);
                self.said("nothing for a while");
                self.wait(calm).await
            }
        }
    }

    /// Lets everybody go on and everything be as it was: every instance runs, no lane has two owners.
    pub(crate) async fn rest(&mut self) -> anyhow::Result<()> {
        while !self.sleepers.is_empty() || !self.duels.is_empty() || self.engine_wakes.is_some() {
            self.wait(Duration::from_millis(200)).await?;
        }
        for engine in self.engines.all() {
            self.engines.settled(engine).await?;
        }
        self.look_after()
    }

    /// Waits, and does meanwhile what is due.
    pub(crate) async fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            self.due()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        }
    }

    fn due(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if let Some((engine, _)) = self.engine_wakes.take_if(|(_, wakes)| *wakes <= now) {
            self.engines.signal(engine, "-CONT")?;
            self.said(&format!("SIGCONT {}", engine.name()));
        }
        for sleeper in self.sleepers.extract_if(.., |sleeper| sleeper.wakes <= now).collect::<Vec<_>>() {
            self.fleet.wake(&sleeper.name)?;
            self.done.pauses += 1;
            match sleeper.rival {
                None => self.said(&format!("SIGCONT {}", sleeper.name)),
                Some(rival) => {
                    self.said(&format!("SIGCONT {}: it and {rival} are two owners", sleeper.name));
                    let ends = now + self.between(1_000, 9_000);
                    self.duels.push(Duel { between: [sleeper.name, rival], ends });
                }
            }
        }
        for Duel { mut between, .. } in self.duels.extract_if(.., |duel| duel.ends <= now).collect::<Vec<_>>() {
            between.shuffle(&mut self.random);
            let [loser, winner] = between;
            self.fleet.remove(&loser)?;
            self.killed(1, &format!("kill -9 {loser}; {winner} stays"));
        }
        self.look_after()
    }

    /// One broker of all, by chance.
    fn broker(&mut self) -> anyhow::Result<Engine> {
        self.engines.brokers().choose(&mut self.random).copied().context("Kafka has a broker")
    }

    /// Starts again what has ended by itself, as whatever supervises services does.
    fn look_after(&mut self) -> anyhow::Result<()> {
        for name in self.fleet.ended()? {
            self.done.ended += 1;
            self.said(&format!("{name} ended by itself; started again"));
            self.fleet.kill(&name)?;
            self.fleet.restart(&name)?;
        }
        Ok(())
    }

    async fn kill_one(&mut self) -> anyhow::Result<()> {
        let Some(name) = self.victim(&[]) else { return Ok(()) };
        self.fleet.kill(&name)?;
        self.killed(1, &format!("kill -9 {name}"));
        let down = self.between(0, 1_500);
        self.wait(down).await?;
        self.fleet.restart(&name)
    }

    async fn kill_twice(&mut self) -> anyhow::Result<()> {
        let Some(name) = self.victim(&[]) else { return Ok(()) };
        self.fleet.kill(&name)?;
        self.fleet.restart(&name)?;
        let started = self.between(50, 1_500);
        self.wait(started).await?;
        self.fleet.kill(&name)?;
        self.killed(2, &format!("kill -9 {name}, and again {} ms after its start", started.as_millis()));
        self.fleet.restart(&name)
    }

    async fn lose_windows(&mut self) -> anyhow::Result<()> {
        // The folder is shared by all instances that are not elsewhere: all of them are down when it goes.
        let all: Vec<String> = self.fleet.names().into_iter().filter(|name| name.starts_with("process")).collect();
        let busy = all.iter().any(|name| self.is_busy(name));
        if busy {
            return self.kill_one().await;
        }
        for name in &all {
            self.fleet.kill(name)?;
        }
        for name in &all {
            self.fleet.lose_windows(name)?;
        }
        self.killed(u32::try_from(all.len())?, &format!("kill -9 {}; their windows are lost", all.join(" and ")));
        for name in &all {
            self.fleet.restart(name)?;
        }
        Ok(())
    }

    async fn inside_insert(&mut self) -> anyhow::Result<()> {
        self.ready_to_die(Engine::ClickHouse).await?;
        let report = self.victim(&["report"]).filter(|_| !self.spares_report());
        let caught = self.insert_runs().await;
        let moment = self.between(0, 12);
        tokio::time::sleep(moment).await;
        let when = if caught { "inside an insert" } else { "between inserts" };
        match (self.random.random_range(0..4), report) {
            (0, Some(report)) => {
                self.fleet.kill(&report)?;
                self.killed(1, &format!("kill -9 {report} {when}"));
                self.fleet.restart(&report)
            }
            (1, Some(report)) => {
                self.kill_now(Engine::ClickHouse)?;
                self.fleet.kill(&report)?;
                self.killed(2, &format!("kill -9 ClickHouse and {report} {when}"));
                self.fleet.restart(&report)
            }
            _ => {
                self.kill_now(Engine::ClickHouse)?;
                self.killed(1, &format!("kill -9 ClickHouse {when}"));
                Ok(())
            }
        }
    }

    /// Waits until ClickHouse carries an insert of rows out.
    async fn insert_runs(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(8);
        let running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND query LIKE '%records%'";
        while Instant::now() < until {
            if self.owner.number(running).await.is_ok_and(|inserts| inserts > 0) {
                return true;
            }
        }
        false
    }

    async fn inside_commit(&mut self) -> anyhow::Result<()> {
        let broker = self.broker()?;
        self.ready_to_die(broker).await?;
        let Some(process) = self.victim(&["process"]) else { return self.kill_engine(broker, "").await };
        let caught = self.commits(&process).await?;
        // Transactions follow each other every 100 to 200 ms, on each lane.
        let moment = self.between(0, 150);
        tokio::time::sleep(moment).await;
        let when = match caught {
            true => format!("{} ms after a commit", moment.as_millis()),
            false => "between commits".to_owned(),
        };
        if self.random.random_range(0..3) == 0 {
            self.fleet.kill(&process)?;
            self.killed(1, &format!("kill -9 {process} {when}"));
            return self.fleet.restart(&process);
        }
        self.kill_now(broker)?;
        self.killed(1, &format!("kill -9 {} {when}", broker.name()));
        Ok(())
    }

    /// Waits until an instance of `process` says that it has committed one more transaction.
    async fn commits(&self, process: &str) -> anyhow::Result<bool> {
        let address = self.fleet.metrics(process).context("process serves metrics")?;
        let client = crate::http::client(Duration::from_secs(1))?;
        let until = Instant::now() + Duration::from_secs(8);
        let mut before = None;
        while Instant::now() < until {
            let Ok(answer) = client.get(format!("{address}/metrics")).send().await else { continue };
            let text = answer.text().await.unwrap_or_default();
            let count =
                text.lines().find(|line| line.starts_with("hookline_transaction_seconds_count")).map(str::to_owned);
            if before.is_some() && count.is_some() && count != before {
                return Ok(true);
            }
            before = count;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(false)
    }

    /// Stops an instance for longer than its transactions and proofs live; with a rival, somebody takes its lanes.
    fn pause(&mut self, with_rival: bool) -> anyhow::Result<()> {
        let services: &[&str] =
            if with_rival { &["process", "report", "process", "report", "detect", "notify"] } else { &[] };
        let chosen = services.choose(&mut self.random).map(|service| [*service]);
        let Some(name) = self.victim(chosen.as_ref().map_or(&[][..], |one| one)) else { return Ok(()) };
        self.fleet.stop_clock(&name)?;
        let sleep = self.between(11_000, 24_000);
        let mut words = format!("SIGSTOP {name} for {:.1} s", sleep.as_secs_f64());
        let rival = match with_rival {
            true => {
                let (what, _) = name.split_once(" #").unwrap_or((&name, ""));
                let rival = self.fleet.add(what, self.random.random())?;
                words += &format!("; {rival} takes its lanes");
                Some(rival)
            }
            false => None,
        };
        self.said(&words);
        self.sleepers.push(Sleeper { name, wakes: Instant::now() + sleep, rival });
        Ok(())
    }

    async fn scale(&mut self) -> anyhow::Result<()> {
        let service = *["process", "report"].choose(&mut self.random).context("one of two")?;
        let all: Vec<String> = self.fleet.names().into_iter().filter(|name| name.starts_with(service)).collect();
        if all.iter().any(|name| self.is_busy(name)) || (service == "report" && self.spares_report()) {
            return self.kill_one().await;
        }
        let halves = [format!("{service} 1/2"), format!("{service} 2/2")];
        let shares = if all.len() == 1 { halves.to_vec() } else { vec![format!("{service} 1/1")] };
        // Old and new ones have the same lanes for a while.
        let added = shares.iter().map(|share| self.fleet.add(share, false)).collect::<anyhow::Result<Vec<_>>>()?;
        self.said(&format!("{} started beside {}", added.join(" and "), all.join(" and ")));
        let overlap = self.between(500, 6_000);
        self.wait(overlap).await?;
        for name in &all {
            self.fleet.remove(name)?;
        }
        self.killed(u32::try_from(all.len())?, &format!("kill -9 {} for good", all.join(" and ")));
        Ok(())
    }

    /// An awake instance of one of these services (of any, when none is named) that no blow is under way at.
    fn victim(&mut self, services: &[&str]) -> Option<String> {
        let awake = self.fleet.awake().into_iter().filter(|name| {
            let service = name.split(' ').next().unwrap_or_default();
            let meant = services.is_empty() || services.contains(&service);
            meant && !self.is_busy(name) && !(service == "report" && self.spares_report())
        });
        awake.collect::<Vec<_>>().choose(&mut self.random).cloned()
    }

    fn is_busy(&self, name: &str) -> bool {
        let asleep = self.sleepers.iter().any(|one| one.name == name || one.rival.as_deref() == Some(name));
        asleep || self.duels.iter().any(|duel| duel.between.iter().any(|one| one == name))
    }

    fn spares_report(&self) -> bool {
        SPARED.contains(&(self.rounds % 8))
    }

    fn killed(&mut self, processes: u32, words: &str) {
        self.done.kills += processes;
        self.said(words);
    }

    fn said(&self, words: &str) {
        (self.say)(&format!("#{:<4} {words}", self.done.kills));
    }

    fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.random.random_range(low..=high))
    }
}
