//! Platforms that send without pause, retry until they are answered 202, and send some events again, soon or much
//! later.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use traffic::load::locked;
use traffic::{Platform, Sender, canonical, dub};

/// A body that nobody took for so long will not be taken any more.
const GIVE_UP: Duration = Duration::from_secs(600);
/// Bodies of one sender that are sent again while it goes on with others: a partition without a leader must not keep
/// it.
const IN_RETRY: usize = 64;
/// Bodies of late that may come again.
const NEAR: usize = 64;
/// Bodies of any time before that may come again.
const FAR: usize = 4_000;

/// A body and the ids of the events in it.
#[derive(Clone)]
struct Body {
    platform: usize,
    bytes: Vec<u8>,
    ids: Vec<String>,
}

/// What the senders know.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The ids of all events that were acknowledged.
    pub(crate) acknowledged: Mutex<HashSet<String>>,
    /// Each receipt, and how many events it is for.
    pub(crate) receipts: Mutex<HashMap<String, u64>>,
    /// Events in all attempts, answered or not: there are no more rows than these.
    pub(crate) attempted: AtomicU64,
    /// Deliveries that were acknowledged, repeats included.
    pub(crate) deliveries: AtomicU64,
    /// Events in deliveries that were sent again on purpose.
    pub(crate) again: AtomicU64,
    /// Attempts that were answered by a refusal that asks for a repeat.
    pub(crate) refused: AtomicU64,
    /// Attempts that had no answer.
    pub(crate) unanswered: AtomicU64,
}

/// Bodies that may come again, of all senders.
#[derive(Default)]
struct Pool {
    near: VecDeque<Body>,
    far: Vec<Body>,
    gone: usize,
}

impl Pool {
    fn add(&mut self, body: Body, random: &mut StdRng) {
        self.near.push_back(body);
        if self.near.len() <= NEAR {
            return;
        }
        let Some(old) = self.near.pop_front() else { return };
        self.gone += 1;
        // A sample of all that went: each is kept with the same chance.
        if self.far.len() < FAR {
            self.far.push(old);
        } else if let Some(place) = self.far.get_mut(random.random_range(0..self.gone)) {
            *place = old;
        }
    }

    fn near(&self, random: &mut StdRng) -> Option<Body> {
        (!self.near.is_empty()).then(|| self.near[random.random_range(0..self.near.len())].clone())
    }

    fn far(&self, random: &mut StdRng) -> Option<Body> {
        (!self.far.is_empty()).then(|| self.far[random.random_range(0..self.far.len())].clone())
    }
}

/// What all senders share.
pub(crate) struct Senders {
    /// By platform (Dub, our own format), a sender to each ingest.
    doors: [Vec<Sender>; 2],
    pool: Mutex<Pool>,
    pub(crate) ledger: Ledger,
    /// When each ingest last took something, and its longest time without since it was last asked.
    taking: Mutex<Vec<Taking>>,
    stop: AtomicBool,
}

/// When an ingest takes requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taking {
    /// The last 202.
    pub(crate) last: Instant,
    /// The longest time between two since [`Senders::forget`].
    pub(crate) longest: Duration,
}

impl Senders {
    /// Senders to every ingest: of Dub's webhooks, and of events in our own format.
    pub(crate) fn new(dub: Vec<Sender>, canonical: Vec<Sender>) -> Self {
        let now = Taking { last: Instant::now(), longest: Duration::ZERO };
        Self {
            taking: Mutex::new(vec![now; dub.len()]),
            doors: [dub, canonical],
            pool: Mutex::default(),
            ledger: Ledger::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// When each ingest takes requests.
    pub(crate) fn taking(&self) -> Vec<Taking> {
        let now = Instant::now();
        let mut taking = locked(&self.taking).clone();
        taking.iter_mut().for_each(|door| door.longest = door.longest.max(now - door.last));
        taking
    }

    /// From now on the longest times are counted anew.
    pub(crate) fn forget(&self) {
        let now = Instant::now();
        locked(&self.taking).iter_mut().for_each(|door| *door = Taking { last: now, longest: Duration::ZERO });
    }

    /// Ends [`Self::send`], each once its last body is acknowledged.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Sends about `per_second` events a second until the stop; every second sender is a Dub.
    pub(crate) async fn send(self: Arc<Self>, number: usize, seed: u64, per_second: f64) -> anyhow::Result<()> {
        let seed = seed.wrapping_mul(1_000).wrapping_add(number as u64);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut clicks, mut events) = (dub::Generator::new(seed), canonical::Generator::new(seed));
        let mut retried = JoinSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let (body, again) = match random.random_range(0..100) {
                0..6 => (locked(&self.pool).near(&mut random), true),
                6..12 => (locked(&self.pool).far(&mut random), true),
                _ => (None, false),
            };
            let body = match body {
                // Dub repeats a click under another envelope.
                Some(body) if body.platform == 0 => Body { bytes: clicks.again(&body.bytes), ..body },
                Some(body) => body,
                None if number.is_multiple_of(2) => one_click(&mut clicks),
                None => self.batch(&mut events, &mut random),
            };
            let size = body.ids.len();
            if again {
                self.ledger.again.fetch_add(size as u64, Ordering::Relaxed);
            } else {
                locked(&self.pool).add(body.clone(), &mut random);
            }
            if random.random_range(0..50) == 0 {
                // The same body through two doors at once, as from two machines of the platform.
                let (one, other) = (random.random(), random.random());
                self.ledger.again.fetch_add(size as u64, Ordering::Relaxed);
                retried.spawn(Arc::clone(&self).deliver(body.clone(), one, 0));
                retried.spawn(Arc::clone(&self).deliver(body, other, 0));
            } else if self.attempt(&body, random.random()).await?.is_some() {
                retried.spawn(Arc::clone(&self).deliver(body, random.random(), 1));
            }
            while let Some(done) =
                if retried.len() > IN_RETRY { retried.join_next().await } else { retried.try_join_next() }
            {
                done.context("a delivery has panicked")??;
            }
            let due = begun + Duration::from_secs_f64(size as f64 / per_second);
            tokio::time::sleep_until(due.into()).await;
        }
        while let Some(done) = retried.join_next().await {
            done.context("a delivery has panicked")??;
        }
        Ok(())
    }

    /// One to five events in our own format; one in ten batches also holds an event that was sent before.
    fn batch(&self, events: &mut canonical::Generator, random: &mut StdRng) -> Body {
        let size = if random.random_range(0..3) == 0 { random.random_range(2..6) } else { 1 };
        let mut bodies: Vec<Vec<u8>> = (0..size).map(|_| one_event(events, random)).collect();
        let mut ids: Vec<String> = bodies.iter().map(|body| canonical::Generator::id(body)).collect();
        if random.random_range(0..10) == 0
            && let Some(old) = locked(&self.pool).far(random).filter(|old| old.platform == 1 && old.ids.len() == 1)
        {
            self.ledger.again.fetch_add(1, Ordering::Relaxed);
            bodies.push(old.bytes);
            ids.extend(old.ids);
        }
        let bytes = match bodies.as_slice() {
            [one] => one.clone(),
            _ => [&b"["[..], &bodies.join(&b","[..]), b"]"].concat(),
        };
        Body { platform: 1, bytes, ids }
    }

    /// Attempts until a 202, each at a door of chance; `failed` were made before.
    async fn deliver(self: Arc<Self>, body: Body, seed: u64, failed: u32) -> anyhow::Result<()> {
        let (mut random, begun) = (StdRng::seed_from_u64(seed), Instant::now());
        for failed in failed.. {
            if failed > 0 {
                tokio::time::sleep(Duration::from_millis(100) * failed.min(10)).await;
            }
            let Some(heard) = self.attempt(&body, random.random()).await? else { return Ok(()) };
            if begun.elapsed() > GIVE_UP {
                bail!("a body was not taken for {GIVE_UP:?}: {heard}");
            }
        }
        Ok(())
    }

    /// One attempt, at a door of chance. Returns what was heard if it was not taken.
    async fn attempt(&self, body: &Body, seed: u64) -> anyhow::Result<Option<String>> {
        let doors = &self.doors[body.platform];
        let number = StdRng::seed_from_u64(seed).random_range(0..doors.len());
        let door = &doors[number];
        self.ledger.attempted.fetch_add(body.ids.len() as u64, Ordering::Relaxed);
        match door.attempt_once(&body.bytes).await {
            Ok(answer) if answer.status.is_success() => {
                if let Some(door) = locked(&self.taking).get_mut(number) {
                    let now = Instant::now();
                    *door = Taking { last: now, longest: door.longest.max(now - door.last) };
                }
                self.taken(body, &answer.text)?;
                Ok(None)
            }
            Ok(answer) => {
                ensure!(
                    answer.status.as_u16() == 503,
                    "{} answered a sound body neither 202 nor 503: {} {}",
                    door.url(),
                    answer.status,
                    answer.text
                );
                self.ledger.refused.fetch_add(1, Ordering::Relaxed);
                Ok(Some(answer.text))
            }
            Err(error) => {
                self.ledger.unanswered.fetch_add(1, Ordering::Relaxed);
                Ok(Some(format!("{error:#}")))
            }
        }
    }

    fn taken(&self, body: &Body, receipt: &str) -> anyhow::Result<()> {
        let receipt: Value = serde_json::from_str(receipt).context("a 2xx without a receipt")?;
        let name = receipt["receipt"].as_str().context("a receipt without a name")?;
        let whole = receipt["events"] == json!(body.ids.len()) && receipt["quarantined"] == json!(0);
        ensure!(whole, "{} events were sent and acknowledged as {receipt}", body.ids.len());
        let before = locked(&self.ledger.receipts).insert(name.to_owned(), body.ids.len() as u64);
        ensure!(before.is_none(), "the receipt {name} was given twice");
        locked(&self.ledger.acknowledged).extend(body.ids.iter().cloned());
        self.ledger.deliveries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn one_click(clicks: &mut dub::Generator) -> Body {
    let bytes = clicks.click();
    let ids = vec![dub::Generator::click_id(&bytes)];
    Body { platform: 0, bytes, ids }
}

/// An event in our own format: one in ten tells late of a day that is closed by then, one in 25 is test data.
fn one_event(events: &mut canonical::Generator, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..100) {
        0..10 => {
            let at = Timestamp::now() - SignedDuration::from_hours(random.random_range(24..72));
            events.event_with(&json!({ "time": at.to_string() }))
        }
        10..14 => events.event_with(&json!({ "link": { "id": "l_test", "slug": "test-oracle" } })),
        _ => events.event(),
    }
}
