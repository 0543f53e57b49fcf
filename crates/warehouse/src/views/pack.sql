-- Each period beside the one before it: a row counts once as itself and once as the past of the next.
SELECT
    period AS {period}, campaign, channel,
    sumIf(clicks, now) AS clicks, sumIf(clicks, NOT now) AS clicks_before,
    sumIf(qr_scans, now) AS qr_scans, sumIf(raw_clicks, now) AS raw_clicks,
    sumIf(leads, now) AS leads, sumIf(leads, NOT now) AS leads_before,
    sumIf(sales, now) AS sales, sumIf(sales, NOT now) AS sales_before,
    sumMapIf(revenue_minor, now) AS revenue_minor
FROM
(
    SELECT arrayJoin([true, false]) AS now, {start}(if(now, day, day + INTERVAL 1 {unit})) AS period, *
    FROM {database}.campaign_channel_daily
)
GROUP BY period, campaign, channel
HAVING period <= {start}(today('UTC'))
