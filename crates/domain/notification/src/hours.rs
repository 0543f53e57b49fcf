//! Spans of hours on days of the week, in a time zone.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Hours of days. A span that ends before it begins goes over midnight, and belongs to the day on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days.
    pub days: Vec<Weekday>,
    /// From this time of day.
    pub from: Time,
    /// Until this time of day, not included.
    pub until: Time,
    /// The time zone of both.
    pub zone: TimeZone,
}

impl Hours {
    /// Whether a time, in milliseconds since 1970, is within them.
    pub fn cover(&self, at_ms: i64) -> bool {
        self.span_of(at_ms).is_some()
    }

    /// When they begin next, in milliseconds since 1970: not before `at_ms`, and never where they have no days.
    pub fn begin_after(&self, at_ms: i64) -> i64 {
        let Some(today) = self.date(at_ms) else { return i64::MAX };
        // A day of the week comes again within seven days; an hour that the clocks skip begins after the change.
        (0..=8)
            .filter_map(|days| self.span_on(today.checked_add(days.days()).ok()?))
            .find(|(from, until)| *from >= at_ms && until > from)
            .map_or(i64::MAX, |(from, _)| from)
    }

    /// When they end, where a time is within them.
    pub fn end_of(&self, at_ms: i64) -> Option<i64> {
        self.span_of(at_ms).map(|(_, until)| until)
    }

    fn span_of(&self, at_ms: i64) -> Option<(i64, i64)> {
        let today = self.date(at_ms)?;
        let days = [today.yesterday().ok(), Some(today)];
        days.into_iter()
            .flatten()
            .filter_map(|day| self.span_on(day))
            .find(|(from, until)| (*from..*until).contains(&at_ms))
    }

    fn date(&self, at_ms: i64) -> Option<Date> {
        Some(self.zone.to_datetime(Timestamp::from_millisecond(at_ms).ok()?).date())
    }

    /// The span that begins on a day, if one does.
    fn span_on(&self, day: Date) -> Option<(i64, i64)> {
        if !self.days.contains(&day.weekday()) {
            return None;
        }
        let end = if self.from < self.until { day } else { day.tomorrow().ok()? };
        let instant =
            |day: Date, time: Time| Some(self.zone.to_timestamp(day.to_datetime(time)).ok()?.as_millisecond());
        Some((instant(day, self.from)?, instant(end, self.until)?))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;
    use proptest::prelude::*;

    use super::*;

    fn hours(from: Time, until: Time, days: &[Weekday]) -> Hours {
        Hours { days: days.to_vec(), from, until, zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    const WEEKDAYS: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    #[test]
    fn office_hours_are_those_of_their_zone() {
        let office = hours(time(8, 0, 0, 0), time(19, 0, 0, 0), &WEEKDAYS);
        // A Friday in November, then the weekend: Berlin is an hour ahead of UTC.
        assert!(office.cover(at("2026-11-27T07:00:00Z")) && office.cover(at("2026-11-27T17:59:59Z")));
        assert!(!office.cover(at("2026-11-27T06:59:59Z")) && !office.cover(at("2026-11-27T18:00:00Z")));
        assert!(!office.cover(at("2026-11-28T10:00:00Z")));
        assert_eq!(office.begin_after(at("2026-11-27T18:00:00Z")), at("2026-11-30T07:00:00Z"));
        // The clocks change on a Sunday in March.
        assert_eq!(office.begin_after(at("2026-03-28T10:00:00Z")), at("2026-03-30T06:00:00Z"));
    }

    #[test]
    fn nights_go_over_midnight_and_belong_to_the_evening() {
        let nights = hours(time(22, 0, 0, 0), time(7, 0, 0, 0), &[Weekday::Friday]);
        assert!(nights.cover(at("2026-11-27T21:30:00Z")) && nights.cover(at("2026-11-28T05:59:00Z")));
        assert!(!nights.cover(at("2026-11-27T05:00:00Z")) && !nights.cover(at("2026-11-28T06:00:00Z")));
        assert_eq!(nights.end_of(at("2026-11-27T23:00:00Z")), Some(at("2026-11-28T06:00:00Z")));
        assert_eq!(nights.end_of(at("2026-11-27T12:00:00Z")), None);
    }

    #[test]
    fn hours_without_days_never_begin() {
        assert_eq!(hours(time(8, 0, 0, 0), time(9, 0, 0, 0), &[]).begin_after(0), i64::MAX);
    }

    proptest! {
        /// Whatever the clocks do.
        #[test]
        fn they_cover_from_their_beginning_to_their_end(at_ms in 1_700_000_000_000i64..1_900_000_000_000, from in 0i8..24, until in 0i8..24, days in prop::collection::vec(0i8..7, 1..7)) {
            prop_assume!(from != until);
            let days: Vec<Weekday> = days.into_iter().map(|day| Weekday::from_monday_zero_offset(day).unwrap()).collect();
            let hours = hours(time(from, 0, 0, 0), time(until, 0, 0, 0), &days);
            let begin = hours.begin_after(at_ms);
            prop_assert!(begin >= at_ms && hours.cover(begin));
            let end = hours.end_of(begin).unwrap();
            prop_assert!(end > begin && !(hours.cover(end) && hours.end_of(end) == Some(end)));
        }
    }
}
