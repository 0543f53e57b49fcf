//! What decides, from the closed panes of a key, that a rule fires: a file a kind.

pub(crate) mod broken;
pub(crate) mod drift;
pub(crate) mod first_seen;
pub(crate) mod gap;
pub(crate) mod kept;
pub(crate) mod profile;
mod ring;
pub(crate) mod silence;
pub(crate) mod spike;
pub(crate) mod stored;
pub(crate) mod threshold;

use crate::codec::{Reader, Writer};
use crate::{Expectations, Per, Trigger};
use broken::{BrokenKey, BrokenRule};
use drift::{DriftKey, DriftRule};
use first_seen::{FirstSeenRule, SeenKey};
use gap::{Counter, GapKey, GapRule};
use profile::Profile;
use silence::{SilenceKey, SilenceRule};
use spike::{SpikeKey, SpikeRule};

/// What decides for a rule whose panes are minutes.
#[derive(Debug, Clone)]
pub(crate) enum Evaluator {
    Spike { rule: SpikeRule, during_launches: bool },
    Silence { rule: SilenceRule, by_source: bool },
    Broken { rule: BrokenRule, one_link: bool },
    Drift(DriftRule),
    Gap(GapRule),
    FirstSeen(FirstSeenRule),
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum KeyState {
    Spike(SpikeKey),
    Silence(SilenceKey),
    Broken(Box<BrokenKey>),
    Drift(Box<DriftKey>),
    Gap(Box<GapKey>),
    Counter(Counter),
    FirstSeen(Box<SeenKey>),
}

impl Evaluator {
    /// What decides for such an alert; none for alerts whose panes are not minutes.
    pub(crate) fn of(trigger: &Trigger) -> Option<Self> {
        Some(match trigger {
            Trigger::Spike { spike, not_during_launches, .. } => {
                Self::Spike { rule: spike.rule(), during_launches: !not_during_launches }
            }
            Trigger::Silence { silence, per } => Self::Silence { rule: *silence, by_source: *per == Per::Source },
            Trigger::Broken { broken, per } => Self::Broken { rule: *broken, one_link: *per == Per::Link },
            Trigger::Drift { drift, .. } => Self::Drift(*drift),
            Trigger::Gap { gap, .. } => Self::Gap(*gap),
            Trigger::FirstSeen(rule) => Self::FirstSeen(rule.clone()),
            Trigger::Each | Trigger::Count { .. } => return None,
        })
    }

    /// Whether what comes after its minute has closed counts in the minute that is open. A spike it cannot prove any
    /// more, and where a link led it shows of a time that is over.
    pub(crate) fn takes_late_minutes(&self) -> bool {
        match self {
            Self::Spike { .. } | Self::Drift(_) => false,
            Self::Silence { .. } | Self::Broken { .. } | Self::Gap(_) | Self::FirstSeen(_) => true,
        }
    }

    /// Whether its panes have one part: it tells nothing apart within a key.
    pub(crate) fn only_counts(&self) -> bool {
        match self {
            Self::Spike { .. } | Self::Silence { .. } => true,
            Self::Broken { .. } | Self::Drift(_) | Self::Gap(_) | Self::FirstSeen(_) => false,
        }
    }

    /// What an event counts under where its key has no room for another facet; none: it is left out.
    pub(crate) fn rest<'f>(&self, facet: &'f str) -> Option<&'f str> {
        match self {
            Self::Spike { .. } | Self::Silence { .. } => Some(facet),
            Self::Broken { .. } => Some(broken::rest(facet)),
            Self::Drift(_) => drift::rest(facet),
            // It has arrived, whatever its counter says.
            Self::Gap(_) => Some(""),
            Self::FirstSeen(_) => None,
        }
    }

    /// Of a key that was never seen.
    pub(crate) fn fresh(&self, key: &str) -> KeyState {
        match self {
            Self::Spike { .. } => KeyState::Spike(SpikeKey::default()),
            Self::Silence { .. } => KeyState::Silence(SilenceKey::default()),
            Self::Broken { .. } => KeyState::Broken(Box::default()),
            Self::Drift(_) => KeyState::Drift(Box::default()),
            Self::Gap(_) if gap::is_counter(key) => KeyState::Counter(Counter::default()),
            Self::Gap(_) => KeyState::Gap(Box::default()),
            Self::FirstSeen(_) => KeyState::FirstSeen(Box::default()),
        }
    }

    /// The end of the minute up to which a key must be walked even if nothing comes; none: it waits for an event.
    pub(crate) fn wakes(&self, key: &str, state: &KeyState, expectations: &Expectations) -> Option<i64> {
        match (self, state) {
            (Self::Spike { .. }, KeyState::Spike(state)) => state.wakes(),
            (Self::Silence { .. }, KeyState::Silence(state)) => state.wakes(&self.silence(key, expectations)?),
            (Self::Broken { rule, .. }, KeyState::Broken(state)) => state.wakes(rule),
            (Self::Drift(rule), KeyState::Drift(state)) => state.wakes(rule),
            (Self::Gap(rule), KeyState::Gap(state)) => state.wakes(rule),
            _ => None,
        }
    }

    /// The rule on silence as it is for this key: the configuration of a source goes before what is learned.
    pub(crate) fn silence(&self, key: &str, expectations: &Expectations) -> Option<SilenceRule> {
        let Self::Silence { rule, by_source } = self else { return None };
        let fixed = if *by_source { expectations.quiet_after(key) } else { None };
        Some(SilenceRule { quiet_after_minutes: fixed.or(rule.quiet_after_minutes), ..*rule })
    }

    /// Whether an event is kept for what a key may have to say.
    pub(crate) fn names_events(&self, key: &str, state: &KeyState, expectations: &Expectations) -> bool {
        match state {
            KeyState::Spike(state) => state.is_firing(),
            KeyState::Silence(state) => self.silence(key, expectations).is_some_and(|rule| state.is_watched_by(&rule)),
            _ => true,
        }
    }

    /// Reads what [`KeyState::write`] wrote, with the profile that belongs to it.
    pub(crate) fn read(&self, kind: u8, from: &mut Reader<'_>, profile: Option<Profile>) -> Option<KeyState> {
        Some(match (self, kind) {
            (Self::Spike { .. }, b'S') => KeyState::Spike(SpikeKey::read(from, profile)?),
            (Self::Silence { .. }, b'Q') => KeyState::Silence(SilenceKey::read(from, profile)?),
            (Self::Broken { one_link, .. }, b'B') => KeyState::Broken(Box::new(BrokenKey::read(from, *one_link)?)),
            (Self::Drift(_), b'D') => KeyState::Drift(Box::new(DriftKey::read(from)?)),
            (Self::Gap(_), b'G') => KeyState::Gap(Box::new(GapKey::read(from)?)),
            (Self::Gap(_), b'C') => KeyState::Counter(Counter::read(from)?),
            (Self::FirstSeen(_), b'F') => KeyState::FirstSeen(Box::new(SeenKey::read(from)?)),
            _ => return None,
        })
    }
}

impl KeyState {
    /// The first byte of its record.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Spike(_) => b'S',
            Self::Silence(_) => b'Q',
            Self::Broken(_) => b'B',
            Self::Drift(_) => b'D',
            Self::Gap(_) => b'G',
            Self::Counter(_) => b'C',
            Self::FirstSeen(_) => b'F',
        }
    }

    /// All but the profile.
    pub(crate) fn write(&self, to: &mut Writer) {
        match self {
            Self::Spike(state) => state.write(to),
            Self::Silence(state) => state.write(to),
            Self::Broken(state) => state.write(to),
            Self::Drift(state) => state.write(to),
            Self::Gap(state) => state.write(to),
            Self::Counter(state) => state.write(to),
            Self::FirstSeen(state) => state.write(to),
        }
    }

    /// Its learned profile, if it is of a kind that has one, and has spoken.
    pub(crate) fn profile_mut(&mut self) -> Option<&mut Profile> {
        match self {
            Self::Spike(state) => state.profile_mut(),
            Self::Silence(state) => state.profile_mut(),
            _ => None,
        }
    }

    /// Whether it has a learned profile.
    pub(crate) fn has_profile(&self) -> bool {
        match self {
            Self::Spike(state) => state.speaks(),
            Self::Silence(state) => state.speaks(),
            _ => false,
        }
    }

    /// Whether nothing is left to know: the key is forgotten.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Broken(state) => state.is_over(),
            Self::Gap(state) => state.is_over(),
            _ => false,
        }
    }
}
