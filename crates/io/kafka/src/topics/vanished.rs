//! Telling topics that were never there from topics that have vanished.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Asked, Topic, TopicsError};
use crate::cluster::Cluster;
use crate::control;
use crate::lane::pause;
use crate::positions::Positions;

/// How long a broker's picture of the topics may be behind another's.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// How long a partition may take to say where it ends.
const PATIENCE: Duration = Duration::from_secs(30);

type Present = HashMap<String, (usize, usize)>;

/// The topics that are not there.
pub(super) fn missing(present: &Present) -> Vec<Topic> {
    Topic::ALL.into_iter().filter(|topic| !present.contains_key(topic.name())).collect()
}

/// What is missing although something must be in it.
fn lost(missing: Vec<Topic>, incarnation: Option<&str>, some_records: bool) -> Option<TopicsError> {
    // Without an identity there was no pipeline, unless there are records that only a pipeline writes.
    if incarnation.is_none() && !some_records {
        return None;
    }
    let topics: Vec<Topic> = missing.into_iter().filter(|topic| topic.holds_something()).collect();
    (!topics.is_empty()).then(|| TopicsError::Vanished { topics, incarnation: incarnation.map(str::to_owned) })
}

/// Refuses topics that are missing where a pipeline was started before.
///
/// # Errors
/// [`TopicsError::Vanished`]; or when that cannot be told.
pub(super) fn refuse(cluster: &Cluster, asked: &Asked<'_>, present: &Present) -> Result<(), TopicsError> {
    let control = present.contains_key(Topic::Control.name());
    let incarnation = match control {
        true => control::read(cluster).map_err(Box::new)?.map(|control| control.incarnation),
        false => None,
    };
    let some_records = incarnation.is_none() && !control && any_record(cluster, present)?;
    let since = Instant::now();
    loop {
        // The identity is written after the topics are there, so now they are known, or will be in a moment.
        let Some(error) = lost(missing(&asked.partitions()?), incarnation.as_deref(), some_records) else {
            return Ok(());
        };
        if since.elapsed() > SETTLES_WITHIN {
            return Err(error);
        }
        pause("topics that another service has created", Duration::from_millis(200));
    }
}

/// Whether a lane of a topic that counts for rows has, or ever had, a record.
fn any_record(cluster: &Cluster, present: &Present) -> Result<bool, TopicsError> {
    let positions = Positions::open(cluster, crate::groups::TOPICS, PATIENCE)?;
    for topic in [Topic::Raw, Topic::Events, Topic::Seen] {
        let (partitions, _) = present.get(topic.name()).copied().unwrap_or_default();
        if positions.any_record(topic, u16::try_from(partitions).unwrap_or(u16::MAX))? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_vanished_where_a_pipeline_was_and_is_new_where_none_was() {
        let vanished = |missing: &[Topic], incarnation, records| match lost(missing.to_vec(), incarnation, records) {
            None => None,
            Some(error @ TopicsError::Vanished { .. }) => Some(error.to_string()),
            Some(other) => panic!("{other}"),
        };
        assert_eq!(vanished(&Topic::ALL, None, false), None, "a first start");
        assert_eq!(vanished(&[Topic::Links, Topic::Salts], Some("abc"), false), None, "nothing is kept in them");
        let raw = vanished(&[Topic::Raw], Some("abc"), false).unwrap();
        assert!(raw.starts_with("hookline.raw.v1 is gone") && raw.contains("incarnation abc"), "{raw}");
        assert!(raw.contains("hookline ledger start-anew"), "{raw}");
        let control = vanished(&[Topic::Control], None, true).unwrap();
        assert!(control.contains("start-anew"), "{control}");
        let alerts = vanished(&[Topic::Alerts, Topic::Signals], Some("abc"), false).unwrap();
        assert!(alerts.contains("hookline ledger recreate-topic hookline.alerts.v1"), "{alerts}");
    }
}
