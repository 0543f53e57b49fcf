//! What makes a rule speak, and what it tells.

use crate::learned::PANE_MS;
use crate::{
    BrokenRule, DriftRule, FirstSeenRule, GapRule, Glob, Per, Sensitivity, SilenceRule, SpikeRule, WindowError, pane_ms,
};

/// What makes a rule speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Every event that matches.
    Each,
    /// So many matches of one key within a sliding window of received time.
    Count {
        /// The count that must be reached, at least 1.
        count: u64,
        /// What is counted per.
        per: Per,
        /// Length of the window in milliseconds.
        within_ms: i64,
        /// Length of a pane in milliseconds; see [`pane_ms`].
        pane_ms: i64,
        /// After firing for a key, it does not fire for it again for so many milliseconds; 0: it may at once.
        quiet_for_ms: i64,
    },
    /// Many times the usual of one key, and more than chance explains.
    Spike {
        /// What it asks for.
        spike: Spike,
        /// What is counted per.
        per: Per,
        /// It says nothing about a link in a planned launch.
        not_during_launches: bool,
    },
    /// One key that normally speaks has gone quiet.
    Silence {
        /// What it asks for.
        silence: SilenceRule,
        /// What is counted per.
        per: Per,
    },
    /// What people open leads nowhere.
    Broken {
        /// What it asks for.
        broken: BrokenRule,
        /// What is looked at.
        per: Per,
    },
    /// A link leads elsewhere than is expected, or than before.
    Drift {
        /// What it asks for.
        drift: DriftRule,
        /// What is looked at: links or QR codes.
        per: Per,
    },
    /// The platform has counted more than has arrived.
    Gap {
        /// What it asks for.
        gap: GapRule,
        /// What is looked at.
        per: Per,
    },
    /// A value that no event had before.
    FirstSeen(FirstSeenRule),
}

/// What a spike rule asks for, in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// How many times the usual, in hundredths: 300 for `3x`.
    pub times_hundredths: u32,
    /// The short window in whole minutes, 1 to 60.
    pub within_minutes: u8,
    /// The events that a window must hold, at least 8.
    pub at_least: u64,
    /// After it fired for a key it does not fire for it again for so many minutes.
    pub quiet_for_minutes: i64,
    /// How much more than chance.
    pub sensitivity: Sensitivity,
}

impl Spike {
    /// The same in the numbers that decide.
    pub fn rule(&self) -> SpikeRule {
        SpikeRule {
            times: f64::from(self.times_hundredths) / 100.0,
            within_minutes: self.within_minutes.clamp(1, 60),
            at_least: self.at_least.max(8),
            quiet_for_minutes: self.quiet_for_minutes,
            sensitivity: self.sensitivity,
        }
    }
}

impl Trigger {
    /// A count of `count` (0 is taken as 1) per key within `within_ms`; its pane follows from the window.
    ///
    /// # Errors
    /// When the window cannot be cut into panes.
    pub fn count(count: u64, per: Per, within_ms: i64, quiet_for_ms: i64) -> Result<Self, WindowError> {
        let pane_ms = pane_ms(within_ms)?;
        Ok(Self::Count { count: count.max(1), per, within_ms, pane_ms, quiet_for_ms: quiet_for_ms.max(0) })
    }

    /// What it counts per; none for rules that fire on every event, and for those on what is first seen.
    pub fn per(&self) -> Option<Per> {
        match self {
            Self::Each | Self::FirstSeen(_) => None,
            Self::Count { per, .. }
            | Self::Spike { per, .. }
            | Self::Silence { per, .. }
            | Self::Broken { per, .. }
            | Self::Drift { per, .. }
            | Self::Gap { per, .. } => Some(*per),
        }
    }

    /// Length of a pane in milliseconds; none for rules that fire on every event.
    pub fn pane_ms(&self) -> Option<i64> {
        match self {
            Self::Each => None,
            Self::Count { pane_ms, .. } => Some(*pane_ms),
            _ => Some(PANE_MS),
        }
    }

    /// Its kind: the key that asks for it in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Count { .. } => "count",
            Self::Spike { .. } => "spike",
            Self::Silence { .. } => "silence",
            Self::Broken { .. } => "broken",
            Self::Drift { .. } => "drift",
            Self::Gap { .. } => "gap",
            Self::FirstSeen(_) => "first_seen",
        }
    }

    /// Whether what it tells begins and ends; else it is told once.
    pub fn ends(&self) -> bool {
        match self {
            Self::Each | Self::FirstSeen(_) => false,
            Self::Count { .. }
            | Self::Spike { .. }
            | Self::Silence { .. }
            | Self::Broken { .. }
            | Self::Drift { .. }
            | Self::Gap { .. } => true,
        }
    }

    /// Whether bots and internal traffic count too: a platform counts them, and they arrive.
    pub fn is_of_all_traffic(&self) -> bool {
        matches!(self, Self::Gap { .. })
    }

    /// What its keys learn by: a rule that differs in nothing of this keeps what they have learned.
    pub(crate) fn learns(&self) -> String {
        match self {
            Self::Spike { per, .. } => format!("spike per={}", per.name()),
            Self::Silence { per, .. } => format!("silence per={}", per.name()),
            // Counts in panes of another length cannot be added up.
            Self::Count { per, pane_ms, .. } => format!("count per={} pane={pane_ms}", per.name()),
            Self::Broken { per, .. } => format!("broken per={}", per.name()),
            Self::Drift { per, .. } => format!("drift per={}", per.name()),
            Self::Gap { per, .. } => format!("gap per={}", per.name()),
            Self::FirstSeen(rule) => format!("first_seen={}", rule.of.name()),
            Self::Each => self.canonical(),
        }
    }

    /// The canonical form, for the rule's version.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Each => "each".to_owned(),
            // The pane is part of it: state in panes of another length cannot be added up.
            Self::Count { count, per, within_ms, pane_ms, quiet_for_ms } => {
                format!("count={count} per={} within={within_ms} pane={pane_ms} quiet_for={quiet_for_ms}", per.name())
            }
            Self::Spike { spike, per, not_during_launches } => format!(
                "spike={} per={} within={} at_least={} quiet_for={} sensitivity={} launches={}",
                spike.times_hundredths,
                per.name(),
                spike.within_minutes,
                spike.at_least,
                spike.quiet_for_minutes,
                spike.sensitivity.name(),
                !not_during_launches,
            ),
            Self::Silence { silence, per } => {
                let after = silence.quiet_after_minutes.map_or("learned".to_owned(), |minutes| minutes.to_string());
                format!("silence={after} per={} least={}", per.name(), silence.least_minutes)
            }
            Self::Broken { broken, per } => format!(
                "broken per={} at_least={} percent={} within={} over_after={} quiet_for={}",
                per.name(),
                broken.at_least,
                broken.percent,
                broken.within_minutes,
                broken.over_after_minutes,
                broken.quiet_for_minutes,
            ),
            Self::Drift { drift, per } => {
                format!("drift per={} at_least={} quiet_for={}", per.name(), drift.at_least, drift.quiet_for_minutes)
            }
            Self::Gap { gap, per } => format!(
                "gap={} per={} within={} at_least={}",
                gap.share_basis_points,
                per.name(),
                gap.within_hours,
                gap.at_least,
            ),
            Self::FirstSeen(rule) => {
                let mut known: Vec<&str> = rule.known.iter().map(Glob::as_str).collect();
                known.sort_unstable();
                format!("first_seen={} learn_for={} known={known:?}", rule.of.name(), rule.learn_minutes)
            }
        }
    }
}
