//! Which alerts become which message, and when.

use std::collections::{BTreeMap, BTreeSet};

use event::{Alert, Delivery, DeliveryStage, Millis, Transition, keyed_hash_hex};
use serde::{Deserialize, Serialize};

use crate::group::AlertGroup;
use crate::group::{MAX_KEYS, link};
use crate::message::{Message, MessageContext, Thread, bundle_id, compose};
use crate::routing::{CAPTURE, Routing};

/// What belongs into one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    rule: String,
    destination: String,
    /// The key, where each has a message of its own; else the owner of the links, where the rule mentions them.
    about: String,
    test: bool,
}

/// What is open at a destination for so long after its last message is forgotten, in milliseconds.
const OPEN_MS: i64 = 7 * 86_400_000;

/// What a group has opened at its destination.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    /// The bundle that opened it.
    first: String,
    /// The last bundle that was planned for it.
    last: String,
    title: String,
    /// Events so far.
    count: u64,
    /// By what the receiver knows it; empty until it has said so.
    receipt: String,
    /// The keys whose condition holds.
    firing: BTreeSet<String>,
    /// It is forgotten then.
    until: i64,
}

impl Open {
    fn of(thread: Thread, bundle_id: &str, at: i64) -> Self {
        let Thread { first, title, count, receipt, firing, .. } = thread;
        let firing = firing.into_iter().collect();
        Self { first, last: bundle_id.to_owned(), title, count, receipt, firing, until: at + OPEN_MS }
    }
}

/// Where a group stands.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    waiting: Option<Waiting>,
    /// Until then, the next message of the group waits; 0 if there was none.
    quiet_until: i64,
    /// What is open at the destination.
    open: Option<Open>,
    /// The offset on `deliveries` from which its records are needed to know it; none before they are written.
    mark: Option<i64>,
}

/// A bundle that is not planned yet.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    bundle_id: String,
    /// Written as held.
    held: AlertGroup,
    /// Not written yet.
    new: AlertGroup,
    due: i64,
    follows: bool,
}

/// The body of a held record.
#[derive(Serialize, Deserialize)]
struct HeldGroup {
    follows: bool,
    gathered: AlertGroup,
}

/// A held record is not what this version writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the alerts held for bundle {bundle_id} cannot be read: {reason}; start the version that wrote them, or a newer one"
)]
pub struct UnreadableHold {
    bundle_id: String,
    reason: String,
}

/// Gathers alerts into bundles.
pub struct Planner {
    routing: Routing,
    groups: BTreeMap<Group, State>,
    /// By group and silence: alerts that nobody gets, not written yet.
    silenced: BTreeMap<(Group, String), AlertGroup>,
    /// Groups whose state rests on records that are being written.
    unmarked: BTreeSet<Group>,
}

impl Planner {
    /// A planner that knows of no alert yet.
    pub fn new(routing: Routing) -> Self {
        Self { routing, groups: BTreeMap::new(), silenced: BTreeMap::new(), unmarked: BTreeSet::new() }
    }

    /// Takes the next alert. `now_ms` is the time at which it is taken, in milliseconds since 1970.
    pub fn take(&mut self, alert: &Alert<'_>, now_ms: i64) {
        let Some(rule) = self.routing.rule(&alert.rule) else { return };
        if alert.transition == Transition::Resolved && !rule.sending.say_when_over {
            return;
        }
        // What went out before the silence has to end: a silence holds starts back only.
        let silence = self.routing.silence(alert).filter(|_| alert.transition != Transition::Resolved);
        let silence = silence.map(|silence| format!("silence {}: {}", silence.name, silence.why));
        let capture = [CAPTURE.to_owned()];
        for destination in if alert.test { &capture[..] } else { &rule.sending.to } {
            let about = match (self.routing.keyed(rule, destination), rule.sending.mention_link_owner) {
                (true, _) => key(rule.sending.one_open_per.as_deref(), alert),
                (false, true) => alert.attributes.get("owner").to_owned(),
                (false, false) => String::new(),
            };
            let group = Group { rule: rule.name.clone(), destination: destination.clone(), about, test: alert.test };
            if let Some(silence) = &silence {
                self.silenced.entry((group, silence.clone())).or_default().add(alert);
                continue;
            }
            let bundle_id = bundle_id(destination, &rule.name, &group.about, alert.test, &alert.alert_id);
            let state = self.groups.entry(group).or_default();
            let follows = state.quiet_until > now_ms;
            let waiting = state.waiting.get_or_insert_with(|| Waiting {
                bundle_id,
                held: AlertGroup::default(),
                new: AlertGroup::default(),
                // A wait counts from the event, not from when the alert was read: a backlog does not wait again.
                due: if follows { state.quiet_until } else { alert.received_at.0.min(now_ms) + rule.sending.first_ms },
                follows,
            });
            waiting.new.add(alert);
        }
    }

    /// Whether something is to be sent now.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.groups.values().filter_map(|state| state.waiting.as_ref()).any(|waiting| waiting.due <= now_ms)
    }

    /// Whether alerts were taken that no record says yet.
    pub fn has_news(&self) -> bool {
        let news = |state: &State| state.waiting.as_ref().is_some_and(|waiting| waiting.new.alerts > 0);
        !self.silenced.is_empty() || self.groups.values().any(news)
    }

    /// The records to write together with the position up to which alerts were taken: bundles that are due are planned, and
    /// for the capture sink delivered; what came and waits is held; what nobody gets is recorded as silenced.
    pub fn settle(&mut self, now_ms: i64) -> Vec<Delivery<'static>> {
        let mut records = Vec::new();
        for ((group, silence), gathered) in std::mem::take(&mut self.silenced) {
            let first = gathered.alert_ids.first().map(String::as_str).unwrap_or_default();
            let id = bundle_id(&group.destination, &group.rule, &group.about, group.test, first);
            let mut record = self.record(&group, id, DeliveryStage::Silenced, now_ms);
            record.error = silence.into();
            record.first_received_at = gathered.received();
            record.alert_ids = gathered.alert_ids.into_iter().map(Into::into).collect();
            records.push(record);
        }
        let mut groups = std::mem::take(&mut self.groups);
        groups.retain(|group, state| {
            let known = self.routing.sends(&group.rule, &group.destination, group.test);
            match state.waiting.take() {
                Some(waiting) if !known => {
                    let mut record = self.record(group, waiting.bundle_id, DeliveryStage::Failed, now_ms);
                    record.first_received_at = waiting.held.received();
                    record.error = "the configuration no longer sends this rule's alerts there".into();
                    records.push(record);
                    false
                }
                Some(waiting) if waiting.due <= now_ms => {
                    let planned = self.plan(group, state, waiting, now_ms);
                    let captured = (group.destination == CAPTURE).then(|| captured(&planned));
                    records.push(planned);
                    records.extend(captured);
                    state.quiet_until = now_ms + self.then_every(group);
                    self.unmarked.insert(group.clone());
                    true
                }
                Some(mut waiting) => {
                    if waiting.new.alerts > 0 {
                        if waiting.held.alerts == 0 {
                            self.unmarked.insert(group.clone());
                        }
                        let new = std::mem::take(&mut waiting.new);
                        records.push(self.hold(group, &waiting, &new, now_ms));
                        waiting.held.merge(new);
                    }
                    state.waiting = Some(waiting);
                    true
                }
                None => known && (state.quiet_until > now_ms || self.stays_open(group, state, now_ms)),
            }
        });
        self.groups = groups;
        records
    }

    /// The records of the last [`Planner::settle`] are committed, none of them before `offset` of `deliveries`.
    pub fn committed(&mut self, offset: i64) {
        for group in std::mem::take(&mut self.unmarked) {
            if let Some(state) = self.groups.get_mut(&group) {
                state.mark = Some(offset);
            }
        }
    }

    /// The offset of `deliveries` from which [`Planner::restore`] has to read; none if there is nothing to know.
    pub fn mark(&self) -> Option<i64> {
        self.groups.values().filter_map(|state| state.mark).min()
    }

    /// Takes a committed record of `deliveries`, in order of offsets.
    ///
    /// # Errors
    /// When a held record is not what this version writes.
    pub fn restore(&mut self, record: &Delivery<'_>, offset: i64) -> Result<(), UnreadableHold> {
        let group = Group {
            rule: record.rule.clone().into_owned(),
            destination: record.destination.clone().into_owned(),
            about: record.group.clone().into_owned(),
            test: record.test,
        };
        match record.stage {
            DeliveryStage::Held => {
                let hold: HeldGroup = serde_json::from_str(&record.body).map_err(|error| UnreadableHold {
                    bundle_id: record.bundle_id.clone().into_owned(),
                    reason: error.to_string(),
                })?;
                let mut gathered = hold.gathered;
                gathered.alert_ids = record.alert_ids.iter().map(|id| id.clone().into_owned()).collect();
                let state = self.groups.entry(group).or_default();
                let waiting = match &mut state.waiting {
                    Some(waiting) if waiting.bundle_id == record.bundle_id => waiting,
                    waiting => {
                        state.mark = Some(offset);
                        waiting.insert(Waiting {
                            bundle_id: record.bundle_id.clone().into_owned(),
                            held: AlertGroup::default(),
                            new: AlertGroup::default(),
                            due: record.not_before.0,
                            follows: hold.follows,
                        })
                    }
                };
                waiting.held.merge(gathered);
            }
            DeliveryStage::Planned => {
                let quiet_until = record.at.0 + self.then_every(&group);
                let thread = Message::thawed(&record.body).ok().and_then(|message| message.thread);
                let open = thread.filter(|thread| !thread.ends);
                let open = open.map(|thread| Open::of(thread, &record.bundle_id, record.at.0));
                self.groups.insert(group, State { waiting: None, quiet_until, open, mark: Some(offset) });
            }
            DeliveryStage::Failed => {
                let of_it = |waiting: &Waiting| waiting.bundle_id == record.bundle_id;
                if self.groups.get(&group).is_some_and(|state| state.waiting.as_ref().is_some_and(of_it)) {
                    self.groups.remove(&group);
                }
            }
            DeliveryStage::Delivered => self.delivered(record),
            DeliveryStage::Attempted | DeliveryStage::Silenced => {}
        }
        Ok(())
    }

    /// Takes a committed record that says by what a receiver knows a message.
    pub fn delivered(&mut self, record: &Delivery<'_>) {
        if record.stage != DeliveryStage::Delivered || record.body.is_empty() {
            return;
        }
        let group = Group {
            rule: record.rule.clone().into_owned(),
            destination: record.destination.clone().into_owned(),
            about: record.group.clone().into_owned(),
            test: record.test,
        };
        if let Some(open) = self.groups.get_mut(&group).and_then(|state| state.open.as_mut())
            && (open.first == record.bundle_id || open.last == record.bundle_id)
        {
            open.receipt = record.body.clone().into_owned();
        }
    }

    /// Whether what a group has opened is still to be known when nothing is said about it for a while.
    fn stays_open(&self, group: &Group, state: &State, now_ms: i64) -> bool {
        let keyed = self.routing.rule(&group.rule).is_some_and(|rule| self.routing.keyed(rule, &group.destination));
        state.open.as_ref().is_some_and(|open| open.until > now_ms && (keyed || !open.firing.is_empty()))
    }

    /// What a message does to what its group has opened.
    fn thread(&self, group: &Group, state: &mut State, message: &Message, alerts: &AlertGroup, now_ms: i64) -> Thread {
        let keyed = self.routing.rule(&group.rule).is_some_and(|rule| self.routing.keyed(rule, &group.destination));
        let test = if group.test { "test" } else { "" };
        let key = match keyed {
            // The same at every destination and for ever, so that an end finds its start.
            true => keyed_hash_hex(&["thread.v1", &group.rule, &group.about, test]),
            false => keyed_hash_hex(&["thread.v1", &group.rule, &group.about, test, &group.destination]),
        };
        let known = match self.stays_open(group, state, now_ms) || state.quiet_until > now_ms {
            true => state.open.take(),
            false => None,
        };
        let unknown = known.is_none();
        let mut open = known.unwrap_or_else(|| Open {
            first: message.id.clone(),
            last: message.id.clone(),
            title: message.title.clone(),
            count: 0,
            receipt: String::new(),
            firing: BTreeSet::new(),
            until: now_ms,
        });
        open.count += message.count;
        for (key, firing) in &alerts.firing {
            match firing {
                true if open.firing.len() < MAX_KEYS => drop(open.firing.insert(key.clone())),
                true => {}
                false => drop(open.firing.remove(key)),
            }
        }
        let ends = open.firing.is_empty() && alerts.firing.values().any(|firing| !firing);
        // An end of what nothing is known about opens nothing.
        let opens = unknown && alerts.over < alerts.alerts;
        let thread = Thread {
            key,
            opens,
            ends,
            first: open.first,
            title: open.title,
            count: open.count,
            receipt: open.receipt,
            firing: open.firing.into_iter().collect(),
        };
        state.open = (!ends).then(|| Open::of(thread.clone(), &message.id, now_ms));
        thread
    }

    fn then_every(&self, group: &Group) -> i64 {
        self.routing.rule(&group.rule).map_or(0, |rule| rule.sending.then_every_ms)
    }

    fn record(&self, group: &Group, bundle_id: String, stage: DeliveryStage, now_ms: i64) -> Delivery<'static> {
        // The capture sink has no owner of its own.
        let owner = self
            .routing
            .destination(&group.destination)
            .map(|destination| &destination.owner)
            .or_else(|| self.routing.rule(&group.rule).map(|rule| &rule.owner));
        Delivery {
            bundle_id: bundle_id.into(),
            destination: group.destination.clone().into(),
            owner: owner.cloned().unwrap_or_default().into(),
            rule: group.rule.clone().into(),
            group: group.about.clone().into(),
            stage,
            at: Millis(now_ms),
            not_before: Millis(now_ms),
            test: group.test,
            ..Delivery::default()
        }
    }

    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    fn hold(&self, group: &Group, waiting: &Waiting, new: &AlertGroup, now_ms: i64) -> Delivery<'static> {
        let mut record = self.record(group, waiting.bundle_id.clone(), DeliveryStage::Held, now_ms);
        let hold = HeldGroup { follows: waiting.follows, gathered: new.clone() };
        record.not_before = Millis(waiting.due);
        record.first_received_at = new.received();
        record.alert_ids = new.alert_ids.iter().cloned().map(Into::into).collect();
        record.body = serde_json::to_string(&hold).expect("a hold is made of texts and numbers").into();
        record
    }

    fn plan(&self, group: &Group, state: &mut State, waiting: Waiting, now_ms: i64) -> Delivery<'static> {
        let Waiting { bundle_id, held: mut gathered, new, follows, .. } = waiting;
        gathered.merge(new);
        let mut record = self.record(group, bundle_id, DeliveryStage::Planned, now_ms);
        if let Some(rule) = self.routing.rule(&group.rule) {
            let mention = match (rule.sending.mention_link_owner, self.routing.keyed(rule, &group.destination)) {
                (true, true) => gathered.attributes.get("owner").map_or("", String::as_str),
                (true, false) => &group.about,
                (false, _) => "",
            };
            let context = MessageContext {
                bundle_id: &record.bundle_id,
                rule,
                destination: self.routing.destination(&group.destination),
                mention,
                test: group.test,
                follows,
            };
            let mut message = compose(&context, &gathered);
            message.thread = Some(self.thread(group, state, &message, &gathered, now_ms));
            record.body = message.frozen().into();
        }
        record.first_received_at = gathered.received();
        record.alert_ids = gathered.alert_ids.into_iter().map(Into::into).collect();
        record
    }
}

/// The key that an alert's message is open for.
fn key(one_open_per: Option<&str>, alert: &Alert<'_>) -> String {
    if alert.transition != Transition::Each {
        return alert.key.clone().into_owned();
    }
    let attribute = |name: &str| alert.attributes.get(name).to_owned();
    match one_open_per {
        Some("all") => "all".to_owned(),
        Some("qr") => attribute("qr_id"),
        Some(per) if per != "link" => attribute(per),
        _ => link(alert).unwrap_or_else(|| alert.key.clone().into_owned()),
    }
}

fn captured(planned: &Delivery<'static>) -> Delivery<'static> {
    let (body, alert_ids) = Default::default();
    Delivery { stage: DeliveryStage::Delivered, attempt: 1, body, alert_ids, ..planned.clone() }
}
