//! Reading the topic `links`, for all lanes of this process.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use enrich::{Catalogue, Links, ListInForce};
use event::LinkRecord;
use event::wire::Ids;
use kafka::lane::{
    End, EndIs, Ends, Isolation, LaneReader, ReadError, Record, ScanError, Scanned, pause, read_all_committed,
};
use kafka::{Cluster, Topic};
use prometheus::Gauge;
use runtime::beats::Beat;
use runtime::clock::monotonic_ms;
use runtime::{Shutdown, Telemetry};

use crate::{SERVICE, StartError};

/// How long a fetch waits for something new.
const WAIT: Duration = Duration::from_millis(250);
/// While there is more to read, lanes are given what was read this often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// How long reading the whole topic may take before the thread counts as stuck.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// How long after its last claim an instance still counts as the one that keeps the catalogue.
const CLAIM_LASTS_MS: i64 = 20_000;

/// The topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// The broker does not give its records.
    #[error("the topic of links cannot be read: {0}")]
    Read(#[from] ReadError),
    /// It gave nothing for too long.
    #[error("the topic of links cannot be read: {0}")]
    Stalled(String),
    /// A record is not what this version writes.
    #[error(
        "the record at offset {offset} of {} cannot be read: {why}; start the version that wrote it, or a newer one",
        Topic::Links
    )]
    Unreadable {
        /// Where it stands.
        offset: i64,
        /// What is wrong with it.
        why: event::DecodeError,
    },
    /// A broker says that the topic ends before what was read.
    #[error(
        "a broker says that {} ends at offset {end}, and all below {read} was read: it may be cut off from the others; \
         after 30 s of such answers the topic counts as made anew",
        Topic::Links
    )]
    Behind {
        /// Where it says that the topic ends.
        end: i64,
        /// One past what was read.
        read: i64,
    },
}

impl From<ScanError<LinksError>> for LinksError {
    fn from(error: ScanError<LinksError>) -> Self {
        match error {
            ScanError::Caller(error) => error,
            ScanError::Read(error) => error.into(),
            stalled @ ScanError::Stalled { .. } => LinksError::Stalled(stalled.to_string()),
        }
    }
}

/// Reads the catalogue as it is now. Blocking, for tools.
///
/// # Errors
/// When the topic cannot be read, or has a record that this version does not know.
pub fn read_links(cluster: &Cluster, ids: &Ids) -> Result<Catalogue, LinksError> {
    let mut links = Links::default();
    let scanned = read_all_committed(cluster, Topic::Links, 0, None, None, |record| take(&mut links, ids, record))?;
    links.read_to(u64::try_from(scanned.end).unwrap_or(0));
    Ok(links.catalogue())
}

/// Takes in one record. One without a value takes away what was said under its key (`hookline erase`), or is there for
/// its time alone.
fn take(links: &mut Links, ids: &Ids, record: &Record<'_>) -> Result<(), LinksError> {
    let (offset, at) = (record.offset(), u64::try_from(record.offset()).unwrap_or(0));
    match (record.payload(), record.key().map(str::from_utf8)) {
        (Some(value), _) => {
            let decoded = LinkRecord::from_wire(ids, value).map_err(|why| LinksError::Unreadable { offset, why })?;
            links.apply(at, record.timestamp_ms(), &decoded);
        }
        (None, Some(Ok(key))) => links.erase(at, key),
        (None, _) => {}
    }
    Ok(())
}

/// How far the topic was read, as lanes and the keeper see it.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) in_force: Option<ListInForce>,
}

/// What is shared by the thread that reads, the lanes and the keeper.
#[derive(Debug, Default)]
pub struct Followed {
    standing: Mutex<Option<Standing>>,
    /// What keeps it from reading on.
    problem: Mutex<Option<String>>,
    /// What is wrong with the list, where this instance keeps it.
    list_problem: Mutex<Option<String>>,
    /// A lane or the keeper waits until everything below this offset was read.
    wanted: AtomicU64,
    /// When lane 0 last said that it is at work here, by the monotonic clock; 0: it is not.
    claimed_ms: AtomicI64,
}

impl Followed {
    /// Lane 0 is at work here: the instance keeps the catalogue.
    pub(crate) fn claim(&self) {
        self.claimed_ms.store(monotonic_ms().max(1), Ordering::Relaxed);
    }

    /// Lane 0 has left.
    pub(crate) fn release(&self) {
        self.claimed_ms.store(0, Ordering::Relaxed);
    }

    /// Whether this instance keeps the catalogue.
    pub(crate) fn is_claimed(&self) -> bool {
        let claimed_ms = self.claimed_ms.load(Ordering::Relaxed);
        claimed_ms != 0 && monotonic_ms() - claimed_ms < CLAIM_LASTS_MS
    }

    /// As far as it was read; `None` before all of it was once.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The catalogue as it is, if it is another than `known`.
    pub(crate) fn newer(&self, known: &Arc<Catalogue>) -> Option<Arc<Catalogue>> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = &standing.as_ref()?.catalogue;
        (!Arc::ptr_eq(newest, known)).then(|| Arc::clone(newest))
    }

    pub(crate) fn list_problem(&self, problem: Option<String>) {
        *self.list_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Waits until everything below `next` was read and, if `needs_list`, a list is in force; at most `patience`.
    ///
    /// # Errors
    /// [`End::Retry`] when it takes longer, with the reason.
    pub(crate) fn wait_for(
        &self,
        next: u64,
        needs_list: bool,
        patience: Duration,
        shutdown: &Shutdown,
    ) -> Result<Standing, End> {
        self.wanted.fetch_max(next, Ordering::Relaxed);
        let until = Instant::now() + patience;
        loop {
            let standing = self.standing();
            if let Some(standing) = standing.as_ref()
                && standing.catalogue.version() >= next
                && (!needs_list || standing.in_force.is_some())
            {
                return Ok(standing.clone());
            }
            if Instant::now() >= until || shutdown.is_stopping() {
                return Err(End::Retry(self.why_not(standing.as_ref(), next)));
            }
            pause("the catalogue of links", Duration::from_millis(20));
        }
    }

    fn why_not(&self, standing: Option<&Standing>, next: u64) -> String {
        let problem = |of: &Mutex<Option<String>>| of.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match standing {
            Some(standing) if standing.catalogue.version() >= next => {
                let why = problem(&self.list_problem)
                    .unwrap_or_else(|| "the instance that has lane 0 has not written it to the topic yet".to_owned());
                format!("no list of links has been in force yet: {why}")
            }
            _ => {
                let why = problem(&self.problem).unwrap_or_else(|| "it is being read".to_owned());
                format!("the catalogue was not read up to offset {next} of {}: {why}", Topic::Links)
            }
        }
    }
}

/// Starts to read the topic, and gives what it says to the lanes. The thread ends after the stop is given.
pub(crate) fn start(
    cluster: &Cluster,
    ids: Ids,
    followed: &Arc<Followed>,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
    timestamp: Gauge,
) -> Result<(), StartError> {
    let size = telemetry.metrics.gauge("catalogue_links", "Links that the catalogue knows something of", &[])?;
    let beyond = telemetry.metrics.gauge(
        "catalogue_records_beyond",
        "Records about links that were passed over, since the catalogue is full",
        &[],
    )?;
    let [size, beyond] = [size, beyond].map(|gauge| gauge.with_label_values::<&str>(&[]));
    let mut following = Following::new(cluster.clone(), ids, Arc::clone(followed), [size, beyond, timestamp]);
    let beat = telemetry.beats.register("links", "the catalogue of links");
    let shutdown = shutdown.clone();
    std::thread::Builder::new().name("links".into()).spawn(move || following.run(&beat, &shutdown))?;
    Ok(())
}

struct Following {
    cluster: Cluster,
    ids: Ids,
    followed: Arc<Followed>,
    links: Links,
    reader: Option<LaneReader>,
    /// What brokers have told of its end.
    ends: Ends,
    /// An answer told an end before what was read: the topic may have been made anew, and have grown past that since.
    read_whole: bool,
    published: Instant,
    unpublished: bool,
    size: Gauge,
    beyond: Gauge,
    timestamp: Gauge,
}

impl Following {
    fn new(cluster: Cluster, ids: Ids, followed: Arc<Followed>, [size, beyond, timestamp]: [Gauge; 3]) -> Self {
        Self {
            cluster,
            ids,
            followed,
            links: Links::default(),
            reader: None,
            ends: Ends::default(),
            read_whole: false,
            published: Instant::now(),
            unpublished: false,
            size,
            beyond,
            timestamp,
        }
    }

    fn run(&mut self, beat: &Beat, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            beat.tick();
            let turned = self.turn(beat);
            let followed = Arc::clone(&self.followed);
            let mut problem = followed.problem.lock().unwrap_or_else(PoisonError::into_inner);
            match turned {
                Ok(()) => *problem = None,
                Err(error) => {
                    let said = error.to_string();
                    if problem.as_deref() != Some(said.as_str()) {
                        tracing::warn!(service = SERVICE, "{said}; labels go by what was read before");
                    }
                    *problem = Some(said);
                    drop(problem);
                    self.reader = None;
                    pause("the topic of links", Duration::from_secs(1));
                }
            }
        }
    }

    fn turn(&mut self, beat: &Beat) -> Result<(), LinksError> {
        let wanted = self.followed.wanted.load(Ordering::Relaxed);
        if self.links.next() < wanted || self.reader.is_none() {
            beat.allow(READ_WITHIN);
            self.read_whole()?;
            if self.links.next() < wanted {
                // What is there is part of a transaction that is still open.
                pause("the end of a transaction on links", Duration::from_millis(100));
            }
            return Ok(());
        }
        let Self { reader: Some(reader), links, ids, .. } = self else { return Ok(()) };
        let records = reader.fetch(5_000, WAIT)?;
        for record in &records {
            take(links, ids, record)?;
        }
        self.unpublished |= !records.is_empty();
        let at_end = records.is_empty() || reader.is_at_end();
        drop(records);
        if self.unpublished && (at_end || self.published.elapsed() >= PUBLISH_EVERY) {
            self.publish();
        }
        Ok(())
    }

    /// Reads on to the end of the topic: all of it at first.
    fn read_whole(&mut self) -> Result<(), LinksError> {
        self.reader = None;
        let (cluster, ids) = (self.cluster.clone(), self.ids);
        let end = self.read_on(Instant::now(), |from, links| {
            read_all_committed(&cluster, Topic::Links, 0, from, None, |record| take(links, &ids, record))
        })?;
        self.reader = Some(LaneReader::open(&self.cluster, Topic::Links, 0, end, Isolation::Committed)?);
        self.publish();
        Ok(())
    }

    /// Takes in what `scan` reads from an offset on (`None`: all). Returns where that ends. What was held before is
    /// given up only for all of a topic that was made anew.
    fn read_on(
        &mut self,
        now: Instant,
        scan: impl Fn(Option<i64>, &mut Links) -> Result<Scanned, ScanError<LinksError>>,
    ) -> Result<i64, LinksError> {
        let next = i64::try_from(self.links.next()).unwrap_or(i64::MAX);
        let end = match scan((next > 0).then_some(next), &mut self.links) {
            Ok(scanned) => scanned.end,
            Err(ScanError::Read(ReadError::OutOfRange { high, .. })) if high < next => high,
            // It begins after what was read. Whatever became of the records between, all that is there is read again.
            Err(ScanError::Read(ReadError::OutOfRange { low, high, .. })) if low > next => {
                tracing::warn!(
                    service = SERVICE,
                    "{} begins at offset {low}, and only what is below {next} was read: it is read from its beginning",
                    Topic::Links
                );
                return self.read_anew(high, scan);
            }
            Err(error) => return Err(error.into()),
        };
        match self.ends.judge(end, next, now) {
            EndIs::Known if self.read_whole => self.read_anew(end, scan),
            EndIs::Known => {
                self.links.read_to(u64::try_from(end).unwrap_or(0));
                Ok(end)
            }
            EndIs::Doubted => {
                self.read_whole = true;
                Err(LinksError::Behind { end, read: next })
            }
            EndIs::OfAnother => {
                tracing::warn!(
                    service = SERVICE,
                    end,
                    read = next,
                    "{} was made anew: it ends before what was read, for 30 s, and is read from its beginning; until all \
                     of it is read, labels go by what was read before",
                    Topic::Links
                );
                self.read_anew(end, scan)
            }
        }
    }

    /// Reads all of it beside what is held, which it then takes the place of.
    fn read_anew(
        &mut self,
        known: i64,
        scan: impl Fn(Option<i64>, &mut Links) -> Result<Scanned, ScanError<LinksError>>,
    ) -> Result<i64, LinksError> {
        let mut links = Links::default();
        let end = scan(None, &mut links)?.end;
        if end < known {
            return Err(LinksError::Behind { end, read: known });
        }
        links.read_to(u64::try_from(end).unwrap_or(0));
        (self.links, self.read_whole, self.ends) = (links, false, Ends::default());
        // What was waited for is in the topic that is gone.
        self.followed.wanted.store(0, Ordering::Relaxed);
        Ok(end)
    }

    fn publish(&mut self) {
        let catalogue = Arc::new(self.links.catalogue());
        let in_force = self.links.in_force().cloned();
        self.size.set(catalogue.len() as f64);
        self.beyond.set(self.links.beyond() as f64);
        if let Some(in_force) = &in_force {
            self.timestamp.set((in_force.at_ms / 1_000) as f64);
        }
        let standing = Standing { catalogue, in_force };
        *self.followed.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
        self.published = Instant::now();
        self.unpublished = false;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn following() -> Following {
        let gauge = |name: &str| Gauge::new(name, "links").unwrap();
        let gauges = ["size", "beyond", "timestamp"].map(gauge);
        Following::new(Cluster::new("127.0.0.1:1"), Ids::FIXED, Arc::default(), gauges)
    }

    /// A topic of so many links, as a scan gives it.
    fn topic(end: i64) -> impl Fn(Option<i64>, &mut Links) -> Result<Scanned, ScanError<LinksError>> {
        move |from, links| {
            for at in from.unwrap_or(0)..end {
                let link = format!("go.acme.example/{at}");
                let record = LinkRecord { link: link.into(), owner: "growth".into(), ..LinkRecord::default() };
                links.apply(at.unsigned_abs(), at, &record);
            }
            Ok(Scanned { records: 0, last: None, end })
        }
    }

    /// The links and the version that lanes label by.
    fn served(following: &Following) -> (usize, u64) {
        let catalogue = following.followed.standing().unwrap().catalogue;
        (catalogue.len(), catalogue.version())
    }

    #[test]
    fn a_stale_answer_takes_nothing_away_and_a_topic_made_anew_is_taken_once_all_of_it_is_read() {
        let (mut following, begun) = (following(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        assert_eq!(following.read_on(begun, topic(10)).unwrap(), 10);
        following.publish();

        let said = following.read_on(at(1), topic(3)).unwrap_err().to_string();
        assert!(said.contains("ends at offset 3") && said.contains("below 10"), "{said}");
        following.publish();
        assert_eq!(served(&following), (10, 10));
        let asked = Cell::new(Some(0));
        let regrown = |from: Option<i64>, links: &mut Links| {
            asked.set(from);
            topic(12)(from, links)
        };
        assert_eq!(following.read_on(at(2), regrown).unwrap(), 12, "the leader answers");
        assert_eq!(asked.get(), None, "it may have been made anew and have grown since, so all of it is read");
        following.publish();
        assert_eq!(served(&following), (12, 12));

        for second in 100..130 {
            assert!(following.read_on(at(second), topic(3)).is_err());
        }
        let wanted = &following.followed.wanted;
        wanted.store(12, Ordering::Relaxed);
        // Reading all of it fails halfway at first.
        let halfway = Cell::new(true);
        let flawed = |from: Option<i64>, links: &mut Links| match (from, halfway.get()) {
            (None, true) => {
                topic(1)(from, links)?;
                Err(ScanError::Caller(LinksError::Stalled("the broker was killed".into())))
            }
            _ => topic(3)(from, links),
        };
        assert!(following.read_on(at(130), flawed).is_err());
        following.publish();
        assert_eq!(served(&following), (12, 12), "what was held serves until the new one is whole");
        halfway.set(false);
        let taken = (131..200).find(|second| following.read_on(at(*second), flawed).is_ok());
        assert!(taken.is_some());
        following.publish();
        assert_eq!(served(&following), (3, 3));
        assert_eq!(following.followed.wanted.load(Ordering::Relaxed), 0);
    }
}
