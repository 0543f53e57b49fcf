//! Which alerts become which message, and when.

mod acknowledge;
mod clock;
mod digest;
mod gate;
mod inhibit;
mod restore;
mod scheduled;
mod thread;
mod untold;

use std::collections::{BTreeMap, BTreeSet};

use event::{Alert, Delivery, DeliveryStage, Millis, Transition};
use serde::{Deserialize, Serialize};

use crate::calm::{Live, Spending, is_start};
use crate::group::{AlertGroup, link, short};
use crate::message::{MessageContext, MessageKind, bundle_id, compose};
use crate::routing::{CAPTURE, Routing};
pub use acknowledge::is_acknowledged;
use gate::Gate;
use inhibit::{Inhibition, Kept};
pub use inhibit::{is_inhibited, is_inhibitor};
use scheduled::Sent;
pub use scheduled::{Due, ReportText, is_report};
use thread::OpenThread;
use untold::Untold;

/// What belongs into one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    rule: String,
    destination: String,
    /// The key, where each has a message of its own; else the owner of the links, where the rule mentions them.
    about: String,
    test: bool,
}

impl Group {
    /// The group of a record of `deliveries`.
    fn of(record: &Delivery<'_>) -> Self {
        Self {
            rule: record.rule.clone().into_owned(),
            destination: record.destination.clone().into_owned(),
            about: record.group.clone().into_owned(),
            test: record.test,
        }
    }
}

/// Where a group stands.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    waiting: Option<Waiting>,
    /// Until then, the next message of the group waits; 0 if there was none.
    quiet_until: i64,
    /// What is open at the destination.
    open: Option<OpenThread>,
    /// The offset on `deliveries` of the oldest record that is needed to know it: what opened a thread is needed after
    /// later records, too. None before it is written.
    mark: Option<i64>,
}

impl State {
    /// Whether a key's start was told, or waits for its message.
    fn fires(&self, key: &str) -> bool {
        let waiting = self.waiting.iter().flat_map(|waiting| [&waiting.held, &waiting.new]);
        let waits = waiting.filter_map(|alerts| alerts.firing.get(key)).next_back().is_some_and(|firing| *firing);
        waits || self.open.as_ref().is_some_and(|open| open.firing.contains(key))
    }
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
    /// Whether its destination did not take it when it was due: it goes in a digest, if others wait as well.
    deferred: bool,
}

/// The body of a held record.
#[derive(Serialize, Deserialize)]
struct HeldGroup {
    follows: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deferred: bool,
    /// What else the record keeps than an alert that waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
    gathered: AlertGroup,
}

/// A held or silenced record is not what this version writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record of bundle {bundle_id} on deliveries cannot be read: {reason}; start the version that wrote them, or a newer one"
)]
pub struct UnreadableRecord {
    bundle_id: String,
    reason: String,
}

impl UnreadableRecord {
    fn of(record: &Delivery<'_>, error: &serde_json::Error) -> Self {
        Self { bundle_id: record.bundle_id.clone().into_owned(), reason: error.to_string() }
    }
}

/// Gathers alerts into bundles.
pub struct Planner {
    routing: Routing,
    groups: BTreeMap<Group, State>,
    /// By group and silence: alerts that nobody gets, not written yet.
    silenced: BTreeMap<(Group, String), AlertGroup>,
    /// Groups whose state rests on records that are being written.
    unmarked: BTreeSet<Group>,
    /// What destinations with a budget were sent lately.
    spending: Spending,
    /// What people hold back now.
    live: Live,
    /// What was sent by the calendar.
    sent: Sent,
    /// What fires and holds others back, and what it holds back.
    inhibition: Inhibition,
    /// Starts that were held back, whose ends are not told either.
    untold: Untold,
}

impl Planner {
    /// A planner that knows of no alert yet.
    pub fn new(routing: Routing) -> Self {
        Self {
            routing,
            groups: BTreeMap::new(),
            silenced: BTreeMap::new(),
            unmarked: BTreeSet::new(),
            spending: Spending::default(),
            live: Live::default(),
            sent: Sent::default(),
            inhibition: Inhibition::default(),
            untold: Untold::default(),
        }
    }

    /// What people hold back from now on.
    pub fn set_live(&mut self, live: Live) {
        self.live = live;
    }

    /// Goes by another configuration from now on. What waits for a destination that is no longer sent to is given up
    /// with the next records.
    pub fn reroute(&mut self, routing: Routing) {
        self.routing = routing;
        self.inhibition.look_again();
    }

    /// Whether the configuration has a rule of this name, be it one that sends nothing.
    pub fn knows(&self, rule: &str) -> bool {
        self.routing.knows(rule)
    }

    /// Takes the next alert; one of a rule that sends nothing goes nowhere. `now_ms` is the time
    /// at which it is taken, in milliseconds since 1970.
    pub fn take(&mut self, alert: &Alert<'_>, now_ms: i64) {
        let rule = self.routing.rule(&alert.rule).cloned();
        // What went out before the silence has to end: a silence holds starts back only.
        let silence = rule.as_ref().filter(|_| is_start(alert)).and_then(|rule| self.held_back(rule, alert, now_ms));
        // What is not told explains nothing: it holds no other start back.
        if silence.is_none() {
            self.note_inhibitor(alert, now_ms);
        }
        let Some(rule) = rule else { return };
        let capture = [CAPTURE.to_owned()];
        for destination in if alert.test { &capture[..] } else { &rule.sending.to } {
            let about = match (self.routing.keyed(&rule, destination), rule.sending.mention_link_owner) {
                (true, _) => key(rule.sending.one_open_per.as_deref(), alert),
                (false, true) => alert.attributes.get("owner").to_owned(),
                (false, false) => String::new(),
            };
            let group = Group { rule: rule.name.clone(), destination: destination.clone(), about, test: alert.test };
            self.look_up(&group, now_ms);
            if let Some(silence) = &silence {
                if alert.transition == Transition::Fired {
                    self.note_untold(&group, &short(&alert.key), silence, now_ms);
                }
                self.silenced.entry((group, silence.clone())).or_default().add(alert);
                continue;
            }
            let done = match is_start(alert) {
                true => self.hold_back(&group, alert, now_ms),
                false => {
                    self.end_held(&rule, &group, alert, now_ms)
                        || self.end_untold(&rule, &group, alert, now_ms)
                        || !rule.sending.say_when_over
                }
            };
            if !done {
                let bundle_id = bundle_id(destination, &rule.name, &group.about, alert.test, &alert.alert_id);
                self.waiting(group, bundle_id, alert.received_at.0, now_ms).add(alert);
            }
        }
    }

    /// What waits for the next message of a group and is not written yet; its bundle has this id if nothing waited.
    fn waiting(&mut self, group: Group, bundle_id: String, received_at: i64, now_ms: i64) -> &mut AlertGroup {
        let first_ms = self.routing.rule(&group.rule).map_or(0, |rule| rule.sending.first_ms);
        let state = self.groups.entry(group).or_default();
        let follows = state.quiet_until > now_ms;
        let waiting = state.waiting.get_or_insert_with(|| Waiting {
            bundle_id,
            held: AlertGroup::default(),
            new: AlertGroup::default(),
            // A wait counts from the event, not from when the alert was read: a backlog does not wait again.
            due: if follows { state.quiet_until } else { received_at.min(now_ms) + first_ms },
            follows,
            deferred: false,
        });
        &mut waiting.new
    }

    /// Whether something is to be sent now, or to be recorded as waiting for its destination.
    pub fn is_due(&self, now_ms: i64) -> bool {
        let waits = self.has_planned_reports() || self.inhibition.is_due(now_ms);
        let waits = waits
            || self.spending.is_ahead(now_ms)
            || self.groups.iter().any(|(group, state)| {
                self.is_ahead(group, state, now_ms)
                    || state.waiting.as_ref().is_some_and(|waiting| {
                        waiting.due <= now_ms
                            && match self.gate(group, state, waiting, now_ms) {
                                Gate::Open | Gate::Dropped(_) => true,
                                Gate::Shut => !waiting.deferred && !state.ends_something(waiting),
                            }
                    })
            });
        waits || self.has_acknowledgement(now_ms)
    }

    /// When the next message is due, whether or not its destination takes it then; none while nothing waits.
    pub fn next_due(&self) -> Option<i64> {
        let waiting = self.groups.values().filter_map(|state| state.waiting.as_ref()).map(|waiting| waiting.due);
        waiting.chain(self.inhibition.next_due()).min()
    }

    /// Whether alerts were taken that no record says yet.
    pub fn has_news(&self) -> bool {
        let news = |state: &State| state.waiting.as_ref().is_some_and(|waiting| waiting.new.alerts > 0);
        !self.silenced.is_empty() || self.inhibition.has_news() || self.groups.values().any(news)
    }

    /// The records to write together with the position up to which alerts were taken: bundles that are due are planned, and
    /// for the capture sink delivered; what came and waits is held; what nobody gets is recorded as silenced.
    pub fn settle(&mut self, now_ms: i64) -> Vec<Delivery<'static>> {
        let mut records = Vec::new();
        self.follow_clock(now_ms);
        for ((group, silence), gathered) in std::mem::take(&mut self.silenced) {
            let first = gathered.alert_ids.first().map(String::as_str).unwrap_or_default();
            let id = bundle_id(&group.destination, &group.rule, &group.about, group.test, first);
            records.push(self.silenced_record(&group, id, gathered, silence, now_ms));
        }
        records.extend(self.inhibitions(now_ms));
        records.extend(self.acknowledgements(now_ms));
        records.extend(self.planned_reports());
        records.extend(self.digests(now_ms));
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
                Some(waiting) if waiting.due <= now_ms && self.gate(group, state, &waiting, now_ms) == Gate::Shut => {
                    let deferred = !state.ends_something(&waiting);
                    if waiting.new.alerts > 0 || deferred != waiting.deferred {
                        let waiting = Waiting { deferred, ..waiting };
                        state.waiting = Some(self.hold_new(group, waiting, &mut records, now_ms));
                    } else {
                        state.waiting = Some(waiting);
                    }
                    true
                }
                Some(waiting)
                    if waiting.due <= now_ms
                        && let Gate::Dropped(why) = self.gate(group, state, &waiting, now_ms) =>
                {
                    records.push(self.dropped(group, state, waiting, why, now_ms));
                    known && self.is_known(group, state, now_ms)
                }
                Some(waiting) if waiting.due <= now_ms => {
                    let planned = self.plan(group, state, waiting, now_ms);
                    let captured = (group.destination == CAPTURE).then(|| captured(&planned));
                    records.push(planned);
                    records.extend(captured);
                    state.quiet_until = now_ms + self.then_every(group);
                    // The record says all that is known of the group.
                    state.mark = None;
                    self.unmarked.insert(group.clone());
                    true
                }
                Some(waiting) => {
                    let news = waiting.new.alerts > 0;
                    state.waiting =
                        Some(if news { self.hold_new(group, waiting, &mut records, now_ms) } else { waiting });
                    true
                }
                None => known && self.is_known(group, state, now_ms),
            }
        });
        self.groups = groups;
        let routing = &self.routing;
        self.untold.prune(now_ms, |group| routing.sends(&group.rule, &group.destination, group.test));
        self.untold.say(&mut records, now_ms);
        records
    }

    /// Writes down what came and waits.
    fn hold_new(
        &mut self,
        group: &Group,
        mut waiting: Waiting,
        records: &mut Vec<Delivery<'static>>,
        now_ms: i64,
    ) -> Waiting {
        if waiting.held.alerts == 0 {
            self.unmarked.insert(group.clone());
        }
        let new = std::mem::take(&mut waiting.new);
        records.push(self.hold(group, &waiting, &new, now_ms));
        if new.alerts > 0 {
            waiting.held.merge(new);
        }
        waiting
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
        let (follows, deferred) = (waiting.follows, waiting.deferred);
        let hold = HeldGroup { follows, deferred, kept: None, gathered: new.clone() };
        record.not_before = Millis(waiting.due);
        record.first_received_at = new.received();
        record.alert_ids = new.alert_ids.iter().cloned().map(Into::into).collect();
        record.body = serde_json::to_string(&hold).expect("a hold is made of texts and numbers").into();
        record
    }

    fn plan(&mut self, group: &Group, state: &mut State, waiting: Waiting, now_ms: i64) -> Delivery<'static> {
        let Waiting { bundle_id, held: mut gathered, new, follows, .. } = waiting;
        gathered.merge(new);
        let mut record = self.record(group, bundle_id, DeliveryStage::Planned, now_ms);
        if let Some(rule) = self.routing.rule(&group.rule) {
            let mention = match (rule.sending.mention_link_owner, self.routing.keyed(rule, &group.destination)) {
                (true, true) => gathered.attributes.get("owner").map_or("", String::as_str),
                (true, false) => &group.about,
                (false, _) => "",
            };
            let template = self.routing.template(&group.rule, &group.destination);
            let context = MessageContext {
                bundle_id: &record.bundle_id,
                rule,
                destination: self.routing.destination(&group.destination),
                mention,
                test: group.test,
                follows,
                template: template.as_ref(),
            };
            let mut message = compose(&context, &gathered);
            let thread = self.thread(group, state, (&message, follows), &gathered, now_ms);
            self.untold.forget(group, &thread.firing);
            message.thread = Some(thread);
            let own_text = template.as_ref().is_some_and(|template| template.text.is_some());
            let in_all = message.thread.as_ref().map_or(0, |thread| thread.count);
            if message.kind == MessageKind::Summary && in_all > message.count && !own_text {
                message.text.push_str(&format!("\nIn all: {in_all} events since the first message."));
            }
            if let Some(notice) = self.spend(group, now_ms) {
                message.text.push_str(&notice);
            }
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
