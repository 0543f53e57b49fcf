//! Alerts over time, beside the count: spike, silence, broken destinations, drift, delivery gaps and what is first
//! seen.

use std::time::Duration;

use event::EventType;
use rules::{
    BrokenRule, DriftRule, FirstSeenRule, GapRule, Glob, Per, Sensitivity, SilenceRule, Spike, Subject, Trigger, When,
};

use crate::document::Value;
use crate::form::{Choice, Flag, Integer, Span, Spoken, Texts};
use crate::option::{Group, Opt};
use crate::problem::Place;
use crate::schema::{Json, any_of, matching, object, text};
use crate::section::Section;
use crate::table::Own;
use crate::values;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// What a rule counts per, by name.
pub(crate) const PERS: &[(&str, Per)] = &[
    ("link", Per::Link),
    ("campaign", Per::Campaign),
    ("qr", Per::Qr),
    ("domain", Per::Domain),
    ("partner", Per::Partner),
    ("source", Per::Source),
    ("owner", Per::Owner),
    ("all", Per::All),
];

const PER: Opt<Choice<Per>> = Opt::new("per", Choice(PERS), "What is counted separately.", "\"link\"")
    .required("say of what: per = \"link\" (or campaign, qr, domain, partner, source, owner, all)");

const SPIKE: Opt<Spoken<u32>> = Opt::new(
    "spike",
    Spoken::new(times, "a factor above 1 and up to 1000, with `x`", r"^\+?[0-9.eE+-]+x$"),
    "So many times what is usual for the minute of the week.",
    "\"3x\"",
)
.required("");
const WITHIN: Opt<Span> =
    Opt::new("within", Span::within(MINUTE, HOUR), "The time that is counted in: whole minutes.", "\"5m\"")
        .or(Duration::from_secs(300));
const AT_LEAST: Opt<Integer<i64>> =
    Opt::new("at_least", Integer::within(8, 1_000_000_000, "events"), "Fewer are no spike.", "50").or(50);
const QUIET_FOR: Opt<Span> = Opt::new(
    "quiet_for",
    Span::within(Duration::ZERO, MONTH),
    "How long the count stays low before the end is said: whole minutes.",
    "\"1h\"",
)
.or(HOUR);
const NOT_DURING: Opt<Choice<bool>> = Opt::new(
    "not_during",
    Choice(&[("launches", true)]),
    "Says nothing of links of a `[launch]` while it lasts.",
    "\"launches\"",
);
const SENSITIVITY: Opt<Choice<Sensitivity>> =
    Opt::new("sensitivity", Choice(&Sensitivity::ALL), "How much chance must be beaten by.", "\"calm\"")
        .or(("normal", Sensitivity::Normal));
pub(crate) static SPIKE_GROUP: Group = Group {
    title: "alert with spike",
    about: "When there is much more than usual. What is usual is learned: docs/detection.md.",
    read_by: "detect",
    options: &[&SPIKE, &PER, &WITHIN, &AT_LEAST, &QUIET_FOR, &NOT_DURING, &SENSITIVITY],
    others: &[],
};

const SILENCE: Opt<Spoken<Option<Duration>>> = Opt::new(
    "silence",
    Spoken::new(quiet_after, "`learned`, or a duration: whole minutes, 1m to 30d", r"^learned$|^\s*[0-9]"),
    "After how long without an event.",
    "\"learned\"",
)
.required("");
pub(crate) static SILENCE_GROUP: Group = Group {
    title: "alert with silence",
    about: "When nothing comes where something should.",
    read_by: "detect",
    options: &[&SILENCE, &PER],
    others: &[],
};

const YES_OR_SHARE: Own = Own::new(yes_or_share_schema, "`true` (a tenth), or a share of all visits, 0.01% to 100%");
const SHARE: &str = r"^\s*[+]?[0-9.eE+-]+\s*%$";
const BROKEN: Opt<Own> = Opt::new(
    "broken",
    YES_OR_SHARE,
    "Visits that do not arrive: errors, orphan visits, links that have ended. How large a share of all visits is too many.",
    "true",
)
.required("");
const AT_LEAST_ERRORS: Opt<Integer<i64>> =
    Opt::new("at_least", Integer::within(1, 1_000_000, "events"), "Fewer say nothing.", "3").or(3);
const BROKEN_WITHIN: Opt<Span> =
    Opt::new("within", Span::within(MINUTE, HOUR), "The time that is counted in: whole minutes.", "\"10m\"")
        .or(Duration::from_secs(600));
const OVER_AFTER: Opt<Span> = Opt::new(
    "over_after",
    Span::within(MINUTE, MONTH),
    "How long without another one until it is over: whole minutes, and not less than `within`.",
    "\"1h\"",
)
.or(HOUR);
pub(crate) static BROKEN_GROUP: Group = Group {
    title: "alert with broken",
    about: "When visits do not arrive where a link leads: docs/detection.md.",
    read_by: "detect",
    options: &[&BROKEN, &PER, &AT_LEAST_ERRORS, &BROKEN_WITHIN, &OVER_AFTER, &QUIET_FOR],
    others: &[],
};

const LINK: (&str, Per) = ("link", Per::Link);
const DRIFT: Opt<Flag> = Opt::new(
    "drift",
    Flag,
    "A link leads to another site than the catalogue expects or than before, or with another status.",
    "true",
)
.required("");
/// A campaign, a domain or a source leads to many places.
const DRIFT_PER: Opt<Choice<Per>> =
    Opt::new("per", Choice(&[LINK, ("qr", Per::Qr)]), "What is looked at separately.", "\"qr\"").or(LINK);
pub(crate) static DRIFT_GROUP: Group = Group {
    title: "alert with drift",
    about: "When a link leads elsewhere, and no edit explains it: docs/detection.md.",
    read_by: "detect",
    options: &[&DRIFT, &DRIFT_PER, &AT_LEAST_ERRORS, &QUIET_FOR],
    others: &[],
};

const GAP: Opt<Spoken<u32>> = Opt::new(
    "gap",
    Spoken::new(share, "a share, 0.01% to 100%", SHARE),
    "How much less than the platform has counted may arrive.",
    "\"5%\"",
)
.required("");
const GAP_WITHIN: Opt<Span> = Opt::new(
    "within",
    Span::within(Duration::from_secs(2 * 3_600), Duration::from_secs(7 * 86_400)),
    "The time that is compared: whole hours.",
    "\"24h\"",
)
.or(DAY);
const GAP_AT_LEAST: Opt<Integer<i64>> =
    Opt::new("at_least", Integer::within(1, 1_000_000_000, "events"), "Fewer say nothing.", "50").or(50);
pub(crate) static GAP_GROUP: Group = Group {
    title: "alert with gap",
    about: "When less arrives than the platform has counted: docs/detection.md.",
    read_by: "detect",
    options: &[&GAP, &PER, &GAP_WITHIN, &GAP_AT_LEAST],
    others: &[],
};

const FIRST_SEEN: Opt<Choice<Subject>> =
    Opt::new("first_seen", Choice(&Subject::ALL), "Of what a new value is told.", "\"domain\"").required("");
const KNOWN: Opt<Texts> =
    Opt::new("known", Texts, "Values that are not new; `*` stands for any text.", "[\"go.example.com\"]")
        .otherwise("none");
const LEARN_FOR: Opt<Span> = Opt::new(
    "learn_for",
    Span::within(Duration::ZERO, MONTH),
    "How long values are learned before one is told: whole minutes.",
    "\"24h\"",
)
.or(DAY);
pub(crate) static FIRST_SEEN_GROUP: Group = Group {
    title: "alert with first_seen",
    about: "When a value comes that never came before: docs/detection.md.",
    read_by: "detect",
    options: &[&FIRST_SEEN, &KNOWN, &LEARN_FOR],
    others: &[],
};

fn yes_or_share_schema() -> Json {
    any_of([object([("type", text("boolean")), ("enum", Json::List(vec![Json::Flag(true)]))]), matching(SHARE)])
}

fn times(text: &str) -> Result<u32, String> {
    match text.strip_suffix('x').map(str::parse::<f64>) {
        Some(Ok(factor)) if factor > 1.0 && factor <= 1_000.0 => Ok((factor * 100.0).round() as u32),
        _ => Err(format!("{text:?} is not a factor: write it as \"3x\"")),
    }
}

fn quiet_after(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "learned" => Ok(None),
        _ => values::duration(text).map(Some).map_err(|why| format!("{why}, or \"learned\"")),
    }
}

/// `{ spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h", not_during = "launches" }`.
pub(crate) fn read_spike(section: &Section<'_>) -> Option<Trigger> {
    let times = section.parsed(&SPIKE);
    section.demand(&PER);
    let per = section.choice(&PER);
    let within = section.duration(&WITHIN).unwrap_or(WITHIN.usual());
    let at_least = section.integer(&AT_LEAST);
    let quiet_for = section.duration(&QUIET_FOR).unwrap_or(QUIET_FOR.usual());
    let not_during_launches = section.choice(&NOT_DURING).unwrap_or(false);
    let sensitivity = section.choice(&SENSITIVITY).unwrap_or_default();
    let [within, quiet_for] =
        [(WITHIN.key, within), (QUIET_FOR.key, quiet_for)].map(|(key, time)| minutes(section, key, time));
    if section.has(&AT_LEAST) && at_least.is_none() {
        return None;
    }
    let spike = Spike {
        times_hundredths: times?,
        within_minutes: u8::try_from(within?).ok()?,
        at_least: u64::try_from(at_least.unwrap_or(AT_LEAST.usual())).ok()?,
        quiet_for_minutes: quiet_for?,
        sensitivity,
    };
    Some(Trigger::Spike { spike, per: per?, not_during_launches })
}

/// `{ silence = "learned", per = "source" }`, or a time: `{ silence = "30m", per = "link" }`.
pub(crate) fn read_silence(section: &Section<'_>) -> Option<Trigger> {
    let quiet_after = section.parsed(&SILENCE);
    section.demand(&PER);
    let per = section.choice(&PER);
    let quiet_after_minutes = match quiet_after? {
        Some(time) if time < MINUTE || time > MONTH => {
            section.error(
                section.place(&SILENCE),
                "a silence is a minute to 30 days long",
                "write \"learned\", or \"30m\"",
            );
            return None;
        }
        Some(time) => Some(minutes(section, SILENCE.key, time)?),
        None => None,
    };
    let least_minutes = if per? == Per::Link { 60 } else { 10 };
    Some(Trigger::Silence { silence: SilenceRule { quiet_after_minutes, least_minutes }, per: per? })
}

/// `{ broken = true, per = "link", at_least = 3, within = "10m", over_after = "1h", quiet_for = "1h" }`; a share of all
/// visits in place of `true`, which is a tenth: `broken = "25%"`.
pub(crate) fn read_broken(section: &Section<'_>) -> Option<Trigger> {
    let hundredths = yes_or_share(section, &BROKEN, 1_000, "write broken = true, or the share of visits: \"25%\"");
    section.demand(&PER);
    let per = section.choice(&PER);
    let at_least = count(section, &AT_LEAST_ERRORS);
    let within = section.duration(&BROKEN_WITHIN).unwrap_or(BROKEN_WITHIN.usual());
    let over_after = section.duration(&OVER_AFTER).unwrap_or(OVER_AFTER.usual());
    let quiet_for = section.duration(&QUIET_FOR).unwrap_or(QUIET_FOR.usual());
    if over_after < within {
        let message = format!("over_after in {} is shorter than within", section.title);
        section.error(section.place(&OVER_AFTER), message, "an end needs a whole window without another one");
        return None;
    }
    let [within, over_after, quiet_for] =
        [(BROKEN_WITHIN.key, within), (OVER_AFTER.key, over_after), (QUIET_FOR.key, quiet_for)]
            .map(|(key, time)| minutes(section, key, time));
    let broken = BrokenRule {
        at_least: u32::try_from(at_least?).ok()?,
        percent: hundredths?.div_ceil(100),
        within_minutes: within?,
        over_after_minutes: over_after?,
        quiet_for_minutes: quiet_for?,
    };
    Some(Trigger::Broken { broken, per: per? })
}

/// `{ drift = true, per = "link", at_least = 3, quiet_for = "1h" }`.
pub(crate) fn read_drift(section: &Section<'_>) -> Option<Trigger> {
    let drift = section.flag(&DRIFT);
    if drift == Some(false) {
        section.error(section.place(&DRIFT), "drift = false says nothing", "leave the alert out");
        return None;
    }
    let per = if section.has(&DRIFT_PER) { section.choice(&DRIFT_PER) } else { Some(LINK.1) };
    let at_least = count(section, &AT_LEAST_ERRORS);
    let quiet_for = section.duration(&QUIET_FOR).unwrap_or(QUIET_FOR.usual());
    let quiet_for_minutes = minutes(section, QUIET_FOR.key, quiet_for)?;
    drift?;
    let drift = DriftRule { at_least: u32::try_from(at_least?).ok()?, quiet_for_minutes };
    Some(Trigger::Drift { drift, per: per? })
}

/// `{ gap = "5%", per = "link", within = "24h", at_least = 50 }`.
pub(crate) fn read_gap(section: &Section<'_>) -> Option<Trigger> {
    let share = section.parsed(&GAP);
    section.demand(&PER);
    let per = section.choice(&PER);
    let within = section.duration(&GAP_WITHIN).unwrap_or(GAP_WITHIN.usual());
    let at_least = count(section, &GAP_AT_LEAST);
    if !within.as_secs().is_multiple_of(3_600) {
        let message = format!("within in {} is not whole hours", section.title);
        section.error(section.place(&GAP_WITHIN), message, "write \"24h\", 2h to 7d");
        return None;
    }
    let within_hours = i64::try_from(within.as_secs() / 3_600).ok()?;
    let gap = GapRule { share_basis_points: share?, within_hours, at_least: u64::try_from(at_least?).ok()? };
    Some(Trigger::Gap { gap, per: per? })
}

/// `{ first_seen = "domain", known = ["go.example.com"], learn_for = "24h" }`.
pub(crate) fn read_first_seen(section: &Section<'_>) -> Option<Trigger> {
    let of = section.choice(&FIRST_SEEN);
    let learn_for = section.duration(&LEARN_FOR).unwrap_or(LEARN_FOR.usual());
    let known = section.names(&KNOWN).iter().map(|known| Glob::new(known)).collect();
    let learn_minutes = minutes(section, LEARN_FOR.key, learn_for)?;
    Some(Trigger::FirstSeen(FirstSeenRule { of: of?, learn_minutes, known }))
}

/// Says that a rule never hears of what its alert is about.
pub(crate) fn check_events(section: &Section<'_>, at: &Place, alert: &Trigger, when: &When) {
    let visits = [EventType::Click, EventType::QrScan].into_iter().any(|kind| when.may_match(kind));
    let (sees, needs) = match alert {
        Trigger::Broken { .. } => (visits || when.may_match(EventType::Error), "errors or visits"),
        Trigger::Drift { .. } | Trigger::Gap { .. } => (visits, "visits"),
        _ => return,
    };
    if !sees {
        let message = format!("{} looks at {needs}, and when lets none of them in", section.title);
        section.error(at, message, "leave event out of when");
    } else if matches!(alert, Trigger::Drift { .. }) && !when.may_match(EventType::Lifecycle) {
        let message = format!("{} never hears that a link was edited", section.title);
        section.reading.sink.warn(at, message, "leave event out of when: an edit explains a drift");
    } else if matches!(alert, Trigger::Broken { .. }) && !visits {
        let message = format!("{} hears of errors only", section.title);
        let hint = "leave event out of when: then visits that arrive end it, and those to ended links count";
        section.reading.sink.warn(at, message, hint);
    }
}

/// True, which stands for `otherwise`, or a share: in hundredths of a percent.
fn yes_or_share(section: &Section<'_>, opt: &Opt<Own>, otherwise: u32, hint: &str) -> Option<u32> {
    let key = opt.key;
    let node = section.node(opt)?;
    match &node.value {
        Value::Flag(true) => Some(otherwise),
        Value::Flag(false) => {
            section.error(&node.at, format!("{key} = false says nothing"), "leave the alert out");
            None
        }
        Value::Text(_) => section.parsed_by(opt, share),
        other => {
            section.error(&node.at, format!("{key} in {} is {}", section.title, other.kind()), hint);
            None
        }
    }
}

/// A share, in hundredths of a percent: `5%`, `0.5%`.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a share: write it as \"5%\", 0.01% to 100%");
    let number: f64 = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).ok_or_else(wrong)?;
    let hundredths = (number * 100.0).round();
    if (1.0..=10_000.0).contains(&hundredths) { Ok(hundredths as u32) } else { Err(wrong()) }
}

/// A number that has a default; none if what stands there is not possible.
fn count(section: &Section<'_>, opt: &Opt<Integer<i64>>) -> Option<i64> {
    if section.has(opt) { section.integer(opt) } else { opt.default }
}

/// Whole minutes: counts are taken minute by minute.
fn minutes(section: &Section<'_>, key: &'static str, time: Duration) -> Option<i64> {
    if !time.as_secs().is_multiple_of(60) || time.subsec_nanos() != 0 {
        section.error(
            section.place_of(key),
            format!("{key} in {} is not whole minutes", section.title),
            "write \"5m\" or \"1h\"",
        );
        return None;
    }
    i64::try_from(time.as_secs() / 60).ok()
}
