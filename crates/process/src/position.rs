//! What a lane commits beside its input offset: where `seen` ends, what the open block holds, and how far it has come.

use std::fmt;
use std::str::FromStr;

use dedupe::SeenPosition;
use event::{Millis, Progress};

use crate::cuts::Open;

/// The state that a lane hands to its next owner, in the metadata of its committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Carried {
    /// The end of `seen`, and of `raw` as processed.
    pub seen: SeenPosition,
    /// Rows written since the last cut.
    pub open: Open,
    /// The lane's watermark, in milliseconds since 1970.
    pub watermark_ms: i64,
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, open, watermark_ms } = self;
        let progress = Progress { raw_hi: seen.raw_hi, watermark: Millis(*watermark_ms) };
        write!(f, "{seen}; rows={} bytes={} since={}; {progress}", open.rows, open.bytes, open.since_ms)
    }
}

/// The metadata is not what this version writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the committed position carries {0:?}, which this version does not read")]
pub struct Unreadable(pub String);

impl FromStr for Carried {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let read = || {
            let mut parts = text.split("; ");
            let seen: SeenPosition = parts.next()?.parse().ok()?;
            let mut fields = parts.next()?.split(' ');
            let mut number = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<i64>().ok();
            let open = Open {
                rows: u64::try_from(number("rows")?).ok()?,
                bytes: u64::try_from(number("bytes")?).ok()?,
                since_ms: number("since")?,
            };
            let progress: Progress = parts.next()?.parse().ok()?;
            let whole = parts.next().is_none() && progress.raw_hi == seen.raw_hi;
            whole.then_some(Self { seen, open, watermark_ms: progress.watermark.0 })
        };
        read().ok_or_else(|| Unreadable(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lane_carries_reads_back_from_its_text_and_nothing_else_does() {
        let carried = Carried {
            seen: SeenPosition { next_offset: 12, raw_hi: 3_456 },
            open: Open { rows: 7, bytes: 890, since_ms: 1_764_000_000_000 },
            watermark_ms: 1_764_000_000_500,
        };
        assert_eq!(carried.to_string().parse(), Ok(carried));
        let torn = carried.to_string().replace("; raw=3456", "; raw=3457");
        for text in ["", "seen=1 raw=2", "seen=1 raw=2; rows=1 bytes=1 since=1", torn.as_str()] {
            assert_eq!(text.parse::<Carried>(), Err(Unreadable(text.to_owned())));
        }
    }
}
