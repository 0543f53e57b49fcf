//! How long a webhook takes: until it is acknowledged, and from there until its row can be queried.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example latency -- [EVENTS A SECOND] [SECONDS]`
//!
//! `hookline up` with all services and both engines, and a sender of signed Dub clicks, one a request, at an even pace (5,000 a second
//! for 60 s unless told, after 40 s at the same pace in which Kafka's JVM compiles itself), all on this machine. ClickHouse is asked every 100 ms how far each lane's rows reach; rows of a lane appear in
//! the order of their offsets, so a row's time is that of the first question it was there for, less its `received_at`. Times are
//! thus up to 100 ms and one question too long, and include what a busy machine adds.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use hookline_testkit::clickhouse::Asker;
use hookline_testkit::cost::proc;
use hookline_testkit::{House, Sender};
use jiff::Timestamp;
use signature::{Scheme, Secret};
use traffic::Delivery;
use traffic::dub;
use traffic::latencies::Latencies;
use traffic::load::{self, Pace, Tally};

/// How often ClickHouse is asked.
const EVERY: Duration = Duration::from_millis(100);
/// Seconds of sending before anything is measured.
const WARM: u64 = 40;

/// How far a lane's rows reached at a time: the last offset, milliseconds since 1970.
type Seen = BTreeMap<u64, Vec<(u64, i64)>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let argument = |place: usize, unless_told: u64| {
        std::env::args().nth(place).map_or(Ok(unless_told), |number| number.parse::<u64>())
    };
    let (per_second, seconds) = (argument(1, 5_000)?, argument(2, 60)?);
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let house = House::up(&data, &[])?;
    let ingest = house.addresses.ingest.clone().context("up does not say where ingest is")?;
    let secret = std::fs::read_to_string(data.join("secrets/dub"))?;
    let sender = Sender::new(&ingest, "dub", Scheme::Dub, Secret::new("first", secret.trim()))?;
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "")?;

    let mut clicks = dub::Generator::new(1);
    let rows = "SELECT count() FROM hookline.records";
    let pace = Pace { per_second: Some(per_second as f64), parallel: 4_096 };
    let mut send = async |events: u64| -> anyhow::Result<Tally> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let deliveries = (0..events).map(|_| Delivery { body: clicks.click(), again: false });
        load::run(&sender, deliveries, pace, &tally).await?;
        let done = load::locked(&tally).clone();
        Ok(done)
    };
    let (warm, events) = (per_second * WARM, per_second * seconds);
    let services = [house.program.pid()];
    let (idle, rest) = (proc::cpu(&services)?, Duration::from_secs(20));
    tokio::time::sleep(rest).await;
    let idle = (proc::cpu(&services)? - idle) / rest.as_secs_f64() * 100.0;
    send(warm).await?;
    asker.until(rows, warm, Duration::from_secs(60)).await?;

    let cpu = proc::cpu(&services)?;
    let (begun, seen) = (Timestamp::now(), Arc::new(Mutex::new(Seen::new())));
    let watch = tokio::spawn(watch(asker.clone(), Arc::clone(&seen)));
    let tally = send(events).await?;
    let took = Timestamp::now().duration_since(begun);
    asker.until(rows, warm + events, Duration::from_secs(60)).await?;
    let cpu = (proc::cpu(&services)? - cpu) / events as f64 * 1e6;
    tokio::time::sleep(2 * EVERY).await;
    watch.abort();

    println!(
        "| {events} events in {:.1} s | times | median ms | p99 ms | longest ms |\n|---|---|---|---|---|",
        took.as_secs_f64()
    );
    line("sent → acknowledged", &tally.acks);
    let seen = load::locked(&seen).clone();
    line("accepted → row", &visible(&asker, &seen, begun).await?);
    println!(
        "\nAll services together: {cpu:.1} µs of CPU an event, {idle:.1} % of a core when nothing comes. Answers by status: {:?}. \
         Times to an acknowledgement are since the delivery was due.",
        tally.answers
    );
    Ok(())
}

/// Notes how far the rows of each lane reach, for ever.
async fn watch(asker: Asker, seen: Arc<Mutex<Seen>>) -> anyhow::Result<()> {
    loop {
        let reached = asker.rows("SELECT lane, max(raw_offset) AS last FROM hookline.records GROUP BY lane").await?;
        let now = Timestamp::now().as_millisecond();
        for row in reached {
            let (lane, last) = (row["lane"].as_u64().context("no lane")?, row["last"].as_u64().context("no offset")?);
            load::locked(&seen).entry(lane).or_default().push((last, now));
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// From `received_at` to the first answer that the row was in.
async fn visible(asker: &Asker, seen: &Seen, begun: Timestamp) -> anyhow::Result<Latencies> {
    let mut times = Latencies::default();
    for (lane, reached) in seen {
        let received = format!(
            "SELECT raw_offset AS offset, toUnixTimestamp64Milli(received_at) AS at FROM hookline.records WHERE lane = {lane} AND \
             received_at >= fromUnixTimestamp64Milli({})",
            begun.as_millisecond()
        );
        for row in asker.rows(&received).await? {
            let (offset, at) = (row["offset"].as_u64().context("no offset")?, row["at"].as_i64().context("no time")?);
            let place = reached.partition_point(|(last, _)| *last < offset);
            let (_, shown) = reached.get(place).context("a row that no question saw")?;
            times.add(Duration::from_millis(shown.saturating_sub(at).unsigned_abs()));
        }
    }
    Ok(times)
}

fn line(what: &str, times: &Latencies) {
    let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    let (median, p99) = (ms(times.quantile(0.5)), ms(times.quantile(0.99)));
    println!("| {what} | {} | {median:.0} | {p99:.0} | {:.0} |", times.count(), ms(Some(times.longest())));
}
