//! What is kept, for how long, and who does not count: `[privacy]` and `[ignore.*]`.

use std::time::Duration;

use enrich::Network;

use crate::form::{Choice, Integer, Span, Texts};
use crate::option::{Group, Opt};
use crate::section::{Placed, Section};
use crate::table::Table;

/// The key `visitors`, of `[privacy]` and of sources.
pub(crate) const fn visitors(about: &'static str) -> Opt<Choice<bool>> {
    Opt::new("visitors", Choice(&[DAILY, ("off", false)]), about, "\"off\"")
}

const DAILY: (&str, bool) = ("daily", true);

const fn kept(key: &'static str, shortest: Duration, about: &'static str, days: u64) -> Opt<Span> {
    let default = Duration::from_secs(days * 86_400);
    Opt::new(key, Span::within(shortest, Duration::from_secs(100 * 365 * 86_400)), about, "\"30d\"").or(default)
}

const VISITORS: Opt<Choice<bool>> = visitors(
    "Whether visitors of a day are told apart, by a hash whose salt is thrown away with the day. A source may say otherwise.",
)
.or(DAILY);
const HIDE_GROUPS_UNDER: Opt<Integer<u32>> = Opt::new(
    "hide_groups_under",
    Integer::within(0, 100_000, "people"),
    "Groups of fewer people are hidden in views by geography; 0 hides none.",
    "10",
)
.or(10);
const KEEP_QUERY_PARAMS: Opt<Texts> = Opt::new(
    "keep_query_params",
    Texts,
    "Query parameters of destination URLs that are kept. The rest is cut.",
    "[\"sku\", \"lang\"]",
)
.otherwise("none");
const KEEP: Opt<Table> =
    Opt::new("keep", Table(&KEEP_GROUP), "How long things are kept.", "{ raw = \"7d\", events = \"400d\" }");

/// `[privacy]`.
pub(crate) static PRIVACY: Group = Group {
    title: "[privacy]",
    about: "What is kept of people's traces, and for how long.",
    read_by: "ingest, process, report and migrate",
    options: &[&VISITORS, &HIDE_GROUPS_UNDER, &KEEP_QUERY_PARAMS, &KEEP],
    others: &[],
};

const RAW: Opt<Span> = kept(
    "raw",
    Duration::from_secs(3_600),
    "The topics `raw` and `events`: what can be replayed, and where personal data rests.",
    7,
);
const EVENTS: Opt<Span> = kept("events", DAY, "Rows of `records`.", 400);
const ROLLUPS: Opt<Span> = kept("rollups", YEAR, "Finished days of the reports.", 5 * 365);
const DELIVERIES: Opt<Span> = kept("deliveries", DAY, "The log of deliveries.", 400);

static KEEP_GROUP: Group = Group {
    title: "keep",
    about: "How long things are kept.",
    read_by: "",
    options: &[&RAW, &EVENTS, &ROLLUPS, &DELIVERIES],
    others: &[],
};

const INTERNAL: Opt<Table> =
    Opt::new("internal", Table(&INTERNAL_GROUP), "Our own people and machines.", "{ networks = [\"203.0.113.0/24\"] }");
const TEST: Opt<Table> = Opt::new("test", Table(&TEST_GROUP), "Test data.", "{ slug_prefixes = [\"qa-\"] }");

/// `[ignore]`.
pub(crate) static IGNORE: Group = Group {
    title: "[ignore]",
    about: "Whose traffic does not count as people outside.",
    read_by: "process",
    options: &[&INTERNAL, &TEST],
    others: &[],
};

const NETWORKS: Opt<Texts> = Opt::new(
    "networks",
    Texts,
    "Networks of visitors, as an address and the length of its prefix.",
    "[\"203.0.113.0/24\"]",
)
.otherwise("none");
const REFERRER_HOSTS: Opt<Texts> = Opt::new(
    "referrer_hosts",
    Texts,
    "Referring hosts; `*.example.com` means every host below `example.com`.",
    "[\"admin.example.com\", \"*.staging.example.com\"]",
)
.otherwise("none");

static INTERNAL_GROUP: Group = Group {
    title: "[ignore.internal]",
    about: "Kept, and queryable as `counted = 'internal'`; in no report and no alert.",
    read_by: "",
    options: &[&NETWORKS, &REFERRER_HOSTS],
    others: &[],
};

const SLUG_PREFIXES: Opt<Texts> =
    Opt::new("slug_prefixes", Texts, "Starts of slugs.", "[\"qa-\", \"test-\"]").otherwise("none");
const CAMPAIGNS: Opt<Texts> = Opt::new("campaigns", Texts, "Campaigns.", "[\"zz-test\"]").otherwise("none");
const TAGS: Opt<Texts> = Opt::new("tags", Texts, "Tags of links.", "[\"qa\"]").otherwise("none");

static TEST_GROUP: Group = Group {
    title: "[ignore.test]",
    about: "Kept in the database `hookline_test`.",
    read_by: "",
    options: &[&SLUG_PREFIXES, &CAMPAIGNS, &TAGS],
    others: &[],
};

/// What is kept of people's traces, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privacy {
    /// Whether visitors of a day are told apart, by a hash whose salt is thrown away; sources may say otherwise.
    pub visitors: bool,
    /// Query parameters of destination URLs that are kept; the rest is cut.
    pub keep_query_params: Vec<String>,
    /// Groups of fewer people than this are hidden in views by geography; 0 hides none.
    pub hide_groups_under: u32,
    /// How long things are kept.
    pub keep: Keep,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The topics `raw` and `events`: what can be replayed, and where personal data rests.
    pub raw: Duration,
    /// Rows of `records`.
    pub events: Duration,
    /// Finished days of the reports.
    pub rollups: Duration,
    /// The log of deliveries.
    pub deliveries: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Keep {
    /// Whole days of rows of `records`, rounded up.
    pub fn events_days(&self) -> u16 {
        whole(self.events, DAY)
    }

    /// Whole years of finished reports, rounded up.
    pub fn rollups_years(&self) -> u16 {
        whole(self.rollups, YEAR)
    }

    /// Whole days of the log of deliveries, rounded up.
    pub fn deliveries_days(&self) -> u16 {
        whole(self.deliveries, DAY)
    }
}

fn whole(duration: Duration, unit: Duration) -> u16 {
    u16::try_from(duration.as_secs().div_ceil(unit.as_secs())).unwrap_or(u16::MAX)
}

/// Whose traffic does not count as people outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    /// Our own people and machines: kept, counted as internal.
    pub internal: Internal,
    /// Test data: kept in a database of its own.
    pub test: TestTraffic,
}

/// How internal traffic is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Internal {
    /// Networks of visitors.
    pub networks: Vec<Network>,
    /// Referring hosts; `*.example.com` means every host below `example.com`.
    pub referrer_hosts: Vec<String>,
}

/// How test data is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestTraffic {
    /// Starts of slugs.
    pub slug_prefixes: Vec<String>,
    /// Campaigns.
    pub campaigns: Vec<String>,
    /// Tags of links.
    pub tags: Vec<String>,
}

pub(crate) fn read_privacy(section: Option<Section<'_>>) -> Privacy {
    let mut privacy = Privacy {
        visitors: DAILY.1,
        keep_query_params: Vec::new(),
        hide_groups_under: HIDE_GROUPS_UNDER.usual(),
        keep: Keep {
            raw: RAW.usual(),
            events: EVENTS.usual(),
            rollups: ROLLUPS.usual(),
            deliveries: DELIVERIES.usual(),
        },
    };
    let Some(section) = section else { return privacy };
    privacy.visitors = section.choice(&VISITORS).unwrap_or(privacy.visitors);
    privacy.hide_groups_under = section.integer(&HIDE_GROUPS_UNDER).unwrap_or(privacy.hide_groups_under);
    privacy.keep_query_params = section.names(&KEEP_QUERY_PARAMS);
    if let Some(keep) = section.section(&KEEP) {
        for (opt, target) in [
            (&RAW, &mut privacy.keep.raw),
            (&EVENTS, &mut privacy.keep.events),
            (&ROLLUPS, &mut privacy.keep.rollups),
            (&DELIVERIES, &mut privacy.keep.deliveries),
        ] {
            if let Some(duration) = keep.duration(opt) {
                *target = duration;
            }
        }
        keep.finish();
    }
    section.finish();
    privacy
}

pub(crate) fn read_ignore(section: Option<Section<'_>>) -> Ignore {
    let Some(section) = section else { return Ignore::default() };
    let mut ignore = Ignore::default();
    if let Some(mut internal) = section.section(&INTERNAL) {
        internal.title = "[ignore.internal]".to_owned();
        ignore.internal = Internal {
            networks: networks(&internal, &NETWORKS),
            referrer_hosts: internal.names(&REFERRER_HOSTS).iter().map(|host| host.to_ascii_lowercase()).collect(),
        };
        internal.finish();
    }
    if let Some(mut test) = section.section(&TEST) {
        test.title = "[ignore.test]".to_owned();
        ignore.test = TestTraffic {
            slug_prefixes: test.names(&SLUG_PREFIXES),
            campaigns: test.names(&CAMPAIGNS),
            tags: test.names(&TAGS),
        };
        test.finish();
    }
    section.finish();
    ignore
}

/// A list of networks.
pub(crate) fn networks(section: &Section<'_>, opt: &Opt<Texts>) -> Vec<Network> {
    let parse = |(text, at): Placed| match text.parse::<Network>() {
        Ok(network) => Some(network),
        Err(why) => {
            section.error(&at, why.to_string(), "");
            None
        }
    };
    section.texts(opt).unwrap_or_default().into_iter().filter_map(parse).collect()
}
