//! What a lane knows after a restart: all that it knew before, read back from the oldest record that it needs.

use super::*;

#[test]
fn what_is_open_is_ended_after_a_restart_though_its_end_was_held_in_between() {
    let mut lane = Lane::new(routing());
    let first = lane.say(&alert("muted", 0, 0, Transition::Fired, START), "log").remove(0);
    // Its group has just spoken: the end waits for its turn.
    assert!(lane.say(&alert("muted", 1, 0, Transition::Resolved, START + 5 * MINUTE), "log").is_empty());
    lane.commit(START + 6 * MINUTE);
    lane.crash();
    let mut live = Live::default();
    live.rules.insert("muted".to_owned(), held(None));
    lane.live(live);
    let end = planned(&lane.commit(START + 10 * MINUTE), "log");
    assert_eq!(end.iter().map(|one| one.kind).collect::<Vec<_>>(), [MessageKind::Resolved]);
    let thread = end[0].thread.clone().unwrap();
    assert!(thread.first == first.id && thread.ends);
    assert!(silenced(&lane, "log").is_empty());
}

#[test]
fn what_was_acknowledged_stays_so_after_a_restart_though_more_of_it_was_held_and_dropped() {
    let mut lane = Lane::new(routing());
    let at = |minutes: i64| START + minutes * MINUTE;
    let first = lane.say(&alert("muted", 0, 0, Transition::Fired, START), "log").remove(0);
    lane.live(acknowledged(&first.id));
    assert!(lane.say(&alert("muted", 1, 0, Transition::Fired, at(5)), "log").is_empty());
    lane.commit(at(10));
    lane.commit(at(11));
    lane.crash();
    assert!(lane.say(&alert("muted", 2, 0, Transition::Fired, at(30)), "log").is_empty());
    assert_eq!(silenced(&lane, "log"), ["acknowledged by ana: launch"; 2]);
}

#[test]
fn a_digest_that_tells_more_of_what_is_open_does_not_make_a_restart_forget_it() {
    let mut lane = Lane::new(routing());
    let at = |minutes: i64| START + minutes * MINUTE;
    let first = lane.say(&alert("count", 0, 0, Transition::Fired, START), "log").remove(0);
    let mut live = Live::default();
    live.destinations.insert("log".to_owned(), held(Some(at(60))));
    lane.live(live);
    for link in 0..2 {
        assert!(lane.say(&alert("count", 1 + link, link, Transition::Fired, at(20)), "log").is_empty());
    }
    assert_eq!(planned(&lane.commit(at(60)), "log")[0].digest.len(), 2);
    lane.commit(at(61));
    lane.crash();
    let end = lane.say(&alert("count", 3, 0, Transition::Resolved, at(90)), "log").remove(0);
    let thread = end.thread.unwrap();
    assert_eq!((thread.first, thread.ends), (first.id, true));
}

#[derive(Debug, Clone)]
enum Step {
    Alert {
        rule: usize,
        link: usize,
        over: bool,
    },
    /// Minute by minute, as the lane looks.
    Wait {
        minutes: i64,
    },
    /// Without a look, as when no instance runs.
    Gap {
        hours: i64,
    },
    Pause {
        destination: bool,
        rule: bool,
        for_hours: i64,
    },
    /// Of the messages that were planned.
    Acknowledge {
        back: usize,
    },
    /// What the receiver calls one of them.
    Receipt {
        back: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (over, paused) = (prop::bool::weighted(0.3), any::<bool>());
    let step = prop_oneof![
        8 => (0..4usize, 0..4usize, over).prop_map(|(rule, link, over)| Step::Alert { rule, link, over }),
        6 => (0..30i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => (0..200i64).prop_map(|hours| Step::Gap { hours }),
        2 => (paused, any::<bool>(), 0..30i64)
            .prop_map(|(destination, rule, for_hours)| Step::Pause { destination, rule, for_hours }),
        2 => (0..6usize).prop_map(|back| Step::Acknowledge { back }),
        2 => (0..6usize).prop_map(|back| Step::Receipt { back }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A lane that is never restarted, and one that is before each step.
struct Both {
    live: Lane,
    restored: Lane,
    now: i64,
}

impl Both {
    fn of(routing: &Routing) -> Self {
        Self { live: Lane::new(routing.clone()), restored: Lane::new(routing.clone()), now: START }
    }

    /// Gates and threads decide what is written when: the same of both.
    fn commit(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.live.commit(self.now), self.restored.commit(self.now));
        self.is_alike()
    }

    fn is_alike(&self) -> Result<(), TestCaseError> {
        let (live, restored) = (&self.live.planner, &self.restored.planner);
        prop_assert_eq!(live.next_due(), restored.next_due());
        prop_assert_eq!(live.is_due(self.now), restored.is_due(self.now));
        Ok(())
    }

    fn take(&mut self, alert: &Alert<'_>) -> Result<(), TestCaseError> {
        self.live.planner.take(alert, self.now);
        self.restored.planner.take(alert, self.now);
        self.commit()
    }

    /// One of the last messages that were planned.
    fn planned(&self, back: usize) -> Option<Delivery<'static>> {
        let mut planned = self.live.deliveries.iter().rev().filter(|one| one.stage == DeliveryStage::Planned);
        planned.nth(back).cloned()
    }

    fn set(&mut self, people: &Live) {
        self.live.live(people.clone());
        self.restored.live(people.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // A budget has the log read back from further on: what else needs that must need it without.
    #[test]
    fn a_lane_that_restarts_all_the_time_writes_what_one_writes_that_never_does(
        steps in steps(),
        budget in any::<bool>(),
        acknowledging in any::<bool>(),
    ) {
        let routing = routing_with(budget.then_some(BUDGET), acknowledging.then_some("log"));
        let (mut both, mut people) = (Both::of(&routing), Live::default());
        for (number, step) in steps.into_iter().enumerate() {
            both.restored.crash();
            both.is_alike()?;
            match step {
                Step::Alert { rule, link, over } => {
                    let name = ["each", "count", "other", "muted"][rule];
                    let transition = match (name, over) {
                        ("each" | "other", _) => Transition::Each,
                        (_, true) => Transition::Resolved,
                        (_, false) => Transition::Fired,
                    };
                    both.take(&alert(name, number, link, transition, both.now))?;
                }
                Step::Wait { minutes } => for _ in 0..minutes {
                    both.now += MINUTE;
                    if both.live.planner.is_due(both.now) {
                        both.commit()?;
                    }
                    both.is_alike()?;
                },
                Step::Gap { hours } => {
                    both.now += hours * HOUR;
                    both.is_alike()?;
                    both.commit()?;
                }
                Step::Pause { destination, rule, for_hours } => {
                    let until = held(Some(both.now + for_hours * HOUR));
                    people.destinations = destination.then(|| ("log".to_owned(), until.clone())).into_iter().collect();
                    people.rules = rule.then(|| ("muted".to_owned(), until)).into_iter().collect();
                    both.set(&people);
                    both.commit()?;
                }
                Step::Acknowledge { back } => {
                    let id = both.planned(back).map(|one| one.bundle_id.into_owned());
                    people.acknowledged.extend(id.map(|id| (id, held(None))));
                    both.set(&people);
                    both.commit()?;
                }
                Step::Receipt { back } => if let Some(planned) = both.planned(back) {
                    let receipt = format!("receipt-{number}").into();
                    let told = Delivery { stage: DeliveryStage::Delivered, body: receipt, ..planned };
                    for lane in [&mut both.live, &mut both.restored] {
                        lane.planner.delivered(&told);
                        lane.deliveries.push(told.clone());
                    }
                    both.commit()?;
                }
            }
        }
    }
}
