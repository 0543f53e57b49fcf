//! What a destination did not take when it was due, as one message.

use std::collections::BTreeMap;

use event::{Delivery, DeliveryStage};

use super::gate::span;
use super::{Gate, Group, Planner, State, Waiting};
use crate::group::AlertGroup;
use crate::message::{Digested, Message, MessageContext, bundle_id, compose_digest, digest_line};

/// Messages that one digest stands for; more of them are several digests, as many as the budget has room for.
const MOST: usize = 500;
/// What a digest is about, in its record: no owner and no key reads like that.
const ABOUT: &str = "(digest)";

impl Planner {
    /// The digests that may go now: of each destination at which something waited, where two or more messages wait. A
    /// ticket or an incident is about one key: those go one by one.
    pub(super) fn digests(&mut self, now_ms: i64) -> Vec<Delivery<'static>> {
        let mut by_destination: BTreeMap<String, (bool, Vec<Group>)> = BTreeMap::new();
        for (group, state) in &self.groups {
            let Some(waiting) = &state.waiting else { continue };
            let known = self.routing.sends(&group.rule, &group.destination, group.test);
            let is_ticket = self.routing.destination(&group.destination).is_some_and(|one| one.keyed);
            let joins = waiting.due <= now_ms && known && !group.test && !is_ticket && !state.ends_something(waiting);
            if joins && self.gate(group, state, waiting, now_ms) == Gate::Open {
                let (deferred, members) = by_destination.entry(group.destination.clone()).or_default();
                *deferred |= waiting.deferred;
                members.push(group.clone());
            }
        }
        by_destination.retain(|_, (deferred, members)| *deferred && members.len() > 1);
        let mut digests = Vec::new();
        for (destination, (_, members)) in by_destination {
            let why = self.why_digest(&destination, now_ms);
            let budget = self.routing.destination(&destination).and_then(|one| one.max);
            // Alike in size, so that none stands for a single message.
            let each = members.len().div_ceil(members.len().div_ceil(MOST));
            for members in members.chunks(each) {
                // Without room in the budget, the rest finds the gate shut, and waits.
                if budget.is_none_or(|budget| self.spending.free_at(&destination, budget, now_ms) <= now_ms) {
                    digests.extend(self.digest(&destination, members, &why, now_ms));
                }
            }
        }
        digests
    }

    fn digest(&mut self, destination: &str, members: &[Group], why: &str, now_ms: i64) -> Option<Delivery<'static>> {
        let mut all = AlertGroup::default();
        let mut lines = Vec::new();
        for group in members {
            let Some(waiting) = self.groups.get_mut(group).and_then(|state| state.waiting.take()) else { continue };
            let Waiting { bundle_id, mut held, new, follows, .. } = waiting;
            held.merge(new);
            let rule = self.routing.rule(&group.rule)?;
            let template = self.routing.template(&group.rule, destination);
            let context = MessageContext {
                bundle_id: &bundle_id,
                rule,
                destination: self.routing.destination(destination),
                mention: "",
                test: false,
                follows,
                template: template.as_ref(),
            };
            lines.push(digest_line(&context, &group.about, &held));
            match all.alerts {
                0 => all = held,
                _ => all.merge(held),
            }
            let quiet_until = now_ms + self.then_every(group);
            if let Some(state) = self.groups.get_mut(group) {
                state.quiet_until = quiet_until;
                // What is open was opened by an earlier record.
                state.mark = state.mark.filter(|_| state.open.is_some());
            }
            self.unmarked.insert(group.clone());
            self.untold.forget_all(group);
        }
        // Most first: by what they count, then by name, so that the same alerts give the same digest.
        lines.sort_by(|left, right| {
            let by_count = right.count.cmp(&left.count);
            by_count.then_with(|| left.digested.bundle_id.cmp(&right.digested.bundle_id))
        });
        let speaker = lines.first()?.digested.rule.clone();
        let group = Group { rule: speaker, destination: destination.to_owned(), about: ABOUT.to_owned(), test: false };
        let first = all.alert_ids.first().map(String::as_str).unwrap_or_default();
        let id = bundle_id(destination, &group.rule, ABOUT, false, first);
        let mut record = self.record(&group, id, DeliveryStage::Planned, now_ms);
        let rule = self.routing.rule(&group.rule)?;
        let context = MessageContext {
            bundle_id: &record.bundle_id,
            rule,
            destination: self.routing.destination(destination),
            mention: "",
            test: false,
            follows: false,
            template: None,
        };
        let mut message: Message = compose_digest(&context, &all, lines, why);
        if let Some(notice) = self.spend(&group, now_ms) {
            message.text.push_str(&notice);
        }
        record.body = message.frozen().into();
        record.first_received_at = all.received();
        record.alert_ids = all.alert_ids.into_iter().map(Into::into).collect();
        Some(record)
    }

    /// Why messages come as one, for those who read it.
    fn why_digest(&self, destination: &str, now_ms: i64) -> String {
        let Some(place) = self.routing.destination(destination) else { return String::new() };
        match (place.max, &place.open) {
            (Some(budget), _) if self.spending.count(destination, budget, now_ms) > 0 => {
                let (count, per) = (budget.count, span(budget.per_ms));
                match self.spending.most(destination, budget, now_ms) {
                    Some((rule, times)) => format!(
                        "{destination} takes {count} messages in {per}; {rule} has spent most of them ({times})."
                    ),
                    None => format!("{destination} takes {count} messages in {per}."),
                }
            }
            (_, Some(_)) => format!("It came while {destination} was closed."),
            _ => format!("It came while {destination} was paused, or had had enough."),
        }
    }

    /// Takes a digest that was planned: what it stands for does not wait any more.
    pub(super) fn restore_digest(&mut self, destination: &str, digest: &[Digested], at: i64, offset: i64) {
        for one in digest {
            let group = Group {
                rule: one.rule.clone(),
                destination: destination.to_owned(),
                about: one.group.clone(),
                test: false,
            };
            let quiet_until = at + self.then_every(&group);
            self.untold.forget_all(&group);
            let state: &mut State = self.groups.entry(group).or_default();
            state.waiting = state.waiting.take().filter(|waiting| waiting.bundle_id != one.bundle_id);
            state.quiet_until = quiet_until;
            state.mark = state.mark.filter(|_| state.open.is_some()).or(Some(offset));
        }
    }
}
