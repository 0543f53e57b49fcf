//! Spikes in a small world of known truth, and what the files of the driver may hold.

#![allow(clippy::unwrap_used, reason = "a test that panics says what broke")]

use hookline_testkit::detection::{Counts, Planned, QuietScore, Truth, World, read_alerts, read_planned, read_rules};

const RULES: &str = r#"
[rule.spike]
alert = { spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h", not_during = "launches" }
"#;
const QUIET: &str = "[rule.quiet]\nalert = { silence = \"learned\", per = \"source\" }";
/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const MONDAY: u32 = 29_459_520;

#[test]
fn a_small_world_is_told_as_well_as_docs_detection_says() {
    let world = World::new(20_261_129, 80, 6);
    let rule = read_rules(RULES).unwrap()[0];
    let score = Truth::of(&world).score(&world.counts().alerts(&rule, &world.planned()));
    let median = |sorted: &[i64]| sorted[sorted.len() / 2];
    let told = |factor| score.found.get(&factor).map(|found| found.share()).unwrap();
    for (what, holds) in [
        ("false alerts", score.false_alerts[0].share() <= 0.02 && score.false_alerts[1].share() <= 0.2),
        ("growth", score.growth.share() <= 0.15),
        ("recall", score.recall() >= 0.75),
        ("factors", told(2) <= 0.05 && told(5) >= 0.68 && told(10) >= 0.88 && told(50) >= 0.96),
        ("steps", score.steps.share() >= 0.85 && score.step_alerts.share() <= 1.4),
        ("newsletters", score.newsletters.share() <= 0.12 && score.pushes.share() <= 0.25),
        ("launches", score.launches[0].told == 0 && score.launches[1].told == 0),
        ("clock and holes", score.clock.share() <= 0.08 && score.holes.share() <= 0.05),
        ("days", score.days.share() <= 1.5),
        ("alerts a spike", score.alerts.share() <= 1.05),
        ("delay", median(&score.delays) <= 300),
        ("over", median(&score.over) <= 35 * 60),
    ] {
        assert!(holds, "{what}:\n{score}");
    }
}

#[test]
fn a_small_world_of_sources_is_told_as_well_as_docs_detection_says() {
    let world = World::quiet(20_261_129, 80, 9);
    let rule = read_rules(QUIET).unwrap()[0];
    let score = QuietScore::of(&world, &world.counts().alerts(&rule, &Planned::new()));
    for (kind, rate) in &score.false_alerts {
        let most = if *kind == "office-outage" { 0.25 } else { 0.05 };
        assert!(rate.share() <= most, "{kind}:\n{score}");
    }
    for (class, found) in &score.found {
        assert!(found.share() >= if class == "0.1" { 0.6 } else { 0.95 }, "{class}:\n{score}");
    }
    assert!(score.median("10") <= 15.0 && score.median("1") <= 45.0, "{score}");
}

#[test]
fn a_source_that_stops_is_told_once_and_is_over_when_it_speaks_again() {
    // Three weeks with ten events a minute, then two hours of nothing.
    let stops = 21 * 1_440;
    let rows = (0..stops + 240).filter(|minute| !(stops..stops + 120).contains(minute));
    let rows = rows.map(|minute| (0, MONDAY + minute, 10, 0)).collect::<Vec<_>>();
    for rules in [QUIET, "[rule.q]\nalert = { silence = \"15m\", per = \"source\" }"] {
        let rule = read_rules(rules).unwrap()[0];
        let found = Counts::of(vec!["s".into()], rows.clone()).alerts(&rule, &Planned::new());
        let begin = i64::from(MONDAY + stops) * 60;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!((begin + 600..=begin + 900).contains(&found[0].fired), "{found:?}");
        // A learned one is over when a part of what was due has come.
        let over = found[0].resolved.unwrap();
        assert!((begin + 121 * 60..=begin + 150 * 60).contains(&over), "{found:?}");
    }
}

#[test]
fn late_events_end_a_silence() {
    let rule = read_rules(QUIET).unwrap()[0];
    let rows = |late| {
        let steady = (0..21 * 1_440).map(|minute| (0, MONDAY + minute, 10, 0));
        let after = (21 * 1_440 + 60..21 * 1_440 + 90).map(move |minute| (0, MONDAY + minute, 10, late));
        steady.chain(after).collect::<Vec<_>>()
    };
    let alerts = |late| Counts::of(vec!["s".into()], rows(late)).alerts(&rule, &Planned::new());
    assert_eq!(alerts(10), alerts(0));
    assert!(alerts(10)[0].resolved.is_some());
}

/// Ten days of a steady link with `count` events in each minute, then half an hour of twenty times as many.
fn steady_with_a_spike(count: u32) -> Vec<(u32, u32, u32, u32)> {
    let spike = |minute: u32| if (14_400..14_430).contains(&minute) { 20 } else { 1 };
    (0..16_000).map(|minute| (0, MONDAY + minute, count * spike(minute), 0)).collect()
}

#[test]
fn a_spike_is_told_once_and_is_over_once() {
    let rule = read_rules(RULES).unwrap()[0];
    let found = Counts::of(vec!["k".into()], steady_with_a_spike(10)).alerts(&rule, &Planned::new());
    let begin = i64::from(MONDAY + 14_400) * 60;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!((begin + 60..begin + 300).contains(&found[0].fired), "{found:?}");
    assert!(found[0].resolved.unwrap() <= begin + 65 * 60, "{found:?}");
}

#[test]
fn a_planned_launch_is_no_spike() {
    let rule = read_rules(RULES).unwrap()[0];
    let from = i64::from(MONDAY + 14_390) * 60;
    let planned = read_planned(&format!("key,begin,end\nk,{from},{}\n", from + 7_200)).unwrap();
    assert_eq!(Counts::of(vec!["k".into()], steady_with_a_spike(10)).alerts(&rule, &planned), []);
}

#[test]
fn events_that_came_late_make_no_spike() {
    let rule = read_rules(RULES).unwrap()[0];
    let mut csv = String::from("key,pane_start,count,late\n");
    for (_, minute, count, _) in steady_with_a_spike(10) {
        let late = count.saturating_sub(10);
        csv.push_str(&format!("k,{},{count},{late}\n", i64::from(minute) * 60));
    }
    assert_eq!(Counts::read(csv.into_bytes()).unwrap().alerts(&rule, &Planned::new()), []);
}

#[test]
fn a_link_that_is_a_week_old_and_wakes_is_told() {
    let rule = read_rules(RULES).unwrap()[0];
    let wakes = (0..10).map(|minute| (0, MONDAY + 8 * 1_440 + minute, 20, 0));
    let rows = [(0, MONDAY, 1, 0)].into_iter().chain(wakes).collect();
    assert_eq!(Counts::of(vec!["k".into()], rows).alerts(&rule, &Planned::new()).len(), 1);
    let new = (0..10).map(|minute| (0, MONDAY + minute, 20, 0)).collect();
    assert_eq!(Counts::of(vec!["k".into()], new).alerts(&rule, &Planned::new()), [], "nothing is usual for it yet");
}

#[test]
fn rows_in_any_order_give_the_same_alerts() {
    let rule = read_rules(RULES).unwrap()[0];
    let mut rows = steady_with_a_spike(10);
    let mut csv: Vec<String> = rows.iter().map(|(_, at, n, _)| format!("k,{},{n}", i64::from(*at) * 60)).collect();
    csv.reverse();
    rows.reverse();
    let read = Counts::read(csv.join("\n").into_bytes()).unwrap().alerts(&rule, &Planned::new());
    assert_eq!(read.len(), 1);
    assert_eq!(read, Counts::of(vec!["k".into()], rows).alerts(&rule, &Planned::new()));
}

#[test]
fn files_of_another_form_are_refused_with_their_line() {
    let line = |csv: &str| Counts::read(csv.into()).err().map(|error| error.to_string()).unwrap();
    assert!(line("key,pane_start,count\nk,60,1\nk,60\n").contains("line 3"));
    assert!(line("k,-60,1\n").contains("line 1"));
    assert!(line("k,60,1\nk,120,1,2\n").contains("line 2"));
    assert!(line("k,99999999999999999999,1\n").contains("line 1"));
    assert!(read_alerts("key,fired,resolved\nk,60\n").unwrap_err().to_string().contains("line 2"));
    assert!(read_rules("[rule.a]\nalert = { each = true }\n").is_err());
    let options = [
        "spike = \"1x\"",
        "spike = \"3x\", within = \"2h\"",
        "spike = \"3x\", sensitivity = \"deaf\"",
        "silence = \"soon\"",
    ];
    for option in options {
        assert!(read_rules(&format!("[rule.a]\nalert = {{ {option} }}\n")).is_err(), "{option}");
    }
}
