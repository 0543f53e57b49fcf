//! What rules that tell events apart have counted, for people who look at it later: by the evaluators' own reading of
//! what an event shows.

use std::collections::BTreeMap;

use crate::evaluator::broken::{BrokenRule, Nowhere};
use crate::evaluator::drift;
use crate::evaluator::gap::{self, Counter, GapKey, GapRule};

/// The events of a key within a minute that show the same: `facet` is of [`crate::Observation`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FacetCount {
    /// How many they are.
    pub count: u64,
    /// How many of them came late.
    pub late: u64,
    /// The least and the most that the platform itself has counted.
    pub counters: Option<(u64, u64)>,
}

/// What came of a key, by minute since 1970 and by facet.
pub type Facets = BTreeMap<i64, BTreeMap<String, FacetCount>>;

/// What led nowhere in each minute, and what arrived.
pub fn led_nowhere(facets: &Facets) -> BTreeMap<i64, (u64, u64)> {
    let mut nowhere = Nowhere::default();
    let of_minute = |parts: &BTreeMap<String, FacetCount>| {
        nowhere.take(parts.iter().map(|(facet, part)| (facet.as_str(), part.count, part.late)))
    };
    facets.values().map(of_minute).zip(facets.keys()).map(|(counts, minute)| (*minute, counts)).collect()
}

/// How many visits a rule on broken destinations asks for, if so many of its window led nowhere and so many arrived.
pub fn least_nowhere(rule: &BrokenRule, nowhere: u64, arrived: u64) -> u64 {
    u64::from(rule.at_least.max(1)).max((u64::from(rule.percent) * (nowhere + arrived)).div_ceil(100))
}

/// Visits of each minute that show one of `marks`: a site, or a status. What came late shows what was.
pub fn drifted(facets: &Facets, marks: &[&str]) -> BTreeMap<i64, u64> {
    let of_minute = |parts: &BTreeMap<String, FacetCount>| {
        let shown = parts.iter().filter(|(facet, _)| drift::shows(facet, marks));
        shown.map(|(_, part)| part.count.saturating_sub(part.late)).sum()
    };
    facets.iter().map(|(minute, parts)| (*minute, of_minute(parts))).collect()
}

/// Hour since 1970 → what is missing of the window that ended with the hour before, and how much the rule asks for.
pub fn missing(rule: &GapRule, facets: &Facets, until_hour: i64) -> BTreeMap<i64, (u64, u64)> {
    let (mut key, mut counters) = (GapKey::default(), BTreeMap::<&str, Counter>::new());
    let mut hours = BTreeMap::new();
    let Some(first) = facets.keys().next() else { return hours };
    let mut left = facets.iter().peekable();
    for hour in first.div_euclid(60) + 1..=until_hour {
        while let Some((minute, parts)) = left.next_if(|(minute, _)| **minute < hour * 60) {
            let before = key.arrived(rule, *minute);
            let mut sum = (0_u64, 0_u64);
            for (facet, part) in parts {
                let count = u32::try_from(part.count).unwrap_or(u32::MAX);
                let (counted, arrived) = counters.entry(facet).or_default().take(*minute, count, part.counters, before);
                sum = (sum.0.saturating_add(counted), sum.1.saturating_add(arrived));
            }
            key.take(rule, *minute, sum.0, sum.1);
        }
        let (counted, missing) = key.window(rule, hour);
        hours.insert(hour, (missing, gap::least_missing(rule, counted).max(1)));
    }
    hours
}
