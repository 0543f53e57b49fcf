//! Counts of a file through the evaluator.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use rules::{Sensitivity, SpikeChange, SpikeKey, SpikeRule};

/// A spike of a key, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSpike {
    /// The key.
    pub key: String,
    /// When it fired.
    pub fired: i64,
    /// When it was over; none while it is not.
    pub resolved: Option<i64>,
}

/// Planned launches: per key, ranges of minutes.
pub type Planned = HashMap<String, Vec<(i64, i64)>>;

/// Counts by key and minute, late ones left out.
pub struct Counts {
    keys: Vec<String>,
    /// Key and minute, count; sorted.
    rows: Vec<(u64, u32)>,
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
            let count = u32::try_from(count.saturating_sub(late)).unwrap_or(u32::MAX);
            if count > 0 {
                rows.push((u64::from(id) << 32 | u64::from(minute), count));
            }
        }
        drop(ids);
        if !rows.is_sorted_by_key(|row| row.0) {
            rows.sort_unstable_by_key(|row| row.0);
        }
        Ok(Self { keys, rows })
    }

    /// Counts that are in memory: key, minute since 1970, events.
    pub fn of(keys: Vec<String>, mut rows: Vec<(u32, u32, u32)>) -> Self {
        rows.sort_unstable();
        let rows = rows.into_iter().map(|(id, minute, count)| (u64::from(id) << 32 | u64::from(minute), count));
        Self { keys, rows: rows.collect() }
    }

    /// What the rule says of all keys, by key and time.
    pub fn alerts(&self, rule: &SpikeRule, planned: &Planned) -> Vec<FoundSpike> {
        let end = self.rows.iter().map(|row| row.0 as u32).max().map_or(0, i64::from);
        let mut found: Vec<FoundSpike> = Vec::new();
        for rows in self.rows.chunk_by(|left, right| left.0 >> 32 == right.0 >> 32) {
            let Some(key) = rows.first().and_then(|row| self.keys.get((row.0 >> 32) as usize)) else { continue };
            let planned = planned.get(key).map_or(&[][..], Vec::as_slice);
            let mut state = SpikeKey::default();
            let mut tell = |change| match change {
                SpikeChange::Fired { at, .. } => {
                    found.push(FoundSpike { key: key.clone(), fired: at * 60, resolved: None });
                }
                SpikeChange::Resolved { at } => {
                    if let Some(open) = found.last_mut() {
                        open.resolved = Some(at * 60);
                    }
                }
            };
            for minute in rows.chunk_by(|left, right| left.0 == right.0) {
                let Some(first) = minute.first() else { continue };
                let count = minute.iter().fold(0u32, |sum, row| sum.saturating_add(row.1));
                state.take(rule, i64::from(first.0 as u32), count, planned, &mut tell);
            }
            state.walk(rule, end, planned, &mut tell);
        }
        found
    }
}

fn whole(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// The spike rules of a file: each `[rule.NAME]` with `alert = { spike = … }`.
///
/// # Errors
/// When the file is no TOML, has no spike rule, or one of its options is not possible.
pub fn read_rules(text: &str) -> Result<Vec<SpikeRule>> {
    let file: toml::Table = text.parse().context("the file is no TOML")?;
    let rules = file.get("rule").and_then(toml::Value::as_table).context("the file has no [rule.NAME]")?;
    let mut read = Vec::new();
    for (name, rule) in rules {
        if let Some(alert) = rule.get("alert").and_then(toml::Value::as_table)
            && alert.contains_key("spike")
        {
            read.push(read_rule(alert).with_context(|| format!("[rule.{name}]"))?);
        }
    }
    ensure!(
        !read.is_empty(),
        "no rule has alert = {{ spike = \"3x\", per = \"link\", within = \"5m\", at_least = 50 }}"
    );
    Ok(read)
}

fn read_rule(alert: &toml::Table) -> Result<SpikeRule> {
    let text = |key: &str| alert.get(key).and_then(toml::Value::as_str);
    let times = text("spike").and_then(|text| text.strip_suffix('x')?.parse::<f64>().ok());
    let times = times.filter(|times| *times > 1.0 && times.is_finite()).context("spike is no factor such as \"3x\"")?;
    let minutes = |key: &str, default: i64| text(key).map_or(Ok(default), |text| in_minutes(key, text));
    let within = u8::try_from(minutes("within", 5)?).ok().filter(|within| (1..=60).contains(within));
    let at_least = alert.get("at_least").map_or(Some(50), toml::Value::as_integer);
    let sensitivity = text("sensitivity").unwrap_or("normal");
    let found = Sensitivity::ALL.into_iter().find(|(name, _)| *name == sensitivity);
    Ok(SpikeRule {
        times,
        within_minutes: within.context("within is not 1m to 60m")?,
        at_least: at_least.and_then(|least| u64::try_from(least).ok()).context("at_least is no count")?.max(8),
        quiet_for_minutes: minutes("quiet_for", 60)?,
        sensitivity: found.with_context(|| format!("sensitivity {sensitivity:?} is not calm, normal or keen"))?.1,
    })
}

fn in_minutes(key: &str, text: &str) -> Result<i64> {
    for (unit, minutes) in [("m", 1), ("h", 60), ("d", 1_440)] {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.parse::<u16>().ok()) {
            return Ok(i64::from(number) * minutes);
        }
    }
    bail!("{key} = {text:?} is not whole minutes, hours or days, such as \"5m\"")
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
pub fn read_alerts(csv: &str) -> Result<Vec<FoundSpike>> {
    let read = |fields: Result<Vec<&str>>| {
        let fields = fields?;
        let resolved = if fields[2].is_empty() { None } else { Some(fields[2].parse()?) };
        Ok(FoundSpike { key: fields[0].to_owned(), fired: fields[1].parse()?, resolved })
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
