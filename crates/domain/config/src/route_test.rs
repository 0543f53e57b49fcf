//! `[test.NAME]`: events, and the messages that rules are to make of them.

use std::time::Duration;

use event::{Counted, EventType, LinkEvent};
use rules::{EventPattern, Field, Trial};

use crate::document::Value;
use crate::problem::{Problem, did_you_mean, problem};
use crate::section::Section;

/// The most events of a test.
const MAX_EVENTS: i64 = 1_000_000_000;
/// The longest time that a test takes, in its own time.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// A route test: what is given, and what is expected of the rules.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteTest {
    /// Its name.
    pub name: String,
    /// The events.
    pub given: Trial,
    /// `rule -> destination` for each message, or `rule -> (shadow)` for a rule that is only tried out; none: nothing
    /// fires.
    pub expect: Vec<String>,
    /// Where `expect` stands, as a problem that is to have its message.
    place: Problem,
}

impl RouteTest {
    /// The problem that this test finds.
    #[must_use]
    pub fn problem(&self, message: String, hint: String) -> Problem {
        Problem { message, hint, ..self.place.clone() }
    }
}

pub(crate) fn read(sections: &Section<'_>) -> Vec<RouteTest> {
    let mut tests = Vec::new();
    for entry in sections.entries() {
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[test.{}]", entry.key);
        let given = match section.section("given") {
            Some(given) => read_given(given),
            None => {
                let hint = "write given = { event = \"click\", link_kind = \"promo\" }";
                section.error(section.at, format!("{} gives no events", section.title), hint);
                None
            }
        };
        let place = problem(section.place("expect"), String::new(), String::new());
        let expect = section.texts("expect");
        if expect.is_none() {
            section.missing("expect", "write expect = [\"rule -> destination\"], or expect = [] for no message");
        }
        for (line, at) in expect.iter().flatten() {
            if !line.contains("->") {
                section.error(at, format!("{line:?} names no message"), "write \"rule -> destination\"");
            }
        }
        let expect = expect.map(|lines| lines.into_iter().map(|(line, _)| line).collect());
        section.finish();
        if let (Some(given), Some(expect)) = (given, expect) {
            tests.push(RouteTest { name: entry.key.clone(), given, expect, place });
        }
    }
    tests
}

fn read_given(section: Section<'_>) -> Option<Trial> {
    let mut event = LinkEvent { link_id: "test-link".into(), event_key: "test".into(), ..LinkEvent::default() };
    let mut sound = true;
    let (text, at) = section.required("event", "name what happens: click, qr_scan, error and so on")?;
    match EventPattern::parse(&text) {
        Some(EventPattern::Visit) => event.r#type = EventType::Click,
        Some(EventPattern::Type(r#type)) => event.r#type = r#type,
        Some(EventPattern::Subtype(glob)) if !glob.is_wild() => {
            event.r#type = if text.starts_with("link.") { EventType::Lifecycle } else { EventType::Error };
            event.subtype = text.into();
        }
        _ => {
            section.error(&at, format!("unknown event {text:?}"), did_you_mean(&text, EventPattern::names()));
            sound = false;
        }
    }
    let counts = [("human", Counted::Human), ("bot", Counted::Bot), ("internal", Counted::Internal)];
    event.counted = section.choice("counted", &counts).unwrap_or_default();
    let count = section.integer("count", 1..=MAX_EVENTS).unwrap_or(1);
    let usual = section.integer("usual", 0..=MAX_EVENTS).unwrap_or(0);
    let within = section.duration("within", Duration::from_secs(1)..=LONGEST).unwrap_or(Duration::from_secs(1));
    for field in Field::ALL {
        let Some(node) = section.node(field.name()) else { continue };
        match &node.value {
            Value::Text(text) => field.set(&mut event, text),
            Value::Flag(flag) if *field == Field::PartnerApproved => field.set(&mut event, &flag.to_string()),
            other => {
                section.error(&node.at, format!("{} is {}", field.name(), other.kind()), "an event has one text there");
                sound = false;
            }
        }
    }
    section.finish();
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    sound.then(|| Trial { event, count: number(count), within_ms, usual: number(usual) })
}
