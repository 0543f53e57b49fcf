//! The pages. Each file is one: what it asks, and how it looks.

pub(crate) mod changes;
pub(crate) mod discard;
pub(crate) mod event;
mod group;
pub(crate) mod handbook;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod links;
pub(crate) mod now;
pub(crate) mod redrive;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod sources;

use std::collections::BTreeMap;

use axum::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use kafka::control::Kind;
use maud::{DOCTYPE, Markup, html};
use operate::switches::{Listed, Switched};

use crate::guard::Visitor;

/// The longest text of a sender that is shown, in characters.
const MOST_SHOWN: usize = 2_000;

/// Each page that the menu leads to.
const MENU: [(&str, &str); 9] = [
    ("/", "Now"),
    ("/ledger", "Ledger"),
    ("/sources", "Sources"),
    ("/rules", "Rules and messages"),
    ("/dead-letters", "Dead letters"),
    ("/links", "Links"),
    ("/reports", "Reports"),
    ("/handbook", "Handbook"),
    ("/changes", "Changes"),
];

/// A page around its content. `path` is its place in the menu.
pub(crate) fn layout(title: &str, path: &str, visitor: &Visitor, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Hookline" }
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
            }
            body {
                a class="skip" href="#content" { "To the content" }
                header {
                    strong { "Hookline" }
                    nav aria-label="Pages" {
                        @for (to, name) in MENU {
                            @if to == path { a href=(to) aria-current="page" { (name) } } @else { a href=(to) { (name) } }
                        }
                    }
                    form class="find" action="/event" method="get" role="search" {
                        label for="find" { "Find an event" }
                        input id="find" name="id" placeholder="receipt, event key or lane:offset" autocomplete="off";
                        button { "Explain" }
                    }
                    @if visitor.is_signed_in() {
                        form action="/sign-out" method="post" { button { "Sign out" } }
                    } @else if visitor.can_sign_in {
                        a href="/sign-in" { "Sign in" }
                    }
                }
                main id="content" { (content) }
                footer { "All times are UTC. Changes are written down with who and why." }
            }
        }
    }
}

/// A page whose question was not answered: what failed, and the page around it.
pub(crate) fn failed(title: &str, path: &str, visitor: &Visitor, error: &operate::Error) -> Response {
    let content = html! {
        h1 { (title) }
        p class="state broken" role="alert" { "Not answered: " (runtime::with_causes(error)) }
        p { "What can be done: " code { "hookline status" } " says which engine does not answer." }
    };
    (StatusCode::BAD_GATEWAY, layout(title, path, visitor, &content)).into_response()
}

/// What is said in place of content that wants the token.
pub(crate) fn wants_token(title: &str, path: &str, visitor: &Visitor) -> Response {
    let content = html! {
        h1 { (title) }
        @if visitor.can_sign_in {
            p { "This may hold personal data, so it wants the token of " code { "[console]" } ": " a href="/sign-in" { "sign in" } "." }
        } @else {
            p { "This may hold personal data, so it wants a token: set " code { "[console] token" } " in the configuration." }
        }
    };
    (StatusCode::FORBIDDEN, layout(title, path, visitor, &content)).into_response()
}

/// The page on which the token is given.
pub(crate) async fn sign_in(Extension(visitor): Extension<Visitor>) -> Markup {
    sign_in_page(&visitor, None)
}

pub(crate) fn sign_in_page(visitor: &Visitor, problem: Option<&str>) -> Markup {
    let content = html! {
        h1 { "Sign in" }
        @if visitor.can_sign_in {
            @if let Some(problem) = problem { p class="state broken" role="alert" { (problem) } }
            form class="card" method="post" action="/sign-in" {
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="current-password" required;
                button { "Sign in" }
            }
            p { "It is what " code { "[console] token" } " of the configuration names." }
        } @else {
            p { "The configuration has no token, so this console only reads. Set " code { "[console] token" } " to change things here." }
        }
    };
    layout("Sign in", "", visitor, &content)
}

/// Text that a sender may have written: bounded, and with what would not be seen made visible.
pub(crate) fn shown(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        // Control and formatting characters, those that turn the direction of writing among them.
        c if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}') =>
        {
            format!("\\u{{{:x}}}", u32::from(c))
        }
        c => c.to_string(),
    };
    let mut out: String = text.chars().take(MOST_SHOWN).map(visible).collect();
    if text.chars().nth(MOST_SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// What is switched of a kind, by name.
pub(crate) fn switched<'l>(listed: &'l [Listed], kind: Kind) -> BTreeMap<&'l str, &'l Listed> {
    let prefix = format!("{}/", kind.name());
    let named = |listed: &'l Listed| Some((listed.switch.object.strip_prefix(&prefix)?, listed));
    listed.iter().filter_map(named).collect()
}

/// A switch in words: what, by whom, since when, why and until when.
pub(crate) fn held(switch: &Switched) -> Markup {
    html! {
        span class="state attention" { (format!("{:?}", switch.state).to_uppercase()) }
        " by " (shown(&switch.who)) " since " (time(switch.at.as_millisecond())) ": " (shown(&switch.why))
        @if let Some(until) = switch.until { ", until " (time(until.as_millisecond())) }
    }
}

/// A time in milliseconds since 1970, to the second.
pub(crate) fn time(at_ms: i64) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(at) if at_ms > 0 => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => "–".to_owned(),
    }
}

/// A value of a row as text.
pub(crate) fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => shown(text),
        serde_json::Value::Null => String::new(),
        serde_json::Value::Object(none) if none.is_empty() => String::new(),
        other => shown(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_wrote_is_bounded_and_nothing_in_it_is_invisible() {
        assert_eq!(shown("a\u{202e}b\u{0}c\u{200b}"), "a\\u{202e}b\\u{0}c\\u{200b}");
        let long = "ä".repeat(MOST_SHOWN + 1);
        assert_eq!(shown(&long).chars().count(), MOST_SHOWN + 1);
        assert!(shown(&long).ends_with('…'));
        assert_eq!(
            html! { (shown("<script>alert(1)</script>")) }.into_string(),
            "&lt;script&gt;alert(1)&lt;/script&gt;"
        );
    }
}
