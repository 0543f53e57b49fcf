//! Swapping a day's rows in, right also when others do it in the same moment.

use std::time::Duration;

use clickhouse::Row;
use serde::Deserialize;

use super::Day;
use crate::reports::Report;
use crate::tables::closed_table;
use crate::{Warehouse, WarehouseError};

/// How often a day is swapped in again before that is an error: each time two in the same moment meet again by chance.
const MOST_SWAPS: u32 = 8;
/// How long the pause before another swap is, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

impl Warehouse {
    /// Puts the rows of `staging` in the place of the day's.
    ///
    /// ClickHouse decides which parts a swap replaces before the new ones are there, so of two in the same moment
    /// neither replaces the other's. Each looks once its own rows are there: the last one sees both, and swaps again.
    pub(super) async fn swap(&self, table: &str, staging: &str, day: Day, what: &str) -> Result<(), WarehouseError> {
        for _ in 0..MOST_SWAPS {
            self.home().execute(what, format!("ALTER TABLE {table} REPLACE PARTITION '{day}' FROM {staging}")).await?;
            // None: the day was opened again meanwhile.
            if self.closing_rows(table, day, what).await? <= 1 {
                return Ok(());
            }
            tracing::debug!("{what}: another closed it in the same moment, so it is swapped in again");
            let share = u128::from(u32::MAX) & uuid::Uuid::new_v4().as_u128();
            tokio::time::sleep(LONGEST_PAUSE.mul_f64(share as f64 / f64::from(u32::MAX))).await;
        }
        Err(WarehouseError::Answer {
            what: what.into(),
            detail: format!("after {MOST_SWAPS} swaps the rows of another are still beside ours; close the day again"),
        })
    }

    async fn closing_rows(&self, table: &str, day: Day, what: &str) -> Result<u64, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Closings {
            number: u64,
        }
        let sql = format!("SELECT count() AS number FROM {table} WHERE day = '{day}' AND closed_records > 0");
        let rows: Vec<Closings> = self.home().rows(what, sql).await?;
        Ok(rows.first().map_or(0, |row| row.number))
    }
}

/// Days with more than one closing row: those who closed them in the same moment were killed before they looked.
pub(super) fn twice_closed(database: &str, report: &Report) -> String {
    format!(
        "SELECT day FROM {database}.{} WHERE closed_records > 0 GROUP BY day HAVING count() > 1",
        closed_table(report)
    )
}
