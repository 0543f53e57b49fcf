//! The small languages of values: durations, sizes, rates, times of day and days of the week.

use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

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

/// A duration as jiff's friendly format has it: `90s`, `1h30m`, `1h 30m`, `2 hours`, `400d`, `250ms`. A day has 24
/// hours, `5y` are of 365 days; months have no one length and are refused.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("{text:?} is not a duration: write a number and a unit, such as \"30s\", \"5m\", \"72h\" or \"400d\"")
    };
    // A sign, or ` ago`, makes a point in time of it.
    let span = if text.starts_with(|first: char| first.is_ascii_digit()) {
        SpanParser::new().parse_span(text).map_err(|_| wrong())?
    } else {
        return Err(wrong());
    };
    if span.is_negative() || span.get_months() != 0 {
        return Err(wrong());
    }
    let too_long = || format!("{text:?} is too long");
    let days = i64::from(span.get_years()) * 365 + i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let within_a_day = span.years(0).weeks(0).days(0);
    let rest = SignedDuration::try_from(within_a_day).map_err(|_| too_long())?;
    let whole = SignedDuration::from_secs(days.checked_mul(86_400).ok_or_else(too_long)?).checked_add(rest);
    let whole = whole.and_then(|whole| Duration::try_from(whole).ok()).ok_or_else(too_long)?;
    // Nothing here is told apart by less.
    Ok(Duration::from_millis(u64::try_from(whole.as_millis()).map_err(|_| too_long())?))
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

/// A span of a day or a night: `22:00-07:00` ends on the day after.
pub(crate) fn day_or_night(text: &str) -> Result<(Time, Time), String> {
    let wrong = || format!("{text:?} is not a span of hours: write it as \"22:00-07:00\"");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time_of_day(from.trim())?, time_of_day(to.trim())?);
    if from == to { Err(wrong()) } else { Ok((from, to)) }
}

/// A day of the week, by its English name or the first three letters of it.
pub(crate) fn weekday(text: &str) -> Option<Weekday> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::section::words;

    #[test]
    fn durations_are_numbers_with_units_longest_first() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("72h", 259_200_000),
            ("400d", 34_560_000_000),
            ("5y", 157_680_000_000),
            ("2w", 1_209_600_000),
            ("5m 30s", 330_000),
            ("5 minutes", 300_000),
            ("1 hour, 30 minutes", 5_400_000),
            ("1.5h", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "30m1h",
            "5m5m",
            "-5m",
            "+5m",
            "5m ago",
            "3mo",
            "PT5M",
            "99999999999999999999s",
            "999999999999y",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("256KiB"), Ok(262_144));
        assert_eq!(size("1 MiB"), Ok(1_048_576));
        assert_eq!(size("100B"), Ok(100));
        for text in ["", "256", "256KB", "KiB", "-1KiB", "99999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_a_count_per_unit() {
        assert_eq!(rate("30 per hour"), Ok(Rate { count: 30, per: Duration::from_secs(3_600) }));
        assert_eq!(rate("1 per second"), Ok(Rate { count: 1, per: Duration::from_secs(1) }));
        for text in ["30", "30/hour", "0 per hour", "30 per fortnight", "30 per hour or so", "-1 per day"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_may_wrap_around_the_week() {
        use Weekday::{Friday, Monday, Saturday, Sunday, Wednesday};
        assert_eq!(days("mon-fri").map(|days| days.len()), Ok(5));
        assert_eq!(days("fri-mon"), Ok(vec![Monday, Friday, Saturday, Sunday]));
        assert_eq!(days("wed, monday"), Ok(vec![Monday, Wednesday]));
        assert_eq!(days("every day").map(|days| days.len()), Ok(7));
        assert!(days("mon-fry").is_err() && days("").is_err());
    }

    #[test]
    fn times_of_day_have_two_digits_each() {
        assert_eq!(time_of_day("08:05"), Ok(Time::constant(8, 5, 0, 0)));
        assert_eq!(hours("08:00-19:00"), Ok((Time::constant(8, 0, 0, 0), Time::constant(19, 0, 0, 0))));
        assert_eq!(weekly("monday 09:00"), Ok(Weekly { day: Weekday::Monday, at: Time::constant(9, 0, 0, 0) }));
        for text in ["8:00", "24:00", "12:60", "noon", "08:00:00"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
        assert!(hours("19:00-08:00").is_err() && weekly("monday").is_err());
    }

    #[test]
    fn a_date_is_its_midnight_in_the_zone_of_the_configuration() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| instant(&text.parse().unwrap(), &zone).map(|instant| instant.to_string());
        assert_eq!(at("2026-12-01"), Ok("2026-11-30T23:00:00Z".to_owned()));
        assert_eq!(at("2026-12-01T09:00:00"), Ok("2026-12-01T08:00:00Z".to_owned()));
        assert_eq!(at("2026-12-01T09:00:00Z"), Ok("2026-12-01T09:00:00Z".to_owned()));
        assert_eq!(at("2026-12-01T09:00:00+05:30"), Ok("2026-12-01T03:30:00Z".to_owned()));
        assert!(at("09:00:00").is_err());
    }

    proptest! {
        #[test]
        fn what_words_say_of_a_duration_reads_as_that_duration(millis in 1u64..1_000_000_000_000) {
            let exact = Duration::from_millis(millis);
            prop_assert_eq!(duration(&words(exact)), Ok(exact));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,24}") {
            let _ = (duration(&text), size(&text), rate(&text), time_of_day(&text), hours(&text), days(&text), weekly(&text));
        }

        #[test]
        fn nearly_right_texts_do_not_panic_either(text in "[0-9dhmskiKMGB: ,a-f-]{0,12}") {
            let _ = (duration(&text), size(&text), rate(&text), time_of_day(&text), hours(&text), days(&text), weekly(&text));
        }
    }
}
