//! What keeps the topic `links`: it writes the operator's list to it, and tells expiries.
//!
//! One instance does it, the one with lane 0. That is a hint; the fence `hookline-links` makes it true. Whatever it was
//! about to do when it ended is found again by comparing the list with the topic: what is the same is not written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::ListPlace;
use enrich::{Catalogue, ListInForce};
use event::wire::Ids;
use event::{LinkRecord, Millis, Teller};
use kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use kafka::lane::{End, Fence, LaneProducer, NO_HEADERS, TRANSACTION_TIMEOUT, Writes, pause};
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use prometheus::{Gauge, IntCounter};
use runtime::beats::{Beat, Beats};
use runtime::clock::{Moment, monotonic_ms, now_ms};
use runtime::{Backoff, Live, Shutdown, Telemetry};

use super::expiry;
use super::follow::Standing;
use super::list::{List, Look};
use crate::clock::Clock;
use crate::{Decisions, Followed, SERVICE, StartError};

/// The transactional id of the keeper.
const WRITER: &str = "hookline-links";
/// Records of one transaction.
const AT_ONCE: usize = 2_000;
/// How often the list and the clock are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often the catalogue is looked through for expiries at most.
const EXPIRIES_EVERY: Duration = Duration::from_secs(5);
/// Expiries that are told at once.
const EXPIRIES_AT_ONCE: usize = 500;
/// How long the broker's clock is believed after it was heard: this machine's monotonic clock goes on from it.
const HEARD_FOR_MS: i64 = 600_000;
/// How long reading a list and writing it may take before the thread counts as stuck.
const TAKES: Duration = Duration::from_secs(1_800);
/// How long `raw` may take to have what is told.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(15);
/// How long the topic may take to be read to its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// After a try that failed, the next one comes this late.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(20));
/// The name of a list where the configuration names none any more.
const NO_LIST: &str = "none";

/// What the keeper needs.
pub(crate) struct Settings {
    pub(crate) cluster: Cluster,
    pub(crate) ids: Ids,
    pub(crate) lanes: u16,
    pub(crate) decisions: Live<Decisions>,
    pub(crate) data: PathBuf,
    pub(crate) links: Arc<Followed>,
    pub(crate) refused: Gauge,
}

/// Starts the thread of the keeper. It ends after the stop is given.
pub(crate) fn start(settings: Settings, telemetry: &Telemetry, shutdown: &Shutdown) -> Result<(), StartError> {
    let told = telemetry.metrics.counter(
        "catalogue_expiries_total",
        "Expiries of links that were told as an event, since their platform tells none",
        &[],
    )?;
    let failures = telemetry.metrics.counter(
        "catalogue_write_failures_total",
        "Times that the list of links or an expiry could not be written to Kafka; each is tried again",
        &[],
    )?;
    let beats = telemetry.beats.clone();
    let beat = beats.register("links-keeper", "the list of links");
    let mut keeper = Keeper {
        settings,
        place: None,
        list: None,
        had_list: false,
        writer: None,
        clock: Clock::opened(),
        heard_ms: None,
        looked: None,
        told: told.with_label_values::<&str>(&[]),
        failures: failures.with_label_values::<&str>(&[]),
        pauses: PAUSES,
        beats,
        shutdown: shutdown.clone(),
    };
    std::thread::Builder::new().name("links-keeper".into()).spawn(move || keeper.run(&beat))?;
    Ok(())
}

struct Keeper {
    settings: Settings,
    /// Where the list is that is looked at.
    place: Option<ListPlace>,
    list: Option<List>,
    /// A list was in force at the last look.
    had_list: bool,
    writer: Option<LaneProducer>,
    clock: Clock,
    /// When the broker's clock was heard, by the monotonic clock.
    heard_ms: Option<i64>,
    looked: Option<Looked>,
    told: IntCounter,
    failures: IntCounter,
    /// Until the next try after one that failed.
    pauses: Backoff,
    beats: Beats,
    shutdown: Shutdown,
}

/// The last look through the catalogue for expiries.
struct Looked {
    at: Instant,
    /// The version of the catalogue.
    version: u64,
    /// When the next one is due, in milliseconds since 1970.
    next_ms: i64,
}

impl Keeper {
    fn run(&mut self, beat: &Beat) {
        let mut was_ours = false;
        while !self.shutdown.is_stopping() {
            beat.tick();
            let is_ours = self.settings.links.is_claimed();
            if is_ours {
                if !was_ours && let Some(list) = &mut self.list {
                    list.look_again();
                }
                beat.allow(TAKES);
                match self.turn() {
                    Ok(()) => self.pauses.reset(),
                    Err(end) => self.lost(&end),
                }
            } else {
                self.writer = None;
                if was_ours {
                    self.settings.links.list_problem(None);
                    self.settings.refused.set(0.0);
                }
            }
            was_ours = is_ours;
            pause("the next look at the list of links", EVERY);
        }
    }

    /// What was under way did not come to its end: it is found again by the next look.
    fn lost(&mut self, end: &End) {
        let wait = self.pauses.pause();
        if !self.shutdown.is_stopping() {
            let why = format!("the catalogue of links could not be written: {end}");
            tracing::warn!(service = SERVICE, wait_s = wait.as_secs_f64(), "{why}; it is tried again");
            if self.list.is_some() {
                self.settings.links.list_problem(Some(why));
            }
            self.failures.inc();
        }
        (self.writer, self.looked) = (None, None);
        if let Some(list) = &mut self.list {
            list.look_again();
        }
        pause("another try to write the catalogue", wait);
    }

    fn turn(&mut self) -> Result<(), End> {
        let place = self.settings.decisions.current().list.clone();
        if place != self.place {
            self.list = place.as_ref().map(|place| List::at(place, &self.settings.data));
            self.place = place;
        }
        // What cannot be told keeps no list back that is the first one.
        let told = self.tell_expiries();
        let has_list = self.settings.links.standing().is_some_and(|standing| standing.in_force.is_some());
        if std::mem::replace(&mut self.had_list, has_list)
            && !has_list
            && let Some(list) = &mut self.list
        {
            // The topic was made anew: the list is written to it again, whether it has changed or not.
            list.look_again();
        }
        match self.list.as_mut().map(|list| list.look(has_list)) {
            Some(Look::Nothing) => {}
            Some(Look::List(list)) => {
                if has_list {
                    self.tell_all()?;
                }
                self.take_up(&list, &format!("{:016x}", list.version()))?;
                self.settings.refused.set(0.0);
                self.settings.links.list_problem(None);
            }
            Some(Look::Refused(why)) => {
                self.settings.refused.set(1.0);
                let standing = self.settings.links.standing();
                let then = match standing.and_then(|standing| standing.in_force) {
                    Some(_) => "the list before it stays in force",
                    None => "there was no list before it, and no lane starts without one",
                };
                tracing::error!(service = SERVICE, "{why}; {then}");
                self.settings.links.list_problem(Some(why));
            }
            None => {
                self.take_away()?;
                self.settings.links.list_problem(None);
                self.settings.refused.set(0.0);
            }
        }
        told.map(|_| ())
    }

    /// Tells all that is due before another list is taken up: what that says is known from then on, and what was over
    /// before it was known is not told.
    fn tell_all(&mut self) -> Result<(), End> {
        loop {
            self.looked = None;
            if !self.tell_expiries()? || self.shutdown.is_stopping() {
                return Ok(());
            }
        }
    }

    /// The configuration names no list: what one said before is taken away.
    fn take_away(&mut self) -> Result<(), End> {
        let standing = self.settings.links.standing();
        let in_force = standing.and_then(|standing| standing.in_force);
        if in_force.is_some_and(|in_force| in_force.digest != NO_LIST) {
            let empty = Catalogue::read(&b"link\n"[..]).map_err(|error| End::Retry(error.to_string()))?;
            self.take_up(&empty, NO_LIST)?;
        }
        Ok(())
    }

    /// Writes what the list says and the topic does not, and that it is in force.
    fn take_up(&mut self, list: &Catalogue, digest: &str) -> Result<(), End> {
        let Standing { catalogue, in_force } = self.current()?;
        if in_force.is_some_and(|in_force: ListInForce| in_force.digest == digest) {
            return Ok(());
        }
        let mut changes = catalogue.changes(list).peekable();
        let mut changed = 0_u64;
        while changes.peek().is_some() {
            changed += self.write(changes.by_ref().take(AT_ONCE))?;
            if self.shutdown.is_stopping() {
                return Err(End::Retry("the stop was given".to_owned()));
            }
        }
        let links = list.len() as u64;
        let in_force = LinkRecord {
            teller: Teller::InForce,
            at: Millis(now_ms()),
            digest: digest.into(),
            links,
            ..LinkRecord::default()
        };
        self.write(std::iter::once(in_force))?;
        tracing::info!(service = SERVICE, links, changed, digest, "labels go by the new list of links");
        Ok(())
    }

    /// The catalogue up to the end of the topic, to which no other instance writes lists from here on.
    fn current(&mut self) -> Result<Standing, End> {
        let Settings { cluster, links, .. } = &self.settings;
        if self.writer.is_none() {
            let writes = Writes::records([(Topic::Links, 0)]);
            self.writer = Some(Fence::open_id(cluster, WRITER, TRANSACTION_TIMEOUT, writes)?);
        }
        let end = Positions::open(cluster, kafka::groups::LINKS, PATIENCE)?.watermarks(Topic::Links, 0)?.end;
        links.wait_for(u64::try_from(end).unwrap_or(0), false, PATIENCE, &self.shutdown)
    }

    /// Writes records in one transaction; how many.
    fn write<'r>(&mut self, records: impl Iterator<Item = LinkRecord<'r>>) -> Result<u64, End> {
        let Some(writer) = self.writer.as_mut() else { return Err(End::Retry("the keeper has no fence".to_owned())) };
        writer.begin()?;
        let (mut value, mut count) = (Vec::new(), 0);
        for record in records {
            value.clear();
            record.write(&self.settings.ids, &mut value);
            writer.send(Topic::Links, 0, Some(record.key().as_bytes()), Some(&value), NO_HEADERS)?;
            count += 1;
        }
        if count == 0 {
            // A record without a value takes nothing away: it is there for the time that the broker stamps on it.
            writer.send(Topic::Links, 0, Some(b"clock"), None, NO_HEADERS)?;
        }
        let written = writer.flush()?;
        writer.commit(kafka::groups::LINKS, &[])?;
        let heard = Moment::now();
        self.clock.hear(heard, written.stamped_ms(Topic::Links, 0).unwrap_or(heard.wall_ms));
        self.heard_ms = Some(heard.monotonic_ms);
        Ok(count)
    }

    /// The time by the earlier of the broker's clock and ours: one that jumped ahead expires nothing.
    fn time_ms(&mut self) -> Result<i64, End> {
        let is_heard = self.heard_ms.is_some_and(|heard_ms| monotonic_ms() - heard_ms < HEARD_FOR_MS);
        if !is_heard {
            self.current()?;
            self.write(std::iter::empty())?;
        }
        let now = Moment::now();
        Ok(self.clock.time(now).unwrap_or(now.wall_ms))
    }

    /// Tells what has expired: first as events on `raw`, then on `links` that they were told. What a crash between the
    /// two tells again has the same key, and is a duplicate. Whether there was any.
    fn tell_expiries(&mut self) -> Result<bool, End> {
        let Some(Standing { catalogue, .. }) = self.settings.links.standing() else { return Ok(false) };
        let (now, version) = (now_ms(), catalogue.version());
        let nothing_new = self.looked.as_ref().is_some_and(|looked| {
            looked.at.elapsed() < EXPIRIES_EVERY || (looked.version == version && now < looked.next_ms)
        });
        if nothing_new {
            return Ok(false);
        }
        let (due, next) = catalogue.due(now, EXPIRIES_AT_ONCE);
        self.looked = Some(Looked { at: Instant::now(), version, next_ms: next.unwrap_or(i64::MAX) });
        if due.is_empty() {
            return Ok(false);
        }
        let time_ms = self.time_ms()?;
        let due: Vec<_> = due.into_iter().filter(|due| due.tell_ms <= time_ms).collect();
        // What is due by our clock alone is looked at again.
        self.looked = Some(Looked { at: Instant::now(), version: 0, next_ms: 0 });
        if due.is_empty() {
            return Ok(false);
        }
        // What was told meanwhile by another owner is known once the fence is ours and the topic is read.
        let Standing { catalogue, .. } = self.current()?;
        let (untold, _) = catalogue.due(time_ms, EXPIRIES_AT_ONCE);
        let own = untold.iter().filter(|due| !due.is_other_name);
        let told: Vec<_> = own.filter_map(|due| expiry::told(due, time_ms, self.settings.lanes)).collect();
        self.append(&told)?;
        let noted = untold.iter().map(|due| LinkRecord {
            teller: Teller::Timer,
            link: due.link.as_str().into(),
            expires: Millis(due.expires_ms),
            ..LinkRecord::default()
        });
        self.write(noted)?;
        self.told.inc_by(told.len() as u64);
        tracing::info!(service = SERVICE, links = told.len(), "links have expired, which is told as events");
        Ok(true)
    }

    /// Appends to `raw`, as ingest does: never in a transaction, so that its offsets have no gap.
    fn append(&self, told: &[expiry::Told]) -> Result<(), End> {
        let failed = |error: &dyn std::fmt::Display| {
            End::Retry(format!("expiries could not be told on {}: {error}", Topic::Raw))
        };
        let options = EdgeOptions { beats: self.beats.clone(), ..EdgeOptions::default() };
        let producer = EdgeProducer::open(&self.settings.cluster, options).map_err(|error| failed(&error))?;
        let until = Instant::now() + ACKNOWLEDGE_WITHIN;
        while !producer.is_up() {
            if Instant::now() >= until || self.shutdown.is_stopping() {
                return Err(failed(&"Kafka is not reachable"));
            }
            pause("Kafka", Duration::from_millis(20));
        }
        let records: Vec<_> = told
            .iter()
            .map(|told| EdgeRecord {
                topic: Topic::Raw,
                partition: told.lane,
                key: told.key.as_bytes(),
                payload: &told.body,
                headers: &told.headers,
            })
            .collect();
        let delivery = producer.send(&records).map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let reports = runtime.block_on(delivery.wait(Instant::now() + ACKNOWLEDGE_WITHIN));
        match reports.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => Err(failed(&error)),
        }
    }
}
