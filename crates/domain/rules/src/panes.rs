//! Panes: the slices of received time in which matches are counted before they are added up to windows.

use thiserror::Error;

/// The lengths that a pane can have, in milliseconds, shortest first.
pub const PANE_LENGTHS_MS: [i64; 9] = [1_000, 5_000, 10_000, 15_000, 30_000, 60_000, 300_000, 600_000, 3_600_000];

/// The shortest window of a rule.
pub const MIN_WINDOW_MS: i64 = 1_000;
/// The longest window of a rule: seven days, what `raw` holds, so that a rule can be replayed over a whole window.
pub const MAX_WINDOW_MS: i64 = 7 * 24 * 3_600_000;

/// A window that cannot be cut into panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a window of {0} ms is not possible: use whole seconds, from 1s to 7d")]
pub struct WindowError(pub i64);

/// The pane length for a window, in milliseconds: the longest that divides the window and is at most a tenth of it, so
/// that a window slides in steps of at most a tenth; 1 s for short windows.
///
/// # Errors
/// When the window is not whole seconds between [`MIN_WINDOW_MS`] and [`MAX_WINDOW_MS`].
pub fn pane_ms(window_ms: i64) -> Result<i64, WindowError> {
    if !(MIN_WINDOW_MS..=MAX_WINDOW_MS).contains(&window_ms) || window_ms % 1_000 != 0 {
        return Err(WindowError(window_ms));
    }
    let fits = |pane: &&i64| window_ms % **pane == 0 && **pane <= window_ms / 10;
    Ok(PANE_LENGTHS_MS.iter().rev().find(fits).copied().unwrap_or(PANE_LENGTHS_MS[0]))
}

/// The start of the pane that a received time lies in, both in milliseconds since 1970. Panes are aligned to 1970, so
/// every lane cuts them alike. A `pane_ms` below 1 is taken as 1.
pub fn pane_start(received_at_ms: i64, pane_ms: i64) -> i64 {
    let pane = pane_ms.max(1);
    received_at_ms.div_euclid(pane) * pane
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pane_of_a_window_is_its_longest_divisor_up_to_a_tenth() {
        for (window, pane) in [
            (1, 1),
            (5, 1),
            (10, 1),
            (50, 5),
            (60, 5),
            (61, 1),
            (300, 30),
            (600, 60),
            (3_600, 300),
            (6_000, 600),
            (86_400, 3_600),
            (259_200, 3_600),
        ] {
            assert_eq!(pane_ms(window * 1_000), Ok(pane * 1_000), "window of {window} s");
        }
    }

    #[test]
    fn windows_of_parts_of_a_second_or_beyond_a_week_are_refused() {
        for window in [0, -5_000, 999, 1_500, MAX_WINDOW_MS + 1_000, i64::MAX, i64::MIN] {
            assert_eq!(pane_ms(window), Err(WindowError(window)));
        }
    }

    proptest! {
        #[test]
        fn a_window_is_a_whole_number_of_panes(seconds in 1..=604_800i64) {
            let window = seconds * 1_000;
            let pane = pane_ms(window).unwrap();
            prop_assert_eq!(window % pane, 0);
            prop_assert!(pane == 1_000 || pane * 10 <= window);
            for longer in PANE_LENGTHS_MS.iter().filter(|length| **length > pane) {
                prop_assert!(window % longer != 0 || longer * 10 > window);
            }
        }

        #[test]
        fn a_time_lies_in_its_pane(at in -1_000_000_000_000i64..4_000_000_000_000, pane in prop::sample::select(&PANE_LENGTHS_MS)) {
            let start = pane_start(at, pane);
            prop_assert!(start <= at && at < start + pane);
            prop_assert_eq!(start % pane, 0);
        }
    }
}
