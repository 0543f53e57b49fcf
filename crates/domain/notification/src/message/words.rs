//! Title and text of a message in our own words: what happened, where, and whether it is over.

use std::fmt::Write;

use jiff::Timestamp;

use super::{MessageContext, instant};
use crate::group::AlertGroup;

/// Event keys that the text of a message names.
const TEXT_SAMPLES: usize = 3;
/// Keys that a title or a line names; the others are counted.
const NAMED_KEYS: usize = 3;

/// What may leave to a destination.
pub(super) struct Leaving<'m>(Option<&'m [String]>);

impl<'m> Leaving<'m> {
    pub(super) fn of(context: &MessageContext<'m>) -> Self {
        Self(context.destination.and_then(|destination| destination.fields.as_deref()))
    }

    pub(super) fn field(&self, name: &str) -> bool {
        self.0.is_none_or(|fields| fields.iter().any(|one| one == name))
    }

    /// Whether a key may: where the field does that it is of.
    fn key(&self, key: &str, alerts: &AlertGroup) -> bool {
        let of_field = |(name, value): (&String, &String)| value == key && self.field(name);
        self.0.is_none()
            || (alerts.links.contains_key(key) && self.field("link"))
            || alerts.attributes.iter().any(of_field)
    }

    /// Some keys by their names, the first few of them; none if there are none, or if one may not leave.
    fn keys(&self, keys: &[&str], alerts: &AlertGroup) -> Option<String> {
        if keys.is_empty() || !keys.iter().all(|key| !key.is_empty() && self.key(key, alerts)) {
            return None;
        }
        let named = keys[..keys.len().min(NAMED_KEYS)].join(", ");
        match keys.len().checked_sub(NAMED_KEYS) {
            None | Some(0) => Some(named),
            Some(others) => Some(format!("{named} and {others} more")),
        }
    }
}

/// One line.
pub(super) fn title(
    context: &MessageContext<'_>,
    leaving: &Leaving<'_>,
    alerts: &AlertGroup,
    links: &[(&str, u64)],
) -> String {
    let (rule, over) = (&context.rule.name, alerts.is_over());
    // What began and ended before anything of it was told. It is said first: receivers cut titles.
    let began = if context.follows { "over" } else { "began and is over" };
    let keys = alerts.keys(!over);
    if alerts.is_quiet() {
        let (is, are) = if over { ("was", "were") } else { ("is", "are") };
        let quiet = match (leaving.keys(&keys, alerts), keys.len()) {
            (Some(named), 1) => format!("{named} {is} quiet"),
            (Some(named), _) => format!("{named} {are} quiet"),
            (None, 0 | 1) => "too quiet".to_owned(),
            (None, many) => format!("{many} {are} quiet"),
        };
        return if over { format!("{rule}: {began}: {quiet}") } else { format!("{rule}: {quiet}") };
    }
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
    let more = if context.follows { " more" } else { "" };
    if !over {
        return format!("{rule}: {events}{more}{on}");
    }
    // Links are named as such.
    let other_keys = !keys.iter().all(|key| alerts.links.contains_key(*key));
    let of = leaving.keys(&keys, alerts).filter(|_| other_keys).map_or_else(String::new, |keys| format!(" for {keys}"));
    match alerts.over == alerts.alerts {
        true => format!("{rule}: over{of}{on}"),
        false => format!("{rule}: {began}{of}: {events}{more}{on}"),
    }
}

/// Which of several keys are over, where others are not.
pub(super) fn ended_in_part(leaving: &Leaving<'_>, alerts: &AlertGroup) -> Option<String> {
    if alerts.over == 0 || alerts.is_over() {
        return None;
    }
    let ended = alerts.keys(false);
    match leaving.keys(&ended, alerts) {
        Some(named) => Some(format!("over: {named}")),
        None if ended.is_empty() => Some("over in between, and again".to_owned()),
        None => Some(format!("{} of {} alerts say that it is over", alerts.over, alerts.alerts)),
    }
}

/// A few lines for people.
pub(super) fn text(
    context: &MessageContext<'_>,
    leaving: &Leaving<'_>,
    alerts: &AlertGroup,
    title: &str,
    links: &[(&str, u64)],
    samples: &[String],
) -> String {
    let mut text = title.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{}", span(alerts.window_start, alerts.window_end));
    // It tells of ends alone.
    let ends = alerts.over == alerts.alerts;
    if alerts.threshold > 0 && !ends && !alerts.is_quiet() {
        let _ = write!(text, ", where the rule asks for {}", alerts.threshold);
    }
    if let Some(ended) = ended_in_part(leaving, alerts) {
        let _ = write!(text, "; {ended}");
    }
    // What is usual, and what came instead, may name the link: rules that learn say it, of several links beside each.
    let says_why = leaving.field("why") || leaving.field("link");
    let why_of_each = links.len() > 1 && alerts.usual.len() > 1;
    if let Some(why) = alerts.attributes.get("why").filter(|_| says_why && !why_of_each) {
        let _ = write!(text, "\n{why}");
    }
    for (link, count) in links.iter().filter(|_| links.len() > 1) {
        // How many came matters while they come.
        let _ = if ends { write!(text, "\n- {link}") } else { write!(text, "\n- {link}: {count}") };
        if let Some(why) = alerts.usual.get(*link).filter(|_| says_why && why_of_each) {
            let _ = write!(text, " ({why})");
        }
    }
    let named: u64 = links.iter().map(|(_, count)| count).sum();
    if links.len() > 1 && named < alerts.count {
        let _ = write!(text, "\n- others: {}", alerts.count - named);
    }
    if let (false, Some(first)) = (ends, samples.first()) {
        let _ = write!(text, "\nSample events: {first}");
        for sample in samples.iter().take(TEXT_SAMPLES).skip(1) {
            let _ = write!(text, ", {sample}");
        }
    }
    // What is over needs nothing to be done.
    if let Some(instruction) = context.rule.instruction.as_ref().filter(|_| !alerts.is_over()) {
        let _ = write!(text, "\nDo: {instruction}");
    }
    let _ = write!(text, "\nOwner: {}", context.rule.owner);
    if !context.mention.is_empty() && context.mention != context.rule.owner {
        let _ = write!(text, "; link owner: {}", context.mention);
    }
    text
}

/// A span of time as people read it: the day once, where it is one day.
pub(super) fn span(from_ms: i64, until_ms: i64) -> String {
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
