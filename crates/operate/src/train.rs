//! What is usual, learned from stored history: a new rule need not wait two weeks for what ClickHouse has had for a
//! year.
//!
//! The detector of production goes through the rows, and what its keys know then is written to where a lane of
//! `detect` restores its state from, under the lane's fence. A key that has learned for as long or longer is left as
//! it is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use event::{Alert, Transition, lane};
use rules::{Change, FullRule, LearnedRecord, Rule, Trigger};
use serde::Serialize;
use warehouse::{Side, Warehouse};

use crate::error::refuse_unless;
use crate::history::{Engine, Reading};
use crate::{Installation, Report, Result, blocking};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How often what came meanwhile is learned, at most.
const TIMES: u32 = 5;
/// How long rows are waited for, in seconds.
const AWAIT_S: u32 = 30;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Since when history is looked at, in milliseconds since 1970.
    pub since: i64,
    /// The names of the rules; all that learn, if there is none.
    pub rules: Vec<String>,
    /// Whether keys that have learned for as long or longer are taught as well.
    pub overwrite: bool,
    /// Whether it is written. Otherwise it is only said.
    pub apply: bool,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Whether no key was left as it is because it has learned more.
    pub ok: bool,
    /// Whether it was written.
    pub applied: bool,
    /// Since when history was looked at, in milliseconds since 1970.
    pub from: i64,
    /// Up to when: as far as `detect` had come.
    pub until: i64,
    /// Events that rules that learn are about.
    pub events: u64,
    /// In so many seconds.
    pub seconds: f64,
    /// Each rule.
    pub rules: Vec<RuleTraining>,
}

/// What a rule has learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTraining {
    /// The rule.
    pub rule: String,
    /// Keys that had nothing of the kind before, or less.
    pub taught: u64,
    /// Keys among them that had learned for less time.
    pub replaced: u64,
    /// Keys that have learned for as long or longer, and are left as they are.
    pub kept: u64,
    /// Keys for which the rule fires, at the end of the history or in the state of `detect`: they are left out. A start
    /// was not told, or its end would not be.
    pub firing: u64,
    /// Events of keys beyond what a rule may know: of them nothing was learned.
    pub passed_over: u64,
    /// Since when the key has learned that has learned for longest, in milliseconds since 1970; 0: there is none.
    pub since: i64,
}

impl Report for TrainReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// A key of a rule, as its state names it.
type Key = (String, String, String);

/// Learns from stored history what is usual, and puts it into the state of `detect` if that is asked.
///
/// # Errors
/// When an engine fails, no rule learns, or `detect` has no state yet.
pub async fn train(installation: &Installation, options: &Options) -> Result<TrainReport> {
    let begun = Instant::now();
    let config = &installation.config;
    for name in &options.rules {
        refuse_unless!(config.rule(name).is_some(), "{} has no rule {name:?}", installation.file.display());
    }
    let is_meant = |rule: &&Rule| {
        learns(rule) && (options.rules.is_empty() || options.rules.iter().any(|name| name == rule.name()))
    };
    let rules: Vec<Rule> = config.rules.iter().map(|rule| &rule.rule).filter(is_meant).cloned().collect();
    refuse_unless!(
        !rules.is_empty(),
        "no rule of {} learns: write alert = {{ spike = \"3x\", … }} or alert = {{ silence = \"learned\", … }}",
        installation.file.display()
    );
    let control = installation.identity().await?;
    let settings = detect::Settings {
        cluster: installation.cluster.clone(),
        // Partitions follow from the lanes that there are, whatever this configuration says of them.
        plan: kafka::topics::Plan::new(control.lanes, installation.plan.replication),
        ids: installation.schemas().await?,
        rules: config.rules.iter().map(|rule| rule.rule.clone()).collect(),
        expectations: config.expectations(),
    };
    let warehouse = installation.connect().await?;
    let reading = Reading::of(&warehouse, Side::Production);
    let from = reading.oldest().await?.map_or(options.since, |oldest| oldest.max(options.since));
    let (mut known, mut until) = known(&settings).await?;
    let mut engine = Engine::new(&rules, config.expectations(), control.lanes, from).without_names();
    let (mut firing, mut events, mut at) = (BTreeSet::new(), 0, from);
    // What came while it learned is learned as well: each time that is less.
    for _ in 0..TIMES {
        if until <= at || (at > from && until - at <= MINUTE_MS) {
            break;
        }
        if options.apply {
            await_rows(&warehouse, until).await?;
        }
        let each = |_: &mut Engine, _: i64, told: Vec<Alert<'static>>, shadow: Vec<Alert<'static>>| {
            told.iter().chain(&shadow).for_each(|alert| follow(&mut firing, alert));
        };
        events += reading.play(&mut engine, at..until, each).await?;
        at = until;
        (known, until) = self::known(&settings).await?;
    }
    let full = engine.full().clone();
    let keys = by_key(engine.into_detector().snapshot());
    let partitions = settings.plan.signal_partitions;
    let mut reports: BTreeMap<String, RuleTraining> =
        rules.iter().map(|rule| (rule.name().to_owned(), fresh(rule, &full))).collect();
    let mut records: BTreeMap<u16, Vec<Change>> = BTreeMap::new();
    let before = since_hours(&known);
    let fires: HashSet<Key> = known.iter().flat_map(detect::Known::firing).collect();
    for (key, (since, changes)) in keys {
        let (Some(report), Some(since)) = (reports.get_mut(&key.0), since) else { continue };
        if firing.contains(&(key.0.clone(), key.2.clone())) || fires.contains(&key) {
            report.firing += 1;
            continue;
        }
        match before.get(&key) {
            Some(before) if *before <= since && !options.overwrite => {
                report.kept += 1;
                continue;
            }
            Some(_) => report.replaced += 1,
            None => {}
        }
        report.taught += 1;
        let since = since * HOUR_MS;
        report.since = if report.since == 0 { since } else { report.since.min(since) };
        records.entry(lane::of_rule_key(&key.0, &key.2, partitions)).or_default().extend(changes);
    }
    if options.apply {
        for (partition, records) in records {
            let settings = settings.clone();
            let fires = blocking(move || Ok(detect::teach(&settings, partition, &records, at)?)).await?;
            for (rule, keys) in fires {
                if let Some(report) = reports.get_mut(&rule) {
                    // They had learned something, since they fire.
                    report.taught = report.taught.saturating_sub(keys);
                    report.replaced = report.replaced.saturating_sub(keys);
                    report.firing += keys;
                }
            }
        }
    }
    let rules: Vec<RuleTraining> = reports.into_values().collect();
    Ok(TrainReport {
        ok: rules.iter().all(|rule| rule.kept == 0),
        applied: options.apply,
        from,
        until: at,
        events,
        seconds: begun.elapsed().as_secs_f64(),
        rules,
    })
}

/// Waits a little until everything that was received before a time is a row.
async fn await_rows(warehouse: &Warehouse, until: i64) -> Result<()> {
    for left in (0..AWAIT_S).rev() {
        let Some(through) = complete_through(warehouse).await?.filter(|through| *through < until) else { break };
        refuse_unless!(
            left > 0,
            "report is behind: everything received before {} is a row, and detect is at {}; wait, and call again",
            shown(through),
            shown(until)
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Everything received before it is a row, in milliseconds since 1970; none if nothing was received for a week.
async fn complete_through(warehouse: &Warehouse) -> Result<Option<i64>> {
    let sql = "SELECT toUnixTimestamp64Milli(max(complete_through)) AS at, count() AS sources FROM completeness";
    let rows = warehouse.query(Side::Production, sql, &[]).await?;
    let number = |name: &str| rows.first().and_then(|row| row.get(name)?.as_i64()).unwrap_or(0);
    Ok((number("sources") > 0).then(|| number("at")))
}

fn shown(at: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at).unwrap_or_default()
}

/// Whether its keys have profiles.
fn learns(rule: &Rule) -> bool {
    match rule.trigger() {
        Some(Trigger::Spike { .. }) => true,
        Some(Trigger::Silence { silence, .. }) => silence.quiet_after_minutes.is_none(),
        _ => false,
    }
}

fn fresh(rule: &Rule, full: &BTreeMap<String, FullRule>) -> RuleTraining {
    let passed_over = full.get(rule.name()).map_or(0, |full| full.keys);
    RuleTraining { rule: rule.name().to_owned(), taught: 0, replaced: 0, kept: 0, firing: 0, passed_over, since: 0 }
}

/// What each partition has in its state, and up to which minute all of them have evaluated.
async fn known(settings: &detect::Settings) -> Result<(Vec<detect::Known>, i64)> {
    let own = settings.clone();
    let all = blocking(move || {
        let read = (0..own.plan.signal_partitions).map(|partition| Ok(detect::known(&own, partition)?));
        read.collect::<Result<Vec<Option<detect::Known>>>>()
    })
    .await?;
    let watermarks: Option<Vec<i64>> = all.iter().map(|one| one.as_ref()?.watermark).collect();
    let Some(watermarks) = watermarks else {
        crate::error::refuse!(
            "detect has no state yet that could be taught: start `hookline process` and `hookline detect` with these rules, wait for \
             ten seconds, and call again"
        )
    };
    let until = watermarks.into_iter().min().unwrap_or(0).div_euclid(MINUTE_MS) * MINUTE_MS;
    Ok((all.into_iter().flatten().collect(), until))
}

fn follow(firing: &mut BTreeSet<(String, String)>, alert: &Alert<'_>) {
    let key = (alert.rule.clone().into_owned(), alert.key.clone().into_owned());
    match alert.transition {
        Transition::Resolved => drop(firing.remove(&key)),
        Transition::Fired | Transition::Each => drop(firing.insert(key)),
    }
}

/// The records of each key, and since which hour it has learned; none for a key that has no profile.
fn by_key(changes: Vec<Change>) -> BTreeMap<Key, (Option<i64>, Vec<Change>)> {
    let mut keys: BTreeMap<Key, (Option<i64>, Vec<Change>)> = BTreeMap::new();
    for change in changes {
        let value = change.value.as_deref().unwrap_or_default();
        let Some(record) = LearnedRecord::read(&change.key, value).filter(|record| !record.test) else { continue };
        let of_key = keys.entry((record.rule, record.memory, record.key)).or_default();
        of_key.0 = of_key.0.or(record.since_hour);
        of_key.1.push(change);
    }
    keys
}

/// Since which hour each key has learned that has a profile in a state.
fn since_hours(known: &[detect::Known]) -> HashMap<Key, i64> {
    let records = known.iter().flat_map(|known| &known.records);
    let read = records.filter_map(|(key, value)| LearnedRecord::read(key, value).filter(|record| !record.test));
    read.filter_map(|record| Some(((record.rule, record.memory, record.key), record.since_hour?))).collect()
}
