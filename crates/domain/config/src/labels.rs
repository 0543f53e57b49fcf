//! What gives links their labels: `[naming]`, `[catalogue]`, `[partner]` and `[launch]`. Type-checked here; see
//! [`crate::availability`] for what this version makes of them.

use crate::availability::{self, Part};
use crate::document::Value;
use crate::section::Section;

pub(crate) fn check_naming(section: &Section<'_>) {
    availability::check(Part::Naming, section.at, section.reading.sink);
    for entry in section.entries() {
        match (&entry.node.value, entry.key.as_str()) {
            (Value::Table(aliases), "same_as") => {
                for alias in &aliases.0 {
                    let Some(names) = section.section_of(&alias.node, &alias.key) else { continue };
                    for name in names.entries() {
                        if !matches!(name.node.value, Value::Text(_)) {
                            let kind = name.node.value.kind();
                            section.error(&name.node.at, format!("{} is {kind}, not a text", name.key), "");
                        }
                    }
                }
            }
            (Value::Table(_), _) => {
                if let Some(form) = section.section_of(&entry.node, &entry.key) {
                    form.required("pattern", "such as \"{quarter}-{region}-{name}\"");
                    form.text("example");
                    form.instant("from");
                    form.finish();
                }
            }
            (Value::Text(_), _) => {}
            _ => _ = section.texts_of(&entry.node, &entry.key),
        }
    }
}

pub(crate) fn check_catalogue(section: Section<'_>) {
    availability::check(Part::Catalogue, section.at, section.reading.sink);
    section.required("file", "name the CSV file of links");
    section.finish();
}

pub(crate) fn check_partners(section: &Section<'_>) {
    for entry in section.entries() {
        availability::check(Part::Partner, &entry.at, section.reading.sink);
        if let Some(partner) = section.section_of(&entry.node, &entry.key) {
            partner.texts("approved_sources");
            partner.finish();
        }
    }
}

pub(crate) fn check_launches(section: &Section<'_>) {
    for entry in section.entries() {
        availability::check(Part::Launch, &entry.at, section.reading.sink);
        if let Some(launch) = section.section_of(&entry.node, &entry.key) {
            launch.texts("links");
            let (from, until) = (launch.instant("from"), launch.instant("until"));
            if from.is_some() && until.is_some() && from >= until {
                launch.error(launch.place("until"), "until lies before from", "");
            }
            launch.finish();
        }
    }
}
