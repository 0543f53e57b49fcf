//! A closed day held against what its rows say now.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::{Counts, Day, live};
use crate::layout::Layout;
use crate::reports::Report;
use crate::tables::closed_table;
use crate::{Side, Warehouse, WarehouseError};

/// A closed day of a report, beside what its rows say now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayCompared {
    /// Events of the day when it was closed; 0 when it never was.
    pub closed: u64,
    /// Events of the day now.
    pub records: u64,
    /// Whether it can no longer be computed: rows are gone, or columns that it needs are cleared.
    pub frozen: bool,
    /// Rows of the report as it is kept.
    pub kept_rows: u64,
    /// Rows of the report as it would be computed now.
    pub live_rows: u64,
    /// Rows that are kept, and that the events do not give.
    pub only_kept: u64,
    /// Rows that the events give, and that are not kept.
    pub only_live: u64,
}

impl DayCompared {
    /// Whether the kept day says something else than its rows.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.closed > 0 && (self.only_kept > 0 || self.only_live > 0)
    }
}

impl Warehouse {
    /// Holds a closed day of a report against what its rows say now.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn compare_day(
        &self,
        side: Side,
        layout: &Layout,
        report: &Report,
        day: Day,
    ) -> Result<DayCompared, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Found {
            kept_rows: u64,
            live_rows: u64,
            only_kept: u64,
            only_live: u64,
        }
        let (database, what) = (self.database(side), format!("compare {day} of {}", report.name));
        let Counts { records, closed, cleared, .. } = self.counts_of(side, layout, report, day, &what).await?;
        // As texts, since a map has no comparison, and of the types that are kept: a query has a number for a flag.
        let typed = report.columns.iter().map(|column| format!("CAST({} AS {})", column.name, column.type_name));
        let row = format!("toString(tuple({}))", typed.collect::<Vec<_>>().join(", "));
        let kept = format!(
            "SELECT {row} AS row FROM {database}.{} WHERE day = '{day}' AND closed_at = toDateTime64(0, 3, 'UTC')",
            closed_table(report),
        );
        let now = format!("SELECT {row} AS row FROM ({}) WHERE day = '{day}'", live(database, layout, report));
        let sql = format!(
            "SELECT sum(kept) AS kept_rows, sum(live) AS live_rows, sum(greatest(kept - live, 0)) AS only_kept, \
             sum(greatest(live - kept, 0)) AS only_live FROM (SELECT row, toInt64(sum(is_kept)) AS kept, toInt64(count()) - kept AS live \
             FROM (SELECT row, 1 AS is_kept FROM ({kept}) UNION ALL SELECT row, 0 AS is_kept FROM ({now})) GROUP BY row)"
        );
        let sql = format!(
            "SELECT toUInt64(kept_rows) AS kept_rows, toUInt64(live_rows) AS live_rows, toUInt64(only_kept) AS only_kept, \
             toUInt64(only_live) AS only_live FROM ({sql})"
        );
        let found: Vec<Found> = self.rows(&what, sql).await?;
        let no_row = || WarehouseError::Answer { what, detail: "no row".into() };
        let Found { kept_rows, live_rows, only_kept, only_live } = found.into_iter().next().ok_or_else(no_row)?;
        let frozen = cleared || records < closed;
        Ok(DayCompared { closed, records, frozen, kept_rows, live_rows, only_kept, only_live })
    }
}
