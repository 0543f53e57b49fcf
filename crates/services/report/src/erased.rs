//! What was erased, as a lane goes by it: an erasure may be noted while the lane is open.

use std::time::{Duration, Instant};

use event::Erasure;
use kafka::control::KnownErasures;
use kafka::lane::{End, LaneReader};
use kafka::{Cluster, Topic};

use crate::SERVICE;

/// How long a lane begins blocks without asking whether something was erased meanwhile.
const FRESH: Duration = Duration::from_secs(5);
/// How old the answer may be when rows go in: half of the time for which `hookline erase` waits until what was accepted
/// before it is rows. What goes in sooner, the command finds and deletes; what goes in later has to know of it.
const STALE: Duration = Duration::from_secs(30);
/// How long the broker may take to say where `control` ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a lane knows of erasures.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    known: KnownErasures,
    /// When it was known last.
    asked: Option<Instant>,
    /// When it was asked for last, in vain.
    in_vain: Option<Instant>,
}

impl Erased {
    /// As a block begins: what was erased, the first time and whenever that has changed. Blocking.
    ///
    /// # Errors
    /// When Kafka does not say, and has not said for half a minute.
    pub(crate) fn news(&mut self, cluster: &Cluster, reader: &LaneReader) -> Result<Option<Vec<Erasure>>, End> {
        let now = Instant::now();
        let is_known = !is_older(self.asked, STALE, now);
        if !is_older(self.asked, FRESH, now) || is_known && !is_older(self.in_vain, FRESH, now) {
            return Ok(None);
        }
        match self.ask(cluster, reader) {
            // The leader of `control` alone may be away: what was known a moment ago holds until rows go in.
            Err(error) if is_known => {
                tracing::debug!(service = SERVICE, ?error, "what was erased is not known anew yet");
                self.in_vain = Some(Instant::now());
                Ok(None)
            }
            asked => asked,
        }
    }

    /// What was erased, as far as is known.
    pub(crate) fn known(&self) -> &[Erasure] {
        self.known.known()
    }

    /// Before rows go in: that nothing was erased since they were made. Blocking.
    ///
    /// # Errors
    /// When something was, or Kafka does not say: the lane is opened again, and makes the block anew.
    pub(crate) fn still_holds(&mut self, cluster: &Cluster, reader: &LaneReader) -> Result<(), End> {
        if is_older(self.asked, STALE, Instant::now()) && self.ask(cluster, reader)?.is_some() {
            let why = "an erasure was noted while a block waited: its rows are made again without what was erased";
            return Err(End::Retry(why.to_owned()));
        }
        Ok(())
    }

    fn ask(&mut self, cluster: &Cluster, reader: &LaneReader) -> Result<Option<Vec<Erasure>>, End> {
        let asked = Instant::now();
        let unknown = |error: &dyn std::fmt::Display| End::Retry(format!("what was erased cannot be read: {error}"));
        let end = reader.ask_end_of(Topic::Control, 0, PATIENCE).map_err(|error| unknown(&error))?;
        let news = self.known.follow(cluster, end).map_err(|error| unknown(&error))?.map(<[Erasure]>::to_vec);
        self.asked = Some(asked);
        Ok(news)
    }
}

/// Whether that was so long ago, or never.
fn is_older(moment: Option<Instant>, than: Duration, now: Instant) -> bool {
    moment.is_none_or(|moment| now.saturating_duration_since(moment) >= than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_asks_again_what_was_erased_however_long_it_is_open() {
        let now = Instant::now();
        assert!(is_older(None, FRESH, now) && is_older(None, STALE, now), "nothing was asked yet");
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(
            [0, 4, 5, 6, 3_600].map(|after| is_older(Some(now), FRESH, later(after))),
            [false, false, true, true, true]
        );
        assert_eq!([0, 6, 29, 30].map(|after| is_older(Some(now), STALE, later(after))), [false, false, false, true]);
    }
}
