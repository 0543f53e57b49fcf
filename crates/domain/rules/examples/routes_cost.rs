//! What routes cost an event: ten rules, and ten thousand.
//!
//! `cargo run --release -p hookline-rules --example routes_cost`: CPU time of the thread, the least of twenty runs,
//! since machines are noisy. Rules of the large set are as a large company would have them: of a link, a campaign, a
//! partner, a host or a tag each, some with a `*`; one event in a hundred matches one of them.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a tool that measures")]

use event::{EventType, LinkEvent};
use hookline_rules::{Condition, EventPattern, Field, Rule, RuleIndex, When};

const EVENTS: usize = 100_000;

fn main() {
    let events: Vec<LinkEvent<'static>> = (0..EVENTS).map(event).collect();
    println!("| rules | ns an event | matches in {EVENTS} events |\n|---|---|---|");
    for rules in [0, 10, 100, 1_000, 10_000] {
        let index = RuleIndex::new((0..rules).map(rule).collect());
        let (mut least, mut matches) = (f64::MAX, 0);
        for _ in 0..20 {
            let start = cpu_ns();
            matches = events.iter().map(|event| index.matching_indexes(event).count()).sum();
            least = least.min((cpu_ns() - start) / EVENTS as f64);
        }
        println!("| {rules} | {least:.0} | {matches} |");
    }
}

fn rule(number: usize) -> Rule {
    let (field, pattern) = match number % 5 {
        0 => (Field::Link, format!("go.example.com/l{number}")),
        1 => (Field::Campaign, format!("2026q4-{number}-*")),
        2 => (Field::Partner, format!("partner-{number}")),
        3 => (Field::DestinationHost, format!("*.shop{number}.example")),
        _ => (Field::Tag, format!("tag-{number}")),
    };
    let kind = Condition::new(Field::LinkKind, ["promo"]);
    let when = When::new(EventPattern::parse("visit"), [Condition::new(field, [pattern]), kind]);
    Rule::new(format!("r{number}"), "growth", when, None)
}

fn event(number: usize) -> LinkEvent<'static> {
    let rule = if number.is_multiple_of(100) { number / 100 * 5 } else { 1_000_000 + number };
    let mut event = LinkEvent {
        r#type: EventType::Click,
        link_kind: "promo".into(),
        link_id: format!("{number}").into(),
        domain: "go.example.com".into(),
        slug: format!("l{rule}").into(),
        campaign: format!("2026q4-{}-blackfriday", 1_000_000 + number).into(),
        partner: format!("partner-{}", 1_000_000 + number % 977).into(),
        destination_host: "www.shop.example".into(),
        ..LinkEvent::default()
    };
    event.keep_tags(["q4", "email"]);
    event
}

/// The CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> f64 {
    measure::thread_cpu().expect("Linux tells the CPU time of a thread").as_nanos() as f64
}
