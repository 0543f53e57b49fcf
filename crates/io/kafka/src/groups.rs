//! The names of groups: each holds positions, or only names its clients. None of them has members; those by which
//! instances share lanes are in [`members`](crate::members).

/// The positions of `process` on `raw`.
pub const PROCESS: &str = "hookline-process";
/// The positions of `detect` on `signals`.
pub const DETECT: &str = "hookline-detect";
/// The positions of `report` on `events`.
pub const REPORT: &str = "hookline-report";
/// The positions of the copy of `alerts` into ClickHouse.
pub const REPORT_ALERTS: &str = "hookline-report-alerts";
/// The positions of the copy of `deliveries` into ClickHouse.
pub const REPORT_DELIVERIES: &str = "hookline-report-deliveries";
/// The positions of `notify` on `alerts`.
pub const NOTIFY: &str = "hookline-notify";
/// Those who read the catalogue of links.
pub const LINKS: &str = "hookline-links";
/// The tools of operators.
pub const TOOLS: &str = "hookline-tools";
/// Those who look at topics before anything runs.
pub(crate) const TOPICS: &str = "hookline-topics";
/// The watch over lanes.
pub(crate) const WATCH: &str = "hookline-watch";
/// Readers of partitions, which commit nothing.
pub(crate) const READERS: &str = "hookline-readers";
