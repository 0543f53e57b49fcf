//! Charts of the rules that tell events apart: what led nowhere, what shows a drift, what is missing, and what a value
//! that was new has brought since.

use std::collections::BTreeMap;
use std::ops::Range;

use rules::{Facets, Trigger, drifted, least_nowhere, led_nowhere, missing};

use super::alert::{AlertReport, Chart, HOUR_MS, MINUTE_MS, Point, in_words};
use crate::backtest::LEARN_MS;

/// The span of a chart, in milliseconds since 1970, and its steps.
pub(super) struct Around {
    shown: Range<i64>,
    step_ms: i64,
}

impl Around {
    /// What is drawn of an alert.
    pub(super) fn of(trigger: &Trigger, report: &AlertReport) -> Self {
        let (begin, end) = (report.window_start, report.window_end);
        let (before, after, step_ms) = match trigger {
            Trigger::Broken { .. } => (90 * MINUTE_MS, 60 * MINUTE_MS, MINUTE_MS),
            Trigger::Drift { .. } => (3 * HOUR_MS, 2 * HOUR_MS, 5 * MINUTE_MS),
            Trigger::Gap { .. } => (24 * HOUR_MS, 24 * HOUR_MS, HOUR_MS),
            _ => (12 * HOUR_MS, 24 * HOUR_MS, HOUR_MS),
        };
        let aligned = |at: i64| at.div_euclid(step_ms) * step_ms;
        // The window of a gap is a day or more; what is drawn of it ends with it.
        let begin = if matches!(trigger, Trigger::Gap { .. }) { end } else { begin };
        Self { shown: aligned(begin - before)..aligned(end + after), step_ms }
    }

    /// Of what span rows are read: what is drawn, and what decides about it.
    pub(super) fn read(&self, trigger: &Trigger) -> Range<i64> {
        let before = match trigger {
            // The platform may have ended the link long before.
            Trigger::Broken { .. } => LEARN_MS,
            // Counters are followed from where they were when the window began, and a while before.
            Trigger::Gap { gap, .. } => 2 * gap.within_hours * HOUR_MS + 24 * HOUR_MS,
            _ => 0,
        };
        self.shown.start - before..self.shown.end
    }

    fn ends(&self) -> impl Iterator<Item = i64> {
        let step = self.step_ms;
        (1..=(self.shown.end - self.shown.start) / step).map(move |number| self.shown.start + number * step)
    }

    fn chart(&self, unit: String, at: i64, point: impl Fn(i64) -> (u64, Option<u64>)) -> Chart {
        let points = self.ends().map(|at| {
            let (count, bound) = point(at);
            Point { at, count, usual: None, bound: bound.map(|bound| bound as f64) }
        });
        Chart { unit, step_ms: self.step_ms, points: points.collect(), at }
    }
}

/// What the rule saw around the moment of an alert.
pub(super) fn chart(trigger: &Trigger, report: &AlertReport, around: &Around, facets: &Facets) -> Chart {
    let at = report.window_end;
    let minute = |ms: i64| ms.div_euclid(MINUTE_MS);
    match trigger {
        Trigger::Broken { broken, .. } => {
            let minutes = led_nowhere(facets);
            let unit = format!("{} that led nowhere", in_words(broken.within_minutes * MINUTE_MS));
            around.chart(unit, at, |end| {
                let window = minutes.range(minute(end) - broken.within_minutes..minute(end));
                let (bad, good) = window.fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
                (bad, Some(least_nowhere(broken, bad, good)))
            })
        }
        Trigger::Drift { .. } => {
            let attribute = |name: &str| report.attributes.get(name).map_or("", String::as_str);
            let unexpected = report.why.split("leads to ").nth(1).and_then(|rest| rest.split(',').next());
            let marks = [attribute("leads_to"), attribute("status"), unexpected.unwrap_or_default()];
            let marks: Vec<&str> = marks.into_iter().filter(|mark| !mark.is_empty()).collect();
            let minutes = drifted(facets, &marks);
            let unit = format!("{} that show {}", in_words(around.step_ms), marks.join(" or "));
            around.chart(unit, at, |end| (sum(&minutes, minute(end - around.step_ms)..minute(end)), None))
        }
        Trigger::Gap { gap, .. } => {
            let hours = missing(gap, facets, around.shown.end.div_euclid(HOUR_MS));
            let unit = format!("{} that are missing", in_words(gap.within_hours * HOUR_MS));
            around.chart(unit, at, |end| {
                let of_hour = hours.get(&end.div_euclid(HOUR_MS));
                of_hour.map_or((0, None), |(missing, least)| (*missing, Some(*least)))
            })
        }
        _ => {
            let count = |parts: &BTreeMap<String, rules::FacetCount>| parts.values().map(|part| part.count).sum();
            let minutes: BTreeMap<i64, u64> = facets.iter().map(|(at, parts)| (*at, count(parts))).collect();
            around.chart("an hour that have it".to_owned(), at, |end| {
                (sum(&minutes, minute(end - HOUR_MS)..minute(end)), None)
            })
        }
    }
}

fn sum(minutes: &BTreeMap<i64, u64>, span: Range<i64>) -> u64 {
    minutes.range(span).map(|(_, count)| count).sum()
}
