//! What Jira is sent, and what its answers mean. Texts are nodes of a document (ADF), in which nothing is markup.

use std::time::Duration;

use serde_json::{Value, json};

use super::find::{Found, Search, is_key, label};
use crate::destination::text::{cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};

const SUMMARY: usize = 255;
const TEXT: usize = 10_000;
/// How long Jira is left alone where it names no time.
const AFTER: Duration = Duration::from_secs(60);
/// The newest comments, among which the message is looked for before it is written.
const COMMENTS: &str = "?orderBy=-created&maxResults=50";

pub(super) struct Jira {
    pub(super) api: String,
    pub(super) project: String,
    pub(super) issue_type: String,
    pub(super) login: String,
}

/// What a request was for: by that, a 400 is about the message or about how Jira and the section are set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// For issues: nothing of a message is in the question.
    Search,
    /// To open an issue.
    Issue,
    Other,
}

/// The fields of an issue that differ by message.
const OF_MESSAGE: [&str; 2] = ["summary", "description"];

/// Where an issue is to be moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    ToDone,
    FromDone,
}

impl Destination for Jira {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        let (found, used) = match self.search(outgoing, answers) {
            Search::Ask(request) => return Step::Http(request),
            Search::Failed(end) => return end,
            Search::Done { found, answers } => (found, answers),
        };
        let mut done = answers[used..].iter();
        let (opens, ends) =
            outgoing.message.thread.as_ref().map_or((true, false), |thread| (thread.opens, thread.ends));
        let found = match found {
            Some(found) => found,
            // What ends and was never opened needs no issue.
            None if ends && !opens => {
                return Step::End(Verdict::Delivered {
                    status: answers.last().map_or(0, |last| last.status),
                    receipt: String::new(),
                });
            }
            None => match done.next() {
                None => return Step::Http(self.request("POST", "/issue", Some(self.issue(outgoing)))),
                Some(created) if !created.is_success() => return judge(created, Asked::Issue),
                Some(created) => match created.json()["key"].as_str().filter(|key| is_key(key)) {
                    Some(key) => Found { key: key.to_owned(), done: false, by_this: true },
                    None => return Verdict::retry(created, "its answer names no issue"),
                },
            },
        };
        match self.update(outgoing, &found, opens, ends, &mut done) {
            Some(step) => step,
            None => Step::End(Verdict::Delivered {
                status: answers.last().map_or(0, |last| last.status),
                receipt: found.key,
            }),
        }
    }

    fn pace_ms(&self) -> u64 {
        1_000
    }
}

impl Jira {
    /// What is still to be done to the issue; none if nothing is.
    fn update<'a>(
        &self,
        outgoing: &Outgoing<'_>,
        found: &Found,
        opens: bool,
        ends: bool,
        done: &mut impl Iterator<Item = &'a Answer>,
    ) -> Option<Step> {
        let key = &found.key;
        if !found.by_this {
            let Some(comments) = done.next() else {
                return Some(Step::Http(self.request("GET", &format!("/issue/{key}/comment{COMMENTS}"), None)));
            };
            if !comments.is_success() {
                return Some(judge(comments, Asked::Other));
            }
            // Its outcome may have been lost after it was written.
            if !comments.body.contains(&by(outgoing)) {
                match done.next() {
                    None => {
                        let body = json!({ "body": self.document(outgoing) });
                        return Some(Step::Http(self.request("POST", &format!("/issue/{key}/comment"), Some(body))));
                    }
                    Some(comment) if !comment.is_success() => return Some(judge(comment, Asked::Other)),
                    Some(_) => {}
                }
            }
        }
        if ends && (opens || !found.done) {
            return self.transition(key, Move::ToDone, done);
        }
        // What a person closed is opened again by a new start only. The comment is there by then, whatever comes of it.
        if opens && found.done && !found.by_this {
            return self.transition(key, Move::FromDone, done);
        }
        None
    }

    /// Moves an issue. Ids of transitions differ by workflow: one is chosen by the category of where it leads.
    fn transition<'a>(&self, key: &str, to: Move, done: &mut impl Iterator<Item = &'a Answer>) -> Option<Step> {
        let path = format!("/issue/{key}/transitions");
        let Some(possible) = done.next() else { return Some(Step::Http(self.request("GET", &path, None))) };
        if !possible.is_success() {
            return Some(judge(possible, Asked::Other));
        }
        let said = possible.json();
        let fits = |one: &&Value| (one["to"]["statusCategory"]["key"] == "done") == (to == Move::ToDone);
        let id =
            said["transitions"].as_array().and_then(|all| all.iter().find(fits)).and_then(|one| one["id"].as_str());
        let Some(id) = id else {
            let whereto = if to == Move::ToDone { "to a status of the category done" } else { "back from done" };
            let error = format!("{key} is written; its workflow has no transition {whereto} for this user");
            return Some(Verdict::written_in_part(possible, error));
        };
        match done.next() {
            None => Some(Step::Http(self.request("POST", &path, Some(json!({ "transition": { "id": id } }))))),
            Some(moved) if moved.status == 400 => {
                let error = format!("{key} is written; its workflow does not move it: {}", cut(&words(moved), 200));
                Some(Verdict::written_in_part(moved, error))
            }
            Some(moved) if !moved.is_success() => Some(judge(moved, Asked::Other)),
            Some(_) => None,
        }
    }

    pub(super) fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
        let url = format!("{}{path}", self.api);
        let request = match body {
            Some(body) => Request::json(method, url, &body),
            None => Request { method, url, headers: Vec::new(), body: String::new() },
        };
        request.header("accept", "application/json").header("authorization", self.login.clone())
    }

    fn issue(&self, outgoing: &Outgoing<'_>) -> Value {
        let label = label(outgoing);
        json!({
            "fields": {
                "project": { "key": self.project },
                "issuetype": { "name": self.issue_type },
                "summary": cut(&one_line(&outgoing.message.title), SUMMARY),
                "description": self.document(outgoing),
                "labels": ["hookline", label],
            },
            "properties": [{ "key": "hookline", "value": { "message": outgoing.message.id } }],
        })
    }

    fn document(&self, outgoing: &Outgoing<'_>) -> Value {
        let message = outgoing.message;
        let paragraph = |content: Vec<Value>| json!({ "type": "paragraph", "content": content });
        let text = |text: &str| json!({ "type": "text", "text": text });
        let mut blocks = Vec::new();
        if let Some((person, id)) = outgoing.pinged().and_then(|person| Some((person, person.jira.as_deref()?))) {
            let name = format!("@{}", person.name);
            blocks.push(paragraph(vec![json!({ "type": "mention", "attrs": { "id": id, "text": name } })]));
        }
        // An empty text makes the whole document invalid.
        let lines = cut(&message.text, TEXT);
        let lines = lines.lines().map(one_line).filter(|line| !line.trim().is_empty());
        blocks.extend(lines.map(|line| paragraph(vec![text(&line)])));
        blocks.push(paragraph(vec![text(&by(outgoing))]));
        json!({ "type": "doc", "version": 1, "content": blocks })
    }
}

/// By what the issue or comment of a message is known.
fn by(outgoing: &Outgoing<'_>) -> String {
    format!("hookline {}", outgoing.message.id)
}

/// What Jira says is wrong: in all, and by field.
fn words(answer: &Answer) -> String {
    let said = answer.json();
    let whole = said["errorMessages"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let fields = said["errors"].as_object().into_iter().flatten();
    let fields = fields.map(|(field, why)| format!("{field}: {}", why.as_str().unwrap_or_default()));
    whole.chain(fields).collect::<Vec<String>>().join("; ")
}

pub(super) fn judge(answer: &Answer, asked: Asked) -> Step {
    let words = words(answer);
    if answer.status == 400 {
        let short = cut(&words, 200);
        // These are the same in every message.
        let fields = answer.json()["errors"].take();
        let configured =
            fields.as_object().is_some_and(|all| all.keys().any(|one| !OF_MESSAGE.contains(&one.as_str())));
        match asked {
            Asked::Search => {
                return Verdict::refused(answer, format!("it answers 400 to a search: {short}; see project and user"));
            }
            Asked::Issue if configured => {
                let error = format!(
                    "it opens no issue: {short}; see project and issue_type, or set up this type of issue so that it has \
                     labels and asks for no more than summary and description"
                );
                return Verdict::refused(answer, error);
            }
            Asked::Issue | Asked::Other => {}
        }
    }
    if answer.status == 429 {
        let after = answer.retry_after.or(Some(AFTER));
        let reason = answer.header("ratelimit-reason").unwrap_or("its rate limit is reached");
        let error = format!("it answers 429: {}", cut(reason, 100));
        return Step::End(Verdict::Retry { status: 429, error, after });
    }
    Verdict::by_status(answer, &words)
}
