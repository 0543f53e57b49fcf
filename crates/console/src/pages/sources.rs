//! Sources: when each was last heard, what is done with it, and the switch.

use std::sync::Arc;

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use jiff::Timestamp;
use kafka::control::{Kind, Object, State as SwitchState, Switch};
use maud::{Markup, html};
use operate::status::SourceStatus;
use operate::switches::{self, Listed};
use serde::Deserialize;

use super::{failed, held, layout, switched, time};
use crate::State;
use crate::guard::{Visitor, is_of_session, of_another_session};

/// What a source can be switched to here, with what that means. Retiring one is for the command line.
const SWITCHES: [(&str, SwitchState, &str); 3] = [
    ("accept", SwitchState::Accept, "accept: take what it sends"),
    ("pause", SwitchState::Pause, "pause: answer 503, the sender tries again"),
    ("quarantine", SwitchState::Quarantine, "quarantine: answer 202 and set aside as dead letters"),
];

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let installation = state.installation();
    let (report, listed) = tokio::join!(state.status(), switches::list(&installation));
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return failed("Sources", "/sources", &visitor, &error),
    };
    let switched = switched(&listed.switched, Kind::Source);
    let content = html! {
        h1 { "Sources" }
        div class="wide" tabindex="0" role="region" aria-label="Sources" {
            table {
                thead { tr { @for name in ["source", "owner", "last heard", "switch"] { th scope="col" { (name) } } } }
                tbody { @for source in &report.sources { (row(source, switched.get(source.name.as_str()).copied())) } }
            }
        }
        @if let Some(form_key) = &visitor.form_key {
            (form(&report.sources, form_key))
        } @else {
            p class="quiet" { "Switching a source wants the token." }
        }
    };
    layout("Sources", "/sources", &visitor, &content).into_response()
}

fn row(source: &SourceStatus, switched: Option<&Listed>) -> Markup {
    let heard = source.last_seen.map_or_else(|| "not in 7 days".to_owned(), |at| time(at.as_millisecond()));
    html! {
        tr {
            th scope="row" { (source.name) }
            td { (source.owner) }
            td { (heard) }
            td {
                @match switched {
                    None => span class="state fine" { "ACCEPT" },
                    Some(Listed { switch, .. }) => (held(switch)),
                }
            }
        }
    }
}

fn form(sources: &[SourceStatus], form_key: &str) -> Markup {
    html! {
        h2 { "Switch a source" }
        form class="card" method="post" action="/sources" {
            input type="hidden" name="form_key" value=(form_key);
            label for="source" { "Source" }
            select id="source" name="source" { @for source in sources { option { (source.name) } } }
            label for="state" { "What shall be done with it" }
            select id="state" name="state" { @for (name, _, what) in SWITCHES { option value=(name) { (what) } } }
            label for="minutes" { "For so many minutes (empty: until it is switched back)" }
            input id="minutes" name="minutes" type="number" min="1" max="10080";
            label for="who" { "Who you are" }
            input id="who" name="who" required maxlength="100" autocomplete="name";
            label for="why" { "Why" }
            input id="why" name="why" required maxlength="500";
            button { "Switch" }
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct SwitchForm {
    form_key: String,
    source: String,
    state: String,
    minutes: String,
    who: String,
    why: String,
}

/// Switches a source, as `hookline pause` and `resume` do: the same function, the same audit.
pub(crate) async fn switch(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<SwitchForm>,
) -> Response {
    if !is_of_session(&visitor, &form.form_key) {
        return of_another_session();
    }
    let to = SWITCHES.iter().find(|(name, ..)| *name == form.state).map(|(_, to, _)| *to);
    let (who, why) = (form.who.trim().to_owned(), form.why.trim().to_owned());
    let Some(to) = to.filter(|_| !who.is_empty() && !why.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "say what shall be done, who you are and why").into_response();
    };
    let now = Timestamp::now();
    let until = match form.minutes.trim() {
        "" => None,
        text => match text.parse::<i64>().ok().filter(|minutes| (1..=10_080).contains(minutes)) {
            Some(minutes) => Timestamp::from_second(now.as_second() + minutes * 60).ok(),
            None => return (StatusCode::BAD_REQUEST, "minutes are a number from 1 to 10080").into_response(),
        },
    };
    let until = until.filter(|_| to != SwitchState::Accept);
    let change = Switch { state: to, who: format!("{who} (console)"), why, until, at: now };
    match switches::switch(&state.installation(), Object::source(form.source), change).await {
        Ok(_) => Redirect::to("/sources").into_response(),
        Err(error) => failed("Sources", "/sources", &visitor, &error),
    }
}
