-- A campaign by week, with its share of clicks that bots made.
{{ config(materialized='table', order_by='(week, campaign, channel)') }}
SELECT
    toMonday(day) AS week,
    campaign::String AS campaign,
    channel::String AS channel,
    sum(clicks) AS human_clicks,
    sum(leads) AS all_leads,
    sum(sales) AS all_sales,
    if(sum(raw_clicks) = 0, 0, sum(bot_clicks) / sum(raw_clicks)) AS bot_share
FROM {{ source('hookline', 'campaign_channel_daily') }}
GROUP BY week, campaign, channel
