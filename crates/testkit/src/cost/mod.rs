//! What an event costs: CPU time of each service's processes, and of the engine, per event.
//!
//! Each stage is measured alone, over the same events: ingest while they are sent, then `process` and then `report`
//! while each works off what the stage before has left. Figures are CPU time (user and system) from `/proc`, so a busy
//! machine changes them little; the cost of the sender is not in them.

mod floor;
pub mod proc;
mod shape;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use config::Fresh;
use signature::{Scheme, Secret};
use traffic::load::{self, Pace, Tally};
use traffic::{Delivery, Sender};

use crate::clickhouse::Asker;
use crate::house::House;
use crate::oracle::Fleet;

pub use floor::serve as serve_floor;
pub use shape::Shape;

/// The argument under which a program of measurement is the floor.
pub const FLOOR: &str = "floor";
/// Events that are sent before anything is measured: tables are there, lanes were open once, connections are warm.
const WARM: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(600);

/// What was measured, in microseconds of CPU time an event, and megabytes.
#[derive(Debug, Clone, Default)]
pub struct Costs {
    /// What was sent, an event; in bytes.
    pub bytes: u64,
    /// An axum service that checks an HMAC over the same bodies and stores nothing.
    pub floor: f64,
    /// `ingest`, its start left out.
    pub ingest: f64,
    /// `process`, its start and the restore of its window included.
    pub process: f64,
    /// `report`, its start included.
    pub report: f64,
    /// The engine while `report` writes, merges under way included.
    pub clickhouse: f64,
    /// Seconds that each stage took: ingest, process, report.
    pub seconds: [f64; 3],
    /// Resident megabytes of ingest, process and report after it.
    pub resident: [u64; 3],
}

/// Starts engines and services of their own in a folder, sends, and measures each stage.
///
/// # Errors
/// When something cannot be started, or does not take the events.
pub async fn measure(folder: &Path, shape: &Shape) -> Result<Costs> {
    ensure!(shape.events >= shape.batch as u64, "a request has {} events, and {} are sent", shape.batch, shape.events);
    ensure!(shape.batch == 1 || !shape.are_clicks, "clicks come one a request");
    let brokers = shape.brokers.to_string();
    let engines = House::up(&folder.join("data"), &["--engines-only", "--kafka-nodes", &brokers])?;
    let config = Fresh::new([7; 96]).write(folder)?;
    shape.configure(folder, &config)?;
    let instances = shape.instances;
    let named = |service: &str| -> Vec<String> {
        let share =
            |number| if instances == 1 { service.to_owned() } else { format!("{service} {number}/{instances}") };
        (1..=instances).map(share).collect()
    };
    let [process, report] = ["process", "report"].map(named);
    let names: Vec<&str> = ["ingest"].into_iter().chain(process.iter().chain(&report).map(String::as_str)).collect();
    let lanes = shape.lanes.to_string();
    let fleet = Fleet::laid_out(folder, &config, &engines.addresses, &names, &[("HOOKLINE_KAFKA_LANES", &lanes)])?;
    let asker = Asker::new(&engines.addresses.clickhouse, "analyst", "")?;

    let source = shape.source();
    let secret = std::fs::read_to_string(folder.join("secrets").join(source))?;
    let secret = Secret::new("first", secret.trim());
    let scheme = if source == "dub" { Scheme::Dub } else { Scheme::StandardWebhooks };
    let sender = Sender::new(&fleet.ingest(), source, scheme, secret)?;
    let mut bodies = shape.bodies();
    let warm = WARM.div_ceil(shape.batch as u64);
    send(&sender, bodies.take(warm), shape.senders).await?;
    let before = warm * shape.batch as u64;
    rows(&asker, before).await?;
    if shape.links > 0 {
        // The list is on its topic: the instance that reads it does not write it as well.
        let in_force = format!("hookline_catalogue_links {}", shape.links);
        for name in &process {
            until_told(&fleet, name, &in_force).await?;
        }
    }
    process.iter().chain(&report).try_for_each(|name| fleet.kill(name))?;

    let bodies = bodies.take(shape.events / shape.batch as u64);
    let events = (bodies.len() * shape.batch) as u64;
    let each = |cpu: f64| cpu / events as f64 * 1e6;
    let bytes = bodies.iter().map(Vec::len).sum::<usize>() as u64 / events;
    let mut costs = Costs { bytes, ..Costs::default() };
    if shape.are_clicks {
        costs.floor = each(floor::measure(&bodies, shape.senders).await?);
    }
    let ingest = pids(&fleet, &["ingest".to_owned()])?;
    let (cpu, begun) = (proc::cpu(&ingest)?, Instant::now());
    send(&sender, bodies, shape.senders).await?;
    (costs.ingest, costs.seconds[0]) = (each(proc::cpu(&ingest)? - cpu), begun.elapsed().as_secs_f64());

    process.iter().try_for_each(|name| fleet.restart(name))?;
    let begun = Instant::now();
    for name in &process {
        until_idle(&fleet, name).await?;
    }
    let processes = pids(&fleet, &process)?;
    (costs.process, costs.seconds[1]) = (each(proc::cpu(&processes)?), begun.elapsed().as_secs_f64());

    let engine = vec![noted(&folder.join("data/clickhouse.pid"))?];
    let engine_before = proc::cpu(&engine)?;
    report.iter().try_for_each(|name| fleet.restart(name))?;
    let begun = Instant::now();
    rows(&asker, before + events).await?;
    let reports = pids(&fleet, &report)?;
    (costs.report, costs.seconds[2]) = (each(proc::cpu(&reports)?), begun.elapsed().as_secs_f64());
    costs.clickhouse = each(proc::cpu(&engine)? - engine_before);
    for (place, pids) in costs.resident.iter_mut().zip([&ingest, &processes, &reports]) {
        *place = proc::resident_mb(pids)?;
    }
    fleet.stop()?;
    Ok(costs)
}

async fn send(sender: &Sender, bodies: Vec<Vec<u8>>, senders: usize) -> Result<()> {
    let tally = std::sync::Arc::new(std::sync::Mutex::new(Tally::default()));
    let deliveries = bodies.into_iter().map(|body| Delivery { body, again: false });
    load::run(sender, deliveries, Pace { per_second: None, parallel: senders }, &tally).await
}

fn pids(fleet: &Fleet, names: &[String]) -> Result<Vec<u32>> {
    names.iter().map(|name| fleet.pid(name).with_context(|| format!("{name} does not run"))).collect()
}

fn noted(file: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(file)?;
    text.split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok())
        .with_context(|| format!("{text:?} does not begin with a process id"))
}

async fn rows(asker: &Asker, expected: u64) -> Result<()> {
    asker.until("SELECT count() FROM hookline.records", expected, PATIENCE).await
}

/// Returns when an instance of `process` says that nothing is left to read.
async fn until_idle(fleet: &Fleet, name: &str) -> Result<()> {
    until_told(fleet, name, "hookline_lag_records{service=\"process\",topic=\"raw\"} 0").await
}

/// Returns when the metrics of an instance that is ready have had a line for a second.
async fn until_told(fleet: &Fleet, name: &str, line: &str) -> Result<()> {
    let at = fleet.metrics(name).with_context(|| format!("{name} is unknown"))?;
    let client = crate::http::client(Duration::from_secs(5))?;
    let deadline = Instant::now() + PATIENCE;
    let mut told = 0;
    while told < 3 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Ok(answer) = client.get(format!("{at}/metrics")).send().await else { continue };
        let ready = client.get(format!("{at}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success());
        told = if ready && answer.text().await?.contains(line) { told + 1 } else { 0 };
    }
    ensure!(told == 3, "{name} has not said {line} within {} s", PATIENCE.as_secs());
    Ok(())
}
