//! When rules say nothing: `[mute]` and `[silence]`.

use jiff::Timestamp;
use notification::Hours;

use crate::destination::{CLOCK_PATTERN, Clock, read_hours};
use crate::form::{Instant, References, Spoken, TEXT, Text};
use crate::option::{Group, Opt};
use crate::owners::Declared;
use crate::rule::checked_names;
use crate::section::Section;
use crate::values;

const NIGHTS: &str = "write days = \"mon-sun\" and hours = \"22:00-07:00\"";
const MUTE_DAYS: Opt<Spoken<Vec<jiff::civil::Weekday>>> = Opt::new(
    "days",
    Spoken::new(values::days, "days of the week", r"^\s*[a-z]"),
    "On which days they begin, in `timezone`.",
    "\"mon-sun\"",
)
.required(NIGHTS);
const MUTE_HOURS: Opt<Spoken<Clock>> = Opt::new(
    "hours",
    Spoken::new(values::day_or_night, "a span of a day or a night", CLOCK_PATTERN),
    "From when until when, in `timezone`.",
    "\"22:00-07:00\"",
)
.required(NIGHTS);

/// `[mute.NAME]`.
pub(crate) static MUTES: Group = Group {
    title: "[mute.NAME]",
    about: "Hours in which rules that name them (`send = { mute = … }`) say nothing new.",
    read_by: "notify",
    options: &[&MUTE_DAYS, &MUTE_HOURS],
    others: &[],
};

const BEGINS_AND_ENDS: &str = "a silence has a beginning and an end";
const RULES: Opt<References> =
    Opt::new("rules", References("rule"), "The rules.", "[\"promo-burst\"]").required("name at least one rule");
const FROM: Opt<Instant> = Opt::new("from", Instant, "From when.", "2026-11-27").required(BEGINS_AND_ENDS);
const UNTIL: Opt<Instant> =
    Opt::new("until", Instant, "Until when, not included.", "2026-11-28").required(BEGINS_AND_ENDS);
const WHY: Opt<Text> = Opt::new("why", TEXT, "Why, for those who wonder.", "\"Expected; on-call@example.com watches\"")
    .required("say why, for those who wonder");

/// `[silence.NAME]`.
pub(crate) static SILENCE: Group = Group {
    title: "[silence.NAME]",
    about: "A time in which rules say nothing.",
    read_by: "notify",
    options: &[&RULES, &FROM, &UNTIL, &WHY],
    others: &[],
};

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
    /// Why, for those who wonder.
    pub why: String,
}

pub(crate) fn read_mutes(sections: &Section<'_>) -> Vec<Mute> {
    let mut mutes = Vec::new();
    for entry in sections.entries() {
        let Some(section) = sections.named(entry, "mute", &MUTES) else { continue };
        section.demand(&MUTE_DAYS);
        section.demand(&MUTE_HOURS);
        let hours = read_hours(&section, &MUTE_DAYS, &MUTE_HOURS);
        section.finish();
        mutes.extend(hours.map(|hours| Mute { name: entry.key.clone(), hours }));
    }
    mutes
}

pub(crate) fn read_silences(sections: &Section<'_>, rules: &Declared) -> Vec<Silence> {
    let mut silences = Vec::new();
    for entry in sections.entries() {
        let Some(section) = sections.named(entry, "silence", &SILENCE) else { continue };
        silences.extend(read_silence(entry.key.clone(), section, rules));
    }
    silences
}

fn read_silence(name: String, section: Section<'_>, rules: &Declared) -> Option<Silence> {
    let rules = checked_names(&section, &RULES, "rule", rules);
    section.demand(&FROM);
    section.demand(&UNTIL);
    let (from, until) = (section.instant(&FROM), section.instant(&UNTIL));
    let why = section.required(&WHY);
    if from.is_some() && until.is_some() && from >= until {
        section.error(section.place(&UNTIL), "until is before from", "the silence would never be");
    } else if until.is_some_and(|until| until <= section.reading.environment.now()) {
        section.reading.sink.warn(section.place(&UNTIL), format!("{} is over", section.title), "remove it");
    }
    section.finish();
    Some(Silence { name, rules: rules?, from: from?, until: until?, why: why?.0 })
}
