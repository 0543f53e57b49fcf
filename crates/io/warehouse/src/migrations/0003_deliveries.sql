CREATE TABLE IF NOT EXISTS {database}.delivery_log{on_cluster}
(
{columns},
    INDEX bundle_id bundle_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {replacing_engine}
PARTITION BY toYYYYMM(at)
ORDER BY (destination, bundle_id, at, stage, attempt)
SETTINGS {window} = 10000, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'Steps of deliveries as they were read, at least once. The views deliveries and delivery_attempts show each once.'
