//! The end of what was held back is not told: it would be the end of what no person has heard of.

use super::*;

fn silence(until_ms: i64) -> Live {
    let mut live = Live::default();
    live.silences.push(LiveSilence { rule: "muted".to_owned(), about: String::new(), held: held(Some(until_ms)) });
    live
}

#[test]
fn the_end_of_a_silenced_start_is_recorded_and_not_told_whatever_crashes() {
    for crashes in [false, true] {
        let mut lane = Lane::new(routing());
        let at = |minutes: i64| START + minutes * MINUTE;
        let say = |lane: &mut Lane, number: usize, link: usize, over: bool, minutes: i64| {
            if crashes {
                lane.crash();
            }
            let transition = if over { Transition::Resolved } else { Transition::Fired };
            lane.say(&alert("muted", number, link, transition, at(minutes)), "log")
        };
        assert_eq!(say(&mut lane, 0, 0, false, 0).len(), 1);
        lane.live(silence(at(60)));
        // More of what was told, and something else.
        assert!(say(&mut lane, 1, 0, false, 20).is_empty() && say(&mut lane, 2, 1, false, 21).is_empty());
        lane.live(Live::default());
        assert!(say(&mut lane, 3, 1, true, 80).is_empty());
        let end = say(&mut lane, 4, 0, true, 100);
        assert!(end.len() == 1 && end[0].thread.as_ref().unwrap().ends, "what was told is ended");
        let why = "silenced by ana: launch";
        assert_eq!(silenced(&lane, "log"), [why, why, "silenced by ana: launch; its start was not told"]);
        let last = lane.deliveries.iter().rfind(|one| one.stage == DeliveryStage::Silenced).unwrap();
        assert_eq!(last.alert_ids, ["alert-3"]);
        // The next time, it is told from its beginning to its end.
        assert_eq!(say(&mut lane, 5, 1, false, 120).len(), 1);
        assert_eq!(say(&mut lane, 6, 1, true, 140)[0].kind, MessageKind::Resolved);
        // Nothing of it is read back for ever.
        lane.commit(at(141));
        assert!(lane.planner.mark().is_none_or(|mark| mark > 3), "{:?}", lane.planner.mark());
    }
}

#[test]
fn an_end_in_the_hours_of_a_place_that_dropped_its_start_is_not_told_there() {
    let mut lane = Lane::new(routing());
    let evening = START + 9 * HOUR;
    assert!(lane.say(&alert("count", 0, 0, Transition::Fired, evening), "drops").is_empty());
    lane.crash();
    let end = lane.take(&alert("count", 1, 0, Transition::Resolved, START + 24 * HOUR));
    assert!(planned(&end, "drops").is_empty());
    assert_eq!(planned(&end, "log").len(), 1, "it was told there");
    let why = "outside the open hours of drops";
    assert_eq!(silenced(&lane, "drops"), [why.to_owned(), format!("{why}; its start was not told")]);
}

#[test]
fn what_is_muted_at_its_beginning_and_told_later_is_ended() {
    let mut lane = Lane::new(routing());
    let night = START + 13 * HOUR;
    assert!(lane.say(&alert("muted", 0, 0, Transition::Fired, night), "log").is_empty());
    lane.crash();
    // It fires once more in the morning, as after a change of its rule.
    let morning = START + 22 * HOUR;
    assert_eq!(lane.say(&alert("muted", 1, 0, Transition::Fired, morning), "log").len(), 1);
    lane.crash();
    assert_eq!(lane.say(&alert("muted", 2, 0, Transition::Resolved, morning + HOUR), "log").len(), 1);
    // A week later, nothing is known of a start.
    assert!(lane.say(&alert("muted", 3, 1, Transition::Fired, START + 37 * HOUR), "log").is_empty());
    let end = alert("muted", 4, 1, Transition::Resolved, START + 37 * HOUR + 7 * 24 * HOUR);
    assert_eq!(lane.say(&end, "log").len(), 1);
}

#[test]
fn what_an_earlier_version_silenced_is_ended_as_it_was() {
    let mut lane = Lane::new(routing());
    lane.live(silence(START + HOUR));
    lane.take(&alert("muted", 0, 0, Transition::Fired, START));
    lane.deliveries.iter_mut().for_each(|one| one.body = "".into());
    lane.crash();
    assert_eq!(lane.say(&alert("muted", 1, 0, Transition::Resolved, START + 2 * HOUR), "log").len(), 1);
}

#[test]
fn the_end_of_what_a_digest_told_is_told_though_its_first_start_was_silenced() {
    for crashes in [false, true] {
        let mut lane = Lane::new(routing());
        let mut live = Live::default();
        live.silences.push(LiveSilence { rule: "count".to_owned(), about: String::new(), held: held(None) });
        lane.live(live);
        lane.take(&alert("count", 0, 0, Transition::Fired, START));
        lane.live(Live::default());
        // In the evening both wait for the morning.
        let evening = START + 9 * HOUR;
        for link in 0..2 {
            assert!(lane.say(&alert("count", 1 + link, link, Transition::Fired, evening), "office").is_empty());
        }
        if crashes {
            lane.crash();
        }
        let morning = START + 25 * HOUR;
        assert_eq!(planned(&lane.commit(morning), "office")[0].digest.len(), 2);
        if crashes {
            lane.crash();
        }
        let end = lane.say(&alert("count", 3, 0, Transition::Resolved, morning + HOUR), "office");
        assert_eq!(end.len(), 1, "it was told of in the digest; crashes: {crashes}");
    }
}
