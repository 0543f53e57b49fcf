//! What was switched, by whom and why: the audit.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use maud::html;
use operate::switches::{self, Changed};

use super::{failed, layout, shown, time};
use crate::State;
use crate::guard::Visitor;

/// Changes that are shown, newest first.
const MOST: usize = 200;

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let report = match switches::history(&state.installation(), None).await {
        Ok(report) => report,
        Err(error) => return failed("Changes", "/changes", &visitor, &error),
    };
    let content = html! {
        h1 { "Changes" }
        @if report.changes.is_empty() { p { "Nothing has been switched yet." } } @else {
            div class="wide" tabindex="0" role="region" aria-label="Changes" {
                table {
                    thead { tr { @for name in ["when", "what", "from", "to", "until", "who", "why"] { th scope="col" { (name) } } } }
                    tbody {
                        @for Changed { switch, was } in report.changes.iter().rev().take(MOST) {
                            tr {
                                td { (time(switch.at.as_millisecond())) }
                                th scope="row" { (switch.object) }
                                td { (format!("{was:?}").to_lowercase()) }
                                td { (format!("{:?}", switch.state).to_lowercase()) }
                                td { (switch.until.map_or_else(String::new, |until| time(until.as_millisecond()))) }
                                td { (shown(&switch.who)) }
                                td { (shown(&switch.why)) }
                            }
                        }
                    }
                }
            }
        }
        @for why in &report.unreadable { p class="state attention" { "A record cannot be read: " (shown(why)) } }
    };
    layout("Changes", "/changes", &visitor, &content).into_response()
}
