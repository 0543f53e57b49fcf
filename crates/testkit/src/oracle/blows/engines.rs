//! What is done to the engines, and how soon everything moves again.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Engine, Hand};
use crate::oracle::cuts::Fault;

impl Hand<'_> {
    /// kill -9, counted.
    pub(super) fn kill_now(&mut self, engine: Engine) -> anyhow::Result<()> {
        self.killed_engines.push((engine, self.engines.pid(engine)));
        self.done.engine_blows += 1;
        self.engines.kill(engine)
    }

    pub(super) async fn kill_engine(&mut self, engine: Engine, when: &str) -> anyhow::Result<()> {
        self.ready_to_die(engine).await?;
        let moment = self.between(0, 400);
        tokio::time::sleep(moment).await;
        self.kill_now(engine)?;
        self.killed(1, &format!("kill -9 {}{when}", engine.name()));
        Ok(())
    }

    pub(super) async fn kill_both(&mut self) -> anyhow::Result<()> {
        let broker = self.broker()?;
        self.ready_to_die(broker).await?;
        self.ready_to_die(Engine::ClickHouse).await?;
        self.kill_now(broker)?;
        self.kill_now(Engine::ClickHouse)?;
        self.killed(2, &format!("kill -9 {} and ClickHouse", broker.name()));
        Ok(())
    }

    pub(super) async fn kill_engine_twice(&mut self) -> anyhow::Result<()> {
        let engine = *[self.broker()?, Engine::ClickHouse].choose(&mut self.random).context("one of two")?;
        self.ready_to_die(engine).await?;
        let old = self.engines.pid(engine);
        self.kill_now(engine)?;
        self.engines.born_again(engine, old).await?;
        let started = self.between(0, 3_000);
        self.wait(started).await?;
        self.kill_now(engine)?;
        self.killed(2, &format!("kill -9 {}, and again {} ms after its start", engine.name(), started.as_millis()));
        Ok(())
    }

    /// Kills two to four times, each time one broker of chance, and does not wait for the last one to have settled.
    pub(super) async fn kill_in_row(&mut self) -> anyhow::Result<()> {
        let first = self.broker()?;
        self.ready_to_die(first).await?;
        let times = self.random.random_range(2..5);
        for _ in 0..times {
            let broker = self.broker()?;
            let old = self.engines.pid(broker);
            if old.is_none() {
                self.engines.born_again(broker, old).await?;
            }
            self.kill_now(broker)?;
            self.killed(1, &format!("kill -9 {}, one of {times} in a row", broker.name()));
            self.engines.born_again(broker, old).await?;
            let next = self.between(0, 4_000);
            self.wait(next).await?;
        }
        self.recovers(false).await
    }

    /// SIGSTOP of a broker, past sessions and proofs of the fence or short of them.
    pub(super) async fn pause_broker(&mut self) -> anyhow::Result<()> {
        let broker = self.broker()?;
        self.ready_to_die(broker).await?;
        let sleep = self.between(3_000, 14_000);
        self.engines.signal(broker, "-STOP")?;
        self.done.pauses += 1;
        self.done.engine_blows += 1;
        self.said(&format!("SIGSTOP {} for {:.1} s", broker.name(), sleep.as_secs_f64()));
        self.engine_wakes = Some((broker, Instant::now() + sleep));
        while self.engine_wakes.is_some() {
            self.wait(Duration::from_millis(100)).await?;
        }
        self.recovers(true).await
    }

    pub(super) async fn pause_engine(&mut self) -> anyhow::Result<()> {
        let engine = *[self.broker()?, Engine::ClickHouse].choose(&mut self.random).context("one of two")?;
        self.ready_to_die(engine).await?;
        // One in three pauses of ClickHouse outlasts the minute that an insert waits for its end.
        let sleep = match engine == Engine::ClickHouse && self.random.random_range(0..3) == 0 {
            true => self.between(62_000, 70_000),
            false => self.between(11_000, 18_000),
        };
        self.engines.signal(engine, "-STOP")?;
        self.done.pauses += 1;
        self.done.engine_blows += 1;
        self.said(&format!("SIGSTOP {} for {:.1} s", engine.name(), sleep.as_secs_f64()));
        self.engine_wakes = Some((engine, Instant::now() + sleep));
        Ok(())
    }

    /// Lets a part of the network fail, and asks how long each lane stood still, and when all moves again afterwards.
    pub(super) async fn cut(&mut self, fault: Fault) -> anyhow::Result<()> {
        let (cuts, availability) = self.cuts.zip(self.availability).context("a network that is cut is measured")?;
        self.ready_to_die(Engine::Broker(1)).await?;
        let mut cut = cuts.begin(fault).await?;
        availability.forget();
        self.said(&cut.to_string());
        while !cut.is_over() {
            self.wait(Duration::from_millis(800)).await?;
            cut.look().await;
        }
        let (stood, words) = cut.end().await;
        self.said(&words);
        self.said(&availability.after_cut(&fault.to_string(), &stood, fault.is_seen_by_kafka()));
        self.recovers(false).await
    }

    /// Waits until an engine may be killed or stopped: none is asleep, and of three brokers all have settled.
    pub(super) async fn ready_to_die(&mut self, engine: Engine) -> anyhow::Result<()> {
        while self.engine_wakes.is_some() {
            self.wait(Duration::from_millis(200)).await?;
        }
        if engine == Engine::ClickHouse {
            return self.engines.settled(engine).await;
        }
        for broker in self.engines.brokers() {
            self.engines.settled(broker).await?;
        }
        Ok(())
    }

    /// Waits until the engines are ready and every lane of every stage has moved since. `throughout`: of three brokers two
    /// lived all the while, so that ingest should have taken requests all the while too.
    pub(super) async fn recovers(&mut self, throughout: bool) -> anyhow::Result<()> {
        let killed = std::mem::take(&mut self.killed_engines);
        let Some(availability) = self.availability else { return Ok(()) };
        // The successors of those that were killed, whose deaths up may not have seen yet.
        for (engine, old) in killed {
            self.engines.born_again(engine, old).await?;
        }
        for engine in self.engines.all() {
            self.engines.ready(engine).await?;
        }
        let throughout = throughout && self.engines.brokers().len() > 1;
        let words = availability.after_blow(self.engines.brokers().len(), throughout).await?;
        self.said(&words);
        self.look_after()
    }
}
