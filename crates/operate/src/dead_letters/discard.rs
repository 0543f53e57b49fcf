//! Dead letters that will not be counted, by a person's decision.

use std::collections::BTreeMap;

use event::Millis;
use serde::Serialize;
use warehouse::{DeadLetterFilter, DeadLetterState, Decided, Decision};

use super::{Pages, after, is_said};
use crate::error::During;
use crate::{Installation, Report, Result, clock};

/// Decisions that are written at once.
const PAGE: u64 = 5_000;

/// A decision to give dead letters up.
#[derive(Debug, Clone)]
pub struct Discard {
    /// Which dead letters; its state does not count.
    pub filter: DeadLetterFilter,
    /// Whether all of them are meant, so that the filter names none.
    pub all: bool,
    /// Who decides. Empty for a dry run.
    pub who: String,
    /// Why; it stays beside each of them.
    pub why: String,
    /// So many at most, the oldest first.
    pub limit: u64,
    /// Whether to say only how many.
    pub dry_run: bool,
}

/// What was given up.
#[derive(Debug, Clone, Serialize)]
pub struct DiscardReport {
    /// Always true: what fails is an error.
    pub ok: bool,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// How many dead letters.
    pub discarded: u64,
    /// Who decided.
    #[serde(skip)]
    pub who: String,
    /// Why.
    #[serde(skip)]
    pub why: String,
}

impl Report for DiscardReport {}

/// The dead letters that are open and were received by `now`: a letter that comes while this runs was not looked at.
fn meant(filter: &DeadLetterFilter, now: Millis) -> DeadLetterFilter {
    let until = filter.until.map_or(now.0, |until| until.min(now.0));
    DeadLetterFilter { state: Some(DeadLetterState::Open), until: Some(until), ..filter.clone() }
}

/// Decides that dead letters will not be counted.
///
/// # Errors
/// When nothing was said about which, or ClickHouse fails: what was decided before that stays, and the same again goes
/// on.
pub async fn discard(installation: &Installation, request: &Discard) -> Result<DiscardReport> {
    is_said(&request.filter, request.all)?;
    let warehouse = installation.connect().await?;
    let (mut discarded, now) = (0, clock::now());
    let mut pages = Pages::new(meant(&request.filter, now), PAGE, request.limit);
    loop {
        // What was discarded no longer matches, so the next ones stand first.
        let rows = match request.dry_run {
            true => pages.next(&warehouse, discarded).await?,
            false => pages.next(&warehouse, 0).await.during(|| cut_short(discarded))?,
        };
        if rows.is_empty() {
            break;
        }
        if request.dry_run {
            discarded += rows.len() as u64;
            continue;
        }
        let mut by_incarnation = BTreeMap::<&str, Vec<Decision>>::new();
        for row in &rows {
            by_incarnation.entry(row.incarnation.as_str()).or_default().push(Decision {
                lane: row.lane,
                raw_offset: row.raw_offset,
                decided: Decided::Discarded,
                at: after(row.decided_at, now),
                who: request.who.clone(),
                why: request.why.clone(),
            });
        }
        for (incarnation, decisions) in by_incarnation {
            warehouse.decide(incarnation, &decisions).await.during(|| cut_short(discarded))?;
        }
        discarded += rows.len() as u64;
    }
    let (who, why) = (request.who.clone(), request.why.clone());
    Ok(DiscardReport { ok: true, dry_run: request.dry_run, discarded, who, why })
}

fn cut_short(discarded: u64) -> String {
    format!("{discarded} dead letters were discarded, and of the others some may be: the same again goes on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_comes_while_letters_are_discarded_is_not_meant() {
        let until = |asked| {
            let filter = DeadLetterFilter { until: asked, ..DeadLetterFilter::default() };
            meant(&filter, Millis(50)).until
        };
        assert_eq!((until(None), until(Some(70)), until(Some(30))), (Some(50), Some(50), Some(30)));
    }
}
