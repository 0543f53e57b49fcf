SELECT
    toDate(event_time) AS day,
    toLowCardinality(tupleElement(grouping, 1)) AS dimension,
    tupleElement(grouping, 2) AS value,
    uniqExactIf(visitor, visitor != 0) AS visitors,
    count() AS clicks,
    countIf(visitor != 0) AS clicks_with_visitor,
    clicks_with_visitor / clicks AS coverage
FROM {records}
ARRAY JOIN
    [('all', ''), ('campaign', campaign::String), ('link', link_id), ('programme', programme::String), ('partner', partner::String)] AS grouping
WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND counted = 'human'
    AND (value != '' OR dimension IN ('all', 'campaign'))
GROUP BY day, dimension, value
