//! Signs of life: every long-lived thread and task beats, and one that has not for 30 seconds is named.
//!
//! A watchdog thread looks every second. What is late is counted in `hookline_threads_stuck`, named in the log and
//! makes `/livez` answer 503: a restart helps. After five minutes the watchdog ends the process, so that its
//! supervisor starts another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

/// All that beat in a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<BTreeMap<u64, Entry>>,
    /// Time as the watchdog has seen it pass, in milliseconds. While the whole process stood still (a paused
    /// container, a sleeping laptop), the watchdog did too, and no thread is late for that.
    now_ms: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    kind: &'static str,
    name: String,
    due_ms: Arc<AtomicU64>,
}

/// One thread's or task's sign of life; dropped, it is no longer waited for.
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
        self.lock().insert(id, Entry { kind, name: name.into(), due_ms });
        beat
    }

    /// What has not beaten in time: its kind, its name, and for how long it is late.
    #[must_use]
    pub fn stuck(&self) -> Vec<(&'static str, String, Duration)> {
        let now = self.0.now_ms.load(Ordering::Relaxed);
        let late = |entry: &Entry| now.checked_sub(entry.due_ms.load(Ordering::Relaxed)).filter(|late| *late > 0);
        let entries = self.lock();
        let stuck = entries.values().filter_map(|entry| Some((entry.kind, entry.name.clone(), late(entry)?)));
        stuck.map(|(kind, name, late)| (kind, name, Duration::from_millis(late))).collect()
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
        if let Err(error) = watchdog {
            tracing::error!(%error, "no thread for the watchdog: a thread that is stuck would not be noticed");
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
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.beats.lock().remove(&self.id);
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
        for (kind, name, late) in &stuck {
            *named.entry(kind).or_default() += 1.0;
            if said.insert(name.clone(), ()).is_none() {
                let seconds = (*late + STUCK_AFTER).as_secs();
                tracing::error!(kind, name, seconds, "no sign of life: /livez answers 503, a restart helps");
            }
            if *late >= END_AFTER {
                tracing::error!(kind, name, "no sign of life for too long: the process ends, to be started again");
                std::process::exit(EXIT);
            }
        }
        said.retain(|name, ()| {
            let still = stuck.iter().any(|(_, stuck, _)| stuck == name);
            if !still {
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
        assert_eq!((stuck.len(), stuck[0].0, stuck[0].1.as_str()), (1, "process lane", "process lane 3"));
        lane.tick();
        assert_eq!(beats.stuck(), []);
        lane.allow(Duration::from_secs(900));
        beats.pass(Duration::from_secs(899));
        assert_eq!(beats.stuck().len(), 1, "what may take long is given its time, the other is not");
        drop(other);
        assert_eq!(beats.stuck(), [], "what has ended is not waited for");
    }
}
