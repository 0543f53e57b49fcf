//! The rules of a file, as the driver reads them: `alert` of each `[rule.NAME]`.

use anyhow::{Context, Result, bail, ensure};
use rules::{Sensitivity, SilenceRule, SpikeRule};

use super::naive::CountRule;

/// A rule that can be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MeasuredRule {
    /// `spike = "3x"`.
    Spike(SpikeRule),
    /// `silence = "learned"`, or a time.
    Silence(SilenceRule),
    /// `count = 500`: what the others are held beside.
    Count(CountRule),
}

/// The rules of a file that are measured: each `[rule.NAME]` with `alert = { spike = … }`, `{ silence = … }` or
/// `{ count = … }`.
///
/// # Errors
/// When the file is not TOML, has no such rule, or one of its options is not possible.
pub fn read_rules(text: &str) -> Result<Vec<MeasuredRule>> {
    let file: toml::Table = text.parse().context("the file is no TOML")?;
    let rules = file.get("rule").and_then(toml::Value::as_table).context("the file has no [rule.NAME]")?;
    let mut read = Vec::new();
    for (name, rule) in rules {
        let Some(alert) = rule.get("alert").and_then(toml::Value::as_table) else { continue };
        let named = || format!("[rule.{name}]");
        if alert.contains_key("spike") {
            read.push(MeasuredRule::Spike(read_spike(alert).with_context(named)?));
        } else if alert.contains_key("silence") {
            read.push(MeasuredRule::Silence(read_silence(alert).with_context(named)?));
        } else if alert.contains_key("count") {
            read.push(MeasuredRule::Count(read_count(alert).with_context(named)?));
        }
    }
    ensure!(
        !read.is_empty(),
        "no rule has alert = {{ spike = \"3x\", per = \"link\", within = \"5m\", at_least = 50 }} or \
         alert = {{ silence = \"learned\", per = \"source\" }}"
    );
    Ok(read)
}

fn text<'a>(alert: &'a toml::Table, key: &str) -> Option<&'a str> {
    alert.get(key).and_then(toml::Value::as_str)
}

fn read_silence(alert: &toml::Table) -> Result<SilenceRule> {
    let least_minutes = if text(alert, "per") == Some("link") { 60 } else { 10 };
    let words = text(alert, "silence").context("silence is not \"learned\" or a time such as \"30m\"")?;
    let quiet_after_minutes = if words == "learned" { None } else { Some(in_minutes("silence", words)?) };
    Ok(SilenceRule { quiet_after_minutes, least_minutes })
}

fn read_count(alert: &toml::Table) -> Result<CountRule> {
    let count = alert.get("count").and_then(toml::Value::as_integer).and_then(|count| u64::try_from(count).ok());
    let minutes = |key: &str, default: i64| text(alert, key).map_or(Ok(default), |text| in_minutes(key, text));
    let within_minutes = minutes("within", 5)?;
    ensure!((1..=60).contains(&within_minutes), "within is not 1m to 60m");
    Ok(CountRule {
        count: count.filter(|count| *count > 0).context("count is not a number of events")?,
        within_minutes,
        quiet_for_minutes: minutes("quiet_for", 0)?,
    })
}

fn read_spike(alert: &toml::Table) -> Result<SpikeRule> {
    let text = |key: &str| text(alert, key);
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
