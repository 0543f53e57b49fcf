//! What the window store costs: `cargo run --release -p dedupe --example window_bench -- [ids] [folder]`.
//!
//! Fills a store with so many ids (10 million unless told) over twelve buckets in transactions of 2,000, from a small
//! index that has to grow on the way, as fast as it goes; then a quarter more at 500,000 ids a second, so that every
//! shard grows once at a pace that a lane could have. Prints CPU time of the lane's thread, memory, and the time to
//! open the store again. The folder defaults to a temporary one; it takes 40 bytes an id.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use dedupe::{Candidate, Entry, Id128, Identity, KeyHasher, LogStore, SeenPosition, Window, WindowStore};

const BATCH: u64 = 2_000;
const WINDOW_MS: u64 = 72 * 3_600_000;
const ABSENT: u64 = 1_000_000;
const PRESENT: u64 = 300_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let ids: u64 = args.next().map_or(Ok(10_000_000), |text| text.replace('_', "").parse())?;
    let folder = args.next();
    let temporary = tempfile::tempdir()?;
    let folder = folder.as_deref().map_or(temporary.path(), Path::new).join("window-bench");

    let memory_before = resident_bytes()?;
    let (mut store, _) = open(&folder)?;
    let hasher = KeyHasher::new([42; 16]);
    let id = |key: u64| hasher.id128(&key.to_le_bytes());

    let at = |key: u64| (u128::from(key.min(ids)) * u128::from(WINDOW_MS) / u128::from(ids)) as i64;
    let entry = |key: u64| Entry { id: id(key), offset: key, received_at: at(key) };
    println!("ids                      {ids}");
    let process = process_cpu()?;
    let begin = Instant::now();
    let (cpu, _) = insert(&mut store, 0..ids, &entry, None)?;
    let filled = begin.elapsed();
    let process = process_cpu()?.saturating_sub(process);
    println!("insert                   {:.3} µs CPU an id (filled in {filled:.1?})", micros(cpu, ids));
    println!("… with ids and growth    {:.3} µs CPU of the process", micros(process, ids));
    let resident = resident_bytes()?.saturating_sub(memory_before);
    println!(
        "resident                 {:.2} bytes an id ({} MB; index {} MB)",
        resident as f64 / ids as f64,
        resident / 1_000_000,
        store.memory_bytes() / 1_000_000
    );

    let pace = Duration::from_secs(1) * BATCH as u32 / 500_000;
    let (_, transactions) = insert(&mut store, ids..ids + ids / 4, &entry, Some(pace))?;
    let [median, late, worst] = [50, 99, 100].map(|part| percentile(&transactions, part));
    println!("transaction at 500,000/s {median:.1?}, p99 {late:.1?}, worst {worst:.1?}, of {}", transactions.len());
    println!("resident then            {} MB", resident_bytes()?.saturating_sub(memory_before) / 1_000_000);
    let ids = ids + ids / 4;

    let absent: Vec<Id128> = (ids..ids + ABSENT).map(id).collect();
    // A large odd step visits the whole window out of order.
    let present: Vec<Id128> = (0..PRESENT).map(|n| id((u128::from(n) * 7_368_787 % u128::from(ids)) as u64)).collect();
    println!("lookup absent, batches   {:.3} µs CPU", micros(look_up(&mut store, &absent, BATCH, 0)?, ABSENT));
    println!("lookup absent, singly    {:.3} µs CPU", micros(look_up(&mut store, &absent, 1, 0)?, ABSENT));
    println!("lookup absent, p99       {:.3} µs (clock included)", p99(&mut store, &absent)?);
    let took = look_up(&mut store, &present, BATCH, PRESENT)?;
    println!("lookup present, batches  {:.3} µs CPU", micros(took, PRESENT));
    println!("lookup present, p99      {:.3} µs (clock included)", p99(&mut store, &present)?);

    let began = Instant::now();
    drop(store);
    println!("close                    {:.3} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let (store, opened) = open(&folder)?;
    println!("open again               {:.3} s ({opened:?})", began.elapsed().as_secs_f64());

    let took = decide(store, ids, &id)?;
    println!(
        "decide and commit        {:.3} µs CPU an event, new keys in transactions of {BATCH}",
        micros(took, ABSENT)
    );
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn open(folder: &Path) -> Result<(LogStore, dedupe::Opened)> {
    let identity = Identity { incarnation: "bench".to_owned(), lane: 0, recipe_version: 1 };
    Ok(LogStore::open(folder, &identity, 0)?)
}

/// Inserts keys, one transaction a `pace` if there is one. Gives the lane's CPU time and how long each transaction took,
/// sorted.
fn insert(
    store: &mut LogStore,
    keys: Range<u64>,
    entry: &impl Fn(u64) -> Entry,
    pace: Option<Duration>,
) -> Result<(Duration, Vec<Duration>)> {
    let (mut cpu, mut transactions) = (Duration::ZERO, Vec::new());
    let mut due = Instant::now();
    for first in keys.clone().step_by(BATCH as usize) {
        let last = (first + BATCH).min(keys.end);
        let entries: Vec<Entry> = (first..last).map(entry).collect();
        if let Some(pace) = pace {
            due += pace;
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
        let (begin, cpu_before) = (Instant::now(), thread_cpu()?);
        store.apply(&entries, SeenPosition { next_offset: last as i64, raw_hi: last })?;
        cpu += thread_cpu()?.saturating_sub(cpu_before);
        transactions.push(begin.elapsed());
    }
    transactions.sort_unstable();
    Ok((cpu, transactions))
}

fn percentile(sorted: &[Duration], part: usize) -> Duration {
    let at = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// CPU time of looking all ids up, of which so many must be found.
fn look_up(store: &mut LogStore, ids: &[Id128], batch: u64, present: u64) -> Result<Duration> {
    let mut out = Vec::new();
    let mut found = 0;
    let cpu = thread_cpu()?;
    for ids in ids.chunks(batch as usize) {
        store.lookup(ids, &mut out)?;
        found += out.iter().filter(|hit| hit.is_some()).count() as u64;
    }
    let took = thread_cpu()?.saturating_sub(cpu);
    if found == present { Ok(took) } else { Err(format!("{found} ids were found, {present} are there").into()) }
}

/// The 99th percentile of single lookups, µs.
fn p99(store: &mut LogStore, ids: &[Id128]) -> Result<f64> {
    let mut out = Vec::new();
    let mut took = Vec::with_capacity(ids.len());
    for id in ids {
        let at = Instant::now();
        store.lookup(std::slice::from_ref(id), &mut out)?;
        took.push(at.elapsed());
    }
    took.sort_unstable();
    Ok(percentile(&took, 99).as_secs_f64() * 1e6)
}

/// CPU time of deciding and committing new keys, hashing them left out.
fn decide(store: LogStore, ids: u64, id: &impl Fn(u64) -> Id128) -> Result<Duration> {
    let mut window = Window::new(store);
    let batches: Vec<Vec<Candidate>> = (ids..ids + ABSENT)
        .step_by(BATCH as usize)
        .map(|first| {
            (first..first + BATCH)
                .map(|key| Candidate { id: id(key), offset: key, received_at: WINDOW_MS as i64, window_ms: WINDOW_MS })
                .collect()
        })
        .collect();
    let mut verdicts = Vec::new();
    let cpu = thread_cpu()?;
    for batch in &batches {
        window.decide_batch(batch, &mut verdicts)?;
        let raw_hi = batch.last().map_or(0, |last| last.offset + 1);
        window.commit(SeenPosition { next_offset: raw_hi as i64, raw_hi })?;
    }
    Ok(thread_cpu()?.saturating_sub(cpu))
}

fn micros(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

/// CPU time of this thread, as the scheduler counts it.
fn thread_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("no CPU time in schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// CPU time of the process, threads that have ended included; in steps of a clock tick, 10 ms.
fn process_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The fields after the name in parentheses: user and system time are the 14th and 15th of all.
    let fields = text.rsplit_once(')').ok_or("no name in stat")?.1.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}
