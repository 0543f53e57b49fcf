//! Where a lane's blocks end.
//!
//! A pure policy over what the open block holds. The cut itself is a record in the lane's log, so whoever reads the log
//! later sees the same blocks, whatever clock or restart made them.

/// When a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The longest that a row waits for its block to end, in milliseconds.
    pub age_ms: i64,
    /// Rows after which a block ends.
    pub rows: u64,
    /// Bytes of encoded events after which a block ends.
    pub bytes: u64,
}

impl Policy {
    /// The policy of the design: all lanes together make about four blocks a second at most, and none grows past
    /// 50,000 rows or 32 MiB by more than one transaction.
    pub fn for_lanes(lanes: u16) -> Self {
        Self { age_ms: (i64::from(lanes) * 250).max(1_000), rows: 50_000, bytes: 32 * 1024 * 1024 }
    }

    /// Whether the open block ends now.
    pub fn ends(&self, open: &Open, now_ms: i64) -> bool {
        // A clock that was set back must not keep rows waiting: an age below zero ends the block too.
        let age = now_ms - open.since_ms;
        open.rows > 0 && (!(0..self.age_ms).contains(&age) || open.rows >= self.rows || open.bytes >= self.bytes)
    }

    /// How long until the open block ends by age, in milliseconds; `None` when it holds nothing.
    pub fn due_in_ms(&self, open: &Open, now_ms: i64) -> Option<i64> {
        (open.rows > 0).then(|| (self.age_ms - (now_ms - open.since_ms)).clamp(0, self.age_ms))
    }
}

/// What has been written since the last cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Open {
    /// Rows, test data included.
    pub rows: u64,
    /// Bytes of their encoded events.
    pub bytes: u64,
    /// When the first of them was written, in milliseconds since 1970.
    pub since_ms: i64,
}

impl Open {
    /// Counts one row.
    pub fn add(&mut self, bytes: usize, now_ms: i64) {
        if self.rows == 0 {
            self.since_ms = now_ms;
        }
        self.rows += 1;
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { age_ms: 1_000, rows: 3, bytes: 100 };

    #[test]
    fn a_block_ends_by_age_rows_or_bytes_and_never_when_empty() {
        let mut open = Open::default();
        assert!(!POLICY.ends(&open, i64::MAX / 2));
        open.add(10, 5_000);
        assert!(!POLICY.ends(&open, 5_999));
        assert!(POLICY.ends(&open, 6_000));
        open.add(10, 5_100);
        assert!(!POLICY.ends(&open, 5_100));
        open.add(10, 5_100);
        assert!(POLICY.ends(&open, 5_100));
        let wide = Open { rows: 1, bytes: 100, since_ms: 5_000 };
        assert!(POLICY.ends(&wide, 5_000));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_rows_waiting() {
        let open = Open { rows: 1, bytes: 1, since_ms: 5_000 };
        assert!(POLICY.ends(&open, 4_000));
        assert_eq!(POLICY.due_in_ms(&open, 4_000), Some(1_000));
        assert_eq!(POLICY.due_in_ms(&open, 5_400), Some(600));
        assert_eq!(POLICY.due_in_ms(&Open::default(), 5_400), None);
    }

    #[test]
    fn all_lanes_together_make_at_most_about_four_blocks_a_second() {
        for lanes in [1u16, 4, 12, 64] {
            let per_second = f64::from(lanes) * 1_000.0 / Policy::for_lanes(lanes).age_ms as f64;
            assert!(per_second <= 4.0, "{lanes} lanes make {per_second}");
        }
    }
}
