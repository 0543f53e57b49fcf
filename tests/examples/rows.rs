//! How long analysts wait: the reports and the views over many rows, beside the same rows in a plain table.
//!
//! ```text
//! cargo build --release -p hookline
//! cargo run --release -p hookline-tests --example rows -- [ROWS] [DAYS] [FOLDER]
//! ```
//!
//! Made-up events of 100,000 links (100 million over 365 days unless told) go into a ClickHouse of their own as
//! `report` lays them out; the days but for the last two are closed as `report` closes them; then each question is
//! asked as the analyst's user: once cold (ClickHouse's caches dropped, and the machine's cache of files where this
//! may), and seven times warm, of which the median counts. The plain table has the same rows, ordered by time, without
//! projections, indexes and chosen codecs, and is asked the same. A folder that is named is kept, and one that has rows
//! is only asked.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clickhouse::Client;
use event::Millis;
use testkit::House;
use testkit::clickhouse::Asker;
use warehouse::{LaneWatermark, Layout, REPORTS, Settings, Side, Warehouse};

const LANES: u64 = 12;
/// How often a question is asked warm.
const TIMES: usize = 7;
/// How long merges may take after the last row.
const MERGED: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let argument = |place: usize, unless_told: u64| {
        std::env::args().nth(place).map_or(Ok(unless_told), |number| number.parse::<u64>())
    };
    let (rows, days) = (argument(1, 100_000_000)?, argument(2, 365)?);
    let (passing, named) = (tempfile::tempdir()?, std::env::args().nth(3).map(PathBuf::from));
    let folder = named.as_deref().unwrap_or(passing.path());
    std::fs::create_dir_all(folder)?;
    // Brokers that are given are not started, and nothing here asks them anything.
    let house = House::up(&folder.join("data"), &["--engines-only", "--brokers", "127.0.0.1:1"])?;
    let settings = Settings { url: house.addresses.clickhouse.clone(), ..Settings::default() };
    let warehouse = Warehouse::connect(&settings).await?;
    let layout = Layout::default();
    warehouse.migrate(&layout).await?;
    let (client, database) = (client(&settings), warehouse.database(Side::Production).to_owned());
    let asker = Asker::new(&settings.url, "analyst", "")?;

    if asker.number(&format!("SELECT count() FROM {database}.records")).await? == 0 {
        make(&warehouse, &layout, &client, rows, days).await?;
    }
    let parts = merged(&asker, &database).await?;
    for table in ["records", "plain"] {
        let sql = format!(
            "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = '{database}' AND table = '{table}'"
        );
        println!("`{table}`: {} bytes a row on disk.", asker.one(&sql).await?);
    }
    let closed = asker.number(&format!("SELECT uniqExact(day) FROM {database}.closed_days")).await?;
    println!("{parts} parts of `records`; {closed} of {days} days are closed.\n");
    println!("| question | cold ms | warm ms | plain table, warm ms |\n|---|---|---|---|");
    for question in questions(&asker, &database).await? {
        let cold = cold(&client, &asker, &question.sql).await?;
        let warm = warm(&asker, &question.sql).await?;
        let plain = match &question.plain {
            Some(sql) => format!("{:.0}", warm_of(&asker, sql).await?),
            None => "–".to_owned(),
        };
        println!("| {} | {cold:.0} | {warm:.0} | {plain} |", question.name);
    }
    Ok(())
}

/// Rows, their copy and the closed days.
async fn make(warehouse: &Warehouse, layout: &Layout, client: &Client, rows: u64, days: u64) -> anyhow::Result<()> {
    let database = warehouse.database(Side::Production);
    // Old rows come without identifiers: to clear them again would hold all columns of a merge in memory.
    client.query_raw(&format!("SYSTEM STOP TTL MERGES {database}.records")).execute().await?;
    let begun = Instant::now();
    let a_day = rows / days;
    for past in (0..days).rev() {
        client.query_raw(&day_of_rows(database, (days - 1 - past) * a_day, a_day, past)).execute().await?;
    }
    let watermark = Millis(jiff::Timestamp::now().as_millisecond());
    let settled = |lane: u16| (a_day * days).saturating_sub(u64::from(lane)).div_ceil(LANES);
    let lanes: Vec<_> =
        (0..LANES as u16).map(|lane| LaneWatermark { lane, raw_hi: settled(lane), watermark }).collect();
    warehouse.save_watermarks("made-up", &lanes).await?;
    eprintln!("rows: {rows} made in {:.0} s", begun.elapsed().as_secs_f64());
    let plain = format!(
        "CREATE TABLE {database}.plain ENGINE = MergeTree ORDER BY event_time AS SELECT * FROM {database}.records"
    );
    client.query_raw(&plain).execute().await?;
    eprintln!("rows: copied after {:.0} s", begun.elapsed().as_secs_f64());

    let today = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    for past in (2..days).rev() {
        let day = today.checked_sub(jiff::Span::new().try_days(past as i64)?)?;
        for report in REPORTS {
            warehouse.close_day(Side::Production, layout, report, day).await?;
        }
    }
    eprintln!("rows: {} days closed after {:.0} s", days.saturating_sub(2), begun.elapsed().as_secs_f64());
    Ok(())
}

/// A block of a day: clicks, scans, leads, sales and duplicates, in the order of their arrival.
fn day_of_rows(database: &str, first: u64, rows: u64, past: u64) -> String {
    format!(
        "INSERT INTO {database}.records (outcome, type, event_time, received_at, counted, counted_by, source, secret_id, event_key, \
            request_id, link_id, link_kind, domain, slug, destination_host, destination_path, redirect_status, owner, intent, \
            campaign, channel, utm_source, utm_medium, utm_campaign, programme, qr_id, placement, partner, partner_approved, launch, \
            referrer_class, referrer_host, country, region, device, os, browser, visitor, value_minor, currency, trace, \
            first_offset, duplicate_delay, config_version, catalogue_version, schema_version, raw_offset, incarnation, lane, cut) \
        WITH cityHash64(number) AS h, number - {first} AS place, \
            toUInt32(floor(100000 * pow((h % 1000003) / 1000003, 3))) AS link, link % 200 AS drive, \
            intDiv(h, 1000) % 1000 AS kind, intDiv(h, 1000000) % 100 AS who, \
            multiIf(kind < 760, 'click', kind < 960, 'qr_scan', kind < 990, 'lead', 'sale') AS what, \
            kind % 100 = 7 AS again, \
            addMilliseconds(toDateTime64(today() - {past}, 3, 'UTC'), \
                intDiv(place * if({past} = 0, (toUnixTimestamp(now()) - toUnixTimestamp(today())) * 1000, 86400000), {rows})) AS at \
        SELECT if(again, 'duplicate', 'event'), what, subtractMilliseconds(at, h % 3000), at, \
            multiIf(who < 80, 'human', who < 96, 'bot', 'internal'), multiIf(who < 80, '', who < 96, 'crawler-user-agents', 'internal'), \
            ['dub', 'bitly', 'rebrandly', 'shortio'][drive % 4 + 1], 'first', concat(what, ':', hex(h)), \
            if({past} < 30, toString(reinterpretAsUUID(concat(reinterpretAsFixedString(h), reinterpretAsFixedString(number)))), ''), concat('link_', hex(cityHash64(link))), ['promo', 'proposal', 'bio', 'affiliate'][drive % 4 + 1], \
            concat('go', toString(drive % 5), '.example.com'), concat('s', toString(link)), concat('shop', toString(drive % 20), '.example.com'), \
            concat('/p/', toString(link % 5000)), 302, concat('team-', toString(drive % 12)), '', concat('campaign-', toString(drive)), \
            if(what = 'qr_scan', 'qr', ['email', 'social', 'paid', 'affiliate', 'direct'][link % 5 + 1]), \
            ['newsletter', 'instagram', 'google', 'partner', ''][link % 5 + 1], ['email', 'social', 'cpc', 'affiliate', ''][link % 5 + 1], \
            concat('campaign-', toString(drive)), if(what = 'qr_scan', concat('programme-', toString(drive % 8)), ''), \
            if(what = 'qr_scan', concat('qr_', toString(link % 3000)), ''), if(what = 'qr_scan', concat('placement-', toString(link % 40)), ''), \
            if(link % 5 = 3, concat('partner-', toString(drive % 60)), ''), link % 3 > 0, if(drive % 10 = 0, concat('launch-', toString(drive)), ''), \
            ['email', 'social', 'search', 'other', 'direct'][link % 5 + 1], ['', 'l.instagram.com', 'www.google.com', 'partner.example', ''][link % 5 + 1], \
            ['DE', 'US', 'GB', 'FR', 'JP', 'BR', 'IN', ''][intDiv(h, 7) % 8 + 1], '', ['mobile', 'desktop', 'tablet'][intDiv(h, 11) % 3 + 1], \
            ['iOS', 'Android', 'Windows', 'macOS'][intDiv(h, 13) % 4 + 1], ['Chrome', 'Safari', 'Firefox', 'Edge'][intDiv(h, 17) % 4 + 1], \
            if({past} < 30, cityHash64({past}, intDiv(h, 100) % greatest(intDiv({rows}, 3), 1)), 0), if(what = 'sale', h % 20000, 0), if(what = 'sale', 'EUR', ''), \
            [if(who < 80, 'counted:human', 'counted:bot'), 'catalogue:known'], \
            if(again, intDiv(number, {LANES}) - 1, 0), if(again, 30000, 0), 'f0d980f4f382', 1, 1, intDiv(number, {LANES}), 'made-up', number % {LANES}, {past} + 1 \
        FROM numbers({first}, {rows})"
    )
}

fn client(settings: &Settings) -> Client {
    Client::default().with_url(&settings.url).with_user(&settings.user).with_password(&settings.password)
}

/// Waits until nothing is merged any more. How many parts `records` has then.
async fn merged(asker: &Asker, database: &str) -> anyhow::Result<u64> {
    let parts =
        format!("SELECT count() FROM system.parts WHERE active AND database = '{database}' AND table = 'records'");
    let (deadline, mut before, mut quiet) = (Instant::now() + MERGED, 0, 0);
    while quiet < 5 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = asker.number(&parts).await? + asker.number("SELECT count() * 1000000 FROM system.merges").await?;
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    asker.number(&parts).await
}

struct Question {
    name: &'static str,
    sql: String,
    plain: Option<String>,
}

async fn questions(asker: &Asker, database: &str) -> anyhow::Result<Vec<Question>> {
    let one = async |column: &str| -> anyhow::Result<String> {
        let sql = format!("SELECT {column} FROM {database}.events WHERE toDate(event_time) = today() - 5 LIMIT 1");
        Ok(asker.one(&sql).await?.as_str().context("a text")?.to_owned())
    };
    let (link, key) = (one("link_id").await?, one("event_key").await?);
    let visits = "outcome = 'event' AND type IN ('click', 'qr_scan')";
    let month = "toDate(event_time) >= today() - 30";
    let view = |name, sql: &str| Question { name, sql: sql.replace("{d}", database), plain: None };
    let both = |name, sql: &str, plain: &str| Question {
        plain: Some(plain.replace("{d}", database).replace("{visits}", visits).replace("{month}", month)),
        ..view(name, sql)
    };
    Ok(vec![
        both(
            "`campaign_channel_daily`, 30 days by campaign and channel",
            "SELECT campaign, channel, sum(clicks), sum(leads) FROM {d}.campaign_channel_daily WHERE day >= today() - 30 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
            "SELECT campaign, channel, countIf(type IN ('click', 'qr_scan') AND counted = 'human'), countIf(type = 'lead') FROM {d}.plain WHERE outcome = 'event' AND {month} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
        ),
        both(
            "`link_hourly`, 30 days, the first 20 links",
            "SELECT link_id, sum(clicks) FROM {d}.link_hourly WHERE day >= today() - 30 GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
            "SELECT link_id, countIf(counted = 'human') FROM {d}.plain WHERE {visits} AND {month} GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
        ),
        both(
            "`qr_placement_daily`, 30 days by placement",
            "SELECT programme, placement, sum(scans) FROM {d}.qr_placement_daily WHERE day >= today() - 30 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
            "SELECT programme, placement, countIf(counted = 'human') FROM {d}.plain WHERE outcome = 'event' AND type = 'qr_scan' AND {month} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
        ),
        both(
            "`affiliate_landing_daily`, 30 days by partner",
            "SELECT partner, sum(clicks), sum(sales), sumMap(revenue_minor) FROM {d}.affiliate_landing_daily WHERE day >= today() - 30 GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
            "SELECT partner, countIf(type != 'lead' AND type != 'sale' AND counted = 'human'), countIf(type = 'sale'), sumMapIf(map(currency, value_minor), type = 'sale') FROM {d}.plain WHERE outcome = 'event' AND partner != '' AND {month} GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
        ),
        both(
            "`bio_launch_daily`, 30 days by launch",
            "SELECT launch, sum(clicks) FROM {d}.bio_launch_daily WHERE day >= today() - 30 GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
            "SELECT launch, countIf(counted = 'human') FROM {d}.plain WHERE {visits} AND (launch != '' OR link_kind = 'bio') AND {month} GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
        ),
        both(
            "one link's day in `events`, by hour",
            &format!(
                "SELECT toStartOfHour(event_time), count() FROM {{d}}.events WHERE link_id = '{link}' AND toDate(event_time) = today() - 5 GROUP BY 1 ORDER BY 1"
            ),
            &format!(
                "SELECT toStartOfHour(event_time), count() FROM {{d}}.plain WHERE outcome = 'event' AND link_id = '{link}' AND toDate(event_time) = today() - 5 GROUP BY 1 ORDER BY 1"
            ),
        ),
        both(
            "`where_is`, one event",
            &format!("SELECT outcome, received_at, lane, raw_offset FROM {{d}}.where_is WHERE event_key = '{key}'"),
            &format!("SELECT outcome, received_at, lane, raw_offset FROM {{d}}.plain WHERE event_key = '{key}'"),
        ),
        view("`completeness`", "SELECT * FROM {d}.completeness"),
        view("`ledger`", "SELECT * FROM {d}.ledger"),
        view(
            "`daily_visitors`, 30 days",
            "SELECT day, visitors FROM {d}.daily_visitors WHERE dimension = 'all' AND day >= today() - 30",
        ),
        view(
            "`visitor_pace_daily`, 30 days",
            "SELECT campaign, sum(hurried_clicks) FROM {d}.visitor_pace_daily WHERE day >= today() - 30 GROUP BY 1 ORDER BY 2 DESC LIMIT 20",
        ),
        view("`weekly_pack`", "SELECT * FROM {d}.weekly_pack"),
        view("`monthly_pack`", "SELECT * FROM {d}.monthly_pack"),
        both(
            "`clicks` of a day by country",
            "SELECT country, count() FROM {d}.clicks WHERE toDate(event_time) = today() - 5 GROUP BY 1 ORDER BY 2 DESC",
            "SELECT country, count() FROM {d}.plain WHERE {visits} AND counted = 'human' AND toDate(event_time) = today() - 5 GROUP BY 1 ORDER BY 2 DESC",
        ),
        both(
            "`event_duplicates` of a day by source",
            "SELECT source, count() FROM {d}.event_duplicates WHERE received_at >= today() - 5 AND received_at < today() - 4 GROUP BY 1",
            "SELECT source, count() FROM {d}.plain WHERE outcome = 'duplicate' AND toDate(event_time) = today() - 5 GROUP BY 1",
        ),
        view(
            "`dead_letters` of a week by reason",
            "SELECT stage, reason, count() FROM {d}.dead_letters WHERE received_at >= today() - 7 GROUP BY 1, 2",
        ),
        view(
            "`alerts` of a week by rule",
            "SELECT rule, count() FROM {d}.alerts WHERE window_end >= today() - 7 GROUP BY 1",
        ),
        view("`deliveries` of a week", "SELECT count() FROM {d}.deliveries"),
        view("`rule_noise`", "SELECT * FROM {d}.rule_noise"),
    ])
}

async fn cold(client: &Client, asker: &Asker, sql: &str) -> anyhow::Result<f64> {
    for cache in ["MARK CACHE", "UNCOMPRESSED CACHE", "INDEX MARK CACHE", "QUERY CONDITION CACHE"] {
        client.query_raw(&format!("SYSTEM DROP {cache}")).execute().await?;
    }
    // Where this may not, files are read from the machine's memory: the page says so by its command's user.
    if std::fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        eprintln!("rows: the machine's cache of files stays as it is");
    }
    asked(asker, sql).await
}

async fn warm(asker: &Asker, sql: &str) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(asked(asker, sql).await?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMES / 2])
}

/// The same after one question that is not timed.
async fn warm_of(asker: &Asker, sql: &str) -> anyhow::Result<f64> {
    asked(asker, sql).await?;
    warm(asker, sql).await
}

/// Milliseconds until the whole answer is there.
async fn asked(asker: &Asker, sql: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    asker.rows(sql).await.with_context(|| sql.to_owned())?;
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}
