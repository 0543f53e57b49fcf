//! What is left to do once a day: identifiers of old months, and staging tables of attempts that died.

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::layout::Layout;
use crate::{Side, Warehouse, WarehouseError};

/// How old a staging table must be before its attempt counts as dead.
const STAGING_HOURS: u32 = 6;

impl Warehouse {
    /// Clears `request_id` and `visitor` of months that are wholly older than the layout keeps them, and drops staging tables that
    /// a crash has left. Says what was done; running it twice does nothing more.
    ///
    /// The columns have a TTL too, but ClickHouse applies one only when it merges a part anyway as long as
    /// `ttl_only_drop_parts` is on, and without that it would rewrite old months again and again.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again, tomorrow will do.
    pub async fn tidy(&self, side: Side, layout: &Layout) -> Result<Vec<String>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Named {
            name: String,
        }
        let (database, on_cluster, records) = (self.database(side), self.on_cluster(), self.own_name("records"));
        let months = format!(
            "SELECT DISTINCT partition_id AS name FROM system.parts_columns \
             WHERE database = {} AND table = '{records}' AND active AND column IN ('request_id', 'visitor') \
             AND addMonths(toDate(concat(partition_id, '01'), 'UTC'), 1) < toDate(now('UTC')) - {} ORDER BY name",
            quote(database),
            layout.identifiers_days,
        );
        let orphans = format!(
            "SELECT name FROM system.tables WHERE database = {} AND (name LIKE '%\\\\_closed\\\\_staging\\\\_%' OR name LIKE 'records\\\\_replay\\\\_%') \
             AND metadata_modification_time < now() - INTERVAL {STAGING_HOURS} HOUR",
            quote(database),
        );
        let mut done = Vec::new();
        for server in self.servers() {
            let place = server.shard().map(|shard| format!(" ({shard})")).unwrap_or_default();
            let of_records = format!("database = {} AND table = '{records}'", quote(database));
            // What an attempt before has asked for goes on by itself: asked again, it would be done twice.
            let under_way = self.unfinished(server, "look for mutations of records", &of_records).await?.open > 0;
            let months =
                if under_way { Vec::new() } else { server.rows("look for months with identifiers", &months).await? };
            for Named { name } in months {
                let clear = |column: &str| format!("CLEAR COLUMN {column} IN PARTITION ID {}", quote(&name));
                let change = format!("{}, {}", clear("request_id"), clear("visitor"));
                self.mutate(server, side, &records, "clear identifiers", &change).await?;
                done.push(format!("cleared request_id and visitor of {name} in {database}{place}"));
            }
            for Named { name } in server.rows("look for abandoned staging tables", &orphans).await? {
                server
                    .execute("drop a staging table", format!("DROP TABLE IF EXISTS {database}.{name}{on_cluster} SYNC"))
                    .await?;
                done.push(format!("dropped the abandoned staging table {name} of {database}{place}"));
            }
        }
        Ok(done)
    }
}
