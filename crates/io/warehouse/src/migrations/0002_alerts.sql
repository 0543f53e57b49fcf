CREATE TABLE IF NOT EXISTS {database}.alert_log{on_cluster}
(
{columns},
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = {replacing_engine}
PARTITION BY toYYYYMM(received_at)
ORDER BY (rule, alert_id)
SETTINGS {window} = 10000, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'Alerts as they were read, at least once. The view alerts shows each once.'
