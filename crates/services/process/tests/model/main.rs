//! A lane of `process` under every interleaving of crashes, takeovers, zombies and timeouts, as far as the bounds go.
//!
//! The lane's own decisions are the production functions: `hookline_process::opening`, `hookline_process::advance`, `dedupe`. What is modelled is the world
//! around them: a broker with fences and transactions, the disk of each instance, and everything that can happen between
//! two steps. Two instances both believe that the lane is theirs.
//!
//! `HOOKLINE_MODEL_DEPTH=n` (0 by default) adds n to every bound; docs/reliability.md has the figures.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

mod broker;
mod lane;
mod world;

use lane::{Lane, Mutant};
use stateright::{Checker, HasDiscoveries, Model};

fn deeper() -> u8 {
    std::env::var("HOOKLINE_MODEL_DEPTH").map_or(0, |depth| depth.parse().unwrap())
}

#[test]
fn a_lane_counts_each_record_once_whatever_happens_between_two_steps() {
    let deeper = deeper();
    for outdates in [false, true] {
        let lane = Lane { records: 3 + usize::from(deeper >= 3), deeper, outdates, ..Lane::new(Mutant::None) };
        let checker = lane.checker().threads(2).spawn_bfs().join();
        let what = if outdates { "outdated positions" } else { "late records" };
        println!("process lane, {what}: {} states, {} deep", checker.unique_state_count(), checker.max_depth());
        checker.assert_properties();
    }
}

#[test]
fn every_known_way_to_get_it_wrong_is_found() {
    for mutant in [
        Mutant::NoFence,
        Mutant::NoSeal,
        Mutant::LocatesBeforeFence,
        Mutant::MarksBeforeCommit,
        Mutant::TrustsTheStore,
        Mutant::ObeysThePosition,
        Mutant::HaltsUnproven,
    ] {
        let lane = Lane { deeper: 2, ..Lane::new(mutant) };
        let checker = lane.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found: Vec<&str> = checker
            .discoveries()
            .into_keys()
            .filter(|name| !["everything is processed", "a zombie is fenced"].contains(name))
            .collect();
        println!("{mutant:?}: {found:?}");
        assert!(!found.is_empty(), "{mutant:?} goes unnoticed");
    }
}
