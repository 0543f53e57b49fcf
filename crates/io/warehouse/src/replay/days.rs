//! Closed days whose rows a replay replaces.

use std::ops::Range;

use clickhouse::Row;
use serde::Deserialize;

use super::Shadow;
use crate::connect::quote;
use crate::layout::Layout;
use crate::reports::REPORTS;
use crate::{Closed, Day, FrozenDay, Side, Warehouse, WarehouseError};

impl Warehouse {
    /// The closed days that events of a shadow, or the rows in its place, belong to, in either database: before these
    /// are replaced.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn closed_days_of(
        &self,
        shadow: &Shadow,
        incarnation: &str,
        lane: u16,
        offsets: Range<u64>,
    ) -> Result<Vec<(Side, Day)>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Named {
            day: String,
        }
        let mut days = Vec::new();
        for side in Side::BOTH {
            let database = self.database(side);
            let of = |table: &str| {
                format!(
                    "SELECT DISTINCT toDate(event_time) AS day FROM {database}.{table} WHERE outcome = 'event' AND incarnation = {} \
                     AND lane = {lane} AND raw_offset >= {} AND raw_offset < {}",
                    quote(incarnation),
                    offsets.start,
                    offsets.end,
                )
            };
            let sql = format!(
                "SELECT DISTINCT toString(day) AS day FROM ({} UNION ALL {}) WHERE day IN (SELECT day FROM {database}.closed_days) ORDER BY day",
                of(&self.own_name("records")),
                of(&shadow.table),
            );
            let what = "look for the closed days of a replay";
            for Named { day } in self.of_lane(lane).rows::<Named>(what, sql).await? {
                let day = day
                    .parse()
                    .map_err(|_| WarehouseError::Answer { what: what.into(), detail: format!("{day} is not a day") })?;
                days.push((side, day));
            }
        }
        Ok(days)
    }

    /// Computes every report of these days again, after rows of theirs were replaced, except for those that are
    /// [`kept`](Warehouse::reopen_days). Says which stay as they were closed.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn rebuild_days(
        &self,
        layout: &Layout,
        days: &[(Side, Day)],
        kept: Vec<FrozenDay>,
    ) -> Result<Vec<FrozenDay>, WarehouseError> {
        let mut frozen = kept;
        for (side, day) in days {
            for report in REPORTS {
                let this = FrozenDay { side: *side, report: report.name, day: *day };
                if !frozen.contains(&this)
                    && let Closed::Frozen { closed: 1.., .. } = self.recompute(*side, layout, report, *day).await?
                {
                    frozen.push(this);
                }
            }
        }
        Ok(frozen)
    }
}
