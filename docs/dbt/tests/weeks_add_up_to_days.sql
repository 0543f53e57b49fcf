-- Rows here are a failure: the model and the report that it is made of count the same clicks.
SELECT modelled, reported
FROM (SELECT sum(human_clicks) AS modelled FROM {{ ref('campaign_weekly') }}) AS model
CROSS JOIN (SELECT sum(clicks) AS reported FROM {{ source('hookline', 'campaign_channel_daily') }}) AS report
WHERE modelled != reported
