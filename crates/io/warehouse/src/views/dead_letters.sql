-- What was decided stands beside the rows. Where nothing was noted a redrive is known by its own row, in whichever database that rests.
-- One that was begun and did not end may have been cut in the middle of its records: it is open.
SELECT {columns}, multiIf(decision = 'redriving', 'open', decision != '', decision, copy != '', 'redriven', 'open') AS state, decided_at, decided_by, decided_why
FROM
(
    SELECT {columns}, concat(incarnation, '/', toString(lane), '/', toString(raw_offset)) AS letter
    FROM {database}.records
    WHERE outcome = 'dead_letter'
) AS letters
LEFT JOIN
(
    SELECT
        incarnation, lane, raw_offset, argMax(decision, at)::String AS decision, max(at) AS decided_at,
        argMax(who, at) AS decided_by, argMax(why, at) AS decided_why
    FROM {production}.dead_letter_decisions
    GROUP BY incarnation, lane, raw_offset
) AS decisions USING (incarnation, lane, raw_offset)
LEFT JOIN
(
    SELECT DISTINCT letter, letter AS copy
    FROM
    (
        SELECT concat(incarnation, '/', redrive_of) AS letter FROM {production}.records WHERE redrive_of != ''
        UNION ALL
        SELECT concat(incarnation, '/', redrive_of) AS letter FROM {test}.records WHERE redrive_of != ''
    )
) AS redrives USING (letter)
