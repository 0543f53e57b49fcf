//! Alerts over time, beside the count: spike, silence, broken destinations, drift, delivery gaps and what is first
//! seen.

use std::ops::RangeInclusive;
use std::time::Duration;

use event::EventType;
use rules::{
    BrokenRule, DriftRule, FirstSeenRule, GapRule, Glob, Per, Sensitivity, SilenceRule, Spike, Subject, Trigger, When,
};

use crate::document::Value;
use crate::section::Section;
use crate::values;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// `{ spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h", not_during = "launches" }`.
pub(crate) fn read_spike(section: &Section<'_>, pers: &[(&'static str, Per)]) -> Option<Trigger> {
    let times = section.parsed("spike", |text| match text.strip_suffix('x').map(str::parse::<f64>) {
        Some(Ok(factor)) if factor > 1.0 && factor <= 1_000.0 => Ok((factor * 100.0).round() as u32),
        _ => Err(format!("{text:?} is not a factor: write it as \"3x\"")),
    });
    needs_per(section);
    let per = section.choice("per", pers);
    let within = section.duration("within", MINUTE..=HOUR).unwrap_or(5 * MINUTE);
    let at_least = section.integer("at_least", 8..=1_000_000_000);
    let quiet_for = section.duration("quiet_for", Duration::ZERO..=MONTH).unwrap_or(HOUR);
    let not_during_launches = section.choice("not_during", &[("launches", true)]).unwrap_or(false);
    let sensitivity = section.choice("sensitivity", &Sensitivity::ALL).unwrap_or_default();
    let [within, quiet_for] =
        [("within", within), ("quiet_for", quiet_for)].map(|(key, time)| minutes(section, key, time));
    if section.has("at_least") && at_least.is_none() {
        return None;
    }
    let spike = Spike {
        times_hundredths: times?,
        within_minutes: u8::try_from(within?).ok()?,
        at_least: at_least.and_then(|least| u64::try_from(least).ok()).unwrap_or(50),
        quiet_for_minutes: quiet_for?,
        sensitivity,
    };
    Some(Trigger::Spike { spike, per: per?, not_during_launches })
}

/// `{ silence = "learned", per = "source" }`, or a time: `{ silence = "30m", per = "link" }`.
pub(crate) fn read_silence(section: &Section<'_>, pers: &[(&'static str, Per)]) -> Option<Trigger> {
    let quiet_after = section.parsed("silence", |text| match text {
        "learned" => Ok(None),
        _ => values::duration(text).map(Some).map_err(|why| format!("{why}, or \"learned\"")),
    });
    needs_per(section);
    let per = section.choice("per", pers);
    let quiet_after_minutes = match quiet_after? {
        Some(time) if time < MINUTE || time > MONTH => {
            section.error(
                section.place("silence"),
                "a silence is a minute to 30 days long",
                "write \"learned\", or \"30m\"",
            );
            return None;
        }
        Some(time) => Some(minutes(section, "silence", time)?),
        None => None,
    };
    let least_minutes = if per? == Per::Link { 60 } else { 10 };
    Some(Trigger::Silence { silence: SilenceRule { quiet_after_minutes, least_minutes }, per: per? })
}

/// `{ broken = true, per = "link", at_least = 3, within = "10m", over_after = "1h", quiet_for = "1h" }`; a share of all
/// visits in place of `true`, which is a tenth: `broken = "25%"`.
pub(crate) fn read_broken(section: &Section<'_>, pers: &[(&'static str, Per)]) -> Option<Trigger> {
    let hundredths = yes_or_share(section, "broken", 1_000, "write broken = true, or the share of visits: \"25%\"");
    needs_per(section);
    let per = section.choice("per", pers);
    let at_least = count(section, "at_least", 1..=1_000_000, 3);
    let within = section.duration("within", MINUTE..=HOUR).unwrap_or(10 * MINUTE);
    let over_after = section.duration("over_after", MINUTE..=MONTH).unwrap_or(HOUR);
    let quiet_for = section.duration("quiet_for", Duration::ZERO..=MONTH).unwrap_or(HOUR);
    if over_after < within {
        let message = format!("over_after in {} is shorter than within", section.title);
        section.error(section.place("over_after"), message, "an end needs a whole window without another one");
        return None;
    }
    let [within, over_after, quiet_for] = [("within", within), ("over_after", over_after), ("quiet_for", quiet_for)]
        .map(|(key, time)| minutes(section, key, time));
    let broken = BrokenRule {
        at_least: u32::try_from(at_least?).ok()?,
        percent: hundredths?.div_ceil(100),
        within_minutes: within?,
        over_after_minutes: over_after?,
        quiet_for_minutes: quiet_for?,
    };
    Some(Trigger::Broken { broken, per: per? })
}

/// `{ drift = true, per = "link", at_least = 3, quiet_for = "1h" }`.
pub(crate) fn read_drift(section: &Section<'_>) -> Option<Trigger> {
    let drift = section.flag("drift");
    if drift == Some(false) {
        section.error(section.place("drift"), "drift = false says nothing", "leave the alert out");
        return None;
    }
    let per = if section.has("per") {
        // A campaign, a domain or a source leads to many places.
        section.choice("per", &[("link", Per::Link), ("qr", Per::Qr)])
    } else {
        Some(Per::Link)
    };
    let at_least = count(section, "at_least", 1..=1_000_000, 3);
    let quiet_for = section.duration("quiet_for", Duration::ZERO..=MONTH).unwrap_or(HOUR);
    let quiet_for_minutes = minutes(section, "quiet_for", quiet_for)?;
    drift?;
    let drift = DriftRule { at_least: u32::try_from(at_least?).ok()?, quiet_for_minutes };
    Some(Trigger::Drift { drift, per: per? })
}

/// `{ gap = "5%", per = "link", within = "24h", at_least = 50 }`.
pub(crate) fn read_gap(section: &Section<'_>, pers: &[(&'static str, Per)]) -> Option<Trigger> {
    let share = section.parsed("gap", share);
    needs_per(section);
    let per = section.choice("per", pers);
    let within = section.duration("within", 2 * HOUR..=7 * DAY).unwrap_or(DAY);
    let at_least = count(section, "at_least", 1..=1_000_000_000, 50);
    if !within.as_secs().is_multiple_of(3_600) {
        let message = format!("within in {} is not whole hours", section.title);
        section.error(section.place("within"), message, "write \"24h\", 2h to 7d");
        return None;
    }
    let within_hours = i64::try_from(within.as_secs() / 3_600).ok()?;
    let gap = GapRule { share_basis_points: share?, within_hours, at_least: u64::try_from(at_least?).ok()? };
    Some(Trigger::Gap { gap, per: per? })
}

/// `{ first_seen = "domain", known = ["go.example.com"], learn_for = "24h" }`.
pub(crate) fn read_first_seen(section: &Section<'_>) -> Option<Trigger> {
    let of = section.choice("first_seen", &Subject::ALL);
    let learn_for = section.duration("learn_for", Duration::ZERO..=MONTH).unwrap_or(DAY);
    let known = section.names("known").iter().map(|known| Glob::new(known)).collect();
    let learn_minutes = minutes(section, "learn_for", learn_for)?;
    Some(Trigger::FirstSeen(FirstSeenRule { of: of?, learn_minutes, known }))
}

/// Says that a rule never hears of what its alert is about.
pub(crate) fn check_events(section: &Section<'_>, alert: &Trigger, when: &When) {
    let visits = [EventType::Click, EventType::QrScan].into_iter().any(|kind| when.may_match(kind));
    let (sees, needs) = match alert {
        Trigger::Broken { .. } => (visits || when.may_match(EventType::Error), "errors or visits"),
        Trigger::Drift { .. } | Trigger::Gap { .. } => (visits, "visits"),
        _ => return,
    };
    if !sees {
        let message = format!("{} looks at {needs}, and when lets none of them in", section.title);
        section.error(section.place("when"), message, "leave event out of when");
    } else if matches!(alert, Trigger::Drift { .. }) && !when.may_match(EventType::Lifecycle) {
        let message = format!("{} never hears that a link was edited", section.title);
        section.reading.sink.warn(section.place("when"), message, "leave event out of when: an edit explains a drift");
    } else if matches!(alert, Trigger::Broken { .. }) && !visits {
        let message = format!("{} hears of errors only", section.title);
        let hint = "leave event out of when: then visits that arrive end it, and those to ended links count";
        section.reading.sink.warn(section.place("when"), message, hint);
    }
}

/// True, which stands for `otherwise`, or a share: in hundredths of a percent.
fn yes_or_share(section: &Section<'_>, key: &'static str, otherwise: u32, hint: &str) -> Option<u32> {
    match &section.node(key)?.value {
        Value::Flag(true) => Some(otherwise),
        Value::Flag(false) => {
            section.error(section.place(key), format!("{key} = false says nothing"), "leave the alert out");
            None
        }
        Value::Text(_) => section.parsed(key, share),
        other => {
            section.error(section.place(key), format!("{key} in {} is {}", section.title, other.kind()), hint);
            None
        }
    }
}

/// A share, in hundredths of a percent: `5%`, `0.5%`.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a share: write it as \"5%\", 0.01% to 100%");
    let number: f64 = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).ok_or_else(wrong)?;
    let hundredths = (number * 100.0).round();
    if (1.0..=10_000.0).contains(&hundredths) { Ok(hundredths as u32) } else { Err(wrong()) }
}

/// A number that has a default; none if what stands there is not possible.
fn count(section: &Section<'_>, key: &'static str, range: RangeInclusive<i64>, default: i64) -> Option<i64> {
    if section.has(key) { section.integer(key, range) } else { Some(default) }
}

fn needs_per(section: &Section<'_>) {
    if !section.has("per") {
        section.missing("per", "say of what: per = \"link\" (or campaign, qr, domain, partner, source, owner, all)");
    }
}

/// Whole minutes: counts are taken minute by minute.
fn minutes(section: &Section<'_>, key: &'static str, time: Duration) -> Option<i64> {
    if !time.as_secs().is_multiple_of(60) || time.subsec_nanos() != 0 {
        section.error(
            section.place(key),
            format!("{key} in {} is not whole minutes", section.title),
            "write \"5m\" or \"1h\"",
        );
        return None;
    }
    i64::try_from(time.as_secs() / 60).ok()
}
