CREATE TABLE IF NOT EXISTS {database}.{table}{on_cluster}
(
{columns},
    -- A row a day: what the view asks before it decides whether a day is closed.
    PROJECTION days (SELECT day, max(closed_records), max(closed_at) GROUP BY day)
)
ENGINE = {engine}
PARTITION BY day
ORDER BY ({key})
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'Closed days of the report {report}. One more row a day (closed_at is set) says when and over how many records.'
