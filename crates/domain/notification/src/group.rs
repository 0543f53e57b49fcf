//! What the alerts of a bundle come to.

use std::collections::BTreeMap;

use event::{Alert, Millis, Transition};
use serde::{Deserialize, Serialize};

/// Links that are counted by name; the events on others are counted together.
const MAX_LINKS: usize = 10_000;
/// Keys whose state is kept.
pub(crate) const MAX_KEYS: usize = 1_000;
/// Samples that are kept.
const MAX_SAMPLES: usize = 5;
/// Links of which is kept what is usual.
const MAX_USUAL: usize = 20;
/// Bytes of a name or key that are kept: 5,000 of them, each byte escaped, fit a record.
const MAX_TEXT: usize = 160;
/// Alert ids that a bundle names.
pub(crate) const MAX_IDS: usize = 1_000;

/// What some alerts of one group come to: adds up, whatever the portions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlertGroup {
    /// Alerts, those that say that something is over included.
    pub(crate) alerts: u64,
    /// Alerts that say that something is over.
    pub(crate) over: u64,
    /// Events behind the others.
    pub(crate) count: u64,
    /// Events by link.
    pub(crate) links: BTreeMap<String, u64>,
    /// Events on links that are not named.
    pub(crate) other_links: u64,
    /// Event keys.
    pub(crate) samples: Vec<String>,
    /// By link, what came instead of what is usual: of rules that learn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) usual: BTreeMap<String, String>,
    /// What the first alert says about its event.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The count that the rule asks for.
    pub(crate) threshold: u64,
    /// From the start of the first window, in milliseconds since 1970.
    pub(crate) window_start: i64,
    /// To the end of the last one.
    pub(crate) window_end: i64,
    /// When the oldest event was received.
    pub(crate) first_received_at: i64,
    /// By key, whether its condition holds after the last alert about it; not for rules that fire on every event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) firing: BTreeMap<String, bool>,
    /// The alerts. Beside it in the record, not within.
    #[serde(skip)]
    pub(crate) alert_ids: Vec<String>,
}

impl AlertGroup {
    /// Adds an alert.
    pub(crate) fn add(&mut self, alert: &Alert<'_>) {
        let over = alert.transition == Transition::Resolved;
        let count = if over { 0 } else { alert.observed };
        let mut links = BTreeMap::new();
        if let Some(link) = link(alert) {
            links.insert(short(&link), count);
        }
        let why = alert.attributes.get("why");
        let usual = link(alert).filter(|_| !over && !why.is_empty()).map(|link| (short(&link), short(why)));
        let attributes = alert.attributes.0.iter();
        let ids = std::mem::take(&mut self.alert_ids);
        self.merge(AlertGroup {
            alerts: 1,
            over: u64::from(over),
            count,
            links,
            other_links: 0,
            usual: usual.into_iter().collect(),
            samples: if alert.sample.is_empty() { Vec::new() } else { vec![short(&alert.sample)] },
            attributes: attributes.map(|(name, value)| (name.to_string(), short(value))).collect(),
            threshold: alert.threshold,
            window_start: alert.window_start.0,
            window_end: alert.window_end.0,
            first_received_at: alert.received_at.0,
            firing: match alert.transition {
                Transition::Each => BTreeMap::new(),
                Transition::Fired | Transition::Resolved => BTreeMap::from([(short(&alert.key), !over)]),
            },
            alert_ids: Vec::new(),
        });
        self.alert_ids = ids;
        self.alert_ids.push(alert.alert_id.clone().into_owned());
    }

    /// Adds what other alerts came to, later ones.
    pub(crate) fn merge(&mut self, other: AlertGroup) {
        // An empty group has no times: its zeros would begin every window in 1970.
        if other.alerts == 0 {
            return;
        }
        if self.alerts == 0 {
            *self = AlertGroup { alert_ids: std::mem::take(&mut self.alert_ids), ..other.clone() };
        } else {
            self.alerts += other.alerts;
            self.over += other.over;
            self.count += other.count;
            self.other_links += other.other_links;
            for (link, count) in other.links {
                if self.links.len() < MAX_LINKS || self.links.contains_key(&link) {
                    *self.links.entry(link).or_default() += count;
                } else {
                    self.other_links += count;
                }
            }
            for (link, why) in other.usual {
                if self.usual.len() < MAX_USUAL || self.usual.contains_key(&link) {
                    self.usual.insert(link, why);
                }
            }
            for (key, firing) in other.firing {
                if self.firing.len() < MAX_KEYS || self.firing.contains_key(&key) {
                    self.firing.insert(key, firing);
                }
            }
            self.samples.extend(other.samples);
            self.samples.truncate(MAX_SAMPLES);
            self.window_start = self.window_start.min(other.window_start);
            self.window_end = self.window_end.max(other.window_end);
            self.first_received_at = self.first_received_at.min(other.first_received_at);
        }
        self.alert_ids.extend(other.alert_ids);
        self.alert_ids.truncate(MAX_IDS);
    }

    /// The links with the most events, at most so many.
    pub(crate) fn top_links(&self, most: usize) -> Vec<(&str, u64)> {
        let mut links: Vec<(&str, u64)> = self.links.iter().map(|(link, count)| (link.as_str(), *count)).collect();
        links.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        links.truncate(most);
        links
    }

    /// The keys whose condition holds after the last alert about them, or those whose condition does not.
    pub(crate) fn keys(&self, firing: bool) -> Vec<&str> {
        self.firing.iter().filter(|(_, fires)| **fires == firing).map(|(key, _)| key.as_str()).collect()
    }

    /// Whether all that it is about is over after its last alert. Keys beyond those that are kept may fire.
    pub(crate) fn is_over(&self) -> bool {
        let known = !self.firing.is_empty() && self.firing.len() < MAX_KEYS;
        self.over == self.alerts || (self.over > 0 && known && !self.firing.values().any(|fires| *fires))
    }

    /// Whether it is about what did not come: a rule that counts never says less than it asks for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.over < self.alerts && (self.count == 0 || self.count < self.threshold)
    }

    /// When the oldest event was received.
    pub(crate) fn received(&self) -> Millis {
        Millis(self.first_received_at)
    }
}

/// What people know the link by.
pub(crate) fn link(alert: &Alert<'_>) -> Option<String> {
    let (domain, slug) = (alert.attributes.get("domain"), alert.attributes.get("slug"));
    match (domain, slug, alert.attributes.get("link_id")) {
        ("", "", "") => None,
        (_, "", link_id) if !link_id.is_empty() => Some(link_id.to_owned()),
        (domain, "", _) => Some(domain.to_owned()),
        ("", slug, _) => Some(slug.to_owned()),
        (domain, slug, _) => Some(format!("{domain}/{slug}")),
    }
}

/// The beginning of a text, without control characters, which are no part of any name and grow sixfold in JSON.
pub(crate) fn short(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].chars().filter(|character| !character.is_control()).collect()
}
