//! What of an erasure rests on topics, and until when: their records cannot be erased one by one. Pure.

use std::collections::BTreeMap;

use event::{Erasure, Scope};
use kafka::Topic;
use kafka::topics::Plan;
use warehouse::LaneRest;

use super::millis;
use super::report::{LanePlaces, TopicRest};
use crate::ledger::raw::Kept;

/// What rests on each topic. `kept` is what `raw` still holds; `now` and all times are in milliseconds since 1970.
pub(super) fn rest(
    plan: &Plan,
    erasure: &Erasure,
    places: Vec<LaneRest>,
    kept: &BTreeMap<u16, Kept>,
    now: i64,
) -> Vec<TopicRest> {
    let after = |topic| plan.gone_after(topic).map_or(0, millis);
    let mut rests = Vec::new();
    let still = |topic, until: i64| until + after(topic) > now;
    for (topic, what) in [
        (Topic::Raw, "the bytes as they came, at these offsets"),
        (Topic::Events, "the events made of them, in the order of these raw offsets"),
    ] {
        let there = places.iter().filter(|lane| still(topic, lane.until));
        let there: Vec<&LaneRest> = there
            .filter(|lane| topic != Topic::Raw || kept.get(&lane.lane).is_none_or(|kept| lane.last >= kept.from))
            .collect();
        let Some(until) = there.iter().map(|lane| lane.until).max() else { continue };
        rests.push(TopicRest {
            topic: topic.name(),
            what,
            records: Some(there.iter().map(|lane| lane.records).sum()),
            lanes: there
                .iter()
                .map(|lane| LanePlaces { lane: lane.lane, records: lane.records, first: lane.first, last: lane.last })
                .collect(),
            gone_by: Some(until + after(topic)),
        });
    }
    let dead = places.iter().filter(|lane| lane.dead_letters > 0 && still(Topic::DeadLetters, lane.until));
    let dead: Vec<&LaneRest> = dead.collect();
    if let Some(until) = dead.iter().map(|lane| lane.until).max() {
        rests.push(TopicRest {
            topic: Topic::DeadLetters.name(),
            what: "the bytes of dead letters",
            records: Some(dead.iter().map(|lane| lane.dead_letters).sum()),
            lanes: Vec::new(),
            gone_by: Some(until + after(Topic::DeadLetters)),
        });
    }
    // Alerts are of events that were received by then, and messages of alerts; both may come a little later.
    let through = erasure.through.0.min(now);
    for (topic, what) in [
        (Topic::Alerts, "alerts that name it or quote one of its events"),
        (Topic::Deliveries, "texts of messages made of those alerts"),
        (Topic::Signals, "counts for rules, with an event key as a sample"),
    ] {
        if still(topic, through) && !places.is_empty() {
            rests.push(TopicRest {
                topic: topic.name(),
                what,
                records: None,
                lanes: Vec::new(),
                gone_by: Some(through + after(topic)),
            });
        }
    }
    if matches!(erasure.scope, Scope::Link(_)) && still(Topic::Deliveries, through) && !places.is_empty() {
        rests.push(TopicRest {
            topic: Topic::DetectorState.name(),
            what: "windows of rules that count by link, under its name; compacted away once a rule forgets the key",
            records: None,
            lanes: Vec::new(),
            gone_by: None,
        });
    }
    rests
}

#[cfg(test)]
mod tests {
    use event::Millis;

    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_000 * DAY;

    fn lane(lane: u16, until: i64, dead_letters: u64) -> LaneRest {
        LaneRest { incarnation: "i".into(), lane, records: 5, dead_letters, first: 10, last: 40, until }
    }

    fn resting(places: Vec<LaneRest>, scope: Scope, through: i64, low: u64) -> Vec<(String, Option<u64>, Option<i64>)> {
        let erasure = Erasure { id: "e".into(), key: [1, 2], scope, through: Millis(through) };
        let kept = (0..4).map(|lane| (lane, Kept { from: low, to: 100 })).collect();
        rest(&Plan::new(4, 1), &erasure, places, &kept, NOW)
            .into_iter()
            .map(|rest| {
                let short = rest.topic.trim_start_matches("hookline.").trim_end_matches(".v1").to_owned();
                (short, rest.records, rest.gone_by.map(|at| (at - NOW) / DAY))
            })
            .collect()
    }

    #[test]
    fn each_topic_says_how_many_records_it_keeps_and_until_when() {
        let some = |topic: &str, records, days| (topic.to_owned(), records, days);
        // Of yesterday, with dead letters among them: half a day more for the segment.
        let yesterday = resting(vec![lane(0, NOW - DAY, 0), lane(3, NOW - 2 * DAY, 2)], Scope::source("dub"), NOW, 0);
        assert_eq!(
            yesterday,
            [
                some("raw", Some(10), Some(6)),
                some("events", Some(10), Some(6)),
                some("dead-letters", Some(2), Some(28)),
                some("alerts", None, Some(30)),
                some("deliveries", None, Some(30)),
                some("signals", None, Some(2)),
            ]
        );
        // A link's name is a key of windows.
        let of_link = resting(vec![lane(0, NOW - DAY, 0)], Scope::link([1, 2], "x"), NOW, 0);
        assert_eq!(of_link.last(), Some(&some("detector-state", None, None)));
    }

    #[test]
    fn what_retention_has_taken_is_not_said_to_rest() {
        let topics = |found: Vec<(String, Option<u64>, Option<i64>)>| -> Vec<String> {
            found.into_iter().map(|(topic, ..)| topic).collect()
        };
        let long_ago = vec![lane(0, NOW - 9 * DAY, 1)];
        assert_eq!(
            topics(resting(long_ago, Scope::source("dub"), NOW - 9 * DAY, 0)),
            ["dead-letters", "alerts", "deliveries"]
        );
        assert_eq!(topics(resting(vec![lane(0, NOW - 40 * DAY, 1)], Scope::source("dub"), NOW - 40 * DAY, 0)), [""; 0]);
        // Raw says itself that it holds none of these offsets.
        assert_eq!(topics(resting(vec![lane(0, NOW - DAY, 0)], Scope::source("dub"), NOW, 41))[0], "events");
        assert!(resting(Vec::new(), Scope::source("dub"), NOW, 0).is_empty(), "nothing was ever there");
    }
}
