//! `hookline dlq redrive`: dead letters appended to `raw` again.
//!
//! A redriven record is a new record with a new received time: `process` reads it with today's adapters and deduplicates it like any
//! other, so an event that came in another way in the meantime counts once. The dedupe window forgets after days, and dead letters
//! are kept for weeks; so what counts already, whenever that was, is looked up and not appended.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use event::{Millis, lane};
use kafka::Topic;
use kafka::control::Control;
use kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use process::{Pipeline, Step};
use serde_json::json;
use warehouse::{DeadLetterRow, DeadLetterState, Decision, Warehouse};

use super::letter::{self, Letter};
use super::plan::{Again, plan};
use super::{Pages, Which, current};
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::platform::Platform;
use crate::reach::Reach;
use crate::when::now_ms;

/// How long brokers may take to be reached, and to acknowledge.
const PATIENCE: Duration = Duration::from_secs(15);
/// Dead letters taken at once: their bytes are 256 KiB each at most, as a rule.
const PAGE: u64 = 200;
/// Reasons that are printed.
const SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Also those that were redriven or discarded before, that cannot be read today, or that count already
    #[arg(long)]
    force: bool,
    /// Why; it stays beside each of them
    #[arg(long, value_name = "TEXT", default_value = "redriven", value_parser = words)]
    why: String,
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only say what would become of them
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args) -> Outcome {
    args.which.is_said(args.all)?;
    let who = if args.dry_run { String::new() } else { who(args.who.as_ref())? };
    let platform = args.reach.platform()?;
    let warehouse = platform.connect().await?;
    // A single record that was decided about before is refused by name; among many, only the open ones are meant.
    let state = (!args.force && args.which.offset.is_none()).then_some(DeadLetterState::Open);
    let (filter, control) = current(&platform, args.which.filter(state)).await?;
    let pipeline = platform.pipeline();
    let producer = if args.dry_run { None } else { Some(connect(&platform).await?) };
    let mut redrive = Redrive {
        args,
        who: &who,
        config: &platform.config,
        warehouse: &warehouse,
        lanes: control.lanes,
        incarnation: &control.incarnation,
        producer,
        tally: Tally::default(),
    };
    let mut pages = Pages::new(filter, PAGE, args.limit);
    loop {
        // Those that were redriven are no longer open; the others stand first again.
        let skip = if args.dry_run || state.is_none() { redrive.tally.seen } else { redrive.tally.left() };
        let rows = pages.next(&warehouse, skip).await?;
        if rows.is_empty() {
            break;
        }
        let letters = letter::fetch(&platform, &rows).await?;
        redrive.page(&pipeline, &control, &rows, &letters).await?;
    }
    let tally = redrive.tally;
    tally.say(args);
    Ok(if tally.left() == 0 && tally.seen > 0 { Verdict::Fine } else { Verdict::NeedsAttention })
}

async fn connect(platform: &Platform) -> anyhow::Result<EdgeProducer> {
    let options = EdgeOptions { delivery_timeout: PATIENCE, ..EdgeOptions::default() };
    let producer = EdgeProducer::open(&platform.cluster, options)?;
    let deadline = Instant::now() + PATIENCE;
    while !producer.is_up() {
        ensure!(
            Instant::now() < deadline,
            "Kafka at {} is not reachable within {} s; nothing was redriven",
            platform.cluster.brokers,
            PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(producer)
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    /// Dead letters looked at.
    seen: u64,
    /// Dead letters that were redriven, or would be.
    redriven: u64,
    /// Records that were appended for them, or would be.
    appended: u64,
    /// Among those, records that will be dead letters again.
    unreadable: u64,
    /// Not redriven, by why.
    skipped: HashMap<String, u64>,
}

impl Tally {
    /// Dead letters that stay as they are.
    fn left(&self) -> u64 {
        self.skipped.values().sum()
    }

    fn skip(&mut self, why: impl Into<String>) {
        *self.skipped.entry(why.into()).or_default() += 1;
    }
}

struct Redrive<'r> {
    args: &'r Args,
    who: &'r str,
    config: &'r config::Config,
    warehouse: &'r Warehouse,
    lanes: u16,
    incarnation: &'r str,
    /// `None` for a dry run.
    producer: Option<EdgeProducer>,
    tally: Tally,
}

impl Redrive<'_> {
    async fn page(
        &mut self,
        pipeline: &Pipeline,
        control: &Control,
        rows: &[DeadLetterRow],
        letters: &HashMap<(u16, u64), Letter>,
    ) -> anyhow::Result<()> {
        self.tally.seen += rows.len() as u64;
        let names: Vec<String> = rows.iter().map(|row| format!("{}/{}", row.lane, row.raw_offset)).collect();
        // The view says so too, as of the moment when it was read: this is the last look before appending.
        let redriven: HashSet<String> = self.warehouse.redriven(self.incarnation, &names).await?.into_iter().collect();
        let now = now_ms();
        let mut chosen: Vec<(&DeadLetterRow, Vec<Again>)> = Vec::new();
        {
            let mut step = Step::new(pipeline, control);
            for (row, name) in rows.iter().zip(&names) {
                match self.choose(&mut step, row, redriven.contains(name), letters, now) {
                    Ok(records) => chosen.push((row, records)),
                    Err(why) => self.tally.skip(why),
                }
            }
        }
        let chosen = self.without_counted(chosen).await?;
        for (_, records) in &chosen {
            self.tally.redriven += 1;
            self.tally.appended += records.len() as u64;
            self.tally.unreadable += records.iter().filter(|record| record.dead.is_some()).count() as u64;
        }
        if self.args.dry_run || chosen.is_empty() {
            return Ok(());
        }
        self.append(&chosen).await?;
        self.note(&chosen).await
    }

    /// What a row becomes, or why it stays as it is.
    fn choose(
        &self,
        step: &mut Step<'_>,
        row: &DeadLetterRow,
        redriven: bool,
        letters: &HashMap<(u16, u64), Letter>,
        now: i64,
    ) -> Result<Vec<Again>, String> {
        let force = self.args.force;
        if !force && (redriven || row.state == DeadLetterState::Redriven.name()) {
            return Err("was redriven before; --force does it again".to_owned());
        }
        if !force && row.state == DeadLetterState::Discarded.name() {
            return Err("was discarded; --force redrives it all the same".to_owned());
        }
        let Some(letter) = letters.get(&(row.lane, row.raw_offset)) else {
            return Err(
                "the topic dead-letters no longer holds its bytes; dlq discard --why says so for good".to_owned()
            );
        };
        let records =
            plan(self.config, step, letter, &row.event_key, (row.lane, row.raw_offset), now).map_err(|dead| {
                format!("nobody can say how to read it ({}); dlq discard --why gives it up", dead.detail)
            })?;
        match records.iter().all(|record| record.dead.is_some()).then(|| records.first()).flatten() {
            Some(Again { dead: Some(dead), .. }) if !force => {
                Err(format!("would be a dead letter again ({}: {})", dead.reason, dead.detail))
            }
            _ => Ok(records),
        }
    }

    /// Leaves out events that count already, whenever that was.
    async fn without_counted<'c>(
        &mut self,
        chosen: Vec<(&'c DeadLetterRow, Vec<Again>)>,
    ) -> anyhow::Result<Vec<(&'c DeadLetterRow, Vec<Again>)>> {
        if self.args.force {
            return Ok(chosen);
        }
        let keys: Vec<&str> =
            chosen.iter().flat_map(|(_, records)| records.iter().map(|record| record.key.as_str())).collect();
        let mut counted = HashSet::new();
        for keys in keys.chunks(1_000) {
            for row in self.warehouse.counted_keys(keys).await? {
                counted.insert((row.source, row.event_key));
            }
        }
        let mut left = Vec::new();
        for (row, mut records) in chosen {
            records.retain(|record| !counted.contains(&(row.source.clone(), record.key.clone())));
            match records.is_empty() {
                true => self.tally.skip("counts already: the event came in another way; dlq discard --why closes it"),
                false => left.push((row, records)),
            }
        }
        Ok(left)
    }

    /// Appends the records, and returns once the in-sync replicas have them all.
    async fn append(&self, chosen: &[(&DeadLetterRow, Vec<Again>)]) -> anyhow::Result<()> {
        let Some(producer) = &self.producer else { return Ok(()) };
        let records: Vec<EdgeRecord<'_>> = chosen
            .iter()
            .flat_map(|(_, records)| records)
            .map(|record| EdgeRecord {
                topic: Topic::Raw,
                partition: lane::of_key(record.key.as_bytes(), self.lanes),
                key: record.key.as_bytes(),
                payload: &record.body,
                headers: &record.headers,
            })
            .collect();
        let unknown = "some of these dead letters may have been appended: look at `hookline dlq list` in a few seconds, then redrive \
                       what is still open; an event counts once in any case";
        let delivery = producer.send(&records).context("nothing of this step was appended")?;
        for report in delivery.wait(Instant::now() + PATIENCE).await {
            report.context(unknown)?;
        }
        Ok(())
    }

    async fn note(&self, chosen: &[(&DeadLetterRow, Vec<Again>)]) -> anyhow::Result<()> {
        let at = Millis(now_ms());
        let decisions: Vec<Decision> = chosen
            .iter()
            .map(|(row, _)| Decision {
                lane: row.lane,
                raw_offset: row.raw_offset,
                state: DeadLetterState::Redriven,
                at,
                who: self.who.to_owned(),
                why: self.args.why.clone(),
            })
            .collect();
        self.warehouse.decide(self.incarnation, &decisions).await.context(
            "they were appended, and who did it could not be written down; they show as redriven once their rows are there",
        )
    }
}

impl Tally {
    fn say(&self, args: &Args) {
        if args.reach.json {
            let answer = json!({
                "ok": self.left() == 0 && self.seen > 0, "dry_run": args.dry_run, "seen": self.seen, "redriven": self.redriven,
                "appended": self.appended, "unreadable": self.unreadable, "left": self.left(), "skipped": self.skipped,
            });
            println!("{answer}");
            return;
        }
        let flag = args.reach.flag();
        if self.seen == 0 {
            println!("There is no such dead letter{}.", if args.force { "" } else { " that is open" });
            println!("Next: hookline dlq list {flag}");
            return;
        }
        let verb = if args.dry_run { "would be" } else { "are" };
        println!("{} of {} dead letters {verb} redriven, as {} records.", self.redriven, self.seen, self.appended);
        if self.unreadable > 0 {
            println!("{} of the records cannot be read today either: they {verb} new dead letters.", self.unreadable);
        }
        let mut skipped: Vec<_> = self.skipped.iter().collect();
        skipped.sort_by_key(|(why, number)| (std::cmp::Reverse(**number), why.as_str()));
        for (why, number) in skipped.iter().take(SHOWN) {
            println!("  {number:>8} stay: {why}");
        }
        match args.dry_run {
            true if self.redriven > 0 => println!("Next: the same without --dry-run"),
            true => println!("Next: hookline dlq list {flag}"),
            false => {
                println!("Next: what became of them, in a second or two:");
                println!(
                    "  SELECT outcome, type, counted, reason, count() FROM hookline.where_is WHERE redrive_of != '' GROUP BY ALL ORDER BY ALL"
                );
            }
        }
    }
}
