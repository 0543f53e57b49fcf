//! The reports for marketers: finished numbers, how complete they are, a chart, and a file to take along.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State as From};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use notification::spreadsheet::cell;
use serde::Deserialize;
use serde_json::{Map, Value};
use warehouse::{REPORTS, Report, Side};

use super::{failed, layout, text};
use crate::State;
use crate::chart::bars;
use crate::guard::Visitor;

type Row = Map<String, Value>;

const TITLE: &str = "Reports";
const PATH: &str = "/reports";
/// The rows on a page, and in a file.
const ON_A_PAGE: usize = 200;
const IN_A_FILE: usize = 100_000;
/// What is drawn, the first that a report has.
const DRAWN: [&str; 4] = ["clicks", "qr_scans", "visitors", "raw_clicks"];

#[derive(Deserialize)]
pub(crate) struct Which {
    name: Option<String>,
    days: Option<u16>,
}

impl Which {
    /// The report, and for how many days: one of the three that the page offers.
    fn read(&self) -> Option<(&'static Report, u16)> {
        let report = match &self.name {
            Some(name) => Report::named(name)?,
            None => REPORTS.first()?,
        };
        let days = self.days.unwrap_or(28);
        [7, 28, 90].contains(&days).then_some((report, days))
    }
}

/// The query of a page; also shown on it.
fn sql(report: &Report, days: u16, most: usize) -> String {
    let columns: Vec<&str> = report.columns.iter().map(|column| column.name).collect();
    format!(
        "SELECT {} FROM {} WHERE day > today() - {days} ORDER BY day DESC LIMIT {most}",
        columns.join(", "),
        report.name
    )
}

pub(crate) async fn page(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Response {
    let Some((report, days)) = which.read() else { return unknown() };
    let drawn = DRAWN.into_iter().find(|name| report.columns.iter().any(|column| column.name == *name));
    let daily = drawn.map(|name| {
        format!(
            "SELECT toString(at) AS at, n FROM (SELECT day AS at, sum({name}) AS n FROM {} WHERE day > today() - {days} GROUP BY day \
             ORDER BY at WITH FILL FROM today() - {} TO today() + 1)",
            report.name,
            days - 1
        )
    });
    let sql = sql(report, days, ON_A_PAGE);
    let asked = async {
        let warehouse = state.installation().connect().await?;
        let rows = warehouse.query(Side::Production, &sql, &[]).await?;
        let complete = "SELECT formatDateTime(max(complete_through), '%F %T', 'UTC') AS at, any(state) AS state, \
                        any(missing) AS missing FROM completeness";
        let complete = warehouse.query(Side::Production, complete, &[]).await?;
        let daily = match &daily {
            Some(sql) => warehouse.query(Side::Production, sql, &[]).await?,
            None => Vec::new(),
        };
        Ok::<_, operate::Error>((rows, complete, daily))
    };
    let (rows, complete, daily) = match asked.await {
        Ok(answers) => answers,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let content = html! {
        h1 { (TITLE) }
        (choice(report, days))
        p { (report.doc) }
        (completeness(complete.first()))
        @if let Some(name) = drawn { (chart(name, &daily)) }
        (table(report, &rows))
        p { a href=(format!("/reports/csv?name={}&days={days}", report.name)) { "Download as CSV" } }
        details { summary { "The query" } pre tabindex="0" { (sql) } }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "this report does not exist; a page has 7, 28 or 90 days").into_response()
}

fn choice(chosen: &Report, days: u16) -> Markup {
    html! {
        form class="card" method="get" action="/reports" {
            label for="name" { "Report" }
            select id="name" name="name" {
                @for report in REPORTS { option value=(report.name) selected[report.name == chosen.name] { (report.name) } }
            }
            label for="days" { "Days" }
            select id="days" name="days" { @for n in [7, 28, 90] { option value=(n) selected[n == days] { (n) } } }
            button { "Show" }
        }
    }
}

fn completeness(row: Option<&Row>) -> Markup {
    match row.filter(|row| row["at"].as_str().is_some_and(|at| !at.starts_with("1970"))) {
        Some(row) => {
            html! { p { "Complete through " strong { (text(&row["at"])) } ": " (text(&row["state"])) ", " (text(&row["missing"])) " missing." } }
        }
        None => html! { p class="quiet" { "Nothing has been received in the last seven days." } },
    }
}

fn chart(name: &str, daily: &[Row]) -> Markup {
    let points: Vec<(String, f64)> =
        daily.iter().map(|row| (text(&row["at"]), row["n"].as_f64().unwrap_or_default())).collect();
    let what = format!("{name} a day");
    html! { h2 { (what) } (bars(&what, &points)) }
}

fn table(report: &Report, rows: &[Row]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Rows" {
            table {
                thead { tr { @for column in report.columns { th scope="col" title=(column.doc) { (column.name) } } } }
                tbody {
                    @for row in rows { tr { @for column in report.columns { td { (text(&row[column.name])) } } } }
                }
            }
        }
        @if rows.is_empty() { p { "These days have no rows." } }
        @if rows.len() == ON_A_PAGE { p class="quiet" { "The first " (ON_A_PAGE) " rows; the file has them all." } }
    }
}

/// The same rows as a file without formulas.
pub(crate) async fn csv(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Response {
    let Some((report, days)) = which.read() else { return unknown() };
    let asked = async {
        let warehouse = state.installation().connect().await?;
        Ok::<_, operate::Error>(warehouse.query(Side::Production, &sql(report, days, IN_A_FILE), &[]).await?)
    };
    let rows = match asked.await {
        Ok(rows) => rows,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let mut file = report.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",") + "\r\n";
    for row in &rows {
        let cells: Vec<String> = report.columns.iter().map(|column| cell(&row[column.name])).collect();
        file.push_str(&cells.join(","));
        file.push_str("\r\n");
    }
    let name = format!("attachment; filename=\"{}-{days}-days.csv\"", report.name);
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], file)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reports_that_exist_are_asked_for() {
        let which = |name: &str, days| Which { name: Some(name.into()), days: Some(days) };
        assert!(which("campaign_channel_daily", 28).read().is_some());
        assert!(which("records; DROP TABLE records", 28).read().is_none());
        assert!(which("campaign_channel_daily", 5_000).read().is_none());
    }
}
