//! Stored history through the rules that count: rows of ClickHouse become the counts that `process` would have sent,
//! and the detector of production decides.
//!
//! Nothing here decides anything. Rows are added up by ClickHouse within the shortest pane of the rules, by what the
//! rules ask about; `rules` says which of them match, and its detector when a rule fires. What stands on rows is the
//! time of receipt, and panes are cut by the time at which the log took a record, some milliseconds later: at the edge
//! of a pane an event may count in the one before.

mod columns;
mod engine;
mod measured;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use event::{Alert, LinkEvent};
use rules::{Facets, Rule, RuleIndex, Trigger};
use serde_json::Value;
use warehouse::{Side, Warehouse};

use crate::error::refuse;
use crate::{Error, Result};
pub(crate) use engine::{Engine, Place};
pub use measured::{columns_of, play_answer};
use rows::{Decoder, Row};

const MINUTE_MS: i64 = 60_000;
/// So much history is asked for at once, in milliseconds.
pub(crate) const SLICE_MS: i64 = 86_400_000;
/// Events whose names are looked up at once.
const AT_ONCE: usize = 2_000;

/// The events of a key in a pane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyMinute {
    /// How many they are.
    pub(crate) count: u64,
    /// How many of them came late.
    pub(crate) late: u64,
}

/// What is read of the rows.
pub(crate) struct Reading<'w> {
    warehouse: &'w Warehouse,
    side: Side,
    /// A condition on rows beside what the rules ask for, in SQL.
    only: String,
}

impl<'w> Reading<'w> {
    /// Rows of one of the databases.
    pub(crate) fn of(warehouse: &'w Warehouse, side: Side) -> Self {
        Self { warehouse, side, only: "1".to_owned() }
    }

    /// Only rows of one key of a rule: other rows are not read. The rule still decides.
    pub(crate) fn only_key(mut self, rule: &Rule, key: &str) -> Self {
        self.only = columns::key_condition(rule, key);
        self
    }

    /// How many lanes the rows of a span come from.
    pub(crate) async fn lanes(&self, span: &Range<i64>) -> Result<u16> {
        let sql = format!("SELECT max(lane) AS lane FROM records WHERE {}", within(span));
        let rows = self.warehouse.query(self.side, &sql, &[]).await?;
        let lane = rows.first().and_then(|row| row.get("lane")?.as_u64()).unwrap_or(0);
        Ok(u16::try_from(lane).unwrap_or(u16::MAX - 1) + 1)
    }

    /// When the oldest event was received; none if there is none.
    pub(crate) async fn oldest(&self) -> Result<Option<i64>> {
        let sql = "SELECT toUnixTimestamp64Milli(min(received_at)) AS at, count() AS rows FROM records WHERE outcome = 'event'";
        let rows = self.warehouse.query(self.side, sql, &[]).await?;
        let number = |name: &str| rows.first().and_then(|row| row.get(name)?.as_i64()).unwrap_or(0);
        Ok((number("rows") > 0).then(|| number("at")))
    }

    /// Events of a span, whether or not a rule is about them.
    pub(crate) async fn count(&self, span: &Range<i64>) -> Result<u64> {
        let sql = format!("SELECT count() AS rows FROM records WHERE outcome = 'event' AND {}", within(span));
        let rows = self.warehouse.query(self.side, &sql, &[]).await?;
        Ok(rows.first().and_then(|row| row.get("rows")?.as_u64()).unwrap_or(0))
    }

    /// Shows the engine the rows of a span, a slice at a time, and after each slice what its rules say of it. How many
    /// rows of its rules there were.
    pub(crate) async fn play(
        &self,
        engine: &mut Engine,
        span: Range<i64>,
        mut each: impl FnMut(&mut Engine, i64, Vec<Alert<'static>>, Vec<Alert<'static>>),
    ) -> Result<u64> {
        let mut read = 0;
        let mut from = span.start;
        while from < span.end {
            let to = span.end.min((from.div_euclid(SLICE_MS) + 1) * SLICE_MS);
            if let Some(sql) = columns::counts(engine.rules(), engine.pane_ms(), &within(&(from..to)), &self.only) {
                let names = columns::asked(engine.rules());
                read += self.rows(&sql, &names, |row| engine.take(row)).await?;
            }
            engine.pass(to);
            if let Some(why) = engine.failed() {
                refuse!("the history cannot be played: {why}");
            }
            let (mut told, shadow) = engine.told();
            self.name(&mut told).await?;
            each(engine, to, told, shadow);
            from = to;
        }
        Ok(read)
    }

    /// The alerts of rules that fire on every event, one by one, in the order of receipt: there may be as many as
    /// events. How many rows were looked at.
    pub(crate) async fn each_alerts(
        &self,
        index: &RuleIndex,
        span: &Range<i64>,
        mut each: impl FnMut(&Alert<'static>),
    ) -> Result<u64> {
        let rules: Vec<&Rule> = index.rules().iter().filter(|rule| rule.trigger() == Some(&Trigger::Each)).collect();
        let Some(sql) = columns::events(&rules, &within(span), &self.only) else { return Ok(0) };
        let names = columns::all();
        self.rows(&sql, &names, |row| {
            let mut event = columns::event(&names, row.texts());
            event.received_at = event::Millis(row.pane);
            index.matches(&event).filter_map(|rule| rule.each_alert(&event)).for_each(|alert| each(&alert));
        })
        .await
    }

    /// What a rule counts of one key within a span, by pane.
    pub(crate) async fn key(
        &self,
        rule: &Rule,
        key: &str,
        span: Range<i64>,
        pane_ms: i64,
    ) -> Result<BTreeMap<i64, KeyMinute>> {
        let rules = std::slice::from_ref(rule);
        let mut panes: BTreeMap<i64, KeyMinute> = BTreeMap::new();
        let Some(sql) = columns::counts(rules, pane_ms, &within(&span), &self.only) else { return Ok(panes) };
        let (names, index) = (columns::asked(rules), RuleIndex::new(rules.to_vec()));
        self.rows(&sql, &names, |row| {
            let event = columns::event(&names, row.texts());
            let of_key = rule.observe(&event, row.pane).is_some_and(|seen| seen.key == key);
            if of_key && index.matches(&event).next().is_some() {
                let pane = panes.entry(row.pane).or_default();
                (pane.count, pane.late) = (pane.count + row.count, pane.late + row.late);
            }
        })
        .await?;
        Ok(panes)
    }

    /// What a rule that tells events apart sees of one key within a span, by minute since 1970. The key of a rule on
    /// what is first seen is the value.
    pub(crate) async fn facets(&self, rule: &Rule, key: &str, span: Range<i64>) -> Result<Facets> {
        let rules = std::slice::from_ref(rule);
        let mut minutes = Facets::new();
        let Some(sql) = columns::counts(rules, MINUTE_MS, &within(&span), &self.only) else { return Ok(minutes) };
        let (names, index) = (columns::asked(rules), RuleIndex::new(rules.to_vec()));
        let is_value = matches!(rule.trigger(), Some(Trigger::FirstSeen(_)));
        self.rows(&sql, &names, |row| {
            let event = columns::event(&names, row.texts());
            let Some(seen) = rule.observe(&event, row.pane) else { return };
            let of_key = if is_value { seen.facet == key } else { seen.key == key };
            if !of_key || index.matches(&event).next().is_none() {
                return;
            }
            let of_minute = minutes.entry(row.pane.div_euclid(MINUTE_MS)).or_default();
            let one = of_minute.entry(seen.facet.into_owned()).or_default();
            (one.count, one.late) = (one.count + row.count, one.late + row.late);
            if let Some(counter) = seen.counter {
                let (low, high) = one.counters.unwrap_or((counter, counter));
                one.counters = Some((low.min(counter), high.max(counter)));
            }
        })
        .await?;
        Ok(minutes)
    }

    async fn rows(&self, sql: &str, names: &[&str], mut each: impl FnMut(&Row<'_>)) -> Result<u64> {
        let mut decoder = Decoder::new(names.len());
        let (mut read, mut broken) = (0, None);
        let decode = |piece: &[u8]| match decoder.decode(piece, |row| {
            read += row.count;
            each(row);
        }) {
            Ok(()) => true,
            Err(why) => {
                broken = Some(why);
                false
            }
        };
        self.warehouse.stream(self.side, sql, "RowBinary", decode).await?;
        match broken.or_else(|| decoder.is_within_a_row().then(|| "it ends within a row".to_owned())) {
            None => Ok(read),
            Some(why) => Err(Error::Refused(format!("ClickHouse's answer about the history cannot be read: {why}"))),
        }
    }

    /// Puts what is known about the event behind each alert into it: rows that were added up have only what rules ask
    /// for.
    async fn name(&self, alerts: &mut [Alert<'static>]) -> Result<()> {
        let places: HashSet<Place> = alerts.iter().filter_map(|alert| Place::parse(&alert.sample)).collect();
        let places: Vec<Place> = places.into_iter().collect();
        let mut known: HashMap<(u64, u64), LinkEvent<'static>> = HashMap::new();
        for places in places.chunks(AT_ONCE) {
            let sql = columns::named(places);
            for row in self.warehouse.query(self.side, &sql, &[]).await? {
                let number = |name: &str| row.get(name).and_then(Value::as_u64);
                let (Some(lane), Some(offset)) = (number("lane"), number("raw_offset")) else { continue };
                let text = |name: &&str| row.get(*name).and_then(Value::as_str).unwrap_or_default().to_owned();
                let names = columns::all();
                let texts: Vec<String> = names.iter().map(text).collect();
                let event = columns::event(&names, texts.iter().map(String::as_str));
                known.insert((lane, offset), event);
            }
        }
        for alert in alerts {
            let place = Place::parse(&alert.sample).map(|place| (u64::from(place.lane), place.offset));
            let Some(event) = place.and_then(|place| known.get(&place)) else { continue };
            alert.sample = event.event_key.clone();
            let mut attributes = event::attributes(event);
            for (name, value) in std::mem::take(&mut alert.attributes.0) {
                if attributes.get(&name).is_empty() {
                    attributes.add(name, value);
                }
            }
            alert.attributes = attributes;
        }
        Ok(())
    }
}

/// Rows that were received within a span of milliseconds since 1970.
fn within(span: &Range<i64>) -> String {
    format!(
        "received_at >= fromUnixTimestamp64Milli({}) AND received_at < fromUnixTimestamp64Milli({})",
        span.start, span.end
    )
}
