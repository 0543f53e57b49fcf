//! What labels cost: nanoseconds an event for agents that were met before, and for new ones.
//!
//! `cargo run --release -p hookline-enrich --example labels_cost -- AGENTS.txt`, a user agent a line (`tests/labels` fetches
//! such lists). CPU time of the thread, the minimum of twenty runs, since
//! machines are noisy.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a tool that measures")]

use event::{EventType, LinkEvent};
use hookline_enrich::{Enricher, Hints, Settings};

fn main() {
    let file = std::env::args().nth(1).expect("usage: labels_cost AGENTS.txt");
    let text = std::fs::read_to_string(&file).expect("a readable file");
    let agents: Vec<&str> = text.lines().take(16_000).collect();
    let bytes: usize = agents.iter().map(|agent| agent.len()).sum();
    let (mut new, mut known, mut none) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..20 {
        let mut enricher = Enricher::new(Settings::default());
        none = none.min(one_pass(&mut enricher, &vec![""; agents.len()]));
        new = new.min(one_pass(&mut enricher, &agents));
        known = known.min(one_pass(&mut enricher, &agents));
    }
    println!("| {} agents of {} bytes | ns |\n|---|---|", agents.len(), bytes / agents.len().max(1));
    println!("| all labels of an event without an agent | {none:.0} |");
    println!("| more for an agent that is new | {:.0} |", new - none);
    println!("| more for an agent that was met before | {:.0} |", known - none);
}

fn one_pass(enricher: &mut Enricher, agents: &[&str]) -> f64 {
    let start = cpu_ns();
    for agent in agents {
        let mut event = LinkEvent { r#type: EventType::Click, ..LinkEvent::default() };
        enricher.enrich(&mut event, &Hints { user_agent: agent, ..Hints::default() }, None);
        std::hint::black_box(&event);
    }
    (cpu_ns() - start) / agents.len() as f64
}

/// The CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> f64 {
    measure::thread_cpu().expect("Linux tells the CPU time of a thread").as_nanos() as f64
}
