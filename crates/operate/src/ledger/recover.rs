//! Positions that are not where they belong, found again or moved past what is gone.

use std::ops::Range;

use event::wire::Ids;
use event::{Millis, Progress};
use process::gap;
use report::recovery::{self, Facts, Fault};
use report::standing::Held;
use serde::Serialize;
use warehouse::Warehouse;

use super::accept_loss::new_losses;
use crate::error::{refuse, refuse_unless};
use crate::{Error, Installation, OffsetRange, Report, Result, blocking, clock};

/// How often a lane is looked at whose position moves meanwhile.
const LOOKS: usize = 5;

/// Who mends positions, and why.
#[derive(Debug, Clone)]
pub struct Word {
    /// Who says so.
    pub who: String,
    /// How it came about; it stays in the ledger.
    pub why: String,
}

/// What to do about positions that are wrong.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Only say which they are.
    Look,
    /// Put them where they belong. Where records are lost, nothing is changed unless it is known who acknowledges that and why;
    /// the error says how to tell.
    Apply(Result<Word, String>),
}

/// The positions of an installation.
#[derive(Debug, Clone, Serialize)]
pub struct RecoverReport {
    /// Whether every position is where it belongs now.
    pub ok: bool,
    /// Whether positions were to be moved.
    pub applied: bool,
    /// Each lane that was looked at.
    pub lanes: Vec<LaneRecovery>,
}

/// The positions of one lane.
#[derive(Debug, Clone, Serialize)]
pub struct LaneRecovery {
    /// The lane.
    pub lane: u16,
    /// What `process` will never see, if there is such a thing.
    pub process: Option<Gap>,
    /// What is wrong with the position of `report`, if anything is.
    pub report: Option<Misplaced>,
}

/// Records of `raw` that were deleted before they were processed.
#[derive(Debug, Clone, Serialize)]
pub struct Gap {
    /// Which.
    pub lost: Vec<OffsetRange>,
}

/// A position that is not where it belongs.
#[derive(Debug, Clone, Serialize)]
pub struct Misplaced {
    /// What is wrong, in words.
    pub fault: &'static str,
    /// Where it was.
    pub from: Option<i64>,
    /// Where it belongs.
    pub to: Option<i64>,
    /// The raw offset up to which rows are settled then.
    pub settled: Option<u64>,
    /// Rows that are neither there nor in `events` any more; `raw` may hold them.
    pub to_replay: Option<Vec<OffsetRange>>,
}

impl LaneRecovery {
    /// Whether its positions were where they belong.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.process.is_none() && self.report.is_none()
    }
}

impl Report for RecoverReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Looks at the positions of all lanes or of one, and puts them where they belong if that was asked for.
///
/// # Errors
/// When the lane does not exist, records are lost and nobody says so, or an engine fails.
pub async fn recover(installation: &Installation, lane: Option<u16>, mode: Mode) -> Result<RecoverReport> {
    let warehouse = installation.connect().await?;
    let control = installation.identity().await?;
    let lanes = match lane {
        Some(lane) => {
            let last = control.lanes - 1;
            refuse_unless!(lane <= last, "there is no lane {lane}: the lanes are 0 to {last}");
            vec![lane]
        }
        None => (0..control.lanes).collect(),
    };
    let ids = installation.schemas().await?;
    let run = Run { installation, warehouse: &warehouse, incarnation: &control.incarnation, ids };
    let mut found = Vec::new();
    for lane in lanes {
        found.push(run.look(lane).await?);
    }
    let applied = matches!(mode, Mode::Apply(_));
    if let Mode::Apply(word) = mode {
        let lost = found.iter().any(|lane| lane.gap.is_some());
        let word = if lost { Some(word.map_err(Error::Refused)?) } else { None };
        for lane in &found {
            run.mend(lane, word.as_ref()).await?;
        }
    }
    let lanes: Vec<LaneRecovery> = found.into_iter().map(Lane::report).collect();
    Ok(RecoverReport { ok: applied || lanes.iter().all(LaneRecovery::is_fine), applied, lanes })
}

/// What was found about a lane.
struct Lane {
    lane: u16,
    /// What `process` will never see.
    gap: Option<Range<u64>>,
    /// What is wrong with the position of `report`.
    fault: Option<Fault>,
    /// Where it is, and where it belongs.
    from: Option<i64>,
    to: Option<(i64, Progress)>,
    /// Rows that are neither there nor in `events` any more; `raw` may hold them.
    replay: Option<Range<u64>>,
}

impl Lane {
    fn report(self) -> LaneRecovery {
        let Self { lane, gap, fault, from, to, replay } = self;
        LaneRecovery {
            lane,
            process: gap.map(|gap| Gap { lost: vec![OffsetRange(gap)] }),
            report: fault.map(|fault| Misplaced {
                fault: fault.words(),
                from,
                to: to.map(|(position, _)| position),
                settled: to.map(|(_, progress)| progress.raw_hi),
                to_replay: replay.map(|range| vec![OffsetRange(range)]),
            }),
        }
    }
}

impl Lane {
    /// Whether what was found still holds, where the position of `report` is this one after the look.
    fn holds(&self, position: Option<i64>) -> bool {
        self.fault.is_none() || self.from == position
    }
}

/// What was passed over, and was not said to be lost before.
fn beyond(said: &Range<u64>, passed: Option<Range<u64>>) -> Option<Range<u64>> {
    passed.filter(|passed| passed.start < said.start || said.end < passed.end)
}

struct Run<'r> {
    installation: &'r Installation,
    warehouse: &'r Warehouse,
    incarnation: &'r str,
    ids: Ids,
}

impl Run<'_> {
    /// Looks at a lane. Its owner may be at work meanwhile, so that its rows are later than its position: a fault
    /// counts where the position is still the same after the look.
    async fn look(&self, lane: u16) -> Result<Lane> {
        for _ in 0..LOOKS {
            let found = self.look_once(lane).await?;
            let cluster = self.installation.cluster.clone();
            let again = match found.fault {
                Some(_) => blocking(move || Ok(recovery::located(&cluster, lane)?.0)).await?,
                None => None,
            };
            if found.holds(again.map(|committed| committed.next)) {
                return Ok(found);
            }
        }
        refuse!(
            "the position of report in lane {lane} moves while it is looked at: a service reports the lane. Nothing was changed; if \
             `hookline status` says that the lane stands still, do the same again"
        )
    }

    async fn look_once(&self, lane: u16) -> Result<Lane> {
        let cluster = self.installation.cluster.clone();
        let (processed, (committed, log)) =
            blocking(move || Ok((gap::find(&cluster, lane)?, recovery::located(&cluster, lane)?))).await?;
        let blocks = self.warehouse.blocks();
        let raw_end = blocks.max_offset(self.incarnation, lane).await?.map_or(0, |last| last + 1);
        let lost = self.warehouse.losses(self.incarnation).await?.into_iter().filter(|loss| loss.lane == lane);
        let lost = lost.map(|loss| loss.first_offset..loss.last_offset + 1).collect();
        let held = Held { raw_end, lost, ..Held::default() };
        let position = committed.as_ref().map_or(0, |committed| committed.next);
        let beyond = blocks.rows_beyond(self.incarnation, lane, position.unsigned_abs()).await?;
        let from = committed.as_ref().map(|committed| committed.next);
        let facts = Facts { committed, log, held, blocks_beyond: beyond.len().saturating_sub(1) };
        let fault = facts.fault();
        let (mut to, mut replay) = (None, None);
        if fault.is_some() {
            let last_cut = blocks.max_cut(self.incarnation, lane).await?;
            let empty = processed.carried.map_or_else(Progress::default, |carried| Progress {
                raw_hi: carried.seen.raw_hi,
                watermark: Millis(carried.watermark_ms),
            });
            let (cluster, held, ids) = (self.installation.cluster.clone(), facts.held.clone(), self.ids);
            let at = blocking(move || Ok(recovery::find(&cluster, &ids, lane, log, &held, last_cut, empty)?)).await?;
            replay = Some(facts.held.accounted_for()..at.1.raw_hi).filter(|range| !range.is_empty());
            to = Some(at);
        }
        Ok(Lane { lane, gap: processed.gap, fault, from, to, replay })
    }

    /// Puts the positions of a lane where they belong. `word` is who says that records are lost, and why.
    async fn mend(&self, found: &Lane, word: Option<&Word>) -> Result<()> {
        let lane = found.lane;
        if let (Some(gap), Some(Word { who, why })) = (&found.gap, word) {
            // First the word, then the deed: what is passed over was said to be lost before.
            let lost = new_losses(self.warehouse, self.incarnation, lane, gap.clone()).await?;
            self.warehouse.acknowledge_loss(self.incarnation, lane, &lost, clock::now(), who, why).await?;
            let cluster = self.installation.cluster.clone();
            let passed = blocking(move || Ok(gap::bridge(&cluster, lane)?)).await?;
            // Kafka may have deleted more since.
            if let Some(more) = beyond(gap, passed) {
                let lost = new_losses(self.warehouse, self.incarnation, lane, more).await?;
                self.warehouse.acknowledge_loss(self.incarnation, lane, &lost, clock::now(), who, why).await?;
            }
        }
        if let Some(to) = found.to {
            let (cluster, from) = (self.installation.cluster.clone(), found.from);
            blocking(move || Ok(recovery::move_to(&cluster, lane, from, to)?)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(fault: Option<Fault>) -> Lane {
        Lane { lane: 3, gap: None, fault, from: Some(40), to: None, replay: None }
    }

    #[test]
    fn a_lane_that_goes_on_while_it_is_looked_at_was_not_moved_back() {
        let found = lane(Some(Fault::MovedBack));
        assert!(found.holds(Some(40)));
        assert!(!found.holds(Some(90)) && !found.holds(None), "its rows were asked for later than its position");
        assert!(lane(None).holds(Some(90)), "where nothing is wrong there is nothing to be sure of");
    }

    #[test]
    fn what_was_passed_over_beyond_what_was_said_is_told() {
        assert_eq!((beyond(&(10..25), None), beyond(&(10..25), Some(10..25))), (None, None));
        assert_eq!(beyond(&(10..25), Some(10..40)), Some(10..40));
    }
}
