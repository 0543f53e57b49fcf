//! First offset wins.
//!
//! [`Window`] holds a [`WindowStore`] (what committed transactions marked) and the *hot map* (what the open transaction
//! marked so far). A verdict looks at both, the hot map first. Marks move from the hot map to the store only in
//! [`Window::commit`], after the Kafka transaction that carries them has committed: nothing leads the commit.

use crate::key::{Id128, IdMap};
use crate::store::{Entry, Hit, SeenPosition, StoreError, WindowStore};

/// One decoded event that asks whether it is the first of its key.
///
/// Records that end as dead letters are never asked about, so their keys are never marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Hash of the event key.
    pub id: Id128,
    /// Offset of the record in its lane of `raw`.
    pub offset: u64,
    /// When the record was received, Unix milliseconds: what its row says.
    pub received_at: i64,
    /// The earliest and the latest that a clock says of it, Unix milliseconds. They differ where two clocks disagree so much
    /// that one must be wrong, and nobody knows which: then neither may make a repeat count.
    pub between: (i64, i64),
    /// The dedupe window of the record's source, milliseconds.
    pub window_ms: u64,
}

impl Candidate {
    /// A record about whose time no two clocks disagree.
    #[must_use]
    pub fn new(id: Id128, offset: u64, received_at: i64, window_ms: u64) -> Self {
        Self { id, offset, received_at, between: (received_at, received_at), window_ms }
    }

    /// A third clock says that it was received at `latest` (Unix milliseconds) at the latest.
    pub fn not_after(&mut self, latest: i64) {
        self.between.1 = latest.clamp(self.between.0, self.between.1.max(self.between.0));
    }

    /// Whether a record that came to the lane later, at `later` at the earliest, is within the window of one that was received at
    /// `first` at the latest. What claims to be earlier than what came before it is within: times go back where a clock was
    /// mended, or two requests overtook each other.
    pub(crate) fn is_within(window_ms: u64, first: i64, later: i64) -> bool {
        later <= first || later.abs_diff(first) <= window_ms
    }
}

/// What the window says about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first offset of this key within the window: it counts, and it is marked when the transaction commits.
    First,
    /// The key was seen before, at `first_offset`.
    Duplicate {
        /// The offset that counted.
        first_offset: u64,
        /// Received this much after the first, milliseconds; negative if the senders' order was the other way round.
        delay_ms: i64,
    },
    /// This offset was already committed or decided: the input was rewound. The lane must stop and say so, since
    /// going on would write a second row for a record that has one.
    Rewound {
        /// The candidate's own offset.
        offset: u64,
    },
}

/// The decision logic of one lane.
#[derive(Clone, Debug)]
pub struct Window<S> {
    store: S,
    /// Marks of the open transaction, in offset order.
    pending: Vec<Entry>,
    /// The same marks by id; of two with one id (a window shorter than the transaction) the later.
    hot: IdMap<Hit>,
    /// The smallest offset that may still be decided.
    next_offset: u64,
    /// Kept between batches so that a batch allocates nothing.
    ids: Vec<Id128>,
    hits: Vec<Option<Hit>>,
}

impl<S: WindowStore> Window<S> {
    /// A window over what `store` holds; its position says from which raw offset decisions go on.
    #[must_use]
    pub fn new(store: S) -> Self {
        let next_offset = committed(&store);
        Self { store, pending: Vec::new(), hot: IdMap::default(), next_offset, ids: Vec::new(), hits: Vec::new() }
    }

    /// Decides a batch in offset order and keeps the marks of its firsts as pending.
    ///
    /// `out` is cleared, then holds one verdict per candidate, in order. Offsets must ascend, within a batch and from
    /// batch to batch of a transaction; one that does not, or that lies below the committed position, is
    /// [`Verdict::Rewound`]. Several batches may be decided before one commit.
    ///
    /// # Errors
    /// The store could not be read. Nothing was marked.
    pub fn decide_batch(&mut self, batch: &[Candidate], out: &mut Vec<Verdict>) -> Result<(), StoreError> {
        out.clear();
        self.ids.clear();
        self.ids.extend(batch.iter().map(|candidate| candidate.id));
        self.store.lookup(&self.ids, &mut self.hits)?;
        out.reserve(batch.len());
        for (candidate, &stored) in batch.iter().zip(&self.hits) {
            // What the open transaction marked is later than anything in the store.
            let seen = self.hot.get(&candidate.id).copied().or(stored);
            let verdict = if candidate.offset < self.next_offset {
                Verdict::Rewound { offset: candidate.offset }
            } else {
                judge(candidate, seen)
            };
            if verdict == Verdict::First {
                // The mark lasts for as long as either clock would have it last.
                let (Candidate { id, offset, .. }, received_at) = (*candidate, candidate.between.1);
                self.hot.insert(id, Hit { offset, received_at });
                self.pending.push(Entry { id, offset, received_at });
            }
            self.next_offset = self.next_offset.max(candidate.offset.saturating_add(1));
            out.push(verdict);
        }
        Ok(())
    }

    /// The marks of the open transaction, in offset order: what its `seen` records must carry.
    #[must_use]
    pub fn pending(&self) -> &[Entry] {
        &self.pending
    }

    /// Hands the pending marks to the store. Call it after the Kafka transaction has committed, with the end of `seen`
    /// and the end of the raw range that the transaction covered.
    ///
    /// # Errors
    /// The position does not cover what was decided, or the store could not write. The transaction has committed all
    /// the same, so this window is behind `seen`: discard it and restore.
    pub fn commit(&mut self, position: SeenPosition) -> Result<(), StoreError> {
        if position.raw_hi < self.next_offset {
            return Err(StoreError::PositionShort { raw_hi: position.raw_hi, decided: self.next_offset });
        }
        self.store.apply(&self.pending, position)?;
        self.pending.clear();
        self.hot.clear();
        self.next_offset = position.raw_hi;
        Ok(())
    }

    /// Forgets what the open transaction marked: it was aborted, and its input will be read again.
    pub fn abort(&mut self) {
        self.pending.clear();
        self.hot.clear();
        self.next_offset = committed(&self.store);
    }

    /// Lets the store forget what was received before `before_ms` (Unix milliseconds). Pass the newest received time
    /// minus the longest window minus an allowance for records that arrive out of order.
    ///
    /// # Errors
    /// The store could not drop what has expired.
    pub fn expire(&mut self, before_ms: i64) -> Result<(), StoreError> {
        self.store.expire(before_ms)
    }

    /// The store behind the window.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back, for instance to discard it. Pending marks are forgotten.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}

/// The first raw offset that no committed transaction covers.
fn committed<S: WindowStore>(store: &S) -> u64 {
    store.position().map_or(0, |position| position.raw_hi)
}

/// The rule itself, for a candidate whose offset is new.
fn judge(candidate: &Candidate, seen: Option<Hit>) -> Verdict {
    match seen {
        // At the same offset this very record was committed; at a later one the store is ahead of the input.
        Some(hit) if hit.offset >= candidate.offset => Verdict::Rewound { offset: candidate.offset },
        Some(hit) if Candidate::is_within(candidate.window_ms, hit.received_at, candidate.between.0) => {
            Verdict::Duplicate {
                first_offset: hit.offset,
                delay_ms: candidate.received_at.saturating_sub(hit.received_at),
            }
        }
        Some(_) | None => Verdict::First,
    }
}
