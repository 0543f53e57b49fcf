-- People in a group: the distinct human visitors that are known, and each human scan without one; likewise our own people.
-- A group is small if it has people, and fewer than the smallest group. Small groups of a day, programme and placement are
-- one row without geography. If that row had fewer people than the smallest group, what is missing from a total could be
-- told apart, so the next groups by size join it until it has enough. So a row with a geography is never small, and nor is
-- the rest that a total leaves, unless the placement as a whole is.
SELECT
    day, programme, placement,
    toLowCardinality(if(unseen, '', group_country)) AS country,
    toLowCardinality(if(unseen, '', group_region)) AS region,
    unseen AS hidden,
    sum(group_scans) AS scans,
    sum(group_bots) AS bot_scans,
    sum(group_internal) AS internal_scans,
    sum(group_raw) AS raw_scans
FROM
(
    SELECT
        *,
        max(small) OVER placements AS some_small,
        ifNull(sum(people) OVER (PARTITION BY day, programme, placement ORDER BY small DESC, people, group_country, group_region
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS people_before,
        (group_country != '' OR group_region != '') AND some_small AND (small OR people_before < {smallest_group}) AS unseen
    FROM
    (
        SELECT
            toDate(event_time) AS day, programme, placement,
            toStringCutToZero(country) AS group_country,
            toString(region) AS group_region,
            uniqExactIf(visitor, visitor != 0 AND counted = 'human') + countIf(visitor = 0 AND counted = 'human') AS humans,
            uniqExactIf(visitor, visitor != 0 AND counted = 'internal') + countIf(visitor = 0 AND counted = 'internal') AS ours,
            -- What is not known has no geography to hide, and hides nobody else's.
            if(group_country = '' AND group_region = '', 0, humans) AS people,
            (group_country != '' OR group_region != '')
                AND ((humans > 0 AND humans < {smallest_group}) OR (ours > 0 AND ours < {smallest_group})) AS small,
            countIf(counted = 'human') AS group_scans,
            countIf(counted = 'bot') AS group_bots,
            countIf(counted = 'internal') AS group_internal,
            count() AS group_raw
        FROM {records}
        WHERE outcome = 'event' AND type = 'qr_scan'
        GROUP BY day, programme, placement, group_country, group_region
    )
    WINDOW placements AS (PARTITION BY day, programme, placement)
)
GROUP BY day, programme, placement, country, region, hidden
