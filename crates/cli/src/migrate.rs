//! `hookline migrate`: the tables, created or upgraded.

use std::path::PathBuf;

use anyhow::Context;
use config::{Config, Environment};
use runtime::Shutdown;
use warehouse::Migration;

use crate::exit::{Outcome, Verdict};
use crate::platform::{Platform, Whereabouts};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Only say what would be done; exit code 1 if there is anything
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    // Tables need no source's secret, so none is looked up.
    let config = Config::load(&args.config, &Environment::of_process().without_secrets())?;
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(migrate(args, config))
}

async fn migrate(args: &Args, config: Config) -> Outcome {
    let mut platform = Platform::new(
        config,
        Whereabouts { brokers: Some(String::new()), ..Whereabouts::default() },
        Shutdown::default(),
    )?;
    if let Ok(password) = std::env::var("HOOKLINE_CLICKHOUSE_PASSWORD") {
        platform.warehouse.password = password;
    }
    let (warehouse, layout) = (platform.connect().await?, platform.layout());
    let migrations = if args.dry_run { warehouse.pending(&layout).await? } else { warehouse.migrate(&layout).await? };
    say(args, &migrations)?;
    Ok(if args.dry_run && !migrations.is_empty() { Verdict::NeedsAttention } else { Verdict::Fine })
}

fn say(args: &Args, migrations: &[Migration]) -> anyhow::Result<()> {
    if args.json {
        let list: Vec<_> = migrations
            .iter()
            .map(|Migration { database, version, name, .. }| serde_json::json!({ "database": database, "version": version, "name": name }))
            .collect();
        println!("{}", serde_json::json!({ "applied": !args.dry_run, "migrations": list }));
        return Ok(());
    }
    for Migration { database, version, name, .. } in migrations {
        println!("{}  {database}  {version:04} {name}", if args.dry_run { "to do" } else { "done" });
    }
    match (migrations.len(), args.dry_run) {
        (0, _) => println!("The tables are up to date."),
        (_, true) => println!("Next: hookline migrate --config {}", args.config.display()),
        (_, false) => {}
    }
    Ok(())
}
