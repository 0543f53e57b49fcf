//! Which issue a message belongs to.
//!
//! By its receipt; else by its label. What Jira's search knows is old by seconds to minutes, so an issue that it does
//! not know may be there: a second one would be opened. The search is asked for old issues and for the newest number it
//! knows; the issues around and above that number are then read one by one (bulk fetch), which is exact.

use serde_json::{Value, json};

use super::render::{Asked, Jira, judge};
use crate::destination::{Answer, Outgoing, Request, Step, Verdict};

/// Issues that Jira reads at once.
const AT_ONCE: u64 = 100;
/// Those of them that are below the newest that the search knows; the others are that one and those above it.
const BELOW: u64 = 30;

/// An issue that was found.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) done: bool,
    /// Whether this very message opened it, in an attempt of which the outcome was lost.
    pub(super) by_this: bool,
}

/// How far it has come.
pub(super) enum Search {
    Ask(Request),
    Done { found: Option<Found>, answers: usize },
    Failed(Step),
}

/// By what the issue of a key is found.
pub(super) fn label(outgoing: &Outgoing<'_>) -> String {
    let key = outgoing.message.thread.as_ref().map_or(outgoing.message.id.as_str(), |thread| thread.key.as_str());
    format!("hookline-{key}")
}

impl Jira {
    pub(super) fn search(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Search {
        let known = outgoing.receipt;
        if is_key(known) {
            // How it stands now: a person may have moved or closed it.
            let Some(answer) = answers.first() else {
                return Search::Ask(self.request(
                    "GET",
                    &format!("/issue/{known}?fields=status&properties=hookline"),
                    None,
                ));
            };
            return match (answer.is_success(), answer.status) {
                (true, _) => Search::Done { found: found(&answer.json(), outgoing), answers: 1 },
                // It was deleted: what follows is a new issue.
                (false, 404) if answer.body.contains("errorMessages") => Search::Done { found: None, answers: 1 },
                (false, _) => Search::Failed(judge(answer, Asked::Other)),
            };
        }
        let label = label(outgoing);
        let with_label = format!("project = \"{}\" AND labels = \"{label}\" ORDER BY created DESC", self.project);
        let Some(by_label) = answers.first() else { return Search::Ask(self.jql(&with_label)) };
        match issues(by_label) {
            Err(end) => return Search::Failed(end),
            Ok(issues) => {
                if let Some(found) = issues.first().and_then(|issue| found(issue, outgoing)) {
                    return Search::Done { found: Some(found), answers: 1 };
                }
            }
        }
        let Some(newest) = answers.get(1) else {
            return Search::Ask(self.jql(&format!("project = \"{}\" ORDER BY created DESC", self.project)));
        };
        let newest = match issues(newest) {
            Err(end) => return Search::Failed(end),
            Ok(issues) => issues.first().and_then(number).unwrap_or(0),
        };
        let Some(fetched) = answers.get(2) else {
            let keys: Vec<String> = around(newest).map(|number| format!("{}-{number}", self.project)).collect();
            let body = json!({ "issueIdsOrKeys": keys, "fields": ["status", "labels"], "properties": ["hookline"] });
            return Search::Ask(self.request("POST", "/issue/bulkfetch", Some(body)));
        };
        match issues(fetched) {
            Err(end) => Search::Failed(end),
            Ok(issues) => {
                let ours = |issue: &&Value| {
                    issue["fields"]["labels"]
                        .as_array()
                        .is_some_and(|labels| labels.iter().any(|one| *one == label.as_str()))
                };
                let found = issues.iter().rev().find(ours).and_then(|issue| found(issue, outgoing));
                Search::Done { found, answers: 3 }
            }
        }
    }

    fn jql(&self, jql: &str) -> Request {
        let body = json!({ "jql": jql, "fields": ["status", "labels"], "properties": ["hookline"], "maxResults": 1 });
        self.request("POST", "/search/jql", Some(body))
    }
}

fn issues(answer: &Answer) -> Result<Vec<Value>, Step> {
    if !answer.is_success() {
        return Err(judge(answer, Asked::Search));
    }
    match answer.json()["issues"].take() {
        Value::Array(issues) => Ok(issues),
        _ => Err(Verdict::retry(answer, "its list of issues cannot be read")),
    }
}

fn found(issue: &Value, outgoing: &Outgoing<'_>) -> Option<Found> {
    Some(Found {
        key: issue["key"].as_str().filter(|key| is_key(key))?.to_owned(),
        done: issue["fields"]["status"]["statusCategory"]["key"] == "done",
        by_this: issue["properties"]["hookline"]["message"] == outgoing.message.id.as_str(),
    })
}

/// Whether a text can stand in the path of a request.
pub(super) fn is_key(text: &str) -> bool {
    text.split_once('-').is_some_and(|(project, number)| {
        let named = project.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_');
        named && !project.is_empty() && !number.is_empty() && number.chars().all(|one| one.is_ascii_digit())
    })
}

/// The numbers of the issues to read, where this is the newest that the search knows: 0 if it knows none.
pub(super) fn around(newest: u64) -> impl Iterator<Item = u64> {
    let first = newest.saturating_sub(BELOW).max(1);
    (first..=newest.saturating_add(AT_ONCE - 1 - BELOW)).take(AT_ONCE as usize)
}

fn number(issue: &Value) -> Option<u64> {
    issue["key"].as_str()?.rsplit('-').next()?.parse().ok()
}
