//! Where messages go: a folder a kind, with its settings, its renderer and its tests.
//!
//! A destination is pure. [`Destination::step`] says what to do next, given the answers so far: a request to make, a row to
//! append, or the verdict. The service `notify` does it. To add a kind: write its folder, its `mod` line, and
//! its line in [`KINDS`].

mod csv;
mod exchange;
mod github_issues;
mod hubspot;
mod jira;
mod pagerduty;
mod settings;
mod slack;
mod smtp;
mod teams;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod webhook;

pub use exchange::{Answer, Mail, MailServer, MailTls, Outgoing, People, Person, Request, Row, Step, Verdict};
pub use settings::{Fault, Form, SecretText, Setting, Value, Values};

/// A kind of destination.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The keys of its section, beside those that every destination has.
    pub settings: &'static [Setting],
    /// Whether each key of a rule has a message of its own there, which is opened, updated and closed: tickets, incidents.
    pub keyed: bool,
    /// Whether it knows that a person takes care of something, and is told so.
    pub acknowledges: bool,
    /// How its messages travel.
    pub reach: Reach,
    /// Makes one of what its section says.
    pub build: fn(&Values) -> Result<Box<dyn Destination>, Fault>,
}

/// How messages travel. Over a network, a destination takes `allow_private` as well; over HTTP, also `proxy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By requests.
    Http,
    /// By mail.
    Mail,
    /// Into a file.
    File,
}

/// A place that messages go to. Pure: it decides what to send and what an answer means.
pub trait Destination: Send + Sync {
    /// What to do next for a message, given the answers to the steps before. The same arguments give the same step.
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step;

    /// The shortest time between two requests, in milliseconds: what the receiver allows for long.
    fn pace_ms(&self) -> u64 {
        0
    }
}

/// Every kind of destination that this version has.
pub static KINDS: &[Kind] = &[
    webhook::KIND,
    csv::KIND,
    slack::KIND,
    teams::KIND,
    pagerduty::KIND,
    github_issues::KIND,
    hubspot::KIND,
    smtp::KIND,
    jira::KIND,
];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
