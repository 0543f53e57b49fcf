//! Jira: issues, comments and transitions of one project. Its search knows an issue some requests after it was made.

use std::fmt::Write;

use serde_json::{Value, json};

use super::page::{escaped, pill};
use super::{Behaviour, Double, Request, Response, bounded, needed};

#[derive(Default)]
pub(super) struct Jira {
    project: String,
    issues: Vec<Issue>,
    /// Requests so far: what the search knows is as old as some of them.
    asked: u64,
}

struct Issue {
    fields: Value,
    properties: Value,
    done: bool,
    comments: Vec<Value>,
    made_at: u64,
}

/// Issues that are read at once.
const AT_ONCE: usize = 100;
/// Requests after which the search knows an issue.
const LAG: u64 = 6;

impl Double for Jira {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!(
            "site = \"http://{address}\"\nproject = \"WEB\"\nuser = \"me@example.com\"\ntoken = {{ env = \"JIRA_TOKEN\" }}    # any"
        );
        ("jira", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let (mut faults, body, parts) = (Vec::new(), request.json(), request.parts());
        if !request.header("authorization").is_some_and(|value| value.starts_with("Basic ")) {
            faults.push("no login".to_owned());
        }
        if parts.get(..3) != Some(&["rest", "api", "3"]) {
            faults.push(format!("{} is not /rest/api/3", request.path));
        }
        if parts.last() == Some(&"search") {
            faults.push("/search is gone".to_owned());
        }
        match (request.method.as_str(), parts.get(3..).unwrap_or_default()) {
            ("POST", ["issue"]) => {
                let fields = &body["fields"];
                needed(&mut faults, "project", &fields["project"]["key"]);
                needed(&mut faults, "issuetype", &fields["issuetype"]["name"]);
                needed(&mut faults, "summary", &fields["summary"]);
                bounded(&mut faults, "summary", &fields["summary"], 255);
                document(&mut faults, &fields["description"]);
                for label in fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if label.contains(' ') || label.len() > 255 {
                        faults.push(format!("the label {label:?}"));
                    }
                }
            }
            ("POST", ["issue", "bulkfetch"]) => {
                let asked = body["issueIdsOrKeys"].as_array().map_or(0, Vec::len);
                if !(1..=AT_ONCE).contains(&asked) {
                    faults.push(format!("{asked} issues are asked for, 1 to {AT_ONCE} are allowed"));
                }
            }
            ("POST", ["issue", _, "comment"]) => document(&mut faults, &body["body"]),
            ("POST", ["issue", _, "transitions"]) => needed(&mut faults, "transition", &body["transition"]["id"]),
            _ => {}
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        self.asked += 1;
        let faults = self.faults(request);
        if !faults.is_empty() {
            return Response::json(400, &json!({ "errorMessages": faults, "errors": {} }));
        }
        let (body, parts) = (request.json(), request.parts());
        let rest = parts.get(3..).unwrap_or_default();
        let missing = || Response::json(404, &json!({ "errorMessages": ["Issue does not exist"], "errors": {} }));
        let number = rest.get(1).and_then(|key| key.rsplit('-').next()?.parse::<usize>().ok());
        match (request.method.as_str(), rest) {
            ("POST", ["search", "jql"]) => {
                let jql = body["jql"].as_str().unwrap_or_default();
                let label = jql.split("labels = \"").nth(1).and_then(|rest| rest.split('"').next());
                let known = |issue: &Issue| issue.made_at + LAG <= self.asked;
                let fits = |issue: &Issue| label.is_none_or(|label| labels(issue).any(|one| one == label));
                let found = self.issues.iter().enumerate().rev().filter(|(_, issue)| known(issue) && fits(issue));
                let most = body["maxResults"].as_u64().unwrap_or(50) as usize;
                let found: Vec<Value> = found.take(most).map(|(place, issue)| self.json(place, issue)).collect();
                Response::json(200, &json!({ "issues": found, "isLast": true }))
            }
            ("POST", ["issue", "bulkfetch"]) => {
                let asked = body["issueIdsOrKeys"].as_array().cloned().unwrap_or_default();
                let all = self.issues.iter().enumerate().map(|(place, issue)| self.json(place, issue));
                let found: Vec<Value> = all.filter(|issue| asked.contains(&issue["key"])).collect();
                Response::json(200, &json!({ "issues": found, "issueErrors": [] }))
            }
            ("POST", ["issue"]) => {
                self.project = body["fields"]["project"]["key"].as_str().unwrap_or_default().to_owned();
                let (fields, properties) = (body["fields"].clone(), body["properties"].clone());
                self.issues.push(Issue { fields, properties, done: false, comments: Vec::new(), made_at: self.asked });
                let number = self.issues.len();
                Response::json(
                    201,
                    &json!({ "id": format!("{}", 10_000 + number), "key": format!("{}-{number}", self.project) }),
                )
            }
            (method, ["issue", _, more @ ..]) => {
                let Some(place) =
                    number.and_then(|number| number.checked_sub(1)).filter(|place| *place < self.issues.len())
                else {
                    return missing();
                };
                match (method, more) {
                    ("GET", []) => Response::json(200, &self.json(place, &self.issues[place])),
                    ("GET", ["comment"]) => Response::json(200, &json!({ "comments": self.issues[place].comments })),
                    ("POST", ["comment"]) => {
                        self.issues[place].comments.push(json!({ "body": body["body"] }));
                        Response::json(201, &json!({ "id": "1" }))
                    }
                    ("GET", ["transitions"]) => {
                        let to = |id: &str, key: &str| json!({ "id": id, "to": { "statusCategory": { "key": key } } });
                        Response::json(
                            200,
                            &json!({ "transitions": [to("11", "new"), to("21", "indeterminate"), to("31", "done")] }),
                        )
                    }
                    ("POST", ["transitions"]) => {
                        self.issues[place].done = body["transition"]["id"] == "31";
                        Response::text(204, "")
                    }
                    _ => missing(),
                }
            }
            _ => missing(),
        }
    }

    fn writes(&self, request: &Request) -> bool {
        request.method != "GET" && !matches!(request.parts().last(), Some(&("jql" | "bulkfetch")))
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => {
                Response::text(429, "").with("retry-after", "1").with("ratelimit-reason", "jira-burst-based")
            }
            Behaviour::Refuses => Response::text(401, "Client must be authenticated to access this resource."),
            _ => Response::json(400, &json!({ "errorMessages": [], "errors": { "summary": "Summary is too long." } })),
        }
    }

    fn show(&self) -> String {
        let mut out = format!("<section class=list><h1>{}</h1>", escaped(&self.project));
        for (place, issue) in self.issues.iter().enumerate().rev() {
            let state = if issue.done { "closed" } else { "open" };
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div><em class={state}>{}</em> <strong>{}</strong> <small>{}-{}</small>{}",
                if issue.done { "Done" } else { "To do" },
                escaped(issue.fields["summary"].as_str().unwrap_or_default()),
                escaped(&self.project),
                place + 1,
                shown(&issue.fields["description"])
            );
            for comment in &issue.comments {
                let _ = write!(out, "<blockquote>{}</blockquote>", shown(&comment["body"]));
            }
            out.push_str("</div></article>");
        }
        out + "</section>"
    }
}

impl Jira {
    fn json(&self, place: usize, issue: &Issue) -> Value {
        let category = if issue.done { "done" } else { "new" };
        let properties: serde_json::Map<String, Value> = issue
            .properties
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some((one["key"].as_str()?.to_owned(), one["value"].clone())))
            .collect();
        json!({
            "key": format!("{}-{}", self.project, place + 1),
            "fields": { "status": { "statusCategory": { "key": category } }, "labels": issue.fields["labels"] },
            "properties": properties,
        })
    }
}

fn labels(issue: &Issue) -> impl Iterator<Item = &str> {
    issue.fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What is wrong with a document (ADF).
fn document(faults: &mut Vec<String>, document: &Value) {
    if document["type"] != "doc" || document["version"] != 1 || !document["content"].is_array() {
        faults.push("it is not a document".to_owned());
    }
    for block in document["content"].as_array().into_iter().flatten() {
        if !matches!(block["type"].as_str(), Some("paragraph" | "heading" | "bulletList" | "rule")) {
            faults.push(format!("a block of type {}", block["type"]));
        }
        for inline in block["content"].as_array().into_iter().flatten() {
            match inline["type"].as_str() {
                // An empty text node makes the whole document invalid.
                Some("text") => needed(faults, "the text of a node", &inline["text"]),
                Some("mention") => needed(faults, "the id of a mention", &inline["attrs"]["id"]),
                Some("hardBreak") => {}
                other => faults.push(format!("a node of type {other:?}")),
            }
        }
    }
}

fn shown(document: &Value) -> String {
    let mut out = String::new();
    for block in document["content"].as_array().into_iter().flatten() {
        out.push_str("<p>");
        for inline in block["content"].as_array().into_iter().flatten() {
            out.push_str(&match inline["type"].as_str() {
                Some("mention") => pill(inline["attrs"]["text"].as_str().unwrap_or_default()),
                _ => escaped(inline["text"].as_str().unwrap_or_default()),
            });
        }
        out.push_str("</p>");
    }
    out
}
