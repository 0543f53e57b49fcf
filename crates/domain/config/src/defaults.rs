//! What holds where the configuration says nothing. Every default of `hookline.toml` stands here.

use std::time::Duration;

use jiff::tz::TimeZone;

const HOUR: u64 = 3_600;

/// `timezone`.
pub(crate) const TIMEZONE: TimeZone = TimeZone::UTC;

/// `zone` of a source: that of times which name none. Not `timezone`, which is for dates in the file and `pause --until`:
/// changing that one must not move events.
pub(crate) const SOURCE_ZONE: TimeZone = TimeZone::UTC;

/// `remember_for` of a source: how long a duplicate is recognised. 72 h, unless the sender is known to retry for longer
/// (see [`crate::window::horizon`]): then the next whole hours beyond that.
pub(crate) const REMEMBER_FOR: Duration = Duration::from_secs(72 * HOUR);
/// The shortest and longest `remember_for`.
pub(crate) const REMEMBER_FOR_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(35 * 24 * HOUR);

/// `max_body` of `[ingest]`, and of a source that says nothing: 256 KiB.
pub(crate) const MAX_BODY: u64 = 256 << 10;
/// The smallest and largest `max_body`: 1 KiB and 16 MiB.
pub(crate) const MAX_BODY_RANGE: std::ops::RangeInclusive<u64> = 1 << 10..=16 << 20;

/// `memory` of `[ingest]`: bodies, and records that wait for Kafka, half each.
pub(crate) const INGEST_MEMORY: u64 = 256 << 20;
/// The smallest and largest `memory`: a source's largest body must fit into its share, and then some.
pub(crate) const INGEST_MEMORY_RANGE: std::ops::RangeInclusive<u64> = 16 << 20..=1 << 40;
/// A body may take at most this part of `memory`: a quarter is one source's share, and it must hold several.
pub(crate) const BODIES_IN_MEMORY: u64 = 16;
/// `max_connections` of `[ingest]`.
pub(crate) const MAX_CONNECTIONS: u32 = 8_192;
/// `in_flight` of `[ingest]` and of sources: at 40 ms an acknowledgement 50,000 requests a second.
pub(crate) const IN_FLIGHT: u32 = 2_048;
/// The smallest and largest `in_flight`.
pub(crate) const IN_FLIGHT_RANGE: std::ops::RangeInclusive<i64> = 1..=100_000;
/// `header_timeout` of `[ingest]`.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// `body_timeout` of `[ingest]`.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// `idle_timeout` of `[ingest]`: longer than senders and load balancers keep connections (60 s), so that they close first.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The shortest and longest of the three.
pub(crate) const HTTP_TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3_600);

/// `tolerance` of an `hmac` scheme with a timestamp, in seconds.
pub(crate) const TOLERANCE_SECONDS: i64 = signature::TOLERANCE_SECONDS;

/// `keep` of `[privacy]`.
pub(crate) mod keep {
    use super::{Duration, HOUR};
    pub(crate) const RAW: Duration = Duration::from_secs(7 * 24 * HOUR);
    pub(crate) const EVENTS: Duration = Duration::from_secs(400 * 24 * HOUR);
    pub(crate) const ROLLUPS: Duration = Duration::from_secs(5 * 365 * 24 * HOUR);
    pub(crate) const DELIVERIES: Duration = Duration::from_secs(400 * 24 * HOUR);
}
/// `visitors` of `[privacy]`.
pub(crate) const VISITORS: bool = true;
/// `hide_groups_under` of `[privacy]`; 0 hides nothing.
pub(crate) const HIDE_GROUPS_UNDER: u32 = 10;

/// `lanes` of `[kafka]`, with the local engine and with brokers.
pub(crate) const LANES: (u16, u16) = (4, 12);
/// `replication` of `[kafka]`, with the local engine and with brokers.
pub(crate) const REPLICATION: (u16, u16) = (1, 3);

/// `takeover_after` of `[kafka]`.
pub(crate) const TAKEOVER_AFTER: Duration = Duration::from_secs(10);
/// The shortest and longest: brokers take no session below 6 s unless they are told to.
pub(crate) const TAKEOVER_AFTER_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(6)..=Duration::from_secs(120);

/// `user` of `[clickhouse]`.
pub(crate) const CLICKHOUSE_USER: &str = "default";

/// `listen` of `[ingest]`.
pub(crate) const INGEST_LISTEN: &str = "127.0.0.1:8080";
/// `listen` of `[console]`.
pub(crate) const CONSOLE_LISTEN: &str = "127.0.0.1:8088";
/// `listen` of `[metrics]`.
pub(crate) const METRICS_LISTEN: &str = "127.0.0.1:9464";

/// `one_in` of `[traces]`.
pub(crate) const TRACES_ONE_IN: u32 = 1_000;
/// `max_per_second` of `[traces]`.
pub(crate) const TRACES_PER_SECOND: u32 = 20;
/// `timeout` of `[traces]`.
pub(crate) const TRACES_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and longest.
pub(crate) const TRACES_TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);

/// `data` of `[process]`.
pub(crate) const PROCESS_DATA: &str = "hookline-data";
/// `fuse_run` of `[process]`: seconds of a busy lane, and more than any sender's odd batch.
pub(crate) const FUSE_RUN: u32 = 1_000;
/// `fuse_percent` of `[process]`.
pub(crate) const FUSE_PERCENT: u8 = 50;

/// `first` of a rule's `send`: the wait before the first message; at once.
pub(crate) const FIRST: Duration = Duration::ZERO;
/// `then_every` of a rule's `send`: five-minute summaries.
pub(crate) const THEN_EVERY: Duration = Duration::from_secs(300);
