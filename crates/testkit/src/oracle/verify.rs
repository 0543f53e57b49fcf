//! What must be true when it is quiet again: counted once, nothing missing, reports equal to rows.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::clickhouse::Asker;

/// The rows of both databases.
pub const ROWS: &str = "(SELECT * FROM hookline.records UNION ALL SELECT * FROM hookline_test.records)";

/// Waits until `events` different events are rows and nothing more arrives.
///
/// # Errors
/// When they are not within `patience`.
pub async fn settle(asker: &Asker, events: u64, patience: Duration) -> anyhow::Result<()> {
    asker.until(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'event'"), events, patience).await?;
    let mut last = 0;
    loop {
        let now = asker.number(&format!("SELECT count() FROM {ROWS}")).await?;
        if now == last {
            return Ok(());
        }
        last = now;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

/// What must hold of a quiet system that took `events` different events: counted once, every offset one row, reports
/// equal to the rows.
///
/// # Errors
/// What does not hold.
pub async fn verify(asker: &Asker, events: u64) -> anyhow::Result<()> {
    let counted = asker.number(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'event'")).await?;
    ensure!(counted == events, "{counted} events are rows, {events} were sent");
    let keys = asker.number(&format!("SELECT uniqExact(event_key) FROM {ROWS} WHERE outcome = 'event'")).await?;
    ensure!(keys == events, "{keys} different keys among {events} events");
    every_offset_is_one_row(asker).await?;
    let strays = asker
        .number(&format!(
            "SELECT count() FROM {ROWS} AS d WHERE outcome = 'duplicate' AND (lane, first_offset, event_key) NOT IN \
             (SELECT lane, raw_offset, event_key FROM {ROWS} WHERE outcome = 'event')"
        ))
        .await?;
    ensure!(strays == 0, "{strays} duplicates name a first delivery that is no event of their key");
    for (view, brute_force) in REPORTS {
        let (view, brute_force) = (asker.rows(view).await?, asker.rows(brute_force).await?);
        ensure!(view == brute_force, "a report differs from the rows:\n{}\n{}", lines(&view), lines(&brute_force));
    }
    Ok(())
}

/// What must hold of a quiet system whatever was sent: each offset of each lane is one row, and the ledger says so.
///
/// # Errors
/// The lane with a hole or a repeat.
pub async fn every_offset_is_one_row(asker: &Asker) -> anyhow::Result<()> {
    let lanes = asker
        .rows(&format!(
            "SELECT lane, toUInt64(count()) AS rows, toUInt64(uniqExact(raw_offset)) AS offsets, toUInt64(max(raw_offset)) AS last \
             FROM {ROWS} GROUP BY lane ORDER BY lane"
        ))
        .await?;
    for lane in &lanes {
        let number = |name: &str| lane[name].as_u64();
        let whole = number("last").map(|last| last + 1);
        ensure!(number("rows") == whole && number("offsets") == whole, "a lane with a hole or a repeat: {lane}");
    }
    let unbalanced = asker.rows("SELECT * FROM hookline.ledger WHERE missing != 0 OR repeated != 0").await?;
    ensure!(unbalanced.is_empty(), "the ledger does not balance: {unbalanced:?}");
    Ok(())
}

pub(super) fn lines(rows: &[Value]) -> String {
    rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Every report view, and the same figures counted from the rows by a query that shares nothing with it.
const REPORTS: [(&str, &str); 6] = [
    (
        "SELECT day, campaign, channel, toUInt64(sum(clicks)) AS n, toUInt64(sum(bot_clicks)) AS bots \
         FROM hookline.campaign_channel_daily GROUP BY day, campaign, channel HAVING n + bots > 0 ORDER BY day, campaign, channel",
        "SELECT toDate(event_time) AS day, campaign, channel, toUInt64(countIf(counted = 'human')) AS n, \
         toUInt64(countIf(counted = 'bot')) AS bots FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') \
         GROUP BY day, campaign, channel HAVING n + bots > 0 ORDER BY day, campaign, channel",
    ),
    (
        "SELECT toString(hour) AS at, link_id, toUInt64(sum(clicks)) AS n FROM hookline.link_hourly \
         GROUP BY at, link_id HAVING n > 0 ORDER BY at, link_id",
        "SELECT toString(toStartOfHour(event_time)) AS at, link_id, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND counted = 'human' AND type IN ('click', 'qr_scan') GROUP BY at, link_id ORDER BY at, link_id",
    ),
    (
        "SELECT day, programme, placement, toUInt64(sum(raw_scans)) AS n FROM hookline.qr_placement_daily \
         GROUP BY day, programme, placement ORDER BY day, programme, placement",
        "SELECT toDate(event_time) AS day, programme, placement, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type = 'qr_scan' GROUP BY day, programme, placement ORDER BY day, programme, placement",
    ),
    (
        "SELECT day, partner, landing_path, toUInt64(sum(raw_clicks)) AS n FROM hookline.affiliate_landing_daily \
         GROUP BY day, partner, landing_path HAVING n > 0 ORDER BY day, partner, landing_path",
        "SELECT toDate(event_time) AS day, partner, destination_path AS landing_path, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND partner != '' \
         GROUP BY day, partner, landing_path ORDER BY day, partner, landing_path",
    ),
    (
        "SELECT day, value, toUInt64(sum(clicks)) AS n FROM hookline.daily_visitors WHERE dimension = 'link' \
         GROUP BY day, value ORDER BY day, value",
        "SELECT toDate(event_time) AS day, link_id AS value, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND counted = 'human' AND type IN ('click', 'qr_scan') GROUP BY day, value ORDER BY day, value",
    ),
    (
        "SELECT day, domain, slug, toUInt64(sum(raw_clicks)) AS n FROM hookline.bio_launch_daily \
         GROUP BY day, domain, slug ORDER BY day, domain, slug",
        "SELECT toDate(event_time) AS day, domain, slug, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND (launch != '' OR link_kind = 'bio') \
         GROUP BY day, domain, slug ORDER BY day, domain, slug",
    ),
];
