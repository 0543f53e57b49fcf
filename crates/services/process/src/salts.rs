//! The salts of the visitor hash, as the lanes of this process share them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use enrich::Salt;
use kafka::Cluster;
use kafka::lane::End;
use kafka::salts::{self, OUTLIVES_RAW};

const DAY: Duration = Duration::from_secs(24 * 3_600);

// A record may need the salt of a day that is this far back; it must still be there for as long as the record is.
const _: () = assert!((enrich::visitor::DAYS_LATE as u64 + 1) * DAY.as_secs() <= OUTLIVES_RAW.as_secs());

/// The salts that this process knows, read from the topic when a day is asked for that is not among them.
#[derive(Debug)]
pub struct Salts {
    cluster: Cluster,
    /// Days after which a salt is forgotten here as it is on the topic.
    kept_days: i64,
    known: Mutex<salts::Salts>,
}

impl Salts {
    /// Knows none yet. `raw_retention` is how long records may need one.
    pub fn new(cluster: Cluster, raw_retention: Duration) -> Self {
        let kept = (raw_retention + OUTLIVES_RAW).as_secs().div_ceil(DAY.as_secs());
        Self { cluster, kept_days: i64::try_from(kept).unwrap_or(i64::MAX), known: Mutex::default() }
    }

    /// The salt of a day (days since 1970, UTC); made if the topic has none. Lanes that ask meanwhile wait for the same answer.
    fn of(&self, day: i64) -> Result<Salt, End> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(salt) = known.get(&day) {
            return Ok(Salt(*salt));
        }
        *known = salts::read_or_create(&self.cluster, day)?;
        let salt = known.get(&day).copied();
        if let Some((newest, _)) = known.last_key_value() {
            let oldest = newest.saturating_sub(self.kept_days);
            known.retain(|day, _| *day >= oldest);
        }
        salt.map(Salt).ok_or_else(|| End::Retry(format!("the salt of day {day} was written and is not there")))
    }
}

/// What one lane asks: nearly always for the day it asked for before.
#[derive(Debug)]
pub(crate) struct LaneSalts<'s> {
    shared: &'s Salts,
    last: Option<(i64, Salt)>,
}

impl<'s> LaneSalts<'s> {
    pub(crate) fn new(shared: &'s Salts) -> Self {
        Self { shared, last: None }
    }

    pub(crate) fn of(&mut self, day: i64) -> Result<Salt, End> {
        match self.last {
            Some((known, salt)) if known == day => Ok(salt),
            _ => {
                let salt = self.shared.of(day)?;
                self.last = Some((day, salt));
                Ok(salt)
            }
        }
    }
}
