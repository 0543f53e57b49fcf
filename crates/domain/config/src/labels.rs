//! What gives links their labels beside their platform: `[catalogue]`, `[partner]` and `[launch]`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use enrich::Launch;

use crate::form::{File, Flag, Instant, Span, Texts};
use crate::option::{Group, Opt};
use crate::section::Section;

const FILE: Opt<File> = Opt::new(
    "file",
    File,
    "A CSV file of links, with a header, or its address (`https://…`). It may be replaced while everything runs: docs/labels.md.",
    "\"links.csv\"",
)
.required("name the CSV file of links, or its address: \"https://…/links.csv\"");
const EVERY: Opt<Span> = Opt::new(
    "every",
    Span::within(Duration::from_secs(10), Duration::from_secs(86_400)),
    "How often a list at an address is asked for. A file is looked at every second.",
    "\"5m\"",
)
.or(Duration::from_secs(300));
const ALLOW_PRIVATE: Opt<Flag> =
    Opt::new("allow_private", Flag, "Whether the address of the list may be a private one.", "true").or(false);

/// `[catalogue]`.
pub(crate) static CATALOGUE: Group = Group {
    title: "[catalogue]",
    about: "What the platform does not say about a link.",
    read_by: "process, `lint` and `explain`",
    options: &[&FILE, &EVERY, &ALLOW_PRIVATE],
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

/// Where the operator's list of links is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListPlace {
    /// A file.
    File(PathBuf),
    /// An address.
    Address {
        /// `https://…` or `http://…`.
        url: String,
        /// How often it is asked.
        every: Duration,
        /// Whether it may be an address that is not public.
        allow_private: bool,
    },
}

/// `[catalogue]`: a file, or an address.
pub(crate) fn read_catalogue(section: Option<Section<'_>>) -> Option<ListPlace> {
    let section = section?;
    let placed = section.required(&FILE);
    let file = section.path(&FILE);
    let (text, at) = placed?;
    let (every, allow_private) = (section.duration(&EVERY), section.flag(&ALLOW_PRIVATE));
    let place = match text.split_once("://") {
        None => {
            if every.is_some() || allow_private.is_some() {
                let hint = "leave them out: a file is looked at every second";
                section.error(&at, "every and allow_private are for a list at an address", hint);
            }
            file.map(ListPlace::File)
        }
        Some(("https" | "http", rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if host.is_empty() {
                section.error(&at, "the address of the catalogue names no host", "write \"https://host/links.csv\"");
            } else if host.contains('@') {
                let hint = "an address stands in logs: let the server know us by our address, or by a path that is hard to guess";
                section.error(&at, "the address of the catalogue has a login in it", hint);
            }
            let every = every.unwrap_or(EVERY.usual());
            let allow_private = allow_private.unwrap_or(ALLOW_PRIVATE.usual());
            Some(ListPlace::Address { url: text, every, allow_private })
        }
        Some((scheme, _)) => {
            let hint = "use https://, http://, or the name of a file";
            section.error(&at, format!("a catalogue cannot be fetched by {scheme}"), hint);
            None
        }
    };
    section.finish();
    place
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
