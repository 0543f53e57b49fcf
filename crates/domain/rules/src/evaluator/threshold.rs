//! What is known about one key of one rule, and what its closed panes say.

use event::{Map, Millis, Signal, Transition};

use crate::codec::{Reader, Writer};
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
    /// Starts of panes and their matches, of the panes that a window can still reach, in their order.
    panes: Vec<(i64, u64)>,
    /// Starts of panes and a sample, of the last closed pane and those still open, in their order. The smallest lane's
    /// first one, so that it does not depend on how lanes interleave.
    samples: Vec<(i64, Sample)>,
    /// The end of the window at which it fired last.
    fired_at: Option<i64>,
    /// Whether it fired and has not resolved.
    firing: bool,
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

/// Whether a signal came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Its pane is open, and has matches.
    InTime,
    /// Its pane is open, and had none.
    First,
    /// Its pane has closed, a later window still reaches it.
    Late,
    /// No window will reach its pane: it is not counted.
    TooLate,
}

impl KeyState {
    /// Adds a signal. `closed` is the end of the last pane of the rule that was evaluated.
    pub(crate) fn add(
        &mut self,
        threshold: &Threshold,
        closed: Option<i64>,
        lane: u16,
        signal: &Signal<'_>,
    ) -> Arrival {
        // Nothing was received before 1970.
        let pane = pane_start(signal.pane.0.max(0), threshold.pane_ms);
        let arrival = match closed {
            Some(closed) if pane.saturating_add(threshold.within_ms) < closed.saturating_add(threshold.pane_ms) => {
                return Arrival::TooLate;
            }
            Some(closed) if pane < closed => Arrival::Late,
            _ => Arrival::InTime,
        };
        let arrival = match place(&self.panes, pane) {
            Ok(at) => {
                if let Some((_, count)) = self.panes.get_mut(at) {
                    *count += signal.count;
                }
                arrival
            }
            Err(at) => {
                self.panes.insert(at, (pane, signal.count));
                if arrival == Arrival::InTime { Arrival::First } else { arrival }
            }
        };
        match place(&self.samples, pane) {
            Ok(at) => {
                if let Some((_, known)) = self.samples.get_mut(at).filter(|(_, known)| lane < known.lane) {
                    *known = Sample::of(lane, signal);
                }
            }
            Err(at) => self.samples.insert(at, (pane, Sample::of(lane, signal))),
        }
        arrival
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
            let observed = of_window.map(|(_, count)| count).sum::<u64>();
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
        let open = self.panes.iter().map(|(pane, _)| pane.saturating_add(pane_ms)).find(|end| *end > walked);
        // An end of a pane that is not before `at`.
        let aligned = |at: i64| pane_start(at.saturating_add(pane_ms - 1), pane_ms);
        let quiet = self.fired_at.map(|fired| fired.saturating_add(quiet_for_ms));
        let speaks = quiet.map(aligned).filter(|at| *at > walked && !self.panes.is_empty());
        let empty = self.panes.last().map(|(pane, _)| pane.saturating_add(within_ms));
        let over = empty.max(quiet.map(|quiet| aligned(quiet.saturating_sub(pane_ms))));
        let gone = over.map_or(next, |over| over.max(next));
        [open, speaks].into_iter().flatten().fold(gone, i64::min)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.panes.len()).unwrap_or(u32::MAX));
        for (pane, count) in &self.panes {
            to.i64(*pane);
            to.u64(*count);
        }
        to.u32(u32::try_from(self.samples.len()).unwrap_or(u32::MAX));
        for (pane, sample) in &self.samples {
            to.i64(*pane);
            sample.write(to);
        }
        to.flags([self.firing, self.fired_at.is_some()]);
        to.i64(self.fired_at.unwrap_or_default());
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
