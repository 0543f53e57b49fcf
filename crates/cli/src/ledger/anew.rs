//! `hookline ledger start-anew` and `recreate-topic`: when a topic has vanished.

use std::time::Duration;

use anyhow::ensure;
use event::{Millis, Progress};
use kafka::control::ControlError;
use kafka::positions::Positions;
use kafka::{Topic, control, topics};
use serde_json::json;

use super::raw::PATIENCE;
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::platform::Platform;
use crate::reach::{self, Reach};
use crate::when::now_ms;

/// How long Kafka may take to delete all topics.
const DELETED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do it: every topic is deleted. Without it, only what would be lost is shown
    #[arg(long, requires = "why")]
    apply: bool,
    /// How it came about; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: Option<String>,
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopicArgs {
    /// Its name, such as hookline.alerts.v1
    #[arg(value_name = "TOPIC", value_parser = topic)]
    topic: Topic,
    /// Why what was in it is given up
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
}

fn topic(name: &str) -> Result<Topic, String> {
    let known = Topic::ALL.into_iter().find(|topic| topic.name() == name);
    known
        .ok_or_else(|| format!("{name:?} is no topic of Hookline; they are {}", Topic::ALL.map(Topic::name).join(", ")))
}

/// What a lane has that no row shows yet: `None` where a topic is gone, so that nobody can tell.
struct Waiting {
    lane: u16,
    raw_end: Option<u64>,
    settled: u64,
}

pub(crate) async fn run(reach: &Reach, args: &Args) -> Outcome {
    let who = if args.apply { who(args.who.as_ref())? } else { String::new() };
    let platform = reach.platform()?;
    let warehouse = platform.connect().await?;
    let cluster = platform.cluster.clone();
    let identity = reach::blocking(move || {
        // The topic with the identity may be the one that is gone, or damaged. A Kafka that does not answer is neither: nothing is
        // written down as over while it cannot be asked.
        if !topics::present(&cluster, PATIENCE)?.contains(&Topic::Control) {
            return Ok(None);
        }
        match control::read(&cluster) {
            Err(ControlError::Unreadable { .. }) => Ok(None),
            read => Ok(read?),
        }
    })
    .await?;
    let mut lives: Vec<String> = warehouse.lives().await?.into_iter().map(|life| life.incarnation).collect();
    if let Some(control) = identity.as_ref().filter(|control| !lives.contains(&control.incarnation)) {
        lives.push(control.incarnation.clone());
    }
    let ended = warehouse.ended_lives().await?;
    lives.retain(|life| !ended.contains(life));
    let mut waiting = Vec::new();
    for life in &lives {
        if identity.as_ref().is_none_or(|control| control.incarnation == *life) {
            waiting.extend(still_waiting(&platform, warehouse.settled(life).await?).await?);
        }
    }
    let mut deleted = Vec::new();
    if args.apply {
        let why = args.why.as_deref().unwrap_or_default();
        for life in &lives {
            warehouse.end_life(life, Millis(now_ms()), &who, why).await?;
        }
        let cluster = platform.cluster.clone();
        deleted = reach::blocking(move || Ok(topics::delete_all(&cluster, DELETED_WITHIN)?)).await?;
    }
    say(reach, args, &lives, &waiting, &deleted);
    Ok(if args.apply { Verdict::Fine } else { Verdict::NeedsAttention })
}

/// How much of each lane has no row yet.
async fn still_waiting(
    platform: &Platform,
    settled: std::collections::BTreeMap<u16, u64>,
) -> anyhow::Result<Vec<Waiting>> {
    let (cluster, lanes) = (platform.cluster.clone(), platform.plan.lanes);
    reach::blocking(move || {
        let positions = Positions::open(&cluster, "hookline-tools", PATIENCE)?;
        let reported = Positions::open(&cluster, report::GROUP, PATIENCE)?;
        let lane = |lane: u16| {
            let raw_end = positions.watermarks(Topic::Raw, lane).ok().map(|range| range.end.unsigned_abs());
            let committed = reported.last_committed(Topic::Events, lane).ok().flatten();
            let progress = committed.and_then(|committed| committed.metadata.parse::<Progress>().ok());
            let settled = settled.get(&lane).copied().unwrap_or(0).max(progress.unwrap_or_default().raw_hi);
            Waiting { lane, raw_end, settled }
        };
        Ok((0..lanes).map(lane).collect())
    })
    .await
}

fn say(reach: &Reach, args: &Args, lives: &[String], waiting: &[Waiting], deleted: &[Topic]) {
    if reach.json {
        let lane = |Waiting { lane, raw_end, settled }: &Waiting| json!({ "lane": lane, "raw_end": raw_end, "settled": settled, "lost": raw_end.map(|end| end.saturating_sub(*settled)) });
        println!(
            "{}",
            json!({
                "ok": args.apply, "applied": args.apply, "lives": lives, "lanes": waiting.iter().map(lane).collect::<Vec<_>>(),
                "deleted": deleted.iter().map(|topic| topic.name()).collect::<Vec<_>>(),
            })
        );
        return;
    }
    for Waiting { lane, raw_end, settled } in waiting {
        match raw_end {
            Some(end) => println!(
                "lane {lane}: rows up to raw offset {settled}; {} records of raw after that have none yet",
                end.saturating_sub(*settled)
            ),
            None => println!(
                "lane {lane}: rows up to raw offset {settled}; how much came after that, nobody can tell any more"
            ),
        }
    }
    if args.apply {
        let names: Vec<&str> = deleted.iter().map(|topic| topic.name()).collect();
        println!("Written down as over: {}. Deleted: {}.", lives.join(", "), names.join(", "));
        println!(
            "Next: start the services; they make the topics, and a new life begins. Ask senders to send again what they keep."
        );
    } else {
        println!(
            "A new life of the topics begins at offset 0. The rows that there are stay, as history. What is lost:"
        );
        println!(
            "  records that have no row yet (start report without process and ingest, to bring in what events still holds)"
        );
        println!("  the dedupe window: what was counted before, and is sent again, counts again");
        println!("  messages that are owed, open windows of rules, dead letters, pauses of sources");
        println!("Next: stop all services, then the same with --apply --why TEXT");
    }
}

/// Makes a topic again that has vanished.
pub(crate) async fn recreate(reach: &Reach, args: &TopicArgs) -> Outcome {
    let topic = args.topic;
    ensure!(
        !topic.counts_for_rows(),
        "the offsets of {topic} are on rows, blocks and marks, so that it cannot be made again alone: hookline ledger start-anew {}",
        reach.flag()
    );
    let platform = reach.platform()?;
    reach::identity(&platform).await?;
    let (cluster, plan) = (platform.cluster.clone(), platform.plan.clone());
    let created = reach::blocking(move || Ok(topics::recreate(&cluster, &plan, topic)?)).await?;
    if reach.json {
        println!("{}", json!({ "ok": true, "topic": topic.name(), "created": created.is_some() }));
        return Ok(Verdict::Fine);
    }
    match created {
        Some(_) => println!("{topic} is there again, empty: {}. Next: start the services", args.why),
        None => println!("{topic} was there: nothing was done"),
    }
    Ok(Verdict::Fine)
}
