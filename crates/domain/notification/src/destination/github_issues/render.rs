//! Issues: opened by a start, commented by what follows, closed at the end.

use std::time::Duration;

use serde_json::{Value, json};

use super::find::{Exchange, by, marker};
use crate::destination::text::{code_span, cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};

pub(super) const LABEL: &str = "hookline";
const TITLE: usize = 256;
const BODY: usize = 60_000;
/// How long GitHub is left alone where it names no time.
const AFTER: Duration = Duration::from_secs(60);

pub(super) struct GitHub {
    pub(super) issues: String,
    pub(super) token: String,
}

impl Destination for GitHub {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        let mut exchange = Exchange::new(answers, outgoing.now_ms);
        match self.write(outgoing, &mut exchange) {
            Ok(receipt) => Step::End(Verdict::Delivered { status: exchange.status, receipt }),
            Err(step) => step,
        }
    }

    fn pace_ms(&self) -> u64 {
        1_000
    }
}

impl GitHub {
    /// Brings a message to its issue, and returns the number of that: empty where none is needed.
    fn write(&self, outgoing: &Outgoing<'_>, exchange: &mut Exchange<'_>) -> Result<String, Step> {
        let (opens, ends) =
            outgoing.message.thread.as_ref().map_or((true, false), |thread| (thread.opens, thread.ends));
        let found = self.find(outgoing, exchange)?;
        let number = match &found {
            // What ends and was never opened needs no issue.
            None if ends && !opens => return Ok(String::new()),
            None => created(exchange.tell(|| self.request("POST", "", Some(self.issue(outgoing))))?)?,
            Some(found) => {
                // What a person closed is opened again by a new start only.
                if opens && found.closed && !found.by_this {
                    self.patch(found.number, &json!({ "state": "open" }), exchange)?;
                }
                if !found.by_this && !self.is_written(found.number, outgoing, exchange)? {
                    let comment = json!({ "body": self.text(outgoing) });
                    let path = format!("/{}/comments", found.number);
                    exchange.tell(|| self.request("POST", &path, Some(comment)))?;
                }
                found.number
            }
        };
        if ends && !found.is_some_and(|found| found.closed && !opens) {
            self.patch(number, &json!({ "state": "closed", "state_reason": "completed" }), exchange)?;
        }
        Ok(number.to_string())
    }

    fn patch(&self, number: u64, body: &Value, exchange: &mut Exchange<'_>) -> Result<(), Step> {
        exchange.tell(|| self.request("PATCH", &format!("/{number}"), Some(body.clone()))).map(drop)
    }

    pub(super) fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
        let url = format!("{}{path}", self.issues);
        let request = match body {
            Some(body) => Request::json(method, url, &body),
            None => Request { method, url, headers: Vec::new(), body: String::new() },
        };
        request
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .header("authorization", format!("Bearer {}", self.token))
    }

    fn issue(&self, outgoing: &Outgoing<'_>) -> Value {
        let body = format!("{}\n{}\n", self.text(outgoing), marker(outgoing));
        json!({ "title": cut(&title(&outgoing.message.title), TITLE), "body": body, "labels": [LABEL] })
    }

    /// The text of an issue or a comment. Each line stands in a code span, where `@name`, `#12` and `<!--` do nothing.
    fn text(&self, outgoing: &Outgoing<'_>) -> String {
        let message = outgoing.message;
        let mut text = String::new();
        if let Some(login) = outgoing.pinged().and_then(|person| person.github.as_deref())
            && login.chars().all(|one| one.is_ascii_alphanumeric() || one == '-')
        {
            text.push_str(&format!("@{login}\n\n"));
        }
        for line in cut(&message.text, BODY / 2).lines() {
            text.push_str(&code_span(line));
            text.push_str("  \n");
        }
        text.push_str(&by(outgoing));
        text
    }
}

/// A title is not Markdown, yet `#12` and `@name` in it become links: a zero-width space keeps them apart.
fn title(text: &str) -> String {
    one_line(text).replace('@', "@\u{200b}").replace('#', "#\u{200b}")
}

/// The number of an issue that was opened.
fn created(answer: &Answer) -> Result<u64, Step> {
    let said = answer.json();
    let Some(number) = said["number"].as_u64() else {
        return Err(Verdict::retry(answer, "its answer names no issue"));
    };
    let is_ours = |label: &Value| {
        let name = label["name"].as_str().or(label.as_str());
        name.is_some_and(|name| name.eq_ignore_ascii_case(LABEL))
    };
    match said["labels"].as_array() {
        Some(labels) if !labels.iter().any(is_ours) => Err(Verdict::refused(
            answer,
            format!(
                "it opened issue {number} and dropped its label {LABEL}, as GitHub does without push access: give \
                 repo.token write access to the repository"
            ),
        )),
        _ => Ok(number),
    }
}

pub(super) fn judge(answer: &Answer, now_ms: i64) -> Step {
    let said = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    let secondary = said.to_ascii_lowercase().contains("secondary rate limit");
    let spent = answer.header("x-ratelimit-remaining") == Some("0");
    if answer.status == 429 || (answer.status == 403 && (answer.retry_after.is_some() || spent || secondary)) {
        let reset = answer.header("x-ratelimit-reset").filter(|_| spent).and_then(|at| at.parse::<i64>().ok());
        let reset = reset.map(|at| Duration::from_secs((at - now_ms.div_euclid(1_000)).max(1) as u64));
        let after = answer.retry_after.or(reset).or(Some(AFTER));
        let error = format!("it answers {}: its rate limit is reached", answer.status);
        return Step::End(Verdict::Retry { status: answer.status, error, after });
    }
    if (300..400).contains(&answer.status) {
        let error = format!("it answers {}: the repository has another name; write that in repo.name", answer.status);
        return Verdict::refused(answer, error);
    }
    Verdict::by_status(answer, &said)
}
