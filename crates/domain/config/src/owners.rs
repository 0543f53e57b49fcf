//! Who owns what: `[owner]` and `[workflow]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::form::{Choice, File, Reference, Spoken, TEXT, Text, Texts};
use crate::option::{Group, Opt};
use crate::problem::{Place, did_you_mean};
use crate::section::{Reading, Section};
use crate::values::{self, Weekly};

/// What a reference to an owner is to say.
const HAS_AN_OWNER: &str = "everything has an owner: name one of [owner]";

/// A key that names an owner.
pub(crate) const fn owned(key: &'static str, about: &'static str) -> Opt<Reference> {
    Opt::new(key, Reference("owner"), about, "\"growth\"").required(HAS_AN_OWNER)
}

const NAME: Opt<Text> =
    Opt::new("name", TEXT, "The name for people.", "\"Growth marketing\"").otherwise("the key itself");
const CHAT: Opt<Text> = Opt::new("chat", TEXT, "A chat channel, for the handbook.", "\"#growth-oncall\"");
const EMAIL: Opt<Text> = Opt::new("email", TEXT, "A mail address.", "\"growth@example.com\"");
const SLACK: Opt<Spoken<String>> = Opt::new(
    "slack",
    Spoken::new(slack_id, "an id: `U…`, `W…` or `S…`", "^[UWS][A-Z0-9]{2,}$"),
    "The id of a user or group at Slack, by which it is mentioned: names do not ping.",
    "\"S0123ABCD\"",
);
const TEAMS: Opt<Text> = Opt::new(
    "teams",
    TEXT,
    "The sign-in name or Entra id at Teams, by which it is mentioned.",
    "\"growth@example.com\"",
);
const GITHUB: Opt<Text> = Opt::new("github", TEXT, "The login at GitHub, by which it is mentioned.", "\"octocat\"");
const JIRA: Opt<Text> =
    Opt::new("jira", TEXT, "The account id at Jira, by which it is mentioned.", "\"5b10ac8d82e05b22cc7d4ef5\"");

/// `[owner]`: a table for each.
pub(crate) static OWNER: Group = Group {
    title: "[owner]",
    about: "Teams and people. Everything has an owner: sources, rules and destinations name one by its key. \
            `growth = { name = \"Growth marketing\" }`.",
    read_by: "process, notify, `handbook` and `review`",
    options: &[&NAME, &CHAT, &EMAIL, &SLACK, &TEAMS, &GITHUB, &JIRA],
    others: &[],
};

const RECEIVER_OWNER: Opt<Reference> = owned("receiver_owner", "Who maintains the receiving endpoint.");
const FAILURES_OWNER: Opt<Reference> = owned("failures_owner", "Who reviews failed deliveries.");
const FAILURES_DIGEST: Opt<Spoken<Weekly>> = Opt::new(
    "failures_digest",
    Spoken::new(values::weekly, "a weekly time", r"^[a-z]+\s+[0-9]{2}:[0-9]{2}\s*$"),
    "When the digest of failures is sent, in `timezone`.",
    "\"monday 09:00\"",
);
const FAILURES_TO: Opt<Texts> = Opt::new(
    "failures_to",
    Texts,
    "Where the digest of failures goes: names of `[destination]`. Needed with `failures_digest`.",
    "[\"mail\"]",
)
.otherwise("no digest");
const REVIEW_EVERY: Opt<Choice<ReviewEvery>> = Opt::new(
    "review_every",
    Choice(&[("month", ReviewEvery::Month), QUARTER, ("year", ReviewEvery::Year)]),
    "How often the workflow is reviewed.",
    "\"month\"",
)
.or(QUARTER);
const QUARTER: (&str, ReviewEvery) = ("quarter", ReviewEvery::Quarter);
const LOGS: Opt<Text> = Opt::new("logs", TEXT, "Where the logs are.", "\"https://grafana.example.com/d/hookline\"");
const HANDBOOK: Opt<File> =
    Opt::new("handbook", File, "Where the handbook is stored: `check` says when it has drifted.", "\"HANDBOOK.md\"");

/// `[workflow]`.
pub(crate) static WORKFLOW: Group = Group {
    title: "[workflow]",
    about: "Who does what about the workflow as a whole.",
    read_by: "notify, `handbook`, `review` and `check`",
    options: &[&RECEIVER_OWNER, &FAILURES_OWNER, &FAILURES_DIGEST, &FAILURES_TO, &REVIEW_EVERY, &LOGS, &HANDBOOK],
    others: &[],
};

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
        let fields = fields.declared_as(&OWNER);
        owners.push(Owner {
            id: entry.key.clone(),
            name: fields.text(&NAME).unwrap_or_else(|| entry.key.clone()),
            chat: fields.text(&CHAT),
            email: fields.text(&EMAIL),
            slack: fields.parsed(&SLACK),
            teams: fields.text(&TEAMS),
            github: fields.text(&GITHUB),
            jira: fields.text(&JIRA),
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
    let receiver_owner = section.owner(&RECEIVER_OWNER, owners);
    let failures_owner = section.owner(&FAILURES_OWNER, owners);
    let failures_digest = section.parsed(&FAILURES_DIGEST);
    let (review_every, logs) = (section.choice(&REVIEW_EVERY), section.text(&LOGS));
    let handbook = section.path(&HANDBOOK);
    let failures_to = section.texts(&FAILURES_TO).unwrap_or_default();
    for (name, at) in &failures_to {
        destinations.check("destination", name, at, section.reading);
    }
    let hint = "say where the digest goes: failures_to = [\"DESTINATION\"]";
    match (section.has(&FAILURES_DIGEST), failures_to.is_empty()) {
        (true, true) => {
            section.error(section.place(&FAILURES_DIGEST), "the digest of failures has no destination", hint)
        }
        (false, false) => {
            let hint = "say when: failures_digest = \"monday 09:00\"";
            section.error(section.place(&FAILURES_TO), "failures_to without a failures_digest sends nothing", hint);
        }
        _ => {}
    }
    section.finish();
    Some(Workflow {
        receiver_owner: receiver_owner?,
        failures_owner: failures_owner?,
        failures_digest,
        failures_to: failures_to.into_iter().map(|(name, _)| name).collect(),
        review_every: review_every.unwrap_or(QUARTER.1),
        logs,
        handbook,
    })
}

impl Section<'_> {
    /// A key that must name a declared owner.
    pub(crate) fn owner(&self, opt: &Opt<Reference>, owners: &Declared) -> Option<String> {
        let (name, at) = self.required(opt)?;
        owners.check("owner", &name, &at, self.reading).then_some(name)
    }
}
