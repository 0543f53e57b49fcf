//! What bends the cost of an event: lanes, instances, size, events a request, duplicates, rules, links, replicas.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example curve -- [EVENTS] [WHAT…]`
//!
//! Each point is a separate installation, measured as `per_event` does. The floor of a Dub click is measured with each
//! point of clicks and stands beside it, since machines are noisy: compare ratios. Starts of `process` and `report`
//! are in their figures, so few events say little.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use hookline_testkit::cost::{self, FLOOR, Shape};

/// A curve: what it is called, what its points are called, and the points.
type Curve = (&'static str, &'static str, Vec<(String, Shape)>);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == FLOOR) {
        return cost::serve_floor().await;
    }
    let (events, wanted) = match arguments.split_first() {
        Some((first, rest)) if first.parse::<u64>().is_ok() => (first.parse()?, rest),
        _ => (60_000, arguments.as_slice()),
    };
    for (name, of, points) in curves(events) {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!(
            "\n| {of} | bytes | ingest µs | process µs | report µs | ClickHouse µs | floor µs | resident MB: ingest, process, report |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for (point, shape) in points {
            let folder = tempfile::tempdir()?;
            let costs = cost::measure(folder.path(), &shape).await?;
            let floor = if costs.floor > 0.0 { format!("{:.1}", costs.floor) } else { String::new() };
            let [ingest, process, report] = costs.resident;
            println!(
                "| {point} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {floor} | {ingest}, {process}, {report} |",
                costs.bytes, costs.ingest, costs.process, costs.report, costs.clickhouse
            );
        }
    }
    Ok(())
}

fn curves(events: u64) -> Vec<Curve> {
    let usual = || Shape { events, ..Shape::default() };
    let each = |values: &[u64], of: &dyn Fn(u64) -> Shape| -> Vec<(String, Shape)> {
        values.iter().map(|value| (value.to_string(), of(*value))).collect()
    };
    vec![
        ("lanes", "lanes", each(&[1, 4, 12, 48], &|lanes| Shape { lanes: lanes as u16, ..usual() })),
        (
            "instances",
            "instances of process and of report, 12 lanes",
            each(&[1, 2, 4], &|instances| Shape { lanes: 12, instances: instances as u16, ..usual() }),
        ),
        (
            "size",
            "bytes more in each click",
            each(&[0, 3_000, 14_000, 62_000], &|padding| Shape {
                padding: padding as usize,
                events: if padding > 20_000 { events / 4 } else { events },
                ..usual()
            }),
        ),
        (
            "batch",
            "events a request",
            each(&[1, 10, 100, 1_000], &|batch| Shape {
                are_clicks: false,
                batch: batch as usize,
                senders: if batch == 1 { 256 } else { 8 },
                ..usual()
            }),
        ),
        (
            "duplicates",
            "duplicates of 100 deliveries",
            each(&[0, 50, 90], &|duplicates| Shape { duplicates, ..usual() }),
        ),
        ("rules", "rules", each(&[0, 100, 10_000], &|rules| Shape { rules: rules as usize, ..usual() })),
        (
            "links",
            "links of the catalogue",
            each(&[0, 10_000, 1_000_000], &|links| Shape { links: links as usize, ..usual() }),
        ),
        (
            "replicas",
            "brokers, a replica on each",
            each(&[1, 3], &|brokers| Shape { brokers: brokers as u16, lanes: 6, ..usual() }),
        ),
    ]
}
