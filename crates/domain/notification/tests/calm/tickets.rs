//! Tickets and incidents: one for each key, whatever waited, and none for what is over by then.

use super::*;

fn lane() -> Lane {
    let pager = Destination {
        name: "pager".to_owned(),
        owner: "data".to_owned(),
        fields: None,
        keyed: true,
        max: None,
        open: None,
    };
    let rules = vec![rule("count", &["pager"], None), rule("each", &["pager"], None)];
    let routing = Routing::new(rules, vec![pager], vec![]);
    Lane::new(routing.with_acknowledging(["pager".to_owned()]))
}

fn pause(lane: &mut Lane) {
    let mut live = Live::default();
    live.destinations.insert("pager".to_owned(), held(None));
    lane.live(live);
}

#[test]
fn what_waited_for_a_paused_pager_is_an_incident_for_each_key_and_each_is_ended() {
    let at = |minutes: i64| START + minutes * MINUTE;
    let mut lane = lane();
    let open = lane.say(&alert("count", 0, 9, Transition::Fired, START), "pager").remove(0);
    pause(&mut lane);
    for link in 0..3 {
        assert!(lane.say(&alert("count", 1 + link, link, Transition::Fired, at(20)), "pager").is_empty());
        assert!(lane.say(&alert("each", 4 + link, link, Transition::Each, at(21)), "pager").is_empty());
    }
    assert!(lane.say(&alert("count", 7, 1, Transition::Resolved, at(30)), "pager").is_empty());
    assert!(lane.say(&alert("count", 8, 9, Transition::Resolved, at(31)), "pager").is_empty());
    lane.crash();
    lane.commit(at(40));
    lane.live(Live::default());
    assert!(lane.planner.is_due(at(60)));
    let sent = planned(&lane.commit(at(60)), "pager");
    assert!(!lane.planner.is_due(at(60)) && sent.iter().all(|one| one.digest.is_empty() && one.thread.is_some()));
    let of = |link: usize, rule: &str| {
        let link = format!("go.example.com/s{link}");
        let own = sent.iter().filter(|one| one.rule == rule && one.links.iter().any(|known| known.link == link));
        own.map(|one| (one.kind, one.thread.clone().unwrap())).collect::<Vec<_>>()
    };
    let mut keys: Vec<String> = Vec::new();
    for (link, rule) in [(0, "count"), (2, "count"), (0, "each"), (1, "each"), (2, "each")] {
        let own = of(link, rule);
        assert!(own.len() == 1 && own[0].0 == MessageKind::Alert && own[0].1.opens && !own[0].1.ends, "{rule} {link}");
        keys.push(own[0].1.key.clone());
    }
    let end = of(9, "count").remove(0).1;
    assert!(end.ends && !end.opens && end.first == open.id, "what was open before the pause");
    keys.push(end.key);
    assert_eq!((sent.len(), keys.iter().collect::<std::collections::BTreeSet<_>>().len()), (6, 6));
    // What began and ended meanwhile calls no person.
    assert!(of(1, "count").is_empty());
    assert_eq!(silenced(&lane, "pager"), ["it was over before pager took messages again"]);
    let dropped = lane.deliveries.iter().find(|one| one.stage == DeliveryStage::Silenced).unwrap();
    assert_eq!(dropped.alert_ids, ["alert-2", "alert-7"]);
    lane.crash();
    let end = lane.say(&alert("count", 10, 0, Transition::Resolved, at(90)), "pager").remove(0).thread.unwrap();
    assert!(end.ends && end.key == of(0, "count")[0].1.key);
}

#[test]
fn what_goes_on_after_an_end_is_an_incident() {
    let at = |minutes: i64| START + minutes * MINUTE;
    let mut lane = lane();
    pause(&mut lane);
    for (number, transition) in [Transition::Fired, Transition::Resolved, Transition::Fired].into_iter().enumerate() {
        assert!(lane.say(&alert("count", number, 0, transition, at(number as i64)), "pager").is_empty());
    }
    lane.crash();
    lane.live(Live::default());
    let sent = planned(&lane.commit(at(30)), "pager");
    assert!(sent.len() == 1 && sent[0].pings() && !sent[0].thread.as_ref().unwrap().ends, "{sent:?}");
}
