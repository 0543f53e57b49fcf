//! GitHub: issues and comments of one repository.

use std::fmt::Write;

use serde_json::{Value, json};

use super::page::escaped;
use super::{Behaviour, Double, Request, Response, bounded, needed};

#[derive(Default)]
pub(super) struct GitHub {
    issues: Vec<Issue>,
}

struct Issue {
    title: String,
    body: String,
    labels: Value,
    open: bool,
    comments: Vec<String>,
}

impl Issue {
    fn json(&self, number: usize) -> Value {
        let state = if self.open { "open" } else { "closed" };
        let labels: Vec<Value> =
            self.labels.as_array().into_iter().flatten().map(|name| json!({ "name": name })).collect();
        json!({ "number": number, "title": self.title, "body": self.body, "state": state, "labels": labels })
    }
}

impl Double for GitHub {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!(
            "api = \"http://{address}\"\nrepo = {{ name = \"example/web\", token = {{ env = \"GITHUB_TOKEN\" }} }}    # any"
        );
        ("github-issues", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body, parts) = (Vec::new(), request.json(), request.parts());
        for header in ["user-agent", "authorization"] {
            if request.header(header).is_none_or(str::is_empty) {
                faults.push(format!("no {header}"));
            }
        }
        if parts.len() < 4 || parts[0] != "repos" || parts[3] != "issues" {
            faults.push(format!("{} is not /repos/OWNER/NAME/issues", request.path));
        }
        match (request.method.as_str(), parts.len()) {
            ("POST", 4) => {
                needed(&mut faults, "title", &body["title"]);
                bounded(&mut faults, "title", &body["title"], 256);
                bounded(&mut faults, "body", &body["body"], 65_536);
            }
            ("POST", _) => {
                needed(&mut faults, "body", &body["body"]);
                bounded(&mut faults, "body", &body["body"], 65_536);
            }
            ("PATCH", _) => {
                if !matches!(body["state"].as_str(), None | Some("open" | "closed")) {
                    faults.push(format!("state {}", body["state"]));
                }
                if !matches!(body["state_reason"].as_str(), None | Some("completed" | "not_planned" | "reopened")) {
                    faults.push(format!("state_reason {}", body["state_reason"]));
                }
            }
            _ => {}
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        let faults = self.faults(request);
        if !faults.is_empty() {
            return Response::json(422, &json!({ "message": "Validation Failed", "errors": faults }));
        }
        let (body, parts) = (request.json(), request.parts());
        let number = parts.get(4).and_then(|number| number.parse::<usize>().ok());
        let issue = number.and_then(|number| self.issues.get_mut(number.checked_sub(1)?));
        match (request.method.as_str(), number, issue) {
            ("GET", None, _) => {
                let label = request.query("labels");
                let fits = |issue: &&Value| {
                    label.is_none_or(|label| {
                        issue["labels"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == *label))
                    })
                };
                let all: Vec<Value> =
                    self.issues.iter().enumerate().rev().map(|(place, issue)| issue.json(place + 1)).collect();
                Response::json(200, &page(all.iter().filter(fits), request))
            }
            ("POST", None, _) => {
                let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
                let issue = Issue {
                    title: text("title"),
                    body: text("body"),
                    labels: body["labels"].clone(),
                    open: true,
                    comments: Vec::new(),
                };
                self.issues.push(issue);
                Response::json(201, &self.issues[self.issues.len() - 1].json(self.issues.len()))
            }
            ("POST", Some(_), Some(issue)) => {
                issue.comments.push(body["body"].as_str().unwrap_or_default().to_owned());
                Response::json(201, &json!({ "id": issue.comments.len() }))
            }
            ("PATCH", Some(number), Some(issue)) => {
                issue.open = body["state"] != "closed";
                Response::json(200, &issue.json(number))
            }
            ("GET", Some(_), Some(issue)) if parts.get(5) == Some(&"comments") => {
                let comments: Vec<Value> = issue.comments.iter().map(|body| json!({ "body": body })).collect();
                Response::json(200, &page(comments.iter(), request))
            }
            ("GET", Some(number), Some(issue)) => Response::json(200, &issue.json(number)),
            _ => Response::json(404, &json!({ "message": "Not Found" })),
        }
    }

    fn take_stripped(&mut self, request: &Request) -> Response {
        let mut body = request.json();
        if let Some(fields) = body.as_object_mut() {
            ["labels", "assignees"].iter().for_each(|field| drop(fields.remove(*field)));
        }
        self.take(&Request { body: body.to_string(), ..request.clone() })
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => {
                let message = json!({ "message": "You have exceeded a secondary rate limit." });
                Response::json(403, &message).with("retry-after", "1")
            }
            Behaviour::Refuses => Response::json(401, &json!({ "message": "Bad credentials" })),
            _ => Response::json(422, &json!({ "message": "Validation Failed" })),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=list><h1>Issues</h1>".to_owned();
        for (place, issue) in self.issues.iter().enumerate().rev() {
            let state = if issue.open { "open" } else { "closed" };
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div><em class={state}>{state}</em> <strong>{}</strong> <small>#{}</small><p>{}</p>",
                escaped(&issue.title),
                place + 1,
                markdown(&issue.body)
            );
            for comment in &issue.comments {
                let _ = write!(out, "<blockquote>{}</blockquote>", markdown(comment));
            }
            out.push_str("</div></article>");
        }
        out + "</section>"
    }
}

/// The part of a list that a request asks for.
fn page<'v>(all: impl Iterator<Item = &'v Value>, request: &Request) -> Value {
    let number = |name: &str, usual: usize| request.query(name).and_then(|one| one.parse().ok()).unwrap_or(usual);
    let each = number("per_page", 30).clamp(1, 100);
    all.skip(number("page", 1).saturating_sub(1).saturating_mul(each)).take(each).cloned().collect::<Vec<_>>().into()
}

/// Of Markdown, what Hookline writes: code spans, line breaks, comments that are not shown.
fn markdown(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("<!--")) {
        let line = line.trim_end();
        let ticks = line.len() - line.trim_start_matches('`').len();
        let fence = "`".repeat(ticks);
        match line.strip_prefix(fence.as_str()).and_then(|rest| rest.strip_suffix(fence.as_str())) {
            Some(code) if ticks > 0 => out.push_str(&format!("<code>{}</code><br>", escaped(code))),
            _ => out.push_str(&format!("{}<br>", escaped(line))),
        }
    }
    out
}
