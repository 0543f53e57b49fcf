//! What is kept, for how long, and who does not count: `[privacy]` and `[ignore.*]`.

use std::time::Duration;

use enrich::Network;

use crate::defaults;
use crate::section::{Placed, Section};

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
        visitors: defaults::VISITORS,
        keep_query_params: Vec::new(),
        hide_groups_under: defaults::HIDE_GROUPS_UNDER,
        keep: Keep {
            raw: defaults::keep::RAW,
            events: defaults::keep::EVENTS,
            rollups: defaults::keep::ROLLUPS,
            deliveries: defaults::keep::DELIVERIES,
        },
    };
    let Some(section) = section else { return privacy };
    privacy.visitors = visitors(&section).unwrap_or(privacy.visitors);
    if let Some(number) = section.integer("hide_groups_under", 0..=100_000) {
        privacy.hide_groups_under = u32::try_from(number).unwrap_or_default();
    }
    privacy.keep_query_params = section.names("keep_query_params");
    if let Some(keep) = section.section("keep") {
        let longest = Duration::from_secs(100 * 365 * 86_400);
        for (key, shortest, target) in [
            ("raw", Duration::from_secs(3_600), &mut privacy.keep.raw),
            ("events", DAY, &mut privacy.keep.events),
            ("rollups", YEAR, &mut privacy.keep.rollups),
            ("deliveries", DAY, &mut privacy.keep.deliveries),
        ] {
            if let Some(duration) = keep.duration(key, shortest..=longest) {
                *target = duration;
            }
        }
        keep.finish();
    }
    section.finish();
    privacy
}

/// `visitors = "daily"` or `"off"`.
pub(crate) fn visitors(section: &Section<'_>) -> Option<bool> {
    section.choice("visitors", &[("daily", true), ("off", false)])
}

pub(crate) fn read_ignore(section: Option<Section<'_>>) -> Ignore {
    let Some(section) = section else { return Ignore::default() };
    let mut ignore = Ignore::default();
    if let Some(mut internal) = section.section("internal") {
        internal.title = "[ignore.internal]".to_owned();
        ignore.internal = Internal {
            networks: networks(&internal, "networks"),
            referrer_hosts: internal.names("referrer_hosts").iter().map(|host| host.to_ascii_lowercase()).collect(),
        };
        internal.finish();
    }
    if let Some(mut test) = section.section("test") {
        test.title = "[ignore.test]".to_owned();
        ignore.test = TestTraffic {
            slug_prefixes: test.names("slug_prefixes"),
            campaigns: test.names("campaigns"),
            tags: test.names("tags"),
        };
        test.finish();
    }
    section.finish();
    ignore
}

/// A list of networks.
pub(crate) fn networks(section: &Section<'_>, key: &'static str) -> Vec<Network> {
    let parse = |(text, at): Placed| match text.parse::<Network>() {
        Ok(network) => Some(network),
        Err(why) => {
            section.error(&at, why.to_string(), "");
            None
        }
    };
    section.texts(key).unwrap_or_default().into_iter().filter_map(parse).collect()
}
