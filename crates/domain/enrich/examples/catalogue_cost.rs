//! What a catalogue costs: bytes in memory, and nanoseconds a join.
//!
//! `cargo run --release -p hookline-enrich --example catalogue_cost -- [LINKS]`, a million unless told. Each link has
//! its own contact and deal, one of a thousand campaigns and an expected host. Joins are of random links, so that
//! nearly each is a miss of the processor's caches. CPU time of the thread, the least of ten runs.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a tool that measures")]

use std::fmt::Write as _;
use std::sync::Arc;

use event::{EventType, LinkEvent};
use hookline_enrich::{Catalogue, Enricher, Hints, References, Settings};

const EVENTS: usize = 200_000;
/// Events that a lane takes at once.
const CHUNK: usize = 1_000;

fn main() {
    let links: usize = std::env::args().nth(1).and_then(|links| links.parse().ok()).unwrap_or(1_000_000);
    let mut list = String::from("link,kind,owner,campaign,contact,deal,partner,expected_host,tags\n");
    for link in 0..links {
        let _ = writeln!(
            list,
            "go.example.com/spring-{link},promo,growth,2026q4-de-{},c-{link},d-{link},,shop{}.example.com,q4",
            link % 1_000,
            link % 20
        );
    }
    let before = resident();
    let start = cpu_ns();
    let catalogue = Catalogue::read(list.as_bytes()).expect("a list");
    let read_ms = (cpu_ns() - start) / 1e6;
    println!("| {} links | |\n|---|---|", catalogue.len());
    println!("| {} MB of CSV read | {read_ms:.0} ms |", list.len() / 1_000_000);
    println!("| in memory | {} MB |", catalogue.memory_bytes() / 1_000_000);
    println!("| resident more than before | {} MB |", resident().saturating_sub(before) / 1_000_000);
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % links.max(1)
    };
    let slugs: Vec<String> = (0..EVENTS).map(|_| format!("spring-{}", next())).collect();
    let (mut find, mut without, mut with) = (f64::MAX, f64::MAX, f64::MAX);
    let catalogue = Arc::new(catalogue);
    for _ in 0..10 {
        let start = cpu_ns();
        let found = slugs.iter().filter(|slug| catalogue.find("go.example.com", slug, "").is_some()).count();
        find = find.min((cpu_ns() - start) / EVENTS as f64);
        assert_eq!(found, EVENTS);
        without = without.min(label(&slugs, References::default()));
        let references = References { catalogue: Some(Arc::clone(&catalogue)), ..References::default() };
        with = with.min(label(&slugs, references));
    }
    println!("| a look-up of a random link | {find:.0} ns |");
    println!("| labelling an event without the catalogue | {without:.0} ns |");
    println!("| … with it, its texts borrowed by the event | {with:.0} ns |");
}

fn label(slugs: &[String], references: References) -> f64 {
    let mut enricher = Enricher::new(Settings::default());
    enricher.refer_to(references);
    let catalogue = enricher.catalogue();
    let start = cpu_ns();
    for chunk in slugs.chunks(CHUNK) {
        if let Some(catalogue) = &catalogue {
            catalogue.bring(chunk.iter().map(|slug| ("go.example.com", slug.as_str(), slug.as_str())));
        }
        for slug in chunk {
            let mut event = LinkEvent {
                r#type: EventType::Click,
                domain: "go.example.com".into(),
                slug: slug.as_str().into(),
                link_id: slug.as_str().into(),
                ..LinkEvent::default()
            };
            enricher.enrich(&mut event, &Hints::default(), catalogue.as_deref());
            std::hint::black_box(&event);
        }
    }
    (cpu_ns() - start) / slugs.len() as f64
}

/// The bytes of this process that are in memory.
fn resident() -> u64 {
    measure::resident(std::process::id()).expect("Linux tells the memory of a process")
}

/// The CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> f64 {
    measure::thread_cpu().expect("Linux tells the CPU time of a thread").as_nanos() as f64
}
