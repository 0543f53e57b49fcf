-- Visits of a visitor in their order, runs of one link as one: if three links within two seconds are among them, the third comes
-- after exactly two others, so neighbours are all that has to be looked at.
SELECT
    day,
    campaign,
    uniqExact(visitor) AS visitors,
    uniqExactIf(visitor, hurried) AS hurried_visitors,
    count() AS clicks,
    countIf(hurried) AS hurried_clicks
FROM
(
    SELECT
        day,
        visitor,
        tupleElement(arrayJoin(visits), 3) AS campaign,
        arrayExists(
            (third, first) -> tupleElement(third, 2) != tupleElement(first, 2) AND tupleElement(third, 1) - tupleElement(first, 1) <= 2000,
            arraySlice(starts, 3), arraySlice(ends, 1, length(ends) - 2)) AS hurried
    FROM
    (
        SELECT
            day,
            visitor,
            visits,
            arrayMap(visit -> tupleElement(visit, 2), visits) AS links,
            arrayFilter((visit, link, before, at) -> at = 1 OR link != before,
                visits, links, arrayPushFront(arrayPopBack(links), ''), arrayEnumerate(links)) AS starts,
            arrayFilter((visit, link, after, at) -> at = length(links) OR link != after,
                visits, links, arrayPushBack(arrayPopFront(links), ''), arrayEnumerate(links)) AS ends
        FROM
        (
            SELECT
                toDate(event_time) AS day,
                visitor,
                arraySort(groupArray((toUnixTimestamp64Milli(event_time), link_id, campaign))) AS visits
            FROM {records}
            WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND counted = 'human' AND visitor != 0
            GROUP BY day, visitor
        )
    )
)
GROUP BY day, campaign
