-- From clicks to sales, by day and campaign. Of days that are complete alone: the others are still growing.
-- A whole table each time, not an increment: late events change days that are over, and so does an erasure.
{{ config(materialized='table', order_by='(day, campaign)') }}
WITH (SELECT toDate(min(complete_through)) FROM {{ source('hookline', 'completeness') }}) AS complete_to
SELECT
    day,
    campaign::String AS campaign,
    sum(clicks) AS human_clicks,
    sum(leads) AS all_leads,
    sum(sales) AS all_sales,
    if(human_clicks = 0, 0, all_sales / human_clicks) AS sales_per_click
FROM {{ source('hookline', 'campaign_channel_daily') }}
WHERE day < complete_to
GROUP BY day, campaign
