//! A lane that does what the notifier's lane does, and its topic.

use event::{Alert, Delivery, DeliveryStage};
use hookline_notification::{Live, Message, Planner, Routing};

pub(crate) struct Lane {
    pub(crate) planner: Planner,
    /// Its records of `deliveries`.
    pub(crate) deliveries: Vec<Delivery<'static>>,
    /// From which of them on it is read back.
    needed: usize,
    live: Live,
    routing: Routing,
}

impl Lane {
    pub(crate) fn new(routing: Routing) -> Self {
        let planner = Planner::new(routing.clone());
        Self { planner, deliveries: Vec::new(), needed: 0, live: Live::default(), routing }
    }

    /// Knows no more than what it has written.
    pub(crate) fn crash(&mut self) {
        let mut planner = Planner::new(self.routing.clone());
        planner.set_live(self.live.clone());
        for (offset, record) in self.deliveries.iter().enumerate().skip(self.needed) {
            planner.restore(record, offset as i64).unwrap();
        }
        self.planner = planner;
    }

    pub(crate) fn commit(&mut self, now: i64) -> Vec<Delivery<'static>> {
        let end = self.deliveries.len();
        let records = self.planner.settle(now);
        self.needed = self.planner.mark().map_or(end, |mark| mark.min(end as i64) as usize);
        self.deliveries.extend(records.iter().cloned());
        self.planner.committed(end as i64);
        records
    }

    /// What people hold back from now on.
    pub(crate) fn live(&mut self, live: Live) {
        self.live = live.clone();
        self.planner.set_live(live);
    }

    /// Takes an alert, and returns what is written then.
    pub(crate) fn take(&mut self, alert: &Alert<'_>) -> Vec<Delivery<'static>> {
        self.planner.take(alert, alert.received_at.0);
        self.commit(alert.received_at.0)
    }

    /// Takes an alert, and returns what is planned for a destination.
    pub(crate) fn say(&mut self, alert: &Alert<'_>, to: &str) -> Vec<Message> {
        planned(&self.take(alert), to)
    }
}

/// The messages to a destination among records.
pub(crate) fn planned(records: &[Delivery<'_>], to: &str) -> Vec<Message> {
    let own = records.iter().filter(|one| one.stage == DeliveryStage::Planned && one.destination == to);
    own.map(|one| Message::thawed(&one.body).unwrap()).collect()
}
