-- Each period beside the one before it: a row counts once as itself and once as the past of the next.
SELECT
    period AS {period}, campaign, channel,
    sumIf(pair.clicks, now) AS clicks, sumIf(pair.clicks, NOT now) AS clicks_before,
    sumIf(pair.qr_scans, now) AS qr_scans, sumIf(pair.raw_clicks, now) AS raw_clicks,
    sumIf(pair.leads, now) AS leads, sumIf(pair.leads, NOT now) AS leads_before,
    sumIf(pair.sales, now) AS sales, sumIf(pair.sales, NOT now) AS sales_before,
    sumMapIf(pair.revenue_minor, now) AS revenue_minor
FROM
(
    SELECT arrayJoin([true, false]) AS now, {start}(if(now, day, day + INTERVAL 1 {unit})) AS period, *
    FROM {database}.campaign_channel_daily
) AS pair
GROUP BY period, campaign, channel
HAVING period <= {start}(toDate(now('UTC')))
