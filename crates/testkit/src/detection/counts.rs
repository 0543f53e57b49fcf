//! Counts of a file through the evaluator.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use rules::{SilenceChange, SilenceKey, SilenceRule, SpikeChange, SpikeKey, SpikeRule};

use super::rules_file::MeasuredRule;

/// An alert on a key, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAlert {
    /// The key.
    pub key: String,
    /// When it fired.
    pub fired: i64,
    /// When it was over; none while it is not.
    pub resolved: Option<i64>,
}

/// Planned launches: per key, ranges of minutes.
pub type Planned = HashMap<String, Vec<(i64, i64)>>;

/// Counts by key and minute.
pub struct Counts {
    keys: Vec<String>,
    /// Key and minute, events, and how many of them came late; sorted.
    rows: Vec<(u64, u32, u32)>,
}

impl Counts {
    /// Reads `key,pane_start,count[,late]`, with or without a head, in any order.
    ///
    /// # Errors
    /// When a line has no such form; it is named.
    pub fn read(csv: Vec<u8>) -> Result<Self> {
        let mut ids: HashMap<&[u8], u32> = HashMap::new();
        let (mut keys, mut rows) = (Vec::new(), Vec::with_capacity(csv.len() / 24));
        for (number, line) in (1..).zip(csv.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || (number == 1 && line.starts_with(b"key,")) {
                continue;
            }
            let wrong = || format!("line {number} is not key,pane_start,count[,late]");
            let mut fields = line.split(|byte| *byte == b',');
            let (key, at, count) = (fields.next(), fields.next(), fields.next());
            let key = key.with_context(wrong)?;
            let at = at.and_then(whole).with_context(wrong)?;
            let count = count.and_then(whole).with_context(wrong)?;
            let late = fields.next().map_or(Some(0), whole).with_context(wrong)?;
            let minute = u32::try_from(at / 60).with_context(wrong)?;
            let id = match ids.get(key) {
                Some(id) => *id,
                None => {
                    let id = u32::try_from(keys.len())?;
                    keys.push(std::str::from_utf8(key).with_context(wrong)?.to_owned());
                    ids.insert(key, id);
                    id
                }
            };
            ensure!(late <= count, "line {number}: {late} of {count} came late");
            if count > 0 {
                let [count, late] = [count, late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                rows.push((u64::from(id) << 32 | u64::from(minute), count, late));
            }
        }
        drop(ids);
        if !rows.is_sorted_by_key(|row| row.0) {
            rows.sort_unstable_by_key(|row| row.0);
        }
        Ok(Self { keys, rows })
    }

    /// Counts that are in memory: key, minute since 1970, events, and how many of them came late.
    pub fn of(keys: Vec<String>, mut rows: Vec<(u32, u32, u32, u32)>) -> Self {
        rows.sort_unstable();
        let rows = rows.into_iter().map(|(id, at, count, late)| (u64::from(id) << 32 | u64::from(at), count, late));
        Self { keys, rows: rows.collect() }
    }

    /// What the rule says of all keys, by key and time.
    pub fn alerts(&self, rule: &MeasuredRule, planned: &Planned) -> Vec<FoundAlert> {
        let end = self.rows.iter().map(|row| row.0 as u32).max().map_or(0, i64::from);
        let mut found: Vec<FoundAlert> = Vec::new();
        for rows in self.rows.chunk_by(|left, right| left.0 >> 32 == right.0 >> 32) {
            let Some(key) = rows.first().and_then(|row| self.keys.get((row.0 >> 32) as usize)) else { continue };
            let minutes = rows.chunk_by(|left, right| left.0 == right.0).filter_map(|minute| {
                let sum = |of: fn(&(u64, u32, u32)) -> u32| minute.iter().map(of).fold(0, u32::saturating_add);
                Some((i64::from(minute.first()?.0 as u32), sum(|row| row.1), sum(|row| row.2)))
            });
            let mut tell = |at: i64, fired: bool| {
                if fired {
                    found.push(FoundAlert { key: key.clone(), fired: at * 60, resolved: None });
                } else if let Some(open) = found.last_mut() {
                    open.resolved = Some(at * 60);
                }
            };
            match rule {
                MeasuredRule::Spike(rule) => {
                    spikes(rule, minutes, planned.get(key).map_or(&[], Vec::as_slice), end, &mut tell);
                }
                MeasuredRule::Silence(rule) => silences(rule, minutes, end, &mut tell),
                MeasuredRule::Count(rule) => rule.alerts(minutes, &mut tell),
            }
        }
        found
    }
}

fn spikes(
    rule: &SpikeRule,
    minutes: impl Iterator<Item = (i64, u32, u32)>,
    planned: &[(i64, i64)],
    end: i64,
    tell: &mut impl FnMut(i64, bool),
) {
    let mut key = SpikeKey::default();
    let mut told = |change| match change {
        SpikeChange::Fired { at, .. } => tell(at, true),
        SpikeChange::Resolved { at } => tell(at, false),
    };
    for (minute, count, late) in minutes {
        if count > late {
            key.take(rule, minute, count - late, planned, &mut told);
        }
    }
    key.walk(rule, end, planned, &mut told);
}

fn silences(
    rule: &SilenceRule,
    minutes: impl Iterator<Item = (i64, u32, u32)>,
    end: i64,
    tell: &mut impl FnMut(i64, bool),
) {
    let mut key = SilenceKey::default();
    let mut told = |change| match change {
        SilenceChange::Fired { at, .. } => tell(at, true),
        SilenceChange::Resolved { at, .. } => tell(at, false),
    };
    for (minute, count, _) in minutes {
        key.take(rule, minute, count, &mut told);
    }
    key.walk(rule, end + 1, &mut told);
}

fn whole(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Planned launches from `key,begin,end`, in seconds since 1970, with or without a head.
///
/// # Errors
/// When a line has no such form.
pub fn read_planned(csv: &str) -> Result<Planned> {
    let mut planned = Planned::new();
    for fields in lines(csv, 3) {
        let fields = fields?;
        let (from, to) = (fields[1].parse::<i64>()?, fields[2].parse::<i64>()?);
        planned.entry(fields[0].to_owned()).or_default().push((from.div_euclid(60), (to + 59).div_euclid(60)));
    }
    Ok(planned)
}

/// The alerts of a file that `detect` wrote.
///
/// # Errors
/// When a line has no such form.
pub fn read_alerts(csv: &str) -> Result<Vec<FoundAlert>> {
    let read = |fields: Result<Vec<&str>>| {
        let fields = fields?;
        let resolved = if fields[2].is_empty() { None } else { Some(fields[2].parse()?) };
        Ok(FoundAlert { key: fields[0].to_owned(), fired: fields[1].parse()?, resolved })
    };
    lines(csv, 3).map(read).collect()
}

/// The fields of each line; a head that begins with `key,` is passed over.
pub(super) fn lines(csv: &str, fields: usize) -> impl Iterator<Item = Result<Vec<&str>>> {
    let lines =
        (1..).zip(csv.lines()).filter(|(number, line)| !line.is_empty() && (*number > 1 || !line.starts_with("key,")));
    lines.map(move |(number, line)| {
        let read: Vec<&str> = line.split(',').collect();
        ensure!(read.len() == fields, "line {number} has {} fields instead of {fields}", read.len());
        Ok(read)
    })
}
