-- Offsets of raw have no gap, so neither have the rows of a lane: every bucket of 65,536 offsets is compared with what it must hold.
-- The two databases share the lanes. A lane's first bucket may have lost its head to retention; its last one ends where the lane does.
WITH
    rows_of_bucket AS
    (
        SELECT incarnation, lane, bucket, sum(n) AS n, sum(distinct_offsets) AS present, min(low) AS low, max(high) AS high, max(at) AS at
        FROM
        (
            SELECT
                incarnation, lane, intDiv(raw_offset, 65536) AS bucket, count() AS n,
                groupBitmap(toUInt32(raw_offset % 65536)) AS distinct_offsets, min(raw_offset) AS low, max(raw_offset) AS high,
                max(received_at) AS at
            FROM {production}.records
            GROUP BY incarnation, lane, bucket
            UNION ALL
            SELECT
                incarnation, lane, intDiv(raw_offset, 65536) AS bucket, count() AS n,
                groupBitmap(toUInt32(raw_offset % 65536)) AS distinct_offsets, min(raw_offset) AS low, max(raw_offset) AS high,
                max(received_at) AS at
            FROM {test}.records
            GROUP BY incarnation, lane, bucket
        )
        GROUP BY incarnation, lane, bucket
    ),
    settled AS
    (
        SELECT incarnation, lane, max(raw_hi) AS raw_hi FROM {production}.lane_watermarks GROUP BY incarnation, lane
    ),
    -- A lane that says how far it is settled and has no row at all is all missing.
    ends AS
    (
        SELECT incarnation, lane, bucket, n, low, at, high + 1 AS stop FROM rows_of_bucket
        UNION ALL
        SELECT incarnation, lane, 0 AS bucket, 0 AS n, 0 AS low, toDateTime64(0, 3, 'UTC') AS at, raw_hi AS stop FROM settled
    ),
    lanes AS
    (
        SELECT
            incarnation, lane,
            -- A head that is gone is retention's only where what is left begins long ago: in a table that was emptied it begins lately.
            multiIf(
                sum(n) = 0 OR minIf(bucket, n > 0) = 0, 0,
                argMinIf(at, bucket, n > 0) > now() - INTERVAL {half_retention} DAY, 0,
                minIf(low, n > 0)
            ) AS start,
            max(ends.stop) AS stop
        FROM ends
        GROUP BY incarnation, lane
        HAVING stop > start
    ),
    buckets AS
    (
        SELECT incarnation, lane, start, stop, arrayJoin(range(intDiv(start, 65536), intDiv(toUInt64(stop - 1), 65536) + 1)) AS bucket
        FROM lanes
    ),
    -- What a person has acknowledged as lost: of ranges that overlap, the later one counts from where those before it end.
    acknowledged AS
    (
        SELECT incarnation, lane, greatest(first_offset, before) AS begins, last_offset
        FROM
        (
            SELECT
                incarnation, lane, first_offset, last_offset,
                max(last_offset + 1) OVER
                (
                    PARTITION BY incarnation, lane ORDER BY first_offset, last_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS before
            FROM (SELECT DISTINCT incarnation, lane, first_offset, last_offset FROM {production}.lost_records)
        ) AS ranges
        WHERE before <= last_offset
    ),
    -- The same, within what the lane is expected to hold.
    losses AS
    (
        SELECT
            incarnation, lane, greatest(begins, start) AS lo, least(last_offset + 1, stop) AS hi,
            arrayJoin(range(intDiv(lo, 65536), intDiv(toUInt64(greatest(hi, 1) - 1), 65536) + 1)) AS bucket
        FROM acknowledged
        INNER JOIN lanes USING (incarnation, lane)
        WHERE greatest(begins, start) < least(last_offset + 1, stop)
    ),
    lost_of_bucket AS
    (
        SELECT incarnation, lane, bucket, sum(least(hi, (bucket + 1) * 65536) - greatest(lo, bucket * 65536)) AS lost
        FROM losses
        GROUP BY incarnation, lane, bucket
    )
SELECT
    incarnation, lane, bucket,
    greatest(start, bucket * 65536) AS first_offset,
    least(stop, (bucket + 1) * 65536) - 1 AS last_offset,
    n AS records,
    last_offset - first_offset + 1 AS expected,
    toInt64(expected) - toInt64(present) - toInt64(lost) AS missing,
    n - present AS repeated,
    lost
FROM buckets
LEFT JOIN rows_of_bucket USING (incarnation, lane, bucket)
LEFT JOIN lost_of_bucket USING (incarnation, lane, bucket)
