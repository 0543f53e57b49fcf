SELECT
    toDate(event_time) AS day, launch, link_kind, domain, slug,
    countIf(counted = 'human') AS clicks,
    countIf(counted = 'bot') AS bot_clicks,
    countIf(counted = 'internal') AS internal_clicks,
    count() AS raw_clicks
FROM {records}
WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND (launch != '' OR link_kind = 'bio')
GROUP BY day, launch, link_kind, domain, slug
