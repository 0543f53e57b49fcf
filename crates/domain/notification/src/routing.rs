//! What is sent where: the part of the configuration that bundling looks at.

use std::collections::{BTreeSet, HashMap};

use event::Alert;

use crate::calm::{Budget, Open};
use crate::hours::Hours;
use crate::inhibit::Inhibit;
use crate::schedule::Scheduled;
use crate::template::{Template, Templates};

/// The destination of test data: what would have been sent is recorded as delivered, and goes nowhere.
pub const CAPTURE: &str = "capture";

/// A rule that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What the people who get the message should do: words, or the path of a runbook.
    pub instruction: Option<String>,
    /// What it sends, and when.
    pub sending: Sending,
}

/// What a rule sends, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The names of destinations.
    pub to: Vec<String>,
    /// Whether the owner of the link is mentioned; each owner then gets messages of their own.
    pub mention_link_owner: bool,
    /// How long the first message waits for others, in milliseconds; 0 sends at once.
    pub first_ms: i64,
    /// How often a summary follows while there is something to say, in milliseconds.
    pub then_every_ms: i64,
    /// Whether the end of a condition is a message as well.
    pub say_when_over: bool,
    /// What one message at a time is open for: a rule's key, such as `link`; none where each stands for itself.
    pub one_open_per: Option<String>,
    /// When its starts are not sent.
    pub mute: Option<Mute>,
}

/// Hours in which rules say nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Its name.
    pub name: String,
    /// The hours.
    pub hours: Hours,
}

/// A place that messages go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The only fields about an event that leave; all of them when left out.
    pub fields: Option<Vec<String>>,
    /// Whether each key has a message of its own there, as tickets and incidents do.
    pub keyed: bool,
    /// How many messages it takes; none: as many as come.
    pub max: Option<Budget>,
    /// When it may be disturbed; none: always.
    pub open: Option<Open>,
}

/// A time in which rules say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its name.
    pub name: String,
    /// The names of the rules.
    pub rules: Vec<String>,
    /// From when, in milliseconds since 1970.
    pub from_ms: i64,
    /// Until when, not included, in milliseconds since 1970.
    pub until_ms: i64,
    /// Why, for whoever wonders.
    pub why: String,
}

/// All of it, to be looked things up in.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    rules: HashMap<String, Rule>,
    destinations: HashMap<String, Destination>,
    silences: Vec<Silence>,
    inhibits: Vec<Inhibit>,
    templates: Templates,
    /// Destinations that know that something is acknowledged.
    acknowledging: BTreeSet<String>,
    scheduled: Vec<Scheduled>,
    /// Rules that send nothing, or are only tried out.
    silent: BTreeSet<String>,
}

impl Routing {
    /// The routing by these. Rules that send nothing, and those that are only tried out, do not belong in it.
    pub fn new(rules: Vec<Rule>, destinations: Vec<Destination>, silences: Vec<Silence>) -> Self {
        Self {
            rules: rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect(),
            destinations: destinations.into_iter().map(|one| (one.name.clone(), one)).collect(),
            silences,
            inhibits: Vec::new(),
            templates: Templates::default(),
            acknowledging: BTreeSet::new(),
            scheduled: Vec::new(),
            silent: BTreeSet::new(),
        }
    }

    /// The same, with the destinations that know that something is acknowledged.
    #[must_use]
    pub fn with_acknowledging(self, destinations: impl IntoIterator<Item = String>) -> Self {
        Self { acknowledging: destinations.into_iter().collect(), ..self }
    }

    pub(crate) fn is_acknowledging(&self, destination: &str) -> bool {
        self.acknowledging.contains(destination)
    }

    /// The same, with what is held back while something else fires.
    #[must_use]
    pub fn with_inhibits(self, inhibits: Vec<Inhibit>) -> Self {
        Self { inhibits, ..self }
    }

    /// What may hold starts of a rule back.
    pub(crate) fn inhibits_of(&self, rule: &str) -> impl Iterator<Item = &Inhibit> {
        self.inhibits.iter().filter(move |inhibit| inhibit.hold.iter().any(|held| held == rule))
    }

    /// Whether alerts of a rule hold others back.
    pub(crate) fn inhibits(&self, rule: &str) -> bool {
        self.after(rule).is_some()
    }

    /// For how long after their end alerts of a rule hold others back, in milliseconds; none if they never do.
    pub(crate) fn after(&self, rule: &str) -> Option<i64> {
        self.inhibits.iter().filter(|inhibit| inhibit.by.contains_key(rule)).map(|inhibit| inhibit.after_ms).max()
    }

    /// The same, with titles and texts of the owners' own.
    #[must_use]
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { templates, ..self }
    }

    /// The template of a rule's messages to a destination; none where our own words go.
    pub(crate) fn template(&self, rule: &str, destination: &str) -> Option<Template> {
        self.templates.of(rule, destination)
    }

    /// The same, with nothing that holds a message back: silences, inhibitions, mutes, budgets, open hours.
    #[must_use]
    pub(crate) fn unrestrained(mut self) -> Self {
        self.silences.clear();
        self.inhibits.clear();
        self.rules.values_mut().for_each(|rule| rule.sending.mute = None);
        self.destinations.values_mut().for_each(|one| (one.max, one.open) = (None, None));
        self
    }

    /// The same, with the names of rules that the configuration has and that send nothing.
    #[must_use]
    pub fn with_silent(self, rules: impl IntoIterator<Item = String>) -> Self {
        Self { silent: rules.into_iter().collect(), ..self }
    }

    /// Whether the configuration has a rule of this name.
    pub(crate) fn knows(&self, rule: &str) -> bool {
        self.rules.contains_key(rule) || self.silent.contains(rule)
    }

    /// The same, with what is sent by the calendar.
    #[must_use]
    pub fn with_scheduled(self, scheduled: Vec<Scheduled>) -> Self {
        Self { scheduled, ..self }
    }

    pub(crate) fn scheduled(&self) -> &[Scheduled] {
        &self.scheduled
    }

    pub(crate) fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.get(name)
    }

    pub(crate) fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.get(name)
    }

    /// Whether each key of the rule has a message of its own there.
    pub(crate) fn keyed(&self, rule: &Rule, destination: &str) -> bool {
        rule.sending.one_open_per.is_some() || self.destination(destination).is_some_and(|one| one.keyed)
    }

    /// Whether the rule's alerts go to this destination.
    pub(crate) fn sends(&self, rule: &str, destination: &str, test: bool) -> bool {
        self.rule(rule).is_some_and(|rule| match test {
            true => destination == CAPTURE,
            false => rule.sending.to.iter().any(|to| to == destination),
        })
    }

    /// The silence that an alert falls into, by the time at which its events were received.
    pub(crate) fn silence(&self, alert: &Alert<'_>) -> Option<&Silence> {
        let at = alert.received_at.0;
        let covers = |silence: &&Silence| {
            silence.rules.iter().any(|rule| *rule == alert.rule) && (silence.from_ms..silence.until_ms).contains(&at)
        };
        self.silences.iter().find(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_sends_nothing_is_known_and_one_that_was_never_there_is_not() {
        let routing = Routing::new(Vec::new(), Vec::new(), Vec::new()).with_silent(["quiet".to_owned()]);
        assert!(routing.knows("quiet") && !routing.knows("other"));
    }
}
