//! The reports: finished numbers by day, computed from `records` alone.
//!
//! What a report says of a day is one query (`reports/*.sql`). The view runs it for the open days; closing a day runs it for that
//! day and keeps the answer (see `closing`).

/// A column of a report.
#[derive(Debug, Clone, Copy)]
pub struct ReportColumn {
    /// Its name.
    pub name: &'static str,
    /// Its ClickHouse type.
    pub type_name: &'static str,
    /// What it means: the `COMMENT`.
    pub doc: &'static str,
}

const fn column(name: &'static str, type_name: &'static str, doc: &'static str) -> ReportColumn {
    ReportColumn { name, type_name, doc }
}

/// A report with closed days.
#[derive(Debug)]
pub struct Report {
    /// The view's name; the table of closed days is `<name>_closed`.
    pub name: &'static str,
    /// What it answers: the view's `COMMENT`.
    pub doc: &'static str,
    /// The columns, `day` first.
    pub columns: &'static [ReportColumn],
    /// The order of a closed day's rows.
    pub(crate) key: &'static str,
    /// The query over `{records}`, with the columns' names.
    pub(crate) live: &'static str,
    /// The days after which a day can no longer be computed, because columns that it needs are cleared by then.
    pub(crate) needs_identifiers: bool,
    /// The version of what the columns mean: a day that an earlier one closed is live until it is closed again.
    pub(crate) definition: u16,
}

impl Report {
    /// The report with this name.
    pub fn named(name: &str) -> Option<&'static Report> {
        REPORTS.iter().find(|report| report.name == name)
    }

    /// The names of its columns, for a SELECT.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}

const LOW: &str = "LowCardinality(String)";
const COUNT: &str = "UInt64";
const DAY: ReportColumn = column("day", "Date", "the day of the event (UTC)");
const BOTS: ReportColumn = column("bot_clicks", COUNT, "clicks and scans of bots, prefetchers and link scanners");
const INTERNAL: ReportColumn = column("internal_clicks", COUNT, "clicks and scans of our own people and machines");
const RAW: ReportColumn = column("raw_clicks", COUNT, "clicks and scans of anybody: human, bot and internal");
const CLICKS: ReportColumn = column("clicks", COUNT, "human clicks and scans");
const SCANS: ReportColumn = column("qr_scans", COUNT, "human QR scans, part of clicks");
const LEADS: ReportColumn =
    column("leads", COUNT, "leads, whoever or whatever told of them: counted of the row says what came");
const SALES: ReportColumn = column("sales", COUNT, "sales, whoever or whatever told of them");
const REVENUE: ReportColumn =
    column("revenue_minor", "Map(LowCardinality(String), Int64)", "value of the sales in minor units, by currency");

/// Every report that closes days.
pub static REPORTS: &[Report] = &[
    Report {
        name: "campaign_channel_daily",
        doc: "Clicks, leads, sales and revenue by campaign and channel, a row a day",
        columns: &[
            DAY,
            column("campaign", LOW, "the campaign, '' when unknown"),
            column("channel", LOW, "the channel, '' when unknown"),
            CLICKS,
            SCANS,
            BOTS,
            INTERNAL,
            RAW,
            LEADS,
            SALES,
            REVENUE,
        ],
        key: "campaign, channel",
        live: include_str!("reports/campaign_channel_daily.sql"),
        needs_identifiers: false,
        // 1: leads and sales count whoever told of them.
        definition: 1,
    },
    Report {
        name: "link_hourly",
        doc: "A short link over time: clicks by link and hour",
        columns: &[
            DAY,
            column("hour", "DateTime('UTC')", "start of the hour of the event (UTC)"),
            column("link_id", "String", "the platform's id of the link, or domain/slug"),
            column("domain", LOW, "the branded short domain"),
            column("slug", "String", "the path of the short link"),
            CLICKS,
            SCANS,
            BOTS,
            INTERNAL,
            RAW,
        ],
        key: "link_id, hour",
        live: include_str!("reports/link_hourly.sql"),
        needs_identifiers: false,
        definition: 0,
    },
    Report {
        name: "qr_placement_daily",
        doc: "QR scans by programme, placement and geography; groups of few people are shown without theirs, together with as many others as keep totals from telling them apart",
        columns: &[
            DAY,
            column("programme", LOW, "the QR programme"),
            column("placement", LOW, "where the QR code hangs"),
            column("country", LOW, "ISO 3166-1 alpha-2, '' when unknown or hidden"),
            column("region", LOW, "the region, '' when unknown or hidden"),
            column(
                "hidden",
                "Bool",
                "whether the row unites groups that are too small to show where they are, and those that keep them from being told apart",
            ),
            column("scans", COUNT, "human scans"),
            column("bot_scans", COUNT, "scans of bots"),
            column("internal_scans", COUNT, "scans of our own people and machines"),
            column("raw_scans", COUNT, "scans of anybody"),
        ],
        key: "programme, placement, country, region",
        live: include_str!("reports/qr_placement_daily.sql"),
        needs_identifiers: true,
        definition: 1,
    },
    Report {
        name: "affiliate_landing_daily",
        doc: "Affiliate traffic by partner, source and landing page: clicks, leads, sales, revenue, approved or not",
        columns: &[
            DAY,
            column("partner", LOW, "the affiliate partner"),
            column("source", LOW, "the configured source that received the events"),
            column("utm_source", LOW, "utm_source, '' when unknown"),
            column("landing_host", LOW, "the host of the landing page"),
            column("landing_path", "String", "the landing page's path with the query parameters that are kept"),
            column("approved", "Bool", "whether the partner may use this source"),
            CLICKS,
            BOTS,
            INTERNAL,
            RAW,
            LEADS,
            SALES,
            REVENUE,
        ],
        key: "partner, source, utm_source, landing_host, landing_path",
        live: include_str!("reports/affiliate_landing_daily.sql"),
        needs_identifiers: false,
        // 1: leads and sales count whoever told of them.
        definition: 1,
    },
    Report {
        name: "daily_visitors",
        doc: "Daily visitors; distinct within a day and a value only, never to be summed over days or values",
        columns: &[
            DAY,
            column("dimension", LOW, "all, campaign, link, programme or partner"),
            column("value", "String", "the campaign, link id, programme or partner; '' for all"),
            column("visitors", COUNT, "distinct daily visitors among the clicks whose visitor is known"),
            column("clicks", COUNT, "human clicks and scans"),
            column("clicks_with_visitor", COUNT, "human clicks and scans whose visitor is known"),
            column("coverage", "Float64", "share of the clicks whose visitor is known, 0 to 1"),
        ],
        key: "dimension, value",
        live: include_str!("reports/daily_visitors.sql"),
        needs_identifiers: true,
        definition: 0,
    },
    Report {
        name: "bio_launch_daily",
        doc: "Clicks on content launches and bio links, a row a day and link",
        columns: &[
            DAY,
            column("launch", LOW, "the content launch, '' for a bio link outside of launches"),
            column("link_kind", LOW, "proposal, promo, affiliate, bio and so on"),
            column("domain", LOW, "the branded short domain"),
            column("slug", "String", "the path of the short link"),
            CLICKS,
            BOTS,
            INTERNAL,
            RAW,
        ],
        key: "launch, link_kind, domain, slug",
        live: include_str!("reports/bio_launch_daily.sql"),
        needs_identifiers: false,
        definition: 0,
    },
    Report {
        name: "visitor_pace_daily",
        doc: "Daily visitors by campaign, and those of them who opened three links within two seconds, as scanners of mail do: a \
              sign, not a verdict",
        columns: &[
            DAY,
            column("campaign", LOW, "the campaign, '' when unknown"),
            column("visitors", COUNT, "distinct daily visitors that are known; never to be summed"),
            column(
                "hurried_visitors",
                COUNT,
                "those who opened three different links of a domain within two seconds on that day",
            ),
            column("clicks", COUNT, "human clicks and scans whose visitor is known"),
            column("hurried_clicks", COUNT, "clicks and scans of hurried visitors, part of clicks"),
        ],
        key: "campaign",
        live: include_str!("reports/visitor_pace_daily.sql"),
        needs_identifiers: true,
        definition: 0,
    },
];
