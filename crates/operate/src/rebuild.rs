//! The closed reports of one day, held against their rows and computed again.

use jiff::civil::Date;
use serde::Serialize;
use warehouse::{DayCompared, REPORTS, Side};

use crate::error::{refuse, refuse_unless};
use crate::{Installation, Report, Result};

/// A day that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The day (UTC).
    pub day: Date,
    /// The only report; `None`: all.
    pub report: Option<String>,
    /// Whether to compute again what differs, or only to say it.
    pub apply: bool,
}

/// The reports of a day.
#[derive(Debug, Clone, Serialize)]
pub struct RebuildReport {
    /// Whether each closed report says what its rows say, as far as these can tell.
    pub ok: bool,
    /// The day.
    pub day: Date,
    /// Whether reports were to be computed again.
    pub applied: bool,
    /// Each report, in both databases.
    pub reports: Vec<ReportOfDay>,
}

/// One report of the day.
#[derive(Debug, Clone, Serialize)]
pub struct ReportOfDay {
    /// The database.
    pub database: String,
    /// The report.
    pub report: &'static str,
    /// What is kept, beside what the rows say.
    pub before: DayCompared,
    /// The same after it was computed again; `None` if it was not.
    pub after: Option<DayCompared>,
}

impl ReportOfDay {
    /// Whether it says something else than rows that could tell.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        let now = self.after.as_ref().unwrap_or(&self.before);
        now.differs() && !now.frozen
    }
}

impl Report for RebuildReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Holds the closed reports of a day against their rows, and computes again what differs if that was asked for. A day
/// whose rows are thinned or cleared stays as it was closed.
///
/// # Errors
/// When the report does not exist, the day is not over, or ClickHouse fails.
pub async fn rebuild(installation: &Installation, request: &Rebuild) -> Result<RebuildReport> {
    let known = || REPORTS.iter().map(|report| report.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = request.report.as_ref().filter(|name| warehouse::Report::named(name).is_none()) {
        refuse!("{name:?} is not a report; those that close days are {}", known());
    }
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    refuse_unless!(request.day < today, "{} is not over, so no report of it is closed (days are of UTC)", request.day);
    let (warehouse, layout) = (installation.connect().await?, installation.layout());
    let mut reports = Vec::new();
    for side in Side::BOTH {
        for report in REPORTS.iter().filter(|report| request.report.as_deref().is_none_or(|name| name == report.name)) {
            let before = warehouse.compare_day(side, &layout, report, request.day).await?;
            let mut after = None;
            if request.apply && before.differs() && !before.frozen {
                warehouse.rebuild(side, &layout, report, request.day).await?;
                after = Some(warehouse.compare_day(side, &layout, report, request.day).await?);
            }
            let database = warehouse.database(side).to_owned();
            reports.push(ReportOfDay { database, report: report.name, before, after });
        }
    }
    let ok = !reports.iter().any(ReportOfDay::is_wrong);
    Ok(RebuildReport { ok, day: request.day, applied: request.apply, reports })
}
