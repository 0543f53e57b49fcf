//! What is sent by the calendar: reports and the digest of failures, once for each period.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How long after its time a daily report is still sent, in milliseconds: after that the next one is near.
const DAILY_LATE_MS: i64 = 12 * 3_600_000;
/// The same for a weekly one.
const WEEKLY_LATE_MS: i64 = 3 * 86_400_000;

/// When something is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// The day of the week; none: every day.
    pub on: Option<Weekday>,
    /// The time of day.
    pub at: Time,
    /// The time zone of both.
    pub zone: TimeZone,
}

/// Something that is sent by the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name: a rule's, or one with a slash, which no rule has.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The names of destinations.
    pub to: Vec<String>,
    /// When.
    pub when: Calendar,
}

/// The days that one sending is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// The first day (UTC).
    pub from: Date,
    /// The last day (UTC): it names the period.
    pub through: Date,
    /// When it is to be sent, in milliseconds since 1970.
    pub due_ms: i64,
}

impl Calendar {
    /// The last period whose time has come, unless that is long ago.
    pub fn due(&self, now_ms: i64) -> Option<Period> {
        let today = self.zone.to_datetime(Timestamp::from_millisecond(now_ms).ok()?).date();
        let due = (0..=7).find_map(|days| {
            let day = today.checked_sub(days.days()).ok()?;
            if self.on.is_some_and(|on| on != day.weekday()) {
                return None;
            }
            // A time that the clocks skip comes after the change.
            let at = self.zone.to_timestamp(day.to_datetime(self.at)).ok()?;
            (at.as_millisecond() <= now_ms).then_some(at)
        })?;
        let late = if self.on.is_some() { WEEKLY_LATE_MS } else { DAILY_LATE_MS };
        if now_ms - due.as_millisecond() > late {
            return None;
        }
        // Reports are by days of UTC: the last one that is over.
        let through = TimeZone::UTC.to_datetime(due).date().yesterday().ok()?;
        let days = if self.on.is_some() { 6 } else { 0 };
        Some(Period { from: through.checked_sub(days.days()).ok()?, through, due_ms: due.as_millisecond() })
    }
}

impl Period {
    /// Until when what was received belongs to it, in milliseconds since 1970.
    pub fn until_ms(&self) -> i64 {
        let end = self.through.tomorrow().ok().and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
        end.map_or(self.due_ms, Timestamp::as_millisecond)
    }

    /// Its days, for people.
    pub fn words(&self) -> String {
        match self.from == self.through {
            true => self.through.to_string(),
            false => format!("{} to {}", self.from, self.through),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn calendar(on: Option<Weekday>) -> Calendar {
        Calendar { on, at: Time::constant(8, 0, 0, 0), zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    #[test]
    fn a_daily_report_is_about_the_last_whole_day_and_is_due_for_half_a_day() {
        let through = |now: &str| calendar(None).due(ms(now)).map(|period| period.through.to_string());
        assert_eq!(through("2026-11-29T06:59:59Z"), None, "the one of the day before is long over");
        assert_eq!(through("2026-11-29T07:00:00Z").as_deref(), Some("2026-11-28"));
        assert_eq!(through("2026-11-29T18:59:00Z").as_deref(), Some("2026-11-28"));
        assert_eq!(through("2026-11-29T19:00:01Z"), None);
        let period = calendar(None).due(ms("2026-11-29T07:00:00Z")).unwrap();
        assert_eq!((period.until_ms(), period.words()), (ms("2026-11-29T00:00:00Z"), "2026-11-28".to_owned()));
    }

    #[test]
    fn a_weekly_one_is_about_seven_days_and_is_due_for_three() {
        let weekly = calendar(Some(Weekday::Monday));
        // 2026-11-30 is a Monday.
        assert_eq!(weekly.due(ms("2026-11-30T06:59:00Z")), None);
        let period = weekly.due(ms("2026-12-02T06:00:00Z")).unwrap();
        assert_eq!(period.words(), "2026-11-23 to 2026-11-29");
        assert_eq!(weekly.due(ms("2026-12-04T06:00:00Z")), None);
    }

    #[test]
    fn a_time_that_the_clocks_skip_comes_after_the_change_and_one_that_comes_twice_is_one_period() {
        let night = Calendar { at: Time::constant(2, 30, 0, 0), ..calendar(None) };
        // On 2026-03-29 the clocks go from 02:00 to 03:00 in Berlin.
        assert_eq!(night.due(ms("2026-03-29T01:30:00Z")).unwrap().through.to_string(), "2026-03-28");
        // On 2026-10-25 02:30 comes at 00:30 and at 01:30 UTC.
        let both = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"].map(|now| night.due(ms(now)).unwrap());
        assert_eq!(both[0], both[1]);
    }
}
