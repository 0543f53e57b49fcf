//! `[test.NAME]`: events, and the messages that rules are to make of them.

use std::time::Duration;

use event::{Counted, EventType, LinkEvent};
use rules::{EventPattern, Field, Trial};

use crate::document::Value;
use crate::form::{Choice, Integer, Span, TEXT, Text, Texts};
use crate::option::{Group, Opt, Others};
use crate::problem::{Problem, did_you_mean, problem};
use crate::schema::{any_of, object, text};
use crate::section::Section;
use crate::table::{Own, Table};

/// The most events of a test.
const MAX_EVENTS: i64 = 1_000_000_000;

const GIVEN: Opt<Table> = Opt::new(
    "given",
    Table(&GIVEN_GROUP),
    "The events.",
    "{ event = \"visit\", link_kind = \"promo\", count = 200, within = \"5m\" }",
)
.required("write given = { event = \"click\", link_kind = \"promo\" }");
const EXPECT: Opt<Texts> = Opt::new(
    "expect",
    Texts,
    "A line for each message: `rule -> destination`, or `rule -> (shadow)` for a rule that is only tried out.",
    "[\"promo-spike -> marketing-chat\"]",
)
.required("write expect = [\"rule -> destination\"], or expect = [] for no message");

/// `[test.NAME]`.
pub(crate) static GROUP: Group = Group {
    title: "[test.NAME]",
    about: "Events, and the messages that rules are to make of them.",
    read_by: "`check`",
    options: &[&GIVEN, &EXPECT],
    others: &[],
};

const EVENT: Opt<Text> =
    Opt::new("event", TEXT, "What happens: a type, or a finer kind such as `link.expired`.", "\"visit\"")
        .required("name what happens: click, qr_scan, error and so on");
const COUNTED: Opt<Choice<Counted>> = Opt::new(
    "counted",
    Choice(&[HUMAN, ("bot", Counted::Bot), ("internal", Counted::Internal)]),
    "Who comes.",
    "\"bot\"",
)
.or(HUMAN);
const HUMAN: (&str, Counted) = ("human", Counted::Human);
const COUNT: Opt<Integer<i64>> = Opt::new("count", Integer::within(1, MAX_EVENTS, "events"), "How many.", "200").or(1);
const USUAL: Opt<Integer<i64>> =
    Opt::new("usual", Integer::within(0, MAX_EVENTS, "events"), "How many are usual in that time.", "10").or(0);
const WITHIN: Opt<Span> =
    Opt::new("within", Span::within(Duration::from_secs(1), Duration::from_secs(7 * 86_400)), "In how long.", "\"5m\"")
        .or(Duration::from_secs(1));
const FIELD: Opt<Own> = Opt::new(
    "FIELD",
    Own::new(
        || any_of([object([("type", text("string"))]), object([("type", text("boolean"))])]),
        "a text; `partner_approved` is true or false",
    ),
    "A field of the events.",
    "\"promo\"",
)
.otherwise("empty");
static GIVEN_GROUP: Group = Group {
    title: "given",
    about: "The events of a test.",
    read_by: "",
    options: &[&EVENT, &COUNTED, &COUNT, &USUAL, &WITHIN],
    others: &[Others::Listed(field_names, &FIELD)],
};

fn field_names() -> Vec<&'static str> {
    Field::ALL.iter().map(|field| field.name()).collect()
}

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
        let Some(section) = sections.named(entry, "test", &GROUP) else { continue };
        let given = match section.section(&GIVEN) {
            Some(given) => read_given(given),
            None => {
                let hint = GIVEN.required.unwrap_or_default();
                section.error(section.at, format!("{} gives no events", section.title), hint);
                None
            }
        };
        let place = problem(section.place(&EXPECT), String::new(), String::new());
        let expect = section.texts(&EXPECT);
        if expect.is_none() {
            section.missing(EXPECT.key, EXPECT.required.unwrap_or_default());
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
    let (text, at) = section.required(&EVENT)?;
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
    event.counted = section.choice(&COUNTED).unwrap_or(HUMAN.1);
    let count = section.integer(&COUNT).unwrap_or(COUNT.usual());
    let usual = section.integer(&USUAL).unwrap_or(USUAL.usual());
    let within = section.duration(&WITHIN).unwrap_or(WITHIN.usual());
    for field in Field::ALL {
        let Some(node) = section.node_of(field.name()) else { continue };
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
