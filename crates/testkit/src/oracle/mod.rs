//! The crash oracle: a whole installation is shaken while platforms send, and what must be true all the while and at the end.
//!
//! Engines and services are processes of their own ([`Fleet`]). They are killed, stopped and multiplied by a plan that a
//! seed repeats ([`Blow`]); the timing is the machine's, so no two runs are the same. The books are kept on the outside: by
//! the senders, who know what was acknowledged, and by queries that share nothing with the views that they are held against.

mod availability;
mod blows;
mod brokers;
mod cuts;
mod engines;
mod exact;
mod fleet;
mod senders;
mod verify;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signature::{Scheme, Secret};

pub use availability::{Bounds, Report};
pub use blows::{Blow, Done};
pub use cuts::{Cuts, Fault, How, Links, Which};
pub use exact::Counts;
pub use fleet::{Fleet, variables};
pub use verify::{ROWS, every_offset_is_one_row, settle, verify};

use crate::clickhouse::Asker;
use crate::house::Addresses;
use availability::Availability;
use blows::Hand;
use engines::Engines;
use exact::Known;
use senders::Senders;
use traffic::Sender;
use traffic::load::locked;
use watch::{Seen, Watch};

/// All instances that a run may begin with.
pub const INSTANCES: [&str; 8] =
    ["ingest 1/2", "ingest 2/2", "process 1/2", "process 2/2", "report 1/2", "report 2/2", "detect", "notify"];
/// A lane that was fenced again and again waits up to five minutes before it tries again.
const SETTLES_WITHIN: Duration = Duration::from_secs(480);
/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// How much is sent, and what is done meanwhile.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where chance begins.
    pub seed: u64,
    /// Senders at once; every second one is a Dub, the others send our own format.
    pub senders: usize,
    /// Events a second, of all senders together.
    pub per_second: f64,
    /// The blows of a round.
    pub round: Vec<(Blow, usize)>,
    /// Processes to end by kill -9; rounds go on until there were as many. Without it: one round.
    pub kills: Option<u32>,
    /// Blows at engines; rounds go on until there were as many. Without it and without `kills`: one round.
    pub engine_blows: Option<u32>,
    /// The blows end after this time at the latest.
    pub at_most: Duration,
    /// The instances that a run begins with: [`INSTANCES`], or fewer of them for a small machine.
    pub instances: Vec<&'static str>,
    /// Ingest is alone while blows fall: the other instances begin when they are over.
    pub ingest_alone: bool,
    /// How soon everything must move again after a blow at an engine; without it nobody asks.
    pub bounds: Option<Bounds>,
    /// Threads that keep the machine busy meanwhile.
    pub burners: usize,
    /// The network of the brokers, for [`Blow::Cut`].
    pub cuts: Option<Cuts>,
}

impl Plan {
    /// One round of blows on everything, with no question about times.
    #[must_use]
    pub fn new(seed: u64, round: &[(Blow, usize)]) -> Self {
        Self {
            seed,
            senders: 8,
            per_second: 200.0,
            round: round.to_vec(),
            kills: None,
            engine_blows: None,
            at_most: Duration::from_secs(300),
            instances: INSTANCES.to_vec(),
            ingest_alone: false,
            bounds: None,
            burners: 0,
            cuts: None,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was done.
    pub done: Done,
    /// From the first event to the last verified row.
    pub took: Duration,
    /// Deliveries that were acknowledged.
    pub deliveries: u64,
    /// Events in deliveries that were sent again on purpose.
    pub again: u64,
    /// Attempts that were refused for now, and attempts without an answer: each was repeated.
    pub retried: (u64, u64),
    /// The looks at the ledger while blows fell, and those at which ClickHouse did not answer.
    pub looks: (u64, u64),
    /// How soon everything moved again, where that was asked.
    pub availability: Option<Report>,
    /// What is in the tables.
    pub counts: Counts,
}

/// Shakes an installation of its own in `folder`, whose engines run by `up --engines-only` on `folder/data` with its log in
/// `folder`, and verifies that nothing was lost, doubled or miscounted. `say` is told what happens.
///
/// # Errors
/// What does not hold.
pub async fn run(
    folder: &Path,
    config: &Path,
    addresses: &Addresses,
    plan: &Plan,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<Outcome> {
    let first = |name: &&str| !plan.ingest_alone || name.starts_with("ingest");
    let instances: Vec<&str> = plan.instances.iter().copied().filter(first).collect();
    let fleet = Fleet::start(folder, config, addresses, &instances)?;
    let _busy = Burners::light(plan.burners);
    let ended = shake(folder, config, addresses, plan, &fleet, say).await;
    match ended {
        Ok(outcome) => {
            fleet
                .stop()
                .with_context(|| format!("the books agree, but not every service stops as it should\n{outcome}"))?;
            Ok(outcome)
        }
        Err(error) => Err(error.context(format!("all logs are in {}\n{}", folder.display(), fleet.logs()))),
    }
}

async fn shake(
    folder: &Path,
    config: &Path,
    addresses: &Addresses,
    plan: &Plan,
    fleet: &Fleet,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<Outcome> {
    let engines = Engines::of(folder.to_owned());
    let analyst = Asker::new(&addresses.clickhouse, "analyst", "")?;
    let owner = Asker::new(&addresses.clickhouse, "hookline", "")?;
    let secrets = config.parent().context("the configuration lies in a folder")?.join("secrets");
    let doors = |source: &str, scheme: &Scheme| -> anyhow::Result<Vec<Sender>> {
        let secret = std::fs::read_to_string(secrets.join(source))?;
        let door = |ingest: &String| Sender::new(ingest, source, scheme.clone(), Secret::new("first", secret.trim()));
        fleet.ingests().iter().map(door).collect()
    };
    let senders = Arc::new(Senders::new(doors("dub", &Scheme::Dub)?, doors("canonical", &Scheme::StandardWebhooks)?));
    let watch = Watch::new(analyst.clone())?;
    let begun = Instant::now();

    let mut sending = tokio::task::JoinSet::new();
    let each = plan.per_second / plan.senders.max(1) as f64;
    for number in 0..plan.senders.max(1) {
        sending.spawn(Arc::clone(&senders).send(number, plan.seed, each));
    }
    let availability =
        plan.bounds.map(|bounds| Availability::new(addresses, Arc::clone(&senders), bounds, plan.ingest_alone));
    let mut hand = Hand::new(fleet, &engines, owner, plan.round.clone(), plan.seed, say)
        .timed_by(availability.as_ref())
        .cutting(plan.cuts.as_ref());
    let blows = async {
        // Tables and topics are there, and every lane has been open once.
        let rows = format!("SELECT toUInt64(count()) FROM {ROWS}");
        let begun_to_flow = async || match plan.ingest_alone {
            true => senders.ledger.deliveries.load(Ordering::Relaxed) > 100,
            false => analyst.number(&rows).await.is_ok_and(|rows| rows > 100),
        };
        while !begun_to_flow().await {
            ensure!(begun.elapsed() < SETTLES_WITHIN, "no rows within {SETTLES_WITHIN:?}");
            hand.wait(Duration::from_millis(500)).await?;
        }
        say("rows arrive; now the blows");
        // The start is not what is measured.
        senders.forget();
        let mut last = Instant::now();
        loop {
            hand.next().await?;
            while let Some(ended) = sending.try_join_next() {
                ended.context("a sender panicked")??;
            }
            if last.elapsed() > PROGRESS {
                last = Instant::now();
                say(&progress(&senders, &watch.seen(), hand.done()));
            }
            let Done { kills, engine_blows, .. } = hand.done();
            let enough = match (plan.kills, plan.engine_blows) {
                (None, None) => hand.is_round_over(),
                (wanted, at_engines) => {
                    wanted.is_none_or(|wanted| *kills >= wanted)
                        && at_engines.is_none_or(|wanted| *engine_blows >= wanted)
                }
            };
            if enough || begun.elapsed() > plan.at_most {
                break;
            }
        }
        say("no more blows: everything may come to rest");
        hand.rest().await?;
        if plan.ingest_alone {
            say("the other services begin");
            for name in plan.instances.iter().filter(|name| !name.starts_with("ingest")) {
                fleet.add(name, false)?;
            }
        }
        senders.stop();
        while let Some(sent) = sending.join_next().await {
            sent.context("a sender panicked")??;
        }
        say(&progress(&senders, &watch.seen(), hand.done()));
        settled(fleet, &mut hand).await?;
        watch.stop();
        anyhow::Ok(())
    };
    tokio::try_join!(blows, watch.keep(fleet))?;
    ensure!(watch.seen().looks > 0, "nobody has looked at the ledger while blows fell");
    say("all is settled; now the books");

    let ledger = &senders.ledger;
    let known = Known {
        acknowledged: std::mem::take(&mut *locked(&ledger.acknowledged)),
        receipts: std::mem::take(&mut *locked(&ledger.receipts)),
        attempted: ledger.attempted.load(Ordering::Relaxed),
    };
    let counts = exact::exactly(&analyst, &known).await?;
    // Said last, so that a bound that did not hold does not keep the books from being compared.
    let availability = availability.as_ref().map(Availability::report).transpose().with_context(|| {
        format!("the books agree, {} lost and {} doubled of {} events", counts.lost, counts.doubled, counts.events)
    })?;
    let (count, seen) = (|number: &AtomicU64| number.load(Ordering::Relaxed), watch.seen());
    Ok(Outcome {
        done: hand.done().clone(),
        took: begun.elapsed(),
        deliveries: count(&ledger.deliveries),
        again: count(&ledger.again),
        retried: (count(&ledger.refused), count(&ledger.unanswered)),
        looks: (seen.looks, seen.unanswered),
        availability,
        counts,
    })
}

/// Threads that do nothing as fast as they can.
struct Burners(Arc<AtomicBool>);

impl Burners {
    fn light(count: usize) -> Self {
        let out = Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let out = Arc::clone(&out);
            std::thread::spawn(move || {
                while !out.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(out)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the operator's own tool says that every record of `raw` is settled and the ledger balances.
async fn settled(fleet: &Fleet, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLES_WITHIN;
    loop {
        let (code, said) = fleet.tool(&["ledger", "--json"]).await?;
        let ledger: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let lanes = ledger["lanes"].as_array().map(Vec::as_slice).unwrap_or_default();
        if code == 0 && !lanes.is_empty() && lanes.iter().all(|lane| lane["waiting"] == 0) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not settled within {SETTLES_WITHIN:?}; the ledger says {code}: {said}");
        hand.wait(Duration::from_secs(2)).await?;
    }
}

fn progress(senders: &Senders, seen: &Seen, done: &Done) -> String {
    let ledger = &senders.ledger;
    format!(
        "      {} kills, {} pauses; {} events acknowledged in {} deliveries, {} attempts repeated; {} rows, {} settled; \
         ledger 0 missing, 0 repeated in {} looks",
        done.kills,
        done.pauses,
        locked(&ledger.acknowledged).len(),
        ledger.deliveries.load(Ordering::Relaxed),
        ledger.refused.load(Ordering::Relaxed) + ledger.unanswered.load(Ordering::Relaxed),
        seen.rows,
        seen.settled,
        seen.looks,
    )
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, counts, .. } = self;
        let minutes = self.took.as_secs_f64() / 60.0;
        writeln!(
            f,
            "{} kills and {} pauses in {minutes:.1} minutes, {} of them at engines",
            done.kills, done.pauses, done.engine_blows
        )?;
        if let Some(availability) = &self.availability {
            writeln!(f, "{availability}")?;
        }
        let blows: BTreeMap<String, u32> = done.blows.iter().map(|(blow, n)| (format!("{blow:?}"), *n)).collect();
        writeln!(f, "  blows       {blows:?}; {} instances ended by themselves", done.ended)?;
        writeln!(
            f,
            "  sent        {} different events; {} deliveries acknowledged, {} events sent again on purpose; attempts \
             repeated: {} refused for now, {} without an answer",
            counts.events, self.deliveries, self.again, self.retried.0, self.retried.1
        )?;
        writeln!(
            f,
            "  rows        {}: {} events, {} duplicates, {} dead letters; {} of test data; {} rows of attempts that nobody \
             heard the answer of",
            counts.rows, counts.events, counts.duplicates, counts.dead_letters, counts.test, counts.unheard
        )?;
        writeln!(
            f,
            "  lost        {}, doubled {}; every report equals its rows; {} visits of proposals, one alert each",
            counts.lost, counts.doubled, counts.alerts
        )?;
        write!(
            f,
            "  ledger      0 missing, 0 repeated in {} looks ({} more found ClickHouse down) and at the end",
            self.looks.0, self.looks.1
        )
    }
}
