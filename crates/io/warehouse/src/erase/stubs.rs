//! Stubs: one beside each row that is erased, and no second one.
//!
//! ClickHouse goes on with a statement whose client is gone. So one that an attempt before has left running is waited
//! for, and where two attempts have written the same stub all the same, one is left.

use std::time::{Duration, Instant};

use clickhouse::Row;
use event::Erasure;
use serde::Deserialize;

use super::{AT_ONCE, Condition, ERASED, told};
use crate::connect::quote;
use crate::mutations::LOOK;
use crate::replay::claim_name;
use crate::{Side, Warehouse, WarehouseError};

/// The columns of a stub that are not empty.
const COLUMNS: &str = "(incarnation, lane, raw_offset, cut, received_at, event_time, outcome, reason, detail)";
/// How long a statement of an attempt before may go on.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

#[derive(Row, Deserialize)]
struct Place {
    incarnation: String,
    lane: u16,
    raw_offset: u64,
}

impl Warehouse {
    /// Puts a stub beside each row that is erased, once. Returns how many stubs of the erasure there are.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn put_stubs(&self, erasure: &Erasure) -> Result<u64, WarehouseError> {
        self.refuse_on_shards()?;
        #[derive(Row, Deserialize)]
        struct Month {
            name: String,
        }
        self.wait_for_stubs().await?;
        let (is, mut stubs) = (Condition(erasure), 0);
        for side in Side::BOTH {
            let database = self.database(side);
            // A month at a time, so that no statement takes for ever.
            let months =
                format!("SELECT DISTINCT _partition_id::String AS name FROM {database}.records WHERE {}", is.records());
            for Month { name } in self.rows("look for months to erase in", months).await? {
                let sql = format!(
                    "INSERT INTO {database}.records {COLUMNS} \
                     SELECT incarnation, lane, raw_offset, cut, received_at, toDateTime64(toDate(event_time), 3, 'UTC'), '{ERASED}', \
                     outcome, {} FROM {database}.records WHERE _partition_id = {name} AND {} \
                     AND (incarnation, lane, raw_offset) NOT IN (SELECT incarnation, lane, raw_offset FROM {database}.records \
                     WHERE _partition_id = {name} AND outcome = '{ERASED}') SETTINGS insert_deduplicate = 0",
                    quote(&told(&erasure.id)),
                    is.records(),
                    name = quote(&name),
                );
                self.home().execute("write stubs of what is erased", sql).await?;
            }
            self.leave_one_stub(side).await?;
            let sql = format!("SELECT count() AS number FROM {database}.records WHERE {}", is.stubs());
            stubs += self.one_number("count stubs", sql).await?;
        }
        Ok(stubs)
    }

    /// Waits until no statement of an attempt before this one writes stubs.
    async fn wait_for_stubs(&self) -> Result<(), WarehouseError> {
        let what = "look for stubs that are still written";
        let ours = Side::BOTH.map(|side| {
            let begins = format!("INSERT INTO {}.records {COLUMNS} SELECT ", self.database(side));
            format!("startsWith(query, {})", quote(&begins))
        });
        let sql = format!(
            "SELECT count() AS number FROM {} WHERE query_kind = 'Insert' AND ({})",
            self.system("processes"),
            ours.join(" OR ")
        );
        let until = Instant::now() + ENDS_WITHIN;
        while self.one_number(what, sql.clone()).await? > 0 {
            if Instant::now() >= until {
                let detail = format!(
                    "a statement of an earlier attempt has run for {} s: look at system.processes, and do the same again once it has ended",
                    ENDS_WITHIN.as_secs()
                );
                return Err(WarehouseError::Answer { what: what.to_owned(), detail });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Leaves one stub of each offset that has several: another one is written first, and then those before it are
    /// deleted, so that an offset has one at any time.
    async fn leave_one_stub(&self, side: Side) -> Result<(), WarehouseError> {
        let database = self.database(side);
        let several = format!(
            "SELECT incarnation::String AS incarnation, lane, raw_offset FROM {database}.records WHERE outcome = '{ERASED}' \
             GROUP BY incarnation, lane, raw_offset HAVING count() > 1 ORDER BY incarnation, lane, raw_offset LIMIT {AT_ONCE}"
        );
        loop {
            let places: Vec<Place> = self.rows("look for stubs that were written twice", several.as_str()).await?;
            if places.is_empty() {
                return Ok(());
            }
            let place = |Place { incarnation, lane, raw_offset }: Place| {
                format!("({}, {lane}, {raw_offset})", quote(&incarnation))
            };
            let places = places.into_iter().map(place).collect::<Vec<_>>().join(", ");
            let these = format!("outcome = '{ERASED}' AND (incarnation, lane, raw_offset) IN ({places})");
            // Behind the id of the erasure, a name that no stub before has.
            let name = quote(&format!(" {}", claim_name()));
            let another = format!(
                "INSERT INTO {database}.records {COLUMNS} SELECT incarnation, lane, raw_offset, max(cut), max(received_at), max(event_time), \
                 '{ERASED}', max(reason), concat(arrayStringConcat(arraySlice(splitByChar(' ', max(detail)), 1, 2), ' '), {name}) \
                 FROM {database}.records WHERE {these} GROUP BY incarnation, lane, raw_offset SETTINGS insert_deduplicate = 0"
            );
            self.home().execute("write one stub in place of several", another).await?;
            self.rewrite(side, "records", &format!("DELETE WHERE {these} AND NOT endsWith(detail, {name})")).await?;
        }
    }
}
