//! What an event costs: CPU time of each service's own process, and of the engines, per event.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example per_event -- [EVENTS] [SENDERS]`
//!
//! Each stage is measured alone, over the same events: ingest while they are sent one a request and then a hundred a
//! request, `process` and then `report` while each works off what the stage before has left. Figures are CPU time (user and
//! system) from `/proc`, so a busy machine changes them little; the sender's own cost is not in them. The floor is measured in the
//! same run, by the same sender: axum that checks an HMAC over each body and answers 202, and does nothing else.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark: it prints, and stops where something is wrong"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use config::Fresh;
use hmac::{Hmac, KeyInit, Mac};
use hookline_testkit::oracle::Fleet;
use hookline_testkit::{House, Sender, clickhouse::Asker};
use sha2::Sha256;
use signature::{Scheme, Secret};
use traffic::{canonical, dub};

/// Clock ticks a second of `/proc/<pid>/stat` on Linux.
const TICKS: f64 = 100.0;
const BATCH: usize = 100;
/// The argument under which this program is the floor.
const FLOOR: &str = "floor";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(FLOOR) {
        return floor().await;
    }
    let events: u64 = std::env::args().nth(1).map_or(Ok(200_000), |number| number.parse())?;
    // 20,000 requests a second that are acknowledged after 15 ms are 300 under way.
    let senders: usize = std::env::args().nth(2).map_or(Ok(256), |number| number.parse())?;
    let folder = tempfile::tempdir()?;
    let house = House::up(&folder.path().join("data"), &["--engines-only"])?;
    let config = Fresh::new([7; 96]).write(folder.path())?;
    let fleet = Fleet::start(folder.path(), &config, &house.addresses, &["ingest", "process", "report"])?;
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "")?;
    let secret = |name: &str| -> anyhow::Result<Secret> {
        Ok(Secret::new("first", std::fs::read_to_string(folder.path().join("secrets").join(name))?.trim()))
    };
    let dub = Sender::new(&fleet.ingest(), "dub", Scheme::Dub, secret("dub")?)?;
    let canonical = Sender::new(&fleet.ingest(), "canonical", Scheme::StandardWebhooks, secret("canonical")?)?;
    // The tables are there, every lane has been open once, and connections are warm.
    let mut clicks = dub::Generator::new(1);
    dub.deliver_all((0..2_000).map(|_| clicks.click()), senders).await?;
    rows(&asker, 2_000).await?;
    fleet.kill("process")?;
    fleet.kill("report")?;

    println!("| stage | events | CPU µs an event | wall s |\n|---|---|---|---|");
    let bodies: Vec<Vec<u8>> = (0..events).map(|_| clicks.click()).collect();
    measure_floor(&bodies, senders).await?;
    let ingest = fleet.pid("ingest").unwrap();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let (cpu, begun) = (cpu(ingest)?, Instant::now());
    dub.deliver_all(bodies, senders).await?;
    line(&format!("ingest, one Dub click ({} bytes) a request", bytes as u64 / events), events, ingest, cpu, begun)?;

    let mut visits = canonical::Generator::new(1);
    let bodies: Vec<Vec<u8>> = (0..events / BATCH as u64)
        .map(|_| {
            [b"[".to_vec(), (0..BATCH).map(|_| visits.visit()).collect::<Vec<_>>().join(&b","[..]), b"]".to_vec()]
                .concat()
        })
        .collect();
    let (cpu, begun) = (self::cpu(ingest)?, Instant::now());
    canonical.deliver_all(bodies, 8).await?;
    line("ingest, 100 canonical events a request", events, ingest, cpu, begun)?;

    let total = 2 * events;
    fleet.restart("process")?;
    let process = fleet.pid("process").unwrap();
    let begun = Instant::now();
    until_idle(&fleet, "process", "raw").await?;
    line("process, its start included", total, process, 0.0, begun)?;

    let clickhouse = engine(&folder.path().join("data/clickhouse.pid"))?;
    let engine_before = self::cpu(clickhouse)?;
    fleet.restart("report")?;
    let report = fleet.pid("report").unwrap();
    let begun = Instant::now();
    rows(&asker, 2_000 + total).await?;
    line("report, its start included", total, report, 0.0, begun)?;
    line("ClickHouse itself, merges under way included", total, clickhouse, engine_before, begun)?;
    for service in ["ingest", "process", "report"] {
        println!("{service}: {} MB resident", resident(fleet.pid(service).unwrap())?);
    }
    fleet.stop()
}

/// Runs the floor as a process of its own and sends it every body once.
async fn measure_floor(bodies: &[Vec<u8>], senders: usize) -> anyhow::Result<()> {
    let mut child = Command::new(std::env::current_exe()?).arg(FLOOR).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address)?;
    let floor = Sender::new(address.trim(), "dub", Scheme::Dub, Secret::new("first", FLOOR))?;
    floor.deliver_all(bodies[..bodies.len().min(2_000)].to_vec(), senders).await?;
    let (cpu, begun) = (cpu(child.id())?, Instant::now());
    floor.deliver_all(bodies.to_vec(), senders).await?;
    line("floor: axum and HMAC, the same clicks, no Kafka", bodies.len() as u64, child.id(), cpu, begun)?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The least that answers a signed webhook.
async fn floor() -> anyhow::Result<()> {
    async fn take(headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
        let mut mac = Hmac::<Sha256>::new_from_slice(FLOOR.as_bytes()).unwrap();
        mac.update(&body);
        let signed: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        match headers.get("dub-signature") {
            Some(claimed) if claimed.as_bytes() == signed.as_bytes() => (StatusCode::ACCEPTED, "{}"),
            _ => (StatusCode::UNAUTHORIZED, "{}"),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let router = axum::Router::new().route("/v1/webhooks/dub", axum::routing::post(take));
    Ok(axum::serve(listener, router).await?)
}

/// CPU seconds that a process has used.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // proc(5): utime and stime are fields 14 and 15; the split begins at field 3.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS)
}

fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).unwrap_or("0").parse::<u64>()? / 1_024)
}

fn engine(noted: &std::path::Path) -> anyhow::Result<u32> {
    Ok(std::fs::read_to_string(noted)?.split_whitespace().next().unwrap_or_default().parse()?)
}

fn line(what: &str, events: u64, pid: u32, before: f64, begun: Instant) -> anyhow::Result<()> {
    let each = (cpu(pid)? - before) / events as f64 * 1e6;
    println!("| {what} | {events} | {each:.1} | {:.1} |", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn rows(asker: &Asker, expected: u64) -> anyhow::Result<()> {
    asker.until("SELECT count() FROM hookline.records", expected, Duration::from_secs(600)).await
}

/// Returns when a service says that nothing of its topic is left to read.
async fn until_idle(fleet: &Fleet, service: &str, topic: &str) -> anyhow::Result<()> {
    let url = format!("{}/metrics", fleet.metrics(service).unwrap());
    let client = hookline_testkit::http::client(Duration::from_secs(5))?;
    let idle = format!("hookline_lag_records{{service=\"{service}\",topic=\"{topic}\"}} 0");
    let ready = format!("{}/readyz", fleet.metrics(service).unwrap());
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut idle_for = 0;
    while idle_for < 3 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Ok(answer) = client.get(&url).send().await else { continue };
        let is_ready = client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success());
        idle_for = if is_ready && answer.text().await?.contains(&idle) { idle_for + 1 } else { 0 };
    }
    anyhow::ensure!(idle_for == 3, "{service} does not come to rest");
    Ok(())
}
