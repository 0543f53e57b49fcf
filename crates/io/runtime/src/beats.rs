//! Signs of life: every long-lived thread and task beats, and one that has not for 30 seconds is named.
//!
//! A watchdog thread looks every second. What is late or has panicked is counted in `hookline_threads_stuck`, named in
//! the log and makes `/livez` answer 503: a restart helps. After five minutes the watchdog ends the process, so that
//! its supervisor starts another.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus::GaugeVec;

/// Without a beat for this long, a thread is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Stuck for this long, and the process ends.
const END_AFTER: Duration = Duration::from_secs(300);
/// The exit code then: a restart is what is asked for (`EX_TEMPFAIL` of sysexits).
const EXIT: i32 = 75;

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a task beats that is polled [alongside](Beat::alongside).
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// All that beat in a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<BTreeMap<u64, Entry>>,
    /// Time as the watchdog has seen it pass, in milliseconds. While the whole process stood still (a paused
    /// container, a sleeping laptop), the watchdog did too, and no thread is late for that.
    now_ms: AtomicU64,
    /// The thread that looks.
    watchdog: OnceLock<JoinHandle<()>>,
}

#[derive(Debug)]
struct Entry {
    kind: &'static str,
    name: String,
    due_ms: Arc<AtomicU64>,
    /// Its thread or task has panicked, and does not come back.
    panicked: bool,
}

/// A thread or task that is not at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The label of the metric.
    pub kind: &'static str,
    /// Which of them.
    pub name: String,
    /// For how long it is late, or for how long it is known to have panicked.
    pub late: Duration,
    /// Whether it has panicked.
    pub panicked: bool,
}

/// One thread's or task's sign of life. Dropped, it is no longer waited for; dropped by a panic, it is named until the
/// process ends, since nothing does its work any more.
#[derive(Debug)]
pub struct Beat {
    id: u64,
    due_ms: Arc<AtomicU64>,
    beats: Beats,
}

impl Beats {
    /// A thread or task that beats from now on. `kind` is a label of the metric: few, and the same for all lanes.
    #[must_use]
    pub fn register(&self, kind: &'static str, name: impl Into<String>) -> Beat {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let due_ms = Arc::new(AtomicU64::new(0));
        let beat = Beat { id, due_ms: Arc::clone(&due_ms), beats: self.clone() };
        beat.tick();
        self.lock().insert(id, Entry { kind, name: name.into(), due_ms, panicked: false });
        beat
    }

    /// The names of all that are watched.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().values().map(|entry| entry.name.clone()).collect()
    }

    /// What has not beaten in time, or has panicked.
    #[must_use]
    pub fn stuck(&self) -> Vec<Stuck> {
        let now = self.0.now_ms.load(Ordering::Relaxed);
        let mut stuck = Vec::new();
        for Entry { kind, name, due_ms, panicked } in self.lock().values() {
            let late = Duration::from_millis(now.saturating_sub(due_ms.load(Ordering::Relaxed)));
            if *panicked || !late.is_zero() {
                stuck.push(Stuck { kind, name: name.clone(), late, panicked: *panicked });
            }
        }
        if self.0.watchdog.get().is_some_and(JoinHandle::is_finished) {
            stuck.push(Stuck { kind: "watchdog", name: "watchdog".into(), late: Duration::ZERO, panicked: true });
        }
        stuck
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        // A map of entries is whole after any panic.
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, time: Duration) {
        self.0.now_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Starts the watchdog. It ends when the last clone of these beats is dropped.
    pub(crate) fn watch(&self, stuck: GaugeVec) {
        let beats = Arc::downgrade(&self.0);
        let watchdog = std::thread::Builder::new().name("watchdog".into()).spawn(move || watchdog(&beats, &stuck));
        match watchdog {
            // There is one for each process: a second is not started.
            Ok(watchdog) => drop(self.0.watchdog.set(watchdog)),
            Err(error) => {
                tracing::error!(%error, "no thread for the watchdog: a thread that is stuck would not be noticed");
            }
        }
    }
}

impl Beat {
    /// A sign of life: the next is due within [`STUCK_AFTER`].
    pub fn tick(&self) {
        self.allow(STUCK_AFTER);
    }

    /// A sign of life before something that may take as long as `time`.
    pub fn allow(&self, time: Duration) {
        let now = self.beats.0.now_ms.load(Ordering::Relaxed);
        self.due_ms.store(now + time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Does `work`, which waits where it has nothing to do, and beats as long as it is polled.
    pub async fn alongside<T>(self, work: impl Future<Output = T>) -> T {
        self.alongside_every(BEAT_EVERY, work).await
    }

    async fn alongside_every<T>(self, every: Duration, work: impl Future<Output = T>) -> T {
        let (mut work, mut due) = (pin!(work), tokio::time::interval(every));
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = due.tick() => self.tick(),
            }
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let mut entries = self.beats.lock();
        if !std::thread::panicking() {
            entries.remove(&self.id);
        } else if let Some(entry) = entries.get_mut(&self.id) {
            entry.panicked = true;
            self.allow(Duration::ZERO);
        }
    }
}

fn watchdog(beats: &Weak<Inner>, gauge: &GaugeVec) {
    let mut named: BTreeMap<&'static str, f64> = BTreeMap::new();
    let mut said = BTreeMap::new();
    let mut looked = Instant::now();
    while let Some(beats) = beats.upgrade().map(Beats) {
        beats.pass(looked.elapsed().min(LOOK_EVERY * 2));
        looked = Instant::now();
        let stuck = beats.stuck();
        drop(beats);
        named.values_mut().for_each(|count| *count = 0.0);
        for Stuck { kind, name, late, panicked } in &stuck {
            *named.entry(kind).or_default() += 1.0;
            if said.insert((name.clone(), *panicked), ()).is_none() {
                let seconds = (*late + STUCK_AFTER).as_secs();
                match panicked {
                    true => tracing::error!(kind, name, "has panicked: /livez answers 503, a restart helps"),
                    false => {
                        tracing::error!(kind, name, seconds, "no sign of life: /livez answers 503, a restart helps");
                    }
                }
            }
            if *late >= END_AFTER {
                tracing::error!(kind, name, "no sign of life for too long: the process ends, to be started again");
                std::process::exit(EXIT);
            }
        }
        said.retain(|(name, panicked), ()| {
            let now = stuck.iter().find(|stuck| stuck.name == *name);
            let still = now.is_some_and(|stuck| stuck.panicked == *panicked);
            if now.is_none() {
                tracing::info!(name, "there is a sign of life again");
            }
            still
        });
        named.iter().for_each(|(kind, count)| gauge.with_label_values(&[kind]).set(*count));
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_beat_in_time_is_named_until_it_does() {
        let beats = Beats::default();
        let (lane, other) = (beats.register("process lane", "process lane 3"), beats.register("edge", "edge-probe"));
        assert_eq!(beats.stuck(), []);
        beats.pass(STUCK_AFTER - Duration::from_secs(1));
        other.tick();
        beats.pass(Duration::from_secs(2));
        let stuck = beats.stuck();
        assert_eq!((stuck.len(), stuck[0].kind, stuck[0].name.as_str()), (1, "process lane", "process lane 3"));
        lane.tick();
        assert_eq!(beats.stuck(), []);
        lane.allow(Duration::from_secs(900));
        beats.pass(Duration::from_secs(899));
        assert_eq!(beats.stuck().len(), 1, "what may take long is given its time, the other is not");
        drop(other);
        assert_eq!(beats.stuck(), [], "what has ended is not waited for");
    }

    #[test]
    fn a_thread_that_panicked_is_named_for_good_and_one_that_ended_is_not() {
        let beats = Beats::default();
        let (watch, ended) = (beats.register("lane watch", "lane watch"), beats.register("reload", "reload"));
        let panicked = std::thread::spawn(move || {
            watch.tick();
            panic!("a defect");
        });
        assert!(panicked.join().is_err());
        std::thread::spawn(move || drop(ended)).join().unwrap();
        let named = |late| Stuck { kind: "lane watch", name: "lane watch".into(), late, panicked: true };
        assert_eq!(beats.stuck(), [named(Duration::ZERO)]);
        beats.pass(END_AFTER);
        assert_eq!(beats.stuck(), [named(END_AFTER)], "and the process ends");
    }

    #[tokio::test]
    async fn a_task_beats_while_it_is_polled_and_is_named_if_it_panics() {
        let (beats, soon) = (Beats::default(), Duration::from_millis(5));
        let waits = beats.register("task", "waits").alongside_every(soon, std::future::pending::<()>());
        let waiting = tokio::spawn(waits);
        for _ in 0..3 {
            beats.pass(STUCK_AFTER * 2);
            assert_eq!(beats.stuck().len(), 1);
            let asked = Instant::now();
            while !beats.stuck().is_empty() {
                assert!(asked.elapsed() < Duration::from_secs(20), "it does not beat");
                tokio::time::sleep(soon).await;
            }
        }
        waiting.abort();
        assert!(waiting.await.is_err());
        assert_eq!(beats.names(), Vec::<String>::new());
        let panics = async {
            tokio::task::yield_now().await;
            panic!("a defect")
        };
        let panicked = tokio::spawn(beats.register("task", "panics").alongside::<()>(panics)).await;
        assert!(panicked.is_err());
        assert_eq!(beats.stuck().iter().map(|stuck| stuck.name.as_str()).collect::<Vec<_>>(), ["panics"]);
    }

    #[test]
    fn a_watchdog_that_ended_is_named() {
        let beats = Beats::default();
        beats.0.watchdog.set(std::thread::spawn(|| {})).unwrap();
        while beats.stuck().is_empty() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(beats.stuck()[0].name, "watchdog");
    }
}
