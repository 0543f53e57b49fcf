//! What is known of a key that learns or remembers: 12 bytes while it does not speak, and what is beside the table of
//! keys from then on.

use super::silence::SilenceKey;
use super::spike::SpikeKey;
use super::{Evaluator, KeyState};

/// A key that does not speak itself, or where its state is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    born: u32,
    last: u32,
    /// Events in the hour of `last` and whether it is quiet; or a place, marked by [`BESIDE`].
    rest: u32,
}

const BESIDE: u32 = 1 << 31;
const QUIET: u32 = 1 << 30;

/// The states of keys that do not fit into [`Kept`].
#[derive(Default)]
pub(crate) struct States {
    whole: Vec<Option<KeyState>>,
    free: Vec<u32>,
}

impl Kept {
    fn place(self) -> Option<usize> {
        (self.rest & BESIDE != 0).then_some((self.rest & !BESIDE) as usize)
    }

    /// A state that fits.
    fn of(state: &KeyState) -> Option<Self> {
        let small = |in_hour: u32| (in_hour < 65_536).then_some(in_hour);
        match state {
            KeyState::Spike(SpikeKey { born, last, in_hour, speaking: None }) => {
                Some(Self { born: *born, last: *last, rest: small(*in_hour)? })
            }
            KeyState::Silence(SilenceKey { last, in_hour, quiet, speaking: None }) => {
                Some(Self { born: 0, last: *last, rest: small(*in_hour)? | if *quiet { QUIET } else { 0 } })
            }
            _ => None,
        }
    }
}

impl States {
    /// Takes the state of a key out, to be put back; a new one of a key that was never seen. None if it is out.
    pub(crate) fn take(&mut self, evaluator: &Evaluator, key: &str, kept: Kept) -> Option<KeyState> {
        if let Some(place) = kept.place() {
            return self.whole.get_mut(place)?.take();
        }
        let Kept { born, last, rest } = kept;
        let in_hour = rest & 0xffff;
        Some(match evaluator {
            Evaluator::Spike { .. } => KeyState::Spike(SpikeKey { born, last, in_hour, speaking: None }),
            Evaluator::Silence { .. } => {
                KeyState::Silence(SilenceKey { last, in_hour, quiet: rest & QUIET != 0, speaking: None })
            }
            _ => evaluator.fresh(key),
        })
    }

    /// Puts the state of a key back, or for the first time.
    pub(crate) fn put(&mut self, kept: &mut Kept, state: KeyState) {
        let place = kept.place();
        if let Some(fits) = Kept::of(&state) {
            self.forget(*kept);
            *kept = fits;
            return;
        }
        let place = place.or_else(|| self.free.pop().map(|place| place as usize)).unwrap_or_else(|| {
            self.whole.push(None);
            self.whole.len() - 1
        });
        if let Some(at) = self.whole.get_mut(place) {
            *at = Some(state);
        }
        *kept = Kept { born: 0, last: 0, rest: BESIDE | u32::try_from(place).unwrap_or(u32::MAX) };
    }

    /// Gives the memory of states that are gone back. `kept` are all keys.
    pub(crate) fn pack<'k>(&mut self, kept: impl Iterator<Item = &'k mut Kept>) {
        let mut packed = Vec::with_capacity(self.whole.len() - self.free.len());
        for kept in kept {
            let Some(state) = kept.place().and_then(|place| self.whole.get_mut(place)?.take()) else { continue };
            kept.rest = BESIDE | u32::try_from(packed.len()).unwrap_or(u32::MAX);
            packed.push(Some(state));
        }
        *self = Self { whole: packed, free: Vec::new() };
    }

    /// What it takes in memory, beside what states point to.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.whole.capacity() * size_of::<Option<KeyState>>() + self.free.capacity() * size_of::<u32>()
    }

    /// The key is gone, or is in the table itself from now on.
    pub(crate) fn forget(&mut self, kept: Kept) {
        let Some(place) = kept.place() else { return };
        if let Some(at) = self.whole.get_mut(place) {
            *at = None;
            self.free.push(kept.rest & !BESIDE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sensitivity, Spike};

    #[test]
    fn a_state_comes_back_as_it_was_put_and_is_in_the_table_while_it_does_not_speak() {
        let rule = Spike {
            times_hundredths: 300,
            within_minutes: 5,
            at_least: 50,
            quiet_for_minutes: 60,
            sensitivity: Sensitivity::Normal,
        }
        .rule();
        let evaluator = Evaluator::Spike { rule, during_launches: false };
        let (mut states, mut kept) = (States::default(), Kept::default());
        // It speaks with the eighth event of an hour, and is forgotten after eight weeks.
        for (after, count, beside) in [(0, 3, 0), (1, 4, 0), (2, 5, 1), (70, 5, 1), (90_000, 1, 0)] {
            let Some(KeyState::Spike(mut key)) = states.take(&evaluator, "a", kept) else { panic!("it is there") };
            key.take(&rule, 30_000_000 + after, count, &[], &mut |_| ());
            states.put(&mut kept, KeyState::Spike(key.clone()));
            assert_eq!(states.whole.iter().flatten().count(), beside, "{after}");
            let Some(KeyState::Spike(back)) = states.take(&evaluator, "a", kept) else { panic!("it is there") };
            assert_eq!(back, key);
            states.put(&mut kept, KeyState::Spike(back));
        }
        assert_eq!((states.whole.len(), states.free.len()), (1, 1));
        let quiet = SilenceKey { last: 7, in_hour: 65_535, quiet: true, speaking: None };
        let evaluator = Evaluator::Silence {
            rule: crate::SilenceRule { quiet_after_minutes: Some(30), least_minutes: 10 },
            by_source: false,
        };
        for (state, places) in [(quiet.clone(), 1), (SilenceKey { in_hour: 65_536, ..quiet }, 0)] {
            states.put(&mut kept, KeyState::Silence(state.clone()));
            let Some(KeyState::Silence(back)) = states.take(&evaluator, "a", kept) else { panic!("it is there") };
            assert_eq!((back, states.free.len()), (state, places));
        }
    }
}
