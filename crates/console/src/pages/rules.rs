//! Rules with their owners and what they raised, and what became of the messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use kafka::control::Kind;
use maud::{Markup, html};
use operate::switches::{self, Listed};
use serde_json::{Map, Value};
use warehouse::Side;

use super::{failed, held, layout, shown, switched, text};
use crate::State;
use crate::guard::Visitor;

type Row = Map<String, Value>;

/// Alerts of the last week, by rule.
const RAISED: &str = "SELECT rule, count() AS n, formatDateTime(max(received_at), '%F %T', 'UTC') AS last FROM alerts \
                      WHERE received_at > now() - INTERVAL 7 DAY GROUP BY rule";
/// The last messages.
const MESSAGES: &str = "SELECT formatDateTime(last_at, '%F %T', 'UTC') AS at, rule, `group`, destination, owner, stage::String AS stage, \
                        attempts, status, error, alerts FROM deliveries ORDER BY last_at DESC LIMIT 50";

pub(crate) async fn page(From(state): From<Arc<State>>, Extension(visitor): Extension<Visitor>) -> Response {
    let warehouse = match state.installation().connect().await {
        Ok(warehouse) => warehouse,
        Err(error) => return failed("Rules and messages", "/rules", &visitor, &error),
    };
    let listed = match switches::list(&state.installation()).await {
        Ok(listed) => listed.switched,
        Err(error) => return failed("Rules and messages", "/rules", &visitor, &error),
    };
    let asked = tokio::try_join!(
        warehouse.query(Side::Production, RAISED, &[]),
        warehouse.query(Side::Production, MESSAGES, &[]),
    );
    let (raised, messages) = match asked {
        Ok(rows) => rows,
        Err(error) => return failed("Rules and messages", "/rules", &visitor, &error.into()),
    };
    let raised: BTreeMap<String, &Row> = raised.iter().map(|row| (text(&row["rule"]), row)).collect();
    let content = html! {
        h1 { "Rules and messages" }
        (rules(&state, &raised, &switched(&listed, Kind::Rule)))
        (paused(&switched(&listed, Kind::Destination)))
        (sent(&messages))
    };
    layout("Rules and messages", "/rules", &visitor, &content).into_response()
}

fn rules(state: &State, raised: &BTreeMap<String, &Row>, paused: &BTreeMap<&str, &Listed>) -> Markup {
    let installation = state.installation();
    let rules = &installation.config.rules;
    html! {
        @if rules.is_empty() { p { "The configuration has no rule." } } @else {
            div class="wide" tabindex="0" role="region" aria-label="Rules" {
                table {
                    thead { tr {
                        @for name in ["rule", "owner", "sends to", "alerts in 7 days", "the last", "what to do"] { th scope="col" { (name) } }
                    } }
                    tbody {
                        @for rule in rules {
                            @let row = raised.get(rule.rule.name());
                            tr {
                                th scope="row" { (rule.rule.name()) }
                                td { (rule.rule.owner()) }
                                td {
                                    @match &rule.send {
                                        Some(sending) => { (sending.to.join(", ")) },
                                        None => { "nothing (counted only)" },
                                    }
                                    @if let Some(listed) = paused.get(rule.rule.name()) { br; (held(&listed.switch)) }
                                }
                                td class="number" { (row.map_or_else(|| "0".to_owned(), |row| text(&row["n"]))) }
                                td { (row.map_or_else(|| "–".to_owned(), |row| text(&row["last"]))) }
                                td { (rule.instruction.as_deref().unwrap_or_default()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Destinations for which messages wait.
fn paused(destinations: &BTreeMap<&str, &Listed>) -> Markup {
    html! {
        @for (name, listed) in destinations { p { "Destination " strong { (name) } ": " (held(&listed.switch)) } }
    }
}

fn sent(messages: &[Row]) -> Markup {
    html! {
        h2 { "The last messages" }
        @if messages.is_empty() { p { "No message has been planned yet." } } @else {
            div class="wide" tabindex="0" role="region" aria-label="Messages" {
                table {
                    thead { tr {
                        @for name in ["at", "rule", "about", "destination", "owner", "stage", "attempts", "answer"] { th scope="col" { (name) } }
                    } }
                    tbody {
                        @for row in messages {
                            @let failed = row["stage"] == "failed";
                            tr {
                                td { (text(&row["at"])) }
                                th scope="row" { (text(&row["rule"])) }
                                td { (text(&row["group"])) }
                                td { (text(&row["destination"])) }
                                td { (text(&row["owner"])) }
                                td { span class=(if failed { "state broken" } else { "state" }) { (text(&row["stage"])) } }
                                td class="number" { (text(&row["attempts"])) }
                                td { (answer(row)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the receiver said: its status and its words, as far as there are any.
fn answer(row: &Row) -> String {
    let (status, error) = (text(&row["status"]), text(&row["error"]));
    match (status.as_str(), error.is_empty()) {
        ("0", true) => String::new(),
        ("0", false) => error,
        (status, true) => status.to_owned(),
        (status, false) => shown(&format!("{status}: {error}")),
    }
}
