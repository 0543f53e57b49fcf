//! When a message is tried again, and when no more.

use std::time::Duration;

/// The first pause, doubled with each attempt.
const BASE_MS: i64 = 1_000;
/// The longest pause of our own choice.
const LONGEST_MS: i64 = 300_000;
/// The longest pause that a destination may ask for: a week, beyond which a number is a mistake.
const LONGEST_ASKED_MS: i64 = 7 * 86_400_000;
/// The shortest pause: a jitter of nothing would be a hammer.
const SHORTEST_MS: i64 = 100;
/// A message is given up so long after it was planned.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// Failures in a row after which a destination is left alone for a while.
pub(crate) const CIRCUIT_OPENS_AFTER: u32 = 5;
/// Messages in a row that a webhook may reject before it counts as one that refuses.
pub(crate) const REJECTED_IN_A_ROW: u32 = 5;
/// The longest while.
const LONGEST_CIRCUIT_MS: i64 = 60_000;

/// Milliseconds until the attempt after this one: what the destination asks for, or full jitter
/// (anything up to twice as long as before).
pub(crate) fn delay_ms(attempt: u16, asked: Option<Duration>) -> i64 {
    match asked {
        Some(asked) => i64::try_from(asked.as_millis()).unwrap_or(i64::MAX).clamp(SHORTEST_MS, LONGEST_ASKED_MS),
        None => jitter(ceiling(u32::from(attempt), LONGEST_MS)),
    }
}

/// Milliseconds for which a destination is left alone after so many failures in a row.
pub(crate) fn circuit_ms(failures: u32) -> i64 {
    jitter(ceiling(failures.saturating_sub(CIRCUIT_OPENS_AFTER) + 3, LONGEST_CIRCUIT_MS))
}

/// When a message that was planned then is given up, in milliseconds since 1970.
pub(crate) fn gives_up_at(planned_at: i64) -> i64 {
    planned_at.saturating_add(GIVE_UP_MS)
}

fn ceiling(attempt: u32, longest: i64) -> i64 {
    BASE_MS.checked_shl(attempt.saturating_sub(1).min(20)).map_or(longest, |ms| ms.min(longest))
}

fn jitter(ceiling: i64) -> i64 {
    rand::random_range(SHORTEST_MS..=ceiling.max(SHORTEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_drawn_from_the_whole_range() {
        assert_eq!(
            [1, 2, 3, 9, 10, 60_000].map(|attempt| ceiling(attempt, LONGEST_MS)),
            [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]
        );
        let drawn: Vec<i64> = (0..1_000).map(|_| delay_ms(3, None)).collect();
        assert!(drawn.iter().all(|ms| (SHORTEST_MS..=4_000).contains(ms)));
        assert!(drawn.iter().any(|ms| *ms < 1_000) && drawn.iter().any(|ms| *ms > 3_000));
    }

    #[test]
    fn what_a_destination_asks_for_is_given_in_full() {
        assert_eq!(delay_ms(1, Some(Duration::from_secs(7))), 7_000);
        assert_eq!(delay_ms(1, Some(Duration::from_secs(90_000))), 90_000_000);
        assert_eq!(delay_ms(1, Some(Duration::MAX)), LONGEST_ASKED_MS);
        assert_eq!(delay_ms(1, Some(Duration::ZERO)), SHORTEST_MS);
    }
}
