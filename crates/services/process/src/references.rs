//! The file of countries that events are labelled by, and that is replaced while lanes run.
//!
//! One thread looks at them every second. A file that has changed is read beside the lanes; when it is whole, lanes
//! label by it from their next transaction on. A file that cannot be used is said, in the log and in a metric, and what
//! was there before stays in force.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use enrich::{BadList, Catalogue, Countries, NotCountries, References};
use prometheus::{Gauge, GaugeVec};
use runtime::beats::Beat;
use runtime::{Live, Shutdown, Telemetry};

use crate::catalogue::list::Stamp;
use crate::{Decisions, SERVICE};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long reading one may take before the thread counts as stuck.
const READ_WITHIN: Duration = Duration::from_secs(300);

/// Where the files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceFiles {
    /// `[geo] country`.
    pub country: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct Unusable {
    /// The file.
    pub file: PathBuf,
    /// Why.
    #[source]
    pub why: UnusableBecause,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableBecause {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It names no countries.
    #[error(transparent)]
    Countries(#[from] NotCountries),
    /// It is not a list of links.
    #[error(transparent)]
    List(#[from] BadList),
}

impl ReferenceFiles {
    /// Reads all of them.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn read(&self) -> Result<References, Unusable> {
        let countries = self.country.as_deref().map(read_countries).transpose()?;
        Ok(References { countries, catalogue: None })
    }
}

/// Reads a file of countries.
///
/// # Errors
/// When it cannot be used.
pub fn read_countries(file: &Path) -> Result<Arc<Countries>, Unusable> {
    let read = || Ok(Arc::new(Countries::read(fs::read(file)?)?));
    read().map_err(|why| Unusable { file: file.to_owned(), why })
}

/// Reads a list of links.
///
/// # Errors
/// When it cannot be used.
pub fn read_catalogue(file: &Path) -> Result<Catalogue, Unusable> {
    let read = || Ok(Catalogue::read(BufReader::new(File::open(file)?))?);
    read().map_err(|why| Unusable { file: file.to_owned(), why })
}

/// What is in force, as the lanes of this process share it.
#[derive(Debug)]
pub struct Shared {
    files: ReferenceFiles,
    /// Counts the changes, so that a lane sees at a glance that there was none.
    generation: AtomicU64,
    current: Mutex<References>,
}

impl Shared {
    /// What was read at the start.
    #[must_use]
    pub fn new(files: ReferenceFiles, current: References) -> Self {
        Self { files, generation: AtomicU64::new(1), current: Mutex::new(current) }
    }

    /// What is in force, if it is newer than `known`; `known` follows.
    pub(crate) fn newer(&self, known: &mut u64) -> Option<References> {
        let generation = self.generation.load(Ordering::Acquire);
        if std::mem::replace(known, generation) == generation {
            return None;
        }
        Some(self.current.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The files that it is about.
    #[must_use]
    pub fn files(&self) -> &ReferenceFiles {
        &self.files
    }

    fn put(&self, change: impl FnOnce(&mut References)) {
        change(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// When the file of countries in force was built, in seconds since 1970.
    fn built(&self) -> Option<u64> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.countries.as_ref().map(|countries| countries.built())
    }

    /// The files to look at.
    fn slots(&self, gauges: &Gauges) -> Vec<Slot> {
        let mut slots = Vec::new();
        if let Some(file) = &self.files.country {
            let read = |file: &Path, shared: &Shared| {
                let countries = read_countries(file)?;
                let built = countries.built();
                shared.put(|references| references.countries = Some(countries));
                Ok(built)
            };
            let built = self.built();
            slots.push(Slot::new("country", file, read, built.unwrap_or_default(), gauges.of("country")));
        }
        slots
    }
}

/// What is told of the file of countries, and of the list of links.
pub(crate) struct Gauges {
    versions: GaugeVec,
    refused: GaugeVec,
}

impl Gauges {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let versions = telemetry.metrics.gauge(
            "reference_timestamp_seconds",
            "What events are labelled by: when the file in force was built (country) or the list taken up (catalogue)",
            &["file"],
        )?;
        let refused = telemetry.metrics.gauge(
            "reference_refused",
            "1 while the file at its place cannot be used, and the one before it stays in force",
            &["file"],
        )?;
        Ok(Self { versions, refused })
    }

    pub(crate) fn of(&self, file: &str) -> [Gauge; 2] {
        [self.versions.with_label_values(&[file]), self.refused.with_label_values(&[file])]
    }
}

/// Starts to look at the files that lanes decide by, whichever those are. The thread ends after the stop is given.
pub(crate) fn follow(
    decisions: Live<Decisions>,
    gauges: Gauges,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<(), crate::StartError> {
    let mut shared = Arc::clone(&decisions.current().references);
    let mut slots = shared.slots(&gauges);
    let (beats, shutdown) = (telemetry.beats.clone(), shutdown.clone());
    std::thread::Builder::new().name("references".into()).spawn(move || {
        let beat = beats.register("references", "files that events are labelled by");
        while !shutdown.is_stopping() {
            beat.tick();
            let newest = Arc::clone(&decisions.current().references);
            if !Arc::ptr_eq(&newest, &shared) {
                // Those of the list of links stay.
                for gauges in [&gauges.versions, &gauges.refused] {
                    drop(gauges.remove_label_values(&["country"]));
                }
                slots = newest.slots(&gauges);
                shared = newest;
            }
            slots.iter_mut().for_each(|slot| slot.look(&shared, &beat));
            kafka::lane::pause("the next look at the files that events are labelled by", EVERY);
        }
    })?;
    Ok(())
}

/// Reads a file into what is in force; the time that its metric tells, in seconds since 1970.
type Read = fn(&Path, &Shared) -> Result<u64, Unusable>;

/// One file that is looked at.
struct Slot {
    name: &'static str,
    file: PathBuf,
    read: Read,
    /// As it was when it was read last, used or not.
    read_as: Option<Stamp>,
    /// As it was when it was looked at last.
    seen: Option<Stamp>,
    version: Gauge,
    refused: Gauge,
}

impl Slot {
    fn new(name: &'static str, file: &Path, read: Read, version_now: u64, [version, refused]: [Gauge; 2]) -> Self {
        version.set(version_now as f64);
        refused.set(0.0);
        let stamp = Stamp::of(file);
        Self { name, file: file.to_owned(), read, read_as: stamp, seen: stamp, version, refused }
    }

    /// Reads the file if it has changed and stands still: a file that is being written changes from look to look.
    fn look(&mut self, shared: &Shared, beat: &Beat) {
        let stamp = Stamp::of(&self.file);
        let stands_still = std::mem::replace(&mut self.seen, stamp) == stamp;
        if !stands_still || stamp == self.read_as {
            return;
        }
        self.read_as = stamp;
        beat.allow(READ_WITHIN);
        match (self.read)(&self.file, shared) {
            Ok(version) => {
                self.version.set(version as f64);
                self.refused.set(0.0);
                tracing::info!(service = SERVICE, file = self.name, version, "labels go by the new file");
            }
            Err(error) => {
                self.refused.set(1.0);
                tracing::error!(service = SERVICE, file = self.name, "{error}; the one before it stays in force");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use maxminddb_writer::Database;
    use maxminddb_writer::paths::IpAddrWithMask;

    use super::*;

    fn countries(code: &str, built: u64) -> Vec<u8> {
        let mut database = Database::default();
        database.metadata.binary_format_major_version = 2;
        database.metadata.build_epoch = built;
        let value = database.insert_value(serde_json::json!({"country": {"iso_code": code}})).expect("a value");
        database.insert_node("198.51.100.0/24".parse::<IpAddrWithMask>().expect("a network"), value);
        database.write_to(Vec::new()).expect("memory")
    }

    /// Decisions by these files, and no others.
    fn decisions(shared: &Arc<Shared>) -> Live<Decisions> {
        let gone = crate::SourceRules { window_ms: 1, dialect: adapter::Dialect::PLAIN, visitors: true };
        let pipeline = crate::Pipeline {
            sources: std::collections::HashMap::new(),
            gone,
            adapt: adapter::Options::default(),
            enrich: enrich::Settings::default(),
            references: References::default(),
            owners: std::collections::BTreeSet::new(),
            config_version: "0".into(),
        };
        Live::new(Decisions {
            pipeline: Arc::new(pipeline),
            references: Arc::clone(shared),
            list: None,
            routes: Arc::new(rules::RuleIndex::new(Vec::new())),
            longest_window: Duration::from_secs(1),
        })
    }

    /// Waits for a file to be taken up, or not.
    fn next(shared: &Shared, known: &mut u64, patience: Duration) -> Option<References> {
        let until = std::time::Instant::now() + patience;
        while std::time::Instant::now() < until {
            if let Some(newer) = shared.newer(known) {
                return Some(newer);
            }
            kafka::lane::pause("the file to be taken up", Duration::from_millis(50));
        }
        None
    }

    fn code(references: &References) -> &'static str {
        let countries = references.countries.as_ref().expect("countries");
        countries.of("198.51.100.7".parse().expect("an address")).unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_replaced_is_taken_up_and_one_that_cannot_be_used_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("country.mmdb");
        fs::write(&file, countries("DE", 1_000)).expect("written");
        let files = ReferenceFiles { country: Some(file.clone()) };
        let shared = Arc::new(Shared::new(files.clone(), files.read().expect("it can be used")));
        let (telemetry, shutdown) = (Telemetry::new("0").expect("metrics"), Shutdown::default());
        let metric = |name: &str| {
            let text = telemetry.metrics.render().expect("metrics");
            let line =
                text.lines().find(|line| line.starts_with(&format!("hookline_reference_{name}{{file=\"country\"}}")));
            line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
        };
        follow(decisions(&shared), Gauges::new(&telemetry).expect("gauges"), &telemetry, &shutdown).expect("a thread");
        let mut known = 0;
        assert_eq!(code(&shared.newer(&mut known).expect("the first")), "DE");
        assert!(shared.newer(&mut known).is_none(), "nothing has changed");
        assert_eq!((metric("timestamp_seconds"), metric("refused")), ("1000".into(), "0".into()));

        let next_to_it = folder.path().join("new");
        fs::write(&next_to_it, countries("FR", 2_000)).expect("written");
        fs::rename(&next_to_it, &file).expect("replaced");
        assert_eq!(code(&next(&shared, &mut known, Duration::from_secs(10)).expect("taken up")), "FR");
        assert_eq!((metric("timestamp_seconds"), metric("refused")), ("2000".into(), "0".into()));

        fs::write(&next_to_it, "not a file of countries").expect("written");
        fs::rename(&next_to_it, &file).expect("replaced");
        assert!(next(&shared, &mut known, Duration::from_secs(4)).is_none(), "what was there stays in force");
        assert_eq!((metric("timestamp_seconds"), metric("refused")), ("2000".into(), "1".into()));
        assert_eq!(
            files.read().unwrap_err().to_string().split(": ").nth(1),
            Some("it is not an MMDB file, or a part of one")
        );

        fs::remove_file(&file).expect("removed");
        assert!(
            next(&shared, &mut known, Duration::from_secs(3)).is_none(),
            "nor does a file that is gone take it away"
        );
        shutdown.stop();
    }
}
