//! What is known about one key of one rule, and what its closed panes say.

use event::{Map, Millis, Signal, Transition};

use crate::codec::{Reader, Writer};
use crate::counted_minute::Counted;
use crate::pane_start;
use crate::sample::Sample;

/// What a rule asks for, in milliseconds where it is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold {
    pub(crate) count: u64,
    pub(crate) within_ms: i64,
    pub(crate) pane_ms: i64,
    pub(crate) quiet_for_ms: i64,
}

impl Threshold {
    /// The end of the last pane that has closed at `passed`.
    pub(crate) fn closed_at(&self, passed: i64) -> i64 {
        pane_start(passed, self.pane_ms)
    }
}

/// What is known about one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyState {
    /// Starts of panes and their matches, of the closed panes that a window can still reach, in their order.
    panes: Vec<(i64, u64)>,
    /// Starts of panes and a sample, of the last closed pane and of those that something came late for since, in their
    /// order. The smallest lane's first one, so that it does not depend on how lanes interleave.
    samples: Vec<(i64, Sample)>,
    /// The end of the window at which it fired last.
    fired_at: Option<i64>,
    /// Whether it fired and has not resolved.
    firing: bool,
    /// It must be evaluated with the next pane, whatever it holds.
    is_asked: bool,
}

/// A transition of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyTransition {
    pub(crate) transition: Transition,
    pub(crate) window_end: i64,
    pub(crate) observed: u64,
    pub(crate) sample: String,
    pub(crate) attributes: Map<'static>,
}

impl KeyState {
    /// Adds what came of a pane that closes now. `is_next`: no window that is still to be evaluated ends before it.
    pub(crate) fn take(&mut self, pane: i64, is_next: bool, counted: &Counted<'_>) {
        self.is_asked = true;
        match place(&self.panes, pane) {
            Ok(at) => {
                if let Some((_, count)) = self.panes.get_mut(at) {
                    *count = count.saturating_add(counted.count);
                }
            }
            Err(at) => self.panes.insert(at, (pane, counted.count)),
        }
        match self.samples.as_mut_slice() {
            // No window names the last one any more.
            [(last, sample)] if is_next && *last < pane => {
                *last = pane;
                sample.set(counted.sample);
            }
            _ => match place(&self.samples, pane) {
                Ok(at) => drop(self.samples.get_mut(at).map(|(_, sample)| sample.set(counted.sample))),
                Err(at) => self.samples.insert(at, (pane, counted.sample.owned())),
            },
        }
    }

    /// Adds a signal for a pane that has closed. `closed` is the end of the last one that was evaluated.
    pub(crate) fn add_late(&mut self, threshold: &Threshold, closed: i64, pane: i64, lane: u16, signal: &Signal<'_>) {
        self.is_asked = true;
        if pane.saturating_add(threshold.within_ms) < closed.saturating_add(threshold.pane_ms) {
            // No window will reach it.
            return;
        }
        match place(&self.panes, pane) {
            Ok(at) => {
                if let Some((_, count)) = self.panes.get_mut(at) {
                    *count = count.saturating_add(signal.count);
                }
            }
            Err(at) => self.panes.insert(at, (pane, signal.count)),
        }
        match place(&self.samples, pane) {
            Ok(at) => {
                if let Some((_, known)) = self.samples.get_mut(at).filter(|(_, known)| lane < known.lane) {
                    *known = Sample::of(lane, signal);
                }
            }
            Err(at) => self.samples.insert(at, (pane, Sample::of(lane, signal))),
        }
    }

    /// Whether it must be evaluated with the next pane.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Evaluates every window that ends after `from` and up to `to`, both ends of panes; `None` is before everything.
    /// Whether that changed anything.
    pub(crate) fn close(
        &mut self,
        threshold: &Threshold,
        from: Option<i64>,
        to: i64,
        mut turn: impl FnMut(KeyTransition),
    ) -> bool {
        let before = (self.panes.len(), self.samples.len(), self.fired_at, self.firing);
        self.is_asked = false;
        let Threshold { count, within_ms, pane_ms, quiet_for_ms } = *threshold;
        let mut end = from.unwrap_or(i64::MIN).saturating_add(pane_ms);
        loop {
            if !self.firing {
                // Windows that end before the first pane does hold nothing, and there is nothing to resolve.
                let Some((first, _)) = self.panes.first() else { break };
                end = end.max(first.saturating_add(pane_ms));
            }
            if end > to {
                break;
            }
            let from = end.saturating_sub(within_ms);
            let of_window = self.panes.iter().filter(|(pane, _)| (from..end).contains(pane));
            let observed = of_window.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
            let quiet = self.fired_at.is_some_and(|fired| end - fired < quiet_for_ms);
            if observed >= count && !self.firing && !quiet {
                (self.firing, self.fired_at) = (true, Some(end));
                turn(self.turn(Transition::Fired, end, observed));
            } else if observed < count && self.firing {
                self.firing = false;
                turn(self.turn(Transition::Resolved, end, observed));
            }
            end = end.saturating_add(pane_ms);
            let reached = end.saturating_sub(within_ms);
            self.panes.drain(..self.panes.partition_point(|(pane, _)| *pane < reached));
        }
        let closed = self.samples.partition_point(|(pane, _)| *pane < to);
        self.samples.drain(..closed.saturating_sub(1));
        before != (self.panes.len(), self.samples.len(), self.fired_at, self.firing)
    }

    /// Whether nothing is left to know at `closed`.
    pub(crate) fn is_over(&self, threshold: &Threshold, closed: i64) -> bool {
        let quiet = self.fired_at.is_some_and(|fired| closed + threshold.pane_ms - fired < threshold.quiet_for_ms);
        self.panes.is_empty() && !self.firing && !quiet
    }

    /// When it must be evaluated even if nothing more comes, after it was up to the end `walked` of a pane: no window
    /// that ends in between changes anything.
    pub(crate) fn wakes(&self, threshold: &Threshold, walked: i64) -> i64 {
        let Threshold { within_ms, pane_ms, quiet_for_ms, .. } = *threshold;
        let next = walked.saturating_add(pane_ms);
        if self.firing {
            return next;
        }
        // An end of a pane that is not before `at`.
        let aligned = |at: i64| pane_start(at.saturating_add(pane_ms - 1), pane_ms);
        let quiet = self.fired_at.map(|fired| fired.saturating_add(quiet_for_ms));
        let speaks = quiet.map(aligned).filter(|at| *at > walked && !self.panes.is_empty());
        let empty = self.panes.last().map(|(pane, _)| pane.saturating_add(within_ms));
        let over = empty.max(quiet.map(|quiet| aligned(quiet.saturating_sub(pane_ms))));
        let gone = over.map_or(next, |over| over.max(next));
        speaks.map_or(gone, |speaks| speaks.min(gone))
    }

    /// Writes it with what its `open` panes hold.
    pub(crate) fn write<'c, O: Iterator<Item = (i64, Counted<'c>)>>(&self, open: impl Fn() -> O, to: &mut Writer) {
        let all = |closed: usize| u32::try_from(closed + open().count()).unwrap_or(u32::MAX);
        to.u32(all(self.panes.len()));
        for (pane, count) in self.panes.iter().copied().chain(open().map(|(pane, one)| (pane, one.count))) {
            to.i64(pane);
            to.u64(count);
        }
        to.u32(all(self.samples.len()));
        for (pane, sample) in &self.samples {
            to.i64(*pane);
            sample.write(to);
        }
        for (pane, counted) in open() {
            to.i64(pane);
            counted.sample.write(to);
        }
        to.flags([self.firing, self.fired_at.is_some()]);
        to.i64(self.fired_at.unwrap_or_default());
    }

    /// Takes out what [`KeyState::write`] wrote of panes that begin at `closed` or after it.
    pub(crate) fn take_open(&mut self, closed: i64) -> impl Iterator<Item = (i64, u64, Sample)> {
        self.is_asked = true;
        let panes = self.panes.split_off(self.panes.partition_point(|one| one.0 < closed));
        let samples = self.samples.split_off(self.samples.partition_point(|one| one.0 < closed));
        let mut samples = samples.into_iter().peekable();
        panes.into_iter().map(move |(pane, count)| {
            let sample = std::iter::from_fn(|| samples.next_if(|one| one.0 <= pane)).last();
            (pane, count, sample.map(|one| one.1).unwrap_or_default())
        })
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut state = Self::default();
        for _ in 0..from.u32()? {
            state.panes.push((from.i64()?, from.u64()?));
        }
        for _ in 0..from.u32()? {
            state.samples.push((from.i64()?, Sample::read(from)?));
        }
        // They were written in their order.
        if !state.panes.is_sorted_by_key(|one| one.0) || !state.samples.is_sorted_by_key(|one| one.0) {
            return None;
        }
        let [firing, fired] = from.flags()?;
        let fired_at = from.i64()?;
        (state.firing, state.fired_at) = (firing, fired.then_some(fired_at));
        Some(state)
    }

    fn turn(&self, transition: Transition, window_end: i64, observed: u64) -> KeyTransition {
        let sample = self.samples.iter().rev().find(|(pane, _)| *pane < window_end).map(|(_, sample)| sample);
        let (sample, attributes) = sample.map(Sample::told).unwrap_or_default();
        KeyTransition { transition, window_end, observed, sample, attributes }
    }
}

/// Where a pane is, or belongs. Nearly always it is the last one.
fn place<T>(panes: &[(i64, T)], pane: i64) -> Result<usize, usize> {
    match panes.last() {
        Some((last, _)) if *last == pane => Ok(panes.len() - 1),
        Some((last, _)) if *last < pane => Err(panes.len()),
        _ => panes.binary_search_by_key(&pane, |one| one.0),
    }
}

/// A window of a turn, as an alert tells it.
pub(crate) fn window(threshold: &Threshold, turn: &KeyTransition) -> (Millis, Millis) {
    (Millis(turn.window_end - threshold.within_ms), Millis(turn.window_end))
}
