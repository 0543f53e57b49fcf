//! The network of three real brokers, cut and silenced link by link under load: nothing is lost or doubled, and what
//! two brokers can carry goes on.

use std::sync::Arc;
use std::time::Duration;

use config::Fresh;
use testkit::network::Network;
use testkit::oracle::{Blow, Bounds, Cuts, Fault, Plan, run};

/// A variable's value, or what counts without it.
fn set<T: std::str::FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} cannot be read")),
        Err(_) => usual,
    }
}

/// `HOOKLINE_TEST_CUTS`: the faults, with blanks between, such as `controllers:active:cut clients:leader:silent`;
/// without it one round. `HOOKLINE_TEST_CUT_SECONDS`: how long each lasts (45). `HOOKLINE_TEST_TOLERANCE`: by how
/// much the bounds of a quiet machine are stretched (1). `HOOKLINE_TEST_RATE`: events a second (200).
/// `HOOKLINE_TEST_FOLDER`: a folder that is kept.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "20 minutes for a round of ten faults: the command is in docs/reliability.md"]
async fn links_of_three_brokers_that_are_cut_or_silent_lose_nothing_and_keep_no_lane_still_that_two_can_carry() {
    let faults = std::env::var("HOOKLINE_TEST_CUTS").unwrap_or_default();
    let faults: Vec<Fault> = faults.split_whitespace().map(|fault| fault.parse().unwrap()).collect();
    let round = Blow::on_network(&faults).unwrap();
    let (folder, _gone_at_the_end) = match std::env::var_os("HOOKLINE_TEST_FOLDER") {
        Some(folder) => (std::path::PathBuf::from(folder), None),
        None => {
            let folder = tempfile::tempdir().unwrap();
            (folder.path().to_owned(), Some(folder))
        }
    };
    std::fs::create_dir_all(&folder).unwrap();
    let data = folder.join("data");
    let network = Network::before(&data, &[]).await.unwrap();
    println!("{network}");
    let house = network.up(&data).unwrap();
    let config = Fresh::new([7; 96]).write(&folder).unwrap();
    let plan = Plan {
        per_second: set("HOOKLINE_TEST_RATE", 200.0),
        senders: 16,
        at_most: Duration::from_secs(7_200),
        instances: vec!["ingest 1/2", "ingest 2/2", "process", "report", "detect", "notify"],
        bounds: Some(Bounds::times(set("HOOKLINE_TEST_TOLERANCE", 1.0))),
        cuts: Some(Cuts {
            network: Arc::new(network),
            lasting: Duration::from_secs(set("HOOKLINE_TEST_CUT_SECONDS", 45)),
        }),
        ..Plan::new(set("HOOKLINE_TEST_SEED", 45), &round)
    };
    let begun = std::time::Instant::now();
    let say = move |words: &str| println!("{:>6.1}  {words}", begun.elapsed().as_secs_f64());
    let ended = run(&folder, &config, &house.addresses, &plan, &say).await;
    let outcome = ended.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{outcome}");
    assert!(outcome.counts.lost == 0 && outcome.counts.doubled == 0, "{outcome}");
}
