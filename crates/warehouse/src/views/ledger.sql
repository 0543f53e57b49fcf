-- Offsets of raw have no gap, so neither have the rows of a lane: every bucket of 65,536 offsets is compared with what it must hold.
-- The two databases share the lanes. A lane's first bucket may have lost its head to retention; its last one ends where the lane does.
WITH
    rows_of_bucket AS
    (
        SELECT incarnation, lane, bucket, sum(n) AS n, sum(distinct_offsets) AS present, min(low) AS low, max(high) AS high
        FROM
        (
            SELECT
                incarnation, lane, intDiv(raw_offset, 65536) AS bucket, count() AS n,
                groupBitmap(toUInt32(raw_offset % 65536)) AS distinct_offsets, min(raw_offset) AS low, max(raw_offset) AS high
            FROM {production}.records
            GROUP BY incarnation, lane, bucket
            UNION ALL
            SELECT
                incarnation, lane, intDiv(raw_offset, 65536) AS bucket, count() AS n,
                groupBitmap(toUInt32(raw_offset % 65536)) AS distinct_offsets, min(raw_offset) AS low, max(raw_offset) AS high
            FROM {test}.records
            GROUP BY incarnation, lane, bucket
        )
        GROUP BY incarnation, lane, bucket
    ),
    settled AS
    (
        SELECT incarnation, lane, max(raw_hi) AS raw_hi FROM {production}.lane_watermarks GROUP BY incarnation, lane
    ),
    lanes AS
    (
        SELECT
            incarnation, lane, if(min(bucket) = 0, 0, min(low)) AS start,
            greatest(max(high) + 1, any(settled.raw_hi)) AS stop
        FROM rows_of_bucket LEFT JOIN settled USING (incarnation, lane)
        GROUP BY incarnation, lane
    ),
    buckets AS
    (
        SELECT incarnation, lane, start, stop, arrayJoin(range(intDiv(start, 65536), intDiv(toUInt64(stop - 1), 65536) + 1)) AS bucket
        FROM lanes
    )
SELECT
    incarnation, lane, bucket,
    greatest(start, bucket * 65536) AS first_offset,
    least(stop, (bucket + 1) * 65536) - 1 AS last_offset,
    n AS records,
    last_offset - first_offset + 1 AS expected,
    toInt64(expected) - toInt64(present) AS missing,
    n - present AS repeated
FROM buckets LEFT JOIN rows_of_bucket USING (incarnation, lane, bucket)
