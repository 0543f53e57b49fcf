//! `[geo]`.

use std::path::PathBuf;

use crate::form::File;
use crate::option::{Group, Opt};
use crate::section::Section;

const COUNTRY: Opt<File> = Opt::new(
    "country",
    File,
    "An MMDB file of countries. It may be replaced (by renaming) while everything runs: docs/labels.md.",
    "\"/var/lib/hookline/country.mmdb\"",
)
.required("name an MMDB file of countries, or leave [geo] out");

pub(crate) static GROUP: Group = Group {
    title: "[geo]",
    about: "Where the country of an address is looked up, when the platform does not say it.",
    read_by: "process, replay and the console",
    options: &[&COUNTRY],
    others: &[],
};

/// `[geo]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geo {
    /// An MMDB file of countries; relative paths start at the folder of the configuration. It may be replaced while
    /// everything runs.
    pub country: Option<PathBuf>,
}

pub(crate) fn read_geo(section: Option<Section<'_>>) -> Geo {
    let Some(section) = section else { return Geo::default() };
    let geo = Geo { country: section.path(&COUNTRY) };
    section.demand(&COUNTRY);
    section.finish();
    geo
}
