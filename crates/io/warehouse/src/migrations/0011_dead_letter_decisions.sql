CREATE TABLE IF NOT EXISTS {database}.dead_letter_decisions{on_cluster}
(
{columns}
)
ENGINE = {engine}
ORDER BY (incarnation, lane, raw_offset, at)
SETTINGS {window} = 1000, ttl_only_drop_parts = 1
COMMENT 'What people decided about dead letters, each decision a row: the newest counts. The view dead_letters reads it.'
