CREATE TABLE IF NOT EXISTS {database}.lane_watermarks{on_cluster}
(
{columns}
)
ENGINE = {replacing_engine}(watermark)
ORDER BY (incarnation, lane)
SETTINGS {window} = 1000
COMMENT 'How far each lane is settled, as the report service said. The views ledger and completeness read it.'
