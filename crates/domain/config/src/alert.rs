//! Alerts that learn what is usual: spike and silence.

use std::time::Duration;

use rules::{Per, Sensitivity, SilenceRule, Spike, Trigger};

use crate::section::Section;
use crate::values;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
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

fn needs_per(section: &Section<'_>) {
    if !section.has("per") {
        section.missing("per", "say of what: per = \"link\" (or campaign, qr, domain, partner, source, all)");
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
