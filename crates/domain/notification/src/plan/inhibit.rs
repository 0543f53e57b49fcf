//! Starts that are held back while another alert fires.
//!
//! Both are known from records as all else is: what fires is a `held` record for [`INHIBITS`], where nothing is ever
//! sent, and each start that is held back has a `held` record that says why. A start whose end comes meanwhile is never
//! told, and recorded as silenced; one that still fires when nothing holds it back any more goes as if it came then:
//! silences, pauses and mutes of then hold it back as any other. What was told before is ended whatever fires. An alert
//! that is itself silenced, paused or muted when it begins holds no other back: one of the two has to be told.

use std::collections::BTreeMap;

use event::{Alert, Delivery, DeliveryStage, Map, Millis, Transition};
use serde::{Deserialize, Serialize};

use super::{Group, HeldGroup, Planner};
use crate::group::{AlertGroup, short};
use crate::inhibit::About;
use crate::message::bundle_id;
use crate::routing::Rule;

/// The destination in records of what holds others back. No destination is called like that.
pub(crate) const INHIBITS: &str = "(inhibits)";
/// An alert holds others back for so long at most, in milliseconds: a key that never ends must not do so for ever.
const LONGEST_MS: i64 = 7 * 86_400_000;
/// Alerts that are known to fire.
const MAX_FIRING: usize = 1_000;
/// Starts that are held back, over all destinations; more of them go their usual way, in bundles and within budgets.
const MAX_HELD: usize = 10_000;
/// Starts that are let go at once, so that a record has room for them.
const MAX_FREED: usize = 2_500;

/// What a `held` record keeps, where it is not an alert that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kept {
    /// An alert that holds others back while it fires.
    Fires,
    /// A start that is held back, or waits whether it will be.
    Back,
    /// A start that is not held back any more.
    Freed,
}

/// An alert that holds others back.
#[derive(Debug)]
struct Firing {
    attributes: BTreeMap<String, String>,
    since: i64,
    ended_at: Option<i64>,
    mark: Option<i64>,
}

/// A start that is held back, or waits whether it will be.
#[derive(Debug)]
struct HeldStart {
    bundle_id: String,
    /// It waits until then, whatever fires.
    until: i64,
    /// What its record says why; empty while nothing holds it back.
    why: String,
    alerts: AlertGroup,
    mark: Option<i64>,
}

/// A rule, a key, and whether it is test data.
type Fired = (String, String, bool);

/// What fires, and what it holds back.
#[derive(Debug, Default)]
pub(super) struct Inhibition {
    firing: BTreeMap<Fired, Firing>,
    held: BTreeMap<(Group, String), HeldStart>,
    /// Records that are to be written.
    news: Vec<Delivery<'static>>,
    /// Nothing that is held becomes free before then.
    check_at: i64,
}

/// Whether a record says that an alert holds others back: it is about no message.
pub fn is_inhibitor(record: &Delivery<'_>) -> bool {
    record.destination == INHIBITS
}

/// Whether a record says that a start is held back by another alert.
pub fn is_inhibited(record: &Delivery<'_>) -> bool {
    record.stage == DeliveryStage::Held && !record.error.is_empty() && !is_inhibitor(record)
}

impl Inhibition {
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        (!self.held.is_empty() && self.check_at <= now_ms) || self.is_ahead(now_ms)
    }

    /// Whether an end was noted by a clock that was ahead: what it holds back would wait for that time.
    fn is_ahead(&self, now_ms: i64) -> bool {
        self.firing.values().any(|one| one.ended_at.is_some_and(|at| at > now_ms))
    }

    /// Has ends that were noted in the future count from now on.
    pub(super) fn follow_clock(&mut self, now_ms: i64) {
        if self.is_ahead(now_ms) {
            let ends = self.firing.values_mut().filter_map(|one| one.ended_at.as_mut());
            ends.for_each(|at| *at = (*at).min(now_ms));
            self.look_again();
        }
    }

    pub(super) fn next_due(&self) -> Option<i64> {
        (!self.held.is_empty()).then_some(self.check_at)
    }

    pub(super) fn committed(&mut self, offset: i64) {
        let marks = self.firing.values_mut().map(|one| &mut one.mark);
        let marks = marks.chain(self.held.values_mut().map(|one| &mut one.mark));
        marks.filter(|mark| mark.is_none()).for_each(|mark| *mark = Some(offset));
    }

    pub(super) fn mark(&self) -> Option<i64> {
        let firing = self.firing.values().filter_map(|one| one.mark);
        firing.chain(self.held.values().filter_map(|one| one.mark)).min()
    }

    /// Has all of it looked at again: the configuration is another one.
    pub(super) fn look_again(&mut self) {
        self.check_at = 0;
    }

    /// What was held of a bundle is told of elsewhere.
    pub(super) fn forget(&mut self, group: &Group, bundle_id: &str) {
        self.held.retain(|(own, _), held| own != group || held.bundle_id != bundle_id);
    }
}

impl Planner {
    /// How many starts of each rule are held back now.
    pub fn inhibited(&self) -> BTreeMap<&str, usize> {
        let mut rules = BTreeMap::new();
        for ((group, _), _) in self.inhibition.held.iter().filter(|(_, held)| !held.why.is_empty()) {
            *rules.entry(group.rule.as_str()).or_default() += 1;
        }
        rules
    }

    /// Takes notice of an alert that holds others back, or ends to.
    pub(super) fn note_inhibitor(&mut self, alert: &Alert<'_>, now_ms: i64) {
        if !self.routing.inhibits(&alert.rule) {
            return;
        }
        let fired = (alert.rule.clone().into_owned(), short(&alert.key), alert.test);
        let mut gathered = AlertGroup::default();
        gathered.add(alert);
        let room = self.inhibition.firing.len() < MAX_FIRING;
        let known = self.inhibition.firing.get_mut(&fired).filter(|known| known.ended_at.is_none());
        let since = match (alert.transition, known) {
            (Transition::Resolved, Some(known)) => {
                known.ended_at = Some(now_ms);
                known.since
            }
            (Transition::Fired, None) if room => {
                let attributes = gathered.attributes.clone();
                let firing = Firing { attributes, since: now_ms, ended_at: None, mark: None };
                self.inhibition.firing.insert(fired.clone(), firing);
                now_ms
            }
            _ => return,
        };
        self.inhibition.look_again();
        let (rule, about, test) = fired;
        let id = bundle_id(INHIBITS, &rule, &about, test, &since.to_string());
        let group = Group { rule, destination: INHIBITS.to_owned(), about, test };
        let record = self.kept(&group, id, Kept::Fires, &gathered, (now_ms, now_ms));
        self.inhibition.news.push(record);
    }

    /// Until when a start is held back, and by what; none if nothing holds it back now.
    fn held_until(&self, about: About<'_>, test: bool, now_ms: i64) -> Option<(i64, String)> {
        let mut longest: Option<(i64, String)> = None;
        for inhibit in self.routing.inhibits_of(about.rule) {
            for ((rule, key, is_test), firing) in &self.inhibition.firing {
                let by = About { rule, key, attributes: &firing.attributes };
                let forgotten = firing.since.saturating_add(LONGEST_MS);
                let until = firing.ended_at.map_or(forgotten, |at| at.saturating_add(inhibit.after_ms).min(forgotten));
                let longer = until > longest.as_ref().map_or(now_ms, |(until, _)| *until);
                if *is_test == test && longer && inhibit.matches(by, about) {
                    longest = Some((until, format!("inhibit {}: {rule} fires for {key}", inhibit.name)));
                }
            }
        }
        longest
    }

    /// Holds a start back, or has it wait whether it will be. False if it may go its way.
    pub(super) fn hold_back(&mut self, group: &Group, alert: &Alert<'_>, now_ms: i64) -> bool {
        let Some(wait_ms) = self.routing.inhibits_of(&group.rule).map(|inhibit| inhibit.wait_ms).max() else {
            return false;
        };
        let mut new = AlertGroup::default();
        new.add(alert);
        let key = short(&alert.key);
        let about = About { rule: &alert.rule, key: &key, attributes: &new.attributes };
        let by = self.held_until(about, alert.test, now_ms);
        // A wait counts from the event, not from when the alert was read: a backlog does not wait again.
        let until = alert.received_at.0.min(now_ms).saturating_add(wait_ms);
        let waits = until > now_ms && alert.transition == Transition::Fired;
        let place = (group.clone(), key);
        let known = self.inhibition.held.contains_key(&place);
        if by.is_none() && !waits && !known {
            return false;
        }
        if alert.transition != Transition::Fired {
            let Some((_, why)) = by else { return false };
            self.silenced.entry((group.clone(), why)).or_default().add(alert);
            return true;
        }
        // Were it recorded as silenced, it would never be told, however long it fires.
        if self.inhibition.held.len() >= MAX_HELD && !known {
            return false;
        }
        let free_at = by.as_ref().map_or(until, |(free_at, _)| (*free_at).max(until));
        let why = by.map(|(_, why)| why).unwrap_or_default();
        let id = bundle_id(&group.destination, &group.rule, &group.about, group.test, &alert.alert_id);
        let held = self.inhibition.held.entry(place).or_insert_with(|| HeldStart {
            bundle_id: id,
            until,
            why: String::new(),
            alerts: AlertGroup::default(),
            mark: None,
        });
        held.why.clone_from(&why);
        held.alerts.merge(new.clone());
        let (id, until) = (held.bundle_id.clone(), held.until);
        self.inhibition.check_at = self.inhibition.check_at.min(free_at);
        let mut record = self.kept(group, id, Kept::Back, &new, (until, now_ms));
        record.error = why.into();
        self.inhibition.news.push(record);
        true
    }

    /// Takes the end of what may be held back. Whether that is all there is to it: nothing was told before.
    pub(super) fn end_held(&mut self, rule: &Rule, group: &Group, alert: &Alert<'_>, now_ms: i64) -> bool {
        let place = (group.clone(), short(&alert.key));
        let Some(held) = self.inhibition.held.get(&place) else { return false };
        let about = About { rule: &rule.name, key: &place.1, attributes: &held.alerts.attributes };
        let by = self.held_until(about, group.test, now_ms).map(|(_, why)| why);
        let Some(why) = by.or_else(|| self.silenced_now(&place, held, now_ms)) else {
            self.free(&place, now_ms);
            return false;
        };
        let Some(mut held) = self.inhibition.held.remove(&place) else { return false };
        let told = self.groups.get(group).is_some_and(|state| state.fires(&place.1));
        let ends_here = !told && rule.sending.say_when_over;
        if ends_here {
            held.alerts.add(alert);
            self.untold.forget(group, [&place.1]);
        }
        let record =
            self.silenced_record(group, held.bundle_id, held.alerts, format!("{why}; this was over before"), now_ms);
        self.inhibition.news.push(record);
        ends_here
    }

    /// What is to be written of it. What nothing holds back any more waits for its turn from now on.
    pub(super) fn inhibitions(&mut self, now_ms: i64) -> Vec<Delivery<'static>> {
        let routing = &self.routing;
        self.inhibition.firing.retain(|(rule, ..), firing| {
            let after = routing.after(rule);
            let over = firing.ended_at.is_some_and(|at| at.saturating_add(after.unwrap_or(0)) <= now_ms);
            after.is_some() && !over && firing.since.saturating_add(LONGEST_MS) > now_ms
        });
        if self.inhibition.is_due(now_ms) {
            let mut free = Vec::new();
            let mut rewritten = Vec::new();
            let mut check_at = i64::MAX;
            for (place, held) in &self.inhibition.held {
                let (group, key) = place;
                let about = About { rule: &group.rule, key, attributes: &held.alerts.attributes };
                let by = self.held_until(about, group.test, now_ms);
                let free_at = by.as_ref().map_or(held.until, |(free_at, _)| (*free_at).max(held.until));
                let why = by.map(|(_, why)| why).unwrap_or_default();
                match free_at <= now_ms && free.len() < MAX_FREED {
                    true => free.push(place.clone()),
                    false => {
                        check_at = check_at.min(free_at);
                        // It fired after the start, or something else holds it back now.
                        rewritten.extend((held.why != why).then(|| (place.clone(), why)));
                    }
                }
            }
            self.inhibition.check_at = check_at;
            for (place, why) in rewritten {
                let Some(held) = self.inhibition.held.get_mut(&place) else { continue };
                held.why.clone_from(&why);
                let (id, until) = (held.bundle_id.clone(), held.until);
                let mut record = self.kept(&place.0, id, Kept::Back, &named(&place.1), (until, now_ms));
                record.error = why.into();
                self.inhibition.news.push(record);
            }
            free.iter().for_each(|place| self.free(place, now_ms));
        }
        std::mem::take(&mut self.inhibition.news)
    }

    /// Why a start would be held back if it came now; none if it would not be, or if it only waited: then it goes by
    /// the time at which it came.
    fn silenced_now(&self, (group, key): &(Group, String), held: &HeldStart, now_ms: i64) -> Option<String> {
        let rule = self.routing.rule(&group.rule).filter(|_| !held.why.is_empty())?;
        let mut attributes = Map::default();
        held.alerts.attributes.iter().for_each(|(name, value)| attributes.add(name.clone(), value.as_str()));
        let start = Alert {
            rule: group.rule.as_str().into(),
            key: key.as_str().into(),
            transition: Transition::Fired,
            received_at: Millis(now_ms),
            test: group.test,
            attributes,
            ..Alert::default()
        };
        self.held_back(rule, &start, now_ms)
    }

    /// Has a start that was held back wait for its turn, unless a person holds it back now.
    fn free(&mut self, place: &(Group, String), now_ms: i64) {
        let Some(held) = self.inhibition.held.remove(place) else { return };
        let group = &place.0;
        self.look_up(group, now_ms);
        if let Some(why) = self.silenced_now(place, &held, now_ms) {
            self.note_untold(group, &place.1, &why, now_ms);
            let record = self.silenced_record(group, held.bundle_id, held.alerts, why, now_ms);
            self.inhibition.news.push(record);
            return;
        }
        let record = self.kept(group, held.bundle_id.clone(), Kept::Freed, &named(&place.1), (now_ms, now_ms));
        self.inhibition.news.push(record);
        let received_at = held.alerts.first_received_at;
        self.waiting(group.clone(), held.bundle_id, received_at, now_ms).merge(held.alerts);
    }

    /// A record of what is held: `not_before` and now.
    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    fn kept(
        &self,
        group: &Group,
        id: String,
        kept: Kept,
        alerts: &AlertGroup,
        (not_before, now_ms): (i64, i64),
    ) -> Delivery<'static> {
        let mut record = self.record(group, id, DeliveryStage::Held, now_ms);
        let hold = HeldGroup { follows: false, deferred: false, kept: Some(kept), gathered: alerts.clone() };
        record.not_before = Millis(not_before);
        record.first_received_at = alerts.received();
        // What fires is told by its own rule.
        if kept == Kept::Back {
            record.alert_ids = alerts.alert_ids.iter().cloned().map(Into::into).collect();
        }
        record.body = serde_json::to_string(&hold).expect("a hold is made of texts and numbers").into();
        record
    }

    /// Takes a committed record of what is held.
    pub(super) fn restore_kept(
        &mut self,
        group: Group,
        record: &Delivery<'_>,
        (kept, alerts): (Kept, AlertGroup),
        offset: i64,
    ) {
        self.inhibition.look_again();
        let key = alerts.firing.keys().next().cloned();
        match kept {
            Kept::Fires => {
                let over = alerts.over > 0;
                let fired = (group.rule, group.about, group.test);
                let at = record.not_before.0;
                match self.inhibition.firing.get_mut(&fired) {
                    Some(known) if over => known.ended_at = Some(at),
                    _ if over => {}
                    _ => {
                        let attributes = alerts.attributes;
                        let firing = Firing { attributes, since: at, ended_at: None, mark: Some(offset) };
                        self.inhibition.firing.insert(fired, firing);
                    }
                }
            }
            Kept::Back => {
                let Some(key) = key else { return };
                let held = self.inhibition.held.entry((group, key)).or_insert_with(|| HeldStart {
                    bundle_id: record.bundle_id.clone().into_owned(),
                    until: record.not_before.0,
                    why: String::new(),
                    alerts: AlertGroup::default(),
                    mark: Some(offset),
                });
                held.why = record.error.clone().into_owned();
                held.alerts.merge(alerts);
            }
            Kept::Freed => drop(key.and_then(|key| self.inhibition.held.remove(&(group, key)))),
        }
    }
}

/// Which key a record is about that says nothing new of its alerts.
fn named(key: &str) -> AlertGroup {
    AlertGroup { firing: BTreeMap::from([(key.to_owned(), true)]), ..AlertGroup::default() }
}
