//! What a signal costs `detect`: into a minute that is open, its minute closed, its state written, kept and restored.
//!
//! `cargo run --release -p hookline-rules --example signals_cost -- [KEYS]`: CPU time of the thread, so that other
//! work on the machine changes it little, and resident memory. First ten thousand links that are touched in each
//! minute, with batches that were read from the wire before; then so many keys (a million) of which each was touched
//! once; then traffic: three hours of minutes, after a day that is not measured, in which one link in thirty is busy,
//! the others have a few events a day, and each transaction of one of four lanes has the counts of ten seconds, as
//! `process` sends them, read from the wire. There the floor is the same batches, read and dropped. With `panes` in
//! place of KEYS only the first.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a tool that measures")]

use std::collections::HashMap;

use event::wire::Ids;
use event::{Map, Millis, Signal, SignalBatch};
use hookline_rules::{Change, Detector, Per, Rule, Sensitivity, SilenceRule, Spike, Trigger, When};

const LANES: u16 = 4;
const MINUTE: i64 = 60_000;
/// 2026-01-05, a Monday.
const START: i64 = 29_459_520;
const BEFORE: i64 = 1_440;
const MEASURED: i64 = 180;

/// Keys that are touched in each minute.
const TOUCHED: u64 = 10_000;
/// Links of the traffic.
const LINKS: u64 = 100_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    if let Some((_, trigger)) = kinds().iter().find(|(name, _)| arguments.first().is_some_and(|first| first == name)) {
        // A separate process for each measurement of memory: what another one has freed would be used again.
        return memory(trigger, number(1).unwrap_or(0), number(2).unwrap_or(1));
    }
    let keys = number(0).unwrap_or(1_000_000);
    println!("{TOUCHED} links that speak, one pane each, the mean of 240 minutes");
    println!(
        "| rule | a signal that opens its pane, ns | into an open pane, ns | closing all panes, ms | writing their state, ms |"
    );
    println!("|---|---|---|---|---|");
    kinds().iter().for_each(|(name, trigger)| panes(name, trigger));
    if arguments.first().is_some_and(|first| first == "panes") {
        return;
    }
    println!("\n{keys} keys with names of 26 letters or less; one in 33 as many that speak");
    println!("| rule | bytes a key that is silent | a key that speaks | all restored in s | memory restored, MB |");
    println!("|---|---|---|---|---|");
    for name in ["spike", "silence"] {
        let measured = |keys: u64, events: u64| {
            let program = std::env::current_exe().expect("this program");
            let own = std::process::Command::new(program).args([name, &keys.to_string(), &events.to_string()]).output();
            String::from_utf8(own.expect("it runs again").stdout).expect("numbers")
        };
        let (silent, speaks) = (measured(keys, 1), measured(keys / 33, 10));
        let [silent, speaks] = [&silent, &speaks].map(|line| line.split_whitespace().collect::<Vec<_>>());
        println!("| {name} | {} | {} | {} | {} |", silent[0], speaks[0], silent[1], silent[2]);
    }
    println!("\n{LINKS} links, CPU ns a signal");
    println!("| rule | read (floor) | read, taken and closed | × the floor | state written | signals |");
    println!("|---|---|---|---|---|---|");
    kinds().iter().for_each(|(name, trigger)| traffic(name, trigger, LINKS));
}

fn kinds() -> [(&'static str, Trigger); 3] {
    let spike = Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: Sensitivity::Normal,
    };
    let silence = SilenceRule { quiet_after_minutes: None, least_minutes: 60 };
    let count = Trigger::count(500, Per::Link, 5 * MINUTE, 60 * MINUTE).expect("a window of five minutes");
    [
        ("count", count),
        ("spike", Trigger::Spike { spike, per: Per::Link, not_during_launches: false }),
        ("silence", Trigger::Silence { silence, per: Per::Link }),
    ]
}

fn rule_of(name: &str, trigger: &Trigger) -> Rule {
    Rule::new(name, "growth", When::default(), Some(trigger.clone()))
}

/// Two lanes that say the same of ten thousand links in each minute.
fn panes(name: &str, trigger: &Trigger) {
    let rule = rule_of(name, trigger);
    let mut detector = Detector::new(std::slice::from_ref(&rule), 2);
    let pane_ms = trigger.pane_ms().expect("a rule that counts");
    let mut taken: [Vec<f64>; 4] = Default::default();
    for minute in START..START + 300 {
        let at = minute * MINUTE;
        // As `detect` has them: texts are borrowed from what came over the wire.
        let wire = [0, 1].map(|lane| {
            let link = |link: u64| signal(&rule, link * 7 % TOUCHED, at / pane_ms * pane_ms, 1);
            let batch = SignalBatch { lane, watermark: Millis(at + 1), signals: (0..TOUCHED).map(link).collect() };
            let mut bytes = Vec::new();
            batch.write(&Ids::FIXED, &mut bytes);
            bytes
        });
        let [opens, adds] = wire.each_ref().map(|bytes| SignalBatch::from_wire(&Ids::FIXED, bytes).expect("a batch"));
        let ticks = [0, 1].map(|lane| SignalBatch { lane, watermark: Millis(at + MINUTE), signals: Vec::new() });
        let mut times = [0.0; 5];
        times[0] = cpu_ns();
        detector.take(&opens).expect("a lane that exists");
        times[1] = cpu_ns();
        detector.take(&adds).expect("a lane that exists");
        times[2] = cpu_ns();
        ticks.iter().for_each(|tick| drop(detector.take(tick).expect("a lane that exists")));
        times[3] = cpu_ns();
        let changes = detector.snapshot();
        times[4] = cpu_ns();
        assert_eq!(changes.len() as u64 / TOUCHED, changes.len().div_ceil(TOUCHED as usize) as u64, "each has changed");
        if minute >= START + 60 {
            (0..4).for_each(|at| taken[at].push(times[at + 1] - times[at]));
        }
    }
    // Some kernels tell CPU time in steps of some milliseconds: the sum of all minutes says more than each.
    let [opens, adds, closes, writes] = taken.map(|times| times.iter().sum::<f64>() / times.len() as f64);
    let each = TOUCHED as f64;
    println!("| {name} | {:.0} | {:.0} | {:.2} | {:.2} |", opens / each, adds / each, closes / 1e6, writes / 1e6);
}

/// Ten thousand keys in each minute until each was touched once, with so many events. Prints the bytes that a key
/// takes, in how many seconds all are restored, and how many MB they take then.
fn memory(trigger: &Trigger, keys: u64, events: u64) {
    let rule = rule_of("rule", trigger);
    let fill = |keep: &mut dyn FnMut(Vec<Change>)| {
        let mut detector = Detector::new(std::slice::from_ref(&rule), 1);
        for (minute, from) in (START..).zip((0..keys).step_by(TOUCHED as usize)) {
            let signals = from..keys.min(from + TOUCHED);
            let signals = signals.map(|link| signal(&rule, link, minute * MINUTE, events)).collect();
            for (watermark, signals) in [(1, signals), (MINUTE, Vec::new())] {
                let batch = SignalBatch { lane: 0, watermark: Millis(minute * MINUTE + watermark), signals };
                detector.take(&batch).expect("a lane that exists");
            }
            keep(detector.snapshot());
        }
        detector
    };
    // What a batch takes for a moment is there before it is measured.
    let warm: Vec<Signal<'static>> = (0..2 * TOUCHED).map(|link| signal(&rule, link, START, events)).collect();
    drop(warm);
    let before = resident();
    let detector = fill(&mut drop);
    let grown = resident() - before;
    let mut state: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    // It is kept: what it would free would be used again.
    let other = fill(&mut |changes| state.extend(changes.into_iter().filter_map(|one| Some((one.key, one.value?)))));
    let lanes = detector.lanes_snapshot();
    let (before, begun) = (resident(), cpu_ns());
    let mut again = Detector::new(std::slice::from_ref(&rule), 1);
    again.restore_lanes(&lanes).expect("what was written");
    state.iter().for_each(|(key, value)| again.restore(key, value).expect("what was written"));
    again.restored().expect("what was written");
    let (seconds, restored) = ((cpu_ns() - begun) / 1e9, (resident() - before) / 1e6);
    assert!([again, detector, other].iter().all(|one| one.keys() as u64 == keys));
    println!("{:.0} {seconds:.2} {restored:.0}", grown / keys as f64);
}

fn traffic(name: &str, trigger: &Trigger, links: u64) {
    let rule = rule_of(name, trigger);
    let mut detector = Detector::new(std::slice::from_ref(&rule), LANES);
    let mut random = 7u64;
    let batches = |random: &mut u64, minute: i64| -> Vec<Vec<u8>> { of_minute(&rule, links, minute, random) };
    for minute in START..START + BEFORE {
        for bytes in batches(&mut random, minute) {
            take(&mut detector, &bytes);
        }
        detector.snapshot();
    }
    let (mut read, mut taken, mut written, mut signals) = (0.0, 0.0, 0.0, 0);
    for minute in START + BEFORE..START + BEFORE + MEASURED {
        let batches = batches(&mut random, minute);
        let begun = cpu_ns();
        for bytes in &batches {
            signals += SignalBatch::from_wire(&Ids::FIXED, bytes).expect("a batch").signals.len();
        }
        let after_floor = cpu_ns();
        batches.iter().for_each(|bytes| take(&mut detector, bytes));
        let after_take = cpu_ns();
        // Every ten seconds a transaction is committed: six times what changed a minute.
        let bytes: usize = detector.snapshot().iter().filter_map(|one| Some(one.value.as_ref()?.len())).sum();
        let after_state = cpu_ns();
        assert!(bytes > 0, "something has changed in each minute");
        read += after_floor - begun;
        taken += after_take - after_floor;
        written += after_state - after_take;
    }
    let each = |sum: f64| sum / signals as f64;
    println!(
        "| {name} | {:.0} | {:.0} | {:.1} | {:.0} | {signals} |",
        each(read),
        each(taken),
        taken / read,
        each(written)
    );
}

fn take(detector: &mut Detector, bytes: &[u8]) {
    let batch = SignalBatch::from_wire(&Ids::FIXED, bytes).expect("a batch");
    detector.take(&batch).expect("a lane that exists");
}

/// What four lanes say of a minute, each in six transactions.
fn of_minute(rule: &Rule, links: u64, minute: i64, random: &mut u64) -> Vec<Vec<u8>> {
    let pane_ms = rule.trigger().and_then(Trigger::pane_ms).expect("a rule that counts");
    let mut batches = Vec::new();
    for part in 0..6 {
        for lane in 0..LANES {
            let at = minute * MINUTE + part * 10_000;
            let mut signals = Vec::new();
            // A third of the links that are busy come in each minute, and a few of the others.
            for n in 0..links / 30 / 72 + links / 20_000 {
                *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let draw = *random >> 33;
                let link = if n < links / 30 / 72 { draw % (links / 30).max(1) } else { draw % links };
                signals.push(signal(rule, link, at.div_euclid(pane_ms) * pane_ms, 1 + draw % 3));
            }
            let mut bytes = Vec::new();
            SignalBatch { lane, watermark: Millis(at + 9_999), signals }.write(&Ids::FIXED, &mut bytes);
            batches.push(bytes);
        }
    }
    batches
}

fn signal(rule: &Rule, link: u64, pane: i64, count: u64) -> Signal<'static> {
    let slug = format!("link-{link}");
    let mut attributes = Map::default();
    for (name, value) in [
        ("event", "click"),
        ("link_id", "l_0123456789abcdef"),
        ("link_kind", "promo"),
        ("domain", "go.example.com"),
        ("slug", &slug),
        ("destination_host", "shop.example.com"),
        ("campaign", "2026q4-de-shoes"),
        ("channel", "email"),
        ("country", "DE"),
        ("source", "dub"),
        ("owner", "growth"),
    ] {
        attributes.add(name, value.to_owned());
    }
    Signal {
        rule: rule.name().to_owned().into(),
        rule_version: rule.version().to_owned().into(),
        key: format!("go.example.com/{slug}").into(),
        pane: Millis(pane),
        count,
        late: 0,
        test: false,
        sample: format!("click:{link}:{pane}").into(),
        attributes,
    }
}

/// The CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> f64 {
    measure::thread_cpu().expect("Linux tells the CPU time of a thread").as_nanos() as f64
}

/// What the process holds of the machine's memory, in bytes.
fn resident() -> f64 {
    measure::resident(std::process::id()).expect("Linux tells the memory of a process") as f64
}
