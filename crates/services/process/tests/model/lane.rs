//! The lane: production's decisions, one step at a time, and the properties that must hold after each.

use dedupe::store::MemoryStore;
use dedupe::{Candidate, Id128, Restore, Verdict, Window, WindowStore, changelog};
use hookline_process::advance::Advance;
use hookline_process::cuts::Policy;
use hookline_process::opening::Opening;
use hookline_process::position::Carried;
use kafka::lane::End;
use kafka::positions::{Committed, Range};
use runtime::HaltReason;
use stateright::{Model, Property};

use crate::broker::{Broker, Event, Outcome, position_is_the_end, rows};
use crate::world::{Action, Instance, Phase, World};

const WINDOW_MS: u64 = 1_000;
const POLICY: Policy = Policy { age_ms: 1_000, rows: 4, bytes: u64::MAX };

/// A record of `raw`: its key (none is undecodable) and when it was received.
type Raw = (Option<u128>, i64);

/// A repeat within the window, one after it, and a dead letter.
const RAW: [Raw; 5] = [(Some(7), 0), (Some(8), 5), (Some(7), 10), (None, 20), (Some(7), 2_000)];

/// What `events` must say of them: the first offset of a key within the window counts.
const EXPECTED: [Outcome; 5] =
    [Outcome::Event, Outcome::Event, Outcome::Duplicate { first: 0 }, Outcome::Dead, Outcome::Event];

/// Ways to get it wrong that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// An owner that does not fence the one before it.
    NoFence,
    /// The fence is known to the coordinator alone, not to the partitions.
    NoSeal,
    /// The position is read before the fence is taken.
    LocatesBeforeFence,
    /// Marks are applied to the store when the records are written.
    MarksBeforeCommit,
    /// The store is believed as it is; `seen` is not read.
    TrustsTheStore,
    /// A position is obeyed though `seen` goes on from it.
    ObeysThePosition,
    /// A lane halts on what it sees, though it may be fenced by then.
    HaltsUnproven,
}

pub(crate) struct Lane {
    pub(crate) mutant: Mutant,
    pub(crate) records: usize,
    pub(crate) deeper: u8,
    /// Whether the broker gives out an earlier position once, or a record comes late once: both make many more states.
    pub(crate) outdates: bool,
}

impl Lane {
    pub(crate) fn new(mutant: Mutant) -> Self {
        Self { mutant, records: 3, deeper: 0, outdates: mutant == Mutant::ObeysThePosition }
    }

    fn candidate(raw: u64) -> Option<Candidate> {
        let (key, received_at) = RAW[raw as usize];
        Some(Candidate::new(Id128(key?), raw, received_at, WINDOW_MS))
    }

    /// Decides records of `raw`, one by one as chunks of a transaction come.
    fn decide(window: &mut Window<MemoryStore>, raws: std::ops::Range<u64>) -> Result<Vec<Event>, End> {
        let mut verdicts = Vec::new();
        raws.map(|raw| {
            let outcome = match Self::candidate(raw) {
                None => Outcome::Dead,
                Some(candidate) => {
                    window.decide_batch(&[candidate], &mut verdicts).unwrap();
                    match verdicts[0] {
                        Verdict::First => Outcome::Event,
                        Verdict::Duplicate { first_offset, .. } => Outcome::Duplicate { first: first_offset },
                        Verdict::Rewound { .. } => return Err(End::halt(HaltReason::Rewound, "at a record")),
                    }
                }
            };
            Ok(Event::Row { raw, outcome })
        })
        .collect()
    }

    fn end(&self, broker: &Broker, epoch: u8, end: &End) -> Phase {
        match end {
            End::Halt { reason, .. } if epoch == broker.epoch || self.mutant == Mutant::HaltsUnproven => {
                Phase::Halted { reason: *reason }
            }
            // Only the owner halts: the others learn that they are fenced, and start again.
            _ => Phase::Down,
        }
    }

    fn restore(
        &self,
        broker: &Broker,
        disk: &mut MemoryStore,
        opening: &Opening,
        seen: Range,
    ) -> Result<Option<Advance>, End> {
        if disk.position().is_some_and(|at| !opening.fits(at, seen)) {
            *disk = MemoryStore::new();
        }
        let mut chain = Restore::after(disk.position());
        let mut passed = disk.position().is_some_and(|at| opening.is_at(at));
        let scan = opening.scan(disk.position(), seen);
        if broker.seen.stable().end < scan.to {
            return Ok(None);
        }
        if self.mutant != Mutant::TrustsTheStore {
            let wanted = scan.from.unwrap_or(0)..scan.to;
            for (offset, value) in broker.seen.committed().filter(|(offset, _)| wanted.contains(offset)) {
                let record = changelog::decode(value).unwrap();
                let position = chain
                    .feed(offset, &record)
                    .map_err(|error| End::halt(HaltReason::SeenBroken, error.to_string()))?;
                disk.apply(&record.entries, position).unwrap();
                passed |= opening.is_at(position);
            }
        } else if let Some(committed) = &broker.position {
            chain = Restore::after(Some(committed.metadata.parse::<Carried>().unwrap().seen));
        }
        let written = || Ok::<_, End>(broker.events.committed().next().is_some());
        let mut carried = opening.start(&chain, seen, passed, written)?.carried(0);
        if self.mutant == Mutant::ObeysThePosition
            && let Some(committed) = &broker.position
        {
            carried = committed.metadata.parse().unwrap();
        }
        Ok(Some(Advance::from(carried, POLICY)))
    }

    fn write(
        &self,
        broker: &mut Broker,
        disk: &mut MemoryStore,
        phase: &Phase,
        records: u64,
        late: bool,
    ) -> Option<Phase> {
        let Phase::Ready { epoch, advance } = phase else { return None };
        let mut advance = advance.clone();
        let mut window = Window::new(disk.clone());
        let from = advance.committed().seen.raw_hi;
        let events = match Self::decide(&mut window, from..from + records) {
            Ok(events) => events,
            Err(end) => return Some(self.end(broker, *epoch, &end)),
        };
        for _ in &events {
            advance.saw(0);
            advance.wrote(1, 0);
        }
        advance.read_to(from + records);
        let closing = advance.close(if late { POLICY.age_ms } else { 0 });
        if late && closing.cut.is_none() {
            return None;
        }
        let marks = changelog::encode(closing.raw_lo, closing.raw_hi, window.pending()).unwrap();
        if *epoch != broker.epoch {
            // What a fenced producer sends is refused.
            return Some(Phase::Down);
        }
        broker.open = true;
        let cut = closing.cut.map(|cut| Event::Cut { raw_hi: cut.raw_hi });
        for event in events.into_iter().chain(cut) {
            broker.events.append(*epoch, event)?;
        }
        let mut last_seen = 0;
        for mark in marks {
            last_seen = broker.seen.append(*epoch, mark)?;
        }
        let carried = advance.position(last_seen);
        if self.mutant == Mutant::MarksBeforeCommit {
            window.commit(carried.seen).unwrap();
            *disk = window.into_store();
        }
        Some(Phase::Flushed { epoch: *epoch, advance, carried })
    }
}

fn committed(carried: &Carried) -> Committed {
    Committed { next: carried.seen.raw_hi as i64, metadata: carried.to_string() }
}

impl Model for Lane {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let instance = || Instance { disk: MemoryStore::new(), phase: Phase::Down };
        vec![World {
            broker: Broker::new(),
            instances: [instance(), instance()],
            starts: 3 + self.deeper / 4 - u8::from(self.outdates && self.deeper == 0),
            late_records: u8::from(!self.outdates || self.deeper >= 3),
            outdated_positions: u8::from(self.outdates),
            torn_writes: u8::from(self.deeper >= 1),
            timeouts: u8::from(self.deeper >= 2),
            lost_disks: 1,
            idle_commits: u8::from(self.deeper >= 2),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for of in 0..2 {
            let Instance { disk, phase } = &world.instances[of];
            // The two are alike: the first to start is instance 0.
            if world.starts > 0 && !matches!(phase, Phase::Halted { .. }) && (of == 0 || world.broker.epoch > 0) {
                actions.push(Action::Start { of, disk_lost: false });
                if world.lost_disks > 0 && disk.position().is_some() {
                    actions.push(Action::Start { of, disk_lost: true });
                }
            }
            match phase {
                Phase::Fenced { .. } => actions.push(Action::Seal(of)),
                Phase::Sealed { .. } => actions.push(Action::Locate(of)),
                Phase::Located { .. } => actions.push(Action::Restore(of)),
                Phase::Ready { epoch, advance } => {
                    let left = self.records as u64 - advance.committed().seen.raw_hi;
                    for records in 0..=left.min(2) {
                        let rows = records > 0 || advance.committed().open.rows > 0;
                        if rows {
                            actions.push(Action::Write { of, records, late: true });
                        }
                        if records > 0 || world.idle_commits > 0 {
                            actions.push(Action::Write { of, records, late: false });
                        }
                    }
                    if left > 0 && world.torn_writes > 0 {
                        actions.push(Action::TornWrite(of));
                    }
                    if left > 0 && world.late_records > 0 && *epoch < world.broker.epoch {
                        actions.extend([true, false].map(|to_seen| Action::Late { of, to_seen }));
                    }
                }
                Phase::Flushed { .. } => actions.push(Action::Commit(of)),
                Phase::Told { .. } => actions.push(Action::Apply(of)),
                Phase::Down | Phase::Halted { .. } => {}
            }
        }
        if world.timeouts > 0 && world.broker.open {
            actions.push(Action::Timeout);
        }
        if world.outdated_positions > 0 && world.broker.position.is_some() {
            actions.push(Action::Outdate);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        let World {
            broker,
            instances,
            starts,
            late_records,
            outdated_positions,
            torn_writes,
            timeouts,
            lost_disks,
            idle_commits,
        } = &mut next;
        match action {
            Action::Start { of, disk_lost } => {
                *starts -= 1;
                if disk_lost {
                    *lost_disks -= 1;
                    instances[of].disk = MemoryStore::new();
                }
                let epoch = if self.mutant == Mutant::NoFence { broker.epoch } else { broker.fence() };
                instances[of].phase = Phase::Fenced { epoch };
            }
            Action::Seal(of) => {
                let Phase::Fenced { epoch } = instances[of].phase else { return None };
                let is_owner = epoch == broker.epoch;
                if is_owner && self.mutant != Mutant::NoSeal {
                    broker.seal();
                }
                instances[of].phase = if is_owner { Phase::Sealed { epoch } } else { Phase::Down };
            }
            Action::Locate(of) => {
                let Phase::Sealed { epoch } = instances[of].phase else { return None };
                let opening = Opening::new(broker.position.as_ref()).unwrap();
                instances[of].phase = Phase::Located { epoch, opening, seen: broker.seen.stable() };
            }
            Action::Restore(of) => {
                let Phase::Located { epoch, opening, seen } = instances[of].phase.clone() else { return None };
                // Read before the fence, they are as good as what an earlier owner knew: taken only now, too late.
                let epoch = if self.mutant == Mutant::LocatesBeforeFence { broker.fence() } else { epoch };
                let phase = match self.restore(broker, &mut instances[of].disk, &opening, seen) {
                    Ok(Some(advance)) => Phase::Ready { epoch, advance },
                    Ok(None) => return None,
                    Err(end) => self.end(broker, epoch, &end),
                };
                instances[of].phase = phase;
            }
            Action::Write { of, records, late } => {
                if records == 0 && !late {
                    *idle_commits -= 1;
                }
                let Instance { disk, phase } = &mut instances[of];
                instances[of].phase = self.write(broker, disk, phase, records, late)?;
            }
            Action::Commit(of) => {
                let Phase::Flushed { epoch, mut advance, carried } = instances[of].phase.clone() else { return None };
                let from = advance.committed().seen.raw_hi;
                if epoch != broker.epoch {
                    instances[of].phase = Phase::Down;
                    return Some(next);
                }
                broker.end_transaction(true);
                advance.commit();
                broker.commit_position(committed(&carried));
                instances[of].phase = Phase::Told { epoch, advance, from };
            }
            Action::Apply(of) => {
                let Phase::Told { epoch, advance, from } = instances[of].phase.clone() else { return None };
                let carried = *advance.committed();
                if self.mutant != Mutant::MarksBeforeCommit {
                    let mut window = Window::new(instances[of].disk.clone());
                    Self::decide(&mut window, from..carried.seen.raw_hi).unwrap();
                    window.commit(carried.seen).unwrap();
                    instances[of].disk = window.into_store();
                }
                instances[of].phase = Phase::Ready { epoch, advance };
            }
            Action::TornWrite(of) => {
                *torn_writes -= 1;
                let Phase::Ready { epoch, advance } = &instances[of].phase else { return None };
                if *epoch == broker.epoch {
                    broker.open = true;
                    let raw = advance.committed().seen.raw_hi;
                    broker.events.append(*epoch, Event::Row { raw, outcome: Outcome::Event })?;
                }
                instances[of].phase = Phase::Down;
            }
            Action::Late { of, to_seen } => {
                *late_records -= 1;
                let Phase::Ready { epoch, advance } = &instances[of].phase else { return None };
                let raw = advance.committed().seen.raw_hi;
                if to_seen {
                    let mark = changelog::encode(raw, raw + 1, &[]).unwrap().remove(0);
                    broker.seen.append(*epoch, mark)?;
                } else {
                    broker.events.append(*epoch, Event::Row { raw, outcome: EXPECTED[raw as usize] })?;
                }
                instances[of].phase = Phase::Down;
            }
            Action::Outdate => {
                *outdated_positions -= 1;
                broker.outdate();
            }
            Action::Timeout => {
                *timeouts -= 1;
                broker.fence();
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "each raw offset is one committed event, and the first offset of a key counts",
                |_, world: &World| {
                    let rows: Vec<(u64, Outcome)> = rows(&world.broker).collect();
                    rows.iter().enumerate().all(|(at, (raw, outcome))| *raw == at as u64 && EXPECTED[at] == *outcome)
                },
            ),
            Property::always("a cut names the rows before it", |_, world: &World| {
                let mut rows = 0;
                world.broker.events.committed().all(|(_, event)| match event {
                    Event::Row { .. } => {
                        rows += 1;
                        true
                    }
                    Event::Cut { raw_hi } => *raw_hi == rows,
                })
            }),
            Property::always(
                "the position is where the log ends, and carries the open block",
                // Where the broker gives out an earlier one: from the next commit on.
                |_, world: &World| world.broker.outdated || position_is_the_end(&world.broker),
            ),
            Property::always("no lane stands still", |_, world: &World| {
                !world.instances.iter().any(|instance| matches!(instance.phase, Phase::Halted { .. }))
            }),
            Property::always("from here, the next owner brings everything to its end", |lane: &Lane, world: &World| {
                lane.finishes(world)
            }),
            Property::sometimes("everything is processed", |lane: &Lane, world: &World| {
                rows(&world.broker).count() == lane.records
            }),
            Property::sometimes("a zombie is fenced", |_, world: &World| {
                world.instances.iter().any(|instance| match &instance.phase {
                    Phase::Flushed { epoch, .. } | Phase::Told { epoch, .. } => *epoch != world.broker.epoch,
                    _ => false,
                })
            }),
        ]
    }
}

impl Lane {
    /// A fresh instance takes over and meets no more faults: everything is there at the end.
    fn finishes(&self, world: &World) -> bool {
        // What is at the end depends on the log and on the disk of whoever takes over, not on what that one was doing before.
        if self.mutant != Mutant::None || world.instances[0].phase != Phase::Down && world.starts == 0 {
            return true;
        }
        let mut world = world.clone();
        world.instances[0].phase = Phase::Down;
        world.starts = 1;
        let step = |world: &World, action| self.next_state(world, action);
        let taken = [Action::Start { of: 0, disk_lost: false }, Action::Seal(0), Action::Locate(0), Action::Restore(0)]
            .into_iter()
            .try_fold(world, |world, action| step(&world, action));
        let Some(mut world) = taken else { return false };
        while let Phase::Ready { advance, .. } = &world.instances[0].phase {
            let carried = *advance.committed();
            let left = self.records as u64 - carried.seen.raw_hi;
            if left == 0 && carried.open.rows == 0 {
                break;
            }
            let write = Action::Write { of: 0, records: left.min(1), late: true };
            let turn = [write, Action::Commit(0), Action::Apply(0)];
            match turn.into_iter().try_fold(world, |world, action| step(&world, action)) {
                Some(next) => world = next,
                None => return false,
            }
        }
        rows(&world.broker).eq((0..self.records).map(|raw| (raw as u64, EXPECTED[raw])))
            && (world.broker.outdated || position_is_the_end(&world.broker))
    }
}
