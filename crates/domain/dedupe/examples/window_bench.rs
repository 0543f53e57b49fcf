//! What the window store costs: `cargo run --release -p hookline-dedupe --example window_bench -- [ids] [folder]`.
//!
//! Fills a store with so many ids (10 million unless told) over 72 hours in transactions of 2,000, as fast as it goes;
//! then six hours more, two buckets, at 500,000 ids a second, while buckets are sealed and expire. Prints CPU time of
//! the lane's thread, memory, and the time to open the store again after a process that wrote to it was killed, and to
//! restore it from its `seen` records alone. The folder defaults to a temporary one; it takes 45 bytes an id.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hookline_dedupe::{
    Candidate, Entry, Id128, Identity, KeyHasher, LogStore, Restore, SeenPosition, Window, WindowStore, changelog,
};

const BATCH: u64 = 2_000;
/// Parts of six hours.
const PARTS: u64 = 12;
const WINDOW_MS: u64 = PARTS * 6 * 3_600_000;
const ABSENT: u64 = 1_000_000;
const PRESENT: u64 = 300_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The marks of a window: key and offset are one number.
#[derive(Clone, Copy)]
struct Marks<'h> {
    ids: u64,
    hasher: &'h KeyHasher,
}

impl Marks<'_> {
    fn id(&self, key: u64) -> Id128 {
        self.hasher.id128(&key.to_le_bytes())
    }

    fn at(&self, key: u64) -> i64 {
        (u128::from(key) * u128::from(WINDOW_MS) / u128::from(self.ids)) as i64
    }

    fn of(&self, keys: Range<u64>) -> Vec<Entry> {
        keys.map(|key| Entry { id: self.id(key), offset: key, received_at: self.at(key) }).collect()
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let ids: u64 = args.next().map_or(Ok(10_000_000), |text| text.replace('_', "").parse())?;
    let folder = args.next();
    let temporary = tempfile::tempdir()?;
    let folder = folder.as_deref().map_or(temporary.path(), Path::new).join("window-bench");
    let hasher = KeyHasher::new([42; 16]);
    let marks = Marks { ids, hasher: &hasher };
    if args.next().as_deref() == Some("write") {
        return write_for_ever(&folder, marks);
    }

    let memory_before = resident()?;
    let mut store = open(&folder)?;
    println!("ids                      {ids}");
    let process = process_cpu()?;
    let begin = Instant::now();
    let (cpu, _) = insert(&mut store, marks, 0..ids, None)?;
    store.settle()?;
    let filled = begin.elapsed();
    let process = process_cpu()?.saturating_sub(process);
    println!("insert                   {:.3} µs CPU an id (filled in {filled:.1?})", micros(cpu, ids));
    println!("… ids, growth, sealing   {:.3} µs CPU of the process", micros(process, ids));
    let held = resident()?.saturating_sub(memory_before);
    println!(
        "resident                 {:.2} bytes an id ({} MB; indexes {} MB; at most {} MB while it was filled)",
        held as f64 / ids as f64,
        held / 1_000_000,
        store.memory_bytes() / 1_000_000,
        measure::most_resident(std::process::id())?.saturating_sub(memory_before) / 1_000_000
    );

    let pace = Duration::from_secs(1) * BATCH as u32 / 500_000;
    let more = ids..ids + ids / PARTS;
    let (_, transactions) = insert(&mut store, marks, more.clone(), Some(pace))?;
    let [median, late, worst] = [50, 99, 100].map(|part| percentile(&transactions, part));
    println!("transaction at 500,000/s {median:.1?}, p99 {late:.1?}, worst {worst:.1?}, of {}", transactions.len());
    store.settle()?;
    println!("resident then            {} MB", resident()?.saturating_sub(memory_before) / 1_000_000);

    let absent: Vec<Id128> = (more.end..more.end + ABSENT).map(|key| marks.id(key)).collect();
    let alive = ids / PARTS * 2..more.end;
    // A large odd step visits the whole window out of order.
    let present: Vec<Id128> = (0..PRESENT)
        .map(|n| {
            let skip = u128::from(n) * 7_368_787 % u128::from(alive.end - alive.start);
            marks.id(alive.start + skip as u64)
        })
        .collect();
    println!("lookup absent, batches   {:.3} µs CPU", micros(look_up(&mut store, &absent, BATCH, 0)?, ABSENT));
    println!("lookup absent, singly    {:.3} µs CPU", micros(look_up(&mut store, &absent, 1, 0)?, ABSENT));
    println!("lookup absent, p99       {:.3} µs (clock included)", p99(&mut store, &absent)?);
    let took = look_up(&mut store, &present, BATCH, PRESENT)?;
    println!("lookup present, batches  {:.3} µs CPU", micros(took, PRESENT));
    println!("lookup present, p99      {:.3} µs (clock included)", p99(&mut store, &present)?);
    drop(store);

    kill_a_writer(&folder, ids)?;
    let process = process_cpu()?;
    let began = Instant::now();
    let store = open(&folder)?;
    let process = process_cpu()?.saturating_sub(process);
    println!("open after kill -9       {:.2?} ({process:.2?} CPU)", began.elapsed());
    let next = store.position().map_or(0, |position| position.raw_hi);
    let took = decide(store, next, marks)?;
    println!(
        "decide and commit        {:.3} µs CPU an event, new keys in transactions of {BATCH}",
        micros(took, ABSENT)
    );
    std::fs::remove_dir_all(&folder)?;

    restore(&folder, marks)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Lets another process write to the store, and kills it in the middle of that.
fn kill_a_writer(folder: &Path, ids: u64) -> Result<()> {
    let parent = folder.parent().ok_or("the folder has no parent")?;
    let mut writer = Command::new(std::env::current_exe()?)
        .args([ids.to_string().as_ref(), parent.as_os_str(), "write".as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = writer.stdout.take().ok_or("no output")?;
    let writes = BufReader::new(said).lines().take(20).count();
    writer.kill()?;
    writer.wait()?;
    if writes == 20 { Ok(()) } else { Err("the writer ended by itself".into()) }
}

fn write_for_ever(folder: &Path, marks: Marks<'_>) -> Result<()> {
    let mut store = open(folder)?;
    loop {
        let next = store.position().map_or(0, |position| position.raw_hi);
        insert(&mut store, marks, next..next + BATCH, None)?;
        println!("wrote");
    }
}

/// Fills a fresh store from the records that its transactions would have put into `seen`.
fn restore(folder: &Path, marks: Marks<'_>) -> Result<()> {
    let mut store = open(folder)?;
    // As a lane does that knows where `seen` ends.
    store.expect(marks.ids)?;
    let mut chain = Restore::after(None);
    let (mut took, mut cpu, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    let mut offset = 0;
    for first in (0..marks.ids).step_by(BATCH as usize) {
        let end = (first + BATCH).min(marks.ids);
        let values = changelog::encode(first, end, &marks.of(first..end))?;
        let (began, cpu_before) = (Instant::now(), measure::thread_cpu()?);
        for value in &values {
            let record = changelog::decode(value)?;
            let position = chain.feed(offset, &record)?;
            store.apply(&record.entries, position)?;
            offset += 1;
            bytes += value.len();
        }
        took += began.elapsed();
        cpu += measure::thread_cpu()?.saturating_sub(cpu_before);
    }
    println!(
        "restore from seen        {took:.1?}, {:.3} µs CPU an id, {} MB of records",
        micros(cpu, marks.ids),
        bytes / 1_000_000
    );
    Ok(())
}

fn open(folder: &Path) -> Result<LogStore> {
    let identity = Identity { incarnation: "bench".to_owned(), lane: 0, recipe_version: 1 };
    Ok(LogStore::open(folder, &identity, 0)?.0)
}

/// Inserts keys, one transaction a `pace` if there is one, and lets expire what is older than the window. Gives the
/// lane's CPU time and how long each transaction took, sorted.
fn insert(
    store: &mut LogStore,
    marks: Marks<'_>,
    keys: Range<u64>,
    pace: Option<Duration>,
) -> Result<(Duration, Vec<Duration>)> {
    let (mut cpu, mut transactions) = (Duration::ZERO, Vec::new());
    let mut due = Instant::now();
    for first in keys.clone().step_by(BATCH as usize) {
        let last = (first + BATCH).min(keys.end);
        let entries = marks.of(first..last);
        if let Some(pace) = pace {
            due += pace;
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
        let (begin, cpu_before) = (Instant::now(), measure::thread_cpu()?);
        store.apply(&entries, SeenPosition { next_offset: last as i64, raw_hi: last })?;
        store.expire(marks.at(last) - WINDOW_MS as i64)?;
        cpu += measure::thread_cpu()?.saturating_sub(cpu_before);
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
    let cpu = measure::thread_cpu()?;
    for ids in ids.chunks(batch as usize) {
        store.lookup(ids, &mut out)?;
        found += out.iter().filter(|hit| hit.is_some()).count() as u64;
    }
    let took = measure::thread_cpu()?.saturating_sub(cpu);
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
fn decide(store: LogStore, next: u64, marks: Marks<'_>) -> Result<Duration> {
    let mut window = Window::new(store);
    let batches: Vec<Vec<Candidate>> = (next..next + ABSENT)
        .step_by(BATCH as usize)
        .map(|first| {
            let candidate = |key| Candidate::new(marks.id(key), key, marks.at(key), WINDOW_MS);
            (first..first + BATCH).map(candidate).collect()
        })
        .collect();
    let mut verdicts = Vec::new();
    let cpu = measure::thread_cpu()?;
    for batch in &batches {
        window.decide_batch(batch, &mut verdicts)?;
        let raw_hi = batch.last().map_or(0, |last| last.offset + 1);
        window.commit(SeenPosition { next_offset: raw_hi as i64, raw_hi })?;
    }
    Ok(measure::thread_cpu()?.saturating_sub(cpu))
}

fn micros(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

/// CPU time of this process, threads that have ended included.
fn process_cpu() -> Result<Duration> {
    Ok(measure::process_cpu(std::process::id())?)
}

/// Bytes that this process has in memory.
fn resident() -> Result<u64> {
    Ok(measure::resident(std::process::id())?)
}
