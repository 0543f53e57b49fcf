//! PagerDuty: events by their key.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::page::escaped;
use super::{Behaviour, Double, Request, Response, bounded, needed};

#[derive(Default)]
pub(super) struct PagerDuty {
    incidents: BTreeMap<String, Incident>,
}

#[derive(Default)]
struct Incident {
    status: &'static str,
    alerts: u64,
    payload: Value,
}

const BODY: usize = 512 * 1024;

impl Double for PagerDuty {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!("api = \"http://{address}\"\nkey = {{ env = \"PAGERDUTY_KEY\" }}    # any");
        ("pagerduty", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body) = (Vec::new(), request.json());
        if request.parts() != ["v2", "enqueue"] {
            faults.push(format!("{} is not /v2/enqueue", request.path));
        }
        if request.body.len() > BODY {
            faults.push(format!("{} bytes", request.body.len()));
        }
        needed(&mut faults, "routing_key", &body["routing_key"]);
        bounded(&mut faults, "dedup_key", &body["dedup_key"], 255);
        match body["event_action"].as_str() {
            Some("trigger") => {
                let payload = &body["payload"];
                needed(&mut faults, "summary", &payload["summary"]);
                needed(&mut faults, "source", &payload["source"]);
                bounded(&mut faults, "summary", &payload["summary"], 1_024);
                if !matches!(payload["severity"].as_str(), Some("critical" | "error" | "warning" | "info")) {
                    faults.push(format!("severity {}", payload["severity"]));
                }
                for key in ["component", "group", "class", "timestamp"] {
                    if !payload[key].is_null() && !payload[key].is_string() {
                        faults.push(format!("{key} is not a text"));
                    }
                }
            }
            Some("acknowledge" | "resolve") => needed(&mut faults, "dedup_key", &body["dedup_key"]),
            other => faults.push(format!("event_action {other:?}")),
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        let (faults, body) = (self.faults(request), request.json());
        if !faults.is_empty() {
            return Response::json(
                400,
                &json!({ "status": "invalid event", "message": "Event object is invalid", "errors": faults }),
            );
        }
        let key = body["dedup_key"].as_str().unwrap_or("none").to_owned();
        match body["event_action"].as_str() {
            Some("trigger") => {
                let incident = self.incidents.entry(key.clone()).or_default();
                if incident.status == "resolved" {
                    *incident = Incident::default();
                }
                if incident.status != "acknowledged" {
                    incident.status = "triggered";
                }
                (incident.alerts, incident.payload) = (incident.alerts + 1, body["payload"].clone());
            }
            // Of an incident that has ended, or never was, nothing is heard again.
            action => {
                if let Some(incident) = self.incidents.get_mut(&key).filter(|incident| incident.status != "resolved") {
                    incident.status = if action == Some("resolve") { "resolved" } else { "acknowledged" };
                }
            }
        }
        Response::json(202, &json!({ "status": "success", "message": "Event processed", "dedup_key": key }))
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => Response::json(429, &json!({ "status": "throttle exceeded" })).with("retry-after", "1"),
            Behaviour::Refuses => {
                Response::json(400, &json!({ "status": "invalid event", "errors": ["Invalid routing key"] }))
            }
            _ => Response::json(
                400,
                &json!({ "status": "invalid event", "errors": ["'payload.summary' is missing or blank"] }),
            ),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=list><h1>Incidents</h1>".to_owned();
        for (key, incident) in &self.incidents {
            let text = incident.payload["custom_details"]["text"].as_str().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div><em class={0}>{0}</em> <strong>{1}</strong><p>{2}</p><small>{3} &middot; {4} events sent &middot; {5}</small></div></article>",
                incident.status,
                escaped(incident.payload["summary"].as_str().unwrap_or_default()),
                escaped(text).replace('\n', "<br>"),
                escaped(incident.payload["severity"].as_str().unwrap_or_default()),
                incident.alerts,
                escaped(key),
            );
        }
        out + "</section>"
    }
}
