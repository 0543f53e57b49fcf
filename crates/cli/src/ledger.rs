//! `hookline ledger`: every record of `raw` is one row; which are not, and what they are.

mod accept;
mod anew;
pub(crate) mod raw;
mod recover;

use std::collections::BTreeMap;
use std::ops::Range;

use clap::Subcommand;
use kafka::Cluster;
use serde_json::{Value, json};
use warehouse::{LaneLedger, Loss, Warehouse};

use crate::exit::{Outcome, Verdict};
use crate::platform::Platform;
use crate::reach::{self, Reach};
use crate::spans;
use crate::when;
use raw::{Kept, Record};

/// Faulty buckets of 65,536 offsets that are looked into for each lane: far more than a person reads.
const BUCKETS: usize = 200;
/// Ranges of a lane that are printed.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Of each lane, say what so many of the missing records are, as far as `raw` still holds them
    #[arg(long, value_name = "N", default_value_t = 10)]
    details: usize,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write down that records are gone for good, so that the ledger counts them as lost and lanes go on after them
    AcceptLoss(accept::Args),
    /// Say which positions are not where they belong and why, and put them there: after retention or a lost or emptied engine
    Recover(recover::Args),
    /// Begin a new life of the topics: after one was deleted whose offsets are on rows. Stop all services first
    StartAnew(anew::Args),
    /// Make a topic again, empty, that has vanished and whose offsets are not on rows
    RecreateTopic(anew::TopicArgs),
}

pub(crate) fn run(args: &Args) -> Outcome {
    reach::block_on(async {
        match &args.command {
            Some(Command::AcceptLoss(accept)) => accept::run(&args.reach, accept).await,
            Some(Command::Recover(recover)) => recover::run(&args.reach, recover).await,
            Some(Command::StartAnew(anew)) => anew::run(&args.reach, anew).await,
            Some(Command::RecreateTopic(topic)) => anew::recreate(&args.reach, topic).await,
            None => look(args).await,
        }
    })
}

async fn look(args: &Args) -> Outcome {
    let platform = args.reach.platform()?;
    let warehouse = platform.connect().await?;
    let ledger = Ledger::read(&platform, &warehouse, args.details).await?;
    if args.reach.json {
        ledger.print_json(&args.reach)
    } else {
        ledger.print(&args.reach)
    }
    Ok(if ledger.balances() && ledger.kafka.is_ok() { Verdict::Fine } else { Verdict::NeedsAttention })
}

/// The books of one lane.
struct Books {
    incarnation: String,
    lane: u16,
    records: u64,
    expected: u64,
    lost: u64,
    /// One past the last settled offset; `None` before the lane has settled anything.
    settled: Option<u64>,
    missing: Vec<Range<u64>>,
    /// Without a row, and not settled yet: an insert may be under way.
    under_way: Vec<Range<u64>>,
    /// Offsets with more than one row, and how many they have.
    repeated: Vec<(u64, u64)>,
    /// Whether there is more than what is named.
    more: bool,
    /// What `raw` still holds; `None` for an earlier life of the topics.
    kept: Option<Kept>,
    /// What some of the missing records are.
    details: Vec<Record>,
}

impl Books {
    fn balances(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && !self.more
    }

    /// The missing records that `raw` still holds, and those that it does not.
    fn kept_and_gone(&self) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
        let low = self.kept.as_ref().map_or(u64::MAX, |kept| kept.offsets.start);
        let (gone, kept) = spans::split_at(&self.missing, low);
        (kept, gone)
    }

    /// Records that wait in `raw` for their rows.
    fn waiting(&self) -> Option<u64> {
        Some(self.kept.as_ref()?.offsets.end.saturating_sub(self.settled.unwrap_or(0)))
    }

    /// What to do about the faults.
    fn next(&self, flag: &str) -> Vec<String> {
        let lane = self.lane;
        let command = |verb: &str, range: &Range<u64>, more: &str| {
            format!("hookline {verb} {flag} --lane {lane} --from {} --to {}{more}", range.start, range.end - 1)
        };
        let (kept, gone) = self.kept_and_gone();
        let kept = kept.iter().take(SHOWN).map(|range| command("replay", range, ""));
        let gone = gone.iter().take(SHOWN).map(|range| command("ledger accept-loss", range, " --why WHY"));
        let repeated = warehouse::ranges(self.repeated.iter().map(|(offset, _)| *offset));
        let doubled = repeated.iter().take(SHOWN).map(|range| command("replay", range, " --apply --replace"));
        kept.chain(gone).chain(doubled).collect()
    }
}

struct Ledger {
    books: Vec<Books>,
    losses: Vec<Loss>,
    /// The life of the topics now, or why Kafka does not say.
    kafka: Result<String, String>,
}

impl Ledger {
    async fn read(platform: &Platform, warehouse: &Warehouse, details: usize) -> anyhow::Result<Self> {
        let control = reach::identity(platform).await;
        let current = control.as_ref().ok().map(|control| control.incarnation.clone());
        let kept = match &control {
            Ok(control) => raw::kept(&platform.cluster, control.lanes).await,
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let kafka = match (&current, &kept) {
            (Some(current), Ok(_)) => Ok(current.clone()),
            (_, Err(error)) => Err(format!("{error:#}")),
            (None, Ok(_)) => Err("Kafka does not say which life of the topics this is".to_owned()),
        };
        let kept = kept.unwrap_or_default();
        let mut books = Vec::new();
        let mut losses = Vec::new();
        let mut settled = BTreeMap::new();
        for LaneLedger { incarnation, lane, records, expected, missing, repeated, lost } in warehouse.ledger().await? {
            if !settled.contains_key(&incarnation) {
                settled.insert(incarnation.clone(), warehouse.settled(&incarnation).await?);
                losses.extend(warehouse.losses(&incarnation).await?);
            }
            let settled = settled.get(&incarnation).and_then(|lanes| lanes.get(&lane)).copied();
            let faults = match missing != 0 || repeated != 0 {
                true => warehouse.blocks().faults(&incarnation, lane, BUCKETS).await?,
                false => warehouse::Faults::default(),
            };
            let (missing, under_way) = spans::split_at(&faults.missing, settled.unwrap_or(u64::MAX));
            let is_current = current.as_ref().is_none_or(|current| *current == incarnation);
            let kept = kept.get(&lane).filter(|_| is_current).cloned();
            let mut of_lane = Books {
                incarnation,
                lane,
                records,
                expected,
                lost,
                settled,
                missing,
                under_way,
                repeated: faults.repeated,
                more: faults.more,
                kept,
                details: Vec::new(),
            };
            let (still_kept, _) = of_lane.kept_and_gone();
            of_lane.details = details_of(&platform.cluster, lane, still_kept, details).await?;
            books.push(of_lane);
        }
        if let Some(current) = &current {
            // Earlier lives of the topics are history: they show when something is wrong with them.
            books.retain(|books| books.incarnation == *current || !books.balances());
        }
        Ok(Self { books, losses, kafka })
    }

    fn balances(&self) -> bool {
        self.books.iter().all(Books::balances)
    }

    fn next(&self, reach: &Reach) -> Vec<String> {
        self.books.iter().flat_map(|books| books.next(&reach.flag())).collect()
    }

    fn print_json(&self, reach: &Reach) {
        let books = |books: &Books| {
            json!({
                "incarnation": books.incarnation, "lane": books.lane, "records": books.records, "expected": books.expected,
                "missing": spans::total(&books.missing), "repeated": books.repeated.len(), "lost": books.lost,
                "settled": books.settled, "waiting": books.waiting(), "more": books.more,
                "missing_offsets": spans::as_json(&books.missing), "under_way": spans::as_json(&books.under_way),
                "repeated_offsets": books.repeated.iter().map(|(offset, rows)| json!({ "offset": offset, "rows": rows })).collect::<Vec<_>>(),
                "kept": books.kept.as_ref().map(|kept| json!({ "from": kept.offsets.start, "to": kept.offsets.end })),
                "details": books.details,
            })
        };
        let answer = json!({
            "ok": self.balances(), "incarnation": self.kafka.as_ref().ok(), "kafka": self.kafka.as_ref().err(),
            "lanes": self.books.iter().map(books).collect::<Vec<Value>>(), "losses": self.losses, "next": self.next(reach),
        });
        println!("{answer}");
    }

    fn print(&self, reach: &Reach) {
        println!(
            "{:>5} {:>14} {:>14} {:>9} {:>9} {:>9} {:>14} {:>10}",
            "lane", "records", "expected", "missing", "repeated", "lost", "settled", "waiting"
        );
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for books in &self.books {
            println!(
                "{:>5} {:>14} {:>14} {:>9} {:>9} {:>9} {:>14} {:>10}",
                books.lane,
                books.records,
                books.expected,
                spans::total(&books.missing),
                books.repeated.len(),
                books.lost,
                number(books.settled),
                number(books.waiting()),
            );
        }
        if self.books.is_empty() {
            println!("No lane has settled anything yet.");
        }
        self.books.iter().for_each(|books| self.print_faults(books));
        for Loss { lane, first_offset, last_offset, at, who, why } in &self.losses {
            let range = match *last_offset + 1 {
                warehouse::NO_MORE => {
                    format!("{first_offset} and all that came after it in a life of the topics that is over")
                }
                end => spans::named(&(*first_offset..end)),
            };
            println!("lost      lane {lane}: {range}, acknowledged by {who} at {}: {why}", when::shown(*at));
        }
        if let Err(why) = &self.kafka {
            println!("Kafka does not answer, so whether raw still holds what is missing is unknown: {why}");
        }
        let next = self.next(reach);
        match next.split_first() {
            Some((first, others)) => {
                println!("Next: {first}");
                others.iter().for_each(|command| println!("      {command}"));
            }
            None if self.kafka.is_ok() => println!("The ledger balances: every settled record is one row."),
            None => {}
        }
    }

    fn print_faults(&self, books: &Books) {
        let Books { lane, incarnation, .. } = books;
        let earlier = match &self.kafka {
            Ok(current) if current != incarnation => format!(" of an earlier life of the topics ({incarnation})"),
            _ => String::new(),
        };
        let (kept, gone) = books.kept_and_gone();
        let lists = [
            ("MISSING", kept, ""),
            ("MISSING", gone, ", which raw no longer holds"),
            ("under way", books.under_way.clone(), ", not settled yet"),
        ];
        for (what, ranges, remark) in &lists {
            for range in ranges.iter().take(SHOWN) {
                println!("{what:<9} lane {lane}{earlier}: {}{remark}", spans::named(range));
            }
            if ranges.len() > SHOWN {
                println!("{what:<9} lane {lane}{earlier}: and {} further ranges{remark}", ranges.len() - SHOWN);
            }
        }
        for Record { offset, source, received_at, receipt, key, bytes } in &books.details {
            println!(
                "          {offset}  {}  source {source}  receipt {receipt}  key {key}  {bytes} bytes",
                when::shown(*received_at)
            );
        }
        for (offset, rows) in books.repeated.iter().take(SHOWN) {
            println!("REPEATED  lane {lane}{earlier}: {offset} has {rows} rows");
        }
        if books.repeated.len() > SHOWN || books.more {
            println!("REPEATED  lane {lane}{earlier}: there is more than what is named here");
        }
    }
}

/// What the first `most` records of these ranges are.
async fn details_of(cluster: &Cluster, lane: u16, ranges: Vec<Range<u64>>, most: usize) -> anyhow::Result<Vec<Record>> {
    if ranges.is_empty() || most == 0 {
        return Ok(Vec::new());
    }
    let cluster = cluster.clone();
    reach::blocking(move || raw::records(&cluster, lane, &ranges, most)).await
}
