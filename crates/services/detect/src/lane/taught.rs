//! What rules have learned elsewhere, put into the state of a lane.
//!
//! The state that a lane restores is where it goes: under the lane's fence, so that a detector that runs is out, and
//! takes its lane back with what it was taught. Position and lanes stay as they were: only what keys have learned is
//! written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kafka::Topic;
use kafka::lane::{End, Fence, NO_HEADERS, PATIENCE, Position, TRANSACTION_TIMEOUT, Writes, read_all_committed};
use kafka::positions::Positions;
use rules::{Change, Detector, LearnedRecord};

use super::open::{GROUP, PROGRESS, broken, progress_of};
use crate::{SERVICE, Settings};

/// Records of one transaction.
const AT_ONCE: usize = 20_000;
/// What a lane may have evaluated beyond what its keys are taught: so much of it they do not learn.
const MOST_MISSED_MS: i64 = 120_000;

/// What a lane has in its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Up to when its rules are evaluated, in milliseconds since 1970; none before all lanes have spoken.
    pub watermark: Option<i64>,
    /// The last value under each key.
    pub records: HashMap<Vec<u8>, Vec<u8>>,
}

/// Reads the state of a partition of `signals` without a fence; none if its detector has never committed any.
///
/// # Errors
/// When Kafka does not answer, or the state cannot be read.
pub fn known(settings: &Settings, partition: u16) -> Result<Option<Known>, End> {
    Ok(read(settings, partition)?.map(|(_, _, known)| known))
}

/// Writes records of rules that learn into the state of a partition, in fenced transactions. They were learned from all
/// that was received before `until`, in milliseconds since 1970. Keys for which their rule fires by now are left as
/// they are, or the end of what was told would never be: how many there are, by rule.
///
/// # Errors
/// When Kafka does not answer, the lane has no state yet, has come too far since, or its detector has taken it back in
/// between: then nothing of the last transaction is written, and it can be done again.
pub fn teach(
    settings: &Settings,
    partition: u16,
    records: &[Change],
    until: i64,
) -> Result<BTreeMap<String, u64>, End> {
    let writes = Writes::records([(Topic::DetectorState, partition)]).positions(GROUP);
    let mut producer = Fence::open(&settings.cluster, SERVICE, partition, TRANSACTION_TIMEOUT, writes)?;
    let positions = Positions::open(&settings.cluster, GROUP, PATIENCE)?;
    let Some((signals, lanes, known)) = read(settings, partition)? else {
        return Err(End::Retry(format!("partition {partition} of {} holds no state yet", Topic::DetectorState)));
    };
    if let Some(passed) = known.watermark.filter(|passed| passed.saturating_sub(until) > MOST_MISSED_MS) {
        return Err(End::Retry(format!(
            "while it was learned, partition {partition} of {} went on by {} s, which its keys \
             would not have learned: nothing was written to it; call again",
            Topic::Signals,
            passed.saturating_sub(until) / 1_000
        )));
    }
    let (records, firing) = known.without_firing(records);
    let committed = positions.committed_behind_fence(Topic::Signals, partition)?.map(|committed| committed.next);
    // Where the two disagree, the lane itself decides when it opens. It must find them as they are.
    let next = committed.unwrap_or(signals);
    for records in records.chunks(AT_ONCE) {
        producer.begin()?;
        for Change { key, value } in records.iter().copied() {
            producer.send(Topic::DetectorState, partition, Some(key), value.as_deref(), NO_HEADERS)?;
        }
        let header = [("signals", signals.to_string())];
        producer.send(Topic::DetectorState, partition, Some(PROGRESS), Some(&lanes), &header)?;
        producer.commit(GROUP, &[Position { topic: Topic::Signals, partition, next, metadata: String::new() }])?;
    }
    Ok(firing)
}

impl Known {
    /// The keys for which a rule that learns fires: rule, memory and key.
    pub fn firing(&self) -> impl Iterator<Item = (String, String, String)> + '_ {
        let read = self.records.iter().filter_map(|(key, value)| LearnedRecord::read(key, value));
        read.filter(|record| record.firing && !record.test).map(|record| (record.rule, record.memory, record.key))
    }

    /// The records of other keys than those, and how many keys of each rule that leaves out.
    fn without_firing<'c>(&self, records: &'c [Change]) -> (Vec<&'c Change>, BTreeMap<String, u64>) {
        let firing: HashSet<(String, String, String)> = self.firing().collect();
        let mut left_out = BTreeSet::new();
        let stays = |change: &&Change| {
            let of = LearnedRecord::read(&change.key, change.value.as_deref().unwrap_or_default());
            let Some(of) = of.filter(|of| !of.test).map(|of| (of.rule, of.memory, of.key)) else { return true };
            let fires = firing.contains(&of);
            if fires {
                left_out.insert(of);
            }
            !fires
        };
        let records = records.iter().filter(stays).collect();
        let mut by_rule: BTreeMap<String, u64> = BTreeMap::new();
        left_out.into_iter().for_each(|(rule, ..)| *by_rule.entry(rule).or_default() += 1);
        (records, by_rule)
    }
}

/// The position that the state includes, how far the lanes had come, and the rest.
fn read(settings: &Settings, partition: u16) -> Result<Option<(i64, Vec<u8>, Known)>, End> {
    let mut known = Known::default();
    let mut progress = None;
    read_all_committed(&settings.cluster, Topic::DetectorState, partition, None, None, |record| {
        let key = record.key().unwrap_or_default();
        match record.payload() {
            Some(lanes) if key == PROGRESS => progress = Some((progress_of(record)?, lanes.to_vec())),
            Some(value) => drop(known.records.insert(key.to_vec(), value.to_vec())),
            None => drop(known.records.remove(key)),
        }
        Ok(())
    })?;
    let Some((signals, lanes)) = progress else { return Ok(None) };
    let mut empty = Detector::new(&[], settings.plan.lanes);
    empty.restore_lanes(&lanes).map_err(|error| broken(error.to_string()))?;
    known.watermark = empty.watermark();
    Ok(Some((signals, lanes, known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of a key beside its profile: a spike's, without what comes behind its flags.
    fn record(key: &str, flags: u8) -> (Vec<u8>, Vec<u8>) {
        let mut value = vec![b'S', 1];
        value.extend([0; 12]);
        value.push(flags);
        (format!("spike\0m\0{key}\0").into_bytes(), value)
    }

    #[test]
    fn keys_for_which_a_rule_fires_are_not_taught() {
        let mut known = Known::default();
        known.records.extend([record("fires", 0b1001), record("calm", 0b0001)]);
        let mut test = record("calm", 0b1001);
        test.0.extend(b"test");
        known.records.extend([test]);
        let change =
            |key: &str, part: &str| Change { key: format!("spike\0m\0{key}\0{part}").into(), value: Some(vec![0; 20]) };
        let records = ["fires", "calm", "new"].map(|key| [change(key, ""), change(key, "profile")]).concat();
        let (stays, left_out) = known.without_firing(&records);
        let stays: Vec<&[u8]> = stays.iter().map(|change| change.key.as_slice()).collect();
        assert_eq!(stays, records[2..].iter().map(|change| change.key.as_slice()).collect::<Vec<_>>());
        assert_eq!(left_out, BTreeMap::from([("spike".to_owned(), 1)]));
    }
}
