//! The workflow record: who owns what, what is sent where, how to pause; and what is really used.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use operate::handbook::{self, Block, Drift, Part};

use super::{layout, shown};
use crate::State;
use crate::guard::Visitor;

const TITLE: &str = "Handbook";
/// Rows of a table: a page is to stay small, and `hookline handbook` has all of them.
const MOST: usize = 100;

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let installation = state.installation();
    let record = handbook::handbook(&installation.config, Some(&installation)).await;
    let content = html! {
        h1 { (TITLE) }
        p { "The workflow record of configuration " code { (record.config) } ". As Markdown or HTML, to be kept: "
            code { "hookline handbook " (installation.flag()) } "." }
        @if record.missing.is_empty() { p class="state fine" { "Nothing that a record is to say is missing." } } @else {
            p class="state attention" { (record.missing.len()) " things are missing in this record:" }
            ul { @for missing in &record.missing { li { (shown(missing)) } } }
        }
        @if let Some((file, drift)) = handbook::drift(&installation.config) {
            p class="state attention" { "The stored handbook " (file.display()) " " (differs(&drift)) }
        }
        nav aria-label="Parts of the handbook" {
            @for part in &record.parts { a href=(format!("#{}", part.id)) { (part.title) } }
        }
        @for part in &record.parts { (section(part)) }
    };
    layout(TITLE, "/handbook", &visitor, &content).into_response()
}

fn differs(drift: &Drift) -> String {
    match drift {
        Drift::Unreadable(why) => format!("cannot be read: {why}"),
        Drift::Unmarked => "was not written by `hookline handbook`, so nothing can be said of it".to_owned(),
        Drift::Parts(titles) => format!("is of another configuration: {}", titles.join(", ")),
    }
}

fn section(part: &Part) -> Markup {
    html! {
        section id=(part.id) {
            h2 { (part.title) }
            @for block in &part.blocks { (self::block(&part.title, block)) }
        }
    }
}

fn block(title: &str, block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (shown(text)) } },
        Block::Commands(commands) => html! { pre tabindex="0" { (shown(&commands.join("\n"))) } },
        Block::Table { head, rows } => html! {
            div class="wide" tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr { @for name in head { th scope="col" { (name) } } } }
                    tbody { @for row in rows.iter().take(MOST) { tr { @for cell in row { td { (shown(cell)) } } } } }
                }
            }
            @if rows.len() > MOST { p class="quiet" { "And " (rows.len() - MOST) " more." } }
        },
    }
}
