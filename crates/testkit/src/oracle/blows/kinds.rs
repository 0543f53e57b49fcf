//! The kinds of blows, and how many of each a round has.

use crate::oracle::cuts::Fault;

/// Something that is done to the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// kill -9 of an instance.
    Kill,
    /// kill -9 of an instance, and again while it starts.
    KillTwice,
    /// kill -9 of `process`, and its windows are lost.
    LoseWindows,
    /// kill -9 of Kafka; of three brokers, of one.
    Kafka,
    /// kill -9 of brokers in quick succession: the next one before the last has settled.
    BrokersInRow,
    /// SIGSTOP of a broker for 3 to 14 s.
    PauseBroker,
    /// kill -9 of ClickHouse.
    ClickHouse,
    /// kill -9 of both engines.
    BothEngines,
    /// kill -9 of an engine, and again while it starts.
    EngineTwice,
    /// kill -9 of ClickHouse, of `report` or of both while an insert runs.
    InsideInsert,
    /// kill -9 of Kafka or of `process` just after a transaction was committed, when the next ones are under way.
    InsideCommit,
    /// SIGSTOP of an instance for longer than transactions and proofs of the fence live; then it goes on.
    Pause,
    /// SIGSTOP of an engine, past the timeouts of those who wait for it.
    PauseEngine,
    /// An instance stands still, another is started on its lanes, the first goes on: two owners at once. One is killed.
    TwoOwners,
    /// An instance for all lanes instead of two for half of them each, and back. Old and new ones overlap.
    Scale,
    /// Nothing for a while: backlogs are worked off.
    Calm,
    /// A part of the network of three brokers fails for a while.
    Cut(Fault),
}

impl Blow {
    /// The blows of one round of a long run, to be shuffled: service instances most of all.
    pub const ROUND: [(Blow, usize); 14] = [
        (Blow::Kill, 12),
        (Blow::KillTwice, 3),
        (Blow::LoseWindows, 1),
        (Blow::Kafka, 1),
        (Blow::ClickHouse, 2),
        (Blow::BothEngines, 1),
        (Blow::EngineTwice, 1),
        (Blow::InsideInsert, 3),
        (Blow::InsideCommit, 2),
        (Blow::Pause, 2),
        (Blow::PauseEngine, 1),
        (Blow::TwoOwners, 2),
        (Blow::Scale, 2),
        (Blow::Calm, 1),
    ];
    /// The blows of one round on three brokers, of which two live at nearly all times.
    pub const ON_THREE: [(Blow, usize); 4] =
        [(Blow::Kafka, 12), (Blow::PauseBroker, 6), (Blow::BrokersInRow, 1), (Blow::Calm, 1)];
    /// The blows of one round on one broker, with ingest alone.
    pub const ON_INGEST: [(Blow, usize); 4] =
        [(Blow::Kafka, 6), (Blow::PauseBroker, 4), (Blow::BrokersInRow, 1), (Blow::Calm, 1)];
    /// The blows of one round on the engines alone, with one broker.
    pub const ON_ENGINES: [(Blow, usize); 7] = [
        (Blow::Kafka, 6),
        (Blow::PauseBroker, 3),
        (Blow::BrokersInRow, 1),
        (Blow::ClickHouse, 3),
        (Blow::BothEngines, 1),
        (Blow::EngineTwice, 1),
        (Blow::Calm, 1),
    ];

    /// These faults of the network, one after the other; without any a round.
    #[must_use]
    pub fn on_network(faults: &[Fault]) -> Vec<(Blow, usize)> {
        let faults = if faults.is_empty() { &Fault::ROUND } else { faults };
        faults.iter().map(|fault| (Blow::Cut(*fault), 1)).collect()
    }
}
