//! Why lanes end, and why they stand still. docs/runbooks/lane-stalled.md has the way out of each, which tests here
//! hold.

use std::fmt;

macro_rules! reasons {
    ($(#[$of:meta])* $type:ident { $($(#[$about:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$about])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label of `hookline_stalled`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The reason that has this label.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

reasons! {
    /// Why a lane halts: it stands still until an operator has looked, since going on could lose or double an event.
    HaltReason {
        /// A record is larger than Kafka takes.
        TooLarge = "too_large",
        /// The position is below what Kafka still has.
        RecordsMissing = "records_missing",
        /// The input jumped an offset.
        Gap = "gap",
        /// What was committed beside the position is not of this version, or does not agree with it.
        Position = "position",
        /// The position is gone, and nothing says how far the lane had come.
        PositionUnknown = "position_unknown",
        /// The input was rewound: a record that was committed before came again.
        Rewound = "rewound",
        /// The topic `raw` is not the one that the position was taken on.
        RawReplaced = "raw_replaced",
        /// The topic `events` is not the one that the rows came from.
        EventsReplaced = "events_replaced",
        /// The changelog of the dedupe window cannot be followed.
        SeenBroken = "seen_broken",
        /// The salts are not of this version.
        SaltsUnreadable = "salts_unreadable",
        /// Too many records became dead letters.
        Fuse = "fuse",
        /// An alert or a delivery is not of this version.
        Undecodable = "undecodable",
        /// An event is not of this version.
        UndecodableEvent = "undecodable_event",
        /// A cut is not of this version.
        UnknownCut = "unknown_cut",
        /// An event does not fit the columns.
        ColumnShape = "column_shape",
        /// ClickHouse acknowledged a block and does not have its rows.
        RowsMissing = "rows_missing",
        /// Rows below the position are gone, and nothing says that they are lost.
        RowsVanished = "rows_vanished",
        /// ClickHouse has rows past the position that nothing explains.
        RowsBeyondPosition = "rows_beyond_position",
        /// ClickHouse holds rows of another life of the topics.
        AnotherLife = "another_life",
        /// There is a position of `detect` and no state beside it.
        StateMissing = "state_missing",
        /// The state of `detect` cannot be read.
        StateBroken = "state_broken",
        /// A record that `detect` or `notify` reads is not of this version.
        Unreadable = "unreadable",
    }
}

reasons! {
    /// Why something stands still that goes on by itself once the cause is gone.
    WaitReason {
        /// An engine is away or refuses; the lane tries again.
        Retry = "retry",
        /// Another owner has the lane.
        Fenced = "fenced",
        /// The broker has records for the lane, and it has read none for a minute, whatever was tried.
        NoProgress = "no_progress",
        /// A transaction holds back what was written after it began, for a minute.
        OpenTransaction = "open_transaction",
        /// The leader of what the lane reads has told nothing for a minute, while those of other partitions do.
        LeaderSilent = "leader_silent",
        /// The newest record of a source's switch is of another version.
        SwitchUnreadable = "switch_unreadable",
    }
}

/// Why a lane ends before the stop is given.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// Another instance took the lane over.
    #[error("another owner has the lane")]
    Fenced,
    /// An engine failed, or a transaction was aborted: opening the lane again may mend it.
    #[error("{0}")]
    Retry(String),
    /// Going on could lose or double an event: if that is found again by further looks, the lane stands still until an
    /// operator has looked.
    #[error("{message}")]
    Halt {
        /// Why, as a fixed label.
        reason: HaltReason,
        /// Why, and the way out, in words.
        message: String,
    },
}

impl End {
    /// The end of a lane that must not go on.
    pub fn halt(reason: HaltReason, message: impl Into<String>) -> Self {
        Self::Halt { reason, message: message.into() }
    }
}

/// Whatever `hookline_stalled` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StallReason {
    /// Until the cause is gone.
    Wait(WaitReason),
    /// Until an operator has looked.
    Halt(HaltReason),
}

impl StallReason {
    /// The label of `hookline_stalled`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait(reason) => reason.name(),
            Self::Halt(reason) => reason.name(),
        }
    }
}

impl From<WaitReason> for StallReason {
    fn from(reason: WaitReason) -> Self {
        Self::Wait(reason)
    }
}

impl From<HaltReason> for StallReason {
    fn from(reason: HaltReason) -> Self {
        Self::Halt(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;

    fn all() -> Vec<StallReason> {
        let halts = HaltReason::ALL.iter().map(|reason| StallReason::from(*reason));
        halts.chain(WaitReason::ALL.iter().map(|reason| StallReason::from(*reason))).collect()
    }

    #[test]
    fn the_runbook_has_a_row_for_each_reason_and_no_other() {
        let runbook = include_str!("../../../../docs/runbooks/lane-stalled.md");
        let rows = runbook.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| row.contains('`'));
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        let mut firsts = BTreeSet::new();
        for row in rows {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            assert_eq!(cells.len(), 3, "the reason, what it is, the way out: {row}");
            assert!(cells.iter().all(|cell| cell.len() > 3), "{row}");
            assert!(firsts.insert(cells[0]), "a second row for {}", cells[0]);
            for reason in cells[0].split('`').skip(1).step_by(2) {
                *told.entry(reason).or_default() += 1;
            }
        }
        for reason in all() {
            assert!(told.contains_key(reason.name()), "docs/runbooks/lane-stalled.md has no row for {}", reason.name());
        }
        let known: Vec<&str> = all().into_iter().map(StallReason::name).collect();
        for reason in told.keys() {
            assert!(
                known.contains(reason),
                "{reason} stands in docs/runbooks/lane-stalled.md, and no lane ends with it"
            );
        }
    }

    #[test]
    fn each_reason_has_a_label_of_its_kind_and_is_found_by_it() {
        for reason in HaltReason::ALL {
            assert_eq!((HaltReason::named(reason.name()), WaitReason::named(reason.name())), (Some(*reason), None));
        }
        for reason in WaitReason::ALL {
            assert_eq!((HaltReason::named(reason.name()), WaitReason::named(reason.name())), (None, Some(*reason)));
        }
        assert_eq!(HaltReason::named("none"), None);
    }

    /// A reason that no code gives would be a row of the runbook that no operator meets.
    #[test]
    fn each_reason_is_given_by_some_code() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut code = String::new();
        sources(&crates, &mut code);
        let given = |kind: &str, variant: String| code.contains(&format!("{kind}::{variant}"));
        for reason in HaltReason::ALL {
            assert!(given("HaltReason", format!("{reason:?}")), "no lane halts for {reason}");
        }
        for reason in WaitReason::ALL {
            assert!(given("WaitReason", format!("{reason:?}")), "nothing waits for {reason}");
        }
    }

    /// What the crates that run lanes are made of, without their tests and this file.
    fn sources(folder: &Path, code: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["tests", "target", "operate", "cli"].contains(&name.as_str()) {
                sources(&path, code);
            } else if name.ends_with(".rs") && name != "halt.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                code.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
}
