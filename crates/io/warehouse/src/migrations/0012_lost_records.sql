CREATE TABLE IF NOT EXISTS {database}.lost_records{on_cluster}
(
{columns}
)
ENGINE = {engine}
ORDER BY (incarnation, lane, first_offset)
SETTINGS {window} = 1000
COMMENT 'Ranges of raw that are gone for good, acknowledged by somebody. The view ledger counts them as lost, not as missing.'
