//! What a planner knows again after a restart: from the records of `deliveries` that it committed.

use event::{Delivery, DeliveryStage};

use super::thread::OpenThread;
use super::{Group, HeldGroup, Planner, State, UnreadableRecord, Waiting};
use crate::group::AlertGroup;
use crate::message::{Message, MessageKind};

impl Planner {
    /// The records of the last [`Planner::settle`] are committed, none of them before `offset` of `deliveries`.
    pub fn committed(&mut self, offset: i64) {
        self.spending.committed(offset);
        self.mark_reports(offset);
        self.inhibition.committed(offset);
        self.untold.committed(offset);
        for group in std::mem::take(&mut self.unmarked) {
            if let Some(state) = self.groups.get_mut(&group) {
                // A hold adds to what earlier records say.
                state.mark.get_or_insert(offset);
            }
        }
    }

    /// The offset of `deliveries` from which [`Planner::restore`] has to read; none if there is nothing to know.
    pub fn mark(&self) -> Option<i64> {
        let groups = self.groups.values().filter_map(|state| state.mark);
        let others = [self.spending.mark(), self.reports_mark(), self.inhibition.mark(), self.untold.mark()];
        groups.chain(others.into_iter().flatten()).min()
    }

    /// Takes a committed record of `deliveries`, in order of offsets.
    ///
    /// # Errors
    /// When a held record is not what this version writes.
    pub fn restore(&mut self, record: &Delivery<'_>, offset: i64) -> Result<(), UnreadableRecord> {
        let group = Group::of(record);
        match record.stage {
            DeliveryStage::Held => {
                let hold: HeldGroup =
                    serde_json::from_str(&record.body).map_err(|error| UnreadableRecord::of(record, &error))?;
                let mut gathered = hold.gathered;
                gathered.alert_ids = record.alert_ids.iter().map(|id| id.clone().into_owned()).collect();
                if let Some(kept) = hold.kept {
                    self.restore_kept(group, record, (kept, gathered), offset);
                    return Ok(());
                }
                // An alert that follows was taken before the group was over.
                if !hold.follows {
                    self.look_up(&group, record.at.0);
                }
                let state = self.groups.entry(group).or_default();
                let waiting = match &mut state.waiting {
                    Some(waiting) if waiting.bundle_id == record.bundle_id => waiting,
                    waiting => {
                        state.mark.get_or_insert(offset);
                        waiting.insert(Waiting {
                            bundle_id: record.bundle_id.clone().into_owned(),
                            held: AlertGroup::default(),
                            new: AlertGroup::default(),
                            due: record.not_before.0,
                            follows: hold.follows,
                            deferred: false,
                        })
                    }
                };
                (waiting.deferred, waiting.due) = (hold.deferred, record.not_before.0);
                if gathered.alerts > 0 {
                    waiting.held.merge(gathered);
                }
            }
            DeliveryStage::Planned => {
                let message = Message::thawed(&record.body).ok();
                if let Some(message) = message.as_ref().filter(|message| message.kind == MessageKind::Report) {
                    self.restore_report(record, message, offset);
                    return Ok(());
                }
                // It counts against no budget.
                if message.as_ref().is_some_and(|message| message.kind == MessageKind::Acknowledged) {
                    self.restore_acknowledgement(&group);
                    return Ok(());
                }
                if self.budget(&group).is_some() {
                    self.spending.spend(&group.destination, &group.rule, record.at.0, Some(offset));
                }
                if let Some(message) = message.as_ref().filter(|message| !message.digest.is_empty()) {
                    self.restore_digest(&group.destination, &message.digest, record.at.0, offset);
                    return Ok(());
                }
                let quiet_until = record.at.0 + self.then_every(&group);
                let thread = message.and_then(|message| message.thread);
                self.untold.forget(&group, thread.iter().flat_map(|thread| &thread.firing));
                let open = thread.filter(|thread| !thread.ends);
                let open = open.map(|thread| OpenThread::of(thread, &record.bundle_id, record.at.0));
                self.groups.insert(group, State { waiting: None, quiet_until, open, mark: Some(offset) });
            }
            // What was held of it is dropped.
            DeliveryStage::Silenced => {
                self.inhibition.forget(&group, &record.bundle_id);
                self.untold.restore(record, offset)?;
                if let Some(state) = self.groups.get_mut(&group) {
                    state.waiting = state.waiting.take().filter(|waiting| waiting.bundle_id != record.bundle_id);
                }
            }
            DeliveryStage::Failed => {
                let of_it = |waiting: &Waiting| waiting.bundle_id == record.bundle_id;
                if self.groups.get(&group).is_some_and(|state| state.waiting.as_ref().is_some_and(of_it)) {
                    self.groups.remove(&group);
                }
            }
            DeliveryStage::Delivered => self.delivered(record),
            DeliveryStage::Attempted => {}
        }
        Ok(())
    }
}
