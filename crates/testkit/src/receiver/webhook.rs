//! Anything that takes a POST: shown as it came.

use std::fmt::Write;

use super::page::escaped;
use super::{Behaviour, Double, Request, Response};

#[derive(Default)]
pub(super) struct Webhook {
    requests: Vec<Request>,
}

impl Double for Webhook {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!("url = \"http://{address}/hook\"\nsecret = {{ env = \"HOOK_SECRET\" }}    # whsec_...");
        ("webhook", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let mut faults = Vec::new();
        for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            if request.header(header).is_none_or(str::is_empty) {
                faults.push(format!("no {header}"));
            }
        }
        if request.json().is_null() {
            faults.push("the body is not JSON".to_owned());
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        self.requests.push(request.clone());
        Response::text(204, "")
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => Response::text(429, "slow down").with("retry-after", "1"),
            Behaviour::Refuses => Response::text(401, "not for you"),
            _ => Response::text(422, "not this one"),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=list><h1>Requests</h1>".to_owned();
        for request in self.requests.iter().rev() {
            let body = serde_json::to_string_pretty(&request.json()).unwrap_or_default();
            let id = request.header("webhook-id").unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div><strong>{}</strong><pre>{}</pre></div></article>",
                escaped(id),
                escaped(&body)
            );
        }
        out + "</section>"
    }
}
