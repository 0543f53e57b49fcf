//! Which issue a message belongs to, and whether it is written there.
//!
//! An issue is found again by its number, or else in lists of issues, by a marker in its text: in the list with our
//! label, and then among the newest of all, since GitHub drops labels of a token without push access. GitHub's search
//! is not asked: it knows an issue minutes later, and a second one would be opened meanwhile.

use std::slice::Iter;

use jiff::Timestamp;
use serde_json::Value;

use super::render::{GitHub, LABEL, judge};
use crate::destination::{Answer, Outgoing, Request, Step, Verdict};

/// What a page has. An answer of many long texts is cut, and cannot be read.
const PER_PAGE: usize = 50;
/// Pages that are looked through: of the issues with our label, of all issues, and of the comments on one.
const PAGES: usize = 12;
const PAGES_OF_ALL: usize = 8;
const PAGES_OF_COMMENTS: usize = 5;
/// A comment is looked for from so long before the end of what it tells of, in milliseconds.
const BEFORE: i64 = 86_400_000;

/// An issue that was found.
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) closed: bool,
    /// Whether this very message opened it, in an attempt of which the outcome was lost.
    pub(super) by_this: bool,
}

/// The requests of an attempt, in their order, with the answers so far.
pub(super) struct Exchange<'a> {
    answers: Iter<'a, Answer>,
    now_ms: i64,
    /// The status of the last answer.
    pub(super) status: u16,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(answers: &'a [Answer], now_ms: i64) -> Self {
        Self { answers: answers.iter(), now_ms, status: 0 }
    }

    /// The answer to a request, or the request, where it has none yet.
    fn ask(&mut self, request: impl FnOnce() -> Request) -> Result<&'a Answer, Step> {
        let answer = self.answers.next().ok_or_else(|| Step::Http(request()))?;
        self.status = answer.status;
        Ok(answer)
    }

    /// The same for a request that has to succeed.
    pub(super) fn tell(&mut self, request: impl FnOnce() -> Request) -> Result<&'a Answer, Step> {
        let answer = self.ask(request)?;
        match answer.is_success() {
            true => Ok(answer),
            false => Err(judge(answer, self.now_ms)),
        }
    }
}

impl GitHub {
    /// The issue of a message; none if it is not there.
    pub(super) fn find(&self, outgoing: &Outgoing<'_>, exchange: &mut Exchange<'_>) -> Result<Option<Found>, Step> {
        if let Ok(number) = outgoing.receipt.parse() {
            let before = exchange.answers.clone();
            let answer = exchange.ask(|| self.comments(number, outgoing, 1))?;
            // It was deleted: what follows is a new issue.
            if !matches!(answer.status, 404 | 410) {
                // The comments are looked at once it is clear that one is to be written.
                exchange.answers = before;
                return Ok(Some(Found { number, closed: false, by_this: false }));
            }
        }
        let mut labelled = false;
        for page in 1..=PAGES {
            let answer = exchange.tell(|| self.list(&format!("labels={LABEL}&"), page))?;
            let Value::Array(issues) = answer.json() else {
                return Err(Verdict::retry(answer, "its list of issues cannot be read"));
            };
            if let Some(found) = issues.iter().find_map(|issue| found(issue, outgoing)) {
                return Ok(Some(found));
            }
            labelled |= !issues.is_empty();
            if issues.len() < PER_PAGE {
                break;
            }
        }
        // Where labels are kept, one may be missing of late.
        for page in 1..=if labelled { 1 } else { PAGES_OF_ALL } {
            let answer = exchange.tell(|| self.list("", page))?;
            // Issues of others are many and long: a page that cannot be read loses no message.
            let Value::Array(issues) = answer.json() else { continue };
            if let Some(found) = issues.iter().find_map(|issue| found(issue, outgoing)) {
                return Ok(Some(found));
            }
            if issues.len() < PER_PAGE {
                break;
            }
        }
        Ok(None)
    }

    /// Whether a message is a comment on an issue already: the outcome of an attempt may have been lost.
    pub(super) fn is_written(
        &self,
        number: u64,
        outgoing: &Outgoing<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Result<bool, Step> {
        let by = by(outgoing);
        for page in 1..=PAGES_OF_COMMENTS {
            let answer = exchange.tell(|| self.comments(number, outgoing, page))?;
            // A page that cannot be read loses no message; one that stands on it is written twice.
            let Value::Array(comments) = answer.json() else { continue };
            if comments.iter().any(|comment| has(comment, &by)) {
                return Ok(true);
            }
            if comments.len() < PER_PAGE {
                break;
            }
        }
        Ok(false)
    }

    fn list(&self, of: &str, page: usize) -> Request {
        let query = format!("?{of}state=all&sort=created&direction=desc&per_page={PER_PAGE}&page={page}");
        self.request("GET", &query, None)
    }

    /// The comments that may be this message's, oldest first.
    fn comments(&self, number: u64, outgoing: &Outgoing<'_>, page: usize) -> Request {
        let now = outgoing.now_ms;
        let end = outgoing.message.window.end.parse::<Timestamp>().map_or(now, Timestamp::as_millisecond).min(now);
        let since = Timestamp::from_millisecond(end.saturating_sub(BEFORE)).unwrap_or(Timestamp::UNIX_EPOCH);
        let since = since.strftime("%FT%TZ");
        self.request("GET", &format!("/{number}/comments?since={since}&per_page={PER_PAGE}&page={page}"), None)
    }
}

fn found(issue: &Value, outgoing: &Outgoing<'_>) -> Option<Found> {
    // A pull request that quotes an issue is in the list as well.
    if !has(issue, &marker(outgoing)) || !issue["pull_request"].is_null() {
        return None;
    }
    let number = issue["number"].as_u64()?;
    Some(Found { number, closed: issue["state"] == "closed", by_this: has(issue, &by(outgoing)) })
}

/// Whether a line of an issue or a comment is this: what a sender writes stands within code spans.
fn has(written: &Value, line: &str) -> bool {
    written["body"].as_str().unwrap_or_default().lines().any(|one| one.trim() == line)
}

/// By what the issue of a key is found.
pub(super) fn marker(outgoing: &Outgoing<'_>) -> String {
    let key = outgoing.message.thread.as_ref().map_or(outgoing.message.id.as_str(), |thread| thread.key.as_str());
    format!("<!-- hookline:{key} -->")
}

/// By what the issue or comment of a message is known.
pub(super) fn by(outgoing: &Outgoing<'_>) -> String {
    format!("<!-- hookline-message:{} -->", outgoing.message.id)
}
