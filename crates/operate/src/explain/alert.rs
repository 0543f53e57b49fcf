//! Why an alert fired: what was counted around its moment, what is usual there, and what the rule asks for.
//!
//! What is usual was not stored. It is learned again from the rows of the key, by the evaluators of the rule.

use std::collections::BTreeMap;
use std::ops::Range;

use rules::{SilenceKey, SilenceRule, SpikeKey, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use warehouse::{Side, Warehouse, quote};

use super::watched::{self, Around};
use crate::backtest::LEARN_MS;
use crate::history::{KeyMinute, Reading};
use crate::{Installation, Report, Result};

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Before and after the window of a spike, in minutes.
const AROUND: Range<i64> = -150..60;
/// Before and after a silence, in hours.
const AROUND_HOURS: Range<i64> = -36..12;
/// The most points that are drawn.
const POINTS: i64 = 600;

/// Why an alert fired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertReport {
    /// Whether it could be drawn, or there is nothing to draw.
    pub ok: bool,
    /// The alert.
    pub alert_id: String,
    /// The rule that speaks.
    pub rule: String,
    /// Hash of the rule as it decided.
    pub rule_version: String,
    /// Its owner.
    pub owner: String,
    /// What it is about.
    pub key: String,
    /// each, fired or resolved.
    pub transition: String,
    /// Start of the window, in milliseconds since 1970.
    pub window_start: i64,
    /// End of the window.
    pub window_end: i64,
    /// Events in the window.
    pub observed: u64,
    /// What the rule asks for; 0 for rules that fire on every event.
    pub threshold: u64,
    /// Whether it is about test data.
    pub test: bool,
    /// Why it fired then, in a sentence.
    pub why: String,
    /// What it carries: what is usual, the level, the window, and names of an event behind it.
    pub attributes: BTreeMap<String, String>,
    /// What became of it: a message for each destination.
    pub messages: Vec<Told>,
    /// What was counted around its moment.
    pub chart: Option<Chart>,
    /// What the chart does not show, and why there is none.
    pub notes: Vec<String>,
}

/// A message that tells of an alert, or was to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where it goes.
    pub destination: String,
    /// The bundle that it is in.
    pub bundle_id: String,
    /// held, planned, attempted, delivered, failed or silenced.
    pub stage: String,
    /// When it came to that, in milliseconds since 1970.
    pub at: i64,
    /// Attempts so far.
    pub attempts: u16,
    /// Why the last attempt failed, or what held it back: a person, closed hours, an alert of another rule.
    pub why: String,
}

/// Counts around a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// What is counted: `in 5 min`, `an hour`.
    pub unit: String,
    /// Between two points, in milliseconds.
    pub step_ms: i64,
    /// The points, by time.
    pub points: Vec<Point>,
    /// When the alert was raised, in milliseconds since 1970.
    pub at: i64,
}

/// A count and what is usual there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The end of its window, in milliseconds since 1970.
    pub at: i64,
    /// Events in the window.
    pub count: u64,
    /// The least and the most that is usual; none where it is not known.
    pub usual: Option<(f64, f64)>,
    /// What fires; none where it is not a count.
    pub bound: Option<f64>,
}

impl Report for AlertReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Explains an alert; none if there is none with that id.
///
/// # Errors
/// When ClickHouse fails.
pub async fn alert(installation: &Installation, id: &str) -> Result<Option<AlertReport>> {
    let warehouse = installation.connect().await?;
    for side in Side::BOTH {
        if let Some(mut report) = find(&warehouse, side, id).await? {
            report.messages = messages(&warehouse, side, id).await?;
            draw(installation, &warehouse, side, &mut report).await?;
            return Ok(Some(report));
        }
    }
    Ok(None)
}

async fn find(warehouse: &Warehouse, side: Side, id: &str) -> Result<Option<AlertReport>> {
    let time = |name: &str| format!("toUnixTimestamp64Milli(a.{name}) AS {name}_ms");
    let sql = format!(
        "SELECT alert_id, toString(rule) AS rule_name, toString(rule_version) AS version, toString(owner) AS rule_owner, key, \
         toString(transition) AS turn, {}, {}, observed, threshold, test, attributes FROM alerts AS a WHERE alert_id = {} LIMIT 1",
        time("window_start"),
        time("window_end"),
        quote(id)
    );
    let rows = warehouse.query(side, &sql, &[]).await?;
    Ok(rows.first().map(report_of))
}

/// What became of an alert. A record of a delivery names the alerts that are new in it, the first 1,000 at most.
async fn messages(warehouse: &Warehouse, side: Side, id: &str) -> Result<Vec<Told>> {
    const SQL: &str = "SELECT destination::String AS destination, bundle_id, stage::String AS stage, \
        toUnixTimestamp64Milli(last_at) AS at, attempts, error AS why FROM deliveries \
        WHERE (bundle_id, destination) IN (SELECT bundle_id, destination FROM delivery_attempts \
        WHERE has(alert_ids, {id:String})) ORDER BY destination, last_at LIMIT 100";
    let rows = warehouse.query(side, SQL, &[("id", id)]).await?;
    let told = rows.into_iter().map(|row| serde_json::from_value(Value::Object(row)));
    told.collect::<std::result::Result<_, _>>().map_err(|error| {
        let detail = format!("a message of the alert could not be read: {error}");
        warehouse::WarehouseError::Answer { what: "query".into(), detail }.into()
    })
}

fn report_of(row: &Map<String, Value>) -> AlertReport {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let signed = |name: &str| row.get(name).and_then(Value::as_i64).unwrap_or(0);
    let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
    let pairs = row.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let attributes: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let (observed, threshold) = (number("observed"), number("threshold"));
    let why = match (attributes.get("why"), text("turn").as_str()) {
        (Some(why), _) => why.clone(),
        (None, "each") => "the rule fires on every event that it is about".to_owned(),
        (None, "resolved") => format!("{observed} events in the window, less than {threshold}"),
        (None, _) => format!("{observed} events in the window, and the rule asks for {threshold}"),
    };
    AlertReport {
        ok: true,
        alert_id: text("alert_id"),
        rule: text("rule_name"),
        rule_version: text("version"),
        owner: text("rule_owner"),
        key: text("key"),
        transition: text("turn"),
        window_start: signed("window_start_ms"),
        window_end: signed("window_end_ms"),
        observed,
        threshold,
        test: row.get("test").and_then(Value::as_bool).unwrap_or(false),
        why,
        attributes,
        messages: Vec::new(),
        chart: None,
        notes: Vec::new(),
    }
}

async fn draw(installation: &Installation, warehouse: &Warehouse, side: Side, report: &mut AlertReport) -> Result<()> {
    let config = &installation.config;
    let Some(rule) = config.rule(&report.rule).map(|rule| &rule.rule) else {
        report.ok = false;
        report
            .notes
            .push(format!("the rule {:?} is not configured any more: what it counted is not known", report.rule));
        return Ok(());
    };
    if rule.version() != report.rule_version {
        report.notes.push("the rule has changed since: the chart is by the rule of now".to_owned());
    }
    let Some(trigger) = rule.trigger().filter(|trigger| **trigger != Trigger::Each) else { return Ok(()) };
    let reading = Reading::of(warehouse, side).only_key(rule, &report.key);
    let end = report.window_end;
    let chart = match trigger {
        Trigger::Spike { spike, not_during_launches, .. } => {
            let launches = config.expectations().launches;
            let of_key = launches.iter().filter(|one| {
                *not_during_launches && one.links.iter().any(|link: &rules::Glob| link.matches(&report.key))
            });
            let minutes = |ms: i64| ms.div_euclid(MINUTE_MS);
            let planned: Vec<(i64, i64)> =
                of_key.map(|one| (minutes(one.from_ms), minutes(one.until_ms + MINUTE_MS - 1))).collect();
            let length = (end - report.window_start) / MINUTE_MS;
            let window = match report.transition.as_str() {
                "fired" => u8::try_from(length.clamp(1, 60)).unwrap_or(60),
                _ => spike.rule().within_minutes,
            };
            let span = end - LEARN_MS..end + AROUND.end * MINUTE_MS;
            let counts = reading.key(rule, &report.key, span, MINUTE_MS).await?;
            spike_chart(&spike.rule(), window, &planned, &counts, end)
        }
        Trigger::Silence { silence, .. } => {
            let fixed = config.expectations().quiet_after_minutes.get(&report.key).copied();
            let rule_now = SilenceRule { quiet_after_minutes: fixed.or(silence.quiet_after_minutes), ..*silence };
            let span = end - LEARN_MS..end + AROUND_HOURS.end * HOUR_MS;
            let counts = reading.key(rule, &report.key, span, MINUTE_MS).await?;
            let from = if report.transition == "fired" { report.window_start } else { end };
            silence_chart(&rule_now, &counts, from, end)
        }
        Trigger::Count { count, within_ms, pane_ms, .. } => {
            let around = (3 * within_ms).min(POINTS / 2 * pane_ms).max(*within_ms);
            let counts = reading.key(rule, &report.key, end - around - within_ms..end + around, *pane_ms).await?;
            count_chart(*count, *within_ms, *pane_ms, &counts, end, around)
        }
        Trigger::Broken { .. } | Trigger::Drift { .. } | Trigger::Gap { .. } | Trigger::FirstSeen(_) => {
            let around = Around::of(trigger, report);
            let facets = reading.facets(rule, &report.key, around.read(trigger)).await?;
            watched::chart(trigger, report, &around, &facets)
        }
        Trigger::Each => return Ok(()),
    };
    if chart.points.iter().all(|point| point.count == 0) {
        report.notes.push("ClickHouse holds no events of the key around that time".to_owned());
    }
    report.notes.push(
        "panes are cut by the time of receipt; the rule had them by the time at which the log took each event"
            .to_owned(),
    );
    report.chart = Some(chart);
    Ok(())
}

pub(super) fn in_words(ms: i64) -> String {
    match ms {
        ms if ms % HOUR_MS == 0 => format!("in {} h", ms / HOUR_MS),
        ms if ms % MINUTE_MS == 0 => format!("in {} min", ms / MINUTE_MS),
        ms => format!("in {} s", ms / 1_000),
    }
}

/// Minutes of a window that ends with each of some minutes, and what the evaluator takes for usual there.
fn spike_chart(
    rule: &rules::SpikeRule,
    window: u8,
    planned: &[(i64, i64)],
    counts: &BTreeMap<i64, KeyMinute>,
    end: i64,
) -> Chart {
    let last = end.div_euclid(MINUTE_MS) - 1;
    let shown = last + AROUND.start..last + AROUND.end;
    let count_of = |minute: i64| counts.get(&(minute * MINUTE_MS)).map_or(0, |one| one.count - one.late);
    let mut key = SpikeKey::default();
    for (at, one) in counts.range(..shown.start * MINUTE_MS) {
        if one.count > one.late {
            let count = u32::try_from(one.count - one.late).unwrap_or(u32::MAX);
            key.take(rule, at.div_euclid(MINUTE_MS), count, planned, &mut |_| {});
        }
    }
    let points = shown.map(|minute| {
        match u32::try_from(count_of(minute)).unwrap_or(u32::MAX) {
            0 => key.walk(rule, minute, planned, &mut |_| {}),
            count => key.take(rule, minute, count, planned, &mut |_| {}),
        }
        let band = key.band(rule, minute, window);
        Point {
            at: (minute + 1) * MINUTE_MS,
            count: (0..i64::from(window)).map(|back| count_of(minute - back)).sum(),
            usual: band.map(|band| (band.low, band.high)),
            bound: band.map(|band| band.bound),
        }
    });
    Chart { unit: in_words(i64::from(window) * MINUTE_MS), step_ms: MINUTE_MS, points: points.collect(), at: end }
}

/// Hours around a silence, which began at `from`.
fn silence_chart(rule: &SilenceRule, counts: &BTreeMap<i64, KeyMinute>, from: i64, end: i64) -> Chart {
    let (first, last) = (from.div_euclid(HOUR_MS) + AROUND_HOURS.start, end.div_euclid(HOUR_MS) + AROUND_HOURS.end);
    // A long silence is drawn from its last part on.
    let first = first.max(last - POINTS);
    let mut key = SilenceKey::default();
    let mut left = counts.iter().peekable();
    let points = (first..last).map(|hour| {
        let mut take_to = |until_ms: i64, key: &mut SilenceKey| {
            while let Some((at, one)) = left.next_if(|(at, _)| **at < until_ms) {
                let count = u32::try_from(one.count).unwrap_or(u32::MAX);
                key.take(rule, at.div_euclid(MINUTE_MS), count, &mut |_| {});
            }
        };
        take_to(hour * HOUR_MS, &mut key);
        key.walk(rule, hour * 60, &mut |_| {});
        let usual = key.usual(hour * 60);
        let of_hour = counts.range(hour * HOUR_MS..(hour + 1) * HOUR_MS);
        Point { at: (hour + 1) * HOUR_MS, count: of_hour.map(|(_, one)| one.count).sum(), usual, bound: None }
    });
    Chart { unit: "an hour".to_owned(), step_ms: HOUR_MS, points: points.collect(), at: end }
}

/// Windows around a window that reached a count.
fn count_chart(
    asked: u64,
    within_ms: i64,
    pane_ms: i64,
    counts: &BTreeMap<i64, KeyMinute>,
    end: i64,
    around: i64,
) -> Chart {
    let pane_ms = pane_ms.max(1);
    let steps = 2 * around / pane_ms;
    let points = (0..=steps).map(|step| {
        let at = end - around + step * pane_ms;
        let count = counts.range(at - within_ms..at).map(|(_, one)| one.count).sum();
        Point { at, count, usual: None, bound: Some(asked as f64) }
    });
    Chart { unit: in_words(within_ms), step_ms: pane_ms, points: points.collect(), at: end }
}

#[cfg(test)]
mod tests {
    use rules::Sensitivity;

    use super::*;

    /// 2026-09-07, a Monday, in minutes.
    const BEGIN: i64 = 29_812_320;

    fn minutes(count: impl Fn(i64) -> u64, days: i64) -> BTreeMap<i64, KeyMinute> {
        let of = |minute: i64| ((BEGIN + minute) * MINUTE_MS, KeyMinute { count: count(minute), late: 0 });
        (0..days * 1_440).map(of).filter(|(_, one)| one.count > 0).collect()
    }

    #[test]
    fn a_spike_stands_above_its_bound_and_what_is_usual_below() {
        let spike = 15 * 1_440 + 840;
        let counts = minutes(|minute| if (spike..spike + 5).contains(&minute) { 80 } else { 2 }, 16);
        let rule = rules::SpikeRule {
            times: 3.0,
            within_minutes: 5,
            at_least: 50,
            quiet_for_minutes: 60,
            sensitivity: Sensitivity::Normal,
        };
        let end = (BEGIN + spike + 1) * MINUTE_MS;
        let chart = spike_chart(&rule, 5, &[], &counts, end);
        assert_eq!((chart.points.len(), chart.unit.as_str()), (210, "in 5 min"));
        let fired: Vec<&Point> =
            chart.points.iter().filter(|one| one.bound.is_some_and(|bound| one.count as f64 >= bound)).collect();
        assert_eq!((fired[0].at, fired[0].count), (end, 88), "{:?}", chart.points);
        let (low, high) = chart.points[0].usual.unwrap();
        assert!(low < 10.0 && high > 10.0 && high < 50.0, "{low} to {high}");
    }

    #[test]
    fn a_silence_is_drawn_by_the_hour() {
        let gone = 16 * 1_440;
        let counts = minutes(|minute| u64::from(minute < gone), 18);
        let rule = SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
        let since = (BEGIN + gone) * MINUTE_MS;
        let chart = silence_chart(&rule, &counts, since, since + 40 * MINUTE_MS);
        let at = |hour: i64| chart.points.iter().find(|one| one.at == since + hour * HOUR_MS).unwrap();
        assert_eq!((at(0).count, at(1).count), (60, 0));
        let (low, high) = at(1).usual.unwrap();
        assert!(low > 20.0 && low < 60.0 && high > 60.0, "{low} to {high}");
        let fixed = silence_chart(&SilenceRule { quiet_after_minutes: Some(30), ..rule }, &counts, since, since);
        assert!(fixed.points.iter().all(|one| one.usual.is_none()));
    }

    #[test]
    fn a_count_is_drawn_by_its_windows() {
        let counts = minutes(|minute| u64::from((100..110).contains(&minute)), 1);
        let end = (BEGIN + 110) * MINUTE_MS;
        let chart = count_chart(10, 10 * MINUTE_MS, MINUTE_MS, &counts, end, 30 * MINUTE_MS);
        let most = chart.points.iter().max_by_key(|one| one.count).unwrap();
        assert_eq!((most.at, most.count, most.bound, chart.points.len()), (end, 10, Some(10.0), 61));
    }
}
