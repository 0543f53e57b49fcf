//! The instances of a lane, and what can happen next.

use dedupe::store::MemoryStore;
use hookline_process::advance::Advance;
use hookline_process::opening::Opening;
use hookline_process::position::Carried;
use kafka::positions::Range;
use runtime::HaltReason;

use crate::broker::Broker;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    /// What survives a crash of the process.
    pub(crate) disk: MemoryStore,
    pub(crate) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Down,
    Fenced {
        epoch: u8,
    },
    /// The fence is in every partition.
    Sealed {
        epoch: u8,
    },
    /// The position and the ends of `seen` are read, `seen` is not.
    Located {
        epoch: u8,
        opening: Opening,
        seen: Range,
    },
    Ready {
        epoch: u8,
        advance: Advance,
    },
    /// Everything is written and flushed; the commit is not sent.
    Flushed {
        epoch: u8,
        advance: Advance,
        carried: Carried,
    },
    /// The broker has committed; the store does not know.
    Told {
        epoch: u8,
        advance: Advance,
        from: u64,
    },
    Halted {
        reason: HaltReason,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) instances: [Instance; 2],
    /// How often each may still happen.
    pub(crate) starts: u8,
    pub(crate) late_records: u8,
    pub(crate) outdated_positions: u8,
    pub(crate) torn_writes: u8,
    pub(crate) timeouts: u8,
    pub(crate) lost_disks: u8,
    pub(crate) idle_commits: u8,
}

/// What happens next. A crash is not among it: an instance that is never heard of again has crashed, one that starts from
/// whatever it was doing was killed there (in `Flushed` with an open transaction, in `Told` before it heard of its commit),
/// and one that goes on after another has started is a zombie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Takes the fence, with the disk that it had or an empty one.
    Start {
        of: usize,
        disk_lost: bool,
    },
    /// Puts the fence into the partitions.
    Seal(usize),
    Locate(usize),
    Restore(usize),
    /// Reads and writes so many records, and a cut if `late` makes one due.
    Write {
        of: usize,
        records: u64,
        late: bool,
    },
    /// kill -9 after the first event of a transaction.
    TornWrite(usize),
    /// A record that a fenced owner had sent comes only now, to `seen` or to `events`; of its owner nothing more is heard.
    Late {
        of: usize,
        to_seen: bool,
    },
    Commit(usize),
    Apply(usize),
    /// The broker is killed, and comes up with an earlier position than the last.
    Outdate,
    /// The broker ends a transaction that is open for too long, and fences its producer.
    Timeout,
}
