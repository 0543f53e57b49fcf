-- Rows here are a failure: a source whose numbers cannot be quoted, since records have no row.
SELECT source, missing
FROM {{ source('hookline', 'completeness') }}
WHERE missing != 0
