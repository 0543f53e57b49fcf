//! What a lane commits beside its input offset: where `seen` ends, what the open block and the fuse hold, and how far it has come.

use std::fmt;
use std::str::FromStr;

use dedupe::SeenPosition;
use event::{Millis, Progress};

use crate::cuts::Open;
use crate::fuse::{self, Fuse, Span};

/// The state that a lane hands to its next owner, in the metadata of its committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Carried {
    /// The end of `seen`, and of `raw` as processed.
    pub seen: SeenPosition,
    /// Rows written since the last cut.
    pub open: Open,
    /// What the fuse has seen.
    pub fuse: Fuse,
    /// The version of the catalogue that the last records were labelled by: one past an offset of `links`.
    pub links: u64,
    /// The lane's watermark, in milliseconds since 1970.
    pub watermark_ms: i64,
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, open, fuse, links, watermark_ms } = self;
        let progress = Progress { raw_hi: seen.raw_hi, watermark: Millis(*watermark_ms) };
        write!(f, "{seen}; rows={} bytes={} since={}; ", open.rows, open.bytes, open.since_ms)?;
        let Fuse { run, last, current } = fuse;
        write!(f, "run={run} last={}/{} span={}/{}; ", last.dead, last.records, current.dead, current.records)?;
        write!(f, "links={links}; ")?;
        write!(f, "{progress}")
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
            let mut part = parts.next()?;
            let mut fuse = Fuse::default();
            // Positions from before there was a fuse have no such part.
            if part.starts_with("run=") {
                fuse = read_fuse(part)?;
                part = parts.next()?;
            }
            let mut links = 0;
            // Nor have those from before there was a catalogue on a topic.
            if let Some(version) = part.strip_prefix("links=") {
                links = version.parse().ok()?;
                part = parts.next()?;
            }
            let progress: Progress = part.parse().ok()?;
            let whole = parts.next().is_none() && progress.raw_hi == seen.raw_hi;
            whole.then_some(Self { seen, open, fuse, links, watermark_ms: progress.watermark.0 })
        };
        read().ok_or_else(|| Unreadable(text.to_owned()))
    }
}

fn read_fuse(text: &str) -> Option<Fuse> {
    let mut fields = text.split(' ');
    let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
    let span = |text: &str| {
        let (dead, records) = text.split_once('/')?;
        let span = Span { dead: dead.parse().ok()?, records: records.parse().ok()? };
        (span.dead <= span.records && span.records <= fuse::SPAN).then_some(span)
    };
    let fuse = Fuse { run: field("run")?.parse().ok()?, last: span(field("last")?)?, current: span(field("span")?)? };
    fields.next().is_none().then_some(fuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lane_carries_reads_back_from_its_text_and_nothing_else_does() {
        let carried = Carried {
            seen: SeenPosition { next_offset: 12, raw_hi: 3_456 },
            open: Open { rows: 7, bytes: 890, since_ms: 1_764_000_000_000 },
            fuse: Fuse { run: 3, last: Span { records: 1_000, dead: 40 }, current: Span { records: 12, dead: 5 } },
            links: 71,
            watermark_ms: 1_764_000_000_500,
        };
        assert_eq!(carried.to_string().parse(), Ok(carried));
        let torn = carried.to_string().replace("; raw=3456", "; raw=3457");
        let impossible = carried.to_string().replace("span=5/12", "span=13/12");
        for text in ["", "seen=1 raw=2", "seen=1 raw=2; rows=1 bytes=1 since=1", torn.as_str(), impossible.as_str()] {
            assert_eq!(text.parse::<Carried>(), Err(Unreadable(text.to_owned())));
        }
    }

    #[test]
    fn a_position_from_before_there_was_a_fuse_or_a_catalogue_goes_on_with_fresh_ones() {
        let old = "seen=1 raw=2; rows=1 bytes=3 since=4; raw=2 watermark=5";
        let open = Open { rows: 1, bytes: 3, since_ms: 4 };
        let seen = SeenPosition { next_offset: 1, raw_hi: 2 };
        assert_eq!(old.parse(), Ok(Carried { seen, open, fuse: Fuse::default(), links: 0, watermark_ms: 5 }));
    }
}
