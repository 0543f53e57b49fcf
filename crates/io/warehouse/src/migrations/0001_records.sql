CREATE TABLE IF NOT EXISTS {database}.records{on_cluster}
(
{columns},
    INDEX event_key event_key TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX link_id link_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX received_at received_at TYPE minmax GRANULARITY 1,
    INDEX raw_offset raw_offset TYPE minmax GRANULARITY 1,
    -- What the reports read while a day is open. Projections are part of the same data part as the rows, so they cannot disagree.
    PROJECTION by_campaign_day
    (
        SELECT outcome, type, toDate(event_time), campaign, channel, counted, currency, count(), sum(value_minor)
        GROUP BY outcome, type, toDate(event_time), campaign, channel, counted, currency
    ),
    PROJECTION by_link_hour
    (
        SELECT link_id, outcome, type, toStartOfHour(event_time), domain, slug, counted, count()
        GROUP BY link_id, outcome, type, toStartOfHour(event_time), domain, slug, counted
    ),
    -- The ledger: a bitmap holds 65,536 offsets, so a bucket's rows are compared with its distinct offsets without a read of them.
    PROJECTION by_lane_bucket
    (
        SELECT incarnation, lane, intDiv(raw_offset, 65536), count(), groupBitmap(toUInt32(raw_offset % 65536)),
            min(raw_offset), max(raw_offset), max(cut), max(received_at)
        GROUP BY incarnation, lane, intDiv(raw_offset, 65536)
    )
)
ENGINE = {engine}
-- By received month, which only grows: a block is one part, two at the turn of a month.
PARTITION BY toYYYYMM(received_at)
ORDER BY (outcome, type, toDate(event_time), campaign, link_id, event_time)
SETTINGS {window} = 60000, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'One row per record of raw, whatever became of it. Analysts read the views.'
