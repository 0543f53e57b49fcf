//! `[process]`.

use std::path::PathBuf;

use crate::form::{Integer, Text};
use crate::option::{Group, Opt};
use crate::section::Section;

/// Not a path relative to the file: data does not rest beside a configuration, which may be read-only.
const DATA: Opt<Text> = Opt::new(
    "data",
    Text("a path, from where the service is started"),
    "The folder of the window store: a cache, may be lost.",
    "\"/var/lib/hookline\"",
)
.or("hookline-data");
/// Seconds of a busy lane, and more than any sender's odd batch.
const FUSE_RUN: Opt<Integer<u32>> = Opt::new(
    "fuse_run",
    Integer::within(0, 1_000_000, "dead letters"),
    "So many dead letters in a row stop a lane, before they are written; 0: none do.",
    "1000",
)
.or(1_000);
const FUSE_PERCENT: Opt<Integer<u8>> = Opt::new(
    "fuse_percent",
    Integer::within(0, 100, "dead letters in a hundred"),
    "So many dead letters in a hundred of its last 1,000 to 2,000 records stop a lane; 0: none do.",
    "50",
)
.or(50);

pub(crate) static GROUP: Group = Group {
    title: "[process]",
    about: "Deduplication, and when a lane stops by itself.",
    read_by: "process",
    options: &[&DATA, &FUSE_RUN, &FUSE_PERCENT],
    others: &[],
};

/// `[process]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The folder of the window store: a cache, may be lost. Relative paths start where the service is started.
    pub data: PathBuf,
    /// So many dead letters in a row stop a lane; 0: none do.
    pub fuse_run: u32,
    /// So many dead letters in a hundred of the last records stop a lane; 0: none do.
    pub fuse_percent: u8,
}

impl Default for Process {
    /// What holds without `[process]`.
    fn default() -> Self {
        let (fuse_run, fuse_percent) = (FUSE_RUN.usual(), FUSE_PERCENT.usual());
        Self { data: DATA.usual().into(), fuse_run, fuse_percent }
    }
}

pub(crate) fn read_process(section: Option<Section<'_>>) -> Process {
    let mut process = Process::default();
    let Some(section) = section else { return process };
    process.data = section.text(&DATA).map_or(process.data, PathBuf::from);
    process.fuse_run = section.integer(&FUSE_RUN).unwrap_or(process.fuse_run);
    process.fuse_percent = section.integer(&FUSE_PERCENT).unwrap_or(process.fuse_percent);
    section.finish();
    process
}
