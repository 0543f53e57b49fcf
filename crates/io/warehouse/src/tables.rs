//! The tables: their columns come from the declarations of the records and reports, the rest from `migrations/*.sql`.

use event::avro::Column;
use event::{Alert, Delivery, Kind, LinkEvent};

use crate::layout::Layout;
use crate::native::stored;
use crate::reports::{REPORTS, Report};

/// A column as it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) type_name: &'static str,
    pub(crate) codec: &'static str,
    pub(crate) doc: &'static str,
}

impl Definition {
    /// `name type COMMENT … CODEC(…)`, as CREATE TABLE and ADD COLUMN want it.
    pub(crate) fn sql(&self) -> String {
        let codec = if self.codec.is_empty() { String::new() } else { format!(" CODEC({})", self.codec) };
        format!("`{}` {} COMMENT {}{codec}", self.name, self.type_name, crate::connect::quote(self.doc))
    }
}

/// A table that a migration creates.
pub(crate) struct Table {
    /// The migration's number: the order of creation.
    pub(crate) version: u32,
    /// The table's name.
    pub(crate) name: String,
    /// CREATE TABLE with places to fill.
    pub(crate) sql: &'static str,
    /// The columns, which later versions may add to.
    pub(crate) columns: Vec<Definition>,
    /// The report whose closed days it holds.
    pub(crate) report: Option<&'static Report>,
}

/// Columns of `records` that are not the event's: they say where the row comes from.
const ORIGIN: [Definition; 3] = [
    Definition {
        name: "incarnation",
        type_name: "LowCardinality(String)",
        codec: "",
        doc: "the life of the topics that the offsets count in: a wiped Kafka starts another one",
    },
    Definition { name: "lane", type_name: "UInt16", codec: "ZSTD(1)", doc: "the lane: partition of raw and of events" },
    Definition {
        name: "cut",
        type_name: "UInt64",
        codec: "Delta, ZSTD(1)",
        doc: "the offset in events of the cut that ended the row's block; 0 when a replay brought the row in",
    },
];

const WATERMARKS: [Definition; 4] = [
    Definition { name: "incarnation", type_name: "LowCardinality(String)", codec: "", doc: "the life of the topics" },
    Definition { name: "lane", type_name: "UInt16", codec: "", doc: "the lane" },
    Definition { name: "raw_hi", type_name: "UInt64", codec: "", doc: "one past the last raw offset that is settled" },
    Definition {
        name: "watermark",
        type_name: "DateTime64(3, 'UTC')",
        codec: "",
        doc: "no later record of the lane was received before it",
    },
];

const DECISIONS: [Definition; 7] = [
    Definition { name: "incarnation", type_name: "LowCardinality(String)", codec: "", doc: "the life of the topics" },
    Definition { name: "lane", type_name: "UInt16", codec: "", doc: "the dead letter's lane" },
    Definition { name: "raw_offset", type_name: "UInt64", codec: "", doc: "its offset in raw" },
    Definition {
        name: "decision",
        type_name: "LowCardinality(String)",
        codec: "",
        doc: "redriving, then redriven; or discarded",
    },
    Definition { name: "at", type_name: "DateTime64(3, 'UTC')", codec: "", doc: "when it was decided" },
    Definition { name: "who", type_name: "String", codec: "ZSTD(1)", doc: "who decided" },
    Definition { name: "why", type_name: "String", codec: "ZSTD(1)", doc: "why" },
];

const LOSSES: [Definition; 7] = [
    Definition { name: "incarnation", type_name: "LowCardinality(String)", codec: "", doc: "the life of the topics" },
    Definition { name: "lane", type_name: "UInt16", codec: "", doc: "the lane" },
    Definition { name: "first_offset", type_name: "UInt64", codec: "", doc: "the first raw offset that is lost" },
    Definition { name: "last_offset", type_name: "UInt64", codec: "", doc: "the last one" },
    Definition { name: "at", type_name: "DateTime64(3, 'UTC')", codec: "", doc: "when the loss was acknowledged" },
    Definition { name: "who", type_name: "String", codec: "ZSTD(1)", doc: "who acknowledged it" },
    Definition { name: "why", type_name: "String", codec: "ZSTD(1)", doc: "how it came about" },
];

/// Columns of a closed report's table that are not the report's.
const CLOSING: [Definition; 3] = [
    Definition {
        name: "closed_records",
        type_name: "UInt64",
        codec: "ZSTD(1)",
        doc: "events of the day when it was closed; on the closing row only",
    },
    Definition {
        name: "closed_at",
        type_name: "DateTime64(3, 'UTC')",
        codec: "ZSTD(1)",
        doc: "when the day was closed; 1970 on the report's own rows",
    },
    Definition {
        name: "closed_definition",
        type_name: "UInt16",
        codec: "ZSTD(1)",
        doc: "the version of the report's definition that the day was closed by; on the closing row only",
    },
];

/// Every table, in order of creation.
pub(crate) fn tables() -> Vec<Table> {
    let fixed = [
        (1, "records", include_str!("migrations/0001_records.sql"), of_record(LinkEvent::COLUMNS, &ORIGIN)),
        (2, "alert_log", include_str!("migrations/0002_alerts.sql"), of_record(Alert::COLUMNS, &[])),
        (3, "delivery_log", include_str!("migrations/0003_deliveries.sql"), of_record(Delivery::COLUMNS, &[])),
        (4, "lane_watermarks", include_str!("migrations/0004_lane_watermarks.sql"), WATERMARKS.to_vec()),
    ];
    // After the reports that there were when these came: a new report takes the next number after them.
    let later = [
        (11, "dead_letter_decisions", include_str!("migrations/0011_dead_letter_decisions.sql"), DECISIONS.to_vec()),
        (12, "lost_records", include_str!("migrations/0012_lost_records.sql"), LOSSES.to_vec()),
    ];
    let plain = |(version, name, sql, columns): (_, &str, _, _)| Table {
        version,
        name: name.to_owned(),
        sql,
        columns,
        report: None,
    };
    let reports = REPORTS.iter().zip((5..=10).chain(13..)).map(|(report, version)| Table {
        version,
        name: closed_table(report),
        sql: include_str!("migrations/closed_report.sql"),
        columns: report
            .columns
            .iter()
            .map(|column| Definition {
                name: column.name,
                type_name: column.type_name,
                codec: if column.type_name.starts_with("LowCardinality") { "" } else { "ZSTD(1)" },
                doc: column.doc,
            })
            .chain(CLOSING)
            .collect(),
        report: Some(report),
    });
    fixed.into_iter().map(plain).chain(reports).chain(later.into_iter().map(plain)).collect()
}

/// The table of a report's closed days.
pub(crate) fn closed_table(report: &Report) -> String {
    format!("{}_closed", report.name)
}

/// How long a table keeps what: the end of an `ALTER TABLE …`. `None` when its rows stay.
pub(crate) fn retention(table: &Table, layout: &Layout) -> Option<String> {
    let days = |column: &str, days: u16| format!("TTL toDateTime({column}) + INTERVAL {days} DAY");
    match table.name.as_str() {
        "records" => {
            let identifiers = days("received_at", layout.identifiers_days);
            let rows = days("received_at", layout.events_days);
            Some(format!("MODIFY COLUMN request_id {identifiers}, MODIFY COLUMN visitor {identifiers}, MODIFY {rows}"))
        }
        "alert_log" => Some(format!("MODIFY {}", days("received_at", layout.deliveries_days))),
        "delivery_log" => Some(format!("MODIFY {}", days("at", layout.deliveries_days))),
        // As long as the dead letters that they are about, and a little longer.
        "dead_letter_decisions" => Some(format!("MODIFY {}", days("at", layout.events_days.saturating_add(1)))),
        _ => table.report.map(|_| format!("MODIFY TTL day + INTERVAL {} YEAR", layout.reports_years)),
    }
}

fn of_record(columns: &'static [Column], more: &[Definition]) -> Vec<Definition> {
    stored(columns)
        .map(|(column, type_name)| Definition {
            name: column.name,
            type_name,
            codec: match column.kind {
                // Neighbours are close: in a part, rows of a link and day follow their time.
                Kind::Time | Kind::Unsigned if column.name != "visitor" => "Delta, ZSTD(1)",
                Kind::Low | Kind::Country | Kind::Names => "",
                _ => "ZSTD(1)",
            },
            doc: column.doc,
        })
        .chain(more.iter().cloned())
        .collect()
}
