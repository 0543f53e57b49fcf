//! Microsoft Teams: the address of a workflow that posts Adaptive Cards.

use std::fmt::Write;

use serde_json::{Value, json};

use super::page::{escaped, pill};
use super::{Behaviour, Double, Request, Response};

#[derive(Default)]
pub(super) struct Teams {
    cards: Vec<Value>,
}

/// Bytes of a body; what is larger is accepted and vanishes.
const BODY: usize = 28 * 1024;
const SIZES: [&str; 5] = ["default", "small", "medium", "large", "extraLarge"];
const WEIGHTS: [&str; 3] = ["default", "lighter", "bolder"];

impl Double for Teams {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!("url = \"http://{address}/workflows/1\"");
        ("teams", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body) = (Vec::new(), request.json());
        if request.body.len() > BODY {
            faults.push(format!("{} bytes: Teams accepts it and posts nothing", request.body.len()));
        }
        let attachment = &body["attachments"][0];
        if body["type"] != "message" || attachment["contentType"] != "application/vnd.microsoft.card.adaptive" {
            faults.push("it is not a message with an Adaptive Card".to_owned());
        }
        let card = &attachment["content"];
        if card["type"] != "AdaptiveCard"
            || !matches!(card["version"].as_str(), Some("1.0" | "1.1" | "1.2" | "1.3" | "1.4"))
        {
            faults.push(format!("a card of type {} and version {}", card["type"], card["version"]));
        }
        let mut texts = Vec::new();
        for block in card["body"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("TextBlock") => texts.push(block["text"].as_str().unwrap_or_default().to_owned()),
                Some("RichTextBlock") => {
                    for run in block["inlines"].as_array().into_iter().flatten() {
                        let one_of =
                            |key: &str, names: &[&str]| run[key].as_str().is_none_or(|name| names.contains(&name));
                        if run["type"] != "TextRun" || !run["text"].is_string() {
                            faults.push("a run without a text".to_owned());
                        }
                        if !one_of("size", &SIZES) || !one_of("weight", &WEIGHTS) {
                            faults.push(format!("a run of size {} and weight {}", run["size"], run["weight"]));
                        }
                    }
                }
                Some("ActionSet" | "FactSet" | "Container") => {}
                other => faults.push(format!("an element of type {other:?}")),
            }
        }
        for entity in card["msteams"]["entities"].as_array().into_iter().flatten() {
            let text = entity["text"].as_str().unwrap_or_default();
            if !texts.iter().any(|one| one.contains(text))
                || entity["mentioned"]["id"].as_str().is_none_or(str::is_empty)
            {
                faults.push(format!("the mention {text:?} stands in no text, or has no id"));
            }
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        // Whether the card is posted, the answer does not say.
        if self.faults(request).is_empty() {
            self.cards.push(request.json()["attachments"][0]["content"].clone());
        }
        Response::text(202, "")
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => {
                Response::json(429, &json!({ "error": { "code": "TooManyRequests" } })).with("retry-after", "1")
            }
            Behaviour::Refuses => {
                Response::json(401, &json!({ "error": { "code": "DirectApiAuthorizationRequired" } }))
            }
            _ => Response::json(413, &json!({ "error": { "code": "RequestEntityTooLarge" } })),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=teams><h1>Alerts</h1>".to_owned();
        for card in &self.cards {
            out.push_str("<article><b class=logo>W</b><div><strong>Workflows</strong><div class=card>");
            for block in card["body"].as_array().into_iter().flatten() {
                match block["type"].as_str() {
                    Some("RichTextBlock") => {
                        out.push_str("<p>");
                        for run in block["inlines"].as_array().into_iter().flatten() {
                            let (size, weight) = (
                                run["size"].as_str().unwrap_or("default"),
                                run["weight"].as_str().unwrap_or("default"),
                            );
                            let text = escaped(run["text"].as_str().unwrap_or_default());
                            // Writing to a String cannot fail.
                            let _ = write!(out, "<span class=\"{} {}\">{text}</span>", escaped(size), escaped(weight));
                        }
                        out.push_str("</p>");
                    }
                    _ => {
                        let text = block["text"].as_str().unwrap_or_default();
                        let name = text.strip_prefix("<at>").and_then(|text| text.strip_suffix("</at>"));
                        let shown = name.map_or_else(|| escaped(text), pill);
                        let _ = write!(out, "<p>{shown}</p>");
                    }
                }
            }
            out.push_str("</div></div></article>");
        }
        out + "</section>"
    }
}
