SELECT
    toDate(hour) AS day, hour, link_id, domain, slug,
    sumIf(n, counted = 'human') AS clicks,
    sumIf(n, type = 'qr_scan' AND counted = 'human') AS qr_scans,
    sumIf(n, counted = 'bot') AS bot_clicks,
    sumIf(n, counted = 'internal') AS internal_clicks,
    sum(n) AS raw_clicks
FROM
(
    SELECT link_id, toStartOfHour(event_time) AS hour, domain, slug, type, counted, count() AS n
    FROM {records}
    WHERE outcome = 'event' AND type IN ('click', 'qr_scan')
    GROUP BY link_id, outcome, type, hour, domain, slug, counted
)
GROUP BY hour, link_id, domain, slug
