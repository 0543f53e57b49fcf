//! When it happened: tolerant of how senders write time, strict about what can be true.

use std::borrow::Cow;

use event::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clean;
use crate::json::Shape;

/// How long before its arrival an event may have happened: senders retry for days, and reports stay open that long.
const MAX_AGE_MS: i64 = 35 * 24 * 3_600_000;
/// How far a sender's clock may be ahead.
const MAX_AHEAD_MS: i64 = 5 * 60_000;
/// Epoch numbers from here on are milliseconds: as seconds they would be the year 5138.
const FIRST_MILLIS: f64 = 1e11;
/// How much of an unused claim is kept.
const MAX_CLAIM: usize = 64;

/// A time as it stands in a payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claim<'a> {
    /// RFC 3339, its relatives, or digits.
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

/// Takes the claim if it can be true, else the time of arrival. `zone` is for claims without one.
pub(crate) fn settle<'a>(claim: Option<Claim<'a>>, received_at: i64, zone: &TimeZone) -> Settled<'a> {
    let Some(claim) = claim.filter(|claim| !claim.is_empty()) else {
        return Settled { time: Millis(received_at), claimed: Cow::Borrowed(""), flag: "missing" };
    };
    let flag = match parse(&claim, zone) {
        None => "unreadable",
        Some(time) if time < received_at.saturating_sub(MAX_AGE_MS) => "too_old",
        Some(time) if time > received_at.saturating_add(MAX_AHEAD_MS) => "in_the_future",
        Some(time) => return Settled { time: Millis(time), claimed: Cow::Borrowed(""), flag: "" },
    };
    let claimed = match claim {
        Claim::Text(text) if clean::holds_email(&text) => Cow::Borrowed(""),
        Claim::Text(text) => clean::clipped(text, MAX_CLAIM),
        Claim::Epoch(number) => number.to_string().into(),
    };
    Settled { time: Millis(received_at), claimed: clean::clipped(claimed, MAX_CLAIM), flag }
}

/// Milliseconds since 1970, or `None` when the claim is no time.
fn parse(claim: &Claim<'_>, zone: &TimeZone) -> Option<i64> {
    let text = match claim {
        Claim::Epoch(number) => return from_epoch(*number),
        Claim::Text(text) => text.trim(),
    };
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return from_epoch(text.parse().ok()?);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    zone.to_timestamp(local).ok().map(|time| time.as_millisecond())
}

fn from_epoch(number: f64) -> Option<i64> {
    let millis = if number.abs() < FIRST_MILLIS { number * 1_000.0 } else { number };
    // A float that is no time saturates, and is then too old or in the future.
    number.is_finite().then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T10:00:00Z.
    const NOW: i64 = 1_795_428_000_000;

    fn read(text: &str) -> Option<i64> {
        parse(&Claim::Text(text.into()), &TimeZone::UTC)
    }

    #[test]
    fn every_form_that_senders_use_is_read() {
        for text in [
            "2026-11-23T10:00:00Z",
            "2026-11-23T10:00:00.000Z",
            "2026-11-23T10:00:00+0000",
            "2026-11-23T11:00:00+01:00",
            "2026-11-23 10:00:00",
            "2026-11-23T10:00:00",
            "1795428000",
            "1795428000000",
            "1795428000.000",
        ] {
            assert_eq!(read(text), Some(NOW), "{text}");
        }
        for text in ["", "soon", "2026-13-40T10:00:00Z", "...", "2026"] {
            assert_ne!(read(text), Some(NOW), "{text}");
        }
        assert_eq!(parse(&Claim::Epoch(1_795_428_000.0), &TimeZone::UTC), Some(NOW));
    }

    #[test]
    fn a_time_without_a_zone_is_in_the_zone_of_the_source() {
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(parse(&Claim::Text("2026-11-23 11:00:00".into()), &berlin), Some(NOW));
    }

    #[test]
    fn a_time_that_cannot_be_becomes_the_received_time_and_says_why() {
        let flag = |claim| {
            let settled = settle(claim, NOW, &TimeZone::UTC);
            (settled.time.0 == NOW, settled.claimed.into_owned(), settled.flag)
        };
        let text = |text: &'static str| Some(Claim::Text(text.into()));
        assert_eq!(flag(None), (true, String::new(), "missing"));
        assert_eq!(flag(text("noon")), (true, "noon".into(), "unreadable"));
        assert_eq!(flag(text("2026-10-19T09:59:59Z")), (true, "2026-10-19T09:59:59Z".into(), "too_old"));
        assert_eq!(flag(text("2026-11-23T10:05:00.001Z")), (true, "2026-11-23T10:05:00.001Z".into(), "in_the_future"));
        assert_eq!(flag(Some(Claim::Epoch(f64::MAX))).2, "in_the_future");
        assert_eq!(flag(text("2026-10-19T10:00:00Z")), (false, String::new(), ""));
        assert_eq!(flag(text("2026-11-23T10:05:00Z")), (false, String::new(), ""));
    }
}
