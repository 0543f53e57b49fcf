//! What is gone for good, acknowledged by a person.

use std::ops::Range;

use serde::Serialize;
use warehouse::Warehouse;

use super::raw;
use crate::error::{refuse, refuse_unless};
use crate::offsets::{self, OffsetRange, without};
use crate::{Installation, Report, Result, clock};

/// Who acknowledges a loss, and how it came about.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    /// Who says so.
    pub who: String,
    /// How it came about; it stays in the ledger.
    pub why: String,
    /// Whether to say only what would be written down.
    pub dry_run: bool,
}

/// Records that were acknowledged as lost.
#[derive(Debug, Clone, Serialize)]
pub struct AcceptLossReport {
    /// Always true: what fails is an error.
    pub ok: bool,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// The lane.
    pub lane: u16,
    /// How many records are lost that were not acknowledged before.
    pub records: u64,
    /// Which.
    pub lost: Vec<OffsetRange>,
    /// Who said so.
    #[serde(skip)]
    pub who: String,
    /// How it came about.
    #[serde(skip)]
    pub why: String,
}

impl Report for AcceptLossReport {}

/// Writes down that records of a lane are gone for good, so that the ledger counts them as lost and lanes go on after them.
///
/// # Errors
/// When `raw` still holds some of them, or an engine fails.
pub async fn of_records(
    installation: &Installation,
    lane: u16,
    asked: OffsetRange,
    word: Acknowledgement,
) -> Result<AcceptLossReport> {
    let warehouse = installation.connect().await?;
    let control = installation.identity().await?;
    refuse_unless!(lane < control.lanes, "there is no lane {lane}: the lanes are 0 to {}", control.lanes - 1);
    let kept = raw::kept(&installation.cluster, control.lanes).await?;
    let low = kept.get(&lane).map_or(0, |kept| kept.from);
    if asked.0.end > low {
        refuse!(
            "raw still holds records of lane {lane} from {low} on, so they are not lost: bring them in with `hookline replay {} \
             --lane {lane} --from {} --to {} --apply`",
            installation.flag(),
            asked.first().max(low),
            asked.last()
        );
    }
    let lost = new_losses(&warehouse, &control.incarnation, lane, asked.0).await?;
    let Acknowledgement { who, why, dry_run } = word;
    if !dry_run {
        warehouse.acknowledge_loss(&control.incarnation, lane, &lost, clock::now(), &who, &why).await?;
    }
    let lost = offsets::ranges(&lost);
    Ok(AcceptLossReport { ok: true, dry_run, lane, records: offsets::total(&lost), lost, who, why })
}

/// What of a range of a lane has no row and was not acknowledged as lost before.
pub(super) async fn new_losses(
    warehouse: &Warehouse,
    incarnation: &str,
    lane: u16,
    asked: Range<u64>,
) -> Result<Vec<Range<u64>>> {
    let known = warehouse.losses(incarnation).await?;
    let known: Vec<Range<u64>> = known
        .into_iter()
        .filter(|loss| loss.lane == lane)
        .map(|loss| loss.first_offset..loss.last_offset + 1)
        .collect();
    let present = warehouse.blocks().present(incarnation, lane, asked.clone(), None).await?;
    // Only what has no row is lost, and only what was not said before is new.
    let mut lost = without(asked, &warehouse::ranges(present));
    for range in &known {
        lost = lost.into_iter().flat_map(|part| without(part, std::slice::from_ref(range))).collect();
    }
    Ok(lost)
}

/// An earlier life of the topics that was declared over.
#[derive(Debug, Clone, Serialize)]
pub struct EndLifeReport {
    /// Always true: what fails is an error.
    pub ok: bool,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// The life.
    pub life: String,
    /// Its rows, which stay.
    pub records: u64,
    /// Whether it was declared over before.
    pub ended_before: bool,
    /// Who said so.
    #[serde(skip)]
    pub who: String,
    /// How it came about.
    #[serde(skip)]
    pub why: String,
}

impl Report for EndLifeReport {}

/// Writes down that an earlier life of the topics is over: what it had accepted beyond its rows is lost.
///
/// # Errors
/// When the life is the current one or unknown, or an engine fails.
pub async fn of_life(installation: &Installation, life: &str, word: Acknowledgement) -> Result<EndLifeReport> {
    let warehouse = installation.connect().await?;
    let current = installation.identity().await?.incarnation;
    refuse_unless!(
        life != current,
        "{life} is the life of the topics that are there: `hookline ledger start-anew` ends it"
    );
    let lives = warehouse.lives().await?;
    let Some(found) = lives.iter().find(|known| known.incarnation == life) else {
        refuse!("ClickHouse has no row of a life {life}");
    };
    let ended_before = warehouse.ended_lives().await?.iter().any(|ended| ended == life);
    let Acknowledgement { who, why, dry_run } = word;
    if !dry_run && !ended_before {
        warehouse.end_life(life, clock::now(), &who, &why).await?;
    }
    Ok(EndLifeReport { ok: true, dry_run, life: life.to_owned(), records: found.records, ended_before, who, why })
}
