//! The crash oracle as a command: a whole Hookline is shaken while platforms send, and then its books are compared.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example oracle -- --kills 300`

#![allow(clippy::print_stdout, reason = "a command: it prints")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use config::Fresh;
use hookline_testkit::House;
use hookline_testkit::network::Network;
use hookline_testkit::oracle::{Blow, Bounds, Cuts, Fault, Plan, run};

/// Shakes a whole Hookline of its own and verifies that nothing is lost, doubled or miscounted.
///
/// Kafka, ClickHouse and two instances of ingest, process and report, one of detect and notify run as processes of their
/// own in a new folder. Platforms send signed events without pause, retry until they are answered 202, and send one in ten
/// again. Meanwhile processes are killed with kill -9, at random and inside inserts and commits, stopped past every
/// timeout, and multiplied, so that lanes have two owners at once. The ledger is looked at every two seconds. At the end
/// every acknowledged event must be one row that counts, every other delivery of it a duplicate, every report equal to the
/// rows, every alert raised once, and the ledger at 0.
///
/// Exit code 0: all of that holds. 1: something does not, and the folder with all logs and data is kept.
#[derive(Debug, Parser)]
#[command(name = "oracle")]
struct Args {
    /// What is shaken
    #[arg(long, value_enum, default_value_t = Shaken::All)]
    what: Shaken,
    /// Processes to end by kill -9 [default: 300 with --what all]
    #[arg(long)]
    kills: Option<u32>,
    /// Kills and pauses of engines [default: 300 with --what brokers, 500 with --what engines, 100 with --what ingest]
    #[arg(long)]
    engine_blows: Option<u32>,
    /// Instances: two each of ingest, process and report, or one each of process and report for a small machine
    #[arg(long)]
    small: bool,
    /// Threads that keep the machine busy
    #[arg(long, default_value_t = 0)]
    burners: usize,
    /// By how much the bounds of a quiet machine (15 s for stages, 5 s for ingest) are stretched
    #[arg(long, default_value_t = 1.0)]
    tolerance: f64,
    /// Senders at once
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Events a second, of all senders together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Where chance begins: the same seed sends the same events and plans the same blows; the timing is the machine's
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// What happens to the network, such as `controllers:active:cut` or `clients:leader:silent`; with --what network
    /// [default: a round of ten]
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// Settings of Kafka's nodes besides ours, such as `broker.session.timeout.ms=9000`; with --what network
    #[arg(long, value_name = "NAME=VALUE")]
    setting: Vec<String>,
    /// How many seconds each fault of the network lasts; with --what network [default: 45]
    #[arg(long)]
    lasting: Option<u64>,
    /// No more blows after so many minutes
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// A folder to work in, which is kept [default: one that goes when all holds]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What is shaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shaken {
    /// Services and engines, with one broker
    All,
    /// The engines alone, with one broker: when does everything move again?
    Engines,
    /// Three brokers: when does everything move again, and does ingest take requests all the while?
    Brokers,
    /// One broker, and ingest alone beside it; the other services begin at the end
    Ingest,
    /// The network of three brokers: links to clients, between brokers and between controllers are cut or silent for
    /// a while
    Network,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match oracle(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn oracle(args: &Args) -> anyhow::Result<()> {
    let of_network = !args.fault.is_empty() || !args.setting.is_empty() || args.lasting.is_some();
    anyhow::ensure!(
        args.what == Shaken::Network || !of_network,
        "--fault, --setting and --lasting are about the network: add --what network"
    );
    let (folder, temporary) = match &args.folder {
        Some(folder) => (folder.clone(), None),
        None => {
            let temporary = tempfile::Builder::new().prefix("hookline-oracle-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    std::fs::create_dir_all(&folder)?;
    println!("in {}", folder.display());
    let data = folder.join("data");
    let (house, cuts) = match args.what {
        Shaken::Network => {
            let network = Network::before(&data, &args.setting).await?;
            println!("{network}");
            let house = network.up(&data)?;
            (house, Some(Cuts { network: Arc::new(network), lasting: Duration::from_secs(args.lasting.unwrap_or(45)) }))
        }
        Shaken::Brokers => (House::up(&data, &["--engines-only", "--kafka-nodes", "3"])?, None),
        Shaken::All | Shaken::Engines | Shaken::Ingest => (House::up(&data, &["--engines-only"])?, None),
    };
    let config = Fresh::new([7; 96]).write(&folder)?;
    let (round, kills, engine_blows) = match args.what {
        Shaken::All => (Blow::ROUND.to_vec(), Some(300), None),
        Shaken::Engines => (Blow::ON_ENGINES.to_vec(), None, Some(500)),
        Shaken::Brokers => (Blow::ON_THREE.to_vec(), None, Some(300)),
        Shaken::Ingest => (Blow::ON_INGEST.to_vec(), None, Some(100)),
        Shaken::Network => (Blow::on_network(&args.fault), None, None),
    };
    let asked = args.kills.is_some() || args.engine_blows.is_some();
    let mut plan = Plan {
        senders: args.senders,
        per_second: args.rate,
        kills: if asked { args.kills } else { kills },
        engine_blows: if asked { args.engine_blows } else { engine_blows },
        at_most: Duration::from_secs(args.minutes * 60),
        ingest_alone: args.what == Shaken::Ingest,
        bounds: (args.what != Shaken::All).then(|| Bounds::times(args.tolerance)),
        burners: args.burners,
        cuts,
        ..Plan::new(args.seed, &round)
    };
    if args.small {
        plan.instances = vec!["ingest 1/2", "ingest 2/2", "process", "report", "detect", "notify"];
    }
    let begun = Instant::now();
    let say = move |words: &str| {
        let seconds = begun.elapsed().as_secs();
        println!("{:>3}:{:02}  {words}", seconds / 60, seconds % 60);
    };
    match run(&folder, &config, &house.addresses, &plan, &say).await {
        Ok(outcome) => {
            println!("ALL HOLDS (seed {})\n{outcome}", args.seed);
            Ok(())
        }
        Err(error) => {
            // Whoever looks for the reason needs what is there.
            if let Some(temporary) = temporary {
                let _kept = temporary.keep();
            }
            Err(error)
        }
    }
}
