//! Closed days and the open rest: how a report is right at every moment and outlives its events.
//!
//! Closing a day computes its rows into a staging table of this attempt and swaps them in with `REPLACE PARTITION`: one
//! atomic step. The same partition holds one *closing row*: when, and over how many events. So no second table could
//! disagree after a crash. Two swaps in the same moment can leave the rows of both, so each looks afterwards and
//! swaps again ([`swap`]). What a kill leaves of that is found by its two closing rows: the day is open until it is
//! closed again.
//!
//! A view serves a closed day from its table as long as `records` holds no more events of the day than were counted; a late event
//! makes the day live until it is closed again, and so does a build to which the report's columns mean something else
//! ([`Report::definition`]). Fewer events mean that retention or an erasure has thinned the day: it stays as it was.

mod compare;
mod swap;

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::layout::Layout;
use crate::reports::{REPORTS, Report, ReportColumn};
use crate::tables::closed_table;
use crate::views::{Columns, View, columns, create};
use crate::{Side, Warehouse, WarehouseError};

pub use compare::DayCompared;

/// A day of UTC.
pub type Day = jiff::civil::Date;

/// What closing a day came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The day's rows were computed and swapped in.
    Written {
        /// Events of the day when it was closed.
        records: u64,
    },
    /// The day is closed over just as many events: nothing was done.
    Unchanged {
        /// Events of the day.
        records: u64,
    },
    /// The events of the day are fewer than when it was closed, or what the report needs of them is cleared: the day stays as
    /// it was closed.
    Frozen {
        /// Events of the day when it was closed; 0 when it never was.
        closed: u64,
        /// Events of the day now.
        records: u64,
    },
}

/// A day of a report that waits to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDay {
    /// The report's name.
    pub report: &'static str,
    /// The day.
    pub day: Day,
}

/// A report of a day that stays as it was closed: its rows are thinned, or their identifiers are cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenDay {
    /// In which database.
    pub side: Side,
    /// The report's name.
    pub report: &'static str,
    /// The day.
    pub day: Day,
}

impl Warehouse {
    /// Days up to and including `through` that are not closed, or that have more events than when they were closed.
    ///
    /// `through` is the caller's: the last day that the completeness watermark, less the lateness allowed, has passed.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn open_days(&self, side: Side, layout: &Layout, through: Day) -> Result<Vec<OpenDay>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Open {
            report: String,
            day: String,
        }
        let database = self.database(side);
        let each: Vec<String> = REPORTS
            .iter()
            .map(|report| {
                let computable = frozen_before(layout, report)
                    .map_or_else(String::new, |frozen| format!(" AND now.day >= {frozen}"));
                format!(
                    "SELECT '{}' AS report, now.day AS day FROM day_counts AS now \
                     LEFT JOIN ({}) AS closed ON closed.day = now.day \
                     WHERE (now.records > closed.records OR now.records = closed.records \
                     AND (closed.definition < {} OR now.day IN ({}))){computable}",
                    report.name,
                    closings(database, report),
                    report.definition,
                    swap::twice_closed(database, report),
                )
            })
            .collect();
        // A day that was never closed was closed over no events.
        let sql = format!(
            "WITH day_counts AS (SELECT day, records FROM ({}) WHERE day <= '{through}') \
             SELECT report, toString(day) AS day FROM ({}) ORDER BY day, report",
            day_counts(database),
            each.join(" UNION ALL "),
        );
        let rows: Vec<Open> = self.rows("look for open days", sql).await?;
        rows.into_iter()
            .map(|Open { report, day }| {
                let unreadable = || WarehouseError::Answer {
                    what: "look for open days".into(),
                    detail: format!("{report} on {day} is no report and day"),
                };
                Ok(OpenDay {
                    report: Report::named(&report).ok_or_else(unreadable)?.name,
                    day: day.parse().map_err(|_| unreadable())?,
                })
            })
            .collect()
    }

    /// Closes a day of a report, unless it is closed over just as many events.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses. The day is then as it was, or closed: call again.
    pub async fn close_day(
        &self,
        side: Side,
        layout: &Layout,
        report: &'static Report,
        day: Day,
    ) -> Result<Closed, WarehouseError> {
        self.write_day(side, layout, report, day, Again::WithMore).await
    }

    /// Computes a closed day again, as after a correction of its rows. A day that is thinned stays frozen.
    ///
    /// # Errors
    /// As [`Self::close_day`].
    pub async fn rebuild(
        &self,
        side: Side,
        layout: &Layout,
        report: &'static Report,
        day: Day,
    ) -> Result<Closed, WarehouseError> {
        self.write_day(side, layout, report, day, Again::UnlessFewer).await
    }

    /// Computes a closed day again, whether it has more events than when it was closed or fewer: its rows were
    /// replaced. For a day that was not thinned before that alone. One whose identifiers are cleared stays frozen.
    pub(crate) async fn recompute(
        &self,
        side: Side,
        layout: &Layout,
        report: &'static Report,
        day: Day,
    ) -> Result<Closed, WarehouseError> {
        self.write_day(side, layout, report, day, Again::Always).await
    }

    /// Computes a closed day again from which an erasure has taken `erased` events, and says over how many it was
    /// closed before. A day that is thinned besides, or whose identifiers are cleared, stays as it was closed.
    pub(crate) async fn recompute_without(
        &self,
        side: Side,
        layout: &Layout,
        report: &'static Report,
        day: Day,
        erased: u64,
    ) -> Result<(u64, Closed), WarehouseError> {
        let what = format!("close {} of {}", day, report.name);
        let Counts { records, closed, cleared, .. } = self.counts_of(side, layout, report, day, &what).await?;
        let answer = match (closed, records) {
            // Never closed: it is computed at each question.
            (0, _) => Closed::Unchanged { records },
            _ if cleared || records + erased < closed => Closed::Frozen { closed, records },
            (_, 0) => {
                self.drop_day(side, report, day, &what).await?;
                Closed::Written { records }
            }
            // Also with as many as before: late events may have come since it was closed.
            _ => self.write_day(side, layout, report, day, Again::Always).await?,
        };
        Ok((closed, answer))
    }

    async fn write_day(
        &self,
        side: Side,
        layout: &Layout,
        report: &'static Report,
        day: Day,
        again: Again,
    ) -> Result<Closed, WarehouseError> {
        let what = format!("close {} of {}", day, report.name);
        let (database, on_cluster) = (self.database(side), self.on_cluster());
        let Counts { records, closed, definition, cleared, swaps } =
            self.counts_of(side, layout, report, day, &what).await?;
        if (records < closed && again != Again::Always) || cleared {
            return Ok(Closed::Frozen { closed, records });
        }
        if records == closed && definition >= report.definition && swaps <= 1 && again == Again::WithMore {
            return Ok(Closed::Unchanged { records });
        }
        let table = self.own_table(side, &closed_table(report));
        let staging = format!("{database}.{}_staging_{}", closed_table(report), uuid::Uuid::new_v4().simple());
        // AS copies columns, projection and partitioning, which a swap needs to be equal.
        self.home().execute(&what, format!("CREATE TABLE {staging}{on_cluster} AS {table}")).await?;
        let written = self.fill_and_swap(side, layout, report, day, &table, &staging, &what).await;
        // Also after an error: the attempt is over. The error that matters is the first.
        let dropped = self.home().execute(&what, format!("DROP TABLE IF EXISTS {staging}{on_cluster} SYNC")).await;
        let records = written?;
        dropped?;
        Ok(Closed::Written { records })
    }

    #[allow(clippy::too_many_arguments, reason = "one attempt's names, used once")]
    async fn fill_and_swap(
        &self,
        side: Side,
        layout: &Layout,
        report: &Report,
        day: Day,
        table: &str,
        staging: &str,
        what: &str,
    ) -> Result<u64, WarehouseError> {
        let database = self.database(side);
        let names = report.names();
        #[derive(Row, Deserialize)]
        struct Counted {
            records: u64,
        }
        // The count first, then the rows: an event that arrives in between makes the day live again, and is never left out.
        let count = format!("SELECT records FROM ({}) WHERE day = '{day}'", day_counts(database));
        let rows: Vec<Counted> = self.home().rows(what, count).await?;
        let records = rows.first().map_or(0, |row| row.records);
        // In one statement, so that a day is one part as a rule: each question to a report opens those of all days.
        let (rows, nothing): (Vec<_>, Vec<_>) = report.columns.iter().map(|column| of_union(column, day)).unzip();
        let fill = format!(
            "INSERT INTO {staging} ({names}, closed_records, closed_at, closed_definition) \
             SELECT {}, toUInt64(0), toDateTime64(0, 3, 'UTC'), toUInt16(0) \
             FROM (SELECT {names} FROM ({}) WHERE day = '{day}') \
             UNION ALL SELECT {}, toUInt64({records}), now64(3, 'UTC'), toUInt16({})",
            rows.join(", "),
            live(database, layout, report),
            nothing.join(", "),
            report.definition,
        );
        if records > 0 {
            self.home().execute(what, fill).await?;
            self.swap(table, staging, day, what).await?;
        }
        Ok(records)
    }

    async fn counts_of(
        &self,
        side: Side,
        layout: &Layout,
        report: &Report,
        day: Day,
        what: &str,
    ) -> Result<Counts, WarehouseError> {
        let database = self.database(side);
        let cleared =
            frozen_before(layout, report).map_or("false".into(), |frozen| format!("toDate('{day}') < {frozen}"));
        let sql = format!(
            "SELECT ifNull((SELECT count() FROM {database}.records WHERE outcome = 'event' AND toDate(event_time) = '{day}'), 0) \
             AS records, ifNull((SELECT max(closed_records) FROM {database}.{table} WHERE day = '{day}'), 0) AS closed, \
             ifNull((SELECT max(closed_definition) FROM {database}.{table} WHERE day = '{day}'), 0) AS definition, \
             toBool({cleared}) AS cleared, \
             ifNull((SELECT count() FROM {database}.{table} WHERE day = '{day}' AND closed_records > 0), 0) AS swaps",
            table = closed_table(report),
        );
        let rows: Vec<Counts> = self.rows(what, sql).await?;
        rows.into_iter().next().ok_or_else(|| WarehouseError::Answer { what: what.into(), detail: "no row".into() })
    }
}

impl Warehouse {
    /// Forgets that these days were closed, before rows of theirs are replaced: they are served live, and closed
    /// again, whatever cuts the replacement short. A report whose rows are thinned or whose identifiers are cleared
    /// stays as it was closed: what is left of the day does not give it again. Returns those.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: call again.
    pub async fn reopen_days(&self, layout: &Layout, days: &[(Side, Day)]) -> Result<Vec<FrozenDay>, WarehouseError> {
        let mut kept = Vec::new();
        for (side, day) in days {
            for report in REPORTS {
                let what = format!("reopen {day} of {}", report.name);
                let Counts { records, closed, cleared, .. } =
                    self.counts_of(*side, layout, report, *day, &what).await?;
                match closed {
                    0 => {}
                    _ if cleared || records < closed => {
                        kept.push(FrozenDay { side: *side, report: report.name, day: *day });
                    }
                    _ => self.drop_day(*side, report, *day, &what).await?,
                }
            }
        }
        Ok(kept)
    }

    /// Forgets the kept rows of a day. Replicas pass it on among themselves.
    async fn drop_day(&self, side: Side, report: &Report, day: Day, what: &str) -> Result<(), WarehouseError> {
        let table = self.own_table(side, &closed_table(report));
        self.home().execute(what, format!("ALTER TABLE {table} DROP PARTITION '{day}'")).await
    }
}

/// When a day that is closed is computed again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// When it has more events than when it was closed.
    WithMore,
    /// Also when it has as many.
    UnlessFewer,
    /// Also when it has fewer.
    Always,
}

#[derive(Row, Deserialize)]
struct Counts {
    records: u64,
    closed: u64,
    definition: u16,
    cleared: bool,
    /// Closing rows: two where two closed the day in the same moment and were both killed before they looked.
    swaps: u64,
}

/// The closing rows of a report: over how many events each day was closed, and by which definition.
fn closings(database: &str, report: &Report) -> String {
    // Without a second definition there is nothing to ask, and the projection has the rest.
    let definition = if report.definition == 0 { "toUInt16(0)" } else { "max(closed_definition)" };
    format!(
        "SELECT day, max(closed_records) AS records, {definition} AS definition FROM {database}.{} GROUP BY day",
        closed_table(report),
    )
}

/// Events by day: read from the projection.
fn day_counts(database: &str) -> String {
    format!(
        "SELECT toDate(event_time) AS day, count() AS records FROM {database}.records WHERE outcome = 'event' GROUP BY day"
    )
}

fn live(database: &str, layout: &Layout, report: &Report) -> String {
    report
        .live
        .replace("{records}", &format!("{database}.records"))
        .replace("{smallest_group}", &layout.smallest_group.to_string())
}

/// A column of the report's rows, and what the closing row has there: of one type, since both are of one union.
fn of_union(column: &ReportColumn, day: Day) -> (String, String) {
    let type_name = quote(column.type_name);
    let nothing = match column.name {
        "day" => format!("toDate('{day}')"),
        _ => format!("defaultValueOfTypeName({type_name})"),
    };
    (format!("CAST({}, {type_name})", column.name), nothing)
}

/// The first day that can still be computed, for reports that need columns which are cleared.
fn frozen_before(layout: &Layout, report: &Report) -> Option<String> {
    report.needs_identifiers.then(|| format!("toDate(now('UTC')) - {}", layout.identifiers_days.saturating_sub(1)))
}

/// `closed_days`: every closing row of every report.
pub(crate) fn closed_days_view(warehouse: &Warehouse, side: Side) -> View {
    let columns: Columns = columns(&[
        ("report", "String", "the report's view"),
        ("day", "Date", "the closed day (UTC)"),
        ("records", "UInt64", "events of the day when it was closed"),
        ("closed_at", "DateTime64(3, 'UTC')", "when it was closed"),
    ]);
    let database = warehouse.database(side);
    let each: Vec<String> = REPORTS
        .iter()
        .map(|report| {
            format!(
                "SELECT '{}' AS report, day, max(closed_records) AS records, max(closed_at) AS closed_at \
                 FROM {database}.{} GROUP BY day",
                report.name,
                closed_table(report),
            )
        })
        .collect();
    let doc = "Days whose reports are closed; a day with more events by now is served live until it is closed again";
    create(warehouse, side, "closed_days", doc, &columns, &each.join("\nUNION ALL\n"))
}

/// The view of a report: closed days from their table, the open rest from `records`.
pub(crate) fn report_view(warehouse: &Warehouse, side: Side, layout: &Layout, report: &Report) -> View {
    let database = warehouse.database(side);
    let names = report.names();
    // A day that two closed in the same moment has its rows twice until one of them looks. To leave such days out here
    // would double what a report over 730 closed days takes (0.2 to 0.4 s on two cores).
    let as_closed = format!(
        "(now.records < closed.records OR now.records = closed.records AND closed.definition >= {})",
        report.definition,
    );
    let still = match frozen_before(layout, report) {
        Some(frozen) => format!("{as_closed} OR closed.day < {frozen}"),
        None => as_closed,
    };
    // The list is one scalar, so both halves of the view see the same one whatever is closed meanwhile.
    let select = format!(
        "WITH (\n\
         SELECT groupArray(closed.day)\n\
         FROM ({closings}) AS closed\n\
         LEFT JOIN ({counts}) AS now ON now.day = closed.day\n\
         WHERE {still}\n\
         ) AS closed_list\n\
         SELECT {names} FROM {database}.{table}\n\
         WHERE closed_at = toDateTime64(0, 3, 'UTC') AND day IN (SELECT arrayJoin(closed_list))\n\
         UNION ALL\n\
         SELECT {names} FROM (\n{live}) WHERE day NOT IN (SELECT arrayJoin(closed_list))",
        table = closed_table(report),
        closings = closings(database, report),
        counts = day_counts(database),
        live = live(database, layout, report),
    );
    let columns =
        report.columns.iter().map(|column| (column.name.into(), column.type_name.into(), column.doc.into())).collect();
    create(warehouse, side, report.name, report.doc, &columns, &select)
}
