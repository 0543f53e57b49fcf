//! Notes: written under a property whose values are unique, so that a note that is sent twice is there once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::destination::text::{cut, html};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};

const TEXT: usize = 10_000;

pub(super) struct HubSpot {
    pub(super) api: String,
    pub(super) token: String,
    pub(super) property: String,
}

impl Destination for HubSpot {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        // The contact's record, where the link names it.
        let contact =
            outgoing.message.attributes.get("contact").filter(|id| id.chars().all(|one| one.is_ascii_digit()));
        match answers {
            [] => Step::Http(self.request("POST", "/crm/v3/objects/notes/batch/upsert", Some(self.note(outgoing)))),
            [written] => match (judge(written), note_id(written), contact) {
                (Some(end), ..) => end,
                (None, None, _) => Verdict::retry(written, "its answer names no note"),
                (None, Some(id), None) => Verdict::delivered(written, id),
                (None, Some(id), Some(contact)) => {
                    let path = format!("/crm/v4/objects/notes/{id}/associations/default/contacts/{contact}");
                    Step::Http(self.request("PUT", &path, None))
                }
            },
            [written, .., associated] => match (judge(associated), associated.status) {
                (None, _) => Verdict::delivered(associated, note_id(written).unwrap_or_default()),
                // The contact is gone or has been merged into another; the note stands.
                (Some(_), 400 | 404) => Verdict::written_in_part(
                    associated,
                    format!(
                        "the note is written, and HubSpot does not know its contact {}",
                        contact.map_or("", String::as_str)
                    ),
                ),
                (Some(end), _) => end,
            },
        }
    }

    fn pace_ms(&self) -> u64 {
        // 190 requests in 10 seconds.
        60
    }
}

impl HubSpot {
    fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
        let url = format!("{}{path}", self.api);
        let request = match body {
            Some(body) => Request::json(method, url, &body),
            None => Request { method, url, headers: Vec::new(), body: String::new() },
        };
        request.header("authorization", format!("Bearer {}", self.token))
    }

    fn note(&self, outgoing: &Outgoing<'_>) -> Value {
        let message = outgoing.message;
        let lines: Vec<String> = cut(&message.text, TEXT).lines().map(html).collect();
        let mut properties = json!({ "hs_timestamp": message.window.start, "hs_note_body": lines.join("<br>") });
        properties[&self.property] = message.id.as_str().into();
        json!({ "inputs": [{ "idProperty": self.property, "id": message.id, "properties": properties }] })
    }
}

fn note_id(answer: &Answer) -> Option<String> {
    answer.json()["results"][0]["id"].as_str().map(str::to_owned)
}

/// The end of an attempt, if an answer is one.
fn judge(answer: &Answer) -> Option<Step> {
    let said = answer.json();
    let message = said["message"].as_str().unwrap_or_default();
    // Some of many: ours is the only one.
    if answer.status == 207 {
        let why = said["errors"][0]["message"].as_str().unwrap_or("it does not say why");
        return Some(Verdict::rejected(answer, format!("HubSpot did not take the note: {}", cut(why, 200))));
    }
    if answer.is_success() {
        return None;
    }
    if answer.status == 429 {
        let after = match said["policyName"].as_str() {
            Some("DAILY") => Duration::from_secs(3_600),
            _ => Duration::from_secs(10),
        };
        let after = Some(answer.retry_after.unwrap_or(after));
        let error = format!("it answers 429: {}", cut(message, 200));
        return Some(Step::End(Verdict::Retry { status: 429, error, after }));
    }
    if answer.status == 400 && answer.body.contains("PROPERTY_DOESNT_EXIST") {
        let error =
            "notes have no property for our ids: make one in HubSpot, with unique values, and name it in id_property";
        return Some(Verdict::refused(answer, error));
    }
    Some(Verdict::by_status(answer, message))
}
