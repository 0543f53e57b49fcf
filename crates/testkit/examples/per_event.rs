//! What an event costs: CPU time of each service's own process, and of the engine, per event.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example per_event -- [EVENTS] [SENDERS]`
//!
//! Each stage is measured alone, over the same events: [`hookline_testkit::cost`]. The floor is measured in the same
//! run, by the same sender.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use hookline_testkit::cost::{self, Costs, FLOOR, Shape};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(FLOOR) {
        return cost::serve_floor().await;
    }
    let events: u64 = first.map_or(Ok(200_000), |number| number.parse())?;
    // 20,000 requests a second that are acknowledged after 15 ms are 300 under way.
    let senders: usize = arguments.next().map_or(Ok(256), |number| number.parse())?;
    let single = measured(&Shape { events, senders, ..Shape::default() }).await?;
    let many = measured(&Shape { events, senders: 8, are_clicks: false, batch: 100, ..Shape::default() }).await?;

    println!("| stage | CPU µs an event | × the floor | seconds |\n|---|---|---|---|");
    let line = |what: &str, cpu: f64, seconds: Option<f64>| {
        let seconds = seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
        println!("| {what} | {cpu:.1} | {:.2} | {seconds} |", cpu / single.floor);
    };
    line("floor: axum and HMAC, the same clicks, no Kafka", single.floor, None);
    line(&format!("ingest, one Dub click ({} bytes) a request", single.bytes), single.ingest, Some(single.seconds[0]));
    line(
        &format!("ingest, 100 canonical events ({} bytes each) a request", many.bytes),
        many.ingest,
        Some(many.seconds[0]),
    );
    for (of, costs) in [("Dub clicks", &single), ("canonical events", &many)] {
        line(&format!("process, {of}, its start included"), costs.process, Some(costs.seconds[1]));
        line(&format!("report, {of}, its start included"), costs.report, Some(costs.seconds[2]));
        line(&format!("process and report, {of}"), costs.process + costs.report, None);
        line(&format!("ClickHouse itself, {of}, merges under way included"), costs.clickhouse, None);
    }
    println!();
    println!(
        "Resident after {events} Dub clicks: ingest {} MB, process {} MB, report {} MB.",
        single.resident[0], single.resident[1], single.resident[2]
    );
    Ok(())
}

async fn measured(shape: &Shape) -> anyhow::Result<Costs> {
    let folder = tempfile::tempdir()?;
    cost::measure(folder.path(), shape).await
}
