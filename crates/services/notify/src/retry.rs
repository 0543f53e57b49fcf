//! When a message is tried again, and when no more.

use std::time::Duration;

use runtime::Backoff;

/// The shortest pause: a jitter of nothing would be a hammer.
const SHORTEST: Duration = Duration::from_millis(100);
/// The pauses of our own choice, by attempts: a destination is to be asked at all times alike.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300)).drawn_from(SHORTEST);
/// The longest pause that a destination may ask for: a week, beyond which a number is a mistake.
const LONGEST_ASKED_MS: i64 = 7 * 86_400_000;
/// The longest that a destination is left alone because one answer asks for it: other messages are tried then, and one
/// number that is a mistake does not silence it for a day.
const LONGEST_ALONE_MS: i64 = 3_600_000;
/// A destination that asks to be left alone for longer than this counts as one that is, in the metric and in the log.
const SHORT_ALONE_MS: i64 = 120_000;
/// A message is given up so long after it was planned.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// Failures in a row after which a destination is left alone for a while.
pub(crate) const CIRCUIT_OPENS_AFTER: u32 = 5;
/// Messages in a row that a destination may reject before it counts as one that refuses.
pub(crate) const REJECTED_IN_A_ROW: u32 = 5;
/// The whiles, from the failure that opens the circuit on.
const CIRCUIT: Backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(60)).drawn_from(SHORTEST);

/// Milliseconds until the attempt after this one: what the destination asks for, or full jitter
/// (anything up to twice as long as before).
pub(crate) fn delay_ms(attempt: u16, asked: Option<Duration>) -> i64 {
    match asked {
        Some(asked) => millis(asked.max(SHORTEST)).min(LONGEST_ASKED_MS),
        None => millis(PAUSES.after(attempt.into())),
    }
}

/// Milliseconds for which a destination is left alone that has asked for a message to be tried after `delay_ms`.
pub(crate) fn alone_ms(delay_ms: i64) -> i64 {
    delay_ms.min(LONGEST_ALONE_MS)
}

/// Whether that is so long that its owner is to know.
pub(crate) fn is_long_alone(delay_ms: i64) -> bool {
    delay_ms > SHORT_ALONE_MS
}

/// Milliseconds for which a destination is left alone after so many failures in a row.
pub(crate) fn circuit_ms(failures: u32) -> i64 {
    millis(CIRCUIT.after(failures.saturating_sub(CIRCUIT_OPENS_AFTER).saturating_add(1)))
}

/// When a message that was planned then is given up, in milliseconds since 1970.
pub(crate) fn gives_up_at(planned_at: i64) -> i64 {
    planned_at.saturating_add(GIVE_UP_MS)
}

/// How long until then, in milliseconds: no longer than that, though the clock was set back since it was planned.
pub(crate) fn until_given_up_ms(planned_at: i64, now_ms: i64) -> i64 {
    gives_up_at(planned_at).saturating_sub(now_ms).clamp(0, GIVE_UP_MS)
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_drawn_from_the_whole_range() {
        assert_eq!([1, 2, 3, 9, 10, 60_000].map(|attempt| PAUSES.ceiling(attempt).as_secs()), [1, 2, 4, 256, 300, 300]);
        let drawn: Vec<i64> = (0..1_000).map(|_| delay_ms(3, None)).collect();
        assert!(drawn.iter().all(|ms| (100..=4_000).contains(ms)));
        assert!(drawn.iter().any(|ms| *ms < 1_000) && drawn.iter().any(|ms| *ms > 3_000));
    }

    #[test]
    fn a_circuit_is_open_for_up_to_a_minute_from_the_fifth_failure_on() {
        let longest = |failures: u32| (0..2_000).map(|_| circuit_ms(failures)).max().unwrap_or_default();
        for (failures, most) in [(5, 4_000), (6, 8_000), (8, 32_000), (9, 60_000), (u32::MAX, 60_000)] {
            assert!((most * 9 / 10..=most).contains(&longest(failures)), "{failures}: {}", longest(failures));
        }
    }

    #[test]
    fn what_a_destination_asks_for_is_given_in_full() {
        assert_eq!(delay_ms(1, Some(Duration::from_secs(7))), 7_000);
        assert_eq!(delay_ms(1, Some(Duration::from_secs(90_000))), 90_000_000);
        assert_eq!(delay_ms(1, Some(Duration::MAX)), LONGEST_ASKED_MS);
        assert_eq!(delay_ms(1, Some(Duration::ZERO)), 100);
    }

    #[test]
    fn one_answer_silences_a_destination_for_an_hour_at_most_and_is_told_when_that_is_long() {
        let week = delay_ms(1, Some(Duration::from_secs(604_800)));
        assert_eq!([7_000, 3_600_000, week].map(alone_ms), [7_000, 3_600_000, 3_600_000]);
        assert_eq!([120_000, 120_001, week].map(is_long_alone), [false, true, true]);
    }
}
