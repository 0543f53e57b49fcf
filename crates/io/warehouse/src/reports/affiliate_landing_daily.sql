SELECT
    day, partner, source, utm_source, landing_host, landing_path, approved,
    sumIf(n, visit AND counted = 'human') AS clicks,
    sumIf(n, visit AND counted = 'bot') AS bot_clicks,
    sumIf(n, visit AND counted = 'internal') AS internal_clicks,
    sumIf(n, visit) AS raw_clicks,
    sumIf(n, type = 'lead') AS leads,
    sumIf(n, type = 'sale') AS sales,
    sumMapIf(map(currency, value), type = 'sale') AS revenue_minor
FROM
(
    SELECT
        toDate(event_time) AS day, partner, source, utm_source, destination_host AS landing_host,
        destination_path AS landing_path, partner_approved AS approved, type, counted, currency,
        type IN ('click', 'qr_scan') AS visit, count() AS n, sum(value_minor) AS value
    FROM {records}
    WHERE outcome = 'event' AND type IN ('click', 'qr_scan', 'lead', 'sale') AND partner != ''
    GROUP BY day, partner, source, utm_source, landing_host, landing_path, approved, type, counted, currency
)
GROUP BY day, partner, source, utm_source, landing_host, landing_path, approved
