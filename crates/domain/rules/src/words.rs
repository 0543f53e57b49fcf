//! What an alert says, in words.

use event::Map;

/// Days of the week from the day on that 1 January 1970 was.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

fn day(minute: i64) -> &'static str {
    DAYS.get(minute.div_euclid(1_440).rem_euclid(7) as usize).copied().unwrap_or_default()
}

/// `Tuesday 14:00`: the hour that a minute since 1970 is in, UTC.
pub(crate) fn hour(minute: i64) -> String {
    format!("{} {:02}:00", day(minute), minute.div_euclid(60).rem_euclid(24))
}

/// `14:02`, or `Tuesday 14:02` where that was another day than `now`.
pub(crate) fn since(minute: i64, now: i64) -> String {
    let time = format!("{:02}:{:02}", minute.div_euclid(60).rem_euclid(24), minute.rem_euclid(60));
    if minute.div_euclid(1_440) == now.div_euclid(1_440) { time } else { format!("{} {time}", day(minute)) }
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
        assert_eq!(hour(minute), "Tuesday 14:00");
        assert_eq!(since(minute, minute + 60), "14:02");
        assert_eq!(since(minute, minute + 1_440), "Tuesday 14:02");
        assert_eq!((minutes(5), minutes(60), range((19.6, 45.2))), ("5 min".into(), "1 h".into(), "20 to 45".into()));
    }
}
