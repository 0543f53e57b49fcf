//! What a message says: rendered once, when its bundle is planned.

use std::collections::BTreeMap;
use std::fmt::Write;

use event::keyed_hash_hex;
use jiff::Timestamp;
use serde::Serialize;

use crate::group::AlertGroup;
use crate::routing::{Destination, Rule};

/// Links that a message names.
const TOP_LINKS: usize = 10;
/// Alert ids that a message names; the record that plans it names more.
const MESSAGE_IDS: usize = 100;

/// The body of a message, as it is frozen and sent.
#[derive(Serialize)]
struct Message<'m> {
    id: &'m str,
    r#type: &'static str,
    rule: &'m str,
    owner: &'m str,
    /// The owner of the links, where the rule mentions them.
    mention: Option<&'m str>,
    r#do: Option<&'m str>,
    title: String,
    text: String,
    /// Events behind the alerts.
    count: u64,
    /// Alerts.
    alerts: u64,
    /// Alerts that say that something is over.
    over: u64,
    links: Vec<Link<'m>>,
    sample_event_keys: Vec<&'m str>,
    /// What is known about the first event.
    attributes: BTreeMap<&'m str, &'m str>,
    window: Window,
    alert_ids: &'m [String],
    test: bool,
}

#[derive(Serialize)]
struct Link<'m> {
    link: &'m str,
    count: u64,
}

#[derive(Serialize)]
struct Window {
    start: String,
    end: String,
}

/// What a message is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageContext<'m> {
    pub(crate) bundle_id: &'m str,
    pub(crate) rule: &'m Rule,
    /// None for the capture sink, which keeps everything.
    pub(crate) destination: Option<&'m Destination>,
    pub(crate) group: &'m str,
    pub(crate) test: bool,
    /// Whether it follows another message of its group.
    pub(crate) follows: bool,
}

/// The id of the bundle of a group that starts with this alert.
pub(crate) fn bundle_id(destination: &str, rule: &str, group: &str, test: bool, first_alert: &str) -> String {
    keyed_hash_hex(&["bundle.v1", destination, rule, group, if test { "test" } else { "" }, first_alert])
}

/// The body, as JSON.
#[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
pub(crate) fn render(about: &MessageContext<'_>, gathered: &AlertGroup) -> String {
    let leaves = |field: &str| {
        about.destination.and_then(|one| one.fields.as_ref()).is_none_or(|fields| fields.iter().any(|one| one == field))
    };
    let kind = match (gathered.over == gathered.alerts, about.follows) {
        (true, _) => "resolved",
        (false, true) => "summary",
        (false, false) => "alert",
    };
    let links = if leaves("link") { gathered.top_links(TOP_LINKS) } else { Vec::new() };
    let title = title(about.rule, kind, gathered, &links);
    let message = Message {
        id: about.bundle_id,
        r#type: kind,
        rule: &about.rule.name,
        owner: &about.rule.owner,
        mention: (!about.group.is_empty()).then_some(about.group),
        r#do: about.rule.instruction.as_deref(),
        text: text(about, gathered, &title, &links),
        title,
        count: gathered.count,
        alerts: gathered.alerts,
        over: gathered.over,
        links: links.into_iter().map(|(link, count)| Link { link, count }).collect(),
        sample_event_keys: if leaves("event_key") {
            gathered.samples.iter().map(String::as_str).collect()
        } else {
            Vec::new()
        },
        attributes: gathered
            .attributes
            .iter()
            .filter(|(name, _)| leaves(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        window: Window { start: instant(gathered.window_start), end: instant(gathered.window_end) },
        alert_ids: &gathered.alert_ids[..gathered.alert_ids.len().min(MESSAGE_IDS)],
        test: about.test,
    };
    serde_json::to_string(&message).expect("a message is made of texts and numbers")
}

/// One line.
fn title(rule: &Rule, kind: &str, gathered: &AlertGroup, links: &[(&str, u64)]) -> String {
    let named = gathered.links.len() as u64;
    let on = match (links, gathered.other_links) {
        ([], _) => String::new(),
        ([(link, _)], 0) if named == 1 => format!(" on {link}"),
        _ => format!(" on {named}{} links", if gathered.other_links > 0 { " and more" } else { "" }),
    };
    let events = match gathered.count {
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    };
    match kind {
        "resolved" => format!("{}: over{on}", rule.name),
        "summary" => format!("{}: {events} more{on}", rule.name),
        _ => format!("{}: {events}{on}", rule.name),
    }
}

/// A few lines for people.
fn text(about: &MessageContext<'_>, gathered: &AlertGroup, title: &str, links: &[(&str, u64)]) -> String {
    let mut text = title.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(text, "\nbetween {} and {}", instant(gathered.window_start), instant(gathered.window_end));
    if gathered.threshold > 0 {
        let _ = write!(text, ", where the rule asks for {}", gathered.threshold);
    }
    if gathered.over > 0 && gathered.over < gathered.alerts {
        let _ = write!(text, "; {} of {} alerts say that it is over", gathered.over, gathered.alerts);
    }
    for (link, count) in links.iter().filter(|_| links.len() > 1) {
        let _ = write!(text, "\n- {link}: {count}");
    }
    let named: u64 = links.iter().map(|(_, count)| count).sum();
    if links.len() > 1 && named < gathered.count {
        let _ = write!(text, "\n- others: {}", gathered.count - named);
    }
    if let Some(instruction) = &about.rule.instruction {
        let _ = write!(text, "\nDo: {instruction}");
    }
    let _ = write!(text, "\nOwner: {}", about.rule.owner);
    if !about.group.is_empty() {
        let _ = write!(text, "; link owner: {}", about.group);
    }
    text
}

/// A time as ISO 8601 in UTC; one that is beyond the calendar stands as its number.
fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
