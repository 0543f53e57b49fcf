SELECT
    rule,
    toMonday(at) AS week,
    sum(raised) AS alerts,
    sum(planned) AS messages,
    sum(silenced) AS held_back,
    sum(taken_care_of) AS acknowledged,
    sum(given_up) AS failed,
    sum(has_ended) AS ended,
    sum(soon) AS ended_soon,
    if(ended = 0, 0, ended_soon / ended) AS ended_soon_share
FROM
(
    -- An alert that ends is its start, by when the next alert of its key says that it is over.
    SELECT rule, started AS at, 1 AS raised, 0 AS planned, 0 AS silenced, 0 AS taken_care_of, 0 AS given_up,
        next = 'resolved' AS has_ended, has_ended AND next_at < started + INTERVAL 10 MINUTE AS soon
    FROM
    (
        SELECT rule, transition, window_end AS started,
            leadInFrame(toString(transition)) OVER turns AS next, leadInFrame(window_end) OVER turns AS next_at
        FROM {database}.alert_log FINAL
        WHERE transition != 'each' AND attributes['{note}'] = ''
        WINDOW turns AS (PARTITION BY rule, key ORDER BY window_end, transition ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
    )
    WHERE transition = 'fired'
    UNION ALL
    SELECT rule, window_end AS at, 1, 0, 0, 0, 0, 0, 0 FROM {database}.alert_log FINAL
    WHERE transition = 'each' AND attributes['{note}'] = ''
    UNION ALL
    -- Reports by the calendar are asked for, and what tells a receiver of an acknowledgement disturbs no person.
    SELECT rule, at, 0,
        stage = 'planned' AND JSONExtractString(body, 'type') != 'acknowledged',
        stage = 'silenced' AND NOT startsWith(error, 'acknowledged by '),
        stage = 'silenced' AND startsWith(error, 'acknowledged by '),
        stage = 'failed', 0, 0
    FROM {database}.delivery_log FINAL
    WHERE stage IN ('planned', 'silenced', 'failed') AND `group` != '(report)'
)
GROUP BY rule, week
