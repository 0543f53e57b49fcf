//! One event: what each stage decided, with what gave it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State as From};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use operate::explain::{self, Explained, Selector};
use serde::Deserialize;

use super::{failed, layout, shown, text, wants_token};
use crate::State;
use crate::guard::Visitor;

const TITLE: &str = "Event";
/// The longest id that is looked for, in bytes.
const MOST: usize = 1_024;

#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    id: String,
}

pub(crate) async fn page(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Response {
    if !visitor.is_signed_in() {
        return wants_token(TITLE, "/event", &visitor);
    }
    let id = which.id.trim();
    if id.is_empty() || id.len() > MOST {
        let content = html! { h1 { (TITLE) } p { "Give a receipt, an event key, or lane:offset." } };
        return layout(TITLE, "/event", &visitor, &content).into_response();
    }
    let (installation, selector) = (state.installation().clone(), selector(id));
    // What explains keeps caches that stay on one thread.
    let handle = tokio::runtime::Handle::current();
    let answer = tokio::task::spawn_blocking(move || handle.block_on(explain::stored(&installation, &selector)));
    let report = match answer.await.map_err(operate::Error::from).and_then(|report| report) {
        Ok(report) => report,
        Err(error) => return failed(TITLE, "/event", &visitor, &error),
    };
    let content = html! {
        h1 { "Event " (shown(id)) }
        @if report.events.is_empty() { p class="state attention" { "Nothing is known of it." } }
        @for event in &report.events { (explained(event)) }
        @if !report.next.is_empty() { h2 { "Next" } ul { @for next in &report.next { li { code { (shown(next)) } } } } }
    };
    layout(TITLE, "/event", &visitor, &content).into_response()
}

/// An event key may hold a colon as well: only two numbers are a place.
fn selector(id: &str) -> Selector {
    let place = id.split_once(':').and_then(|(lane, offset)| Some((lane.parse().ok()?, offset.parse().ok()?)));
    place.map_or_else(|| Selector::Id(id.to_owned()), |(lane, offset)| Selector::Record(lane, offset))
}

fn explained(event: &Explained) -> Markup {
    html! {
        article class="card" {
            @if let Some(place) = &event.place { h2 { "Lane " (place.lane) ", offset " (place.offset) } }
            ol class="stages" {
                @for stage in &event.stages {
                    li {
                        strong { (stage.stage) } " " (shown(&stage.verdict))
                        @if !stage.because.is_empty() {
                            dl {
                                @for because in &stage.because {
                                    dt { (shown(&because.what)) " = " (shown(&because.is)) }
                                    dd { (shown(&because.by)) }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(rules) = event.rules.as_ref().filter(|rules| !rules.is_empty()) {
                h3 { "Rules" }
                ul {
                    @for rule in rules {
                        li {
                            span class=(if rule.matched { "state attention" } else { "state" }) { (if rule.matched { "MATCHES" } else { "NO MATCH" }) }
                            " " strong { (rule.rule) } ": " (shown(&rule.why)) " " (shown(&rule.then))
                        }
                    }
                }
            }
            @if let Some(differences) = event.differences.as_ref().filter(|differences| !differences.is_empty()) {
                h3 { "The configuration of now would say" }
                ul { @for one in differences { li { (one.column) ": " (text(&one.now)) " instead of " (text(&one.stored)) } } }
            }
            details {
                summary { "The row" }
                dl { @for (column, value) in &event.row { dt { (column) } dd { (text(value)) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_are_a_place_and_everything_else_is_an_id() {
        assert!(matches!(selector("3:40"), Selector::Record(3, 40)));
        assert!(matches!(selector("click:40"), Selector::Id(_)));
        assert!(matches!(selector("req_01"), Selector::Id(_)));
    }
}
