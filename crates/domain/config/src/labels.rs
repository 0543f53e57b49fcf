//! What gives links their labels beside their platform: `[catalogue]`, `[partner]` and `[launch]`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use enrich::Launch;

use crate::section::Section;

/// The file of `[catalogue]`. A list at an address is not available in this version.
pub(crate) fn read_catalogue(section: Option<Section<'_>>) -> Option<PathBuf> {
    let section = section?;
    let placed = section.required("file", "name the CSV file of links");
    let file = section.path("file");
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
        let Some(mut partner) = section.section_of(&entry.node, &entry.key) else { continue };
        partner.title = format!("[partner.{}]", entry.key);
        if partner.texts("approved_sources").is_none() {
            partner.missing("approved_sources", "list the values of utm_source that the partner may use");
        }
        let sources = partner.names("approved_sources").iter().map(|source| enrich::fold(source)).collect();
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
        let Some(mut launch) = section.section_of(&entry.node, &entry.key) else { continue };
        launch.title = format!("[launch.{}]", entry.key);
        let links = launch.texts("links");
        if links.as_ref().is_none_or(Vec::is_empty) {
            launch.missing("links", "list the links of the launch: links = [\"go.example.com/bio\"]");
        }
        let (from, until) = (launch.instant("from"), launch.instant("until"));
        if from.is_some() && until.is_some() && from >= until {
            launch.error(launch.place("until"), "until lies before from", "");
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
