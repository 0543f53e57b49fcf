//! Links and naming: what the standard demands, what breaks it and whose that is, and which links say nothing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State as From};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use operate::naming::{self, NamingReport};
use serde::Deserialize;

use super::{failed, layout, shown};
use crate::State;
use crate::guard::Visitor;

const TITLE: &str = "Links and naming";
const PATH: &str = "/links";
const SPANS: [u32; 3] = [1, 7, 28];

#[derive(Deserialize)]
pub(crate) struct Asked {
    days: Option<u32>,
}

pub(crate) async fn page(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let days = asked.days.filter(|days| SPANS.contains(days)).unwrap_or(7);
    let installation = state.installation();
    let report = match naming::read(&installation, days).await {
        Ok(report) => report,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let content = html! {
        h1 { (TITLE) }
        nav aria-label="Time" {
            @for span in SPANS {
                @let to = format!("{PATH}?days={span}");
                @let name = if span == 1 { "a day".to_owned() } else { format!("{span} days") };
                @if span == days { a href=(to) aria-current="page" { (name) } } @else { a href=(to) { (name) } }
            }
        }
        (sentence(&report))
        (standards(&report))
        (breaks(&report))
        (links(&report))
        p class="quiet" { "Before links go live, their list can be held to the same standard: "
            code { "hookline lint links.csv " (installation.flag()) } "." }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

fn sentence(report: &NamingReport) -> Markup {
    let totals = &report.totals;
    html! {
        @if report.standards.is_empty() {
            p class="state" { "No naming standard is configured, so nothing breaks one: " code { "[naming]" } " of the configuration says it." }
        } @else if report.ok {
            p class="state fine" { "Nothing breaks the standard." }
        } @else {
            p class="state attention" { (totals.breaking) " of " (totals.events) " events break the standard. They are stored and counted all the same." }
        }
        p { (totals.links) " links, " (totals.events) " events; " (totals.without_campaign) " events say no campaign, "
            (totals.without_kind) " no kind of link." }
    }
}

fn table(title: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label=(title) {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

fn standards(report: &NamingReport) -> Markup {
    let rows = html! {
        @for one in &report.standards {
            tr { th scope="row" { (one.field) } td { code { (shown(&one.form)) } } td { (shown(&one.example)) } td class="number" { (one.aliases) } }
        }
    };
    html! {
        @if !report.standards.is_empty() {
            h2 { "The standard" }
            (table("The standard", &["field", "may be", "for example", "other names"], &rows))
        }
    }
}

fn breaks(report: &NamingReport) -> Markup {
    let rows = html! {
        @for one in &report.breaks {
            tr {
                th scope="row" { (shown(&one.owner)) }
                td { (shown(&one.issue)) }
                td class="number" { (one.events) }
                td class="number" { (one.links) }
                td { (shown(&one.example)) }
            }
        }
    };
    html! {
        @if !report.breaks.is_empty() {
            h2 { "What breaks it, by owner" }
            (table("What breaks the standard", &["owner", "what", "events", "links", "one of them"], &rows))
        }
    }
}

fn links(report: &NamingReport) -> Markup {
    let rows = html! {
        @for one in &report.links {
            tr {
                // Text and not a link: where it leads is up to the sender.
                th scope="row" { (shown(&one.link)) }
                td { (shown(&one.owner)) }
                td { (shown(&one.kind)) }
                td { (shown(&one.campaign)) }
                td { (shown(&one.channel)) }
                td class="number" { (one.events) }
                td { @if one.issues.is_empty() { "neither campaign nor kind" } @else { (shown(&one.issues.join(", "))) } }
            }
        }
    };
    html! {
        h2 { "Links to mend" }
        @if report.links.is_empty() { p class="state fine" { "None." } } @else {
            p class="quiet" { "Those that break the standard, then those that say neither campaign nor kind; with the most events first, 50 at most." }
            (table("Links to mend", &["link", "owner", "kind", "campaign", "channel", "events", "why"], &rows))
        }
    }
}
