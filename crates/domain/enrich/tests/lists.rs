//! How right the verdicts are, measured against lists that are not part of the product. `tests/labels` fetches the lists
//! and runs this; without `HOOKLINE_TEST_LISTS`, which names their folder, it says that it left the measurement out.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a test that prints its table")]

use std::path::PathBuf;

use event::LinkEvent;
use hookline_enrich::{Enricher, Hints, Settings};

fn folder() -> Option<PathBuf> {
    std::env::var_os("HOOKLINE_TEST_LISTS").map(PathBuf::from)
}

/// The agents of a list that count as bots, and all of them.
fn bots(list: &str) -> Option<(Vec<String>, usize)> {
    let Some(folder) = folder() else {
        eprintln!("LEFT OUT: {list}: HOOKLINE_TEST_LISTS is not set (tests/labels sets it)");
        return None;
    };
    let text = std::fs::read_to_string(folder.join(list)).unwrap();
    let mut enricher = Enricher::new(Settings::default());
    let mut counts_as_bot = |agent: &str| {
        let mut event = LinkEvent::default();
        enricher.enrich(&mut event, &Hints { user_agent: agent, ..Hints::default() }, None);
        event.counted == event::Counted::Bot
    };
    let (bots, people): (Vec<_>, Vec<_>) = text.lines().partition(|agent| counts_as_bot(agent));
    let all = bots.len() + people.len();
    println!("| {list} | {all} | {} | {:.1} % |", bots.len(), 100.0 * bots.len() as f64 / all as f64);
    if std::env::var_os("HOOKLINE_TEST_SHOW").is_some() {
        let few = if bots.len() < people.len() { &bots } else { &people };
        few.iter().for_each(|agent| println!("    {agent}"));
    }
    Some((bots.into_iter().map(str::to_owned).collect(), all))
}

#[test]
fn of_the_agents_that_crawler_user_agents_knows_99_percent_are_bots() {
    let Some((bots, all)) = bots("bots-crawler-user-agents.txt") else { return };
    assert!(all > 2_000 && bots.len() * 100 >= all * 99, "{} of {all}", bots.len());
}

#[test]
fn of_the_bots_that_matomo_knows_92_percent_are_bots() {
    let Some((bots, all)) = bots("bots-matomo.txt") else { return };
    assert!(all > 1_300 && bots.len() * 100 >= all * 92, "{} of {all}", bots.len());
}

#[test]
fn no_browser_of_three_packages_is_a_bot() {
    let Some((bots, all)) = bots("browsers.txt") else { return };
    assert!(all >= 1_800, "{all}");
    assert_eq!(bots, [""; 0]);
}

#[test]
fn of_the_devices_that_matomo_knows_at_most_20_are_bots() {
    let Some((bots, all)) = bots("devices-matomo.txt") else { return };
    assert!(all > 29_000 && bots.len() <= 20, "{bots:#?}");
}
