//! The `salts` topic: the random key of each day's visitor hash.
//!
//! A salt is written when the first visit of its day is hashed, in a transaction under one fenced id, so that services that
//! need it at once agree on one; should there be two all the same, the one with the lowest offset counts. Nothing else holds
//! it: when retention deletes it, the hashes of its day lead to nobody any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use runtime::{Backoff, HaltReason};
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::lane::{
    End, Fence, NO_HEADERS, ReadError, ScanError, TRANSACTION_TIMEOUT, TxnError, Writes, pause, read_all_committed,
};
use crate::topics::Topic;

/// The salt of each day (days since 1970, UTC) that the topic still holds.
pub type Salts = BTreeMap<i64, [u8; 16]>;

/// How much longer a salt is kept than the records of `raw` that may need it: a record is hashed by the day of its event, which
/// lies up to two days before the one on which it was received, and a salt is written at any time of its day.
pub const OUTLIVES_RAW: Duration = Duration::from_secs(3 * 24 * 3_600);

/// The transactional id under which salts are written.
const WRITER: &str = "hookline-salts";
/// How long writers that fence each other try before one gives up. A lane waits inside a transaction of 10 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// What one of two writers that fenced each other waits.
const APART: Backoff =
    Backoff::new(Duration::from_millis(500), Duration::from_millis(500)).drawn_from(Duration::from_millis(20));

/// A salt as it stands on the topic, under its day (`2026-11-26`) as the key.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    salt: String,
}

/// The version of [`Stored`].
const VERSION: u32 = 1;

/// The salts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SaltsError {
    /// The topic could not be read.
    #[error("the salts of the visitor hash could not be read: {0}")]
    Read(#[from] ReadError),
    /// The topic gave nothing.
    #[error("the salts of the visitor hash could not be read: {0}")]
    Stalled(String),
    /// A salt could not be written.
    #[error("a salt of the visitor hash could not be written: {0}")]
    Write(#[from] TxnError),
    /// What stands on the topic is not what this version writes.
    #[error(
        "the record at offset {offset} of {} is no salt that this version can read: {reason}; start the version that wrote it, or a \
         newer one, or set visitors = \"off\" in [privacy]",
        Topic::Salts
    )]
    Unreadable {
        /// Where it stands.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A number that is no day of the calendar.
    #[error("{day} days since 1970 is no date that a salt can be kept for")]
    NoDate {
        /// The day.
        day: i64,
    },
}

impl From<SaltsError> for End {
    fn from(error: SaltsError) -> Self {
        match error {
            SaltsError::Unreadable { .. } => End::halt(HaltReason::SaltsUnreadable, error.to_string()),
            // Whoever else writes salts has fenced the writer, not the lane.
            other => End::Retry(other.to_string()),
        }
    }
}

/// All salts that the topic holds. Blocking: call it from a thread of its own.
///
/// # Errors
/// When the topic cannot be read, or holds what this version does not know.
pub fn read(cluster: &Cluster) -> Result<Salts, SaltsError> {
    let mut salts = Salts::new();
    let scanned = read_all_committed(cluster, Topic::Salts, 0, None, None, |record| {
        let (day, salt) = parse(record.key().unwrap_or_default(), record.payload().unwrap_or_default())
            .map_err(|reason| SaltsError::Unreadable { offset: record.offset(), reason })?;
        salts.entry(day).or_insert(salt);
        Ok(())
    });
    match scanned {
        Ok(_) => Ok(salts),
        Err(ScanError::Caller(error)) => Err(error),
        Err(ScanError::Read(error)) => Err(error.into()),
        Err(stalled @ ScanError::Stalled { .. }) => Err(SaltsError::Stalled(stalled.to_string())),
    }
}

/// All salts that the topic holds, among them that of `day` (days since 1970, UTC), which is made if there is none; whoever asks
/// at the same time gets the same. Blocking.
///
/// # Errors
/// As [`read`]; when none can be written; when `day` is no date.
pub fn read_or_create(cluster: &Cluster, day: i64) -> Result<Salts, SaltsError> {
    let key = date(day).ok_or(SaltsError::NoDate { day })?.to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let salts = read(cluster)?;
        if salts.contains_key(&day) {
            return Ok(salts);
        }
        match create(cluster, day, &key) {
            Ok(()) => {}
            // Somebody else is about to write it, or the broker could not end the transaction. Each waits for a time of its own, so
            // that they do not fence each other for ever.
            Err(SaltsError::Write(TxnError::Fenced { .. } | TxnError::Abortable { .. }))
                if Instant::now() < deadline =>
            {
                pause("another service to write the salt", APART.after(1));
            }
            Err(error) => return Err(error),
        }
    }
}

fn create(cluster: &Cluster, day: i64, key: &str) -> Result<(), SaltsError> {
    let mut writer = Fence::open_id(cluster, WRITER, TRANSACTION_TIMEOUT, Writes::records([(Topic::Salts, 0)]))?;
    // Under the fence nobody else writes: what is not here now was not written.
    if read(cluster)?.contains_key(&day) {
        return Ok(());
    }
    writer.begin()?;
    writer.send(Topic::Salts, 0, Some(key.as_bytes()), Some(&fresh()), NO_HEADERS)?;
    writer.commit(WRITER, &[])?;
    tracing::info!(day = key, "the first visit of the day: its salt is written");
    Ok(())
}

fn fresh() -> Vec<u8> {
    let salt = const_hex::encode(rand::random::<[u8; 16]>());
    serde_json::json!(Stored { version: VERSION, salt }).to_string().into_bytes()
}

fn parse(key: &[u8], value: &[u8]) -> Result<(i64, [u8; 16]), String> {
    let date: Date = str::from_utf8(key)
        .map_err(|error| format!("its key: {error}"))?
        .parse()
        .map_err(|error| format!("its key is no day: {error}"))?;
    let Stored { version, salt } = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("its version is {version}, this is {VERSION}"));
    }
    let mut bytes = [0; 16];
    const_hex::decode_to_slice(&salt, &mut bytes).map_err(|error| format!("its salt: {error}"))?;
    Ok((days(date), bytes))
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// The date of a day, if the calendar has it.
fn date(day: i64) -> Option<Date> {
    let span = jiff::Span::new().try_days(day).ok()?;
    EPOCH.checked_add(span).ok()
}

fn days(date: Date) -> i64 {
    date.duration_since(EPOCH).as_hours() / 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_is_read_back_under_its_day() {
        for day in [-1, 0, 20_783, 40_000] {
            let key = date(day).unwrap().to_string();
            assert_eq!(parse(key.as_bytes(), &fresh()).unwrap().0, day, "{key}");
        }
        assert_eq!(date(20_783).unwrap().to_string(), "2026-11-26");
        assert_eq!(date(i64::MAX), None);
        assert_ne!(fresh(), fresh());
    }

    #[test]
    fn a_salt_of_a_newer_version_is_not_guessed_at() {
        let value = br#"{"version":2,"salt":"0102030405060708090a0b0c0d0e0f10"}"#;
        assert!(parse(b"2026-11-26", value).unwrap_err().contains("version"));
        for (key, value) in [("2026-13-26", "{}"), ("2026-11-26", "{}"), ("2026-11-26", r#"{"version":1,"salt":"01"}"#)]
        {
            assert!(parse(key.as_bytes(), value.as_bytes()).is_err(), "{key} {value}");
        }
    }
}
