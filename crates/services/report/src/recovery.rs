//! Finding the position of a lane again, by the rows that ClickHouse has and the cuts that `events` has.
//!
//! For the operator's `hookline ledger recover`: no lane moves its own position by itself. Where the lane then goes on, the block
//! after the position is uncertain like any first one, so it is read back by offset and only what is missing goes in.

use event::raw::CLOCK_TRUST_MS;
use event::wire::Ids;
use event::{Cut, LinkEvent, Millis, Progress};
use kafka::lane::{End, Fence, PATIENCE, Position, TRANSACTION_TIMEOUT, Writes, read_all_committed};
use kafka::positions::{Committed, Positions, Range};
use kafka::{Cluster, Topic};
use runtime::HaltReason;

use crate::SERVICE;
use crate::standing::{GROUP, Held};

/// What is known of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The committed position, if there is one.
    pub committed: Option<Committed>,
    /// What `events` keeps.
    pub log: Range,
    /// What ClickHouse has of the lane.
    pub held: Held,
    /// Blocks that have rows at or beyond the position, but for the first.
    pub blocks_beyond: usize,
}

/// Why a position is not where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is none, or one that this version does not read, and the lane has rows or a log that begins late.
    Lost,
    /// `events` no longer has it: records were deleted before they were read.
    Overtaken,
    /// `events` ends before it.
    Ahead,
    /// ClickHouse has later blocks.
    MovedBack,
    /// ClickHouse no longer has what is before it.
    RowsGone,
}

impl Fault {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Fault::Lost => "the position is lost, and the lane was reported before",
            Fault::Overtaken => "events was deleted before it was reported",
            Fault::Ahead => "the position is beyond the end of events",
            Fault::MovedBack => "the position was moved back: ClickHouse has later blocks",
            Fault::RowsGone => "rows before the position are gone from ClickHouse",
        }
    }
}

impl Facts {
    /// What is wrong with the position, if anything is.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let known = self.committed.as_ref().and_then(|at| Some((at.next, at.metadata.parse::<Progress>().ok()?)));
        let Some((next, progress)) = known else {
            let never = self.committed.is_none() && self.held.raw_end == 0 && self.log.low == 0;
            return (!never).then_some(Fault::Lost);
        };
        if next < self.log.low {
            Some(Fault::Overtaken)
        } else if next > self.log.end {
            Some(Fault::Ahead)
        } else if self.blocks_beyond > 0 {
            Some(Fault::MovedBack)
        } else if self.held.accounted_for() < progress.raw_hi && next > self.log.low {
            Some(Fault::RowsGone)
        } else {
            None
        }
    }
}

/// A record of `events`, as far as a search looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An event.
    Event {
        /// Its raw offset.
        raw: u64,
        /// When it was received, milliseconds since 1970.
        received_at: i64,
    },
    /// A cut.
    Cut(Cut),
}

/// Goes through what `events` keeps of a lane, and finds where `report` is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// One past the last raw offset that ClickHouse accounts for.
    accounted: u64,
    found: Option<(i64, Progress)>,
    /// Where the search began, and the first raw offset that was seen.
    start: i64,
    first: Option<Progress>,
}

impl Search {
    /// A search over a log that begins at `low`.
    #[must_use]
    pub fn new(low: i64, accounted: u64) -> Self {
        Self { accounted, found: None, start: low, first: None }
    }

    /// Takes the next record.
    pub fn see(&mut self, offset: i64, seen: Seen) {
        match seen {
            // No later record was received longer before this one than ingest's clock is trusted.
            Seen::Event { raw, received_at } => {
                let watermark = Millis(received_at.saturating_sub(CLOCK_TRUST_MS));
                self.first.get_or_insert(Progress { raw_hi: raw, watermark });
            }
            // The last block that ClickHouse has may be there in part: the position is before it, so that it is read back.
            Seen::Cut(cut) if cut.raw_hi < self.accounted => {
                self.found = Some((offset + 1, progress(&cut)));
                self.first.get_or_insert(progress(&cut));
            }
            Seen::Cut(cut) => {
                self.first.get_or_insert(progress(&cut));
            }
        }
    }

    /// Where to go on. `empty` is what to say if nothing is kept: how far the lane was processed.
    #[must_use]
    pub fn position(&self, empty: Progress) -> (i64, Progress) {
        self.found.unwrap_or((self.start, self.first.unwrap_or(empty)))
    }
}

fn progress(cut: &Cut) -> Progress {
    Progress { raw_hi: cut.raw_hi, watermark: cut.watermark }
}

/// Reads the committed position of a lane and what `events` keeps. Blocking.
///
/// # Errors
/// When the broker does not answer.
pub fn located(cluster: &Cluster, lane: u16) -> Result<(Option<Committed>, Range), End> {
    let positions = Positions::open(cluster, GROUP, PATIENCE)?;
    Ok((positions.last_committed(Topic::Events, lane)?, positions.stable(Topic::Events, lane)?))
}

/// Finds where a lane is to go on, given what ClickHouse has of it. Reads what `events` keeps of the lane. Blocking.
///
/// # Errors
/// When `events` cannot be read, or is not the topic that the rows came from: their last block ends at `last_cut`.
pub fn find(
    cluster: &Cluster,
    ids: &Ids,
    lane: u16,
    log: Range,
    held: &Held,
    last_cut: Option<u64>,
    empty: Progress,
) -> Result<(i64, Progress), End> {
    let last_cut = last_cut.filter(|cut| *cut > 0).map(|cut| cut as i64);
    let mut cut_is_there = last_cut.is_none_or(|cut| cut < log.low);
    let mut search = Search::new(log.low, held.accounted_for());
    read_all_committed(cluster, Topic::Events, lane, Some(log.low), None, |record| {
        let unreadable = || {
            End::halt(
                HaltReason::UndecodableEvent,
                format!("events/{lane} at offset {} is unreadable", record.offset()),
            )
        };
        let seen = match record.payload() {
            Some(value) => {
                let event = LinkEvent::from_wire(ids, value).map_err(|_| unreadable())?;
                Seen::Event { raw: event.raw_offset, received_at: event.received_at.0 }
            }
            None => Seen::Cut(Cut::from_headers(record.headers().iter()).ok_or_else(unreadable)?),
        };
        cut_is_there |= matches!(seen, Seen::Cut(_)) && last_cut == Some(record.offset());
        search.see(record.offset(), seen);
        Ok(())
    })?;
    if !cut_is_there {
        return Err(End::halt(
            HaltReason::EventsReplaced,
            format!(
                "ClickHouse has a block of lane {lane} that ends at offset {} of events, and there is no cut there: {} was deleted and made \
                 again. Its blocks would be taken for others that ClickHouse has; `hookline ledger start-anew` says what is lost, and begins a \
                 new life of the topics",
                last_cut.unwrap_or_default(),
                Topic::Events
            ),
        ));
    }
    // Nothing kept: the position is the end, where the next record comes.
    let (position, progress) = search.position(empty);
    Ok((if search.first.is_none() { log.end } else { position }, progress))
}

/// Moves a lane's position, under its fence: a running owner ends, and opens the lane again there. `from` is where it
/// was when that was found to be wrong. Blocking.
///
/// # Errors
/// When the position is another one by now, the fence is not taken or the commit fails: nothing was moved, or it is
/// unknown, and the same can be done again.
pub fn move_to(cluster: &Cluster, lane: u16, from: Option<i64>, to: (i64, Progress)) -> Result<(), End> {
    let (position, progress) = to;
    let mut producer = Fence::open(cluster, SERVICE, lane, TRANSACTION_TIMEOUT, Writes::nothing().positions(GROUP))?;
    let committed = Positions::open(cluster, GROUP, PATIENCE)?.committed_behind_fence(Topic::Events, lane)?;
    if committed.map(|committed| committed.next) != from {
        return Err(End::Retry(format!(
            "the position of {GROUP} in lane {lane} has moved since it was looked at, so a service reports the lane; nothing was moved: \
             look again"
        )));
    }
    producer.begin()?;
    let position = Position { topic: Topic::Events, partition: lane, next: position, metadata: progress.to_string() };
    producer.commit(GROUP, &[position])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(committed: Option<(i64, u64)>, raw_end: u64, blocks_beyond: usize) -> Facts {
        let committed = committed
            .map(|(next, raw_hi)| Committed { next, metadata: Progress { raw_hi, watermark: Millis(5) }.to_string() });
        let held = Held { raw_end, ..Held::default() };
        Facts { committed, log: Range { low: 10, end: 90 }, held, blocks_beyond }
    }

    #[test]
    fn a_position_is_faulty_where_the_log_or_the_rows_say_otherwise() {
        assert_eq!(facts(Some((20, 15)), 15, 0).fault(), None);
        assert_eq!(facts(None, 0, 0).fault(), Some(Fault::Lost), "the log begins late");
        assert_eq!(facts(None, 7, 0).fault(), Some(Fault::Lost));
        assert_eq!(facts(Some((9, 15)), 15, 0).fault(), Some(Fault::Overtaken));
        assert_eq!(facts(Some((91, 15)), 15, 0).fault(), Some(Fault::Ahead));
        assert_eq!(facts(Some((20, 15)), 30, 1).fault(), Some(Fault::MovedBack));
        assert_eq!(facts(Some((20, 15)), 14, 0).fault(), Some(Fault::RowsGone));
        assert_eq!(facts(Some((10, 15)), 14, 0).fault(), None, "there is nothing to go back to");
        let fresh = Facts { log: Range { low: 0, end: 0 }, ..facts(None, 0, 0) };
        assert_eq!(fresh.fault(), None);
        let torn = Facts { committed: Some(Committed { next: 20, metadata: String::new() }), ..fresh };
        assert_eq!(torn.fault(), Some(Fault::Lost));
    }

    /// Blocks of so many rows each, as a log that begins at `low`.
    fn log(blocks: &[u64], low: i64) -> Vec<(i64, Seen)> {
        let (mut offset, mut raw) = (0, 0);
        let mut all = Vec::new();
        for rows in blocks {
            for _ in 0..*rows {
                all.push((offset, Seen::Event { raw, received_at: 0 }));
                (offset, raw) = (offset + 1, raw + 1);
            }
            all.push((offset, Seen::Cut(Cut { raw_hi: raw, watermark: Millis(offset) })));
            offset += 2;
        }
        all.into_iter().filter(|(offset, _)| *offset >= low).collect()
    }

    proptest! {
        /// What lies before the position that is found is in ClickHouse or no longer in events; and of what it has, at most one block
        /// comes again whole.
        #[test]
        fn nothing_that_is_still_in_events_is_passed_over(
            blocks in proptest::collection::vec(1_u64..6, 1..8), low in 0_i64..40, accounted in 0_u64..45
        ) {
            let log = log(&blocks, low);
            let mut search = Search::new(low, accounted);
            log.iter().for_each(|(offset, seen)| search.see(*offset, *seen));
            let (position, progress) = search.position(Progress { raw_hi: 99, watermark: Millis(9) });
            for (offset, seen) in &log {
                let Seen::Event { raw, .. } = seen else { continue };
                if *offset < position {
                    prop_assert!(*raw < accounted && *raw < progress.raw_hi);
                } else {
                    prop_assert!(*raw >= progress.raw_hi);
                }
            }
            let again = log.iter().filter(|(offset, seen)| *offset >= position && matches!(seen, Seen::Cut(cut) if cut.raw_hi < accounted));
            prop_assert_eq!(again.count(), 0);
            if log.is_empty() {
                prop_assert_eq!(progress.raw_hi, 99);
            }
        }
    }
}
