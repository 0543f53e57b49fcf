//! Rules, silences and route tests.

use std::time::Duration;

use jiff::Timestamp;
use notification::{Calendar, Hours, Template};
use rules::{Condition, EventPattern, Field, Per, Trigger, When, WindowError};

use crate::alert;
use crate::defaults;
use crate::destination::read_hours;
use crate::document::{Node, Value};
use crate::owners::Declared;
use crate::problem::did_you_mean;
use crate::section::Section;
use crate::source::is_name;
use crate::values;

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

/// A report that is sent by the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReport {
    /// The view.
    pub view: String,
    /// When.
    pub when: Calendar,
    /// The names of destinations, each declared.
    pub to: Vec<String>,
    /// Which rows: columns, and the patterns of the rule's `when` that they must match. The kind of the event is left
    /// out.
    pub select: Vec<(String, Vec<String>)>,
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

/// Hours in which rules that name them say nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Their name.
    pub name: String,
    /// The hours.
    pub hours: Hours,
}

/// A time in which rules say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its name.
    pub name: String,
    /// The rules, each declared.
    pub rules: Vec<String>,
    /// From when.
    pub from: Timestamp,
    /// Until when, not included.
    pub until: Timestamp,
    /// Why, for whoever wonders.
    pub why: String,
}

pub(crate) fn read(sections: &Section<'_>, owners: &Declared, destinations: &Declared, mutes: &Declared) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in sections.entries() {
        if !is_name(&entry.key) {
            sections.error(&entry.at, format!("{:?} cannot name a rule", entry.key), "use letters, digits, - and _");
        }
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[rule.{}]", entry.key);
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
    let owner = section.owner("owner", owners);
    if !section.has("when") {
        section.missing("when", "say which events: when = { event = \"visit\" }");
    }
    let when = section.section("when").and_then(read_when);
    let alert = section.section("alert").map(read_alert);
    if let (Some(Some(alert)), Some(when)) = (&alert, &when) {
        alert::check_events(&section, alert, when);
    }
    let send = section.section("send").map(|send| read_send(send, destinations, mutes));
    let report = section.section("report").map(|report| {
        // Problems of the conditions were said above.
        let select = when.as_ref().and(section.section("when")).map(|when| selected(&when)).unwrap_or_default();
        read_report(report, destinations, select)
    });
    let instruction = section.text("do");
    let template = read_template(&section);
    let shadow = section.flag("shadow").unwrap_or(false);
    match (section.has("alert"), section.has("send")) {
        (false, true) => {
            let hint = "add alert = { each = true } or alert = { count = N, per = \"link\", within = \"5m\" }";
            section.error(section.place("send"), format!("{} sends but never alerts", section.title), hint);
        }
        (false, false) if !section.has("report") => {
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
            section.place("send"),
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

fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
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
    let pers = Per::EVERY.map(|per| (per.name(), per));
    let alert = if section.has("spike") {
        alert::read_spike(&section, &pers)
    } else if section.has("silence") {
        alert::read_silence(&section, &pers)
    } else if section.has("broken") {
        alert::read_broken(&section, &pers)
    } else if section.has("drift") {
        alert::read_drift(&section)
    } else if section.has("gap") {
        alert::read_gap(&section, &pers)
    } else if section.has("first_seen") {
        alert::read_first_seen(&section)
    } else if section.has("count") {
        read_count(&section, &pers)
    } else {
        match section.flag("each") {
            Some(true) => Some(Trigger::Each),
            Some(false) => {
                section.error(section.place("each"), "each = false says nothing", "leave the alert out");
                None
            }
            None if section.has("each") => None,
            None => {
                let hint = "write { each = true } or { count = N, per = \"link\", within = \"5m\" }";
                section.error(section.at, format!("{} does not say when", section.title), hint);
                None
            }
        }
    };
    section.finish();
    alert
}

fn read_count(section: &Section<'_>, pers: &[(&'static str, Per)]) -> Option<Trigger> {
    for (key, hint) in [
        ("per", "say what is counted: per = \"link\" (or campaign, qr, domain, partner, source, owner, all)"),
        ("within", "say in how long: within = \"10m\""),
    ] {
        if !section.entries().iter().any(|entry| entry.key == key) {
            section.missing(key, hint);
        }
    }
    let count = section.integer("count", 1..=1_000_000_000_000).and_then(|count| u64::try_from(count).ok());
    let per = section.choice("per", pers);
    let within = section.parsed("within", |text| Ok((text.to_owned(), values::duration(text)?)));
    let quiet_for =
        section.duration("quiet_for", Duration::ZERO..=Duration::from_secs(30 * 86_400)).unwrap_or_default();
    let (text, within) = within?;
    match Trigger::count(count?, per?, millis(within), millis(quiet_for)) {
        Ok(alert) => Some(alert),
        Err(WindowError(_)) => {
            let message = format!("within in {} cannot be {text:?}", section.title);
            section.error(section.place("within"), message, "use whole seconds, from 1s to 7d");
            None
        }
    }
}

/// Title and text of messages (`template`), filled with made-up values to see that they can be.
pub(crate) fn read_template(section: &Section<'_>) -> Option<Template> {
    let own = section.section("template")?;
    let template = Template { title: own.text("title"), text: own.text("text") };
    if template == Template::default() {
        own.error(own.at, format!("{} says nothing", own.title), "write title = \"…\", text = \"…\" or both");
    }
    if let Err(fault) = template.check() {
        let hint = fault.unknown.map(|(name, known)| nearest(&name, known.iter().copied())).unwrap_or_default();
        own.error(own.place(fault.key), format!("the {} of {}: {}", fault.key, own.title, fault.message), hint);
    }
    own.finish();
    Some(template)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn read_send(section: Section<'_>, destinations: &Declared, mutes: &Declared) -> Option<Sending> {
    let to = checked_names(&section, "to", "destination", destinations);
    let day = Duration::from_secs(86_400);
    let first = section.parsed("first", |text| match text {
        "now" => Ok(Duration::ZERO),
        _ => values::duration(text).map_err(|why| format!("{why}, or \"now\"")),
    });
    let then_every = section.duration("then_every", Duration::from_secs(1)..=day);
    let mention = section.choice("mention", &[("link.owner", true), ("nobody", false)]);
    let say_when_over = section.flag("say_when_over").unwrap_or(false);
    let one_open_per = section.choice("one_open_per", &Per::EVERY.map(|per| (per.name(), per)));
    let mute = section.placed("mute").filter(|(name, at)| mutes.check("mute", name, at, section.reading));
    if first.is_some_and(|first| first > day) {
        section.error(section.place("first"), "first waits for longer than a day", "use \"now\" to \"24h\"");
    }
    section.finish();
    Some(Sending {
        to: to?,
        mention_link_owner: mention.unwrap_or(false),
        first: first.unwrap_or(defaults::FIRST),
        then_every: then_every.unwrap_or(defaults::THEN_EVERY),
        say_when_over,
        one_open_per,
        mute: mute.map(|(name, _)| name),
    })
}

/// A list of names that must all be declared, and must not be empty.
fn checked_names(section: &Section<'_>, key: &'static str, what: &str, declared: &Declared) -> Option<Vec<String>> {
    let Some(names) = section.texts(key) else {
        section.missing(key, &format!("name at least one {what}"));
        return None;
    };
    if names.is_empty() {
        section.error(
            section.place(key),
            format!("{key} in {} is empty", section.title),
            format!("name at least one {what}"),
        );
    }
    let known = names.iter().filter(|(name, at)| declared.check(what, name, at, section.reading)).count();
    (known == names.len() && known > 0).then(|| names.into_iter().map(|(name, _)| name).collect())
}

fn read_report(
    section: Section<'_>,
    destinations: &Declared,
    select: Vec<(String, Vec<String>)>,
) -> Option<RuleReport> {
    let view = section.required("view", "name a view of the reports, such as campaign_channel_daily");
    let weekly = section.choice("every", &[("day", false), ("week", true)]).unwrap_or(false);
    let at = section.parsed("at", values::time_of_day);
    let on =
        section.parsed("on", |text| values::weekday(text).ok_or(format!("{text:?} is not a day: write \"monday\"")));
    if !weekly && section.has("on") {
        section.error(section.place("on"), "a daily report has no day of the week", "write every = \"week\"");
    }
    let to = checked_names(&section, "to", "destination", destinations);
    let on = weekly.then(|| on.unwrap_or(jiff::civil::Weekday::Monday));
    let at = at.unwrap_or(jiff::civil::Time::constant(8, 0, 0, 0));
    let when = Calendar { on, at, zone: section.reading.zone.clone() };
    section.finish();
    Some(RuleReport { view: view?.0, when, to: to?, select })
}

pub(crate) fn read_mutes(sections: &Section<'_>) -> Vec<Mute> {
    let mut mutes = Vec::new();
    for entry in sections.entries() {
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[mute.{}]", entry.key);
        for key in ["days", "hours"] {
            if !section.has(key) {
                section.missing(key, "write days = \"mon-sun\" and hours = \"22:00-07:00\"");
            }
        }
        let hours = read_hours(&section, values::day_or_night);
        section.finish();
        mutes.extend(hours.map(|hours| Mute { name: entry.key.clone(), hours }));
    }
    mutes
}

pub(crate) fn read_silences(sections: &Section<'_>, rules: &Declared) -> Vec<Silence> {
    let mut silences = Vec::new();
    for entry in sections.entries() {
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[silence.{}]", entry.key);
        silences.extend(read_silence(entry.key.clone(), section, rules));
    }
    silences
}

fn read_silence(name: String, section: Section<'_>, rules: &Declared) -> Option<Silence> {
    let rules = checked_names(&section, "rules", "rule", rules);
    for key in ["from", "until"] {
        if !section.entries().iter().any(|entry| entry.key == key) {
            section.missing(key, "a silence has a beginning and an end");
        }
    }
    let (from, until) = (section.instant("from"), section.instant("until"));
    let why = section.required("why", "say why, for whoever wonders");
    if from.is_some() && until.is_some() && from >= until {
        section.error(section.place("until"), "until lies before from", "the silence would never be");
    } else if until.is_some_and(|until| until <= section.reading.environment.now()) {
        section.reading.sink.warn(section.place("until"), format!("{} is over", section.title), "remove it");
    }
    section.finish();
    Some(Silence { name, rules: rules?, from: from?, until: until?, why: why?.0 })
}
