//! The tasks of destinations: each works off what its destination is owed, and tells what came of it.

mod carrier;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use event::DeliveryStage;
use notification::destination::{People, Verdict};
use runtime::clock::now_ms;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use traces::{Span, Traces, conventions};

use self::carrier::Carrier;
use crate::fault::point;
use crate::live::LiveSwitches;
use crate::metrics::{Circuit, NotifyMetrics};
use crate::outbox::{Outcome, PendingDelivery};
use crate::retry;
use crate::traced::attempted;
use crate::{Destination, SERVICE, Settings};

/// How long a paused destination is left alone before its task looks again.
const PAUSED: Duration = Duration::from_millis(500);
/// How long a message waits before it is looked at again whether one before it of the same thread is out.
const BEHIND: Duration = Duration::from_millis(250);

/// The tasks of all destinations, for one lane.
pub(crate) struct Workers {
    tasks: HashMap<String, Task>,
    /// Tasks that were told to end because their destination was changed or removed, by its name.
    leaving: Vec<(String, JoinHandle<()>)>,
    people: People,
    spawning: Spawning,
}

/// What a task needs beside its destination.
struct Spawning {
    handle: Handle,
    tell: mpsc::Sender<Outcome>,
    metrics: NotifyMetrics,
    switches: Arc<LiveSwitches>,
}

struct Task {
    destination: Destination,
    jobs: Option<UnboundedSender<PendingDelivery>>,
    handle: JoinHandle<()>,
    /// Whether its destination has refused.
    refused: Arc<AtomicBool>,
}

impl Spawning {
    fn task(&self, settings: &Settings, destination: &Destination) -> Task {
        let (jobs, owed) = unbounded_channel();
        let refused = Arc::<AtomicBool>::default();
        let worker = Worker {
            name: destination.name.clone(),
            owner: destination.owner.clone(),
            carrier: Carrier::new(settings, destination),
            circuit: self.metrics.circuit(&destination.name),
            switches: Arc::clone(&self.switches),
            traces: settings.traces.clone(),
            tell: self.tell.clone(),
            queue: BTreeMap::new(),
            given: 0,
            failures: 0,
            resume_at: Instant::now(),
            refused: false,
            has_refused: Arc::clone(&refused),
            rejected: 0,
            threads: HashMap::new(),
            receipts: HashMap::new(),
        };
        let handle = self.handle.spawn(worker.run(owed));
        Task { destination: destination.clone(), jobs: Some(jobs), handle, refused }
    }
}

impl Workers {
    pub(crate) fn start(
        settings: &Settings,
        handle: &Handle,
        tell: &mpsc::Sender<Outcome>,
        metrics: &NotifyMetrics,
        switches: &Arc<LiveSwitches>,
    ) -> Self {
        let (handle, tell, metrics) = (handle.clone(), tell.clone(), metrics.clone());
        let spawning = Spawning { handle, tell, metrics, switches: Arc::clone(switches) };
        let start = |destination: &Destination| (destination.name.clone(), spawning.task(settings, destination));
        let tasks = settings.destinations.iter().map(start).collect();
        Self { tasks, leaving: Vec::new(), people: settings.people.clone(), spawning }
    }

    /// Goes by other settings: tasks of destinations that stay as they are go on undisturbed, the others end after
    /// the attempt that they are at. One that has refused is started anew, too. Returns the destinations that are
    /// gone.
    pub(crate) fn follow(&mut self, settings: &Settings) -> Vec<String> {
        let same_people = self.people == settings.people;
        let mut before = std::mem::take(&mut self.tasks);
        for destination in &settings.destinations {
            let kept = before.remove(&destination.name);
            let task = match kept {
                Some(task)
                    if same_people
                        && task.destination.is_reached_as(destination)
                        && !task.refused.load(Ordering::Acquire) =>
                {
                    task
                }
                changed => {
                    let leaves = changed.map(|task| (destination.name.clone(), task.handle));
                    self.leaving.extend(leaves);
                    self.spawning.task(settings, destination)
                }
            };
            self.tasks.insert(destination.name.clone(), task);
        }
        self.people = settings.people.clone();
        let gone: Vec<String> = before.keys().cloned().collect();
        // Their jobs end with them.
        self.leaving.extend(before.into_iter().map(|(name, task)| (name, task.handle)));
        gone
    }

    /// Destinations whose task by earlier settings has ended since the last call.
    pub(crate) fn replaced(&mut self) -> Vec<String> {
        let ended = self.leaving.extract_if(.., |(_, handle)| handle.is_finished());
        let ended: Vec<String> = ended.map(|(name, _)| name).collect();
        // It may have been changed twice.
        ended.into_iter().filter(|name| !self.leaves(name)).collect()
    }

    /// Whether a task of the destination by earlier settings is still at an attempt.
    fn leaves(&self, destination: &str) -> bool {
        self.leaving.iter().any(|(name, _)| name == destination)
    }

    /// Gives a bundle to its destination. False if there is no such destination.
    pub(crate) fn give(&self, owed: PendingDelivery) -> bool {
        // It is given with all others once that task has ended.
        if self.leaves(&owed.destination) {
            return true;
        }
        let Some(task) = self.tasks.get(&owed.destination) else { return false };
        // What a task that has ended is given stays owed: the lane ends as well, and its next owner gives it again.
        if let Some(jobs) = &task.jobs {
            drop(jobs.send(owed));
        }
        true
    }

    /// A destination whose task has ended though nobody told it to.
    pub(crate) fn ended(&self) -> Option<&str> {
        let ended = |task: &Task| task.jobs.is_some() && task.handle.is_finished();
        self.tasks.iter().find(|(_, task)| ended(task)).map(|(name, _)| name.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// Lets every task finish the attempt that it is at, and end.
    pub(crate) fn close(&mut self) {
        self.tasks.values_mut().for_each(|task| task.jobs = None);
    }

    /// Whether every task has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        let leaving = self.leaving.iter().map(|(_, handle)| handle);
        self.tasks.values().map(|task| &task.handle).chain(leaving).all(JoinHandle::is_finished)
    }
}

impl Drop for Workers {
    /// Whoever opens the lane next sends what is owed: nobody else does then.
    fn drop(&mut self) {
        let leaving = self.leaving.iter().map(|(_, handle)| handle);
        self.tasks.values().map(|task| &task.handle).chain(leaving).for_each(JoinHandle::abort);
    }
}

struct Worker {
    name: String,
    owner: String,
    /// Why there is none, where the destination cannot be made of what its section says.
    carrier: Result<Carrier, String>,
    circuit: Circuit,
    switches: Arc<LiveSwitches>,
    traces: Traces,
    tell: mpsc::Sender<Outcome>,
    /// By when it is tried next, then by order. Waits go by a clock that is never set: records alone have the other.
    queue: BTreeMap<(Instant, u64), PendingDelivery>,
    given: u64,
    /// Attempts in a row that failed.
    failures: u32,
    /// The destination is left alone until then.
    resume_at: Instant,
    /// It has refused: nothing is tried until the service starts again or takes a configuration.
    refused: bool,
    /// The same, for those who hold the task.
    has_refused: Arc<AtomicBool>,
    /// Messages in a row that were rejected whole.
    rejected: u32,
    /// What waits, by thread, in the order in which it was given.
    threads: HashMap<String, BTreeSet<u64>>,
    /// By what the receiver knows the messages that opened threads, by their bundle.
    receipts: HashMap<String, String>,
}

impl Worker {
    async fn run(mut self, mut jobs: UnboundedReceiver<PendingDelivery>) {
        loop {
            let paused = self.switches.get().pauses(&self.name, now_ms());
            let wake = self.queue.first_key_value().map(|((due, _), _)| {
                if paused {
                    return Instant::now() + PAUSED;
                }
                if self.refused { *due } else { (*due).max(self.resume_at) }
            });
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(owed) => self.enqueue(owed),
                    None => return,
                },
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    // It may have been paused meanwhile.
                    if !self.switches.get().pauses(&self.name, now_ms()) {
                        self.work_off_first().await;
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, owed: PendingDelivery) {
        self.given += 1;
        self.requeue(owed, self.given);
    }

    /// Queues a message; `order` is its place among those of its thread.
    fn requeue(&mut self, owed: PendingDelivery, order: u64) {
        let wait_ms = match self.refused {
            true => retry::until_given_up_ms(owed.planned_at, now_ms()),
            false => owed.wait_ms(now_ms()),
        };
        let due = in_ms(wait_ms);
        if let Some(thread) = thread(&owed) {
            self.threads.entry(thread).or_default().insert(order);
        }
        self.queue.insert((due, order), owed);
    }

    fn leave_thread(&mut self, owed: &PendingDelivery, order: u64) {
        let Some(thread) = thread(owed) else { return };
        if let Some(waiting) = self.threads.get_mut(&thread) {
            waiting.remove(&order);
            if waiting.is_empty() {
                self.threads.remove(&thread);
            }
        }
    }

    async fn work_off_first(&mut self) {
        let Some(((due, order), mut owed)) = self.queue.pop_first() else { return };
        if self.refused {
            self.leave_thread(&owed, order);
            let error = "given up: the destination refuses, and nothing was changed about that for a day".to_owned();
            return self.tell(&owed, DeliveryStage::Failed, now_ms(), 0, error, String::new());
        }
        // What belongs to one thread goes out in order: its start first, its end last.
        let first = thread(&owed).and_then(|thread| self.threads.get(&thread)?.first().copied());
        if first.is_some_and(|first| first < order) {
            self.queue.insert((due.max(Instant::now()) + BEHIND, order), owed);
            return;
        }
        self.leave_thread(&owed, order);
        owed.attempt = owed.attempt.saturating_add(1);
        let opener = owed.opener().map(str::to_owned);
        let receipt = opener.as_ref().and_then(|opener| self.receipts.get(opener)).unwrap_or(&owed.receipt);
        let part_of = owed.trace.filter(|_| self.traces.is_on());
        let span = part_of.map(|trace| conventions::deliver(&self.name, &owed.rule, owed.attempt, trace));
        point("attempting");
        let verdict = match &self.carrier {
            Ok(carrier) => carrier.send(&owed, receipt, span.as_ref().map(Span::context)).await,
            Err(error) => Verdict::Refused { status: 0, error: error.clone() },
        };
        point("judged");
        self.traces.publish(span.map(|span| attempted(span, &verdict)));
        let now = now_ms();
        if !matches!(verdict, Verdict::Rejected { .. }) {
            self.rejected = 0;
        }
        match verdict {
            Verdict::Delivered { status, receipt } => {
                self.is_well();
                self.keep_receipt(&owed, opener, &receipt);
                self.tell(&owed, DeliveryStage::Delivered, now, status, String::new(), receipt);
            }
            Verdict::Retry { status, error, after } => self.failed(owed, order, now, status, error, after),
            Verdict::Rejected { status, error } => self.reject(owed, order, now, status, error),
            Verdict::WrittenInPart { status, error } => self.keep_part(&owed, now, status, &error),
            Verdict::Refused { status, error } => self.stop(owed, order, now, status, error),
        }
    }

    fn is_well(&mut self) {
        self.failures = 0;
        if self.circuit.set(false) {
            tracing::info!(service = SERVICE, destination = self.name, "the destination takes messages again");
        }
    }

    /// Keeps by what the receiver knows a thread, for the messages of it that are already here.
    fn keep_receipt(&mut self, owed: &PendingDelivery, opener: Option<String>, receipt: &str) {
        let waits = thread(owed).is_some_and(|thread| self.threads.contains_key(&thread));
        let opener = opener.unwrap_or_else(|| owed.bundle_id.clone());
        if waits && !receipt.is_empty() {
            self.receipts.insert(opener, receipt.to_owned());
        } else {
            self.receipts.remove(&opener);
        }
    }

    /// This message can never go; the destination is well, unless it rejects one after the other: then something is
    /// wrong that all messages have in common.
    fn reject(&mut self, owed: PendingDelivery, order: u64, now: i64, status: u16, error: String) {
        let was_asked = status > 0;
        self.rejected += u32::from(was_asked);
        if self.rejected >= retry::REJECTED_IN_A_ROW {
            let error = format!("{error}; it has rejected {} messages in a row", self.rejected);
            return self.stop(owed, order, now, status, error);
        }
        if was_asked {
            self.is_well();
        }
        tracing::error!(
            service = SERVICE,
            destination = self.name,
            owner = self.owner,
            bundle = owed.bundle_id,
            status,
            "the destination rejects a message, which is given up: {error}"
        );
        self.tell(&owed, DeliveryStage::Failed, now, status, format!("rejected: {error}"), String::new());
    }

    /// The receiver has the message, and not all that belongs to it: sent again, it would be there twice.
    fn keep_part(&mut self, owed: &PendingDelivery, now: i64, status: u16, error: &str) {
        self.is_well();
        tracing::warn!(
            service = SERVICE,
            destination = self.name,
            owner = self.owner,
            bundle = owed.bundle_id,
            status,
            "the destination has a message, and not all that belongs to it: {error}"
        );
        self.tell(owed, DeliveryStage::Failed, now, status, format!("written in part: {error}"), String::new());
    }

    fn failed(
        &mut self,
        mut owed: PendingDelivery,
        order: u64,
        now: i64,
        status: u16,
        error: String,
        after: Option<Duration>,
    ) {
        self.failures += 1;
        let delay_ms = retry::delay_ms(owed.attempt, after);
        (owed.not_before, owed.decided_at) = (now.saturating_add(delay_ms), now);
        if after.is_some() {
            self.leave_alone(delay_ms, &error);
        }
        if self.failures >= retry::CIRCUIT_OPENS_AFTER {
            self.resume_at = self.resume_at.max(in_ms(retry::circuit_ms(self.failures)));
            if self.circuit.set(true) {
                tracing::warn!(
                    service = SERVICE,
                    destination = self.name,
                    owner = self.owner,
                    failures = self.failures,
                    "the destination is left alone for a while; the last failure: {error}"
                );
            }
        }
        // Where the receiver names the time, the message is tried then, be it after a day.
        let last = if after.is_some() { now } else { owed.not_before };
        if last > retry::gives_up_at(owed.planned_at) {
            tracing::error!(
                service = SERVICE,
                destination = self.name,
                owner = self.owner,
                bundle = owed.bundle_id,
                "a message is given up after a day: {error}"
            );
            return self.tell(&owed, DeliveryStage::Failed, now, status, error, String::new());
        }
        self.tell(&owed, DeliveryStage::Attempted, now, status, error, String::new());
        self.requeue(owed, order);
    }

    /// It asks to be left alone, whatever the message. This message waits as long as it was asked for; the others, an
    /// hour at most.
    fn leave_alone(&mut self, asked_ms: i64, error: &str) {
        let alone_ms = retry::alone_ms(asked_ms);
        self.resume_at = self.resume_at.max(in_ms(alone_ms));
        if retry::is_long_alone(asked_ms) && self.circuit.set(true) {
            tracing::warn!(
                service = SERVICE,
                destination = self.name,
                owner = self.owner,
                asked_seconds = asked_ms / 1_000,
                alone_seconds = alone_ms / 1_000,
                "the destination asks to be left alone: its message waits as long as it asks for, the others wait for an hour at most: {error}"
            );
        }
    }

    /// Nothing is tried any more; what is owed stays owed, and is given up a day after it was planned.
    fn stop(&mut self, mut owed: PendingDelivery, order: u64, now: i64, status: u16, error: String) {
        tracing::error!(
            service = SERVICE,
            destination = self.name,
            owner = self.owner,
            status,
            "the destination refuses: {error}. Nothing is sent there until its owner has changed that and the configuration is \
             loaded again (hookline reload), or notify is started again; messages wait for a day"
        );
        self.refused = true;
        self.has_refused.store(true, Ordering::Release);
        self.circuit.set(true);
        (owed.not_before, owed.decided_at) = (now, now);
        self.tell(&owed, DeliveryStage::Attempted, now, status, error, String::new());
        let queue = std::mem::take(&mut self.queue);
        let queue = queue.into_iter().map(|((_, order), owed)| (order, owed)).chain([(order, owed)]);
        queue.for_each(|(order, owed)| self.requeue(owed, order));
    }

    fn tell(&self, owed: &PendingDelivery, stage: DeliveryStage, at: i64, status: u16, error: String, receipt: String) {
        let outcome = Outcome {
            bundle_id: owed.bundle_id.clone(),
            stage,
            at,
            not_before: owed.not_before,
            attempt: owed.attempt,
            status,
            error,
            receipt,
        };
        let told = self.tell.send(outcome);
        point("told");
        if told.is_err() {
            tracing::debug!(
                service = SERVICE,
                destination = self.name,
                "the lane has ended; its next owner sends again"
            );
        }
    }
}

/// The moment in so many milliseconds; in 49 days at most, whatever a record says.
fn in_ms(wait_ms: i64) -> Instant {
    Instant::now() + Duration::from_millis(u64::from(u32::try_from(wait_ms.max(0)).unwrap_or(u32::MAX)))
}

/// What a message belongs to at its destination.
fn thread(owed: &PendingDelivery) -> Option<String> {
    Some(owed.message.as_ref().ok()?.thread.as_ref()?.key.clone())
}
