//! The proof that a lane was its owner's.

use runtime::clock::Moment;

/// No one else had the lane at a moment: the fence was taken or proven, or a position was committed, by something that
/// began then. What was true then need not be true when the answer is read. Only a
/// [`LaneProducer`](super::LaneProducer) gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof {
    begun: Moment,
}

impl Proof {
    pub(super) const fn since(begun: Moment) -> Self {
        Self { begun }
    }

    /// When what proved it began.
    #[must_use]
    pub const fn begun(self) -> Moment {
        self.begun
    }

    /// For a model of the lane, which keeps its fence itself.
    #[doc(hidden)]
    #[must_use]
    pub const fn in_model(begun: Moment) -> Self {
        Self { begun }
    }
}
