-- A link over all of its days: since when it is used, and how much.
SELECT
    link_id,
    any(domain)::String AS short_domain,
    any(slug) AS short_path,
    min(day) AS first_day,
    max(day) AS last_day,
    sum(clicks) AS human_clicks,
    sum(raw_clicks) AS all_clicks
FROM {{ source('hookline', 'link_hourly') }}
GROUP BY link_id
