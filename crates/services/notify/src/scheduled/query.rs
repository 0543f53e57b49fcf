//! The questions, and their answers as people read them.

use std::fmt::Write;

use notification::spreadsheet::cell;
use notification::{Attachment, Period, ReportText};
use serde_json::{Map, Value};
use warehouse::{Report, Side, Warehouse};

/// Rows of the file, and of the text of a message.
const IN_A_FILE: usize = 2_000;
const IN_A_TEXT: usize = 15;
/// Bytes of the file: a record of `deliveries` holds it.
const FILE_BYTES: usize = 400 << 10;

/// What a report says.
#[derive(Debug, Clone)]
pub enum Content {
    /// Rows of a report's view.
    View {
        /// The report.
        report: &'static Report,
        /// Columns, and the patterns (`*` for anything) that they must match.
        select: Vec<(String, Vec<String>)>,
    },
    /// What failed: messages, and events that could not be used.
    Failures,
}

/// A report that cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    /// The view does not exist.
    #[error("{view:?} is not a report; the reports are {known}")]
    NoView {
        /// What was asked for.
        view: String,
        /// What there is.
        known: String,
    },
    /// The view does not tell rows apart by that.
    #[error("{view} has no column {column}, so the report cannot be of these events alone; its columns are {known}")]
    NoColumn {
        /// The view.
        view: &'static str,
        /// What the rule's `when` asks for.
        column: String,
        /// What there is.
        known: String,
    },
}

impl Content {
    /// The rows of a view that match.
    ///
    /// # Errors
    /// When the view does not exist, or has no such column.
    pub fn view(name: &str, select: &[(String, Vec<String>)]) -> Result<Self, BadReport> {
        let names = |all: Vec<&str>| all.join(", ");
        let known = || names(warehouse::REPORTS.iter().map(|report| report.name).collect());
        let report = Report::named(name).ok_or_else(|| BadReport::NoView { view: name.to_owned(), known: known() })?;
        for (column, _) in select {
            if !report.columns.iter().any(|known| known.name == column) {
                let known = names(report.columns.iter().map(|column| column.name).collect());
                return Err(BadReport::NoColumn { view: report.name, column: column.clone(), known });
            }
        }
        Ok(Self::View { report, select: select.to_vec() })
    }

    /// Asks ClickHouse what there is to say of a period; in words why it cannot be said yet.
    pub(super) async fn ask(&self, warehouse: &Warehouse, period: &Period) -> Result<ReportText, String> {
        let failed = |error: warehouse::WarehouseError| runtime::with_causes(&error);
        let complete =
            "SELECT toUnixTimestamp64Milli(max(complete_through)) AS at, count() AS sources FROM completeness";
        let complete = warehouse.query(Side::Production, complete, &[]).await.map_err(failed)?;
        let number = |row: Option<&Row>, name: &str| row.and_then(|row| row[name].as_i64()).unwrap_or_default();
        // Nothing received for a week: then nothing is on its way.
        let (at, sources) = (number(complete.first(), "at"), number(complete.first(), "sources"));
        if sources > 0 && at < period.until_ms() {
            return Err("not everything that was received in its days is a row yet (completeness)".to_owned());
        }
        let (from, through) = (period.from.to_string(), period.through.to_string());
        let days = [("from", from.as_str()), ("through", through.as_str())];
        match self {
            Self::View { report, select } => {
                let (sql, patterns) = rows_of(report, select);
                let parameters: Vec<(&str, &str)> = days
                    .into_iter()
                    .chain(patterns.iter().map(|(name, value)| (name.as_str(), value.as_str())))
                    .collect();
                let rows = warehouse.query(Side::Production, &sql, &parameters).await.map_err(failed)?;
                Ok(report_text(report, select, period, &rows))
            }
            Self::Failures => {
                let messages = warehouse.query(Side::Production, MESSAGES, &days).await.map_err(failed)?;
                let letters = warehouse.query(Side::Production, LETTERS, &days).await.map_err(failed)?;
                Ok(failures_text(period, &messages, &letters))
            }
        }
    }
}

type Row = Map<String, Value>;

const MESSAGES: &str = "SELECT destination, owner, count() AS n, argMax(error, at) AS why \
     FROM delivery_attempts WHERE stage = 'failed' AND toDate(at, 'UTC') BETWEEN {from:Date} AND {through:Date} \
     GROUP BY destination, owner ORDER BY n DESC, destination LIMIT 200";
const LETTERS: &str = "SELECT source, stage, reason, count() AS n, countIf(state = 'open') AS open, \
     any(concat(toString(lane), ':', toString(raw_offset))) AS sample \
     FROM dead_letters WHERE toDate(received_at, 'UTC') BETWEEN {from:Date} AND {through:Date} \
     GROUP BY source, stage, reason ORDER BY open DESC, n DESC, source LIMIT 200";

/// The query of a report's rows, and the patterns that fill it. Names of columns are ours; what is configured is a
/// parameter.
fn rows_of(report: &Report, select: &[(String, Vec<String>)]) -> (String, Vec<(String, String)>) {
    let columns: Vec<&str> = report.columns.iter().map(|column| column.name).collect();
    let (mut conditions, mut parameters) = (String::new(), Vec::new());
    for (column, patterns) in select {
        let any: Vec<String> = patterns
            .iter()
            .map(|pattern| {
                let name = format!("p{}", parameters.len());
                parameters.push((name.clone(), like(pattern)));
                format!("lower(toString({column})) LIKE {{{name}:String}}")
            })
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(conditions, " AND ({})", any.join(" OR "));
    }
    let measure = columns.iter().find(|name| ["clicks", "scans", "visitors"].contains(name));
    let order = measure.map(|name| format!("{name} DESC, day")).unwrap_or_else(|| "day".to_owned());
    let sql = format!(
        "SELECT {} FROM {} WHERE day BETWEEN {{from:Date}} AND {{through:Date}}{conditions} ORDER BY {order} LIMIT {IN_A_FILE}",
        columns.join(", "),
        report.name
    );
    (sql, parameters)
}

/// A pattern with `*` as one of LIKE.
fn like(pattern: &str) -> String {
    let escaped = pattern.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    escaped.replace('*', "%")
}

fn report_text(report: &Report, select: &[(String, Vec<String>)], period: &Period, rows: &[Row]) -> ReportText {
    let of: Vec<String> =
        select.iter().map(|(column, patterns)| format!("{column} {}", patterns.join(" or "))).collect();
    let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
    let title = format!("{}{of}, {}", report.name, period.words());
    let mut text = report.doc.to_owned();
    // Writing to a String cannot fail.
    if rows.is_empty() {
        text.push_str("\nNo rows.");
    }
    for row in rows.iter().take(IN_A_TEXT) {
        let _ = write!(text, "\n- {}", line(report, row));
    }
    match rows.len() {
        IN_A_FILE => _ = write!(text, "\n- the first {IN_A_FILE} rows; the view {} has them all", report.name),
        many if many > IN_A_TEXT => _ = write!(text, "\n- others: {} rows", many - IN_A_TEXT),
        _ => {}
    }
    let name = format!("{}-{}.csv", report.name, period.through);
    let columns: Vec<&str> = report.columns.iter().map(|column| column.name).collect();
    let attachment = Some(Attachment { name, csv: csv(&columns, rows) });
    ReportText { title, text, count: rows.len() as u64, attachment }
}

/// A row as people read it: what tells it apart, then its numbers, those that are 0 left out.
fn line(report: &Report, row: &Row) -> String {
    let said = |name: &str| match &row[name] {
        Value::Null => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::Bool(false) => None,
        Value::Object(map) if map.is_empty() => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(format!("{name} {other}")),
    };
    report.columns.iter().filter_map(|column| said(column.name)).collect::<Vec<_>>().join(", ")
}

fn failures_text(period: &Period, messages: &[Row], letters: &[Row]) -> ReportText {
    let sum = |rows: &[Row], name: &str| rows.iter().filter_map(|row| row[name].as_u64()).sum::<u64>();
    let text_of = |row: &Row, name: &str| match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (failed, dead, open) = (sum(messages, "n"), sum(letters, "n"), sum(letters, "open"));
    let title = match (failed, dead) {
        (0, 0) => format!("failures, {}: none", period.words()),
        _ => format!("failures, {}: {failed} messages, {dead} events set aside, {open} of them open", period.words()),
    };
    let mut text = String::from("Messages that were given up:");
    if messages.is_empty() {
        text.push_str(" none.");
    }
    // Writing to a String cannot fail.
    for row in messages.iter().take(IN_A_TEXT) {
        let (to, owner, error) = (text_of(row, "destination"), text_of(row, "owner"), text_of(row, "why"));
        let _ = write!(text, "\n- {to} (owner {owner}): {}, last: {error}", row["n"]);
    }
    text.push_str("\nDead letters and quarantined bodies:");
    if letters.is_empty() {
        text.push_str(" none.");
    }
    for row in letters.iter().take(IN_A_TEXT) {
        let (source, stage, reason) = (text_of(row, "source"), text_of(row, "stage"), text_of(row, "reason"));
        let sample = text_of(row, "sample");
        let _ = write!(text, "\n- {source}, {stage}, {reason}: {} ({} open), such as {sample}", row["n"], row["open"]);
    }
    if open > 0 {
        text.push_str("\nDo: hookline dlq list; then redrive or discard them.");
    }
    let columns = ["kind", "name", "stage", "reason", "count", "open", "sample"];
    let row = |cells: [Value; 7]| columns.iter().map(|name| (*name).to_owned()).zip(cells).collect::<Row>();
    let of_messages = messages.iter().map(|one| {
        let error = one["why"].clone();
        row(["message".into(), one["destination"].clone(), "".into(), error, one["n"].clone(), "".into(), "".into()])
    });
    let of_letters = letters.iter().map(|one| {
        let [source, stage, reason] = ["source", "stage", "reason"].map(|name| one[name].clone());
        let [n, open, sample] = ["n", "open", "sample"].map(|name| one[name].clone());
        row(["event".into(), source, stage, reason, n, open, sample])
    });
    let rows: Vec<Row> = of_messages.chain(of_letters).collect();
    let attachment = Attachment { name: format!("failures-{}.csv", period.through), csv: csv(&columns, &rows) };
    ReportText { title, text, count: failed + dead, attachment: (!rows.is_empty()).then_some(attachment) }
}

/// Rows as a file without formulas.
fn csv(columns: &[&str], rows: &[Row]) -> String {
    let mut file = columns.join(",") + "\r\n";
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| cell(&row[*name])).collect();
        let line = cells.join(",") + "\r\n";
        if file.len() + line.len() > FILE_BYTES {
            break;
        }
        file.push_str(&line);
    }
    file
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn period() -> Period {
        let day = jiff::civil::Date::constant(2026, 11, 28);
        Period { from: day, through: day, due_ms: 0 }
    }

    fn rows(rows: &[Value]) -> Vec<Row> {
        rows.iter().map(|row| row.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn a_report_asks_for_the_rows_of_the_rule_by_parameters_alone() {
        let select = vec![("programme".to_owned(), vec!["instore".to_owned(), "pack_*'".to_owned()])];
        let Ok(Content::View { report, select }) = Content::view("qr_placement_daily", &select) else { panic!() };
        let (sql, parameters) = rows_of(report, &select);
        assert!(
            sql.contains(
                "(lower(toString(programme)) LIKE {p0:String} OR lower(toString(programme)) LIKE {p1:String})"
            )
        );
        assert!(sql.ends_with("ORDER BY scans DESC, day LIMIT 2000"), "{sql}");
        assert_eq!(parameters[1], ("p1".to_owned(), "pack\\_%'".to_owned()));
        let wrong = Content::view("qr_placement_daily", &[("tag".to_owned(), vec![])]).unwrap_err().to_string();
        assert!(wrong.starts_with("qr_placement_daily has no column tag"), "{wrong}");
        let wrong = Content::view("records", &[]).unwrap_err().to_string();
        assert!(wrong.contains("campaign_channel_daily"), "{wrong}");
    }

    #[test]
    fn a_report_says_its_rows_and_has_them_as_a_file_without_formulas() {
        let report = Report::named("qr_placement_daily").unwrap();
        let rows = rows(&[json!({
            "day": "2026-11-28", "programme": "instore", "placement": "=1+1", "country": "DE", "region": "", "hidden": false,
            "scans": 12, "bot_scans": 0, "internal_scans": 1, "raw_scans": 13,
        })]);
        let said = report_text(report, &[("programme".into(), vec!["instore".into()])], &period(), &rows);
        assert_eq!(said.title, "qr_placement_daily (programme instore), 2026-11-28");
        assert!(
            said.text.ends_with("- 2026-11-28, instore, =1+1, DE, scans 12, internal_scans 1, raw_scans 13"),
            "{}",
            said.text
        );
        let file = said.attachment.unwrap();
        assert_eq!(file.name, "qr_placement_daily-2026-11-28.csv");
        assert_eq!(
            file.csv.lines().nth(1).unwrap(),
            r#""2026-11-28","instore","'=1+1","DE","","false","12","0","1","13""#
        );
        assert!(report_text(report, &[], &period(), &[]).text.ends_with("No rows."));
    }

    #[test]
    fn the_digest_of_failures_names_what_failed_where_and_what_to_do() {
        let messages = rows(&[json!({ "destination": "crm", "owner": "growth", "n": 3, "why": "401" })]);
        let letters = rows(&[
            json!({ "source": "dub", "stage": "adapt", "reason": "not_json", "n": 5, "open": 4, "sample": "0:7" }),
        ]);
        let said = failures_text(&period(), &messages, &letters);
        assert_eq!(said.title, "failures, 2026-11-28: 3 messages, 5 events set aside, 4 of them open");
        for line in [
            "- crm (owner growth): 3, last: 401",
            "- dub, adapt, not_json: 5 (4 open), such as 0:7",
            "Do: hookline dlq list",
        ] {
            assert!(said.text.contains(line), "{line} is not in {}", said.text);
        }
        assert_eq!(said.attachment.unwrap().csv.lines().count(), 3);
        let quiet = failures_text(&period(), &[], &[]);
        assert_eq!((quiet.title.as_str(), quiet.attachment), ("failures, 2026-11-28: none", None));
    }
}
