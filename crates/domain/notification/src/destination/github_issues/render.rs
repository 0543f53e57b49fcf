//! Issues: opened by a start, commented by what follows, closed at the end.
//!
//! An issue is found again by its number, or else in the list of issues with our label, by a marker in its text. GitHub's search
//! is not asked: it knows an issue minutes later, and a second one would be opened meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use crate::destination::text::{code_span, cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};

const LABEL: &str = "hookline";
const TITLE: usize = 256;
const BODY: usize = 60_000;
/// Pages of a hundred issues that are looked through.
const PAGES: usize = 10;
/// How long GitHub is left alone where it names no time.
const AFTER: Duration = Duration::from_secs(60);

pub(super) struct GitHub {
    pub(super) issues: String,
    pub(super) token: String,
}

/// An issue that was found.
struct Found {
    number: u64,
    closed: bool,
    /// Whether this very message opened it, in an attempt of which the outcome was lost.
    by_this: bool,
}

/// How far the search for the issue has come.
enum Search {
    /// This page is to be asked for.
    Page(usize),
    Done { found: Option<Found>, answers: usize },
    Failed(Step),
}

impl Destination for GitHub {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        let (found, used) = match self.search(outgoing, answers) {
            Search::Page(page) => {
                let query = format!("?labels={LABEL}&state=all&sort=created&direction=desc&per_page=100&page={page}");
                return Step::Http(self.request("GET", &query, None));
            }
            Search::Failed(end) => return end,
            Search::Done { found, answers } => (found, answers),
        };
        let done = &answers[used..];
        if let Some(failed) = done.iter().find(|answer| !answer.is_success()) {
            return judge(failed, outgoing.now_ms);
        }
        let (opens, ends) = outgoing.message.thread.as_ref().map_or((true, false), |thread| (thread.opens, thread.ends));
        let number = match &found {
            Some(found) => found.number,
            // What ends and was never opened needs no issue.
            None if ends && !opens => {
                return Step::End(Verdict::Delivered { status: answers.last().map_or(0, |last| last.status), receipt: String::new() });
            }
            None => match done.first() {
                None => return Step::Http(self.request("POST", "", Some(self.issue(outgoing)))),
                Some(created) => match created.json()["number"].as_u64() {
                    Some(number) => number,
                    None => return Verdict::retry(created, "its answer names no issue"),
                },
            },
        };
        let mut requests = Vec::new();
        if let Some(found) = found.as_ref().filter(|found| !found.by_this) {
            if opens && found.closed {
                // What a person closed is opened again by a new start only.
                requests.push(self.request("PATCH", &format!("/{number}"), Some(json!({ "state": "open" }))));
            }
            let comment = json!({ "body": self.text(outgoing) });
            requests.push(self.request("POST", &format!("/{number}/comments"), Some(comment)));
        }
        if ends && !found.as_ref().is_some_and(|found| found.closed && !opens) {
            let close = json!({ "state": "closed", "state_reason": "completed" });
            requests.push(self.request("PATCH", &format!("/{number}"), Some(close)));
        }
        let made = done.len() - usize::from(found.is_none());
        match requests.into_iter().nth(made) {
            Some(request) => Step::Http(request),
            None => Step::End(Verdict::Delivered {
                status: answers.last().map_or(0, |last| last.status),
                receipt: number.to_string(),
            }),
        }
    }

    fn pace_ms(&self) -> u64 {
        1_000
    }
}

impl GitHub {
    fn search(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Search {
        if let Ok(number) = outgoing.receipt.parse() {
            return Search::Done { found: Some(Found { number, closed: false, by_this: false }), answers: 0 };
        }
        let marker = marker(outgoing);
        let by = by(outgoing);
        for page in 1..=PAGES {
            let Some(answer) = answers.get(page - 1) else { return Search::Page(page) };
            if !answer.is_success() {
                return Search::Failed(judge(answer, outgoing.now_ms));
            }
            let Value::Array(issues) = answer.json() else {
                return Search::Failed(Verdict::retry(answer, "its list of issues cannot be read"));
            };
            // On a line of its own: what a sender writes stands within code spans.
            let has = |issue: &Value, line: &str| {
                issue["body"].as_str().unwrap_or_default().lines().any(|one| one.trim() == line)
            };
            if let Some(issue) = issues.iter().find(|issue| has(issue, &marker))
                && let Some(number) = issue["number"].as_u64()
            {
                let found = Found { number, closed: issue["state"] == "closed", by_this: has(issue, &by) };
                return Search::Done { found: Some(found), answers: page };
            }
            if issues.len() < 100 {
                return Search::Done { found: None, answers: page };
            }
        }
        Search::Done { found: None, answers: PAGES }
    }

    fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
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

/// By what the issue of a key is found.
fn marker(outgoing: &Outgoing<'_>) -> String {
    let key = outgoing.message.thread.as_ref().map_or(outgoing.message.id.as_str(), |thread| thread.key.as_str());
    format!("<!-- hookline:{key} -->")
}

/// By what the issue or comment of a message is known.
fn by(outgoing: &Outgoing<'_>) -> String {
    format!("<!-- hookline-message:{} -->", outgoing.message.id)
}

fn judge(answer: &Answer, now_ms: i64) -> Step {
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
