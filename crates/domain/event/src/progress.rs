//! How far a stage has come on a lane: the part of a committed position's metadata that other stages read.

use std::fmt;
use std::str::FromStr;

use crate::Millis;

/// The end of a stage's work on a lane. It stands last in the metadata of the committed position, after a `; ` if
/// something stands before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// One past the last raw offset that the stage is done with.
    pub raw_hi: u64,
    /// The lane's watermark there: no later record of the lane belongs to an earlier time of the lane.
    pub watermark: Millis,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw={} watermark={}", self.raw_hi, self.watermark.0)
    }
}

/// The metadata does not end in a progress that this version reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the committed position carries {0:?}, which this version does not read")]
pub struct UnreadableProgress(pub String);

impl FromStr for Progress {
    type Err = UnreadableProgress;

    fn from_str(metadata: &str) -> Result<Self, UnreadableProgress> {
        let own = metadata.rsplit_once("; ").map_or(metadata, |(_, own)| own);
        let read = || {
            let (raw, watermark) = own.strip_prefix("raw=")?.split_once(" watermark=")?;
            Some(Self { raw_hi: raw.parse().ok()?, watermark: Millis(watermark.parse().ok()?) })
        };
        read().ok_or_else(|| UnreadableProgress(metadata.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_back_from_the_end_of_the_metadata() {
        let progress = Progress { raw_hi: 12, watermark: Millis(-5) };
        assert_eq!(progress.to_string().parse(), Ok(progress));
        assert_eq!(format!("seen=1 raw=2; rows=3; {progress}").parse(), Ok(progress));
        for text in ["", "raw=1", "raw=1 watermark=x", "raw=1 watermark=2; x"] {
            assert_eq!(text.parse::<Progress>(), Err(UnreadableProgress(text.to_owned())));
        }
    }
}
