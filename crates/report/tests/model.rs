//! A lane of `report` under every interleaving of crashes, takeovers, zombies, late inserts and dying engines, as far as the
//! bounds go.
//!
//! The lane's own decisions are the production functions: `report::standing` and `warehouse::Settling`. What is modelled is the world
//! around them: a broker that fences, a ClickHouse that remembers tokens, forgets them, dies inside inserts and gets some of
//! them late, and a clock. Two instances both believe that the lane is theirs.
//!
//! One thing is taken as one step that is two: looking whether the proof of the fence is young enough, and handing the insert
//! to the network. What a process does that is stopped exactly between the two, for longer than ClickHouse remembers tokens,
//! is what the ledger is there to tell.
//!
//! `HOOKLINE_MODEL_DEPTH=n` (0 by default) adds to the bounds; docs/reliability.md has the figures.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::{BTreeMap, BTreeSet};

use event::{Cut, Millis};
use kafka::lane::End;
use kafka::positions::Committed;
use report::standing::{Before, Held, Moment, Standing};
use stateright::{Checker, HasDiscoveries, Model, Property};
use warehouse::{Next, Part, Settling};

/// A block of `events`: the rows of each database, and the offset of its cut.
struct Block {
    rows: [&'static [u64]; 2],
    cut: i64,
}

const BLOCKS: [Block; 3] =
    [Block { rows: [&[0, 2], &[1]], cut: 3 }, Block { rows: [&[3], &[]], cut: 6 }, Block { rows: [&[], &[4]], cut: 9 }];

/// Longer than a proof of the fence counts, shorter than an insert may be late.
const PAUSE_MS: i64 = 10_001;
/// Longer than any insert, and than ClickHouse remembers tokens.
const HOURS_MS: i64 = 10_000_000;

fn hours_after(Moment { monotonic_ms, wall_ms }: Moment) -> Moment {
    Moment { monotonic_ms: monotonic_ms + HOURS_MS, wall_ms: wall_ms + HOURS_MS }
}

fn cut(block: usize) -> Cut {
    let raw_hi =
        BLOCKS[..=block].iter().map(|block| block.rows.iter().map(|rows| rows.len()).sum::<usize>()).sum::<usize>();
    Cut { raw_hi: raw_hi as u64, watermark: Millis(0) }
}

/// Under which token rows go in: the cut of their block, their database, the number of the repair. And whose it is, which only a
/// mutant looks at.
type Token = (i64, u8, u32, u8);

/// An insert under way: its token and rows, who waits for the answer, and the epoch under which it was sent.
type Flying = (Token, Vec<u64>, usize, u8);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Engine {
    rows: BTreeMap<u64, u8>,
    /// Tokens that are remembered, whether their part is there or not.
    tokens: BTreeSet<Token>,
    flying: BTreeSet<Flying>,
}

impl Engine {
    fn take(&mut self, token: Token, rows: &[u64]) {
        if !self.tokens.insert(token) {
            return;
        }
        for row in rows {
            *self.rows.entry(*row).or_default() += 1;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Down,
    Fenced {
        epoch: u8,
        taken: Moment,
    },
    /// Has its position; the next block is not begun.
    Open {
        epoch: u8,
        standing: Standing,
    },
    /// Rows beyond the position are explained.
    Settling {
        epoch: u8,
        standing: Standing,
        settling: Settling,
    },
    /// An insert is on its way.
    Waiting {
        epoch: u8,
        standing: Standing,
        settling: Settling,
    },
    /// A proof of the fence was asked for, and the broker has answered.
    Proving {
        epoch: u8,
        standing: Standing,
        settling: Settling,
        asked: Moment,
    },
    /// The position is committed; the answer is not read.
    Committed {
        epoch: u8,
        standing: Standing,
        asked: Moment,
    },
    Halted {
        reason: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    epoch: u8,
    position: Option<Committed>,
    /// The first position ever, which the broker may give out again once it was killed.
    first: Option<Committed>,
    engine: Engine,
    instances: [Phase; 2],
    now: Moment,
    starts: u8,
    pauses: u8,
    ages: u8,
    kills: u8,
    outdates: u8,
}

impl World {
    fn commit(&mut self, standing: &Standing) {
        let position = Committed { next: standing.position(), metadata: standing.progress().to_string() };
        self.first.get_or_insert_with(|| position.clone());
        self.position = Some(position);
    }
}

/// What happens next. A crash is not among it: an instance that is never heard of again has crashed, one that starts from
/// whatever it was doing was killed there, and one that goes on after another has started is a zombie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Start(usize),
    Locate(usize),
    /// Looks at rows beyond the position, and begins the next block.
    Begin(usize),
    /// The next step of settling: an insert is handed to the network, a proof is asked for, rows are read back, the position is
    /// committed.
    Step(usize),
    /// The answer that the broker gave is read.
    Hear(usize),
    /// An insert reaches the engine and is answered.
    Arrive(Flying),
    /// An insert goes in, and the engine dies before it answers.
    ArriveUnheard(Flying),
    /// The engine dies inside an insert: it believes that it has the block, and has not.
    ArriveTorn(Flying),
    /// The engine dies inside an insert, and forgets that there was one (the local engine does, when it starts again).
    ArriveLost,
    /// Longer than a proof counts.
    Pause,
    /// The broker is killed, and comes up with an early position.
    Outdate,
    /// Hours: nothing is under way any more, and the engine has forgotten all tokens.
    Age,
}

/// Ways to get it wrong that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
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

struct Lane {
    mutant: Mutant,
    blocks: usize,
    deeper: u8,
    /// Whether the broker gives out an early position once, in place of engines that die.
    outdates: bool,
}

impl Lane {
    fn new(mutant: Mutant) -> Self {
        let outdates = mutant == Mutant::LooksTooSoon;
        Self { mutant, blocks: if outdates { 3 } else { 2 }, deeper: 0, outdates }
    }

    fn end(&self, world: &World, epoch: u8, end: &End) -> Phase {
        match end {
            End::Halt { reason, .. } if epoch == world.epoch || self.mutant == Mutant::HaltsUnproven => {
                Phase::Halted { reason }
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
        let open = Standing::open(world.position.as_ref(), (taken, taken), before);
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
        if self.mutant == Mutant::ProofPerBlock && !standing.may_insert(world.now) {
            standing.prove(world.now);
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
                if !unproven && !standing.may_insert(world.now) {
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
            Next::StillMissing { .. } => Some(self.end(world, epoch, &End::halt("rows_missing", ""))),
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
                    standing.prove(next.now);
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
                        standing.prove(read(asked));
                        if self.mutant != Mutant::InsertsByAnOldReading {
                            settling.aged();
                        }
                        Phase::Settling { epoch, standing, settling }
                    }
                    Phase::Committed { epoch, mut standing, asked } => {
                        standing.prove(read(asked));
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

fn deeper() -> u8 {
    std::env::var("HOOKLINE_MODEL_DEPTH").map_or(0, |depth| depth.parse().unwrap())
}

#[test]
fn every_row_is_there_once_whatever_happens_between_two_steps() {
    let deeper = deeper();
    for outdates in [false, true] {
        let blocks = 2 + usize::from(outdates || deeper >= 3);
        let lane = Lane { blocks, deeper, outdates, ..Lane::new(Mutant::None) };
        let checker = lane.checker().threads(2).spawn_bfs().join();
        let what = if outdates { "outdated positions" } else { "engines that die" };
        println!("report lane, {what}: {} states, {} deep", checker.unique_state_count(), checker.max_depth());
        checker.assert_properties();
    }
}

#[test]
fn every_known_way_to_get_it_wrong_is_found() {
    for mutant in [
        Mutant::NoProof,
        Mutant::ProofPerBlock,
        Mutant::ProofFromAnswer,
        Mutant::SendsBeforeLooking,
        Mutant::InsertsByAnOldReading,
        Mutant::NoReadBack,
        Mutant::CertainAtOnce,
        Mutant::OwnTokens,
        Mutant::HaltsUnproven,
        Mutant::LooksTooSoon,
        Mutant::CommitsFirst,
    ] {
        let checker =
            Lane::new(mutant).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let hopes = ["everything is there", "an insert of a fenced lane is under way", "a repair is under way"];
        let found: Vec<&str> = checker.discoveries().into_keys().filter(|name| !hopes.contains(name)).collect();
        println!("{mutant:?}: {found:?} after {} states", checker.unique_state_count());
        assert!(!found.is_empty(), "{mutant:?} goes unnoticed");
    }
}
