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
        let (day, due) = (0..=7).find_map(|days| {
            let day = today.checked_sub(days.days()).ok()?;
            if self.on.is_some_and(|on| on != day.weekday()) {
                return None;
            }
            // A time that the clocks skip comes after the change.
            let at = self.zone.to_timestamp(day.to_datetime(self.at)).ok()?;
            // Where the clocks are ahead of UTC, the day before may not be over yet at that time.
            let at = at.max(TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?);
            (at.as_millisecond() <= now_ms).then_some((day, at))
        })?;
        let late = if self.on.is_some() { WEEKLY_LATE_MS } else { DAILY_LATE_MS };
        if now_ms - due.as_millisecond() > late {
            return None;
        }
        // Reports are by days of UTC. The day of the calendar names the period, so that none is left out or comes twice
        // when the clocks change: by the UTC date of that time, one would.
        let through = day.yesterday().ok()?;
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

    #[test]
    fn every_day_has_one_period_over_both_changes_of_the_clocks() {
        let zones =
            [("Europe/Berlin", 1, 30), ("Europe/London", 0, 0), ("America/New_York", 19, 0), ("Asia/Tokyo", 8, 0)];
        for (zone, hour, minute) in zones {
            let zone = TimeZone::get(zone).unwrap();
            for (from, to) in [("2026-03-06", "2026-03-31"), ("2026-10-22", "2026-11-05")] {
                let daily = Calendar { on: None, at: Time::constant(hour, minute, 0, 0), zone: zone.clone() };
                let (mut day, to): (Date, Date) = (from.parse().unwrap(), to.parse().unwrap());
                let (mut now, end) = (ms(&format!("{from}T12:00:00Z")), ms(&format!("{to}T12:00:00Z")));
                let mut sent: Vec<Period> = Vec::new();
                while now <= end {
                    sent.extend(daily.due(now).filter(|due| sent.last().is_none_or(|last| last.through < due.through)));
                    now += 15 * 60_000;
                }
                assert!(sent.iter().all(|one| one.due_ms >= one.until_ms()), "none is due before its days are over");
                day = sent.first().unwrap().through.min(day);
                assert!(sent.last().unwrap().through >= to.checked_sub(2.days()).unwrap());
                for one in &sent {
                    assert_eq!(one.through, day, "{zone:?} {from}");
                    day = day.tomorrow().unwrap();
                }
            }
        }
    }

    #[test]
    fn a_weekly_one_at_night_is_about_the_seven_days_before_its_day_all_year() {
        let weekly = Calendar { at: Time::constant(1, 30, 0, 0), ..calendar(Some(Weekday::Monday)) };
        for (now, words) in [
            ("2026-10-19T06:00:00Z", "2026-10-12 to 2026-10-18"),
            ("2026-10-26T06:00:00Z", "2026-10-19 to 2026-10-25"),
            ("2026-11-02T06:00:00Z", "2026-10-26 to 2026-11-01"),
            ("2026-03-30T06:00:00Z", "2026-03-23 to 2026-03-29"),
        ] {
            assert_eq!(weekly.due(ms(now)).unwrap().words(), words);
        }
    }
}
