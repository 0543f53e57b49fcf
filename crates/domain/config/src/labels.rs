//! What gives links their labels beside their platform: `[catalogue]`, `[partner]` and `[launch]`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use enrich::Launch;

use crate::form::{File, Instant, Texts};
use crate::option::{Group, Opt};
use crate::section::Section;

const FILE: Opt<File> = Opt::new(
    "file",
    File,
    "A CSV file of links, with a header. It may be replaced while everything runs: docs/labels.md.",
    "\"links.csv\"",
)
.required("name the CSV file of links");

/// `[catalogue]`.
pub(crate) static CATALOGUE: Group = Group {
    title: "[catalogue]",
    about: "What the platform does not say about a link.",
    read_by: "process, `lint` and `explain`",
    options: &[&FILE],
    others: &[],
};

const APPROVED_SOURCES: Opt<Texts> = Opt::new(
    "approved_sources",
    Texts,
    "The values of `utm_source` that the partner may use. Case, blanks, `_` and `-` make no difference.",
    "[\"dealfox\", \"dealfox-app\"]",
)
.required("list the values of utm_source that the partner may use");

/// `[partner.NAME]`.
pub(crate) static PARTNER: Group = Group {
    title: "[partner.NAME]",
    about: "An affiliate partner: gives `partner_approved`.",
    read_by: "process",
    options: &[&APPROVED_SOURCES],
    others: &[],
};

const LINKS: Opt<Texts> =
    Opt::new("links", Texts, "The links of the launch; `*` stands for any text.", "[\"go.example.com/bio\"]")
        .required("list the links of the launch: links = [\"go.example.com/bio\"]");
const FROM: Opt<Instant> = Opt::new("from", Instant, "From when.", "2026-11-24T09:00:00Z").otherwise("always");
const UNTIL: Opt<Instant> =
    Opt::new("until", Instant, "Until when, not included.", "2026-11-26T09:00:00Z").otherwise("for ever");

/// `[launch.NAME]`.
pub(crate) static LAUNCH: Group = Group {
    title: "[launch.NAME]",
    about: "A planned launch: its clicks are labelled with it, and a spike in it is expected.",
    read_by: "process and detect",
    options: &[&LINKS, &FROM, &UNTIL],
    others: &[],
};

/// The file of `[catalogue]`. A list at an address is not available in this version.
pub(crate) fn read_catalogue(section: Option<Section<'_>>) -> Option<PathBuf> {
    let section = section?;
    let placed = section.required(&FILE);
    let file = section.path(&FILE);
    let (text, at) = placed?;
    if text.starts_with("http://") || text.starts_with("https://") {
        let hint = "fetch it beside Hookline and name the file: it is taken up whenever it is replaced";
        section.error(&at, "a catalogue at an address is not available in this version", hint);
        return None;
    }
    section.finish();
    file
}

/// Which sources (`utm_source`) each partner may use.
pub(crate) fn read_partners(section: Option<Section<'_>>) -> HashMap<String, HashSet<String>> {
    let mut partners = HashMap::new();
    let Some(section) = section else { return partners };
    for entry in section.entries() {
        let Some(partner) = section.named(entry, "partner", &PARTNER) else { continue };
        partner.demand(&APPROVED_SOURCES);
        let sources = partner.names(&APPROVED_SOURCES).iter().map(|source| enrich::fold(source)).collect();
        partner.finish();
        partners.insert(entry.key.clone(), sources);
    }
    partners
}

/// Planned launches.
pub(crate) fn read_launches(section: Option<Section<'_>>) -> Vec<Launch> {
    let mut launches = Vec::new();
    let Some(section) = section else { return launches };
    for entry in section.entries() {
        let Some(launch) = section.named(entry, "launch", &LAUNCH) else { continue };
        let links = launch.texts(&LINKS);
        if links.as_ref().is_none_or(Vec::is_empty) {
            launch.missing(LINKS.key, LINKS.required.unwrap_or_default());
        }
        let (from, until) = (launch.instant(&FROM), launch.instant(&UNTIL));
        if from.is_some() && until.is_some() && from >= until {
            launch.error(launch.place(&UNTIL), "until is before from", "");
        }
        launch.finish();
        launches.push(Launch {
            name: entry.key.clone(),
            links: links.unwrap_or_default().into_iter().map(|(link, _)| link).collect(),
            from_ms: from.map_or(i64::MIN, |from| from.as_millisecond()),
            until_ms: until.map_or(i64::MAX, |until| until.as_millisecond()),
        });
    }
    launches
}
