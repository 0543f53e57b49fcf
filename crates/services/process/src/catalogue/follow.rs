//! Reading the topic `links`, for all lanes of this process.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use enrich::{Catalogue, Links, ListInForce};
use event::LinkRecord;
use event::wire::Ids;
use kafka::lane::{End, Isolation, LaneReader, ReadError, Record, ScanError, pause, read_all_committed};
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
    let mut following = Following {
        cluster: cluster.clone(),
        ids,
        followed: Arc::clone(followed),
        links: Links::default(),
        reader: None,
        published: Instant::now(),
        unpublished: false,
        size: size.with_label_values::<&str>(&[]),
        beyond: beyond.with_label_values::<&str>(&[]),
        timestamp,
    };
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
    published: Instant,
    unpublished: bool,
    size: Gauge,
    beyond: Gauge,
    timestamp: Gauge,
}

impl Following {
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
        let next = i64::try_from(self.links.next()).unwrap_or(i64::MAX);
        let Self { links, ids, cluster, followed, .. } = self;
        let from = (next > 0).then_some(next);
        let scanned = read_all_committed(cluster, Topic::Links, 0, from, None, |record| take(links, ids, record));
        let scanned = match scanned {
            Ok(scanned) if scanned.end >= next => scanned,
            // The topic ends before what was read: it is another one.
            Ok(_) | Err(ScanError::Read(ReadError::OutOfRange { .. })) => {
                tracing::warn!(
                    service = SERVICE,
                    "{} was made anew: the catalogue is read from its beginning",
                    Topic::Links
                );
                *links = Links::default();
                // What was waited for is in the topic that is gone.
                followed.wanted.store(0, Ordering::Relaxed);
                read_all_committed(cluster, Topic::Links, 0, None, None, |record| take(links, ids, record))?
            }
            Err(error) => return Err(error.into()),
        };
        links.read_to(u64::try_from(scanned.end).unwrap_or(0));
        self.reader = Some(LaneReader::open(cluster, Topic::Links, 0, scanned.end, Isolation::Committed)?);
        self.publish();
        Ok(())
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
