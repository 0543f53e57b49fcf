//! Dead letters: by source, stage and reason; their bytes and what to decide for who is signed in; what was decided.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State as From};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use operate::dead_letters;
use serde::Deserialize;
use warehouse::{DeadLetterFilter, DeadLetterGroup, DeadLetterState, DecisionGroup};

use super::group::{PATH, address};
use super::{failed, layout, shown, time, wants_token};
use crate::State;
use crate::guard::Visitor;

const TITLE: &str = "Dead letters";
/// Letters whose bytes are shown at once.
const MOST: u64 = 20;
/// Decisions that are shown, the newest first.
const MOST_DECISIONS: u64 = 30;

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let report = match dead_letters::list(&state.installation(), &DeadLetterFilter::default()).await {
        Ok(report) => report,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let decided = match dead_letters::decisions(&state.installation(), MOST_DECISIONS).await {
        Ok(decided) => decided,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let flag = state.installation().flag();
    let content = html! {
        h1 { (TITLE) }
        @if report.open == 0 { p class="state fine" { "None is open." } } @else {
            p class="state attention" { (report.open) " wait for a decision: redrive them once the cause is mended, or discard them." }
        }
        @if !report.groups.is_empty() {
            div class="wide" tabindex="0" role="region" aria-label="Groups of dead letters" {
                table {
                    thead { tr {
                        @for name in ["source", "stage", "reason", "open", "redriven", "discarded", "first", "last", "bytes", "redrive", "discard"] { th scope="col" { (name) } }
                    } }
                    tbody {
                        @for group in &report.groups {
                            tr {
                                th scope="row" { (shown(&group.source)) }
                                td { (group.stage) }
                                td { (group.reason) }
                                @for n in [group.open, group.redriven, group.discarded] { td class="number" { (n) } }
                                td { (time(group.first_seen)) }
                                td { (time(group.last_seen)) }
                                td { a href=(of_group("bytes", group)) { "Look" span class="hidden" { " at " (group.reason) " of " (shown(&group.source)) } } }
                                @for (page, a_decision) in [("redrive", " a redrive of "), ("discard", " a discard of ")] {
                                    td {
                                        @if group.open > 0 {
                                            a href=(of_group(page, group)) { "Plan" span class="hidden" { (a_decision) (group.reason) " of " (shown(&group.source)) } }
                                        } @else { "–" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            h2 { "What to do" }
            p { "Mend the cause, then plan a redrive: it says what would become of them before anything happens. What shall never count, discard: that is planned "
                "in the same way. On the command line both, and more finely chosen: "
                code { "hookline dlq redrive " (flag) " --source NAME --reason LABEL --dry-run" } ", " code { "hookline dlq discard " (flag) } "." }
        }
        (super::redrive::list(&state.redrives.all()))
        (decisions(&decided))
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

/// What people decided about dead letters.
fn decisions(decided: &[DecisionGroup]) -> Markup {
    html! {
        @if !decided.is_empty() {
            h2 { "What was decided" }
            div class="wide" tabindex="0" role="region" aria-label="Decisions about dead letters" {
                table {
                    thead { tr { @for name in ["when", "decision", "letters", "source", "reason", "who", "why"] { th scope="col" { (name) } } } }
                    tbody {
                        @for one in decided {
                            tr {
                                td { (time(one.at)) }
                                th scope="row" { (one.state) }
                                td class="number" { (one.letters) }
                                td { (shown(&one.source)) }
                                td { (shown(&one.reason)) }
                                td { (shown(&one.who)) }
                                td { (shown(&one.why)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A page about a group.
fn of_group(page: &str, group: &DeadLetterGroup) -> String {
    address(page, &group.source, &group.stage, &group.reason)
}

#[derive(Deserialize)]
pub(crate) struct Which {
    source: Option<String>,
    stage: Option<String>,
    reason: Option<String>,
}

impl Which {
    /// Where a decision about them is planned, if they are one group.
    fn plan(&self, page: &str) -> Option<String> {
        Some(address(page, self.source.as_deref()?, self.stage.as_deref()?, self.reason.as_deref()?))
    }
}

/// The bytes of dead letters as they came: only for who is signed in.
pub(crate) async fn bytes(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Response {
    if !visitor.is_signed_in() {
        return wants_token(TITLE, PATH, &visitor);
    }
    let plans = which.plan("redrive").zip(which.plan("discard"));
    let filter = DeadLetterFilter {
        source: which.source,
        stage: which.stage,
        reason: which.reason,
        state: Some(DeadLetterState::Open),
        ..DeadLetterFilter::default()
    };
    let report = match dead_letters::show(&state.installation(), filter, MOST).await {
        Ok(report) => report,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let content = html! {
        h1 { "Bytes of open dead letters" }
        p class="quiet" { "The oldest " (MOST) " at most, as they came. They may hold personal data." }
        @if let Some((redrive, discard)) = plans {
            p { a href=(redrive) { "Plan a redrive of all that are like these" } ", or " a href=(discard) { "plan to discard them" } "." }
        }
        @if report.letters.is_empty() { p { "None is open." } }
        @for letter in &report.letters {
            article class="card" {
                h2 { "Lane " (letter.row.lane) ", offset " (letter.row.raw_offset) }
                p { (letter.row.stage) ": " (letter.row.reason) ". " (shown(&letter.row.detail)) }
                p class="quiet" { "Received " (time(letter.row.received_at)) ", receipt " (shown(&letter.row.request_id)) }
                @if letter.row.is_begun() {
                    p { "A redrive of it was begun " (time(letter.row.decided_at)) " by " (shown(&letter.row.decided_by)) " and has not ended: redrive it again, "
                        "an event counts once in any case." }
                }
                @match (&letter.body, &letter.body_hex) {
                    (Some(body), _) => pre tabindex="0" { (shown(body)) },
                    (None, Some(hex)) => pre tabindex="0" { (shown(hex)) },
                    (None, None) => p { "The topic no longer holds it." },
                }
            }
        }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}
