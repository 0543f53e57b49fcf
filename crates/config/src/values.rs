//! The small languages of values: durations, sizes, rates, times of day and days of the week.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

/// So many things in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// When something happens every week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekly {
    /// The day.
    pub day: Weekday,
    /// The time of day, in the configuration's time zone.
    pub at: Time,
}

/// A duration: whole numbers with units, longest first: `90s`, `1h30m`, `400d`, `5y` (of 365 days), `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let wrong = || {
        format!("{text:?} is not a duration: write a number and a unit, such as \"30s\", \"5m\", \"72h\" or \"400d\"")
    };
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if *factor >= smallest {
            return Err(wrong());
        }
        smallest = *factor;
        let part = number.parse::<u64>().map_err(|_| wrong())?.checked_mul(*factor);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| format!("{text:?} is too long"))?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// A size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write a number and B, KiB, MiB or GiB, such as \"256KiB\"");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim_start() {
        "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// A rate: `30 per hour`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is not a rate: write it as \"30 per hour\" (second, minute, hour or day)");
    let mut words = text.split_whitespace();
    let (Some(count), Some("per"), Some(unit), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(wrong());
    };
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return Err(wrong()),
    };
    match count.parse() {
        Ok(count) if count > 0 => Ok(Rate { count, per: Duration::from_secs(seconds) }),
        _ => Err(wrong()),
    }
}

/// A time of day: `08:00`.
pub(crate) fn time_of_day(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?} is not a time of day: write it as \"08:00\"");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(wrong());
    }
    let (hour, minute) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

/// A span of a day: `08:00-19:00`; the end lies after the start.
pub(crate) fn hours(text: &str) -> Result<(Time, Time), String> {
    let wrong = || format!("{text:?} is not a span of hours: write it as \"08:00-19:00\", the earlier time first");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time_of_day(from.trim())?, time_of_day(to.trim())?);
    if from < to { Ok((from, to)) } else { Err(wrong()) }
}

/// A day of the week, by its English name or the first three letters of it.
fn weekday(text: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let position = NAMES.iter().position(|name| *name == text || name.get(..3) == Some(text))?;
    Weekday::from_monday_zero_offset(i8::try_from(position).ok()?).ok()
}

/// Days of the week: `mon-fri`, `sat`, `mon,wed,fri`, `every day`.
pub(crate) fn days(text: &str) -> Result<Vec<Weekday>, String> {
    let wrong = || format!("{text:?} is not a list of days: write \"mon-fri\", \"mon,wed\" or \"every day\"");
    let mut days = Vec::new();
    let parts = if text == "every day" { "mon-sun" } else { text };
    for part in parts.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first).ok_or_else(wrong)?, weekday(last).ok_or_else(wrong)?);
        let mut day = first;
        days.push(day);
        while day != last {
            day = day.next();
            days.push(day);
        }
    }
    days.sort_by_key(|day| day.to_monday_zero_offset());
    days.dedup();
    Ok(days)
}

/// A weekly time: `monday 09:00`.
pub(crate) fn weekly(text: &str) -> Result<Weekly, String> {
    let wrong = || format!("{text:?} is not a weekly time: write it as \"monday 09:00\"");
    let (day, at) = text.split_once(' ').ok_or_else(wrong)?;
    Ok(Weekly { day: weekday(day).ok_or_else(wrong)?, at: time_of_day(at.trim())? })
}

/// A TOML date or time as an instant: a date is its midnight, and without an offset the configuration's zone counts.
pub(crate) fn instant(value: &toml::value::Datetime, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || format!("{value} is not a date: write 2026-12-01 or 2026-12-01T09:00:00Z");
    let date = value.date.ok_or_else(wrong)?;
    let year = i16::try_from(date.year).map_err(|_| wrong())?;
    let (month, day) = (date.month as i8, date.day as i8);
    let (hour, minute, second) =
        value.time.map_or((0, 0, 0), |time| (time.hour as i8, time.minute as i8, time.second.unwrap_or(0) as i8));
    let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| wrong())?;
    let zone = match value.offset {
        None => zone.clone(),
        Some(toml::value::Offset::Z) => TimeZone::UTC,
        Some(toml::value::Offset::Custom { minutes }) => {
            TimeZone::fixed(jiff::tz::Offset::from_seconds(i32::from(minutes) * 60).map_err(|_| wrong())?)
        }
    };
    zone.to_timestamp(civil).map_err(|_| wrong())
}
