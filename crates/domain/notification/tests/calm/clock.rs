//! A clock that was ahead for a moment: what it noted holds nothing back for longer than the configuration says.

use hookline_notification::Inhibit;

use super::*;

const AHEAD: i64 = 6 * HOUR;
const THEN_EVERY: i64 = 10 * MINUTE;

/// Alerts know when they were received: the clock of the lane alone is ahead.
fn taken_ahead(lane: &mut Lane, alert: &Alert<'_>) -> Vec<Message> {
    lane.planner.take(alert, START + AHEAD);
    planned(&lane.commit(START + AHEAD), "log")
}

#[test]
fn a_group_that_spoke_in_the_future_waits_for_its_turn_and_no_longer() {
    for crashes in [false, true] {
        let mut lane = Lane::new(routing());
        assert_eq!(taken_ahead(&mut lane, &alert("muted", 0, 0, Transition::Fired, START)).len(), 1);
        if crashes {
            lane.crash();
        }
        assert!(lane.planner.is_due(START), "it is looked at once the clock is right");
        assert!(lane.say(&alert("muted", 1, 1, Transition::Fired, START), "log").is_empty());
        assert!(lane.planner.next_due() <= Some(START + THEN_EVERY));
        assert!(!lane.planner.is_due(START), "it is looked at once");
        assert_eq!(planned(&lane.commit(START + THEN_EVERY), "log").len(), 1);
    }
}

#[test]
fn what_waits_since_the_future_waits_for_its_turn_and_no_longer() {
    for crashes in [false, true] {
        let mut lane = Lane::new(routing());
        taken_ahead(&mut lane, &alert("muted", 0, 0, Transition::Fired, START));
        assert!(taken_ahead(&mut lane, &alert("muted", 1, 1, Transition::Fired, START)).is_empty());
        if crashes {
            lane.crash();
        }
        assert!(lane.planner.is_due(START));
        assert!(planned(&lane.commit(START), "log").is_empty());
        assert_eq!(lane.planner.next_due(), Some(START + THEN_EVERY));
        assert_eq!(planned(&lane.commit(START + THEN_EVERY), "log").len(), 1);
    }
}

#[test]
fn a_budget_that_was_spent_in_the_future_is_free_after_its_time() {
    for (ahead, free_at) in [(10 * MINUTE, START + HOUR), (AHEAD, START)] {
        for crashes in [false, true] {
            let mut lane = Lane::new(routing());
            for number in 0..4 {
                lane.planner.take(&alert("count", number, number, Transition::Fired, START), START + ahead);
            }
            assert_eq!(planned(&lane.commit(START + ahead), "chat").len(), 4);
            if crashes {
                lane.crash();
            }
            assert!(lane.planner.is_due(START));
            let next = lane.say(&alert("count", 4, 4, Transition::Fired, START), "chat");
            assert_eq!(next.is_empty(), free_at > START, "{ahead}");
            let later = planned(&lane.commit(free_at), "chat");
            assert_eq!(next.len() + later.len(), 1, "{ahead}");
        }
    }
}

#[test]
fn what_ended_in_the_future_holds_others_back_for_as_long_as_it_says_and_no_longer() {
    let inhibit = Inhibit {
        name: "quiet".to_owned(),
        by: BTreeMap::from([("muted".to_owned(), String::new())]),
        hold: vec!["count".to_owned()],
        same: Vec::new(),
        wait_ms: 0,
        after_ms: 5 * MINUTE,
    };
    let mut lane = Lane::new(routing().with_inhibits(vec![inhibit]));
    lane.say(&alert("muted", 0, 0, Transition::Fired, START), "log");
    taken_ahead(&mut lane, &alert("muted", 1, 0, Transition::Resolved, START));
    assert!(lane.say(&alert("count", 2, 2, Transition::Fired, START), "log").is_empty());
    assert!(lane.planner.next_due() <= Some(START + 5 * MINUTE));
    lane.crash();
    lane.commit(START + 1);
    assert_eq!(planned(&lane.commit(START + 5 * MINUTE + 1), "log").len(), 1);
}
