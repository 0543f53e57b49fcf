//! The first page: what is broken, what is lost, what to do next; the same words as `hookline status`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State as From;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use maud::{Markup, html};
use operate::status::{LostVerdict, Part, Severity, StatusReport};
use runtime::Shutdown;
use warehouse::Side;

use super::{layout, shown, text, time};
use crate::State;
use crate::chart::bars;
use crate::guard::Visitor;

/// Between two looks of the live page.
const EVERY: Duration = Duration::from_secs(3);

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Markup {
    let content = html! {
        p id="stale" class="state attention" role="status" hidden { "Not live: the stream has stopped. What is shown is old." }
        div id="live" data-live="/live" aria-live="off" { (now(&state).await) }
    };
    layout("Now", "/", &visitor, &content)
}

/// The content of the first page, again and again.
pub(crate) async fn live(From(state): From<Arc<State>>, Extension(shutdown): Extension<Shutdown>) -> impl IntoResponse {
    let again = stream::unfold((state, shutdown), |(state, shutdown)| async {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.given() => return None,
        }
        let event = Event::default().data(now(&state).await.into_string().replace(['\r', '\n'], " "));
        Some((Ok::<_, Infallible>(event), (state, shutdown)))
    });
    Sse::new(again).keep_alive(KeepAlive::default())
}

async fn now(state: &State) -> Markup {
    let (report, flow) = tokio::join!(state.status(), flow(state));
    html! {
        (head(&report))
        (problems(&report))
        section aria-labelledby="parts" {
            h2 id="parts" { "What runs" }
            div class="wide" tabindex="0" role="region" aria-label="Parts and their states" {
                table {
                    thead { tr { th scope="col" { "part" } th scope="col" { "state" } th scope="col" { "what it says" } } }
                    tbody { @for part in report.engines.iter().chain(&report.stages) { (row(part)) } }
                }
            }
        }
        (flow)
        p class="quiet" { "As of " (time(report.at.as_millisecond())) }
    }
}

fn head(report: &StatusReport) -> Markup {
    let lost = match report.lost.verdict {
        LostVerdict::Nothing => "nothing",
        LostVerdict::Repairable => "nothing for good",
        LostVerdict::Lost => "RECORDS ARE LOST",
        LostVerdict::NotProven => "nothing is known to be lost",
    };
    html! {
        h1 class=(class(Some(report.state))) { (word(Some(report.state))) ": " (report.headline) }
        p class="lost" { "Lost: " strong { (lost) } " (" (report.lost.proof) ")" }
        @if let Some(open @ 1..) = report.dead_letters_open {
            p { a href="/dead-letters" { (open) " dead letters wait for a decision" } }
        }
    }
}

fn problems(report: &StatusReport) -> Markup {
    html! {
        @if !report.problems.is_empty() {
            section aria-labelledby="problems" {
                h2 id="problems" { "What to do next" }
                ol class="problems" {
                    @for problem in &report.problems {
                        li class=(class(Some(problem.severity))) {
                            strong { (shown(&problem.what)) }
                            @if !problem.why.is_empty() { p { (shown(&problem.why)) } }
                            p { "Next: " code { (shown(&problem.next)) } }
                            p class="quiet" { "Page: " (shown(&problem.runbook)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(part: &Part) -> Markup {
    html! {
        tr {
            th scope="row" { (part.name) }
            td { span class=(class(part.state)) { (word(part.state)) } }
            td { (shown(&part.says)) }
        }
    }
}

/// A state as a word: colour alone says nothing to many.
fn word(state: Option<Severity>) -> &'static str {
    match state {
        Some(Severity::Fine) => "FINE",
        Some(Severity::Attention) => "LOOK",
        Some(Severity::Broken) => "BROKEN",
        None => "NOT ASKED",
    }
}

fn class(state: Option<Severity>) -> &'static str {
    match state {
        Some(Severity::Fine) => "state fine",
        Some(Severity::Attention) => "state attention",
        Some(Severity::Broken) => "state broken",
        None => "state",
    }
}

/// The records of the last half hour, a minute each.
async fn flow(state: &State) -> Markup {
    let sql = "SELECT formatDateTime(minute, '%H:%i', 'UTC') AS at, n FROM (SELECT toStartOfMinute(received_at) AS minute, count() AS n \
               FROM records WHERE received_at > now() - INTERVAL 30 MINUTE GROUP BY minute ORDER BY minute WITH FILL \
               FROM toStartOfMinute(now() - INTERVAL 29 MINUTE) TO toStartOfMinute(now() + INTERVAL 1 MINUTE) STEP INTERVAL 1 MINUTE)";
    let rows = match state.installation().connect().await {
        Ok(warehouse) => warehouse.query(Side::Production, sql, &[]).await,
        Err(_) => return html! { p class="quiet" { "ClickHouse does not answer, so the flow is not known." } },
    };
    match rows {
        Ok(rows) => {
            let points: Vec<(String, f64)> =
                rows.iter().map(|row| (text(&row["at"]), row["n"].as_f64().unwrap_or_default())).collect();
            html! {
                section aria-labelledby="flow" {
                    h2 id="flow" { "Records a minute, the last half hour" }
                    (bars("Records a minute, the last half hour", &points))
                }
            }
        }
        Err(error) => html! { p class="quiet" { "No flow: " (shown(&error.to_string())) } },
    }
}
