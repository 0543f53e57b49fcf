//! An acknowledgement is about what its message named: it hides nothing else that is told to the same group.

use super::*;

fn at(minutes: i64) -> i64 {
    START + minutes * MINUTE
}

fn fired(number: usize, link: usize, minutes: i64) -> Alert<'static> {
    alert("muted", number, link, Transition::Fired, at(minutes))
}

#[test]
fn an_acknowledgement_hides_no_other_link() {
    for crashes in [false, true] {
        let mut lane = Lane::new(routing());
        let say = |lane: &mut Lane, alert: &Alert<'_>| {
            if crashes {
                lane.crash();
            }
            lane.say(alert, "log")
        };
        let first = say(&mut lane, &fired(0, 0, 0)).remove(0);
        let mut people = acknowledged(&first.id);
        lane.live(people.clone());
        let other = say(&mut lane, &fired(1, 1, 20)).remove(0);
        assert_eq!((other.links.len(), other.links[0].link.as_str()), (1, "go.example.com/s1"));
        assert!(say(&mut lane, &fired(2, 0, 40)).is_empty(), "more of what is taken care of");
        assert_eq!(silenced(&lane, "log"), ["acknowledged by ana: launch"]);
        // The other one is not taken care of until a person says so.
        let more = say(&mut lane, &fired(3, 1, 60)).remove(0);
        people.acknowledged.insert(more.id, held(None));
        lane.live(people.clone());
        assert!(say(&mut lane, &fired(4, 1, 80)).is_empty() && say(&mut lane, &fired(5, 0, 100)).is_empty());
        assert_eq!(say(&mut lane, &fired(6, 2, 120)).len(), 1, "a third one");
        // Both ends come, and what begins anew is told.
        let over = |number, link, minutes| alert("muted", number, link, Transition::Resolved, at(minutes));
        for (number, link) in [(7, 1), (8, 0)] {
            let end = say(&mut lane, &over(number, link, 140 + 20 * number as i64)).remove(0);
            assert_eq!((end.kind, end.thread.unwrap().ends), (MessageKind::Resolved, false));
        }
        assert_eq!(say(&mut lane, &fired(9, 0, 400)).len(), 1, "it had ended");
    }
}

#[test]
fn what_is_taken_care_of_and_what_is_not_are_told_together() {
    let mut lane = Lane::new(routing());
    let first = lane.say(&fired(0, 0, 0), "log").remove(0);
    lane.live(acknowledged(&first.id));
    for (number, link) in [(1, 0), (2, 1)] {
        assert!(lane.say(&fired(number, link, 5), "log").is_empty(), "it waits for its turn");
    }
    let told = planned(&lane.commit(at(10)), "log").remove(0);
    assert_eq!((told.alerts, told.kind), (2, MessageKind::Summary));
}

#[test]
fn of_rules_that_fire_on_every_event_an_acknowledgement_is_about_the_links_that_it_names() {
    let each = |number, link, minutes| alert("each", number, link, Transition::Each, at(minutes));
    for (link, told) in [(0, 0), (1, 1)] {
        for crashes in [false, true] {
            let mut lane = Lane::new(routing());
            let first = lane.say(&each(0, 0, 0), "log").remove(0);
            lane.live(acknowledged(&first.id));
            assert!(lane.say(&each(1, link, 5), "log").is_empty());
            if crashes {
                lane.crash();
            }
            assert_eq!(planned(&lane.commit(at(10)), "log").len(), told, "{link}");
            assert_eq!(silenced(&lane, "log").len(), 1 - told);
        }
    }
}

#[test]
fn what_is_first_seen_at_a_link_is_told_though_something_else_at_it_was_acknowledged() {
    let seen = |number, minutes, what: &str| {
        let mut alert = alert("each", number, 0, Transition::Each, at(minutes));
        alert.attributes.add("why", format!("{what} was never seen there"));
        alert
    };
    let mut lane = Lane::new(routing());
    let first = lane.say(&seen(0, 0, "push"), "log").remove(0);
    lane.live(acknowledged(&first.id));
    assert!(lane.say(&seen(1, 5, "sms"), "log").is_empty(), "it waits for its turn");
    assert_eq!(planned(&lane.commit(at(10)), "log").len(), 1);
}
