//! When it happened: tolerant of how senders write time, strict about what can be true.

mod words;

use std::borrow::Cow;

use event::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::clean;
use crate::json::Shape;

/// How long before its arrival an event may have happened: senders retry for days, and reports stay open that long.
const MAX_AGE_MS: i64 = 35 * 24 * 3_600_000;
/// How far a sender's clock may be ahead.
const MAX_AHEAD_MS: i64 = 5 * 60_000;
/// Epoch numbers from here on are milliseconds: as seconds they would be the year 5138. And so on by thousands.
const FIRST_MILLIS: f64 = 1e11;
const FIRST_MICROS: f64 = 1e14;
const FIRST_NANOS: f64 = 1e17;
/// A weekday that does not fit its date does not make the date wrong.
const MAIL_TIME: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
/// How much of an unused claim is kept.
const MAX_CLAIM: usize = 64;

/// A time as it stands in a payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claim<'a> {
    /// RFC 3339, its relatives, RFC 2822, or digits.
    Text(Cow<'a, str>),
    /// Seconds or milliseconds since 1970.
    Epoch(f64),
}

impl<'de> Shape<'de> for Claim<'de> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Claim::Text(text))
    }
    fn integer(number: i64) -> Option<Self> {
        Some(Claim::Epoch(number as f64))
    }
    fn float(number: f64) -> Option<Self> {
        Some(Claim::Epoch(number))
    }
}

impl Claim<'_> {
    /// Whether nothing is claimed.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Claim::Text(text) if text.trim().is_empty())
    }
}

/// The time that an event gets, and why it is not the one that was claimed.
#[derive(Debug, PartialEq)]
pub(crate) struct Settled<'a> {
    pub(crate) time: Millis,
    pub(crate) claimed: Cow<'a, str>,
    pub(crate) flag: &'static str,
}

/// Takes the claim if it can be true. One that is too old becomes the oldest time that can be, so that it never counts as
/// today's; one in the future or that cannot be read, the time of arrival. `zone` is for claims without one. What does not fit
/// the source's own `format` is read like any other claim.
pub(crate) fn settle<'a>(
    claim: Option<Claim<'a>>,
    format: Option<&TimeFormat>,
    received_at: i64,
    zone: &TimeZone,
) -> Settled<'a> {
    let Some(claim) = claim.filter(|claim| !claim.is_empty()) else {
        return Settled { time: Millis(received_at), claimed: Cow::Borrowed(""), flag: "missing" };
    };
    let latest = received_at.saturating_add(MAX_AHEAD_MS);
    let oldest = received_at.saturating_sub(MAX_AGE_MS);
    let (time, flag) = match parse(&claim, format, zone, latest) {
        None => (received_at, "unreadable"),
        Some(time) if time < oldest => (oldest, "too_old"),
        Some(time) if time > latest => (received_at, "in_the_future"),
        Some(time) => return Settled { time: Millis(time), claimed: Cow::Borrowed(""), flag: "" },
    };
    let claimed = match claim {
        Claim::Text(text) if event::personal::find(&text).is_some() => Cow::Borrowed(""),
        Claim::Text(text) => text,
        Claim::Epoch(number) => number.to_string().into(),
    };
    Settled { time: Millis(time), claimed: clean::clipped(claimed, MAX_CLAIM), flag }
}

/// How a source writes time, in the specifiers of `strftime`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat(String);

impl TimeFormat {
    /// Checks a format by reading with it what it writes.
    ///
    /// # Errors
    /// With what is wrong, in words, when it is no format or gives no date.
    pub fn new(format: &str) -> Result<Self, String> {
        let this = Self(format.to_owned());
        let sample = Timestamp::constant(1_795_428_000, 0).to_zoned_datetime(TimeZone::UTC);
        let written = BrokenDownTime::from(&sample).to_string(format).map_err(|error| error.to_string())?;
        BrokenDownTime::parse(format, &written).map_err(|error| error.to_string())?;
        match this.read(&written, &TimeZone::UTC, i64::MAX) {
            Some(_) => Ok(this),
            None => Err("it gives no date: it needs at least %Y, %m and %d, or %s".to_owned()),
        }
    }

    fn read(&self, text: &str, zone: &TimeZone, latest: i64) -> Option<i64> {
        let read = BrokenDownTime::parse(&self.0, text).ok()?;
        if read.timestamp().is_some() || read.offset().is_some() {
            return read.to_timestamp().ok().map(|time| time.as_millisecond());
        }
        match read.iana_time_zone() {
            Some(name) => in_zone(read.to_datetime().ok()?, &TimeZone::get(name).ok()?, latest),
            None => in_zone(read.to_datetime().ok()?, zone, latest),
        }
    }
}

/// Milliseconds since 1970, or `None` when the claim is no time.
fn parse(claim: &Claim<'_>, format: Option<&TimeFormat>, zone: &TimeZone, latest: i64) -> Option<i64> {
    let text = match claim {
        Claim::Epoch(number) => return from_epoch(*number),
        Claim::Text(text) => text.trim(),
    };
    if let Some(time) = format.and_then(|format| format.read(text, zone, latest)) {
        return Some(time);
    }
    if text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return of_digits(text, zone, latest).or_else(|| from_epoch(text.parse().ok()?));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    of_words(text, zone, latest).or_else(|| {
        // A text within a text, or one that was encoded once more.
        let inner = text.trim_matches(['"', '\'', ' ']);
        let decoded = event::personal::decoded(inner);
        let inner = std::str::from_utf8(&decoded).ok().filter(|inner| *inner != text)?;
        parse(&Claim::Text(inner.into()), format, zone, latest)
    })
}

/// `20261123100000`, with or without milliseconds, or `20261123`: as numbers these would be far from any time that can be.
fn of_digits(text: &str, zone: &TimeZone, latest: i64) -> Option<i64> {
    if !matches!(text.len(), 8 | 14 | 17) || !(text.starts_with("19") || text.starts_with("20")) || text.contains('.') {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to).map_or(Some(0), |digits| digits.parse::<i16>().ok());
    let small = |from: usize, to: usize| number(from, to).and_then(|number| i8::try_from(number).ok());
    let date = jiff::civil::Date::new(number(0, 4)?, small(4, 6)?, small(6, 8)?).ok()?;
    let nanos = i32::from(number(14, 17)?) * 1_000_000;
    let time = jiff::civil::Time::new(small(8, 10)?, small(10, 12)?, small(12, 14)?, nanos).ok()?;
    in_zone(date.to_datetime(time), zone, latest)
}

/// Everything that is not RFC 3339 and not digits alone.
fn of_words(text: &str, zone: &TimeZone, latest: i64) -> Option<i64> {
    if let Some(time) = of_call(text) {
        return Some(time);
    }
    if let Some(time) = with_zone_apart(text) {
        return Some(time);
    }
    // `Wed, 25 Nov 2026 22:05:45 GMT`, as in mail and HTTP.
    if let Ok(time) = MAIL_TIME.parse_timestamp(text) {
        return Some(time.as_millisecond());
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return in_zone(local, zone, latest);
    }
    let words::Read { local, zone: said } = words::read(text)?;
    match said {
        Some(words::Zone::Offset(offset)) => offset.to_timestamp(local).ok().map(|time| time.as_millisecond()),
        Some(words::Zone::Named(zone)) => in_zone(local, &zone, latest),
        None => in_zone(local, zone, latest),
    }
}

/// `/Date(1795428000000+0100)/` of .NET, `@1795428000`, `1.795428E9` of Java. The offset is for showing only.
fn of_call(text: &str) -> Option<i64> {
    if let Some(number) = text.strip_prefix('@') {
        return from_epoch(number.parse().ok()?);
    }
    if let Some((_, inside)) = text.split_once("Date(") {
        let inside = inside.split(')').next()?.trim();
        let end = inside.get(1..)?.find(['+', '-']).map_or(inside.len(), |at| at + 1);
        return inside[..end].parse::<i64>().ok();
    }
    let number =
        text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte)) && text.contains(['e', 'E']);
    number.then(|| from_epoch(text.parse().ok()?))?
}

/// `2026-11-23 10:00:00 +0000` and `2026-11-23 10:00:00 UTC`, as some languages print a time.
fn with_zone_apart(text: &str) -> Option<i64> {
    let (local, offset) = text.rsplit_once(' ')?;
    let offset = match offset {
        "UTC" | "GMT" | "Z" => Offset::UTC,
        offset => parse_offset(offset)?,
    };
    offset.to_timestamp(local.parse().ok()?).ok().map(|time| time.as_millisecond())
}

/// `+0100`, `-05:30`, `+01`.
fn parse_offset(text: &str) -> Option<Offset> {
    text.starts_with(['+', '-']).then_some(())?;
    let read = BrokenDownTime::parse("%z", text).or_else(|_| BrokenDownTime::parse("%:::z", text));
    read.ok()?.offset()
}

/// A local time as an instant. When clocks go forward, a time that they skip counts as if they had not yet: 02:30 is
/// 03:30. When they go back, a time comes twice: the later one is meant if it can have happened by `latest`, since
/// deliveries arrive soon after their events, else the earlier one.
fn in_zone(local: DateTime, zone: &TimeZone, latest: i64) -> Option<i64> {
    let instant = |offset: Offset| offset.to_timestamp(local).ok().map(|time| time.as_millisecond());
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => instant(offset),
        AmbiguousOffset::Gap { before, .. } => instant(before),
        AmbiguousOffset::Fold { before, after } => instant(after).filter(|time| *time <= latest).or(instant(before)),
    }
}

/// Seconds, or by their size milliseconds, microseconds or nanoseconds.
fn from_epoch(number: f64) -> Option<i64> {
    let millis = match number.abs() {
        size if size < FIRST_MILLIS => number * 1e3,
        size if size < FIRST_MICROS => number,
        size if size < FIRST_NANOS => number / 1e3,
        _ => number / 1e6,
    };
    // A float that is no time saturates, and is then too old or in the future.
    number.is_finite().then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T10:00:00Z.
    const NOW: i64 = 1_795_428_000_000;

    fn read_in(text: &str, zone: &TimeZone) -> Option<i64> {
        parse(&Claim::Text(text.into()), None, zone, i64::MAX)
    }

    fn read(text: &str) -> Option<i64> {
        read_in(text, &TimeZone::UTC)
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn millis(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn every_form_that_senders_use_is_read() {
        for text in [
            "2026-11-23T10:00:00Z",
            "2026-11-23t10:00:00z",
            "2026-11-23T10:00:00.000Z",
            "2026-11-23T10:00:00.000000000Z",
            "2026-11-23T10:00:00+0000",
            "2026-11-23T10:00:00+00",
            "2026-11-23T11:00:00+01:00",
            "2026-11-23T11:00:00+01:00[Europe/Berlin]",
            "2026-11-23 10:00:00",
            " 2026-11-23 10:00:00 ",
            "2026-11-23 10:00:00.000",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00",
            "2026-11-23 10:00:00Z",
            "2026-11-23 11:00:00+01:00",
            "2026-11-23 11:00:00 +0100",
            "2026-11-23 04:30:00 -05:30",
            "2026-11-23 11:00:00 +01",
            "2026-11-23 10:00:00 UTC",
            "Mon, 23 Nov 2026 10:00:00 GMT",
            "Mon, 23 Nov 2026 11:00:00 +0100",
            "1795428000",
            "1795428000000",
            "1795428000000000",
            "1795428000000000000",
            "1795428000.000",
        ] {
            assert_eq!(read(text), Some(NOW), "{text}");
        }
        for text in [
            "Monday, 23-Nov-26 10:00:00 GMT",
            "Mon, 23-Nov-2026 10:00:00 GMT",
            "Mon Nov 23 10:00:00 2026",
            "Mon Nov 23 10:00:00 UTC 2026",
            "Mon Nov 23 11:00:00 CET 2026",
            "Mon Nov 23 11:00:00 +0100 2026",
            "Mon Nov 23 2026 10:00:00 GMT+0000 (Coordinated Universal Time)",
            "Mon Nov 23 2026 11:00:00 GMT+0100 (Mitteleuropäische Normalzeit)",
            "Mon Nov 23 2026 10:00:00 UTC+0000",
            "Mon, 23 Nov 2026 10:00:00 UTC",
            "Mon, 23 Nov 2026 10:00:00.000000000 UTC +00:00",
            "Mon, 23 Nov 2026 11:00:00.000 CET +01:00",
            "Mon, 23 Nov 2026 05:00:00 EST",
            "23 Nov 26 10:00 UTC",
            "23 Nov 2026 10:00:00",
            "23/Nov/2026 10:00:00 +0000",
            "Nov 23, 2026, 10:00:00 AM",
            "November 23, 2026 10:00 am",
            "Monday, November 23rd, 2026 at 10:00:00 AM UTC",
            "2026-11-23 10:00:00.000000009 +0000 UTC m=+0.000012345",
            "2026-11-23 10:00:00 +0000 UTC",
            "2026-11-23 11:00:00 +0100 CET",
            "2026-11-23 10:00:00 Etc/UTC",
            "2026-11-23 11:00:00.000000 Europe/Berlin",
            "2026/11/23 10:00:00 +0000",
            "2026/11/23 10:00:00",
            "2026-11-23T10:00:00 00:00",
            "2026-11-23T10:00:00,000Z",
            "2026-11-23 10:00:00 AM",
            "2026-11-23T10:00:00.000000000000Z",
            "2026-11-23T10%3A00%3A00Z",
            "\"2026-11-23T10:00:00Z\"",
            "20261123T100000Z",
            "20261123100000",
            "20261123100000000",
            "/Date(1795428000000)/",
            "\\/Date(1795428000000+0100)\\/",
            "new Date(1795428000000)",
            "@1795428000",
            "1.795428E9",
            "1.795428E12",
        ] {
            assert_eq!(read(text), Some(NOW), "{text}");
        }
        assert_eq!(read("/Date(-1000)/"), Some(-1_000));
        assert_eq!(read("20261123"), Some(NOW - 10 * 3_600_000));
        for text in [
            "04/05/2026 10:00:00",
            "Mon Nov 23 10:00:00",
            "Nov 23 2026",
            "Mon Nov 31 10:00:00 2026",
            "23 Nov 2026 13:00 PM",
            "Nov Nov 23 2026 10:00",
            "/Date(x)/",
            "Date(",
            "@",
            "1e",
            "10:00",
            "2026-11-23 10:00:00 IST",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in
            ["soon", "2026-13-40T10:00:00Z", "...", "2026-11-23 10:00:00 +99:00", "2026-11-23 10:00:00 Moon", "+"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        for number in [1_795_428_000.0, 1_795_428_000_000.0, 1_795_428_000_000_000.0] {
            assert_eq!(parse(&Claim::Epoch(number), None, &TimeZone::UTC, i64::MAX), Some(NOW), "{number}");
        }
        assert_eq!(read("2026-11-23"), Some(NOW - 10 * 3_600_000), "a date is its midnight");
    }

    #[test]
    fn a_time_without_a_zone_is_in_the_zone_of_the_source() {
        assert_eq!(read_in("2026-11-23 11:00:00", &berlin()), Some(NOW));
        assert_eq!(read_in("2026-07-01 12:00:00", &berlin()), Some(millis("2026-07-01T10:00:00Z")));
        assert_eq!(read_in("2026-11-23 10:00:00Z", &berlin()), Some(NOW), "a time with a zone stays in it");
        assert_eq!(read_in("1795428000", &berlin()), Some(NOW));
    }

    #[test]
    fn a_time_that_clocks_skip_counts_as_if_they_had_not_gone_forward_yet() {
        assert_eq!(read_in("2026-03-29 02:30:00", &berlin()), Some(millis("2026-03-29T01:30:00Z")));
        assert_eq!(read_in("2026-03-29 01:59:59", &berlin()), Some(millis("2026-03-29T00:59:59Z")));
        assert_eq!(read_in("2026-03-29 03:00:00", &berlin()), Some(millis("2026-03-29T01:00:00Z")));
    }

    #[test]
    fn of_a_time_that_comes_twice_the_later_one_that_can_have_happened_counts() {
        let (summer, winter) = (millis("2026-10-25T00:30:00Z"), millis("2026-10-25T01:30:00Z"));
        let arrived = |received_at| {
            let claim = Some(Claim::Text("2026-10-25 02:30:00".into()));
            let settled = settle(claim, None, received_at, &berlin());
            (settled.time.0, settled.flag)
        };
        assert_eq!(arrived(summer + 2_000), (summer, ""));
        assert_eq!(arrived(winter + 2_000), (winter, ""));
        assert_eq!(arrived(winter - MAX_AHEAD_MS - 1), (summer, ""));
        assert_eq!(arrived(winter - MAX_AHEAD_MS), (winter, ""), "a clock may be a little ahead");
    }

    #[test]
    fn a_format_is_tried_before_the_common_forms() {
        let read = |format: &str, text: &str| {
            let format = TimeFormat::new(format).unwrap();
            parse(&Claim::Text(text.into()), Some(&format), &berlin(), i64::MAX)
        };
        assert_eq!(read("%d.%m.%Y %H:%M", "23.11.2026 11:00"), Some(NOW));
        assert_eq!(read("%m/%d/%y %I:%M:%S %p", "11/23/26 11:00:00 AM"), Some(NOW));
        assert_eq!(read("%b %d, %Y %H:%M:%S %z", "Nov 23, 2026 10:00:00 +0000"), Some(NOW));
        assert_eq!(read("%Y%m%d%H%M%S", "20261123110000"), Some(NOW), "digits are not an epoch here");
        assert_eq!(
            read("%Y-%m-%d %H:%M:%S", "2026-11-23T10:00:00Z"),
            Some(NOW),
            "what does not fit is read all the same"
        );
        assert_eq!(read("%d.%m.%Y %H:%M %Q", "23.11.2026 05:00 America/New_York"), Some(NOW));
        assert_eq!(read("at %s", "at 1795428000"), Some(NOW));
        assert_eq!(read("%d.%m.%Y", "31.02.2026"), None);
    }

    #[test]
    fn a_format_that_gives_no_date_is_refused() {
        for format in ["yyyy-MM-dd", "%H:%M:%S", "%Y-%m", "%J", "%", "%Y-%m-%d %Z", "%c"] {
            assert!(TimeFormat::new(format).is_err(), "{format}");
        }
        for format in ["%Y-%m-%d %H:%M:%S", "%F", "%FT%T%.f%:z", "%s", "%j %Y", "%A, %d-%b-%y %R"] {
            assert_eq!(TimeFormat::new(format).err(), None, "{format}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_says_why_and_one_too_old_never_counts_as_todays() {
        let flag = |claim| {
            let settled = settle(claim, None, NOW, &TimeZone::UTC);
            (settled.time.0 == NOW, settled.claimed.into_owned(), settled.flag)
        };
        let text = |text: &'static str| Some(Claim::Text(text.into()));
        assert_eq!(flag(None), (true, String::new(), "missing"));
        assert_eq!(flag(text("noon")), (true, "noon".into(), "unreadable"));
        assert_eq!(flag(text("2026-10-19T09:59:59Z")), (false, "2026-10-19T09:59:59Z".into(), "too_old"));
        for old in ["2026-10-19T09:59:59Z", "1970-01-01T00:00:00Z", "0", "-5000", "20200101"] {
            assert_eq!(
                settle(text(old), None, NOW, &TimeZone::UTC).time.0,
                NOW - MAX_AGE_MS,
                "{old} is the oldest day"
            );
        }
        assert_eq!(flag(text("2026-11-23T10:05:00.001Z")), (true, "2026-11-23T10:05:00.001Z".into(), "in_the_future"));
        assert_eq!(flag(Some(Claim::Epoch(f64::MAX))).2, "in_the_future");
        assert_eq!(flag(text("2026-10-19T10:00:00Z")), (false, String::new(), ""));
        assert_eq!(flag(text("2026-11-23T10:05:00Z")), (false, String::new(), ""));
    }
}
