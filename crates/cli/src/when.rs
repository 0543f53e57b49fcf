//! Times on the command line and in what commands print.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// A time as people write it: `2h` (ago), `2026-11-25T12:00:00Z`, `2026-11-25` (its start in UTC). Milliseconds since 1970.
pub(crate) fn time(text: &str) -> Result<i64, String> {
    let now = Timestamp::now();
    let ago = || {
        let ago = text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        now.checked_sub(ago.abs()).ok()
    };
    let day = || TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok();
    let time = text.parse::<Timestamp>().ok().or_else(day).or_else(ago);
    time.map(Timestamp::as_millisecond)
        .ok_or_else(|| format!("{text:?} is no time: write 2h, 2026-11-25 or 2026-11-25T12:00:00Z"))
}

/// Milliseconds since 1970 for people, to the second; `-` for 0.
pub(crate) fn shown(millis: i64) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(at) if millis != 0 => at.strftime("%FT%TZ").to_string(),
        _ => "-".to_owned(),
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = "2026-11-25T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(time("2026-11-25T12:00:00Z"), Ok(noon));
        assert_eq!(time("2026-11-25"), Ok(noon - 12 * 3_600_000));
        for (text, millis) in [("2h", 7_200_000), ("3d", 259_200_000), ("1h 30m", 5_400_000)] {
            let read = time(text).unwrap();
            assert!((now_ms() - millis - read).abs() < 60_000, "{text}: {read}");
        }
        for wrong in ["", "yesterday", "12", "2026-13-01"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(shown(1_764_072_000_999), "2025-11-25T12:00:00Z");
        assert_eq!(shown(0), "-");
    }
}
