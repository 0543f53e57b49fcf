//! What Slack is sent, and what its answers mean.

use serde_json::{Value, json};

use crate::destination::text::{cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};
use crate::message::{MessageKind, readable};

/// Bytes of a header and of a section: Slack counts characters, of which there are fewer.
const HEADER: usize = 150;
const SECTION: usize = 3_000;

pub(super) struct Slack {
    pub(super) way: Way,
}

/// How messages get there.
pub(super) enum Way {
    /// An incoming webhook: it takes messages, and gives nothing by which they could be found again.
    Webhook { url: String },
    /// A token: messages are edited, and answered in their thread.
    Token { api: String, token: String, channel: String },
}

impl Destination for Slack {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        match &self.way {
            Way::Webhook { url } => match answers {
                [] => Step::Http(Request::json("POST", url.clone(), &content(outgoing))),
                [.., answer] if answer.is_success() => Verdict::delivered(answer, ""),
                [.., answer] => Verdict::by_status(answer, &answer.body),
            },
            Way::Token { api, token, channel } => {
                let post = |method: &str, body: Value| {
                    let request = Request::json("POST", format!("{api}/{method}"), &body);
                    Step::Http(request.header("authorization", format!("Bearer {token}")))
                };
                by_token(outgoing, answers, channel, post)
            }
        }
    }

    fn pace_ms(&self) -> u64 {
        1_000
    }
}

/// Opens with a message. Later: edits that message, which may be repeated, and then answers in its thread.
fn by_token(outgoing: &Outgoing<'_>, answers: &[Answer], channel: &str, post: impl Fn(&str, Value) -> Step) -> Step {
    let known = Receipt::parse(outgoing.receipt);
    let anew = || {
        let mut body = content(outgoing);
        body["channel"] = channel.into();
        body["mrkdwn"] = false.into();
        post("chat.postMessage", body)
    };
    let Some(known) = known else {
        return match answers {
            [] => anew(),
            [.., answer] => match judge(answer) {
                Ok(()) => Verdict::delivered(answer, Receipt::of(answer)),
                Err(end) => end,
            },
        };
    };
    match answers {
        [] => {
            let mut body = head(outgoing);
            body["channel"] = known.channel.into();
            body["ts"] = known.ts.into();
            post("chat.update", body)
        }
        [updated] => match (judge(updated), error(updated).as_str()) {
            (_, "message_not_found") => anew(),
            // What cannot be edited any more can still be answered.
            (Ok(()), _) | (Err(_), "edit_window_closed" | "cant_update_message") => {
                let mut body = content(outgoing);
                body["channel"] = known.channel.into();
                body["thread_ts"] = known.ts.into();
                body["mrkdwn"] = false.into();
                post("chat.postMessage", body)
            }
            (Err(end), _) => end,
        },
        [updated, .., posted] => match judge(posted) {
            Ok(()) if error(updated) == "message_not_found" => Verdict::delivered(posted, Receipt::of(posted)),
            Ok(()) => Verdict::delivered(posted, outgoing.receipt),
            Err(end) => end,
        },
    }
}

/// The message that opened a thread.
struct Receipt {
    channel: String,
    ts: String,
}

impl Receipt {
    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(Self { channel: value["channel"].as_str()?.to_owned(), ts: value["ts"].as_str()?.to_owned() })
    }

    fn of(answer: &Answer) -> String {
        let said = answer.json();
        json!({ "channel": said["channel"], "ts": said["ts"] }).to_string()
    }
}

fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

/// Slack answers 200 whatever it thinks of a message: its body decides.
fn judge(answer: &Answer) -> Result<(), Step> {
    let said = answer.json();
    if answer.is_success() && said["ok"] == true {
        return Ok(());
    }
    let code = error(answer);
    if !answer.is_success() || code.is_empty() {
        return Err(match answer.status {
            200..300 => Verdict::retry(answer, "its answer says neither ok nor an error"),
            _ => Verdict::by_status(answer, &code),
        });
    }
    let error = format!("Slack says {}", cut(&code, 100));
    Err(match code.as_str() {
        "ratelimited"
        | "rate_limited"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout" => Verdict::retry(answer, error),
        "msg_too_long"
        | "msg_blocks_too_long"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "no_text"
        | "message_not_found"
        | "edit_window_closed"
        | "cant_update_message"
        | "invalid_arguments" => Verdict::rejected(answer, error),
        // invalid_auth, token_revoked, missing_scope, not_in_channel, channel_not_found, is_archived and others of their kind.
        _ => Verdict::refused(answer, error),
    })
}

fn plain(text: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "text": cut(text, most), "emoji": false })
}

/// The fallback, which Slack reads as markup: what it would take for a mention or link is written out.
fn escaped(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A message. Texts of senders stand in `plain_text`, where nothing pings, links or formats.
fn content(outgoing: &Outgoing<'_>) -> Value {
    let message = outgoing.message;
    let mut blocks = vec![json!({ "type": "header", "text": plain(&one_line(&message.title), HEADER) })];
    if let Some(id) = outgoing.pinged().and_then(|person| person.slack.as_deref()).filter(|id| is_id(id)) {
        let ping = if id.starts_with('S') { format!("<!subteam^{id}>") } else { format!("<@{id}>") };
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": ping } }));
    }
    let rest = message.text.split_once('\n').map_or("", |(_, rest)| rest);
    if !rest.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(rest, SECTION) }));
    }
    blocks.push(json!({ "type": "context", "elements": [plain(&format!("hookline {}", message.id), 300)] }));
    json!({ "text": escaped(&cut(&message.title, SECTION)), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

/// The message that opened the thread, as it is to read now.
fn head(outgoing: &Outgoing<'_>) -> Value {
    let message = outgoing.message;
    let (title, count, ends) = match &message.thread {
        Some(thread) => (thread.title.as_str(), thread.count, thread.ends),
        None => (message.title.as_str(), message.count, message.kind == MessageKind::Resolved),
    };
    let state = match ends {
        true => format!("Over since {}. {count} events in all.", readable(&message.window.end)),
        false => format!("Going on: {count} events until {}.", readable(&message.window.end)),
    };
    let blocks = json!([
        { "type": "header", "text": plain(&one_line(title), HEADER) },
        { "type": "section", "text": plain(&state, SECTION) },
        { "type": "context", "elements": [plain(&format!("Owner: {}", outgoing.name_of(&message.owner)), 300)] },
    ]);
    json!({ "text": escaped(&cut(title, SECTION)), "blocks": blocks })
}

/// Only an id pings; anything else would be markup of its writer.
fn is_id(text: &str) -> bool {
    text.len() > 2 && text.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit())
}
