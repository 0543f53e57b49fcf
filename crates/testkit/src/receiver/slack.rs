//! Slack: incoming webhooks, `chat.postMessage` and `chat.update`.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::page::{escaped, pill};
use super::{Behaviour, Double, Request, Response, bounded};

#[derive(Default)]
pub(super) struct Slack {
    messages: Vec<Posted>,
}

struct Posted {
    ts: String,
    thread: Option<String>,
    content: Value,
    edited: bool,
}

/// Characters of all blocks together, from which on Slack refuses without saying so in its documentation.
const ALL_BLOCKS: usize = 13_200;

impl Double for Slack {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!(
            "api = \"http://{address}/api\"\ntoken = {{ env = \"SLACK_TOKEN\" }}    # any\nchannel = \"C0123ABCD\""
        );
        ("slack", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body) = (Vec::new(), request.json());
        if !request.header("content-type").unwrap_or_default().starts_with("application/json") {
            faults.push("the content type is not JSON".to_owned());
        }
        if body["text"].as_str().is_none_or(str::is_empty) && body["blocks"].as_array().is_none_or(Vec::is_empty) {
            faults.push("no_text".to_owned());
        }
        let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
        if blocks.len() > 50 {
            faults.push(format!("{} blocks, 50 are allowed", blocks.len()));
        }
        for block in &blocks {
            match block["type"].as_str() {
                Some("header") => {
                    bounded(&mut faults, "a header", &block["text"]["text"], 150);
                    if block["text"]["type"] != "plain_text" {
                        faults.push("a header is not plain_text".to_owned());
                    }
                }
                Some("section") => {
                    bounded(&mut faults, "a section", &block["text"]["text"], 3_000);
                    if block["text"]["text"].as_str().is_none_or(str::is_empty) {
                        faults.push("a section without a text".to_owned());
                    }
                }
                Some("context") => {
                    let elements = block["elements"].as_array().map_or(0, Vec::len);
                    if !(1..=10).contains(&elements) {
                        faults.push(format!("a context of {elements} elements"));
                    }
                }
                Some("actions" | "divider") => {}
                other => faults.push(format!("a block of type {other:?}")),
            }
        }
        let all: usize = blocks.iter().map(|block| block.to_string().chars().count()).sum();
        if all > ALL_BLOCKS {
            faults.push(format!("{all} characters in all blocks (msg_blocks_too_long)"));
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        let body = request.json();
        let error = |error: &str| Response::json(200, &json!({ "ok": false, "error": error }));
        let faults = self.faults(request);
        let api = request.parts().first() == Some(&"api");
        if let Some(fault) = faults.first() {
            let code = if fault.contains("msg_blocks") { "msg_blocks_too_long" } else { "invalid_blocks" };
            return if api { error(code) } else { Response::text(400, code) };
        }
        if !api {
            self.post(None, body);
            return Response::text(200, "ok");
        }
        if !request.header("authorization").is_some_and(|value| value.starts_with("Bearer ")) {
            return error("not_authed");
        }
        let channel = body["channel"].clone();
        match request.parts().last() {
            Some(&"chat.postMessage") => {
                let ts = self.post(body["thread_ts"].as_str().map(str::to_owned), body);
                Response::json(200, &json!({ "ok": true, "channel": channel, "ts": ts }))
            }
            Some(&"chat.update") => match self.messages.iter_mut().find(|message| body["ts"] == message.ts.as_str()) {
                Some(message) => {
                    let ts = message.ts.clone();
                    (message.content, message.edited) = (body, true);
                    Response::json(200, &json!({ "ok": true, "channel": channel, "ts": ts }))
                }
                None => error("message_not_found"),
            },
            _ => error("unknown_method"),
        }
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => {
                Response::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", "1")
            }
            Behaviour::Refuses => Response::json(200, &json!({ "ok": false, "error": "invalid_auth" })),
            _ => Response::json(200, &json!({ "ok": false, "error": "invalid_blocks" })),
        }
    }

    fn show(&self) -> String {
        let mut threads: HashMap<&str, Vec<&Posted>> = HashMap::new();
        for message in &self.messages {
            if let Some(thread) = &message.thread {
                threads.entry(thread).or_default().push(message);
            }
        }
        let mut out = "<section class=slack><h1># alerts</h1>".to_owned();
        for message in self.messages.iter().filter(|message| message.thread.is_none()) {
            out.push_str(&of(message));
            let replies = threads.get(message.ts.as_str()).map(Vec::as_slice).unwrap_or_default();
            if !replies.is_empty() {
                // Writing to a String cannot fail.
                let count =
                    if replies.len() == 1 { "1 reply".to_owned() } else { format!("{} replies", replies.len()) };
                let _ = write!(out, "<div class=thread><small>{count}</small>");
                replies.iter().for_each(|reply| out.push_str(&of(reply)));
                out.push_str("</div>");
            }
        }
        out + "</section>"
    }
}

impl Slack {
    fn post(&mut self, thread: Option<String>, content: Value) -> String {
        let ts = format!("17643{:05}.000{:03}", self.messages.len(), self.messages.len() % 1_000);
        self.messages.push(Posted { ts: ts.clone(), thread, content, edited: false });
        ts
    }
}

fn of(message: &Posted) -> String {
    let mut out = "<article><b class=logo>H</b><div><strong>Hookline</strong> <small class=app>APP</small>".to_owned();
    for block in message.content["blocks"].as_array().into_iter().flatten() {
        let text = |value: &Value| match value["type"].as_str() {
            Some("mrkdwn") => markdown(value["text"].as_str().unwrap_or_default()),
            _ => escaped(value["text"].as_str().unwrap_or_default()).replace('\n', "<br>"),
        };
        let inner = match block["type"].as_str() {
            Some("header") => format!("<h3>{}</h3>", text(&block["text"])),
            Some("context") => {
                let elements = block["elements"].as_array().into_iter().flatten().map(text);
                format!("<p class=context>{}</p>", elements.collect::<Vec<_>>().join(" "))
            }
            Some("actions") => {
                let buttons = block["elements"].as_array().into_iter().flatten();
                buttons.map(|one| format!("<a class=button>{}</a>", text(&one["text"]))).collect()
            }
            Some("divider") => "<hr>".to_owned(),
            _ => format!("<p>{}</p>", text(&block["text"])),
        };
        out.push_str(&inner);
    }
    if message.content["blocks"].as_array().is_none_or(Vec::is_empty) {
        let _ = write!(out, "<p>{}</p>", markdown(message.content["text"].as_str().unwrap_or_default()));
    }
    if message.edited {
        out.push_str("<small>(edited)</small>");
    }
    out + "</div></article>"
}

/// What Slack makes of its markup: mentions and links stand in angle brackets.
fn markdown(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split('<').enumerate() {
        match part.split_once('>').filter(|_| place > 0) {
            Some((inside, rest)) => {
                let shown = inside.rsplit('|').next().unwrap_or(inside).trim_start_matches(['@', '!', '#']);
                let shown = shown.trim_start_matches("subteam^");
                out.push_str(&if inside.starts_with("http") {
                    format!("<a>{shown}</a>")
                } else {
                    pill(&format!("@{shown}"))
                });
                out.push_str(&rest.replace('\n', "<br>"));
            }
            None => out.push_str(&part.replace('\n', "<br>")),
        }
    }
    out
}
