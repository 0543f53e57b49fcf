//! What reading an event costs: the edge's half alone and in a batch, and the full half, in nanoseconds an event.
//!
//! `cargo run --release -p hookline-adapter --example read_bench [ROUNDS]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark: it prints, and stops where something is wrong"
)]

use std::hint::black_box;
use std::time::Instant;

use event::raw::RawHeaders;
use hookline_adapter::{Adapter, Dialect, Memory, Options};

/// Events of one batch.
const BATCH: usize = 100;
const REPEATS: usize = 7;

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(20_000, |number| number.parse().unwrap());
    let dub = include_bytes!("../tests/golden/dub/link_clicked.json").as_slice();
    let canonical = include_bytes!("../tests/golden/canonical/click.json").as_slice();
    let batch = [b"[".as_slice(), &vec![canonical; BATCH].join(&b','), b"]"].concat();
    let dialect = Dialect::default();
    let split = |adapter: Adapter, body: &[u8]| {
        black_box(adapter.split(&dialect, body, "application/json", &|_| None).unwrap());
    };
    println!("| reading | ns an event |\n|---|---|");
    line("edge, one Dub click", rounds, 1, || split(Adapter::Dub, dub));
    line("edge, one canonical click", rounds, 1, || split(Adapter::Canonical, canonical));
    line("edge, 100 canonical clicks in an array", rounds / BATCH, BATCH, || split(Adapter::Canonical, &batch));
    let mut memory = Memory::new(Options { keep_query_params: vec!["sku".into()] });
    let raw =
        RawHeaders { received_at: 1_795_428_001_000, content_type: "application/json".into(), ..RawHeaders::default() };
    for (what, adapter, body) in [("Dub", Adapter::Dub, dub), ("canonical", Adapter::Canonical, canonical)] {
        line(&format!("full, one {what} click"), rounds, 1, || {
            black_box(adapter.adapt(&dialect, &raw, body, &mut memory).unwrap());
        });
    }
}

/// The best of several runs: other programs only make it slower.
fn line(what: &str, rounds: usize, events: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..REPEATS {
        let begun = Instant::now();
        (0..rounds).for_each(|_| run());
        best = best.min(begun.elapsed().as_nanos() as f64 / (rounds * events) as f64);
    }
    println!("| {what} | {best:.0} |");
}
