//! A lane of `report` under every interleaving of crashes, takeovers, zombies, late inserts and dying engines, as far as the
//! bounds go.
//!
//! The lane's own decisions are the production functions: `hookline_report::standing` and `warehouse::Settling`. What is modelled is the world
//! around them: a broker that fences, a ClickHouse that remembers tokens, forgets them, dies inside inserts and gets some of
//! them late, and a clock. Two instances both believe that the lane is theirs.
//!
//! One thing is taken as one step that is two: looking whether the proof of the fence is young enough, and handing the insert
//! to the network. What a process does that is stopped exactly between the two, for longer than ClickHouse remembers tokens,
//! is what the ledger is there to tell.
//!
//! `HOOKLINE_MODEL_DEPTH=n` (0 by default) adds to the bounds; docs/reliability.md has the figures.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

mod lane;
mod world;

use lane::{Lane, Mutant};
use stateright::{Checker, HasDiscoveries, Model};

fn deeper() -> u8 {
    std::env::var("HOOKLINE_MODEL_DEPTH").map_or(0, |depth| depth.parse().unwrap())
}

#[test]
fn every_row_is_there_once_whatever_happens_between_two_steps() {
    let deeper = deeper();
    for outdates in [false, true] {
        let blocks = 2 + usize::from(outdates || deeper >= 3);
        let lane = Lane { blocks, deeper, outdates, ..Lane::new(Mutant::None) };
        let checker = lane.checker().threads(2).spawn_bfs().join();
        let what = if outdates { "outdated positions" } else { "engines that die" };
        println!("report lane, {what}: {} states, {} deep", checker.unique_state_count(), checker.max_depth());
        checker.assert_properties();
    }
}

#[test]
fn every_known_way_to_get_it_wrong_is_found() {
    for mutant in [
        Mutant::NoProof,
        Mutant::ProofPerBlock,
        Mutant::ProofFromAnswer,
        Mutant::SendsBeforeLooking,
        Mutant::InsertsByAnOldReading,
        Mutant::NoReadBack,
        Mutant::CertainAtOnce,
        Mutant::OwnTokens,
        Mutant::HaltsUnproven,
        Mutant::LooksTooSoon,
        Mutant::CommitsFirst,
    ] {
        let checker =
            Lane::new(mutant).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let hopes = ["everything is there", "an insert of a fenced lane is under way", "a repair is under way"];
        let found: Vec<&str> = checker.discoveries().into_keys().filter(|name| !hopes.contains(name)).collect();
        println!("{mutant:?}: {found:?} after {} states", checker.unique_state_count());
        assert!(!found.is_empty(), "{mutant:?} goes unnoticed");
    }
}
