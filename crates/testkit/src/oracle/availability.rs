//! How long after the last engine is ready everything moves again, told from outside: by the answers of ingest, and by the
//! positions that stages have committed at the brokers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::brokers::Cluster;
use super::cuts::Stood;
use super::senders::Senders;
use crate::house::Addresses;
use traffic::load::locked;

/// Each stage that commits positions, its group and what it reads; and whether every lane of it has work all the time.
pub(super) const STAGES: [(&str, &str, &str, bool); 4] = [
    ("process", "hookline-process", "hookline.raw.v1", true),
    ("report", "hookline-report", "hookline.events.v1", true),
    ("detect", "hookline-detect", "hookline.signals.v1", false),
    ("notify", "hookline-notify", "hookline.alerts.v1", false),
];
/// What the time of each stage is reported as that it stood still while a part of the network failed.
const WHILE_CUT: [&str; STAGES.len()] =
    ["process, while cut", "report, while cut", "detect, while cut", "notify, while cut"];
/// Offsets that are no work: the markers of transactions.
pub(super) const MARKERS: i64 = 10;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// What has not moved for so long will not move any more.
const FOR_GOOD: Duration = Duration::from_secs(150);
/// For all replicas to be in sync again.
const WHOLE_WITHIN: Duration = Duration::from_secs(180);

/// How soon everything must move again.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Each lane of each stage, after the last engine is ready.
    pub stage: Duration,
    /// Ingest, after the last engine is ready; and while two of three brokers live, at any time.
    pub ingest: Duration,
}

impl Bounds {
    /// The bounds of a machine that does nothing else, times `tolerance`.
    #[must_use]
    pub fn times(tolerance: f64) -> Self {
        Self { stage: Duration::from_secs(15).mul_f64(tolerance), ingest: Duration::from_secs(5).mul_f64(tolerance) }
    }
}

/// What was seen: by stage, how long each blow kept its slowest lane still, in seconds.
#[derive(Debug, Clone, Default)]
pub struct Report {
    took: BTreeMap<&'static str, Vec<f64>>,
    faults: Vec<String>,
}

/// Asks after each blow.
pub(crate) struct Availability {
    brokers: String,
    senders: Arc<Senders>,
    bounds: Bounds,
    ingest_alone: bool,
    report: Mutex<Report>,
}

/// A lane: its stage's place in [`STAGES`], and its partition.
pub(super) type Lane = (usize, i32);

/// Where a lane is, and where its topic ends.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: i64,
    end: i64,
}

impl Availability {
    pub(crate) fn new(addresses: &Addresses, senders: Arc<Senders>, bounds: Bounds, ingest_alone: bool) -> Self {
        let brokers = addresses.kafka.clone();
        Self { brokers, senders, bounds, ingest_alone, report: Mutex::default() }
    }

    /// What was seen in all.
    ///
    /// # Errors
    /// A bound that did not hold.
    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        let report = std::mem::take(&mut *locked(&self.report));
        ensure!(report.faults.is_empty(), "what stood still for too long:\n- {}\n{report}", report.faults.join("\n- "));
        Ok(report)
    }

    /// To be called when `up` says that the engines are ready again: waits until everything has moved since, and until all
    /// replicas are in sync, so that the next blow finds three. Returns what to say about it.
    pub(crate) async fn after_blow(&self, brokers: usize, throughout: bool) -> anyhow::Result<String> {
        // A broker that was stopped is there again when it has registered: up sees nothing of that.
        let asked = Instant::now();
        let whole = async || Cluster::seen_by(&self.brokers).await.is_ok_and(|seen| seen.brokers.len() == brokers);
        while !whole().await {
            ensure!(asked.elapsed() < WHOLE_WITHIN, "not all of {brokers} brokers are there within {WHOLE_WITHIN:?}");
            tokio::time::sleep(EVERY).await;
        }
        let ready = Instant::now();
        let mut slowest: BTreeMap<&'static str, f64> = BTreeMap::new();
        let mut said = Vec::new();
        let mut late = false;
        // Where each lane was when its position was first served.
        let mut first = self.places().await;
        let mut moved: BTreeMap<Lane, f64> = BTreeMap::new();
        let mut doors = vec![None; self.senders.taking().len()];
        loop {
            let now = ready.elapsed().as_secs_f64();
            for (door, taking) in doors.iter_mut().zip(self.senders.taking()) {
                if door.is_none() && taking.last > ready {
                    *door = Some((taking.last - ready).as_secs_f64());
                }
            }
            let places = self.places().await;
            let mut waits: Vec<String> = Vec::new();
            for lane in first.keys().filter(|lane| !places.contains_key(lane)) {
                waits.push(format!("{} {}, whose position is not served", STAGES[lane.0].0, lane.1));
            }
            for (lane, place) in &places {
                let (stage, _, _, always) = STAGES[lane.0];
                let before = *first.entry(*lane).or_insert(*place);
                if place.at > before.at {
                    moved.entry(*lane).or_insert(now);
                } else if !moved.contains_key(lane) && (always || place.end - place.at > MARKERS) {
                    waits.push(format!("{stage} {} at {} of {}", lane.1, place.at, place.end));
                }
            }
            // Positions that no broker serves say nothing.
            let unknown = !self.ingest_alone && (first.is_empty() || places.is_empty());
            let shut = doors.iter().filter(|door| door.is_none()).count();
            if waits.is_empty() && shut == 0 && !unknown {
                break;
            }
            if ready.elapsed() > self.bounds.stage && !late {
                late = true;
                said.push(format!("after {now:.0} s still: {}; {shut} ingests shut", waits.join(", ")));
            }
            if ready.elapsed() > FOR_GOOD {
                bail!(
                    "{FOR_GOOD:?} after the last engine was ready there stand still: {}; {shut} ingests take nothing",
                    waits.join(", ")
                );
            }
            tokio::time::sleep(EVERY).await;
        }
        for (lane, seconds) in moved {
            let slow = slowest.entry(STAGES[lane.0].0).or_default();
            *slow = slow.max(seconds);
        }
        slowest.insert("ingest", doors.into_iter().flatten().fold(0.0, f64::max));
        let longest = self.senders.taking().iter().map(|door| door.longest.as_secs_f64()).fold(0.0, f64::max);
        {
            let mut report = locked(&self.report);
            for (stage, seconds) in &slowest {
                let bound = if *stage == "ingest" { self.bounds.ingest } else { self.bounds.stage };
                if *seconds > bound.as_secs_f64() {
                    report.faults.push(format!("{stage}: {seconds:.1} s after the last engine was ready"));
                }
                report.took.entry(stage).or_default().push(*seconds);
            }
            if throughout {
                report.took.entry("ingest, while two brokers live").or_default().push(longest);
                if longest > self.bounds.ingest.as_secs_f64() {
                    report.faults.push(format!("ingest took nothing for {longest:.1} s while two brokers lived"));
                }
            }
        }
        let words: Vec<String> = slowest.iter().map(|(stage, seconds)| format!("{stage} {seconds:.1}")).collect();
        said.push(format!("all moves again after (s): {}; longest pause of ingest {longest:.1}", words.join(", ")));
        while !Cluster::seen_by(&self.brokers).await.is_ok_and(|seen| seen.is_whole(brokers)) {
            ensure!(ready.elapsed() < WHOLE_WITHIN, "not every replica is in sync within {WHOLE_WITHIN:?}");
            tokio::time::sleep(EVERY).await;
        }
        self.senders.forget();
        Ok(said.join("; "))
    }

    /// From now on the longest times of ingest are counted anew.
    pub(crate) fn forget(&self) {
        self.senders.forget();
    }

    /// To be called when a part of the network has failed for a while: how long each lane stood still, and ingest.
    /// `is_bound`: Kafka could give all that was led there to others. Returns what to say about it.
    pub(crate) fn after_cut(&self, what: &str, stood: &Stood, is_bound: bool) -> String {
        let mut report = locked(&self.report);
        let mut words = Vec::new();
        for (number, (stage, ..)) in STAGES.into_iter().enumerate() {
            let lanes: Vec<(i32, f64)> = stood
                .iter()
                .filter(|((of, _), _)| *of == number)
                .map(|((_, lane), seconds)| (*lane, *seconds))
                .collect();
            let longest = lanes.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
            let each: Vec<String> = lanes.iter().map(|(_, seconds)| format!("{seconds:.0}")).collect();
            words.push(format!("{stage} {longest:.1} ({})", each.join(" ")));
            if is_bound {
                report.took.entry(WHILE_CUT[number]).or_default().push(longest);
                if longest > self.bounds.stage.as_secs_f64() {
                    report.faults.push(format!("{what}: a lane of {stage} stood still for {longest:.1} s meanwhile"));
                }
            }
        }
        let shut = self.senders.taking().iter().map(|door| door.longest.as_secs_f64()).fold(0.0, f64::max);
        report.took.entry("ingest, while cut").or_default().push(shut);
        if shut > self.bounds.ingest.as_secs_f64() {
            report.faults.push(format!("{what}: ingest took nothing for {shut:.1} s meanwhile"));
        }
        self.senders.forget();
        format!("{what}: stood still at most (s, by lane): {}; ingest {shut:.1}", words.join(", "))
    }

    /// Where every lane is. What no broker serves is left out.
    async fn places(&self) -> BTreeMap<Lane, Place> {
        let mut places = BTreeMap::new();
        if self.ingest_alone {
            return places;
        }
        let Ok(cluster) = Cluster::seen_by(&self.brokers).await else { return places };
        for (number, (_, group, topic, _)) in STAGES.into_iter().enumerate() {
            let (Ok(ends), Ok(committed)) = (cluster.ends(topic).await, cluster.committed(group, topic).await) else {
                continue;
            };
            for (partition, end) in ends {
                let at = committed.get(&partition).copied().unwrap_or(0);
                places.insert((number, partition), Place { at, end });
            }
        }
        places
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  moves again  seconds after the last engine was ready, or still while cut, of each stage's slowest lane (blows, median, 95 %, \
             longest):"
        )?;
        for (stage, seconds) in &self.took {
            let mut sorted = seconds.clone();
            sorted.sort_by(f64::total_cmp);
            let at =
                |share: f64| sorted.get(((sorted.len() - 1) as f64 * share).round() as usize).copied().unwrap_or(0.0);
            write!(f, "\n    {stage}: {}, {:.1}, {:.1}, {:.1}", sorted.len(), at(0.5), at(0.95), at(1.0))?;
        }
        Ok(())
    }
}
