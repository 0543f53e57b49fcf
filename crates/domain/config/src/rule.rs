//! Rules, silences and route tests.

use std::time::Duration;

use notification::Template;
use rules::{Condition, EventPattern, Field, Per, Trigger, When, WindowError};

use crate::alert::{self, PERS};
use crate::document::{Node, Value};
use crate::form::{Choice, Flag, Integer, Reference, References, Span, Spoken, TEXT, Text};
use crate::option::{Group, Opt, Others};
use crate::owners::{Declared, owned};
use crate::problem::did_you_mean;
use crate::report::{self, RuleReport};
use crate::schema::{Json, any_of, list_of, object, some_text, text};
use crate::section::Section;
use crate::source::is_name;
use crate::table::{Own, Table, Variants};
use crate::{template, values};

const DAY: Duration = Duration::from_secs(86_400);

const OWNER: Opt<Reference> = owned("owner", "Who owns it.");
const WHEN: Opt<Table> =
    Opt::new("when", Table(&WHEN_GROUP), "Which events.", "{ event = \"visit\", link_kind = \"proposal\" }")
        .required("say which events: when = { event = \"visit\" }");
type ReadAlert = fn(&Section<'_>) -> Option<Trigger>;

/// What makes a rule speak: the key that asks for it, its table and its reader. Of several keys the one that is last
/// here is meant, so that the others are named as unknown; of none, the first.
static ALERTS: &[(&str, &Group, ReadAlert)] = &[
    (EACH.key, &EACH_GROUP, read_each),
    (COUNT.key, &COUNT_GROUP, read_count),
    ("spike", &alert::SPIKE_GROUP, alert::read_spike),
    ("silence", &alert::SILENCE_GROUP, alert::read_silence),
    ("broken", &alert::BROKEN_GROUP, alert::read_broken),
    ("drift", &alert::DRIFT_GROUP, alert::read_drift),
    ("gap", &alert::GAP_GROUP, alert::read_gap),
    ("first_seen", &alert::FIRST_SEEN_GROUP, alert::read_first_seen),
];
const ALERT: Opt<Variants> = Opt::new("alert", Variants(alerts), "What makes it speak.", "{ each = true }");
const SEND: Opt<Table> = Opt::new("send", Table(&SEND_GROUP), "What is sent where.", "{ to = [\"sales-chat\"] }");
const REPORT: Opt<Table> = report::REPORT;
const DO: Opt<Text> = Opt::new(
    "do",
    TEXT,
    "What the people who get the message should do: words, or the path of a runbook.",
    "\"Call the contact within the hour.\"",
);
const TEMPLATE: Opt<Table> = template::TEMPLATE;
const SHADOW: Opt<Flag> =
    Opt::new("shadow", Flag, "Whether it is only tried out: evaluated and counted, and nothing is sent.", "true")
        .or(false);

fn alerts() -> Vec<&'static Group> {
    ALERTS.iter().map(|(_, group, _)| *group).collect()
}

/// `[rule.NAME]`.
pub(crate) static RULE: Group = Group {
    title: "[rule.NAME]",
    about: "Which events alert. Every event is stored and reported whatever stands here. Bots and internal traffic never match.",
    read_by: "process, detect and notify",
    options: &[&OWNER, &WHEN, &ALERT, &SEND, &REPORT, &DO, &TEMPLATE, &SHADOW],
    others: &[],
};

const EVENT: Opt<Own> = Opt::new(
    "event",
    Own::new(pattern_schema, "a name or a list of names; `*` stands for any text"),
    "What happens: `visit` (a click or a scan), `click`, `qr_scan`, `error`, `threshold`, `lifecycle`, `lead`, `sale`, or a finer \
     kind such as `link.expired`.",
    "\"visit\"",
)
.otherwise("every event");
const FIELD: Opt<Own> = Opt::new(
    "FIELD",
    Own::new(
        || any_of([some_text(), list_of(some_text()), object([("type", text("boolean"))])]),
        "a text or a list of texts; `*` stands for any text. `partner_approved` is true or false",
    ),
    "A field of the event: all that are given must match.",
    "[\"q4\", \"q4-*\"]",
)
.otherwise("anything");
static WHEN_GROUP: Group = Group {
    title: "when",
    about: "Conditions on an event. Without any, every event matches.",
    read_by: "process",
    options: &[&EVENT],
    others: &[Others::Listed(field_names, &FIELD)],
};

fn field_names() -> Vec<&'static str> {
    Field::ALL.iter().map(|field| field.name()).collect()
}

fn pattern_schema() -> Json {
    any_of([some_text(), list_of(some_text())])
}

const EACH: Opt<Flag> = Opt::new("each", Flag, "Each event is an alert.", "true").required("");
static EACH_GROUP: Group =
    Group { title: "alert with each", about: "At every event.", read_by: "process", options: &[&EACH], others: &[] };

const COUNT: Opt<Integer<i64>> =
    Opt::new("count", Integer::within(1, 1_000_000_000_000, "events"), "So many are an alert.", "3").required("");
const PER: Opt<Choice<Per>> = Opt::new("per", Choice(PERS), "What is counted separately.", "\"link\"")
    .required("say what is counted: per = \"link\" (or campaign, qr, domain, partner, source, owner, all)");
const WITHIN: Opt<Spoken<(String, Duration)>> = Opt::new(
    "within",
    Spoken::new(
        |text| Ok((text.to_owned(), values::duration(text)?)),
        "a duration: whole seconds, 1s to 7d",
        r"^\s*[0-9]",
    ),
    "The time that is counted in.",
    "\"10m\"",
)
.required("say in how long: within = \"10m\"");
const QUIET_FOR: Opt<Span> = Opt::new(
    "quiet_for",
    Span::within(Duration::ZERO, Duration::from_secs(30 * 86_400)),
    "How long the count stays low before the end is said.",
    "\"1h\"",
)
.or(Duration::ZERO);
static COUNT_GROUP: Group = Group {
    title: "alert with count",
    about: "When so many events came in so long.",
    read_by: "detect",
    options: &[&COUNT, &PER, &WITHIN, &QUIET_FOR],
    others: &[],
};

pub(crate) const TO: Opt<References> =
    Opt::new("to", References("destination"), "Where messages go.", "[\"sales-chat\", \"log\"]")
        .required("name at least one destination");
const FIRST: Opt<Span> = Opt::new(
    "first",
    Span::within(Duration::ZERO, DAY).or("now"),
    "How long the first message waits for others.",
    "\"30s\"",
)
.or(Duration::ZERO);
const THEN_EVERY: Opt<Span> = Opt::new(
    "then_every",
    Span::within(Duration::from_secs(1), DAY),
    "How often a summary follows while there is something to say.",
    "\"5m\"",
)
.or(Duration::from_secs(300));
const MENTION: Opt<Choice<bool>> = Opt::new(
    "mention",
    Choice(&[("link.owner", true), NO_MENTION]),
    "Who is mentioned in the message.",
    "\"link.owner\"",
)
.or(NO_MENTION);
const NO_MENTION: (&str, bool) = ("nobody", false);
const SAY_WHEN_OVER: Opt<Flag> =
    Opt::new("say_when_over", Flag, "Whether the end of a condition is a message as well.", "true").or(false);
const ONE_OPEN_PER: Opt<Choice<Per>> = Opt::new(
    "one_open_per",
    Choice(PERS),
    "One open message for each; the same as `per` of the alert, if that has one.",
    "\"link\"",
)
.otherwise("each stands for itself, but at destinations that open tickets or incidents");
const MUTE: Opt<Reference> =
    Opt::new("mute", Reference("mute"), "Hours in which nothing new is sent.", "\"nights\"").otherwise("none");
static SEND_GROUP: Group = Group {
    title: "send",
    about: "What a rule sends, and when.",
    read_by: "notify",
    options: &[&TO, &FIRST, &THEN_EVERY, &MENTION, &SAY_WHEN_OVER, &ONE_OPEN_PER, &MUTE],
    others: &[],
};

/// A rule: which events, what makes it speak, and what is sent where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it decides by; its name and owner are there too.
    pub rule: rules::Rule,
    /// What is sent where; none for rules that send nothing, as all shadow rules.
    pub send: Option<Sending>,
    /// What the people who get the message should do (`do`): words, or the path of a runbook.
    pub instruction: Option<String>,
    /// Title and text of its messages, where they are the owner's own.
    pub template: Option<Template>,
    /// What is sent by the calendar.
    pub report: Option<RuleReport>,
}

/// What a rule sends, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The names of destinations, each declared.
    pub to: Vec<String>,
    /// Whether the owner of the link is mentioned (`mention = "link.owner"`).
    pub mention_link_owner: bool,
    /// How long the first message waits for others; zero sends at once.
    pub first: Duration,
    /// How often a summary follows while there is something to say.
    pub then_every: Duration,
    /// Whether the end of a condition is a message as well.
    pub say_when_over: bool,
    /// One open message per key; none: each stands for itself, but at destinations that open tickets or incidents.
    pub one_open_per: Option<Per>,
    /// Hours in which nothing new is sent, by the name of their `[mute]`.
    pub mute: Option<String>,
}

pub(crate) fn read(sections: &Section<'_>, owners: &Declared, destinations: &Declared, mutes: &Declared) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in sections.entries() {
        if !is_name(&entry.key) {
            sections.error(&entry.at, format!("{:?} cannot name a rule", entry.key), "use letters, digits, - and _");
        }
        let Some(section) = sections.named(entry, "rule", &RULE) else { continue };
        rules.extend(read_one(entry.key.clone(), section, owners, destinations, mutes));
    }
    rules
}

fn read_one(
    name: String,
    section: Section<'_>,
    owners: &Declared,
    destinations: &Declared,
    mutes: &Declared,
) -> Option<Rule> {
    let sink = section.reading.sink;
    let owner = section.owner(&OWNER, owners);
    section.demand(&WHEN);
    let when = section.section(&WHEN).and_then(read_when);
    let alert = section.section(&ALERT).map(read_alert);
    if let (Some(Some(alert)), Some(when)) = (&alert, &when) {
        alert::check_events(&section, section.place(&WHEN), alert, when);
    }
    let send = section.section(&SEND).map(|send| read_send(send, destinations, mutes));
    let report = section.section(&REPORT).map(|report| {
        // Problems of the conditions were said above.
        let select = when.as_ref().and(section.section(&WHEN)).map(|when| selected(&when)).unwrap_or_default();
        report::read(report, destinations, select)
    });
    let instruction = section.text(&DO);
    let template = section.section(&TEMPLATE).and_then(template::read);
    let shadow = section.flag(&SHADOW).unwrap_or(SHADOW.usual());
    match (section.has(&ALERT), section.has(&SEND)) {
        (false, true) => {
            let hint = "add alert = { each = true } or alert = { count = N, per = \"link\", within = \"5m\" }";
            section.error(section.place(&SEND), format!("{} sends but never alerts", section.title), hint);
        }
        (false, false) if !section.has(&REPORT) => {
            let hint = "add alert = { each = true } or alert = { count = N, per = \"link\", within = \"5m\" }";
            sink.warn(section.at, format!("{} has no alert: it says nothing", section.title), hint);
        }
        _ => {}
    }
    if let (Some(Some(alert)), Some(Some(send))) = (&alert, &send)
        && let (Some(per), Some(open)) = (alert.per(), send.one_open_per)
        && per != open
    {
        let message = format!("{} counts per {} and sends one_open_per = {:?}", section.title, per.name(), open.name());
        section.error(
            section.place(&SEND),
            message,
            format!("write one_open_per = {:?}: an end has to find its start", per.name()),
        );
    }
    section.finish();
    // An alert or a send that could not be read is recorded; the rule must not come out as one without it.
    let alert = alert.map_or(Some(None), |alert| alert.map(Some))?;
    let send = send.map_or(Some(None), |send| send.map(Some))?.filter(|_| !shadow);
    let report = report.map_or(Some(None), |report| report.map(Some))?.filter(|_| !shadow);
    let rule = rules::Rule::new(name, owner?, when?, alert).in_shadow(shadow);
    Some(Rule { rule, send, instruction, template, report })
}

/// What a rule's `when` says of columns.
fn selected(when: &Section<'_>) -> Vec<(String, Vec<String>)> {
    let conditions = when.entries().iter().filter(|entry| entry.key != "event" && Field::parse(&entry.key).is_some());
    conditions.filter_map(|entry| Some((entry.key.clone(), patterns(when, &entry.key, &entry.node)?))).collect()
}

/// The conditions of `when`. An unknown field is a problem with a suggestion.
pub(crate) fn read_when(section: Section<'_>) -> Option<When> {
    let sink = section.reading.sink;
    let (mut events, mut conditions, mut sound) = (Vec::new(), Vec::new(), true);
    for entry in section.entries() {
        let Some(texts) = patterns(&section, &entry.key, &entry.node) else {
            sound = false;
            continue;
        };
        match (entry.key.as_str(), Field::parse(&entry.key)) {
            ("event", _) => {
                for text in texts {
                    let pattern = EventPattern::parse(&text);
                    if pattern.is_none() {
                        sink.error(
                            &entry.node.at,
                            format!("unknown event {text:?}"),
                            did_you_mean(&text, EventPattern::names()),
                        );
                        sound = false;
                    }
                    events.extend(pattern);
                }
            }
            (_, Some(field)) => {
                if field == Field::Country
                    && let Some(text) = texts.iter().find(|text| text.len() != 2 && !text.contains('*'))
                {
                    let hint = "use two letters (ISO 3166-1), such as \"DE\"";
                    sink.error(&entry.node.at, format!("{text:?} is no country"), hint);
                }
                conditions.push(Condition::new(field, texts));
            }
            (key, None) => {
                let names = Field::ALL.iter().map(|field| field.name()).chain(["event"]);
                let message = format!("unknown field {key:?} in {}", section.title);
                sink.error(&entry.at, message, nearest(key, names));
                sound = false;
            }
        }
    }
    sound.then(|| When::new(events, conditions))
}

pub(crate) fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match did_you_mean(key, names.clone()) {
        hint if hint.is_empty() => format!("one of: {}", names.collect::<Vec<_>>().join(", ")),
        hint => hint,
    }
}

/// The patterns of one condition: a text, a list of texts, or true and false.
fn patterns(section: &Section<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Some(vec![text.clone()]),
        Value::Flag(flag) if key == Field::PartnerApproved.name() => Some(vec![flag.to_string()]),
        Value::List(items) if !items.is_empty() => {
            let texts = section.texts_of(node, key);
            (texts.len() == items.len()).then(|| texts.into_iter().map(|(text, _)| text).collect())
        }
        Value::List(_) => {
            section.error(
                &node.at,
                format!("{key} is an empty list: nothing would match"),
                "leave it out to match everything",
            );
            None
        }
        other => {
            let hint = "write a text, a list of texts, or a text with *";
            section.error(&node.at, format!("{key} in {} is {}", section.title, other.kind()), hint);
            None
        }
    }
}

fn read_alert(section: Section<'_>) -> Option<Trigger> {
    // What is asked for first decides which keys are known.
    let asked_for = ALERTS.iter().rev().find(|(key, ..)| section.node_of(key).is_some());
    let (key, group, read) = asked_for.unwrap_or(&ALERTS[0]);
    let section = section.declared_as(group);
    let alert = read(&section);
    debug_assert!(alert.as_ref().is_none_or(|alert| alert.name() == *key), "{key} asks for another trigger");
    section.finish();
    alert
}

fn read_each(section: &Section<'_>) -> Option<Trigger> {
    match section.flag(&EACH) {
        Some(true) => Some(Trigger::Each),
        Some(false) => {
            section.error(section.place(&EACH), "each = false says nothing", "leave the alert out");
            None
        }
        None if section.has(&EACH) => None,
        None => {
            let hint = "write { each = true } or { count = N, per = \"link\", within = \"5m\" }";
            section.error(section.at, format!("{} does not say when", section.title), hint);
            None
        }
    }
}

fn read_count(section: &Section<'_>) -> Option<Trigger> {
    section.demand(&PER);
    section.demand(&WITHIN);
    let count = section.integer(&COUNT).and_then(|count| u64::try_from(count).ok());
    let per = section.choice(&PER);
    let within = section.parsed(&WITHIN);
    let quiet_for = section.duration(&QUIET_FOR).unwrap_or(QUIET_FOR.usual());
    let (text, within) = within?;
    match Trigger::count(count?, per?, millis(within), millis(quiet_for)) {
        Ok(alert) => Some(alert),
        Err(WindowError(_)) => {
            let message = format!("within in {} cannot be {text:?}", section.title);
            section.error(section.place(&WITHIN), message, "use whole seconds, from 1s to 7d");
            None
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn read_send(section: Section<'_>, destinations: &Declared, mutes: &Declared) -> Option<Sending> {
    let to = checked_names(&section, &TO, "destination", destinations);
    let first = section.duration(&FIRST);
    let then_every = section.duration(&THEN_EVERY);
    let mention = section.choice(&MENTION);
    let say_when_over = section.flag(&SAY_WHEN_OVER).unwrap_or(SAY_WHEN_OVER.usual());
    let one_open_per = section.choice(&ONE_OPEN_PER);
    let mute = section.placed(&MUTE).filter(|(name, at)| mutes.check("mute", name, at, section.reading));
    section.finish();
    Some(Sending {
        to: to?,
        mention_link_owner: mention.unwrap_or(NO_MENTION.1),
        first: first.unwrap_or(FIRST.usual()),
        then_every: then_every.unwrap_or(THEN_EVERY.usual()),
        say_when_over,
        one_open_per,
        mute: mute.map(|(name, _)| name),
    })
}

/// A list of names that must all be declared, and must not be empty.
pub(crate) fn checked_names(
    section: &Section<'_>,
    opt: &Opt<References>,
    what: &str,
    declared: &Declared,
) -> Option<Vec<String>> {
    let hint = opt.required.unwrap_or_default();
    let Some(names) = section.references(opt) else {
        section.missing(opt.key, hint);
        return None;
    };
    if names.is_empty() {
        section.error(section.place(opt), format!("{} in {} is empty", opt.key, section.title), hint);
    }
    let known = names.iter().filter(|(name, at)| declared.check(what, name, at, section.reading)).count();
    (known == names.len() && known > 0).then(|| names.into_iter().map(|(name, _)| name).collect())
}
