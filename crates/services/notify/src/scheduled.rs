//! What reports and the digest of failures say: asked of ClickHouse beside the lane, planned by it.
//!
//! A report is asked for once everything that was received in its days is a row, so that its numbers can be quoted.
//! Until then, and while ClickHouse does not answer, it waits; the lane does not.

mod query;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notification::{Due, Period, Planner, ReportText};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use warehouse::Warehouse;

use crate::{SERVICE, Settings};

pub use query::{BadReport, Content};

/// How long a report that could not be asked for waits.
const AGAIN: Duration = Duration::from_secs(20);
/// How often the calendar is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Something that is sent by the calendar, and what it says.
#[derive(Debug, Clone)]
pub struct ScheduledReport {
    /// Its name, whose it is, where it goes and when.
    pub scheduled: notification::Scheduled,
    /// What it says.
    pub content: Content,
}

/// What a lane asks for and plans.
#[derive(Default)]
pub(crate) struct Scheduler {
    asked: HashMap<String, Asked>,
    looked: Option<Instant>,
    /// What was owed when that was looked at last.
    owed: Vec<Owed>,
}

/// A period that one destination was not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) name: String,
    pub(crate) to: String,
    pub(crate) period: Period,
}

struct Asked {
    due: Due,
    answer: oneshot::Receiver<Result<ReportText, String>>,
    /// After a failure: when it is asked for again.
    again_at: Option<Instant>,
}

impl Scheduler {
    /// Plans what has been answered, and asks for what is due of the reports that `owns` says are the lane's.
    pub(crate) fn turn(
        &mut self,
        planner: &mut Planner,
        settings: &Settings,
        handle: &Handle,
        owns: impl Fn(&str) -> bool,
        now_ms: i64,
    ) {
        self.plan_answers(planner, now_ms);
        if settings.scheduled.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(place) = &settings.warehouse else { return };
        for due in planner.due_reports(now_ms).into_iter().filter(|due| owns(&due.name)) {
            if self.asked.contains_key(&due.name) {
                continue;
            }
            let Some(report) = settings.scheduled.iter().find(|one| one.scheduled.name == due.name) else { continue };
            let (place, content, period) = (Arc::clone(place), report.content.clone(), due.period.clone());
            let (tell, answer) = oneshot::channel();
            handle.spawn(async move {
                let asked = async {
                    let warehouse = Warehouse::connect(&place).await.map_err(|error| runtime::with_causes(&error))?;
                    content.ask(&warehouse, &period).await
                };
                // The lane may have ended meanwhile: its next owner asks again.
                drop(tell.send(asked.await));
            });
            self.asked.insert(due.name.clone(), Asked { due, answer, again_at: None });
        }
    }

    /// What was owed when this was asked last, is too late to be sent now, and was never planned. Of what was owed
    /// before the lane was opened, or by other settings, it does not know.
    pub(crate) fn given_up(&mut self, planner: &Planner, owns: impl Fn(&str) -> bool, now_ms: i64) -> Vec<Owed> {
        let due = planner.owed_reports(now_ms).into_iter().filter(|due| owns(&due.name));
        let each = |Due { name, to, period }: Due| {
            to.into_iter().map(move |to| Owed { name: name.clone(), to, period: period.clone() })
        };
        let owed: Vec<Owed> = due.flat_map(each).collect();
        let mut gone = std::mem::replace(&mut self.owed, owed);
        gone.retain(|one| {
            // A clock that was set back makes nothing late.
            !self.owed.contains(one)
                && now_ms > one.period.due_ms
                && !planner.is_planned(&one.name, &one.to, &one.period)
        });
        gone
    }

    fn plan_answers(&mut self, planner: &mut Planner, now_ms: i64) {
        self.asked.retain(|name, asked| {
            if let Some(at) = asked.again_at {
                return Instant::now() < at;
            }
            match asked.answer.try_recv() {
                Ok(Ok(said)) => {
                    tracing::info!(
                        service = SERVICE,
                        report = name,
                        period = asked.due.period.words(),
                        "a report is planned"
                    );
                    planner.plan_report(&asked.due, &said, now_ms);
                    false
                }
                Ok(Err(why)) => {
                    let period = asked.due.period.words();
                    tracing::warn!(
                        service = SERVICE,
                        report = name,
                        period,
                        again_in_s = AGAIN.as_secs(),
                        "the report waits: {why}"
                    );
                    asked.again_at = Some(Instant::now() + AGAIN);
                    true
                }
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => false,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use notification::{Calendar, Destination, Routing, Scheduled};

    use super::*;

    /// A Monday, 08:00 UTC.
    const MONDAY: i64 = 1_764_576_000_000;
    const HOUR: i64 = 3_600_000;

    fn planner() -> Planner {
        let destination = |name: &str| Destination {
            name: name.to_owned(),
            owner: "data".to_owned(),
            fields: None,
            keyed: false,
            max: None,
            open: None,
        };
        let when = Calendar { on: None, at: jiff::civil::time(8, 0, 0, 0), zone: jiff::tz::TimeZone::UTC };
        let to = vec!["chat".to_owned(), "mail".to_owned()];
        let daily = Scheduled { name: "daily".to_owned(), owner: "growth".to_owned(), to, when };
        let routing = Routing::new(Vec::new(), vec![destination("chat"), destination("mail")], Vec::new());
        Planner::new(routing.with_scheduled(vec![daily]))
    }

    #[test]
    fn a_report_that_was_due_and_was_never_planned_is_given_up_once() {
        let (mut planner, mut scheduler) = (planner(), Scheduler::default());
        let mut late = |planner: &Planner, now: i64| {
            let gone = scheduler.given_up(planner, |_| true, now);
            gone.into_iter().map(|one| (one.to, one.period.words())).collect::<Vec<_>>()
        };
        assert_eq!(late(&planner, MONDAY), []);
        // One of the two destinations gets it.
        let said = ReportText { title: "a".to_owned(), text: "b".to_owned(), count: 1, attachment: None };
        let mut due = planner.due_reports(MONDAY).remove(0);
        due.to.retain(|to| to == "mail");
        planner.plan_report(&due, &said, MONDAY);
        let records = planner.settle(MONDAY);
        assert!(records.len() == 1 && notification::is_report(&records[0]));
        assert_eq!(late(&planner, MONDAY + 12 * HOUR), []);
        assert_eq!(late(&planner, MONDAY - 2 * HOUR), [], "a clock that was set back");
        assert_eq!(late(&planner, MONDAY + 11 * HOUR), []);
        let period = due.period.words();
        assert_eq!(late(&planner, MONDAY + 13 * HOUR), [("chat".to_owned(), period)]);
        assert_eq!(late(&planner, MONDAY + 14 * HOUR), [], "said once");
        assert_eq!(late(&planner, MONDAY + 24 * HOUR), [], "the next one is due");
    }
}
