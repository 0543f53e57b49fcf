//! HubSpot: notes under a property of unique values, and their contacts.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::page::framed;
use super::{Behaviour, Double, Request, Response, bounded, needed};

#[derive(Default)]
pub(super) struct HubSpot {
    /// By the value of the unique property.
    notes: BTreeMap<String, Note>,
}

struct Note {
    properties: Value,
    contacts: Vec<String>,
}

impl Double for HubSpot {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!("api = \"http://{address}\"\ntoken = {{ env = \"HUBSPOT_TOKEN\" }}    # any");
        ("hubspot", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body) = (Vec::new(), request.json());
        if !request.header("authorization").is_some_and(|value| value.starts_with("Bearer ")) {
            faults.push("no token".to_owned());
        }
        if request.method == "POST" {
            let inputs = body["inputs"].as_array().cloned().unwrap_or_default();
            if !(1..=100).contains(&inputs.len()) {
                faults.push(format!("{} inputs", inputs.len()));
            }
            for input in &inputs {
                needed(&mut faults, "idProperty", &input["idProperty"]);
                needed(&mut faults, "id", &input["id"]);
                needed(&mut faults, "hs_timestamp", &input["properties"]["hs_timestamp"]);
                bounded(&mut faults, "hs_note_body", &input["properties"]["hs_note_body"], 65_536);
            }
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        let faults = self.faults(request);
        if !faults.is_empty() {
            return Response::json(400, &json!({ "status": "error", "message": faults.join("; ") }));
        }
        let (body, parts) = (request.json(), request.parts());
        match (request.method.as_str(), parts.as_slice()) {
            (
                "POST",
                ["crm", _, "objects", "notes", "batch", "upsert"] | ["crm", "objects", _, "notes", "batch", "upsert"],
            ) => {
                let mut results = Vec::new();
                for input in body["inputs"].as_array().into_iter().flatten() {
                    let id = input["id"].as_str().unwrap_or_default().to_owned();
                    let known = self.notes.contains_key(&id);
                    let note =
                        self.notes.entry(id.clone()).or_insert(Note { properties: Value::Null, contacts: Vec::new() });
                    note.properties = input["properties"].clone();
                    let number = self.notes.keys().position(|one| *one == id).unwrap_or(0) + 501;
                    results.push(json!({ "id": number.to_string(), "new": !known }));
                }
                Response::json(200, &json!({ "status": "COMPLETE", "results": results }))
            }
            ("PUT", ["crm", _, "objects", "notes", _, "associations", "default", "contacts", contact]) => {
                if let Some(note) = self.notes.values_mut().last() {
                    note.contacts.push((*contact).to_owned());
                }
                Response::json(200, &json!({ "status": "COMPLETE" }))
            }
            _ => Response::json(404, &json!({ "status": "error", "message": "resource not found" })),
        }
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => {
                let body = json!({ "status": "error", "message": "You have reached your secondly limit.", "policyName": "TEN_SECONDLY_ROLLING" });
                Response::json(429, &body).with("retry-after", "1")
            }
            Behaviour::Refuses => {
                Response::json(401, &json!({ "status": "error", "category": "INVALID_AUTHENTICATION" }))
            }
            _ => Response::json(400, &json!({ "status": "error", "category": "VALIDATION_ERROR" })),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=list><h1>Notes</h1>".to_owned();
        for note in self.notes.values() {
            let body = note.properties["hs_note_body"].as_str().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div>{}<small>contacts: {}</small></div></article>",
                framed(body),
                note.contacts.join(", ")
            );
        }
        out + "</section>"
    }
}
