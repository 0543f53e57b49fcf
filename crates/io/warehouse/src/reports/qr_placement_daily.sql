-- People in a group: the distinct visitors that are known, and each scan without one.
SELECT
    day, programme, placement,
    toLowCardinality(if(small, '', group_country)) AS country,
    toLowCardinality(if(small, '', group_region)) AS region,
    small AS hidden,
    sum(group_scans) AS scans,
    sum(group_bots) AS bot_scans,
    sum(group_internal) AS internal_scans,
    sum(group_raw) AS raw_scans
FROM
(
    SELECT
        toDate(event_time) AS day, programme, placement,
        toStringCutToZero(country) AS group_country,
        toString(region) AS group_region,
        uniqExactIf(visitor, visitor != 0) + countIf(visitor = 0) AS people,
        (group_country != '' OR group_region != '') AND people < {smallest_group} AS small,
        countIf(counted = 'human') AS group_scans,
        countIf(counted = 'bot') AS group_bots,
        countIf(counted = 'internal') AS group_internal,
        count() AS group_raw
    FROM {records}
    WHERE outcome = 'event' AND type = 'qr_scan'
    GROUP BY day, programme, placement, group_country, group_region
)
GROUP BY day, programme, placement, country, region, hidden
