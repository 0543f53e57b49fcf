//! Switching, and reading what was switched.

use std::time::Instant;

use super::identity::{self, ControlError};
use super::switches::{Change, Kind, Object, Switch, Switches, UnreadableSwitch};
use super::{APART, PATIENCE, WRITER};
use crate::cluster::Cluster;
use crate::lane::{
    Fence, NO_HEADERS, ReadError, ScanError, TRANSACTION_TIMEOUT, TxnError, Writes, pause, read_all_committed,
};
use crate::topics::Topic;

/// A switch was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// There is no pipeline on this cluster.
    #[error(
        "there is no Hookline on {brokers}: its topic {} holds no identity; is it the right cluster, and was it ever started?",
        Topic::Control
    )]
    NoPipeline {
        /// The brokers that were asked.
        brokers: String,
    },
    /// The identity could not be read.
    #[error(transparent)]
    Identity(#[from] ControlError),
    /// The topic could not be read.
    #[error("the switches could not be read")]
    Read(#[from] ReadError),
    /// The topic gave nothing.
    #[error("the switches could not be read: {0}")]
    Stalled(String),
    /// The record could not be written.
    #[error(
        "the switch may not have been written: {0}; look with `hookline pause --list`, writing it again is harmless"
    )]
    Write(#[from] TxnError),
    /// The record could not be put into words.
    #[error("the switch cannot be written")]
    Encode(#[from] serde_json::Error),
    /// An erasure is not what this version writes.
    #[error("{0}; use the version that wrote it, or a newer one")]
    Erasure(String),
}

impl From<ScanError<std::convert::Infallible>> for SwitchError {
    fn from(error: ScanError<std::convert::Infallible>) -> Self {
        match error {
            ScanError::Read(error) => Self::Read(error),
            stalled => Self::Stalled(stalled.to_string()),
        }
    }
}

/// Everything that the topic says of one kind of objects.
#[derive(Debug)]
pub struct Log {
    /// What holds.
    pub switches: Switches,
    /// Every change ever made to objects of any kind, oldest first.
    pub changes: Vec<Result<Change, UnreadableSwitch>>,
}

/// Reads all of it, as committed now. Blocking.
///
/// # Errors
/// When there is no pipeline, or the topic cannot be read. A record that cannot be read is told inside the [`Log`].
pub fn read_log(cluster: &Cluster, kind: Kind) -> Result<Log, SwitchError> {
    let mut log = Log { switches: Switches::new(kind), changes: Vec::new() };
    let mut is_pipeline = false;
    read_all_committed::<std::convert::Infallible>(cluster, Topic::Control, 0, None, None, |record| {
        let key = record.key().unwrap_or_default();
        is_pipeline |= key == identity::KEY;
        log.switches.apply(key, record.payload());
        log.changes.extend(Change::read(key, record.payload()));
        Ok(())
    })?;
    if is_pipeline { Ok(log) } else { Err(SwitchError::NoPipeline { brokers: cluster.brokers.clone() }) }
}

/// Switches an object, and returns what was changed. Blocking; services that follow know it within two seconds.
///
/// # Errors
/// When there is no pipeline, or it cannot be written.
pub fn set(cluster: &Cluster, object: &Object, switch: &Switch) -> Result<Change, SwitchError> {
    write(cluster, || {
        // Under the fence nobody else writes, so this is what the change is a change of.
        let was = read_log(cluster, object.kind)?.switches.state_at(&object.id, switch.at);
        let change = Change { object: object.clone(), was, switch: switch.clone() };
        // A time-ordered id: audit records read in their order wherever they are copied to.
        let records = change.records(&uuid::Uuid::now_v7().to_string())?;
        Ok((change, records.into()))
    })
}

/// Keys and values that are written together.
type Records = Vec<(String, Vec<u8>)>;

/// Writes what is decided under the fence, and returns what came of it. Blocking.
pub(super) fn write<T>(
    cluster: &Cluster,
    decide: impl Fn() -> Result<(T, Records), SwitchError>,
) -> Result<T, SwitchError> {
    if identity::read(cluster)?.is_none() {
        return Err(SwitchError::NoPipeline { brokers: cluster.brokers.clone() });
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_write(cluster, &decide) {
            // Somebody else writes at the same time, or the broker did not take it: nothing of ours was committed.
            Err(SwitchError::Write(TxnError::Fenced { .. } | TxnError::Abortable { .. }))
                if Instant::now() < deadline =>
            {
                pause("another writer of control", APART.after(1));
            }
            done => return done,
        }
    }
}

fn try_write<T>(cluster: &Cluster, decide: impl Fn() -> Result<(T, Records), SwitchError>) -> Result<T, SwitchError> {
    let mut writer = Fence::open_id(cluster, WRITER, TRANSACTION_TIMEOUT, Writes::records([(Topic::Control, 0)]))?;
    let (done, records) = decide()?;
    writer.begin()?;
    for (key, value) in records {
        writer.send(Topic::Control, 0, Some(key.as_bytes()), Some(&value), NO_HEADERS)?;
    }
    writer.commit(WRITER, &[])?;
    Ok(done)
}
