-- A lane is complete up to its watermark; the whole is as complete as its slowest lane.
WITH
    (
        SELECT argMax(incarnation, at)
        FROM
        (
            SELECT incarnation, max(received_at) AS at FROM {production}.records GROUP BY incarnation
            UNION ALL
            SELECT incarnation, max(received_at) AS at FROM {test}.records GROUP BY incarnation
            UNION ALL
            SELECT incarnation, max(watermark) AS at FROM {production}.lane_watermarks GROUP BY incarnation
        )
    ) AS current,
    (
        SELECT min(through)
        FROM
        (
            SELECT lane, max(at) AS through
            FROM
            (
                -- A time to come is that of a broker whose clock ran ahead, and says nothing. By the ledger's buckets, which a projection holds.
                SELECT lane, maxIf(at, at <= now64(3)) AS at
                FROM
                (
                    SELECT lane, max(received_at) AS at FROM {production}.records
                    WHERE incarnation = current GROUP BY incarnation, lane, intDiv(raw_offset, 65536)
                    UNION ALL
                    SELECT lane, max(received_at) AS at FROM {test}.records
                    WHERE incarnation = current GROUP BY incarnation, lane, intDiv(raw_offset, 65536)
                )
                GROUP BY lane
                UNION ALL
                SELECT lane, max(watermark) AS at FROM {production}.lane_watermarks WHERE incarnation = current GROUP BY lane
            )
            GROUP BY lane
        )
    ) AS through,
    (SELECT sum(missing) FROM {database}.ledger WHERE incarnation = current) AS holes
SELECT
    source,
    through AS complete_through,
    holes AS missing,
    toUInt32(greatest(intDiv(now64(3)::Decimal64(3) - through::Decimal64(3), 60), 0)) AS waiting_minutes,
    multiIf(missing != 0, 'missing', waiting_minutes > 0, 'waiting', 'complete') AS state,
    max(received_at) AS last_seen,
    count() AS records,
    countIf(outcome = 'duplicate') AS duplicates,
    countIf(outcome = 'dead_letter') AS dead_letters,
    countIf(outcome = 'event' AND received_at - event_time > 3600) / greatest(countIf(outcome = 'event'), 1) AS late_share
FROM {database}.records
WHERE received_at > now() - INTERVAL 7 DAY AND outcome != 'erased'
GROUP BY source
