//! Reports by the calendar: each period once for each destination, whatever crashes and whatever a clock says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use std::collections::BTreeMap;

use event::{Delivery, DeliveryStage};
use hookline_notification::{
    Attachment, Calendar, Destination, Due, Held, Live, Message, MessageKind, Planner, ReportText, Routing, Scheduled,
};
use jiff::civil::{Weekday, time};
use jiff::tz::TimeZone;
use proptest::prelude::*;

/// A Monday, 08:00 UTC.
const MONDAY: i64 = 1_764_576_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn routing() -> Routing {
    let destination = |name: &str| Destination {
        name: name.to_owned(),
        owner: "data".to_owned(),
        fields: None,
        keyed: false,
        max: None,
        open: None,
    };
    let scheduled = |name: &str, on: Option<Weekday>, to: &[&str]| Scheduled {
        name: name.to_owned(),
        owner: "growth".to_owned(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        when: Calendar { on, at: time(8, 0, 0, 0), zone: TimeZone::UTC },
    };
    let scheduled = vec![
        scheduled("daily", None, &["chat", "mail"]),
        scheduled("workflow/failures", Some(Weekday::Monday), &["mail"]),
    ];
    Routing::new(Vec::new(), vec![destination("chat"), destination("mail")], Vec::new()).with_scheduled(scheduled)
}

fn said() -> ReportText {
    let attachment = Some(Attachment { name: "a.csv".to_owned(), csv: "a\r\n".to_owned() });
    ReportText { title: "a report".to_owned(), text: "- a row".to_owned(), count: 1, attachment }
}

/// A planner with its log, which can crash.
struct World {
    planner: Planner,
    log: Vec<Delivery<'static>>,
    mark: Option<i64>,
}

impl World {
    fn new() -> Self {
        Self { planner: Planner::new(routing()), log: Vec::new(), mark: None }
    }

    fn plan_all(&mut self, now_ms: i64) {
        for due in self.planner.due_reports(now_ms) {
            self.planner.plan_report(&due, &said(), now_ms);
        }
    }

    fn commit(&mut self, now_ms: i64) {
        let offset = self.log.len() as i64;
        let records = self.planner.settle(now_ms);
        self.planner.committed(offset);
        self.log.extend(records);
        self.mark = self.planner.mark();
    }

    /// Only what is committed is left, and of that only what the mark says is needed.
    fn crash(&mut self) {
        self.planner = Planner::new(routing());
        let from = self.mark.unwrap_or(self.log.len() as i64);
        for (offset, record) in self.log.iter().enumerate().filter(|(offset, _)| *offset as i64 >= from) {
            self.planner.restore(record, offset as i64).unwrap();
        }
    }

    fn planned(&self) -> BTreeMap<(String, String, String), usize> {
        let mut planned = BTreeMap::new();
        for record in self.log.iter().filter(|record| record.stage == DeliveryStage::Planned) {
            let message = Message::thawed(&record.body).unwrap();
            assert_eq!(message.kind, MessageKind::Report);
            let key = (record.rule.to_string(), record.destination.to_string(), message.attributes["through"].clone());
            *planned.entry(key).or_default() += 1;
        }
        planned
    }
}

#[test]
fn a_report_is_planned_at_its_time_for_each_destination_and_a_paused_one_gets_it_later() {
    let mut world = World::new();
    let held = Held { who: "ana".to_owned(), why: "a move".to_owned(), until_ms: None };
    world.planner.set_live(Live { destinations: BTreeMap::from([("chat".to_owned(), held)]), ..Live::default() });
    let due: Vec<Due> = world.planner.due_reports(MONDAY);
    let names: Vec<(&str, &[String])> = due.iter().map(|due| (due.name.as_str(), due.to.as_slice())).collect();
    assert_eq!(names, [("daily", &["mail".to_owned()][..]), ("workflow/failures", &["mail".to_owned()][..])]);
    world.plan_all(MONDAY);
    assert!(world.planner.is_due(MONDAY), "it goes with the next records");
    world.commit(MONDAY);
    assert!(world.planner.due_reports(MONDAY + HOUR).is_empty());
    world.planner.set_live(Live::default());
    world.plan_all(MONDAY + HOUR);
    world.commit(MONDAY + HOUR);
    let planned = world.planned();
    assert_eq!((planned.len(), planned.values().max()), (3, Some(&1)), "{planned:?}");
    let record = world.log.iter().find(|record| record.destination == "chat").unwrap();
    let message = Message::thawed(&record.body).unwrap();
    assert_eq!((message.title.as_str(), message.text.as_str()), ("a report", "a report\n- a row\nOwner: growth"));
    assert_eq!(message.attachment, said().attachment);
}

#[test]
fn a_destination_that_a_report_no_longer_goes_to_is_not_read_back_for() {
    let mut world = World::new();
    world.plan_all(MONDAY);
    world.commit(MONDAY);
    let mut later = world.planner.due_reports(MONDAY + DAY);
    later[0].to.retain(|to| to == "mail");
    world.planner.plan_report(&later[0], &said(), MONDAY + DAY);
    world.commit(MONDAY + DAY);
    assert_eq!(world.mark, Some(0), "the chat was sent nothing since");
    let daily = Scheduled {
        name: "daily".to_owned(),
        owner: "growth".to_owned(),
        to: vec!["mail".to_owned()],
        when: Calendar { on: None, at: time(8, 0, 0, 0), zone: TimeZone::UTC },
    };
    world.planner.reroute(routing().with_scheduled(vec![daily]));
    assert_eq!(world.planner.mark(), Some(3));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The clock moves by so many minutes, back as well.
    Clock(i64),
    Plan,
    Commit,
    Crash,
}

proptest! {
    #[test]
    fn no_period_is_planned_twice_through_crashes_and_clock_jumps(
        steps in prop::collection::vec(prop_oneof![
            4 => (0..300_i64).prop_map(Step::Clock),
            1 => (-3_000..5_000_i64).prop_map(Step::Clock),
            6 => Just(Step::Plan),
            5 => Just(Step::Commit),
            2 => Just(Step::Crash),
        ], 0..150),
    ) {
        let (mut world, mut now, mut furthest) = (World::new(), MONDAY - DAY, MONDAY);
        for step in steps {
            match step {
                Step::Clock(minutes) => {
                    now += minutes * 60_000;
                    furthest = furthest.max(now);
                }
                Step::Plan => world.plan_all(now),
                Step::Commit => world.commit(now),
                Step::Crash => world.crash(),
            }
        }
        let planned = world.planned();
        prop_assert!(planned.values().all(|times| *times == 1), "{planned:?}");
        // Whatever happened, the time of the next period that no clock has said yet comes, and it is sent.
        let later = furthest - (furthest - MONDAY).rem_euclid(7 * DAY) + 14 * DAY;
        world.crash();
        world.plan_all(later);
        world.commit(later);
        let after = world.planned();
        prop_assert_eq!(after.len() - planned.len(), 3);
        prop_assert!(after.values().all(|times| *times == 1));
    }
}
