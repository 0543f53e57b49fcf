//! The identity of this pipeline: written once, the same for everyone ever after.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{APART, PATIENCE, WRITER};
use crate::cluster::Cluster;
use crate::lane::{
    self, Fence, NO_HEADERS, ReadError, ScanError, TRANSACTION_TIMEOUT, TxnError, Writes, pause, read_all_committed,
};
use crate::positions::{PositionError, Positions};
use crate::topics::Topic;

/// The key of the identity on the `control` topic.
pub(super) const KEY: &[u8] = b"identity";

/// What was decided once, when the topics were created.
#[derive(Clone, PartialEq, Eq)]
pub struct Control {
    /// A random id of this set of topics: on every row and in every block's token.
    pub incarnation: String,
    /// The number of lanes.
    pub lanes: u16,
    /// The version of the partitioner (`event::lane::PARTITIONER_VERSION`).
    pub partitioner: u32,
    /// The version of the key recipes.
    pub recipes: u32,
    /// The secret key of the dedupe hash.
    pub dedupe_key: [u8; 16],
}

impl fmt::Debug for Control {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("incarnation", &self.incarnation)
            .field("lanes", &self.lanes)
            .field("partitioner", &self.partitioner)
            .field("recipes", &self.recipes)
            .finish_non_exhaustive()
    }
}

/// The identity as it stands on the topic.
#[derive(Serialize, Deserialize)]
struct Identity {
    version: u32,
    incarnation: String,
    lanes: u16,
    partitioner: u32,
    recipes: u32,
    dedupe_key: String,
}

/// The version of [`Identity`].
const VERSION: u32 = 1;

/// The identity could not be read, written, or agreed with.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The topic could not be read.
    #[error("the pipeline's identity could not be read: {0}")]
    Read(#[from] ReadError),
    /// The topic gave nothing.
    #[error("the pipeline's identity could not be read: {0}")]
    Stalled(String),
    /// The record could not be written.
    #[error("the pipeline's identity could not be written: {0}")]
    Write(#[from] TxnError),
    /// What stands on the topic is not what this version writes.
    #[error(
        "the record \"identity\" on {} is not readable by this version: {reason}; start the version that wrote it, or a newer one",
        Topic::Control
    )]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no identity, and there are records that only a pipeline writes.
    #[error(
        "{} holds no identity, and there are records on the topics of lanes: the topic was deleted and made again, or emptied. Another \
         identity would hash event keys otherwise, so that everything counts a second time. Stop all services; `hookline ledger \
         start-anew` says what is lost, and begins a new life of the topics",
        Topic::Control
    )]
    Forgotten,
    /// Whether there are such records could not be told.
    #[error("whether a pipeline was started on these topics before could not be told: {0}")]
    Unknown(#[from] PositionError),
    /// The pipeline was created otherwise.
    #[error("these topics were created with {what} {created}; this one wants {wanted}. {way_out}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// As it was created.
        created: u32,
        /// As it is configured or built now.
        wanted: u32,
        /// What to do.
        way_out: &'static str,
    },
}

/// Reads the identity, or writes it if there is none; whoever starts at the same time gets the same.
///
/// The topics exist already ([`crate::topics::ensure`]). Blocking: call it from a thread of its own.
///
/// # Errors
/// When the identity cannot be read or written, or says another number of lanes, partitioner or recipe version.
pub fn read_or_create(cluster: &Cluster, lanes: u16, partitioner: u32, recipes: u32) -> Result<Control, ControlError> {
    let deadline = Instant::now() + PATIENCE;
    let control = loop {
        if let Some(control) = read(cluster)? {
            break control;
        }
        if any_record(cluster, lanes)? {
            // Somebody was faster, and the first records are there.
            match read(cluster)? {
                Some(control) => break control,
                None => return Err(ControlError::Forgotten),
            }
        }
        match create(cluster, lanes, partitioner, recipes) {
            Ok(()) => {}
            // Somebody else is about to write it, or was between our fence and our commit; or the broker could not end the
            // transaction, as right after topics were made. What is written is seen at the next look. Each waits for a time of its
            // own, so that they do not fence each other for ever.
            Err(ControlError::Write(TxnError::Fenced { .. } | TxnError::Abortable { .. }))
                if Instant::now() < deadline =>
            {
                pause("another service to write the identity", APART.after(1));
            }
            Err(error) => return Err(error),
        }
    };
    let agree = |what, created: u32, wanted: u32, way_out| {
        if created == wanted { Ok(()) } else { Err(ControlError::Mismatch { what, created, wanted, way_out }) }
    };
    agree(
        "[kafka] lanes =",
        control.lanes.into(),
        lanes.into(),
        "The number of lanes never changes in place: set it back, or start on a new cluster and replay",
    )?;
    agree(
        "partitioner version",
        control.partitioner,
        partitioner,
        "Events of one key would take two lanes: use the version of Hookline that created them, or start on a new cluster and replay",
    )?;
    agree(
        "key recipe version",
        control.recipes,
        recipes,
        "Repeats of an event would get another key: use the version of Hookline that created them, or start on a new cluster and replay",
    )?;
    Ok(control)
}

/// Whether a lane has, or ever had, a record.
fn any_record(cluster: &Cluster, lanes: u16) -> Result<bool, ControlError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = Positions::open(cluster, crate::groups::TOPICS, lane::PATIENCE)
            .and_then(|positions| positions.any_record(Topic::Raw, lanes));
        match asked {
            Ok(any) => return Ok(any),
            // The topics were made a moment ago, and a client that was told too early keeps believing that they are not there.
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(%error, "the ends of raw are not known yet; asking again");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The committed identity: the first one on the topic. `None` where no pipeline was ever started. Blocking.
///
/// # Errors
/// When the topic cannot be read, or was written by a version that this one does not know.
pub fn read(cluster: &Cluster) -> Result<Option<Control>, ControlError> {
    let mut found: Option<Vec<u8>> = None;
    read_all_committed::<std::convert::Infallible>(cluster, Topic::Control, 0, None, None, |record| {
        if record.key() == Some(KEY) && found.is_none() {
            found = Some(record.payload().unwrap_or_default().to_vec());
        }
        Ok(())
    })
    .map_err(|error| match error {
        ScanError::Read(error) => ControlError::Read(error),
        stalled => ControlError::Stalled(stalled.to_string()),
    })?;
    found.map(|json| parse(&json)).transpose()
}

fn parse(json: &[u8]) -> Result<Control, ControlError> {
    let unreadable = |reason: String| ControlError::Unreadable { reason };
    let identity: Identity = serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))?;
    if identity.version != VERSION {
        return Err(unreadable(format!("its version is {}, this is {VERSION}", identity.version)));
    }
    let mut dedupe_key = [0; 16];
    const_hex::decode_to_slice(&identity.dedupe_key, &mut dedupe_key)
        .map_err(|error| unreadable(format!("its dedupe key: {error}")))?;
    Ok(Control {
        incarnation: identity.incarnation,
        lanes: identity.lanes,
        partitioner: identity.partitioner,
        recipes: identity.recipes,
        dedupe_key,
    })
}

fn create(cluster: &Cluster, lanes: u16, partitioner: u32, recipes: u32) -> Result<(), ControlError> {
    let mut writer = Fence::open_id(cluster, WRITER, TRANSACTION_TIMEOUT, Writes::records([(Topic::Control, 0)]))?;
    // Under the fence nobody else writes: what is not here now was not written.
    if read(cluster)?.is_some() {
        return Ok(());
    }
    let identity = Identity {
        version: VERSION,
        incarnation: uuid::Uuid::new_v4().simple().to_string(),
        lanes,
        partitioner,
        recipes,
        dedupe_key: const_hex::encode(rand::random::<[u8; 16]>()),
    };
    let json = serde_json::to_vec(&identity).map_err(|error| ControlError::Unreadable { reason: error.to_string() })?;
    writer.begin()?;
    writer.send(Topic::Control, 0, Some(KEY), Some(&json), NO_HEADERS)?;
    writer.commit(WRITER, &[])?;
    tracing::info!(incarnation = identity.incarnation, lanes, "a new pipeline: its identity is written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_of_a_newer_version_is_not_guessed_at() {
        let json = br#"{"version":2,"incarnation":"a","lanes":4,"partitioner":1,"recipes":1,"dedupe_key":"00"}"#;
        assert!(matches!(parse(json), Err(ControlError::Unreadable { .. })));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let json = br#"{"version":1,"incarnation":"a","lanes":4,"partitioner":1,"recipes":1,"dedupe_key":"0102030405060708090a0b0c0d0e0f10"}"#;
        let control = parse(json).unwrap();
        assert_eq!(control.dedupe_key[..3], [1, 2, 3]);
        assert!(!format!("{control:?}").contains("dedupe"));
    }
}
