//! The card of a message.
//!
//! Teams answers 202 when the workflow has been started: whether it posts the card, nobody says. What is too long for it would
//! vanish, so texts are cut before that.

use serde_json::{Value, json};

use crate::destination::text::{cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};
use crate::message::MessageKind;

/// Bytes of a title and of a text: with everything else, a body stays under the 28 KB that Teams takes.
const TITLE: usize = 500;
const TEXT: usize = 8_000;
const LINES: usize = 40;

pub(super) struct Teams {
    pub(super) url: String,
}

impl Destination for Teams {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        match answers {
            [] => Step::Http(Request::json("POST", self.url.clone(), &body(outgoing))),
            [.., answer] if answer.is_success() => Verdict::delivered(answer, ""),
            [.., answer] => Verdict::by_status(answer, &answer.body),
        }
    }

    fn pace_ms(&self) -> u64 {
        250
    }
}

fn body(outgoing: &Outgoing<'_>) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card(outgoing),
        }],
    })
}

/// A paragraph in which nothing is markup: runs of a RichTextBlock are not Markdown. Mentions are looked for by their text, so
/// a sender's `<at>` is written otherwise.
fn paragraph(text: &str, size: &str, weight: &str) -> Value {
    let text = text.replace('<', "‹").replace('>', "›");
    json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text, "size": size, "weight": weight }] })
}

fn card(outgoing: &Outgoing<'_>) -> Value {
    let message = outgoing.message;
    let mut blocks = vec![paragraph(&cut(&one_line(&message.title), TITLE), "large", "bolder")];
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
    });
    if let Some((person, id)) = outgoing.pinged().and_then(|person| Some((person, person.teams.as_deref()?))) {
        let name: String = person.name.chars().filter(|one| one.is_alphanumeric() || " .-".contains(*one)).collect();
        let at = format!("<at>{name}</at>");
        blocks.push(json!({ "type": "TextBlock", "text": at, "wrap": true }));
        card["msteams"] =
            json!({ "entities": [{ "type": "mention", "text": at, "mentioned": { "id": id, "name": name } }] });
    }
    let rest = message.text.split_once('\n').map_or("", |(_, rest)| rest);
    for line in cut(rest, TEXT).lines().take(LINES) {
        blocks.push(paragraph(line, "default", "default"));
    }
    let state = match message.kind {
        MessageKind::Alert => "alert",
        MessageKind::Summary => "more of the same",
        MessageKind::Resolved => "over",
        MessageKind::Digest => "digest",
        MessageKind::Acknowledged => "taken care of",
        MessageKind::Report => "report",
    };
    blocks.push(paragraph(&format!("{state} · {}", message.id), "small", "lighter"));
    card["body"] = blocks.into();
    card
}
