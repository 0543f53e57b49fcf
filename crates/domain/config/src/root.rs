//! The top of the file: its own keys, and every section.

use crate::form::{self, Integer, Texts, Zone};
use crate::option::{Group, Opt};
use crate::platform::groups;
use crate::table::{Table, Tables};
use crate::{
    canary, channels, destination, inhibit, labels, naming, owners, privacy, route_test, rule, silence, source, traces,
};

pub(crate) const VERSION: Opt<Integer<i64>> =
    Opt::new("version", Integer::within(1, 1, ""), "The version of the language. The main file has it.", "1")
        .required("start the file with version = 1");
pub(crate) const TIMEZONE: Opt<Zone> = Opt::new(
    "timezone",
    Zone,
    "Of dates in the file that name none, of `pause --until`, and of times that alerts say. Reports are by days of UTC, and everything is stored in UTC.",
    "\"Europe/Berlin\"",
)
.or("UTC");
const INCLUDE: Opt<Texts> = Opt::new(
    "include",
    Texts,
    "Files that belong to this one, relative to it; `*` may stand in the name of the file. In the main file only.",
    "[\"rules/*.toml\"]",
)
.otherwise("none");

const fn table(key: &'static str, group: &'static Group) -> Opt<Table> {
    Opt::new(key, Table(group), group.about, "")
}

const fn tables(key: &'static str, group: &'static Group, names: &'static str) -> Opt<Tables> {
    Opt::new(key, Tables(group, names), group.about, "")
}

pub(crate) const OWNER: Opt<Tables> = tables("owner", &owners::OWNER, "");
pub(crate) const WORKFLOW: Opt<Table> = table("workflow", &owners::WORKFLOW);
pub(crate) const SOURCE: Opt<Tables> = tables("source", &source::GROUP, form::NAME);
pub(crate) const PRIVACY: Opt<Table> = table("privacy", &privacy::PRIVACY);
pub(crate) const IGNORE: Opt<Table> = table("ignore", &privacy::IGNORE);
pub(crate) const CHANNELS: Opt<Table> = table("channels", &channels::GROUP);
pub(crate) const NAMING: Opt<Table> = table("naming", &naming::GROUP);
pub(crate) const CATALOGUE: Opt<Table> = table("catalogue", &labels::CATALOGUE);
pub(crate) const PARTNER: Opt<Tables> = tables("partner", &labels::PARTNER, "");
pub(crate) const LAUNCH: Opt<Tables> = tables("launch", &labels::LAUNCH, "");
pub(crate) const DESTINATION: Opt<destination::Kinds> = destination::DESTINATION;
pub(crate) const RULE: Opt<Tables> = tables("rule", &rule::RULE, form::NAME);
pub(crate) const SILENCE: Opt<Tables> = tables("silence", &silence::SILENCE, "");
pub(crate) const MUTE: Opt<Tables> = tables("mute", &silence::MUTES, "");
pub(crate) const INHIBIT: Opt<Tables> = tables("inhibit", &inhibit::GROUP, "");
pub(crate) const TEST: Opt<Tables> = tables("test", &route_test::GROUP, "");
pub(crate) const KAFKA: Opt<Table> = table("kafka", &groups::KAFKA);
pub(crate) const CLICKHOUSE: Opt<Table> = table("clickhouse", &groups::CLICKHOUSE);
pub(crate) const REGISTRY: Opt<Table> = table("registry", &groups::REGISTRY);
pub(crate) const INGEST: Opt<Table> = table("ingest", &groups::INGEST);
pub(crate) const PROCESS: Opt<Table> = table("process", &groups::PROCESS);
pub(crate) const GEO: Opt<Table> = table("geo", &groups::GEO);
pub(crate) const METRICS: Opt<Table> = table("metrics", &groups::METRICS);
pub(crate) const TRACES: Opt<Table> = table("traces", &traces::GROUP);
pub(crate) const CONSOLE: Opt<Table> = table("console", &groups::CONSOLE);
pub(crate) const CANARY: Opt<Table> = table("canary", &canary::GROUP);

/// The file.
pub(crate) static GROUP: Group = Group {
    title: "The file",
    about: "The keys that stand before the first section. Every section may be left out, but for one `[source]`.",
    read_by: "",
    options: &[
        &VERSION,
        &TIMEZONE,
        &INCLUDE,
        &OWNER,
        &WORKFLOW,
        &SOURCE,
        &PRIVACY,
        &IGNORE,
        &CHANNELS,
        &NAMING,
        &CATALOGUE,
        &PARTNER,
        &LAUNCH,
        &DESTINATION,
        &RULE,
        &SILENCE,
        &MUTE,
        &INHIBIT,
        &TEST,
        &KAFKA,
        &CLICKHOUSE,
        &REGISTRY,
        &INGEST,
        &PROCESS,
        &GEO,
        &METRICS,
        &TRACES,
        &CONSOLE,
        &CANARY,
    ],
    others: &[],
};
