//! What reports and the digest of failures say: asked of ClickHouse beside the lane, planned by it.
//!
//! A report is asked for once everything that was received in its days is a row, so that its numbers can be quoted.
//! Until then, and while ClickHouse does not answer, it waits; the lane does not.

mod query;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notification::{Due, Planner, ReportText};
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
