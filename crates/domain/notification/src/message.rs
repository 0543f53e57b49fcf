//! What a message says: frozen once, when its bundle is planned, and rendered by each destination as it can show it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use event::keyed_hash_hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::group::AlertGroup;
use crate::routing::{Destination, Rule};
use crate::template::Template;

/// Links that a message names.
const TOP_LINKS: usize = 10;
/// Event keys that the text of a message names.
const TEXT_SAMPLES: usize = 3;
/// Alert ids that a message names; the record that plans it names more.
const MESSAGE_IDS: usize = 100;

/// A message, as it stands frozen in `deliveries`. Without its thread, it is the body of a signed webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The bundle: the same over every retry and crash.
    pub id: String,
    /// Whether it is the first, follows, or says that something is over.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// The rule that speaks.
    pub rule: String,
    /// Whose rule it is (an owner's id).
    pub owner: String,
    /// The owner of the links, where the rule mentions them (an owner's id).
    pub mention: Option<String>,
    /// What the people who get it should do.
    #[serde(rename = "do")]
    pub instruction: Option<String>,
    /// One line.
    pub title: String,
    /// A few lines for people, the title first.
    pub text: String,
    /// Events behind the alerts.
    pub count: u64,
    /// Alerts.
    pub alerts: u64,
    /// Alerts that say that something is over.
    pub over: u64,
    /// The links with the most events.
    pub links: Vec<LinkCount>,
    /// Keys of some events behind it.
    pub sample_event_keys: Vec<String>,
    /// What is known about the first event.
    pub attributes: BTreeMap<String, String>,
    /// From the first event to the last.
    pub window: Window,
    /// The first alerts in it.
    pub alert_ids: Vec<String>,
    /// Whether it is about test data.
    pub test: bool,
    /// What a digest stands for; empty in all other messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digest: Vec<Digested>,
    /// What it belongs to at its destination; none in messages of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Thread>,
    /// The same as a file, for destinations that take one; reports have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

/// A file beside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its contents: CSV.
    pub csv: String,
}

/// What a message is in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// The first.
    Alert,
    /// One that follows.
    Summary,
    /// What it is about is over.
    Resolved,
    /// What its destination did not take when it was due.
    Digest,
    /// A person takes care of it: for receivers that know such a state.
    Acknowledged,
    /// What is sent by the calendar.
    Report,
}

impl MessageKind {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Summary => "summary",
            Self::Resolved => "resolved",
            Self::Digest => "digest",
            Self::Acknowledged => "acknowledged",
            Self::Report => "report",
        }
    }
}

/// A message that a digest stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// The rule that speaks.
    pub rule: String,
    /// What it is about: a key, or the owner of the links.
    pub group: String,
    /// The id under which it waited.
    pub bundle_id: String,
    /// What it would have said, in one line.
    pub title: String,
}

/// A link and its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCount {
    /// What people know it by.
    pub link: String,
    /// Events.
    pub count: u64,
}

/// From when until when, as ISO 8601 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The start.
    pub start: String,
    /// The end.
    pub end: String,
}

/// What was opened at a destination, and what a message does to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Of a ticket or incident: the hash of the rule and the alert's key, the same for ever. Else of the group.
    pub key: String,
    /// Whether the message opens it.
    pub opens: bool,
    /// Whether the message ends it.
    pub ends: bool,
    /// The bundle that opened it.
    pub first: String,
    /// The title of the message that opened it.
    pub title: String,
    /// Events since it was opened, those of this message included.
    pub count: u64,
    /// By what the receiver knows it, if that was known when the message was planned.
    pub receipt: String,
    /// The keys whose condition holds after this message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firing: Vec<String>,
    /// Whether the receiver was told that a person takes care of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
}

impl Message {
    /// The body of a signed webhook: JSON, the same bytes on every attempt.
    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    pub fn to_json(&self) -> String {
        let body = match &self.thread {
            None => serde_json::to_string(self),
            Some(_) => serde_json::to_string(&Message { thread: None, ..self.clone() }),
        };
        body.expect("a message is made of texts and numbers")
    }

    /// As it is frozen in `deliveries`.
    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    pub fn frozen(&self) -> String {
        serde_json::to_string(self).expect("a message is made of texts and numbers")
    }

    /// Reads what [`Message::frozen`] wrote, in this version or an earlier one.
    ///
    /// # Errors
    /// What is wrong, where it is not a message.
    pub fn thawed(body: &str) -> Result<Self, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    /// Whether it may ping: the first message does, no later one.
    pub fn pings(&self) -> bool {
        self.kind == MessageKind::Alert && self.thread.as_ref().is_none_or(|thread| thread.opens)
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageContext<'m> {
    pub(crate) bundle_id: &'m str,
    pub(crate) rule: &'m Rule,
    /// None for the capture sink, which keeps everything.
    pub(crate) destination: Option<&'m Destination>,
    /// The owner of the links, where the rule mentions them.
    pub(crate) mention: &'m str,
    pub(crate) test: bool,
    /// Whether it follows another message of its group.
    pub(crate) follows: bool,
    /// What it says instead of our own words.
    pub(crate) template: Option<&'m Template>,
}

/// The id of the bundle of a group that starts with this alert.
pub(crate) fn bundle_id(destination: &str, rule: &str, group: &str, test: bool, first_alert: &str) -> String {
    keyed_hash_hex(&["bundle.v1", destination, rule, group, if test { "test" } else { "" }, first_alert])
}

/// The message that some alerts come to, not yet in a thread.
pub(crate) fn compose(context: &MessageContext<'_>, alerts: &AlertGroup) -> Message {
    let leaves = |field: &str| {
        context
            .destination
            .and_then(|one| one.fields.as_ref())
            .is_none_or(|fields| fields.iter().any(|one| one == field))
    };
    let kind = match (alerts.over == alerts.alerts, context.follows) {
        (true, _) => MessageKind::Resolved,
        (false, true) => MessageKind::Summary,
        (false, false) => MessageKind::Alert,
    };
    let links = if leaves("link") { alerts.top_links(TOP_LINKS) } else { Vec::new() };
    let title = match alerts.is_quiet() {
        true => quiet_title(context.rule, alerts, leaves),
        false => title(context.rule, kind, alerts, &links),
    };
    let samples = if leaves("event_key") { alerts.samples.clone() } else { Vec::new() };
    // What is usual, and what came instead, may name the link.
    let says_why = leaves("why") || leaves("link");
    let known = alerts.attributes.iter().filter(|(name, _)| leaves(name));
    let mut message = Message {
        id: context.bundle_id.to_owned(),
        kind,
        rule: context.rule.name.clone(),
        owner: context.rule.owner.clone(),
        mention: (!context.mention.is_empty()).then(|| context.mention.to_owned()),
        instruction: context.rule.instruction.clone(),
        text: text(context, kind, alerts, &title, &links, &samples, says_why),
        title,
        count: alerts.count,
        alerts: alerts.alerts,
        over: alerts.over,
        links: links.into_iter().map(|(link, count)| LinkCount { link: link.to_owned(), count }).collect(),
        sample_event_keys: samples,
        attributes: known.map(|(name, value)| (name.clone(), value.clone())).collect(),
        window: Window { start: instant(alerts.window_start), end: instant(alerts.window_end) },
        alert_ids: alerts.alert_ids[..alerts.alert_ids.len().min(MESSAGE_IDS)].to_vec(),
        test: context.test,
        digest: Vec::new(),
        thread: None,
        attachment: None,
    };
    if let Some(template) = context.template {
        template.apply(&mut message, alerts.threshold);
    }
    message
}

/// Lines of a digest; the others are counted.
const DIGEST_LINES: usize = 20;

/// The one message that stands for some; `why` says why they come as one.
pub(crate) fn compose_digest(
    context: &MessageContext<'_>,
    all: &AlertGroup,
    digest: Vec<Digested>,
    why: &str,
) -> Message {
    let message = compose(context, all);
    let rules: BTreeSet<&str> = digest.iter().map(|one| one.rule.as_str()).collect();
    let of = match rules.len() {
        1 => format!("of {}", context.rule.name),
        many => format!("of {many} rules, most of them of {}", context.rule.name),
    };
    let events = if message.count == 1 { "1 event".to_owned() } else { format!("{} events", message.count) };
    let title = format!("digest: {events} in {} messages {of}", digest.len());
    let mut text = format!("{title}\n{why}\n{}", span(all.window_start, all.window_end));
    // Writing to a String cannot fail.
    for one in digest.iter().take(DIGEST_LINES) {
        let _ = write!(text, "\n- {}", one.title);
    }
    if digest.len() > DIGEST_LINES {
        let _ = write!(text, "\n- others: {}", digest.len() - DIGEST_LINES);
    }
    Message {
        kind: MessageKind::Digest,
        instruction: None,
        attributes: BTreeMap::new(),
        title,
        text,
        digest,
        ..message
    }
}

/// One line about what did not come.
fn quiet_title(rule: &Rule, alerts: &AlertGroup, leaves: impl Fn(&str) -> bool) -> String {
    let quiet: Vec<&String> = alerts.firing.iter().filter(|(_, firing)| **firing).map(|(key, _)| key).collect();
    // A key leaves where the field does that it is of.
    let may_leave = |key: &String| {
        let known = alerts.attributes.iter().any(|(name, value)| value == key && leaves(name));
        leaves("link") || known
    };
    match quiet.as_slice() {
        [key] if may_leave(key) => format!("{}: {key} is quiet", rule.name),
        [] | [_] => format!("{}: too quiet", rule.name),
        several => format!("{}: {} are quiet", rule.name, several.len()),
    }
}

/// One line.
fn title(rule: &Rule, kind: MessageKind, alerts: &AlertGroup, links: &[(&str, u64)]) -> String {
    let named = alerts.links.len() as u64;
    let on = match (links, alerts.other_links) {
        ([], _) => String::new(),
        ([(link, _)], 0) if named == 1 => format!(" on {link}"),
        _ => format!(" on {named}{} links", if alerts.other_links > 0 { " and more" } else { "" }),
    };
    let events = match alerts.count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    };
    match kind {
        MessageKind::Resolved => format!("{}: over{on}", rule.name),
        MessageKind::Summary => format!("{}: {events} more{on}", rule.name),
        MessageKind::Alert | MessageKind::Digest | MessageKind::Acknowledged | MessageKind::Report => {
            format!("{}: {events}{on}", rule.name)
        }
    }
}

/// A few lines for people.
#[allow(clippy::too_many_arguments, reason = "what a message may say")]
fn text(
    context: &MessageContext<'_>,
    kind: MessageKind,
    alerts: &AlertGroup,
    title: &str,
    links: &[(&str, u64)],
    samples: &[String],
    says_why: bool,
) -> String {
    let mut text = title.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{}", span(alerts.window_start, alerts.window_end));
    let over = kind == MessageKind::Resolved;
    if alerts.threshold > 0 && !over && !alerts.is_quiet() {
        let _ = write!(text, ", where the rule asks for {}", alerts.threshold);
    }
    if alerts.over > 0 && alerts.over < alerts.alerts {
        let _ = write!(text, "; {} of {} alerts say that it is over", alerts.over, alerts.alerts);
    }
    // What is usual, and what came instead: rules that learn say it, of several links beside each.
    let why_of_each = links.len() > 1 && alerts.usual.len() > 1;
    if let Some(why) = alerts.attributes.get("why").filter(|_| says_why && !why_of_each) {
        let _ = write!(text, "\n{why}");
    }
    for (link, count) in links.iter().filter(|_| links.len() > 1) {
        // How many came matters while they come.
        let _ = if over { write!(text, "\n- {link}") } else { write!(text, "\n- {link}: {count}") };
        if let Some(why) = alerts.usual.get(*link).filter(|_| says_why && why_of_each) {
            let _ = write!(text, " ({why})");
        }
    }
    let named: u64 = links.iter().map(|(_, count)| count).sum();
    if links.len() > 1 && named < alerts.count {
        let _ = write!(text, "\n- others: {}", alerts.count - named);
    }
    if let (false, Some(first)) = (over, samples.first()) {
        let _ = write!(text, "\nSample events: {first}");
        for sample in samples.iter().take(TEXT_SAMPLES).skip(1) {
            let _ = write!(text, ", {sample}");
        }
    }
    // What is over needs nothing to be done.
    if let Some(instruction) = context.rule.instruction.as_ref().filter(|_| !over) {
        let _ = write!(text, "\nDo: {instruction}");
    }
    let _ = write!(text, "\nOwner: {}", context.rule.owner);
    if !context.mention.is_empty() && context.mention != context.rule.owner {
        let _ = write!(text, "; link owner: {}", context.mention);
    }
    text
}

/// A span of time as people read it: the day once, where it is one day.
fn span(from_ms: i64, until_ms: i64) -> String {
    let day_and_time = |millis: i64| {
        let at = Timestamp::from_millisecond(millis).ok()?;
        Some((at.strftime("%F").to_string(), at.strftime("%T").to_string()))
    };
    match (day_and_time(from_ms), day_and_time(until_ms)) {
        (Some((day, from)), Some((end, until))) if (&day, &from) == (&end, &until) => format!("at {day} {from} UTC"),
        (Some((day, from)), Some((end, until))) if day == end => format!("between {day} {from} and {until} UTC"),
        (Some((day, from)), Some((end, until))) => format!("between {day} {from} and {end} {until} UTC"),
        _ => format!("between {} and {}", instant(from_ms), instant(until_ms)),
    }
}

/// A time in ISO 8601 and UTC, as people read it.
pub(crate) fn readable(instant: &str) -> String {
    instant.parse::<Timestamp>().map_or_else(|_| instant.to_owned(), |at| at.strftime("%F %T UTC").to_string())
}

/// A time as ISO 8601 in UTC; one that is beyond the calendar stands as its number.
pub(crate) fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
