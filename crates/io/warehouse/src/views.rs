//! The views: what analysts see. Each column has a comment, and the data dictionary is made from them.

use event::{Alert, Delivery, LinkEvent};

use crate::closing::{closed_days_view, report_view};
use crate::connect::quote;
use crate::layout::Layout;
use crate::native::stored;
use crate::reports::REPORTS;
use crate::{Side, Warehouse};

/// A view, ready to be created.
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// A column of a view: name, type, comment.
pub(crate) type Columns = Vec<(String, String, String)>;

pub(crate) fn columns(list: &[(&str, &str, &str)]) -> Columns {
    list.iter().map(|(name, type_name, doc)| ((*name).into(), (*type_name).into(), (*doc).into())).collect()
}

/// CREATE VIEW with a comment on the view and on every column.
pub(crate) fn create(
    warehouse: &Warehouse,
    side: Side,
    name: &str,
    doc: &str,
    columns: &Columns,
    select: &str,
) -> View {
    let list: Vec<String> = columns
        .iter()
        .map(|(name, type_name, doc)| format!("    `{name}` {type_name} COMMENT {}", quote(doc)))
        .collect();
    let sql = format!(
        "CREATE OR REPLACE VIEW {}.{name}{}\n(\n{}\n)\nAS {select}\nCOMMENT {}",
        warehouse.database(side),
        warehouse.on_cluster(),
        list.join(",\n"),
        quote(doc),
    );
    View { name: name.to_owned(), sql }
}

/// Every view, those that others read first.
pub(crate) fn views(warehouse: &Warehouse, side: Side, layout: &Layout) -> Vec<View> {
    let fill = |sql: &str| {
        sql.replace("{database}", warehouse.database(side))
            .replace("{production}", warehouse.database(Side::Production))
            .replace("{test}", warehouse.database(Side::Test))
            .replace("{note}", crate::erase::NOTE)
    };
    let make = |name: &str, doc: &str, columns: &Columns, select: &str| {
        create(warehouse, side, name, doc, columns, &fill(select))
    };
    let mut views = vec![
        of_records(&make, "events", "Every event, counted or not", NOT_OF_EVENTS, "outcome = 'event'"),
        of_records(
            &make,
            "clicks",
            "Human clicks and scans",
            NOT_OF_CLICKS,
            "outcome = 'event' AND type IN ('click', 'qr_scan') AND counted = 'human'",
        ),
        of_records(
            &make,
            "event_duplicates",
            "Later deliveries of events within the dedupe window: first_offset and lane name the one that counts",
            NOT_OF_DUPLICATES,
            "outcome = 'duplicate'",
        ),
        dead_letters(&make),
        where_is(&make),
        alerts(&make),
        delivery_attempts(&make),
        deliveries(&make),
        make("rule_noise", RULE_NOISE_DOC, &columns(RULE_NOISE), include_str!("views/rule_noise.sql")),
        make("ledger", LEDGER_DOC, &columns(LEDGER), &ledger(layout)),
        make("completeness", COMPLETENESS_DOC, &columns(COMPLETENESS), include_str!("views/completeness.sql")),
        closed_days_view(warehouse, side),
    ];
    views.extend(REPORTS.iter().map(|report| report_view(warehouse, side, layout, report)));
    for (name, period, unit, start) in
        [("weekly_pack", "week", "WEEK", "toMonday"), ("monthly_pack", "month", "MONTH", "toStartOfMonth")]
    {
        let sql = include_str!("views/pack.sql")
            .replace("{period}", period)
            .replace("{unit}", unit)
            .replace("{start}", start);
        let mut columns = columns(PACK);
        columns.insert(0, (period.into(), "Date".into(), format!("first day of the {period} (UTC)")));
        let doc = format!("The measurement pack: each {period} by campaign and channel, beside the {period} before it");
        views.push(make(name, &doc, &columns, &sql));
    }
    views
}

/// The books. What retention cannot have taken yet, somebody else has.
fn ledger(layout: &Layout) -> String {
    include_str!("views/ledger.sql").replace("{half_retention}", &(layout.events_days / 2).to_string())
}

type Make<'m> = dyn Fn(&str, &str, &Columns, &str) -> View + 'm;

/// Columns that say something of other outcomes only.
const NOT_OF_EVENTS: &[&str] = &["outcome", "first_offset", "duplicate_delay", "stage", "reason"];
const NOT_OF_CLICKS: &[&str] = &[
    "outcome",
    "first_offset",
    "duplicate_delay",
    "stage",
    "reason",
    "detail",
    "error_kind",
    "value_minor",
    "currency",
    "counted",
];
const NOT_OF_DUPLICATES: &[&str] = &["outcome", "stage", "reason", "detail"];

fn record_columns(keep: impl Fn(&str) -> bool) -> Columns {
    let origin = [
        ("incarnation", "LowCardinality(String)", "the life of the topics that the offsets count in"),
        ("lane", "UInt16", "the lane: partition of raw and of events"),
    ];
    stored(LinkEvent::COLUMNS)
        .map(|(column, type_name)| (column.name, type_name, column.doc))
        .chain(origin)
        .filter(|(name, ..)| keep(name))
        .map(|(name, type_name, doc)| (name.into(), type_name.into(), doc.into()))
        .collect()
}

fn names(columns: &Columns) -> String {
    columns.iter().map(|(name, ..)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn of_records(make: &Make<'_>, name: &str, doc: &str, without: &[&str], condition: &str) -> View {
    let columns = record_columns(|column| !without.contains(&column));
    let select = format!("SELECT {} FROM {{database}}.records WHERE {condition}", names(&columns));
    make(name, doc, &columns, &select)
}

fn dead_letters(make: &Make<'_>) -> View {
    const KEPT: &[&str] = &[
        "received_at",
        "source",
        "secret_id",
        "event_key",
        "request_id",
        "stage",
        "reason",
        "detail",
        "redrive_of",
        "config_version",
        "raw_offset",
        "incarnation",
        "lane",
    ];
    let mut columns = record_columns(|column| KEPT.contains(&column));
    let select = include_str!("views/dead_letters.sql").replace("{columns}", &names(&columns));
    columns.extend(self::columns(&[
        (
            "state",
            "LowCardinality(String)",
            "open, redriven or discarded; a redrive that was begun and did not end is open",
        ),
        ("decided_at", "DateTime64(3, 'UTC')", "when that was decided, or the redrive begun; 1970 before that"),
        ("decided_by", "String", "who decided"),
        ("decided_why", "String", "why"),
    ]));
    let doc = "Records that could not be decoded; their bytes are on the topic dead-letters";
    make("dead_letters", doc, &columns, &select)
}

fn where_is(make: &Make<'_>) -> View {
    const KEPT: &[&str] = &[
        "outcome",
        "type",
        "event_time",
        "received_at",
        "counted",
        "counted_by",
        "source",
        "event_key",
        "request_id",
        "link_id",
        "campaign",
        "trace",
        "first_offset",
        "duplicate_delay",
        "stage",
        "reason",
        "detail",
        "redrive_of",
        "raw_offset",
        "incarnation",
        "lane",
    ];
    let mut columns = record_columns(|column| KEPT.contains(&column));
    for (_, _, doc) in columns.iter_mut().filter(|(name, ..)| name == "outcome") {
        *doc = "event, duplicate or dead_letter; erased where only the place of a record is left (detail names the erasure)".into();
    }
    let names = names(&columns);
    let doc = "the database that the row rests in: what is in the test database is counted nowhere";
    columns.push(("database".into(), "String".into(), doc.into()));
    let select = format!(
        "SELECT {names}, '{{production}}' AS database FROM {{production}}.records \
         UNION ALL SELECT {names}, '{{test}}' AS database FROM {{test}}.records"
    );
    make("where_is", "Every fate of an event: filter by event_key (or request_id, for 30 days)", &columns, &select)
}

fn of_log(columns: &'static [event::Column]) -> Columns {
    stored(columns).map(|(column, type_name)| (column.name.into(), type_name.into(), column.doc.into())).collect()
}

fn alerts(make: &Make<'_>) -> View {
    let columns = of_log(Alert::COLUMNS);
    let select = format!(
        "SELECT {} FROM {{database}}.alert_log FINAL WHERE attributes['{}'] = ''",
        names(&columns),
        crate::erase::NOTE
    );
    make("alerts", "Every alert, once", &columns, &select)
}

fn delivery_attempts(make: &Make<'_>) -> View {
    let columns = of_log(Delivery::COLUMNS);
    let select = format!("SELECT {} FROM {{database}}.delivery_log FINAL", names(&columns));
    make("delivery_attempts", "Every step of every delivery, once: the failure log", &columns, &select)
}

fn deliveries(make: &Make<'_>) -> View {
    let list: &[(&str, &str, &str)] = &[
        ("bundle_id", "String", "the bundle: the webhook-id of a signed webhook"),
        ("destination", "LowCardinality(String)", "the configured destination"),
        ("owner", "LowCardinality(String)", "the destination's owner"),
        ("rule", "LowCardinality(String)", "the rule whose alerts are bundled"),
        ("group", "String", "what the bundle is about"),
        ("stage", "LowCardinality(String)", "where it stands: held, planned, attempted, delivered, failed or silenced"),
        ("planned_at", "DateTime64(3, 'UTC')", "when it was planned"),
        ("last_at", "DateTime64(3, 'UTC')", "when its last step was taken"),
        ("first_received_at", "DateTime64(3, 'UTC')", "when the oldest event behind it was received"),
        ("attempts", "UInt16", "attempts so far"),
        ("status", "UInt16", "the HTTP status of the last attempt, 0 when there was none"),
        ("error", "String", "why the last attempt failed, or what holds it back"),
        ("alerts", "UInt64", "how many alerts are in it"),
    ];
    // Steps of one millisecond are ordered by what they are: an outcome is last. A start that another alert held back,
    // and that was let go, is told in the bundle that it joined: if that is another one, its own has no further step.
    let select = "SELECT bundle_id, destination, argMax(owner, step) AS owner, argMax(rule, step) AS rule, \
        argMax(`group`, step) AS `group`, argMax(stage, step) AS stage, min(at) AS planned_at, max(at) AS last_at, \
        argMax(first_received_at, step) AS first_received_at, max(attempt) AS attempts, argMax(status, step) AS status, \
        argMax(error, step) AS error, max(length(alert_ids)) AS alerts \
        FROM (SELECT *, if(stage = 'held', JSONExtractString(body, 'kept'), '') AS kept, (at, attempt, \
        indexOf(['back', 'freed', 'held', 'silenced', 'planned', 'attempted', 'failed', 'delivered'], \
        if(kept = '', stage::String, kept))) AS step FROM {database}.delivery_log WHERE destination != '(inhibits)') \
        GROUP BY bundle_id, destination HAVING argMax(kept, step) != 'freed'";
    make("deliveries", "Every message to a destination as it stands now", &columns(list), select)
}

const RULE_NOISE_DOC: &str = "The noise of each rule, by week: what it raised, what was sent, what came of it";
const RULE_NOISE: &[(&str, &str, &str)] = &[
    ("rule", "LowCardinality(String)", "the rule"),
    ("week", "Date", "its Monday (UTC)"),
    (
        "alerts",
        "UInt64",
        "alerts that said that something is so, in the week in which they did; ends are not among them",
    ),
    ("messages", "UInt64", "messages that were planned, summaries, ends and digests among them, at all destinations"),
    ("held_back", "UInt64", "messages that were never sent: a silence, a pause, a mute, closed hours, another alert"),
    ("acknowledged", "UInt64", "messages that were not sent since a person had acknowledged the one before them"),
    ("failed", "UInt64", "messages that were given up"),
    ("ended", "UInt64", "alerts that came to an end"),
    ("ended_soon", "UInt64", "alerts that came to an end within ten minutes"),
    ("ended_soon_share", "Float64", "the share of these among all that ended: a rule with much of it is nervous"),
];

const LEDGER_DOC: &str =
    "Every offset of raw is one row, of either database: missing and repeated must be 0 in every bucket";
const LEDGER: &[(&str, &str, &str)] = &[
    ("incarnation", "LowCardinality(String)", "the life of the topics that the offsets count in"),
    ("lane", "UInt16", "the lane: partition of raw"),
    ("bucket", "UInt64", "number of the bucket of 65,536 raw offsets"),
    ("first_offset", "UInt64", "the first raw offset that is expected in the bucket"),
    ("last_offset", "UInt64", "the last one"),
    ("records", "UInt64", "rows in the bucket"),
    ("expected", "UInt64", "offsets that must be there"),
    ("missing", "Int64", "offsets without a row that nobody has acknowledged as lost"),
    ("repeated", "UInt64", "rows beyond the first of their offset"),
    ("lost", "UInt64", "offsets that are gone for good, acknowledged by somebody (see lost_records)"),
];

const COMPLETENESS_DOC: &str = "How complete the numbers are, per source heard in the last seven days";
const COMPLETENESS: &[(&str, &str, &str)] = &[
    ("source", "LowCardinality(String)", "the configured source"),
    ("complete_through", "DateTime64(3, 'UTC')", "everything received before it is in these tables"),
    ("missing", "Int64", "raw offsets without a row, over all sources (see ledger)"),
    (
        "waiting_minutes",
        "UInt32",
        "for how many whole minutes the oldest record without a row has waited; 0 while complete_through is less than a minute old",
    ),
    (
        "state",
        "LowCardinality(String)",
        "complete; waiting (nothing is lost, and records wait for their rows); or missing (offsets have no row)",
    ),
    ("last_seen", "DateTime64(3, 'UTC')", "when the source's last record was received"),
    ("records", "UInt64", "records of the last seven days"),
    ("duplicates", "UInt64", "later deliveries among them"),
    ("dead_letters", "UInt64", "records among them that could not be decoded"),
    ("late_share", "Float64", "share of the events that were received more than an hour after they happened, 0 to 1"),
];

const PACK: &[(&str, &str, &str)] = &[
    ("campaign", "LowCardinality(String)", "the campaign, '' when unknown"),
    ("channel", "LowCardinality(String)", "the channel, '' when unknown"),
    ("clicks", "UInt64", "human clicks and scans"),
    ("clicks_before", "UInt64", "human clicks and scans of the period before"),
    ("qr_scans", "UInt64", "human QR scans, part of clicks"),
    ("raw_clicks", "UInt64", "clicks and scans of anybody: human, bot and internal"),
    ("leads", "UInt64", "leads, whoever or whatever told of them"),
    ("leads_before", "UInt64", "leads of the period before"),
    ("sales", "UInt64", "sales, whoever or whatever told of them"),
    ("sales_before", "UInt64", "sales of the period before"),
    ("revenue_minor", "Map(LowCardinality(String), Int64)", "value of the sales in minor units, by currency"),
];
