//! What is sent by the calendar: which period is owed where, and what was sent last.
//!
//! The last period of each is known from the record that planned it, as everything else: it is written with the
//! position of the lane in one fenced transaction, so a period is planned once, whichever instance owns the lane and
//! whatever its clock says. Periods only move on: a clock that jumps back plans nothing twice.

use std::collections::BTreeMap;

use event::{Delivery, DeliveryStage, Millis, keyed_hash_hex};

use super::Planner;
use crate::message::{Attachment, Message, MessageKind, Window, instant};
use crate::schedule::{Period, Scheduled};

/// What a record is about, in its group.
const ABOUT: &str = "(report)";

/// What was planned last, by name and destination.
#[derive(Debug, Default)]
pub(super) struct Sent {
    last: BTreeMap<(String, String), Last>,
    /// What is planned with the next records.
    planned: Vec<Delivery<'static>>,
}

#[derive(Debug)]
struct Last {
    through: String,
    /// The offset on `deliveries` of its record; none before it is written.
    mark: Option<i64>,
}

/// A period that is owed to destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What is to be sent.
    pub name: String,
    /// The destinations that take it now.
    pub to: Vec<String>,
    /// Which days.
    pub period: Period,
}

/// Whether a record plans a report, and no message about alerts.
pub fn is_report(record: &Delivery<'_>) -> bool {
    record.stage == DeliveryStage::Planned && record.group == ABOUT
}

/// What is said of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportText {
    /// One line.
    pub title: String,
    /// A few lines for people, without the title.
    pub text: String,
    /// Rows, or failures.
    pub count: u64,
    /// The same as a file, for destinations that take one.
    pub attachment: Option<Attachment>,
}

impl Planner {
    /// The periods whose time has come and that were not sent, at destinations that may be disturbed now.
    pub fn due_reports(&self, now_ms: i64) -> Vec<Due> {
        let mut owed = self.owed_reports(now_ms);
        owed.iter_mut().for_each(|due| due.to.retain(|to| self.is_open(to, now_ms)));
        owed.retain(|due| !due.to.is_empty());
        owed
    }

    /// The same with destinations that may not be disturbed now.
    pub fn owed_reports(&self, now_ms: i64) -> Vec<Due> {
        let due = |scheduled: &Scheduled| {
            let (name, period) = (&scheduled.name, scheduled.when.due(now_ms)?);
            let to = scheduled.to.iter().filter(|to| !self.is_planned(name, to, &period));
            let to: Vec<String> = to.cloned().collect();
            (!to.is_empty()).then(|| Due { name: name.clone(), to, period })
        };
        self.routing.scheduled().iter().filter_map(due).collect()
    }

    /// Whether a period, or a later one, is planned for a destination.
    pub fn is_planned(&self, name: &str, to: &str, period: &Period) -> bool {
        let last = self.sent.last.get(&(name.to_owned(), to.to_owned()));
        last.is_some_and(|last| last.through >= period.through.to_string())
    }

    /// Whether that is sent there by the calendar.
    fn is_scheduled(&self, name: &str, to: &str) -> bool {
        let mut all = self.routing.scheduled().iter();
        all.any(|one| one.name == name && one.to.iter().any(|known| known == to))
    }

    /// Whether a destination is neither paused nor outside its hours.
    fn is_open(&self, destination: &str, now_ms: i64) -> bool {
        let hours = self.routing.destination(destination).and_then(|one| one.open.as_ref());
        !self.live.pauses(destination, now_ms) && hours.is_none_or(|open| open.hours.cover(now_ms))
    }

    /// Plans what is said of a period, for the destinations that still owe it: it goes with the next records.
    pub fn plan_report(&mut self, due: &Due, said: &ReportText, now_ms: i64) {
        let Some(scheduled) = self.routing.scheduled().iter().find(|one| one.name == due.name) else { return };
        let (owner, through) = (scheduled.owner.clone(), due.period.through.to_string());
        for destination in due.to.iter().filter(|to| scheduled.to.contains(to)) {
            let key = (due.name.clone(), destination.clone());
            if self.sent.last.get(&key).is_some_and(|last| last.through >= through) {
                continue;
            }
            let id = keyed_hash_hex(&["report.v1", destination, &due.name, &through]);
            let message = Message {
                id: id.clone(),
                kind: MessageKind::Report,
                rule: due.name.clone(),
                owner: owner.clone(),
                mention: None,
                instruction: None,
                title: said.title.clone(),
                text: format!("{}\n{}\nOwner: {owner}", said.title, said.text),
                count: said.count,
                alerts: 0,
                over: 0,
                links: Vec::new(),
                sample_event_keys: Vec::new(),
                attributes: BTreeMap::from([("through".to_owned(), through.clone())]),
                window: Window { start: format!("{}T00:00:00Z", due.period.from), end: instant(due.period.until_ms()) },
                alert_ids: Vec::new(),
                test: false,
                digest: Vec::new(),
                thread: None,
                attachment: said.attachment.clone(),
            };
            self.sent.planned.push(Delivery {
                bundle_id: id.into(),
                destination: destination.clone().into(),
                owner: owner.clone().into(),
                rule: due.name.clone().into(),
                group: ABOUT.into(),
                stage: DeliveryStage::Planned,
                at: Millis(now_ms),
                not_before: Millis(now_ms),
                first_received_at: Millis(due.period.due_ms),
                body: message.frozen().into(),
                ..Delivery::default()
            });
            self.sent.last.insert(key, Last { through: through.clone(), mark: None });
        }
    }

    /// Whether something is planned that no record says yet.
    pub(super) fn has_planned_reports(&self) -> bool {
        !self.sent.planned.is_empty()
    }

    pub(super) fn planned_reports(&mut self) -> Vec<Delivery<'static>> {
        std::mem::take(&mut self.sent.planned)
    }

    pub(super) fn mark_reports(&mut self, offset: i64) {
        self.sent.last.values_mut().filter(|last| last.mark.is_none()).for_each(|last| last.mark = Some(offset));
    }

    /// From where the records of what is still configured are needed.
    pub(super) fn reports_mark(&self) -> Option<i64> {
        let known = self.sent.last.iter().filter(|((name, to), _)| self.is_scheduled(name, to));
        known.filter_map(|(_, last)| last.mark).min()
    }

    /// Takes a report that was planned.
    pub(super) fn restore_report(&mut self, record: &Delivery<'_>, message: &Message, offset: i64) {
        let through = message.attributes.get("through").cloned().unwrap_or_default();
        let key = (record.rule.clone().into_owned(), record.destination.clone().into_owned());
        let last = self.sent.last.entry(key).or_insert(Last { through: String::new(), mark: None });
        if last.through < through {
            *last = Last { through, mark: Some(offset) };
        }
    }
}
