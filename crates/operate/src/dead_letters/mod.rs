//! Dead letters, and what is done about them.

pub mod body;
pub mod discard;
mod plan;
pub mod redrive;
mod tally;

use std::collections::BTreeMap;

use event::Millis;
use kafka::control::Control;
use serde::Serialize;
use warehouse::{DeadLetterFilter, DeadLetterGroup, DeadLetterRow, DecisionGroup, Warehouse};

use crate::error::refuse_unless;
use crate::{Installation, Report, Result};
use body::DeadLetterBody;

/// How many dead letters there are.
#[derive(Debug, Clone, Serialize)]
pub struct ListReport {
    /// Whether none is open.
    pub ok: bool,
    /// How many are open.
    pub open: u64,
    /// By source, stage and reason.
    pub groups: Vec<DeadLetterGroup>,
}

impl Report for ListReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Counts dead letters.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn list(installation: &Installation, filter: &DeadLetterFilter) -> Result<ListReport> {
    let groups = installation.connect().await?.dead_letter_groups(filter).await?;
    let open = groups.iter().map(|group| group.open).sum();
    Ok(ListReport { ok: open == 0, open, groups })
}

/// How many dead letters of a filter are open, and how many of them a redrive reaches: not those of topics that Kafka
/// no longer has.
///
/// # Errors
/// When an engine fails.
pub async fn open(installation: &Installation, filter: &DeadLetterFilter) -> Result<Open> {
    let all = list(installation, filter).await?.open;
    let (filter, _control) = current(installation, filter.clone()).await?;
    Ok(Open { all, within_reach: list(installation, &filter).await?.open })
}

/// Open dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// All of them.
    pub all: u64,
    /// Those that a redrive reaches.
    pub within_reach: u64,
}

/// What was decided about dead letters, the newest first: what one person decided for one reason is one.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn decisions(installation: &Installation, most: u64) -> Result<Vec<DecisionGroup>> {
    Ok(installation.connect().await?.dead_letter_decisions(most).await?)
}

/// Dead letters with their bytes.
#[derive(Debug, Clone, Serialize)]
pub struct ShowReport {
    /// Whether there are any.
    pub ok: bool,
    /// Where personal data may be.
    pub personal_data: &'static str,
    /// The oldest first.
    pub letters: Vec<Shown>,
}

/// A dead letter.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// What ClickHouse knows of it.
    pub row: DeadLetterRow,
    /// How long its body is; this and all below is `None` when the topic no longer holds it.
    pub bytes: Option<usize>,
    /// What came beside the body; bytes that are no UTF-8 are replaced.
    pub headers: Option<BTreeMap<String, String>>,
    /// The body, if it is UTF-8.
    pub body: Option<String>,
    /// The body in hexadecimal, if it is not.
    pub body_hex: Option<String>,
    /// All of it as it came.
    #[serde(skip)]
    pub letter: Option<DeadLetterBody>,
}

impl Report for ShowReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Shows the bytes of dead letters as they came. They may hold personal data.
///
/// # Errors
/// When an engine fails.
pub async fn show(installation: &Installation, filter: DeadLetterFilter, limit: u64) -> Result<ShowReport> {
    let warehouse = installation.connect().await?;
    let (filter, _control) = current(installation, filter).await?;
    let rows = warehouse.dead_letters(&filter, 0, limit).await?;
    let mut bodies = body::fetch(installation, &rows).await?;
    let shown = |row: DeadLetterRow| Shown::new(bodies.remove(&(row.lane, row.raw_offset)), row);
    let letters: Vec<Shown> = rows.into_iter().map(shown).collect();
    Ok(ShowReport { ok: !letters.is_empty(), personal_data: "may be in body and headers", letters })
}

impl Shown {
    /// A dead letter, with its bytes if there are any.
    #[must_use]
    pub fn new(letter: Option<DeadLetterBody>, row: DeadLetterRow) -> Self {
        let text = letter.as_ref().map(|letter| std::str::from_utf8(&letter.body));
        let headers = |letter: &DeadLetterBody| {
            let pairs = letter.headers();
            pairs.map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned())).collect()
        };
        Self {
            bytes: letter.as_ref().map(|letter| letter.body.len()),
            headers: letter.as_ref().map(headers),
            body: text.and_then(Result::ok).map(str::to_owned),
            body_hex: letter.as_ref().filter(|_| matches!(text, Some(Err(_)))).map(|letter| hex(&letter.body)),
            row,
            letter,
        }
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When something is decided about a dead letter: now, and in any case after what was noted about it before, since the
/// newest counts.
fn after(noted: i64, now: Millis) -> Millis {
    Millis(now.0.max(noted + 1))
}

/// Refuses to change everything there is because nothing was said.
///
/// # Errors
/// When neither a filter nor `all` is given, or both are.
pub fn is_said(filter: &DeadLetterFilter, all: bool) -> Result<()> {
    let said = *filter != DeadLetterFilter::default();
    refuse_unless!(!(all && said), "--all and a filter contradict each other: leave one of them out");
    refuse_unless!(
        all || said,
        "say which dead letters: --source, --stage, --reason, --since, --until, --lane, --offset, --receipt, or --all"
    );
    Ok(())
}

/// The next dead letters of a filter, in steps that fit into memory.
struct Pages {
    filter: DeadLetterFilter,
    /// How many are taken at once.
    page: u64,
    /// How many were taken, and how many may be.
    taken: u64,
    limit: u64,
}

impl Pages {
    fn new(filter: DeadLetterFilter, page: u64, limit: u64) -> Self {
        Self { filter, page, taken: 0, limit }
    }

    /// The next ones; `skip` of those that match now were looked at before and still match.
    async fn next(&mut self, warehouse: &Warehouse, skip: u64) -> Result<Vec<DeadLetterRow>> {
        let page = self.page.min(self.limit - self.taken);
        if page == 0 {
            return Ok(Vec::new());
        }
        let rows = warehouse.dead_letters(&self.filter, skip, page).await?;
        self.taken += rows.len() as u64;
        Ok(rows)
    }
}

/// The filter for the life of the topics that Kafka holds now: older dead letters have no bytes.
async fn current(installation: &Installation, filter: DeadLetterFilter) -> Result<(DeadLetterFilter, Control)> {
    let control = installation.identity().await?;
    refuse_unless!(control.lanes > 0, "the identity on the topic control names no lane");
    Ok((DeadLetterFilter { incarnation: Some(control.incarnation.clone()), ..filter }, control))
}
