//! Redrives that were started here: each runs on without the tab that started it, and is asked for by its number.
//!
//! One runs at a time, and none while letters are discarded: a second one of the same letters would look at what the
//! first is about to append. They are kept in memory alone. What a redrive has done is written beside each letter, so a
//! console that ends in the middle loses no more than this page: the letters that were not reached, and those of a step
//! that was cut short, are still open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use operate::Installation;
use operate::dead_letters::redrive::{Redrive, RedriveReport, Watch, redrive_watched};
use runtime::Shutdown;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use warehouse::DeadLetterFilter;

/// Redrives that are kept to be looked at; the oldest goes.
const MOST: usize = 50;
/// How long the step may take in which a stop finds a redrive: its acknowledgements take 15 s at most.
const LAST_STEP: Duration = Duration::from_secs(25);
/// Letters of one redrive, and of one discard.
pub(crate) const MOST_LETTERS: u64 = 100_000;

/// Which dead letters: one group, and of it what had been received when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) source: String,
    pub(crate) stage: String,
    pub(crate) reason: String,
    /// Received before, in milliseconds since 1970.
    pub(crate) until: i64,
}

impl Chosen {
    pub(crate) fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            source: Some(self.source.clone()),
            stage: Some(self.stage.clone()),
            reason: Some(self.reason.clone()),
            until: Some(self.until),
            ..DeadLetterFilter::default()
        }
    }

    /// What would become of them, of the oldest `limit`; or, by `who`, a redrive of all.
    pub(crate) fn request(&self, limit: u64, by: Option<(&str, &str)>) -> Redrive {
        let (who, why) = by.unwrap_or_default();
        Redrive {
            filter: self.filter(),
            all: false,
            force: false,
            who: who.to_owned(),
            why: why.to_owned(),
            limit,
            dry_run: by.is_none(),
        }
    }
}

/// A redrive.
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) chosen: Chosen,
    /// How many of the group were open when it began, within its reach.
    pub(crate) open: u64,
    pub(crate) who: String,
    pub(crate) why: String,
    pub(crate) began: Timestamp,
    watch: Watch,
    has_ended: AtomicBool,
    ended: Mutex<Option<(Timestamp, Result<RedriveReport, String>)>>,
}

impl Job {
    /// What came of it so far.
    pub(crate) fn so_far(&self) -> RedriveReport {
        self.watch.so_far()
    }

    /// When it ended, and what came of it.
    pub(crate) fn ended(&self) -> Option<(Timestamp, Result<RedriveReport, String>)> {
        locked(&self.ended).clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// How many of them it takes.
    pub(crate) fn taken(&self) -> u64 {
        self.open.min(MOST_LETTERS)
    }

    /// Ends it between two steps.
    pub(crate) fn cancel(&self) {
        self.watch.cancel();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.watch.is_cancelled()
    }
}

#[derive(Default)]
pub(crate) struct Redrives {
    jobs: Mutex<Vec<Arc<Job>>>,
    /// What runs the last one.
    task: Mutex<Option<JoinHandle<()>>>,
    /// Held while letters are discarded. A discard takes it under the lock of `jobs`; a stop waits for it.
    discard: Arc<tokio::sync::Mutex<()>>,
}

/// What else is being carried out.
pub(crate) enum Busy {
    Redrive(Arc<Job>),
    Discard,
}

impl Redrives {
    /// The one of that number.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Job>> {
        locked(&self.jobs).iter().find(|job| job.number == number).cloned()
    }

    /// All that are known, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        locked(&self.jobs).iter().rev().cloned().collect()
    }

    /// Whether a decision about dead letters may be carried out now.
    pub(crate) fn is_free(&self) -> Result<(), Busy> {
        self.is_free_of(&locked(&self.jobs))
    }

    fn is_free_of(&self, jobs: &[Arc<Job>]) -> Result<(), Busy> {
        match jobs.iter().find(|job| !job.is_over()) {
            Some(running) => Err(Busy::Redrive(Arc::clone(running))),
            None if self.discard.try_lock().is_err() => Err(Busy::Discard),
            None => Ok(()),
        }
    }

    /// Keeps redrives and other discards from beginning, for a discard: a redrive appends what it looked at before, and
    /// a discard in between would stand beside letters that count.
    pub(crate) fn hold(&self) -> Result<OwnedMutexGuard<()>, Busy> {
        let jobs = locked(&self.jobs);
        self.is_free_of(&jobs)?;
        Arc::clone(&self.discard).try_lock_owned().map_err(|_| Busy::Discard)
    }

    /// Starts one, unless another decision is carried out. `work` is what it does.
    pub(crate) fn start<W>(
        &self,
        chosen: Chosen,
        open: u64,
        (who, why): (String, String),
        shutdown: &Shutdown,
        work: impl FnOnce(Arc<Job>) -> W,
    ) -> Result<Arc<Job>, Busy>
    where
        W: Future<Output = Result<RedriveReport, String>> + Send + 'static,
    {
        let mut jobs = locked(&self.jobs);
        self.is_free_of(&jobs)?;
        let number = jobs.last().map_or(1, |last| last.number + 1);
        let job = Arc::new(Job {
            number,
            chosen,
            open,
            who,
            why,
            began: Timestamp::now(),
            watch: Watch::default(),
            has_ended: AtomicBool::new(false),
            ended: Mutex::default(),
        });
        jobs.push(Arc::clone(&job));
        if jobs.len() > MOST {
            jobs.remove(0);
        }
        let Chosen { source, stage, reason, until } = &job.chosen;
        // Before the first letter: who asked for it is known whatever happens then.
        tracing::info!(number, source, stage, reason, until, who = job.who, why = job.why, "a redrive begins");
        let task = tokio::spawn(run(work(Arc::clone(&job)), Arc::clone(&job), shutdown.clone()));
        *locked(&self.task) = Some(task);
        Ok(job)
    }

    /// Returns once a discard has ended, and the redrive that runs, which a stop makes it do after its step. What takes
    /// too long is cut.
    pub(crate) async fn finish(&self) {
        if timeout(LAST_STEP, self.discard.lock()).await.is_err() {
            tracing::warn!(
                "a discard took longer than {} s and was cut: the letters that it had not reached are still open",
                LAST_STEP.as_secs()
            );
        }
        let task = locked(&self.task).take();
        let Some(task) = task else { return };
        if timeout(LAST_STEP, task).await.is_err() {
            tracing::warn!(
                "the last step of a redrive took longer than {} s and was cut: its letters are still open; redrive them again, an event \
                 counts once in any case",
                LAST_STEP.as_secs()
            );
        }
    }
}

/// The redrive that a job is.
pub(crate) async fn redrive(installation: Installation, job: Arc<Job>) -> Result<RedriveReport, String> {
    let request = job.chosen.request(MOST_LETTERS, Some((&job.who, &job.why)));
    redrive_watched(&installation, &request, &job.watch).await.map_err(|error| runtime::with_causes(&error))
}

/// Runs a job to its end, whatever that is: one that never ended would keep all others from being started.
async fn run(
    work: impl Future<Output = Result<RedriveReport, String>> + Send + 'static,
    job: Arc<Job>,
    shutdown: Shutdown,
) {
    let mut task = tokio::spawn(work);
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = shutdown.given() => {
            job.cancel();
            task.await
        }
    };
    let ended = ended.unwrap_or_else(|panicked| {
        Err(format!(
            "the redrive has panicked, which is a fault of Hookline: {panicked}; the letters of its last step are still open"
        ))
    });
    match &ended {
        Ok(RedriveReport { redriven, left, cancelled, .. }) => {
            tracing::info!(number = job.number, redriven, left, cancelled, "a redrive has ended");
        }
        Err(why) => tracing::warn!(number = job.number, "a redrive has failed: {why}"),
    }
    *locked(&job.ended) = Some((Timestamp::now(), ended));
    job.has_ended.store(true, Ordering::Release);
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_one_group_up_to_the_moment_of_its_plan() {
        let chosen = Chosen { source: String::new(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
        let filter = chosen.filter();
        // A source that is not known is one as well, and not any.
        assert_eq!((filter.source.as_deref(), filter.until, filter.state), (Some(""), Some(5), None));
        let (plan, act) = (chosen.request(10, None), chosen.request(10, Some(("ana", "mended"))));
        assert!(plan.dry_run && !act.dry_run && !act.all && !act.force);
        assert_eq!((act.who.as_str(), act.why.as_str(), act.filter), ("ana", "mended", plan.filter));
    }

    fn chosen() -> Chosen {
        Chosen { source: "dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 }
    }

    fn by() -> (String, String) {
        ("ana".into(), "mended".into())
    }

    #[tokio::test]
    async fn a_redrive_that_panics_has_failed_and_another_can_be_started() {
        let (redrives, shutdown) = (Redrives::default(), Shutdown::default());
        let job = redrives.start(chosen(), 1, by(), &shutdown, |_| async { panic!("seven") }).ok().unwrap();
        redrives.finish().await;
        let (_, ended) = job.ended().expect("it has ended");
        assert!(ended.unwrap_err().contains("seven") && job.is_over());
        assert!(redrives.start(chosen(), 1, by(), &shutdown, |_| async { Ok(RedriveReport::default()) }).is_ok());
        redrives.finish().await;
    }

    #[tokio::test]
    async fn while_letters_are_discarded_no_redrive_begins_and_while_one_runs_none_is_discarded() {
        let (redrives, shutdown) = (Redrives::default(), Shutdown::default());
        let start = || redrives.start(chosen(), 1, by(), &shutdown, |_| async { Ok(RedriveReport::default()) });
        let held = redrives.hold().ok().unwrap();
        assert!(matches!(start(), Err(Busy::Discard)) && matches!(redrives.hold(), Err(Busy::Discard)));
        assert!(redrives.all().is_empty(), "what was refused is not in the list");
        drop(held);
        let job = start().ok().unwrap();
        assert!(matches!(redrives.hold(), Err(Busy::Redrive(running)) if running.number == job.number));
        redrives.finish().await;
        assert!(redrives.hold().is_ok() && redrives.is_free().is_ok(), "what is not held any more is free");
    }

    #[tokio::test]
    async fn a_stop_waits_for_a_discard() {
        let redrives = Arc::new(Redrives::default());
        let held = redrives.hold().ok().unwrap();
        let waiting = tokio::spawn({
            let redrives = Arc::clone(&redrives);
            async move { redrives.finish().await }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_step_that_a_redrive_is_in() {
        let (redrives, shutdown) = (Arc::new(Redrives::default()), Shutdown::default());
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let held = |job: Arc<Job>| async move {
            let _ = gate.await;
            Ok(RedriveReport { redriven: 7, cancelled: job.is_cancelled(), ..RedriveReport::default() })
        };
        let job = redrives.start(chosen(), 9, by(), &shutdown, held).ok().unwrap();
        shutdown.stop();
        let waiting = tokio::spawn({
            let redrives = Arc::clone(&redrives);
            async move { redrives.finish().await }
        });
        while !job.is_cancelled() {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished() && !job.is_over());
        open.send(()).unwrap();
        waiting.await.unwrap();
        let (_, ended) = job.ended().expect("it has ended before the console does");
        let report = ended.unwrap();
        assert!(report.cancelled && report.redriven == 7);
    }
}
