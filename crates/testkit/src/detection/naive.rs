//! What is usually done in place of learning: so many events in so long, whatever is usual for the key. It is written
//! here again, and is not our rule of `count`: what is measured is the idea.

use std::collections::VecDeque;

/// A fixed threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountRule {
    /// So many events, at least 1.
    pub count: u64,
    /// In so many minutes.
    pub within_minutes: i64,
    /// After it fired it does not fire again for so many minutes.
    pub quiet_for_minutes: i64,
}

impl CountRule {
    /// Goes through the minutes of a key that have events: minute, events, and how many of them came late. It is over
    /// with the first minute whose window holds less.
    pub(super) fn alerts(&self, minutes: impl Iterator<Item = (i64, u32, u32)>, tell: &mut impl FnMut(i64, bool)) {
        let mut window: VecDeque<(i64, u64)> = VecDeque::new();
        let (mut sum, mut firing, mut fired_at) = (0, false, i64::MIN / 2);
        let mut minutes = minutes.peekable();
        while let Some((minute, count, _)) = minutes.next() {
            window.push_back((minute, u64::from(count)));
            sum += u64::from(count);
            // The minute itself, and those behind it up to the next one with events: the window runs empty in them.
            let next = minutes.peek().map_or(minute + self.within_minutes + 1, |next| next.0);
            for end in minute + 1..=next.min(minute + self.within_minutes + 1) {
                while let Some((_, gone)) = window.pop_front_if(|(at, _)| *at < end - self.within_minutes) {
                    sum -= gone;
                }
                let enough = sum >= self.count;
                if enough && !firing && end - fired_at >= self.quiet_for_minutes {
                    (firing, fired_at) = (true, end);
                    tell(end, true);
                } else if !enough && firing {
                    firing = false;
                    tell(end, false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_fires_with_its_count_and_is_over_when_its_window_holds_less() {
        let rule = CountRule { count: 10, within_minutes: 5, quiet_for_minutes: 60 };
        let told = |minutes: &[(i64, u32)]| {
            let mut told = Vec::new();
            rule.alerts(minutes.iter().map(|(minute, count)| (*minute, *count, 0)), &mut |at, fired| {
                told.push((at, fired))
            });
            told
        };
        assert_eq!(told(&[(100, 4), (102, 5), (105, 5)]), [(106, true), (108, false)]);
        assert_eq!(told(&[(100, 4), (105, 5), (110, 5)]), []);
        // Quiet for an hour.
        assert_eq!(told(&[(100, 10), (120, 10), (170, 10)]), [(101, true), (106, false), (171, true), (176, false)]);
    }
}
