//! The ledger: every offset of `raw` is one row.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{failed, layout, time};
use crate::State;
use crate::guard::Visitor;

/// Missing records that are looked at.
const DETAILS: usize = 20;

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let report = match operate::ledger::read(&state.installation(), DETAILS).await {
        Ok(report) => report,
        Err(error) => return failed("Ledger", "/ledger", &visitor, &error),
    };
    let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    let waits = report.lanes.iter().any(operate::ledger::LaneReport::waits);
    let content = html! {
        h1 { "Ledger" }
        @if !report.ok {
            p class="state broken" role="alert" { "The ledger does not balance." }
        } @else if waits {
            p class="state attention" { "Nothing is lost, and records have waited for their rows for minutes: a lane stands still." }
        } @else {
            p class="state fine" { "The ledger balances: every settled record is one row." }
        }
        @if let Some(why) = &report.kafka { p class="state attention" { "Kafka does not say what it holds: " (why) } }
        div class="wide" tabindex="0" role="region" aria-label="Lanes" {
            table {
                thead { tr {
                    @for name in ["lane", "rows", "expected", "missing", "repeated", "lost", "waiting", "for minutes"] { th scope="col" { (name) } }
                } }
                tbody {
                    @for lane in &report.lanes {
                        tr {
                            th scope="row" { (lane.lane) }
                            @for n in [lane.records, lane.expected, lane.missing, lane.repeated as u64, lane.lost] { td class="number" { (n) } }
                            td class="number" { (number(lane.waiting)) }
                            td class="number" { (lane.waiting_minutes) }
                        }
                    }
                }
            }
        }
        @for lane in &report.lanes {
            @for range in &lane.missing_offsets {
                p class="state broken" {
                    "Lane " (lane.lane) ": " (range) " missing. "
                    a href=(format!("/event?id={}:{}", lane.lane, range.first())) { "Look at the first" }
                }
            }
        }
        @if !report.next.is_empty() {
            h2 { "What mends it" }
            ul { @for command in &report.next { li { code { (command) } } } }
        }
        @if !report.losses.is_empty() {
            h2 { "Acknowledged as lost" }
            ul {
                @for loss in &report.losses {
                    li { "lane " (loss.lane) ", from " (loss.first_offset) ", by " (loss.who) " at " (time(loss.at)) ": " (loss.why) }
                }
            }
        }
    };
    layout("Ledger", "/ledger", &visitor, &content).into_response()
}
