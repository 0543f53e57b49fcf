-- Rows here are a failure.
SELECT week, campaign, bot_share
FROM {{ ref('campaign_weekly') }}
WHERE bot_share < 0 OR bot_share > 1
