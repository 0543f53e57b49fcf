//! The crash oracle as a command: a whole Hookline is shaken while platforms send, and then its books are compared.
//!
//! `cargo build --release -p hookline && cargo run --release -p hookline-testkit --example oracle -- --kills 300`

#![allow(clippy::print_stdout, reason = "a command: it prints")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use config::Fresh;
use hookline_testkit::House;
use hookline_testkit::oracle::{Blow, Plan, run};

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
    /// Processes to end by kill -9
    #[arg(long, default_value_t = 300)]
    kills: u32,
    /// Senders at once
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Events a second, of all senders together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Where chance begins: the same seed sends the same events and plans the same blows; the timing is the machine's
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// No more blows after so many minutes
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// A folder to work in, which is kept [default: one that goes when all holds]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
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
    let (folder, temporary) = match &args.folder {
        Some(folder) => (folder.clone(), None),
        None => {
            let temporary = tempfile::Builder::new().prefix("hookline-oracle-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    std::fs::create_dir_all(&folder)?;
    println!("in {}", folder.display());
    let house = House::up(&folder.join("data"), &["--engines-only"])?;
    let config = Fresh::new([7; 96]).write(&folder)?;
    let plan = Plan {
        seed: args.seed,
        senders: args.senders,
        per_second: args.rate,
        round: Blow::ROUND.to_vec(),
        kills: Some(args.kills),
        at_most: Duration::from_secs(args.minutes * 60),
    };
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
