//! What an alert says, in words.

use event::Map;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// Says times of day as people who read alerts have them: by the zone of the configuration, or UTC where it names none.
/// Each time has its zone behind it.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    zone: TimeZone,
}

impl Clock {
    pub(crate) fn of(zone: Option<&TimeZone>) -> Self {
        Self { zone: zone.cloned().unwrap_or(TimeZone::UTC) }
    }

    fn at(&self, minute: i64) -> ZonedDateTime {
        let at = Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned_datetime(self.zone.clone())
    }

    /// `Tuesday 14:00 CET`: the hour of a profile that a minute since 1970 is in. Those are hours of UTC, so one may
    /// begin at 13:30.
    pub(crate) fn hour(&self, minute: i64) -> String {
        self.at(minute.div_euclid(60).saturating_mul(60)).strftime("%A %H:%M %Z").to_string()
    }

    /// `14:02 CET`, or `Tuesday 14:02 CET` where that was another day than `now`.
    pub(crate) fn since(&self, minute: i64, now: i64) -> String {
        let (then, now) = (self.at(minute), self.at(now));
        then.strftime(if then.date() == now.date() { "%H:%M %Z" } else { "%A %H:%M %Z" }).to_string()
    }
}

/// `5 min`, `1 h`.
pub(crate) fn minutes(minutes: i64) -> String {
    if minutes % 60 == 0 { format!("{} h", minutes / 60) } else { format!("{minutes} min") }
}

/// `20 to 45`.
pub(crate) fn range(usual: (f64, f64)) -> String {
    format!("{} to {}", whole(usual.0), whole(usual.1))
}

pub(crate) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// `1 visit`, `3 visits`.
pub(crate) fn visits(visits: u64) -> String {
    if visits == 1 { "1 visit".to_owned() } else { format!("{visits} visits") }
}

/// What is counted, by the event that an alert names.
pub(crate) fn events(attributes: &Map<'_>) -> &'static str {
    match attributes.0.iter().find(|(name, _)| name == "event").map(|(_, value)| value.as_ref()) {
        Some("click") => "clicks",
        Some("qr_scan") => "scans",
        Some("error") => "errors",
        _ => "events",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_words() {
        // Tuesday, 6 January 2026, 14:02.
        let minute = 29_459_520 + 1_440 + 14 * 60 + 2;
        let said = |zone: Option<&str>| {
            let zone = zone.map(|name| TimeZone::get(name).unwrap());
            let clock = Clock::of(zone.as_ref());
            [clock.hour(minute), clock.since(minute, minute + 60), clock.since(minute, minute + 1_440)]
        };
        for zone in [None, Some("UTC"), Some("Etc/UTC")] {
            assert_eq!(said(zone), ["Tuesday 14:00 UTC", "14:02 UTC", "Tuesday 14:02 UTC"]);
        }
        assert_eq!(said(Some("Europe/Berlin")), ["Tuesday 15:00 CET", "15:02 CET", "Tuesday 15:02 CET"]);
        assert_eq!(said(Some("Asia/Kolkata")), ["Tuesday 19:30 IST", "19:32 IST", "Tuesday 19:32 IST"]);
        // Its day ends eight hours later than that of UTC.
        assert_eq!(said(Some("America/Los_Angeles")), ["Tuesday 06:00 PST", "06:02 PST", "Tuesday 06:02 PST"]);
        let los_angeles = TimeZone::get("America/Los_Angeles").unwrap();
        assert_eq!(Clock::of(Some(&los_angeles)).since(minute, minute + 10 * 60), "06:02 PST");
        assert_eq!(Clock::of(None).since(minute, minute + 10 * 60), "Tuesday 14:02 UTC");
        // Summer: an hour more.
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(Clock::of(Some(&berlin)).hour(minute + 26 * 7 * 1_440), "Tuesday 16:00 CEST");
        assert_eq!((minutes(5), minutes(60), range((19.6, 45.2))), ("5 min".into(), "1 h".into(), "20 to 45".into()));
    }
}
