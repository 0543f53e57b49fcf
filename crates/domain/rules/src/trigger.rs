//! What makes a rule speak, and what it tells.

use event::{LinkEvent, Map};

use crate::{Per, WindowError, pane_ms};

/// What makes a rule speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// What it counts per; none for rules that fire on every event.
    pub fn per(&self) -> Option<Per> {
        match self {
            Self::Each => None,
            Self::Count { per, .. } => Some(*per),
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
        }
    }
}

/// What a message about an event needs: names that people know, no personal data. The same list on signals and alerts.
pub fn attributes(event: &LinkEvent<'_>) -> Map<'static> {
    let mut map = Map::default();
    map.add("event", event.r#type.as_str());
    for (name, value) in [
        ("subtype", &event.subtype),
        ("link_id", &event.link_id),
        ("link_kind", &event.link_kind),
        ("domain", &event.domain),
        ("slug", &event.slug),
        ("destination_host", &event.destination_host),
        ("campaign", &event.campaign),
        ("channel", &event.channel),
        ("programme", &event.programme),
        ("qr_id", &event.qr_id),
        ("placement", &event.placement),
        ("partner", &event.partner),
        ("launch", &event.launch),
        ("country", &event.country),
        ("error_kind", &event.error_kind),
        ("source", &event.source),
        ("owner", &event.owner),
    ] {
        map.add(name, value.clone().into_owned());
    }
    map
}
