//! Erasing: what is erased leaves a stub, a row that says only that there was a record at its offset. So each offset
//! stays one row, and whatever fills holes finds none.
//!
//! Each step may run twice, and is cut short anywhere: the stubs go in first, the rows are deleted after, and which
//! days have to be computed again is read from the stubs. Statements name a link or a visitor by a keyed hash, since
//! ClickHouse keeps their text (`system.mutations`, `system.query_log`).

mod messages;
mod proof;
mod stubs;
mod topics;

use clickhouse::Row;
use event::{Erasure, LinkEvent, Millis, Scope};
use serde::{Deserialize, Serialize};

use crate::closing::{Closed, Day};
use crate::connect::quote;
use crate::layout::Layout;
use crate::reports::{REPORTS, Report};
use crate::tables::closed_table;
use crate::{Side, Warehouse, WarehouseError};

pub(crate) use messages::NOTE;
pub use messages::{alert_stub, without_text};
pub use proof::{Detached, Former};
pub use topics::{LaneRest, Sent};

/// The outcome of a stub.
pub(crate) const ERASED: &str = "erased";
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Bundles, alerts or places that one statement names.
const AT_ONCE: usize = 2_000;

/// Rows of a table that an erasure is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resting {
    /// The database and the table.
    pub table: String,
    /// What is counted there.
    pub what: &'static str,
    /// How many.
    pub rows: u64,
}

/// A report of a day that was computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recomputed {
    /// The report.
    pub report: &'static str,
    /// The day.
    pub day: Day,
    /// Events of the day when it was closed before.
    pub before: u64,
    /// Events now.
    pub now: u64,
    /// Whether it stays as it was: its rows are thinned or their identifiers cleared, so that it can no longer be
    /// computed.
    pub frozen: bool,
}

/// The stub of an event that was erased: where it stood and when it came, and the day on which it was.
pub(crate) fn stub(event: &LinkEvent<'_>, id: &str) -> LinkEvent<'static> {
    LinkEvent {
        event_time: Millis(event.event_time.0.div_euclid(DAY_MS) * DAY_MS),
        received_at: event.received_at,
        reason: event.outcome.as_str().into(),
        detail: told(id).into(),
        raw_offset: event.raw_offset,
        test: event.test,
        ..LinkEvent::default()
    }
}

/// What the column `detail` of a stub says.
fn told(id: &str) -> String {
    format!("erasure {id}")
}

/// Conditions of an erasure over the columns of tables.
struct Condition<'e>(&'e Erasure);

impl Condition<'_> {
    /// A hash as ClickHouse computes it of a text.
    fn hash(&self, text: &str) -> String {
        let [first, second] = self.0.key;
        format!("sipHash64Keyed((toUInt64({first}), toUInt64({second})), {text})")
    }

    /// That a name is the link's, or that `domain/slug` is.
    fn of_link(&self, link: u64, id: &str, domain: &str, slug: &str) -> String {
        format!(
            "({id} != '' AND {} = toUInt64({link}) OR {slug} != '' AND {} = toUInt64({link}))",
            self.hash(&format!("{id}::String")),
            self.hash(&format!("concat({domain}::String, '/', {slug}::String)")),
        )
    }

    fn received(&self) -> String {
        format!("received_at <= fromUnixTimestamp64Milli({}, 'UTC')", self.0.through.0)
    }

    /// Rows of `records`, whether stubs or not.
    fn records(&self) -> String {
        let which = match &self.0.scope {
            Scope::Source(source) => format!("source = {}", quote(source)),
            Scope::Link(link) => self.of_link(*link, "link_id", "domain", "slug"),
            Scope::Visitor { day, visitor } => format!(
                "toUInt16(toDate(event_time)) = {day} AND visitor != 0 AND {} = toUInt64({visitor})",
                self.hash("toString(visitor)")
            ),
        };
        format!("outcome != '{ERASED}' AND {which} AND {}", self.received())
    }

    fn stubs(&self) -> String {
        let told = told(&self.0.id);
        // One that took the place of several has a name behind that.
        format!(
            "outcome = '{ERASED}' AND (detail = {} OR startsWith(detail, {}))",
            quote(&told),
            quote(&format!("{told} "))
        )
    }

    /// Rows of `alert_log` that are not stubs. Those about a visitor's events are known by their event keys.
    fn alerts(&self, database: &str) -> String {
        let which = match &self.0.scope {
            Scope::Source(source) => format!("attributes['source'] = {}", quote(source)),
            Scope::Link(link) => format!(
                "({} OR key != '' AND {} = toUInt64({link}))",
                self.of_link(*link, "attributes['link_id']", "attributes['domain']", "attributes['slug']"),
                self.hash("key"),
            ),
            Scope::Visitor { .. } => format!(
                "sample != '' AND sample IN (SELECT event_key FROM {database}.records WHERE {})",
                self.records()
            ),
        };
        format!("{which} AND {}", self.received())
    }

    /// Rows of a report's closed days that name what is erased; `None` where the report names none.
    fn closed(&self, report: &Report, database: &str) -> Option<String> {
        let which = match (&self.0.scope, report.name) {
            (Scope::Source(source), _) if has(report, "source") => format!("source = {}", quote(source)),
            (Scope::Link(link), "daily_visitors") => format!(
                "dimension = 'link' AND value != '' AND ({} = toUInt64({link}) OR value IN (SELECT link_id FROM {database}.records WHERE {}))",
                self.hash("value"),
                self.records(),
            ),
            (Scope::Link(link), _) if has(report, "slug") => {
                let id = if has(report, "link_id") { "link_id" } else { "''" };
                self.of_link(*link, id, "domain", "slug")
            }
            _ => return None,
        };
        let through = self.0.through.0.div_euclid(DAY_MS);
        Some(format!("closed_at = toDateTime64(0, 3, 'UTC') AND {which} AND toUInt16(day) <= {through}"))
    }
}

fn has(report: &Report, column: &str) -> bool {
    report.columns.iter().any(|known| known.name == column)
}

#[derive(Row, Deserialize)]
struct Number {
    number: u64,
}

impl Warehouse {
    async fn one_number(&self, what: &str, sql: String) -> Result<u64, WarehouseError> {
        let rows: Vec<Number> = self.rows(what, sql).await?;
        Ok(rows.first().map_or(0, |row| row.number))
    }

    /// How many rows of each table an erasure is about: what is left of it, zeros too.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn resting(&self, erasure: &Erasure) -> Result<Vec<Resting>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct ByOutcome {
            events: u64,
            duplicates: u64,
            dead_letters: u64,
        }
        let (is, what) = (Condition(erasure), "count what is to be erased");
        let mut found = Vec::new();
        for side in Side::BOTH {
            let database = self.database(side);
            let mut push =
                |table: &str, what, rows| found.push(Resting { table: format!("{database}.{table}"), what, rows });
            let sql = format!(
                "SELECT countIf(outcome = 'event') AS events, countIf(outcome = 'duplicate') AS duplicates, \
                 countIf(outcome = 'dead_letter') AS dead_letters FROM {database}.records WHERE {}",
                is.records()
            );
            let rows: Vec<ByOutcome> = self.rows(what, sql).await?;
            for ByOutcome { events, duplicates, dead_letters } in rows {
                push("records", "events", events);
                push("records", "duplicates", duplicates);
                push("records", "dead letters", dead_letters);
            }
            let sql = format!("SELECT count() AS number FROM {database}.alert_log WHERE {}", is.alerts(database));
            push("alert_log", "alerts", self.one_number(what, sql).await?);
            push("delivery_log", "texts of messages", self.texts(side, erasure).await?.len() as u64);
            for report in REPORTS {
                if let Some(condition) = is.closed(report, database) {
                    let table = closed_table(report);
                    let sql = format!("SELECT count() AS number FROM {database}.{table} WHERE {condition}");
                    push(&table, "rows of closed days", self.one_number(what, sql).await?);
                }
            }
        }
        Ok(found)
    }

    /// Erases what is not a row of `records`: texts of messages, alerts, rows of closed days that name it. Alerts may
    /// be found by the events, so these are erased later.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn erase_beside(&self, erasure: &Erasure) -> Result<(), WarehouseError> {
        self.refuse_on_shards()?;
        let is = Condition(erasure);
        for side in Side::BOTH {
            let database = self.database(side);
            self.erase_messages(side, erasure).await?;
            for report in REPORTS {
                if let Some(condition) = is.closed(report, database) {
                    self.delete_where(side, &closed_table(report), &condition).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes the rows that are erased: for good, not behind a mask. Their stubs have to be there.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn delete_erased(&self, erasure: &Erasure) -> Result<(), WarehouseError> {
        self.refuse_on_shards()?;
        #[derive(Row, Deserialize)]
        struct Lane {
            incarnation: String,
            lane: u16,
            last: u64,
        }
        for side in Side::BOTH {
            // Rows of a lane come in the order of their offsets, so what stands below a stub was there when the stubs
            // were written. A row that came since has none, and waits for the next turn.
            let stubs = format!(
                "SELECT incarnation::String AS incarnation, lane, max(raw_offset) AS last FROM {}.records WHERE outcome = '{ERASED}' \
                 GROUP BY incarnation, lane ORDER BY incarnation, lane",
                self.database(side)
            );
            let below = |Lane { incarnation, lane, last }: Lane| {
                format!("incarnation = {} AND lane = {lane} AND raw_offset <= {last}", quote(&incarnation))
            };
            let lanes: Vec<Lane> = self.rows("look how far stubs go", stubs).await?;
            if !lanes.is_empty() {
                let below = lanes.into_iter().map(below).collect::<Vec<_>>().join(" OR ");
                let condition = format!("{} AND ({below})", Condition(erasure).records());
                self.delete_where(side, "records", &condition).await?;
            }
        }
        Ok(())
    }

    /// Computes each closed day again that has lost events to an erasure.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn recompute_erased(
        &self,
        layout: &Layout,
        erasure: &Erasure,
    ) -> Result<Vec<(Side, Recomputed)>, WarehouseError> {
        self.refuse_on_shards()?;
        #[derive(Row, Deserialize)]
        struct Erased {
            day: String,
            number: u64,
        }
        let mut done = Vec::new();
        for side in Side::BOTH {
            let sql = format!(
                "SELECT toString(toDate(event_time)) AS day, count() AS number FROM {}.records WHERE {} AND reason = 'event' \
                 GROUP BY day ORDER BY day",
                self.database(side),
                Condition(erasure).stubs(),
            );
            for Erased { day, number } in self.rows("look for days to compute again", sql).await? {
                let day: Day = day.parse().map_err(|_| WarehouseError::Answer {
                    what: "look for days to compute again".into(),
                    detail: format!("{day} is not a day"),
                })?;
                for report in REPORTS {
                    let (before, closed) = self.recompute_without(side, layout, report, day, number).await?;
                    let (now, frozen) = match closed {
                        Closed::Written { records } => (records, false),
                        Closed::Unchanged { .. } => continue,
                        Closed::Frozen { records, .. } => (records, true),
                    };
                    done.push((side, Recomputed { report: report.name, day, before, now, frozen }));
                }
            }
        }
        Ok(done)
    }

    /// What is erased is rewritten where it is, and that is written for one server, or for replicas of one shard.
    fn refuse_on_shards(&self) -> Result<(), WarehouseError> {
        match self.settings().shards.first() {
            None => Ok(()),
            Some(first) => Err(WarehouseError::Setting {
                what: "[clickhouse] shards",
                value: first.clone(),
                advice: "erasing from shards is not built yet; nothing was changed",
            }),
        }
    }

    async fn delete_where(&self, side: Side, table: &str, condition: &str) -> Result<(), WarehouseError> {
        let database = self.database(side);
        // A mutation looks at every part, so none is made where there is nothing to do.
        let sql = format!("SELECT count() AS number FROM {database}.{table} WHERE {condition}");
        if self.one_number("look for rows to erase", sql).await? == 0 {
            return Ok(());
        }
        self.rewrite(side, table, &format!("DELETE WHERE {condition}")).await
    }

    async fn rewrite(&self, side: Side, table: &str, change: &str) -> Result<(), WarehouseError> {
        self.mutate(self.home(), side, table, &format!("erase in {table}"), change).await
    }
}
