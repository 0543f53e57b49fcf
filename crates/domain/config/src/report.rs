//! Reports that rules send by the calendar.

use jiff::civil::{Time, Weekday};
use notification::Calendar;

use crate::form::{Choice, Spoken, TEXT, Text};
use crate::option::{Group, Opt};
use crate::owners::Declared;
use crate::rule::{TO, checked_names};
use crate::section::Section;
use crate::table::Table;
use crate::values;

/// `report` of a rule.
pub(crate) const REPORT: Opt<Table> = Opt::new(
    "report",
    Table(&GROUP),
    "A report that is sent by the calendar.",
    "{ view = \"qr_placement_daily\", every = \"day\", at = \"08:00\", to = [\"marketing-chat\"] }",
);

const VIEW: Opt<Text> = Opt::new("view", TEXT, "The view of the reports.", "\"qr_placement_daily\"")
    .required("name a view of the reports, such as campaign_channel_daily");
const DAILY: (&str, bool) = ("day", false);
const EVERY: Opt<Choice<bool>> =
    Opt::new("every", Choice(&[DAILY, ("week", true)]), "How often.", "\"week\"").or(DAILY);
const AT: Opt<Spoken<Time>> = Opt::new(
    "at",
    Spoken::new(values::time_of_day, "a time of day, in `timezone`", "^[0-9]{2}:[0-9]{2}$"),
    "At what time.",
    "\"08:00\"",
)
.or("08:00");
const ON: Opt<Spoken<Weekday>> = Opt::new(
    "on",
    Spoken::new(weekday, "a day of the week", "^[a-z]+$"),
    "With `every = \"week\"`: on which day.",
    "\"friday\"",
)
.or("monday");
static GROUP: Group = Group {
    title: "report",
    about: "A report that is sent by the calendar: the rows of a view that match the conditions of `when`.",
    read_by: "notify",
    options: &[&VIEW, &EVERY, &AT, &ON, &TO],
    others: &[],
};

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

pub(crate) fn read(
    section: Section<'_>,
    destinations: &Declared,
    select: Vec<(String, Vec<String>)>,
) -> Option<RuleReport> {
    let view = section.required(&VIEW);
    let weekly = section.choice(&EVERY).unwrap_or(DAILY.1);
    let at = section.parsed(&AT);
    let on = section.parsed(&ON);
    if !weekly && section.has(&ON) {
        section.error(section.place(&ON), "a daily report has no day of the week", "write every = \"week\"");
    }
    let to = checked_names(&section, &TO, "destination", destinations);
    let on = weekly.then(|| on.or_else(|| weekday(ON.usual()).ok()).unwrap_or(Weekday::Monday));
    let at = at.or_else(|| values::time_of_day(AT.usual()).ok()).unwrap_or_default();
    let when = Calendar { on, at, zone: section.reading.zone.clone() };
    section.finish();
    Some(RuleReport { view: view?.0, when, to: to?, select })
}

fn weekday(text: &str) -> Result<Weekday, String> {
    values::weekday(text).ok_or(format!("{text:?} is not a day: write \"monday\""))
}
