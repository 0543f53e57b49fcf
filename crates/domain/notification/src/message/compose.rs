//! The message that some alerts come to, and the digest that stands for several.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::words::{Leaving, ended_in_part, span, text, title};
use super::{Digested, LinkCount, Message, MessageContext, MessageKind, Window, instant};
use crate::group::AlertGroup;

/// Links that a message names.
const TOP_LINKS: usize = 10;
/// Alert ids that a message names; the record that plans it names more.
const MESSAGE_IDS: usize = 100;
/// Lines of a digest; the others are counted.
const DIGEST_LINES: usize = 20;

/// The message that some alerts come to, not yet in a thread.
pub(crate) fn compose(context: &MessageContext<'_>, alerts: &AlertGroup) -> Message {
    let leaving = Leaving::of(context);
    let kind = match (alerts.is_over(), context.follows) {
        (true, _) => MessageKind::Resolved,
        (false, true) => MessageKind::Summary,
        (false, false) => MessageKind::Alert,
    };
    let links = if leaving.field("link") { alerts.top_links(TOP_LINKS) } else { Vec::new() };
    let title = title(context, &leaving, alerts, &links);
    let samples = if leaving.field("event_key") { alerts.samples.clone() } else { Vec::new() };
    let known = alerts.attributes.iter().filter(|(name, _)| leaving.field(name));
    let mut message = Message {
        id: context.bundle_id.to_owned(),
        kind,
        rule: context.rule.name.clone(),
        owner: context.rule.owner.clone(),
        mention: (!context.mention.is_empty()).then(|| context.mention.to_owned()),
        instruction: context.rule.instruction.clone(),
        text: text(context, &leaving, alerts, &title, &links, &samples),
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

/// A message of a digest, and what counts for its place in it.
pub(crate) struct DigestLine {
    pub(crate) digested: Digested,
    pub(crate) count: u64,
    /// Whether all of it is over by now.
    pub(crate) over: bool,
}

/// The line of a digest that stands for the message of some alerts.
pub(crate) fn digest_line(context: &MessageContext<'_>, about: &str, alerts: &AlertGroup) -> DigestLine {
    let mut title = compose(context, alerts).title;
    if let Some(ended) = ended_in_part(&Leaving::of(context), alerts) {
        title.push_str(&format!(" ({ended})"));
    }
    let (rule, group, bundle_id) = (context.rule.name.clone(), about.to_owned(), context.bundle_id.to_owned());
    let digested = Digested { rule, group, bundle_id, title };
    DigestLine { digested, count: alerts.count, over: alerts.is_over() }
}

/// The one message that stands for some: what goes on first, then by the number of events; `why` says why they come as
/// one.
pub(crate) fn compose_digest(
    context: &MessageContext<'_>,
    all: &AlertGroup,
    mut lines: Vec<DigestLine>,
    why: &str,
) -> Message {
    let message = compose(context, all);
    let rules: BTreeSet<&str> = lines.iter().map(|one| one.digested.rule.as_str()).collect();
    let of = match rules.len() {
        1 => format!("of {}", context.rule.name),
        many => format!("of {many} rules, most of them of {}", context.rule.name),
    };
    let events = if message.count == 1 { "1 event".to_owned() } else { format!("{} events", message.count) };
    let over = lines.iter().filter(|one| one.over).count();
    let all_over = if over == lines.len() { "; all of it is over" } else { "" };
    let title = format!("digest: {events} in {} messages {of}{all_over}", lines.len());
    let mut text = format!("{title}\n{why}\n{}", span(all.window_start, all.window_end));
    // Writing to a String cannot fail.
    if (1..lines.len()).contains(&over) {
        let _ = write!(text, "\nOver by now: {over} of {}", lines.len());
    }
    // What goes on asks for something to be done.
    lines.sort_by_key(|one| (one.over, Reverse(one.count)));
    for one in lines.iter().take(DIGEST_LINES) {
        let _ = write!(text, "\n- {}", one.digested.title);
    }
    if lines.len() > DIGEST_LINES {
        let _ = write!(text, "\n- others: {}", lines.len() - DIGEST_LINES);
    }
    Message {
        kind: MessageKind::Digest,
        instruction: None,
        attributes: BTreeMap::new(),
        title,
        text,
        digest: lines.into_iter().map(|one| one.digested).collect(),
        ..message
    }
}
