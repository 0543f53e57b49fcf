//! Dead letters appended to `raw` again.
//!
//! A redriven record is a new record with a new received time: `process` reads it with today's adapters and deduplicates it like any
//! other, so an event that came in another way in the meantime counts once. The dedupe window forgets after days, and dead letters
//! are kept for weeks; so what counts already, whenever that was, is looked up and not appended.
//!
//! A letter may become several records, on several partitions, and a redrive may be cut short between any two of them.
//! So what is about to be appended is noted first, and that it is done once Kafka has all of it: a letter that was only
//! begun is open, and is taken again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::Millis;
use event::lane;
use event::trace::TRACEPARENT;
use kafka::Topic;
use kafka::control::Control;
use kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use process::{Pipeline, Step};
use serde::Serialize;
use traces::{At, Span, Traces, conventions};
use warehouse::{DeadLetterFilter, DeadLetterRow, DeadLetterState, Decided, Decision, Warehouse};

use super::body::{self, DeadLetterBody};
use super::plan::{RedriveRecord, plan};
use super::tally::{Stays, Tally};
use super::{Pages, after, current, is_said};
use crate::error::{During, refuse_unless};
use crate::{Installation, Report, Result, clock};

/// How long brokers may take to be reached, and to acknowledge.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Dead letters taken at once: their bytes are 256 KiB each at most, as a rule.
const PAGE: u64 = 200;

/// A redrive.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Which dead letters; its state does not count.
    pub filter: DeadLetterFilter,
    /// Whether all of them are meant, so that the filter names none.
    pub all: bool,
    /// Also those that were redriven or discarded before, that cannot be read today, or that count already.
    pub force: bool,
    /// Who does it. Empty for a dry run.
    pub who: String,
    /// Why; it stays beside each of them.
    pub why: String,
    /// So many at most, the oldest first.
    pub limit: u64,
    /// Whether to say only what would become of them.
    pub dry_run: bool,
}

/// What came of a redrive.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RedriveReport {
    /// Whether there were dead letters and none stays.
    pub ok: bool,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// Dead letters looked at.
    pub seen: u64,
    /// Dead letters that were redriven, or would be.
    pub redriven: u64,
    /// Records that were appended for them, or would be.
    pub appended: u64,
    /// Among those, records that will be dead letters again.
    pub unreadable: u64,
    /// Dead letters that stay as they are.
    pub left: u64,
    /// How many of them, by why.
    pub skipped: BTreeMap<String, u64>,
    /// Of a reason above, what was found in the first of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub examples: BTreeMap<String, String>,
    /// Whether it was ended before it had looked at all of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// Whether those were meant too that are not open.
    #[serde(skip)]
    pub force: bool,
}

/// A redrive that is looked at while it runs, and may be ended between two of its steps.
#[derive(Debug, Default)]
pub struct Watch {
    cancelled: AtomicBool,
    so_far: Mutex<RedriveReport>,
}

impl Watch {
    /// Ends it after the step that it is in: what was redriven stays so, and the rest stays open.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether it was told to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// What came of it, as of the end of its last step.
    #[must_use]
    pub fn so_far(&self) -> RedriveReport {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, report: RedriveReport) {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

impl Report for RedriveReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Appends dead letters to `raw` again, to be adapted as of today; each event counts once.
///
/// # Errors
/// When nothing was said about which, or an engine fails.
pub async fn redrive(installation: &Installation, request: &Redrive) -> Result<RedriveReport> {
    redrive_watched(installation, request, &Watch::default()).await
}

/// The same, watched.
///
/// # Errors
/// As for [`redrive`].
pub async fn redrive_watched(installation: &Installation, request: &Redrive, watch: &Watch) -> Result<RedriveReport> {
    is_said(&request.filter, request.all)?;
    let warehouse = installation.connect().await?;
    let filter = meant(request, clock::now());
    let state = filter.state;
    let (filter, control) = current(installation, filter).await?;
    let pipeline = installation.pipeline()?;
    let producer = if request.dry_run { None } else { Some(connect(installation).await?) };
    let mut run = Run {
        request,
        config: &installation.config,
        warehouse: &warehouse,
        lanes: control.lanes,
        incarnation: &control.incarnation,
        producer,
        traces: installation.start_traces(&runtime::Telemetry::new(installation.config.version_hash())?)?,
        tally: Tally::default(),
    };
    let mut pages = Pages::new(filter, PAGE, request.limit);
    let cancelled = loop {
        if watch.is_cancelled() {
            break true;
        }
        // Those that were redriven are no longer open; the others stand first again.
        let skip = if request.dry_run || state.is_none() { run.tally.seen } else { run.tally.left() };
        let rows = pages.next(&warehouse, skip).await?;
        if rows.is_empty() {
            break false;
        }
        let letters = body::fetch(installation, &rows).await?;
        run.page(&pipeline, &control, &rows, &letters).await?;
        watch.note(run.tally.report(request, false));
    };
    run.traces.finish().await;
    Ok(run.tally.report(request, cancelled))
}

/// Which dead letters a redrive that begins `now` takes. None that was received later: what it appends may become a
/// dead letter again, which the same filter would meet before it has reached its end.
fn meant(request: &Redrive, now: Millis) -> DeadLetterFilter {
    // A single record that was decided about before is refused by name; among many, only the open ones are meant.
    let state = (!request.force && request.filter.offset.is_none()).then_some(DeadLetterState::Open);
    let until = request.filter.until.map_or(now.0, |until| until.min(now.0));
    DeadLetterFilter { state, until: Some(until), ..request.filter.clone() }
}

async fn connect(installation: &Installation) -> Result<EdgeProducer> {
    let options = EdgeOptions { delivery_timeout: DELIVERY_TIMEOUT, ..EdgeOptions::default() };
    let producer = EdgeProducer::open(&installation.cluster, options)?;
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    while !producer.is_up() {
        refuse_unless!(
            Instant::now() < deadline,
            "Kafka at {} is not reachable within {} s; nothing was redriven",
            installation.cluster.brokers,
            DELIVERY_TIMEOUT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(producer)
}

struct Run<'r> {
    request: &'r Redrive,
    config: &'r config::Config,
    warehouse: &'r Warehouse,
    lanes: u16,
    incarnation: &'r str,
    /// `None` for a dry run.
    producer: Option<EdgeProducer>,
    traces: Traces,
    tally: Tally,
}

impl Run<'_> {
    async fn page(
        &mut self,
        pipeline: &Pipeline,
        control: &Control,
        rows: &[DeadLetterRow],
        letters: &HashMap<(u16, u64), DeadLetterBody>,
    ) -> Result<()> {
        self.tally.seen += rows.len() as u64;
        let names: Vec<String> = rows.iter().map(|row| format!("{}/{}", row.lane, row.raw_offset)).collect();
        // The view says so too, as of the moment when it was read: this is the last look before appending.
        let redriven: HashSet<String> = self.warehouse.redriven(self.incarnation, &names).await?.into_iter().collect();
        let now = clock::now().0;
        let mut chosen: Vec<(&DeadLetterRow, Vec<RedriveRecord>)> = Vec::new();
        {
            let mut step = Step::new(pipeline, control);
            for (row, name) in rows.iter().zip(&names) {
                match self.choose(&mut step, row, redriven.contains(name), letters, now) {
                    Ok(records) => chosen.push((row, records)),
                    Err(why) => self.tally.skip(why),
                }
            }
        }
        let mut chosen = self.without_counted(chosen).await?;
        for (_, records) in &chosen {
            self.tally.redriven += 1;
            self.tally.appended += records.len() as u64;
            self.tally.unreadable += records.iter().filter(|record| record.dead.is_some()).count() as u64;
        }
        if self.request.dry_run || chosen.is_empty() {
            return Ok(());
        }
        // Before the first record: who asked for it, and why, is known whatever happens then.
        let begun = self
            .note(&chosen, Decided::Redriving, None)
            .await
            .during(|| "nothing of this step was appended".to_owned())?;
        self.append(&mut chosen).await?;
        self.note(&chosen, Decided::Redriven, Some(begun)).await.during(|| {
            "what this step appends is appended, and that could not be written down: its letters are still open; redrive them again, \
             an event counts once in any case"
                .to_owned()
        })?;
        Ok(())
    }

    /// What a row becomes, or why it stays as it is.
    fn choose(
        &self,
        step: &mut Step<'_>,
        row: &DeadLetterRow,
        redriven: bool,
        letters: &HashMap<(u16, u64), DeadLetterBody>,
        now: i64,
    ) -> Result<Vec<RedriveRecord>, Stays> {
        let force = self.request.force;
        if !force && was_redriven(row, redriven) {
            return Err("was redriven before".into());
        }
        if !force && row.state == DeadLetterState::Discarded.name() {
            return Err("was discarded".into());
        }
        let Some(letter) = letters.get(&(row.lane, row.raw_offset)) else {
            return Err("the topic dead-letters no longer holds its bytes".into());
        };
        let records =
            plan(self.config, step, letter, &row.event_key, (row.lane, row.raw_offset), now).map_err(|dead| Stays {
                why: format!("it is not known how to read it ({})", dead.reason),
                detail: dead.detail,
            })?;
        match records.iter().all(|record| record.dead.is_some()).then(|| records.first()).flatten() {
            Some(RedriveRecord { dead: Some(dead), .. }) if !force => Err(Stays {
                why: format!("would be a dead letter again ({})", dead.reason),
                detail: dead.detail.clone(),
            }),
            _ => Ok(records),
        }
    }

    /// Leaves out events that count already, whenever that was.
    async fn without_counted<'c>(
        &mut self,
        chosen: Vec<(&'c DeadLetterRow, Vec<RedriveRecord>)>,
    ) -> Result<Vec<(&'c DeadLetterRow, Vec<RedriveRecord>)>> {
        if self.request.force {
            return Ok(chosen);
        }
        let keys: Vec<&str> =
            chosen.iter().flat_map(|(_, records)| records.iter().map(|record| record.key.as_str())).collect();
        let mut counted = HashSet::new();
        for keys in keys.chunks(1_000) {
            for row in self.warehouse.counted_keys(keys).await? {
                counted.insert((row.source, row.event_key));
            }
        }
        let mut left = Vec::new();
        for (row, records) in chosen {
            match missing(row, records, |key| counted.contains(&(row.source.clone(), key.to_owned()))) {
                Some(records) => left.push((row, records)),
                None => self.tally.skip("counts already: the event came in another way"),
            }
        }
        Ok(left)
    }

    /// Appends the records, and returns once the in-sync replicas have them all.
    async fn append(&self, chosen: &mut [(&DeadLetterRow, Vec<RedriveRecord>)]) -> Result<()> {
        let Some(producer) = &self.producer else { return Ok(()) };
        let mut spans = self.begin_traces(chosen);
        let records: Vec<EdgeRecord<'_>> = chosen
            .iter()
            .flat_map(|(_, records)| records)
            .map(|record| EdgeRecord {
                topic: Topic::Raw,
                partition: lane::of_key(record.key.as_bytes(), self.lanes),
                key: record.key.as_bytes(),
                payload: &record.body,
                headers: &record.headers,
            })
            .collect();
        if records.is_empty() {
            // All of it counts already: only the note was missing.
            return Ok(());
        }
        let unknown = "some of what this step appends may be missing: all its letters are still open, so redrive them again; an event \
                       counts once in any case";
        let delivery = producer.send(&records).during(|| "nothing of this step was appended".to_owned())?;
        for report in delivery.wait(Instant::now() + DELIVERY_TIMEOUT).await {
            report.during(|| unknown.to_owned())?;
        }
        spans.iter_mut().for_each(Span::end);
        self.traces.publish(spans);
        Ok(())
    }

    /// A new trace for each record whose letter was traced, where spans are sent; the record's header says so.
    fn begin_traces(&self, chosen: &mut [(&DeadLetterRow, Vec<RedriveRecord>)]) -> Vec<Span> {
        let mut spans = Vec::new();
        for record in chosen.iter_mut().flat_map(|(_, records)| records).filter(|_| self.traces.is_on()) {
            let Some(died_in) = record.died_in else { continue };
            let partition = lane::of_key(record.key.as_bytes(), self.lanes);
            let span = conventions::redrive(At { topic: Topic::Raw.name(), partition, offset: None }, died_in);
            record.headers.push((TRACEPARENT.into(), span.context().to_header().into_bytes()));
            spans.push(span);
        }
        spans
    }

    /// Notes it beside each letter; when, for each, so that what is noted next is later.
    async fn note(
        &self,
        chosen: &[(&DeadLetterRow, Vec<RedriveRecord>)],
        decided: Decided,
        begun: Option<Vec<Millis>>,
    ) -> Result<Vec<Millis>> {
        let now = clock::now();
        let before: Vec<i64> = match begun {
            Some(begun) => begun.into_iter().map(|at| at.0).collect(),
            None => chosen.iter().map(|(row, _)| row.decided_at).collect(),
        };
        let decisions: Vec<Decision> = chosen
            .iter()
            .zip(before)
            .map(|((row, _), before)| Decision {
                lane: row.lane,
                raw_offset: row.raw_offset,
                decided,
                at: after(before, now),
                who: self.request.who.clone(),
                why: self.request.why.clone(),
            })
            .collect();
        self.warehouse.decide(self.incarnation, &decisions).await?;
        Ok(decisions.into_iter().map(|decision| decision.at).collect())
    }
}

/// Whether a redrive of it has ended: that was noted, or its own rows say so. Those of one that was only begun say
/// nothing of the rest.
fn was_redriven(row: &DeadLetterRow, has_rows: bool) -> bool {
    row.state == DeadLetterState::Redriven.name() || (has_rows && !row.is_begun())
}

/// The records of a letter that do not count yet; `None` where there is nothing to do. A letter whose redrive was cut
/// short after its last record has none that is missing: that it is redriven is still to be noted.
fn missing(
    row: &DeadLetterRow,
    mut records: Vec<RedriveRecord>,
    counts: impl Fn(&str) -> bool,
) -> Option<Vec<RedriveRecord>> {
    records.retain(|record| !counts(&record.key));
    (!records.is_empty() || row.is_begun()).then_some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(state: &str, decided_at: i64) -> DeadLetterRow {
        DeadLetterRow {
            incarnation: "i".into(),
            lane: 2,
            raw_offset: 7,
            received_at: 1,
            source: "shop".into(),
            event_key: "hash".into(),
            request_id: "req_1".into(),
            stage: "ingest".into(),
            reason: "not_json".into(),
            detail: String::new(),
            redrive_of: String::new(),
            state: state.into(),
            decided_at,
            decided_by: String::new(),
            decided_why: String::new(),
        }
    }

    fn records(keys: &[&str]) -> Vec<RedriveRecord> {
        let record = |key: &&str| RedriveRecord {
            key: (*key).to_owned(),
            body: Vec::new(),
            headers: Vec::new(),
            died_in: None,
            dead: None,
        };
        keys.iter().map(record).collect()
    }

    #[test]
    fn a_letter_that_was_cut_in_the_middle_is_offered_again_with_what_is_missing() {
        let begun = letter("open", 5);
        assert!(!was_redriven(&begun, true), "one row of it is there, and others may be missing");
        let left = missing(&begun, records(&["a", "b", "c"]), |key| key == "b").unwrap();
        assert_eq!(left.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        // All of it counts, and only the last note is missing: it is to be noted, and nothing to be appended.
        assert_eq!(missing(&begun, records(&["a", "b"]), |_| true), Some(Vec::new()));
    }

    #[test]
    fn a_redrive_takes_no_letter_that_was_received_after_it_began() {
        let of = |until, force| {
            let filter = DeadLetterFilter { source: Some("shop".into()), until, ..DeadLetterFilter::default() };
            let (who, why) = (String::new(), String::new());
            meant(&Redrive { filter, all: false, force, who, why, limit: 9, dry_run: false }, Millis(50))
        };
        assert_eq!(
            (of(None, true).until, of(Some(70), true).until, of(Some(30), true).until),
            (Some(50), Some(50), Some(30))
        );
        assert_eq!((of(None, false).state, of(None, true).state), (Some(DeadLetterState::Open), None));
        assert_eq!(of(None, true).source.as_deref(), Some("shop"));
    }

    #[test]
    fn a_letter_whose_redrive_has_ended_is_not_taken_again() {
        assert!(was_redriven(&letter("redriven", 5), false), "its rows take a moment");
        assert!(was_redriven(&letter("open", 0), true), "nothing is noted: its rows say so");
        assert!(!was_redriven(&letter("open", 0), false));
        // Nothing was begun here: the event came in another way.
        assert_eq!(missing(&letter("open", 0), records(&["a"]), |_| true), None);
    }

    #[test]
    fn what_is_noted_later_is_later_whatever_the_clock_says() {
        assert_eq!((after(0, Millis(7)), after(7, Millis(7)), after(9, Millis(7))), (Millis(7), Millis(8), Millis(10)));
    }
}
