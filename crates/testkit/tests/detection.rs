//! Spikes in a small world of known truth, and what the files of the driver may hold.

#![allow(clippy::unwrap_used, reason = "a test that panics says what broke")]

use hookline_testkit::detection::{Counts, Planned, Truth, World, read_alerts, read_planned, read_rules};

const RULES: &str = r#"
[rule.spike]
alert = { spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h", not_during = "launches" }
"#;
/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const MONDAY: u32 = 29_459_520;

#[test]
fn a_small_world_is_told_as_well_as_docs_detection_says() {
    let world = World::new(20_261_129, 50, 6);
    let rule = read_rules(RULES).unwrap()[0];
    let score = Truth::of(&world).score(&world.counts().alerts(&rule, &Planned::new()));
    let [low, high] = score.false_rates();
    assert!(low <= 0.02 && high <= 0.2, "too many false alerts:\n{score}");
    assert!(score.recall() >= 0.75, "too few spikes are told:\n{score}");
    let told = |factor| score.found.get(&factor).map(|(told, asked)| *told as f64 / *asked as f64).unwrap();
    assert!(told(2) <= 0.05 && told(5) >= 0.6 && told(10) >= 0.8 && told(50) >= 0.9, "{score}");
    assert!(score.delays[score.delays.len() / 2] <= 300 && score.alerts_a_spike() <= 1.05, "{score}");
    assert!(score.over[score.over.len() / 2] <= 35 * 60, "alerts stay open for too long:\n{score}");
}

/// Ten days of a steady link with `count` events in each minute, then half an hour of twenty times as many.
fn steady_with_a_spike(count: u32) -> Vec<(u32, u32, u32)> {
    let spike = |minute: u32| if (14_400..14_430).contains(&minute) { 20 } else { 1 };
    (0..16_000).map(|minute| (0, MONDAY + minute, count * spike(minute))).collect()
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
    for (_, minute, count) in steady_with_a_spike(10) {
        let late = count.saturating_sub(10);
        csv.push_str(&format!("k,{},{count},{late}\n", i64::from(minute) * 60));
    }
    assert_eq!(Counts::read(csv.into_bytes()).unwrap().alerts(&rule, &Planned::new()), []);
}

#[test]
fn a_link_that_is_a_week_old_and_wakes_is_told() {
    let rule = read_rules(RULES).unwrap()[0];
    let wakes = (0..10).map(|minute| (0, MONDAY + 8 * 1_440 + minute, 20));
    let rows = [(0, MONDAY, 1)].into_iter().chain(wakes).collect();
    assert_eq!(Counts::of(vec!["k".into()], rows).alerts(&rule, &Planned::new()).len(), 1);
    let new = (0..10).map(|minute| (0, MONDAY + minute, 20)).collect();
    assert_eq!(Counts::of(vec!["k".into()], new).alerts(&rule, &Planned::new()), [], "nothing is usual for it yet");
}

#[test]
fn rows_in_any_order_give_the_same_alerts() {
    let rule = read_rules(RULES).unwrap()[0];
    let mut rows = steady_with_a_spike(10);
    let mut csv: Vec<String> = rows.iter().map(|(_, at, n)| format!("k,{},{n}", i64::from(*at) * 60)).collect();
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
    assert!(line("k,99999999999999999999,1\n").contains("line 1"));
    assert!(read_alerts("key,fired,resolved\nk,60\n").unwrap_err().to_string().contains("line 2"));
    assert!(read_rules("[rule.a]\nalert = { each = true }\n").is_err());
    let options = ["spike = \"1x\"", "spike = \"3x\", within = \"2h\"", "spike = \"3x\", sensitivity = \"deaf\""];
    for option in options {
        assert!(read_rules(&format!("[rule.a]\nalert = {{ {option} }}\n")).is_err(), "{option}");
    }
}
