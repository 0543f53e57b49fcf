//! Starts that were held back: by a person, a silence, a mute, or the hours of a destination that drops. No person
//! knows of them, so their ends are not told either.
//!
//! The record that says that alerts are silenced says of which keys a start is untold since, so that it is known after
//! a restart; a start that is told later is in the thread of its message.

use std::collections::BTreeMap;

use event::{Alert, Delivery, DeliveryStage};
use serde::{Deserialize, Serialize};

use super::thread::OPEN_MS;
use super::{Group, Planner, State, UnreadableRecord};
use crate::group::{AlertGroup, short};
use crate::routing::Rule;

/// Starts that are known to be untold. The ends of others are told, as if nothing were known.
const MOST: usize = 10_000;

/// What is known of starts that were held back.
#[derive(Debug, Default)]
pub(super) struct Untold(BTreeMap<(Group, String), HeldBack>);

#[derive(Debug)]
struct HeldBack {
    /// What its record says why.
    why: String,
    at: i64,
    mark: Option<i64>,
}

/// The body of a silenced record: by key, whether its start is untold after it.
#[derive(Serialize, Deserialize)]
struct SilencedKeys {
    untold: BTreeMap<String, bool>,
}

impl Untold {
    pub(super) fn committed(&mut self, offset: i64) {
        self.0.values_mut().filter(|one| one.mark.is_none()).for_each(|one| one.mark = Some(offset));
    }

    pub(super) fn mark(&self) -> Option<i64> {
        self.0.values().filter_map(|one| one.mark).min()
    }

    fn note(&mut self, group: &Group, key: &str, why: &str, now_ms: i64) {
        let place = (group.clone(), key.to_owned());
        if self.0.len() < MOST || self.0.contains_key(&place) {
            self.0.insert(place, HeldBack { why: why.to_owned(), at: now_ms, mark: None });
        }
    }

    /// These keys are told, or over.
    pub(super) fn forget<'k>(&mut self, group: &Group, keys: impl IntoIterator<Item = &'k String>) {
        if !self.0.is_empty() {
            keys.into_iter().for_each(|key| drop(self.0.remove(&(group.clone(), key.clone()))));
        }
    }

    /// Keys of this group are told in a digest, which opens no thread: ends are told from here on, whatever began.
    pub(super) fn forget_all(&mut self, group: &Group) {
        self.0.retain(|(of, _), _| of != group);
    }

    /// Forgets what is too old, and what is sent no more.
    pub(super) fn prune(&mut self, now_ms: i64, is_sent: impl Fn(&Group) -> bool) {
        self.0.retain(|(group, _), one| one.at.saturating_add(OPEN_MS) > now_ms && is_sent(group));
    }

    /// Has records say of their keys how things stand after all of them.
    pub(super) fn say(&mut self, records: &mut [Delivery<'static>], now_ms: i64) {
        let silenced = records.iter_mut().filter(|one| one.stage == DeliveryStage::Silenced && !one.body.is_empty());
        for record in silenced {
            let Ok(mut keys) = serde_json::from_str::<SilencedKeys>(&record.body) else { continue };
            let group = Group::of(record);
            for (key, untold) in &mut keys.untold {
                let known = self.0.get_mut(&(group.clone(), key.clone()));
                *untold = known.is_some();
                if let Some(known) = known {
                    *known = HeldBack { why: record.error.clone().into_owned(), at: now_ms, mark: None };
                }
            }
            record.body = keys.body().into();
        }
    }

    /// Takes a committed record that says that alerts are silenced.
    ///
    /// # Errors
    /// When its body is not what this version writes.
    pub(super) fn restore(&mut self, record: &Delivery<'_>, offset: i64) -> Result<(), UnreadableRecord> {
        // Earlier versions wrote none, and where nothing ends there is none.
        if record.body.is_empty() {
            return Ok(());
        }
        let keys: SilencedKeys =
            serde_json::from_str(&record.body).map_err(|error| UnreadableRecord::of(record, &error))?;
        let group = Group::of(record);
        for (key, untold) in keys.untold {
            let place = (group.clone(), key);
            match untold {
                true => {
                    let why = record.error.clone().into_owned();
                    self.0.insert(place, HeldBack { why, at: record.at.0, mark: Some(offset) });
                }
                false => drop(self.0.remove(&place)),
            }
        }
        Ok(())
    }
}

impl Planner {
    /// Takes notice of a start that is held back, unless what it begins was told or is to be told.
    pub(super) fn note_untold(&mut self, group: &Group, key: &str, why: &str, now_ms: i64) {
        let says_when_over = self.routing.rule(&group.rule).is_some_and(|rule| rule.sending.say_when_over);
        if says_when_over && !self.groups.get(group).is_some_and(|state| state.fires(key)) {
            self.untold.note(group, key, why, now_ms);
        }
    }

    /// The same of what waited and is dropped.
    pub(super) fn drop_untold(&mut self, group: &Group, state: &State, gathered: &AlertGroup, why: &str, now_ms: i64) {
        let says_when_over = self.routing.rule(&group.rule).is_some_and(|rule| rule.sending.say_when_over);
        let is_told = |key: &str| state.open.as_ref().is_some_and(|open| open.firing.contains(key));
        for key in gathered.keys(true).into_iter().filter(|key| says_when_over && !is_told(key)) {
            self.untold.note(group, key, why, now_ms);
        }
    }

    /// Takes the end of a start that was held back. Whether that is all there is to it.
    pub(super) fn end_untold(&mut self, rule: &Rule, group: &Group, alert: &Alert<'_>, now_ms: i64) -> bool {
        let place = (group.clone(), short(&alert.key));
        let known = self.untold.0.get(&place).filter(|one| one.at.saturating_add(OPEN_MS) > now_ms);
        let Some(known) = known.filter(|_| rule.sending.say_when_over) else { return false };
        if self.groups.get(group).is_some_and(|state| state.fires(&place.1)) {
            return false;
        }
        let why = format!("{}; its start was not told", known.why);
        self.untold.0.remove(&place);
        self.silenced.entry((place.0, why)).or_default().add(alert);
        true
    }
}

impl SilencedKeys {
    #[allow(clippy::expect_used, reason = "JSON takes flags under texts; memory does not fail")]
    fn body(&self) -> String {
        serde_json::to_string(self).expect("keys are texts")
    }
}

impl Planner {
    /// The record of alerts that go to no place, and why.
    pub(super) fn silenced_record(
        &self,
        group: &Group,
        bundle_id: String,
        alerts: AlertGroup,
        why: String,
        now_ms: i64,
    ) -> Delivery<'static> {
        let mut record = self.record(group, bundle_id, DeliveryStage::Silenced, now_ms);
        record.error = why.into();
        record.first_received_at = alerts.received();
        if !alerts.firing.is_empty() {
            record.body = SilencedKeys { untold: alerts.firing }.body().into();
        }
        record.alert_ids = alerts.alert_ids.into_iter().map(Into::into).collect();
        record
    }
}
