//! The lane: production's decisions, one step at a time, and the properties that must hold after each.

use std::collections::BTreeMap;

use hookline_report::standing::{Before, Held, Moment, Standing};
use kafka::lane::{End, Proof};
use runtime::HaltReason;
use stateright::{Model, Property};
use warehouse::{Next, Part, Settling};

use crate::world::{Action, BLOCKS, Engine, Flying, PAUSE_MS, Phase, World, cut, hours_after};

/// Ways to get it wrong that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// A lane that was fenced long ago inserts.
    NoProof,
    /// The fence is proven once a block, not before each of its inserts.
    ProofPerBlock,
    /// A proof counts from when its answer was read.
    ProofFromAnswer,
    /// What may be there is sent first and read back after, so a forgotten token does not absorb it.
    SendsBeforeLooking,
    /// A fence that was proven again is enough; what was read back before that is not read again.
    InsertsByAnOldReading,
    /// What ClickHouse acknowledged is believed.
    NoReadBack,
    /// Only the first block is read back, though somebody who was fenced a moment ago may still insert.
    CertainAtOnce,
    /// Each owner has tokens of its own.
    OwnTokens,
    /// A lane halts on what it sees, though it may be fenced by then.
    HaltsUnproven,
    /// What ClickHouse has beyond an outdated position is believed to be all, though an insert may still arrive.
    LooksTooSoon,
    /// The position is committed before the block is there.
    CommitsFirst,
}

pub(crate) struct Lane {
    pub(crate) mutant: Mutant,
    pub(crate) blocks: usize,
    pub(crate) deeper: u8,
    /// Whether the broker gives out an early position once, in place of engines that die.
    pub(crate) outdates: bool,
}

impl Lane {
    pub(crate) fn new(mutant: Mutant) -> Self {
        let outdates = mutant == Mutant::LooksTooSoon;
        Self { mutant, blocks: if outdates { 3 } else { 2 }, deeper: 0, outdates }
    }

    fn end(&self, world: &World, epoch: u8, end: &End) -> Phase {
        match end {
            End::Halt { reason, .. } if epoch == world.epoch || self.mutant == Mutant::HaltsUnproven => {
                Phase::Halted { reason: *reason }
            }
            _ => Phase::Down,
        }
    }

    /// The block that follows a position.
    fn block_after(&self, position: i64) -> Option<usize> {
        BLOCKS[..self.blocks].iter().position(|block| block.cut >= position)
    }

    fn settling(&self, standing: &Standing, block: usize, now: Moment) -> Settling {
        let rows = BLOCKS[block].rows.map(<[u64]>::to_vec);
        match self.mutant {
            Mutant::NoReadBack => return Settling::certain(rows),
            Mutant::CertainAtOnce if !standing.is_first() => return Settling::certain(rows),
            _ => {}
        }
        let mut settling = standing.settling(rows, now);
        if self.mutant == Mutant::SendsBeforeLooking && settling.next() == Next::Read {
            settling.read(&BTreeMap::new());
        }
        settling
    }

    fn locate(&self, world: &World, epoch: u8, taken: Moment) -> Phase {
        let before = |position: i64| {
            let cut = BLOCKS.iter().position(|block| block.cut == position - 1).map(cut);
            Ok::<_, End>(cut.map_or(Before::Other, Before::Cut))
        };
        let raw_end = world.engine.rows.keys().max().map_or(0, |last| last + 1);
        let held = Held { raw_end, ..Held::default() };
        let open = Standing::open(world.position.as_ref(), (Proof::in_model(taken), taken), before);
        match open.and_then(|standing| standing.hold_against(0, &held, 0).map(|()| standing)) {
            Ok(standing) => Phase::Open { epoch, standing },
            Err(end) => self.end(world, epoch, &end),
        }
    }

    fn begin(&self, world: &World, epoch: u8, mut standing: Standing) -> Option<Phase> {
        let block = self.block_after(standing.position())?;
        if standing.may_be_there() {
            let beyond: Vec<(u64, u64)> = BLOCKS
                .iter()
                .filter(|other| other.cut >= standing.position())
                .map(|other| {
                    let rows = other.rows.iter().flat_map(|rows| rows.iter());
                    (other.cut as u64, rows.filter_map(|row| world.engine.rows.get(row)).map(|n| u64::from(*n)).sum())
                })
                .filter(|(_, rows)| *rows > 0)
                .collect();
            let soon = self.mutant == Mutant::LooksTooSoon;
            let asked = if soon { hours_after(world.now) } else { world.now };
            if let Err(end) = standing.explain(0, BLOCKS[block].cut as u64, &beyond, asked) {
                return Some(self.end(world, epoch, &end));
            }
        }
        let settling = self.settling(&standing, block, world.now);
        if self.mutant == Mutant::ProofPerBlock && standing.permit(world.now).is_none() {
            standing.prove(Proof::in_model(world.now));
            if epoch != world.epoch {
                return Some(Phase::Down);
            }
        }
        Some(Phase::Settling { epoch, standing, settling })
    }

    fn step(
        &self,
        world: &mut World,
        of: usize,
        epoch: u8,
        mut standing: Standing,
        mut settling: Settling,
    ) -> Option<Phase> {
        let block = self.block_after(standing.position())?;
        match settling.next() {
            Next::Insert(insert) => {
                let unproven = matches!(self.mutant, Mutant::NoProof | Mutant::ProofPerBlock);
                if !unproven && standing.permit(world.now).is_none() {
                    if epoch != world.epoch {
                        return Some(Phase::Down);
                    }
                    return Some(Phase::Proving { epoch, standing, settling, asked: world.now });
                }
                let rows = BLOCKS[block].rows[insert.side as usize];
                let token = |number| {
                    let whose = if self.mutant == Mutant::OwnTokens { epoch } else { 0 };
                    (BLOCKS[block].cut, insert.side as u8, number, whose)
                };
                let (token, rows) = match &insert.part {
                    Part::Whole => (token(0), rows.to_vec()),
                    Part::Repair { number, offsets } => (token(*number), offsets.clone()),
                };
                world.engine.flying.insert((token, rows, of, epoch));
                Some(Phase::Waiting { epoch, standing, settling })
            }
            Next::Read => {
                let rows: Vec<u64> = BLOCKS[block].rows.iter().flat_map(|rows| rows.iter().copied()).collect();
                let there = world.engine.rows.iter().filter(|(row, _)| rows.contains(row));
                settling.read(&there.map(|(row, times)| (*row, u64::from(*times))).collect());
                Some(Phase::Settling { epoch, standing, settling })
            }
            Next::Done(_) => {
                if epoch != world.epoch {
                    return Some(Phase::Down);
                }
                standing.settled();
                standing.pass(&cut(block), BLOCKS[block].cut);
                world.commit(&standing);
                Some(Phase::Committed { epoch, standing, asked: world.now })
            }
            Next::StillMissing { .. } => Some(self.end(world, epoch, &End::halt(HaltReason::RowsMissing, ""))),
        }
    }

    /// Everything that is under way dies with the engine, and whoever waits gets an error.
    fn engine_dies(world: &mut World) {
        world.engine.flying.clear();
        for phase in &mut world.instances {
            if matches!(phase, Phase::Waiting { .. }) {
                *phase = Phase::Down;
            }
        }
    }

    fn acknowledge(world: &mut World, flying: &Flying) {
        let (token, _, of, sent) = flying;
        if let Phase::Waiting { epoch, standing, settling } = &world.instances[*of]
            && epoch == sent
            && BLOCKS.iter().any(|block| block.cut == token.0)
        {
            let (epoch, standing, mut settling) = (*epoch, *standing, settling.clone());
            settling.inserted();
            world.instances[*of] = Phase::Settling { epoch, standing, settling };
        }
    }
}

impl Model for Lane {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            epoch: 0,
            position: None,
            first: None,
            engine: Engine::default(),
            instances: [Phase::Down, Phase::Down],
            now: Moment { monotonic_ms: 0, wall_ms: 0 },
            starts: 3 + u8::from(self.deeper >= 2) - u8::from(self.outdates),
            pauses: 1,
            // The first makes blocks certain, the second has their tokens forgotten.
            ages: 1 + u8::from(self.deeper >= 1 || self.mutant == Mutant::ProofFromAnswer),
            kills: u8::from(!self.outdates) + u8::from(self.deeper >= 1),
            outdates: u8::from(self.outdates),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (of, phase) in world.instances.iter().enumerate() {
            // The two are alike: the first to start is instance 0.
            if world.starts > 0 && !matches!(phase, Phase::Halted { .. }) && (of == 0 || world.epoch > 0) {
                actions.push(Action::Start(of));
            }
            match phase {
                Phase::Fenced { .. } => actions.push(Action::Locate(of)),
                Phase::Open { standing, .. } if self.block_after(standing.position()).is_some() => {
                    actions.push(Action::Begin(of));
                }
                Phase::Settling { .. } => actions.push(Action::Step(of)),
                Phase::Proving { .. } | Phase::Committed { .. } => actions.push(Action::Hear(of)),
                _ => {}
            }
        }
        for flying in &world.engine.flying {
            actions.push(Action::Arrive(flying.clone()));
            if world.kills > 0 {
                actions.push(Action::ArriveUnheard(flying.clone()));
                if !world.engine.tokens.contains(&flying.0) {
                    actions.push(Action::ArriveTorn(flying.clone()));
                }
            }
        }
        if world.kills > 0 && !world.engine.flying.is_empty() {
            actions.push(Action::ArriveLost);
        }
        if world.pauses > 0 {
            actions.push(Action::Pause);
        }
        if world.outdates > 0 && world.position != world.first {
            actions.push(Action::Outdate);
        }
        if world.ages > 0 && world.epoch > 0 {
            actions.push(Action::Age);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Start(of) => {
                next.starts -= 1;
                next.epoch += 1;
                next.instances[of] = Phase::Fenced { epoch: next.epoch, taken: next.now };
            }
            Action::Locate(of) => {
                let Phase::Fenced { epoch, taken } = next.instances[of] else { return None };
                next.instances[of] = self.locate(&next, epoch, taken);
            }
            Action::Begin(of) => {
                let Phase::Open { epoch, mut standing } = next.instances[of] else { return None };
                next.instances[of] = if self.mutant == Mutant::CommitsFirst {
                    let block = self.block_after(standing.position())?;
                    if epoch == next.epoch {
                        let mut passed = standing;
                        passed.pass(&cut(block), BLOCKS[block].cut);
                        next.commit(&passed);
                    }
                    standing.prove(Proof::in_model(next.now));
                    self.begin(&next, epoch, standing)?
                } else {
                    self.begin(&next, epoch, standing)?
                };
            }
            Action::Step(of) => {
                let Phase::Settling { epoch, standing, settling } = next.instances[of].clone() else { return None };
                let phase = self.step(&mut next, of, epoch, standing, settling)?;
                next.instances[of] = phase;
            }
            Action::Hear(of) => {
                let read = |asked| if self.mutant == Mutant::ProofFromAnswer { world.now } else { asked };
                next.instances[of] = match next.instances[of].clone() {
                    Phase::Proving { epoch, mut standing, mut settling, asked } => {
                        standing.prove(Proof::in_model(read(asked)));
                        if self.mutant != Mutant::InsertsByAnOldReading {
                            settling.aged();
                        }
                        Phase::Settling { epoch, standing, settling }
                    }
                    Phase::Committed { epoch, mut standing, asked } => {
                        standing.prove(Proof::in_model(read(asked)));
                        Phase::Open { epoch, standing }
                    }
                    _ => return None,
                };
            }
            Action::Arrive(flying) => {
                next.engine.flying.remove(&flying);
                next.engine.take(flying.0, &flying.1);
                Self::acknowledge(&mut next, &flying);
            }
            Action::ArriveUnheard(flying) => {
                next.kills -= 1;
                next.engine.take(flying.0, &flying.1);
                Self::engine_dies(&mut next);
            }
            Action::ArriveTorn(flying) => {
                next.kills -= 1;
                next.engine.tokens.insert(flying.0);
                Self::engine_dies(&mut next);
            }
            Action::ArriveLost => {
                next.kills -= 1;
                Self::engine_dies(&mut next);
            }
            Action::Outdate => {
                next.outdates -= 1;
                next.position = next.first.clone();
            }
            Action::Pause => {
                next.pauses -= 1;
                next.now = later(next.now);
            }
            Action::Age => {
                next.ages -= 1;
                next.now = hours_after(next.now);
                next.engine.tokens.clear();
                Self::engine_dies(&mut next);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no row is there twice", |_, world: &World| {
                world.engine.rows.values().all(|times| *times == 1)
            }),
            Property::always("what lies before the position is there", |_, world: &World| {
                let position = world.position.as_ref().map_or(0, |position| position.next);
                let before = BLOCKS.iter().filter(|block| block.cut < position);
                before.flat_map(|block| block.rows).flatten().all(|row| world.engine.rows.contains_key(row))
            }),
            Property::always("a position is one past a cut", |_, world: &World| {
                world.position.as_ref().is_none_or(|at| BLOCKS.iter().any(|block| block.cut + 1 == at.next))
            }),
            Property::always("no lane stands still", |_, world: &World| {
                !world.instances.iter().any(|phase| matches!(phase, Phase::Halted { .. }))
            }),
            Property::always("from here, the next owner brings everything to its end", |lane: &Lane, world: &World| {
                lane.finishes(world)
            }),
            Property::sometimes("everything is there", |lane: &Lane, world: &World| lane.is_complete(world)),
            Property::sometimes("an insert of a fenced lane is under way", |_, world: &World| {
                world.engine.flying.iter().any(|(_, _, _, epoch)| *epoch < world.epoch)
            }),
            // Where no engine dies, nothing is to be repaired.
            Property::sometimes("a repair is under way", |lane: &Lane, world: &World| {
                lane.outdates || world.engine.flying.iter().any(|((_, _, number, _), ..)| *number > 0)
            }),
        ]
    }
}

fn later(now: Moment) -> Moment {
    // The machine sleeps: its monotonic clock does not tell.
    Moment { wall_ms: now.wall_ms + PAUSE_MS, ..now }
}

impl Lane {
    fn is_complete(&self, world: &World) -> bool {
        let last = BLOCKS[self.blocks - 1].cut;
        let all = BLOCKS[..self.blocks].iter().flat_map(|block| block.rows).flatten();
        world.position.as_ref().is_some_and(|at| at.next == last + 1)
            && all.into_iter().all(|row| world.engine.rows.get(row) == Some(&1))
    }

    /// A fresh instance takes over and meets no more faults, and what is still under way arrives after it is done: every row is
    /// there, once.
    fn finishes(&self, world: &World) -> bool {
        if self.mutant != Mutant::None {
            return true;
        }
        let mut world = world.clone();
        world.starts = 1;
        let mut late = std::mem::take(&mut world.engine.flying);
        world.instances = [Phase::Down, Phase::Down];
        let mut action = Action::Start(0);
        loop {
            match self.next_state(&world, action) {
                Some(next) => world = next,
                None => return false,
            }
            action = match &world.instances[0] {
                Phase::Fenced { .. } => Action::Locate(0),
                Phase::Open { standing, .. } if self.block_after(standing.position()).is_none() => break,
                Phase::Open { .. } => Action::Begin(0),
                Phase::Settling { .. } => Action::Step(0),
                Phase::Proving { .. } | Phase::Committed { .. } => Action::Hear(0),
                Phase::Waiting { .. } => match world.engine.flying.first() {
                    Some(flying) => Action::Arrive(flying.clone()),
                    None => return false,
                },
                Phase::Down | Phase::Halted { .. } => return false,
            };
        }
        while let Some((token, rows, ..)) = late.pop_first() {
            world.engine.take(token, &rows);
        }
        self.is_complete(&world)
    }
}
