SELECT
    day, campaign, channel,
    sumIf(n, visit AND counted = 'human') AS clicks,
    sumIf(n, type = 'qr_scan' AND counted = 'human') AS qr_scans,
    sumIf(n, visit AND counted = 'bot') AS bot_clicks,
    sumIf(n, visit AND counted = 'internal') AS internal_clicks,
    sumIf(n, visit) AS raw_clicks,
    sumIf(n, type = 'lead') AS leads,
    sumIf(n, type = 'sale') AS sales,
    sumMapIf(map(currency, value), type = 'sale') AS revenue_minor
FROM
(
    SELECT
        toDate(event_time) AS day, campaign, channel, type, counted, currency,
        type IN ('click', 'qr_scan') AS visit, count() AS n, sum(value_minor) AS value
    FROM {records}
    WHERE outcome = 'event' AND type IN ('click', 'qr_scan', 'lead', 'sale')
    GROUP BY outcome, type, day, campaign, channel, counted, currency
)
GROUP BY day, campaign, channel
