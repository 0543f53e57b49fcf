//! The hot cores, to be counted: `tests/instructions` runs this under valgrind, and holds what each takes an event
//! against `tests/instructions.json`.
//!
//! `instructions CORE ROUNDS` prepares the input of a core once and runs the core so many times over it; the difference
//! of two runs is what the rounds took. `instructions --list` prints the cores, with how many events a round has.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a tool that measures")]

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;

use adapter::{Adapter, Dialect};
use dedupe::{Candidate, Entry, Identity, KeyHasher, LogStore, SeenPosition, Verdict, Window, WindowStore};
use event::raw::RawHeaders;
use event::{EventType, LinkEvent};
use kafka::control::Control;
use process::{Pipeline, RawRecord, SourceRules, Step};
use rules::{Condition, EventPattern, Field, Rule, RuleIndex, When};
use traffic::{canonical, dub};
use warehouse::BlockBuilder;

/// Events a round.
const EVENTS: usize = 256;
const WINDOW_MS: u64 = 72 * 3_600_000;
const NOW: i64 = 1_795_428_001_000;
/// Marks that the window holds before it is asked.
const MARKS: u64 = 20_000;

/// Prepares its input, and runs over it so many times.
type Core = fn(usize);

/// The cores by their names.
const CORES: [(&str, Core); 8] = [
    ("split one delivery at the edge", split_one),
    ("split an array of 256 at the edge", split_array),
    ("decode and label a click", decode_and_label),
    ("write an event as Avro", write_avro),
    ("read an event from Avro", read_avro),
    ("write a row as Native", write_native),
    ("look an id up in the window", look_up),
    ("match an event with 1,000 rules", match_rules),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, rounds] = &arguments[..] else {
        CORES.iter().for_each(|(name, _)| println!("{name}\t{EVENTS}"));
        return;
    };
    let found = CORES.iter().find(|(name, _)| name == core);
    let (_, run) = found.unwrap_or_else(|| panic!("no core is called {core:?}"));
    run(rounds.parse().unwrap());
}

fn clicks() -> Vec<Vec<u8>> {
    let mut platform = dub::Generator::new(7);
    (0..EVENTS).map(|_| platform.click()).collect()
}

fn split_one(rounds: usize) {
    let bodies = clicks();
    for _ in 0..rounds {
        for body in &bodies {
            black_box(Adapter::Dub.split(&Dialect::PLAIN, body, "application/json", &|_| None).unwrap());
        }
    }
}

fn split_array(rounds: usize) {
    let mut platform = canonical::Generator::new(7);
    let bodies: Vec<Vec<u8>> = (0..EVENTS).map(|_| platform.visit()).collect();
    let body = [b"[".as_slice(), &bodies.join(&b','), b"]"].concat();
    for _ in 0..rounds {
        black_box(Adapter::Canonical.split(&Dialect::PLAIN, &body, "application/json", &|_| None).unwrap());
    }
}

fn pipeline() -> Pipeline {
    let rules = || SourceRules { window_ms: WINDOW_MS, dialect: Dialect::PLAIN, visitors: true };
    Pipeline {
        sources: HashMap::from([("dub".to_owned(), rules())]),
        gone: rules(),
        adapt: adapter::Options::default(),
        enrich: enrich::Settings::default(),
        references: enrich::References::default(),
        owners: BTreeSet::new(),
        config_version: "0123abcd".into(),
    }
}

/// Hands the events of the clicks to `see`, as `process` decides about them, so many times.
fn decided(rounds: usize, mut see: impl FnMut(&LinkEvent<'_>)) {
    let (bodies, pipeline) = (clicks(), pipeline());
    let control = Control { incarnation: String::new(), lanes: 1, partitioner: 1, recipes: 1, dedupe_key: [0; 16] };
    let mut step = Step::new(&pipeline, &control);
    for _ in 0..rounds {
        for (offset, body) in bodies.iter().enumerate() {
            let headers = RawHeaders {
                source: "dub".into(),
                adapter: "dub".into(),
                content_type: "application/json".into(),
                received_at: NOW,
                ..RawHeaders::default()
            };
            let raw = RawRecord::new(0, offset as u64, NOW + 5, b"key", body, Ok(headers));
            let decoded = step.decode(&raw);
            see(&step.enrich(&raw, decoded, Some(Verdict::First), None, None).event);
        }
    }
}

fn decode_and_label(rounds: usize) {
    decided(rounds, |event| {
        black_box(event);
    });
}

/// Runs over the events of one round, as `process` writes them.
fn written(mut run: impl FnMut(&[LinkEvent<'_>])) {
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    decided(1, |event| {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        encoded.push(bytes);
    });
    let events: Vec<LinkEvent<'_>> = encoded.iter().map(|bytes| LinkEvent::decode(bytes).unwrap()).collect();
    run(&events);
}

fn write_avro(rounds: usize) {
    written(|events| {
        let mut out = Vec::with_capacity(4_096);
        for _ in 0..rounds {
            for event in events {
                out.clear();
                event.encode(&mut out);
                black_box(&out);
            }
        }
    });
}

fn read_avro(rounds: usize) {
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    decided(1, |event| {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        encoded.push(bytes);
    });
    for _ in 0..rounds {
        for bytes in &encoded {
            black_box(LinkEvent::decode(bytes).unwrap());
        }
    }
}

fn write_native(rounds: usize) {
    written(|events| {
        let mut block = BlockBuilder::new("incarnation", 0);
        for _ in 0..rounds {
            events.iter().for_each(|event| block.push(event).unwrap());
            block.clear();
        }
    });
}

/// Half of what is asked for is there, in three buckets of which two are closed.
fn look_up(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity { incarnation: "count".to_owned(), lane: 0, recipe_version: 1 };
    let (mut store, _) = LogStore::open(folder.path(), &identity, MARKS).unwrap();
    let hasher = KeyHasher::new([42; 16]);
    let id = |key: u64| hasher.id128(&key.to_le_bytes());
    // Three hours are a bucket.
    let received_at = |offset: u64| NOW + (offset * 9 * 3_600_000 / MARKS) as i64;
    for part in 0..20 {
        let (from, to) = (part * MARKS / 20, (part + 1) * MARKS / 20);
        let marks: Vec<Entry> =
            (from..to).map(|key| Entry { id: id(key), offset: key, received_at: received_at(key) }).collect();
        store.apply(&marks, SeenPosition { next_offset: part as i64 + 1, raw_hi: to }).unwrap();
    }
    store.settle().unwrap();
    let (mut window, mut verdicts, mut offset) = (Window::new(store), Vec::new(), MARKS);
    for round in 0..rounds as u64 {
        let half = EVENTS as u64 / 2;
        let there = (0..half).map(|n| (n * 97 + round * 13) % MARKS);
        let asked = there.chain((0..half).map(|n| MARKS + round * half + n));
        let candidates: Vec<Candidate> = asked
            .map(|key| {
                offset += 1;
                Candidate::new(id(key), offset, received_at(MARKS) + offset as i64, WINDOW_MS)
            })
            .collect();
        verdicts.clear();
        window.decide_batch(&candidates, &mut verdicts).unwrap();
        black_box(&verdicts);
    }
}

fn match_rules(rounds: usize) {
    let rules = (0..1_000).map(|number| {
        let (field, pattern) = match number % 4 {
            0 => (Field::Link, format!("go.example.com/l{number}")),
            1 => (Field::Campaign, format!("2026q4-{number}-*")),
            2 => (Field::Partner, format!("partner-{number}")),
            _ => (Field::DestinationHost, format!("*.shop{number}.example")),
        };
        let when = When::new(EventPattern::parse("visit"), [Condition::new(field, [pattern])]);
        Rule::new(format!("r{number}"), "growth", when, None)
    });
    let index = RuleIndex::new(rules.collect());
    let event = |number: usize| LinkEvent {
        r#type: EventType::Click,
        link_id: format!("{number}").into(),
        domain: "go.example.com".into(),
        slug: format!("l{}", number * 4 + 10_000).into(),
        campaign: format!("2026q4-{}-sale", number * 4 + 1).into(),
        partner: format!("partner-{}", 10_000 + number).into(),
        destination_host: "www.shop.example".into(),
        ..LinkEvent::default()
    };
    let events: Vec<LinkEvent<'_>> = (0..EVENTS).map(event).collect();
    for _ in 0..rounds {
        for event in &events {
            black_box(index.matching_indexes(event).count());
        }
    }
}
