//! Who owns what: `[owner]` and `[workflow]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::problem::{Place, did_you_mean};
use crate::section::{Reading, Section};
use crate::values::{self, Weekly};

/// A team or person who owns sources, rules or destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The id that the rest of the configuration uses.
    pub id: String,
    /// The name for people; the id if none is given.
    pub name: String,
    /// A chat channel.
    pub chat: Option<String>,
    /// A mail address.
    pub email: Option<String>,
    /// The id of a user or group at Slack, by which it is mentioned.
    pub slack: Option<String>,
    /// The sign-in name or Entra id at Teams, by which it is mentioned.
    pub teams: Option<String>,
    /// The login at GitHub, by which it is mentioned.
    pub github: Option<String>,
    /// The account id at Jira, by which it is mentioned.
    pub jira: Option<String>,
}

/// Who does what about the workflow as a whole: what `hookline handbook` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// Who maintains the receiving endpoint (an owner's id).
    pub receiver_owner: String,
    /// Who reviews failed deliveries (an owner's id).
    pub failures_owner: String,
    /// When they get them, if they asked for a digest.
    pub failures_digest: Option<Weekly>,
    /// Where the digest goes: the names of destinations, each declared.
    pub failures_to: Vec<String>,
    /// How often the workflow is reviewed.
    pub review_every: ReviewEvery,
    /// Where the logs are.
    pub logs: Option<String>,
    /// Where the handbook is stored; `check` says when it has drifted.
    pub handbook: Option<PathBuf>,
}

/// How often the workflow is reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewEvery {
    /// Every month.
    Month,
    /// Every quarter.
    Quarter,
    /// Every year.
    Year,
}

/// Names that are declared somewhere, for checking references to them.
#[derive(Default)]
pub(crate) struct Declared(BTreeMap<String, Place>);

impl Declared {
    pub(crate) fn of<'n>(names: impl IntoIterator<Item = (&'n str, &'n Place)>) -> Self {
        Self(names.into_iter().map(|(name, at)| (name.to_owned(), at.clone())).collect())
    }

    /// Checks a reference; `what` is `owner`, `destination` or `rule`.
    pub(crate) fn check(&self, what: &str, name: &str, at: &Place, reading: Reading<'_>) -> bool {
        let known = self.0.contains_key(name);
        if !known {
            let hint = match did_you_mean(name, self.0.keys().map(String::as_str)) {
                hint if hint.is_empty() => format!("declare it under [{what}]"),
                hint => hint,
            };
            reading.sink.error(at, format!("unknown {what} {name:?}"), hint);
        }
        known
    }
}

pub(crate) fn read_owners(section: &Section<'_>) -> Vec<Owner> {
    let mut owners = Vec::new();
    for entry in section.entries() {
        let Some(fields) = section.section_of(&entry.node, &entry.key) else { continue };
        owners.push(Owner {
            id: entry.key.clone(),
            name: fields.text("name").unwrap_or_else(|| entry.key.clone()),
            chat: fields.text("chat"),
            email: fields.text("email"),
            slack: fields.parsed("slack", slack_id),
            teams: fields.text("teams"),
            github: fields.text("github"),
            jira: fields.text("jira"),
        });
        fields.finish();
    }
    owners
}

/// An id at Slack: names do not ping.
fn slack_id(text: &str) -> Result<String, String> {
    let id = text.len() > 2 && text.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit());
    match id && text.starts_with(['U', 'W', 'S']) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not an id: write that of a user (U…) or group (S…); names do not ping")),
    }
}

pub(crate) fn read_workflow(section: Section<'_>, owners: &Declared, destinations: &Declared) -> Option<Workflow> {
    let receiver_owner = section.owner("receiver_owner", owners);
    let failures_owner = section.owner("failures_owner", owners);
    let periods = [("month", ReviewEvery::Month), ("quarter", ReviewEvery::Quarter), ("year", ReviewEvery::Year)];
    let (failures_digest, review_every, logs) = (
        section.parsed("failures_digest", values::weekly),
        section.choice("review_every", &periods),
        section.text("logs"),
    );
    let handbook = section.path("handbook");
    let failures_to = section.texts("failures_to").unwrap_or_default();
    for (name, at) in &failures_to {
        destinations.check("destination", name, at, section.reading);
    }
    let hint = "say where the digest goes: failures_to = [\"DESTINATION\"]";
    match (section.has("failures_digest"), failures_to.is_empty()) {
        (true, true) => {
            section.error(section.place("failures_digest"), "the digest of failures has no destination", hint)
        }
        (false, false) => {
            let hint = "say when: failures_digest = \"monday 09:00\"";
            section.error(section.place("failures_to"), "failures_to without a failures_digest sends nothing", hint);
        }
        _ => {}
    }
    section.finish();
    Some(Workflow {
        receiver_owner: receiver_owner?,
        failures_owner: failures_owner?,
        failures_digest,
        failures_to: failures_to.into_iter().map(|(name, _)| name).collect(),
        review_every: review_every.unwrap_or(ReviewEvery::Quarter),
        logs,
        handbook,
    })
}

impl Section<'_> {
    /// A key that must name a declared owner.
    pub(crate) fn owner(&self, key: &'static str, owners: &Declared) -> Option<String> {
        let (name, at) = self.required(key, "everything has an owner: name one of [owner]")?;
        owners.check("owner", &name, &at, self.reading).then_some(name)
    }
}
