//! The tasks of destinations: each works off what its destination is owed, and tells what came of it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::time::Duration;

use event::DeliveryStage;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::lane::now_ms;
use crate::metrics::{Circuit, NotifyMetrics};
use crate::outbox::{Outcome, PendingDelivery};
use crate::retry;
use crate::transport::file::CsvFile;
use crate::transport::http::Webhook;
use crate::{Destination, DestinationKind, SERVICE};

/// What a destination says to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It took it.
    Taken { status: u16 },
    /// It did not, and may another time, after a while of its choice.
    Again { status: u16, error: String, after: Option<Duration> },
    /// It refuses whatever comes until somebody has changed something.
    Refused { status: u16, error: String },
}

/// How messages reach a destination.
enum Transport {
    Webhook(Box<Webhook>),
    Csv(CsvFile),
}

impl Transport {
    fn new(kind: &DestinationKind) -> Self {
        match kind {
            DestinationKind::Webhook { url, secret, allow_private } => {
                Self::Webhook(Box::new(Webhook::new(url, secret, *allow_private)))
            }
            DestinationKind::Csv { path } => Self::Csv(CsvFile::new(path.clone())),
        }
    }

    async fn send(&self, owed: &PendingDelivery, now_ms: i64) -> Answer {
        match self {
            Self::Webhook(webhook) => webhook.send(owed, now_ms).await,
            Self::Csv(file) => file.append(owed, now_ms).await,
        }
    }
}

/// The tasks of all destinations, for one lane.
pub(crate) struct Workers {
    tasks: HashMap<String, Task>,
}

struct Task {
    jobs: Option<UnboundedSender<PendingDelivery>>,
    handle: JoinHandle<()>,
}

impl Workers {
    pub(crate) fn start(
        destinations: &[Destination],
        handle: &Handle,
        tell: &mpsc::Sender<Outcome>,
        metrics: &NotifyMetrics,
    ) -> Self {
        let start = |destination: &Destination| {
            let (jobs, owed) = unbounded_channel();
            let worker = Worker {
                name: destination.name.clone(),
                owner: destination.owner.clone(),
                transport: Transport::new(&destination.kind),
                circuit: metrics.circuit(&destination.name),
                tell: tell.clone(),
                queue: BTreeMap::new(),
                given: 0,
                failures: 0,
                resume_at: 0,
                refused: false,
            };
            (destination.name.clone(), Task { jobs: Some(jobs), handle: handle.spawn(worker.run(owed)) })
        };
        Self { tasks: destinations.iter().map(start).collect() }
    }

    /// Gives a bundle to its destination. False if there is no such destination.
    pub(crate) fn give(&self, owed: PendingDelivery) -> bool {
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
        self.tasks.values().all(|task| task.handle.is_finished())
    }
}

impl Drop for Workers {
    /// Whoever opens the lane next sends what is owed: nobody else does then.
    fn drop(&mut self) {
        self.tasks.values().for_each(|task| task.handle.abort());
    }
}

struct Worker {
    name: String,
    owner: String,
    transport: Transport,
    circuit: Circuit,
    tell: mpsc::Sender<Outcome>,
    /// By when it is tried next, then by order.
    queue: BTreeMap<(i64, u64), PendingDelivery>,
    given: u64,
    /// Attempts in a row that failed.
    failures: u32,
    /// The destination is left alone until then.
    resume_at: i64,
    /// It has refused: nothing is tried until the service starts again.
    refused: bool,
}

impl Worker {
    async fn run(mut self, mut jobs: UnboundedReceiver<PendingDelivery>) {
        loop {
            let wake = self.queue.first_key_value().map(|((due, _), _)| {
                let at = if self.refused { *due } else { (*due).max(self.resume_at) };
                Duration::from_millis((at - now_ms()).max(0) as u64)
            });
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(owed) => self.enqueue(owed),
                    None => return,
                },
                () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => self.work_off_first().await,
            }
        }
    }

    fn enqueue(&mut self, owed: PendingDelivery) {
        let due = if self.refused { retry::gives_up_at(owed.planned_at) } else { owed.not_before };
        self.given += 1;
        self.queue.insert((due, self.given), owed);
    }

    async fn work_off_first(&mut self) {
        let Some((_, mut owed)) = self.queue.pop_first() else { return };
        if self.refused {
            let error = "given up: the destination refuses, and nobody changed that for a day".to_owned();
            return self.tell(&owed, DeliveryStage::Failed, now_ms(), 0, error);
        }
        owed.attempt = owed.attempt.saturating_add(1);
        let answer = self.transport.send(&owed, now_ms()).await;
        let now = now_ms();
        match answer {
            Answer::Taken { status } => {
                self.failures = 0;
                if self.circuit.set(false) {
                    tracing::info!(service = SERVICE, destination = self.name, "the destination takes messages again");
                }
                self.tell(&owed, DeliveryStage::Delivered, now, status, String::new());
            }
            Answer::Again { status, error, after } => self.failed(owed, now, status, error, after),
            Answer::Refused { status, error } => self.stop(owed, now, status, error),
        }
    }

    fn failed(&mut self, mut owed: PendingDelivery, now: i64, status: u16, error: String, after: Option<Duration>) {
        self.failures += 1;
        owed.not_before = now + retry::delay_ms(owed.attempt, after);
        if self.failures >= retry::CIRCUIT_OPENS_AFTER {
            self.resume_at = now + retry::circuit_ms(self.failures);
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
        if owed.not_before > retry::gives_up_at(owed.planned_at) {
            tracing::error!(
                service = SERVICE,
                destination = self.name,
                owner = self.owner,
                bundle = owed.bundle_id,
                "a message is given up after a day: {error}"
            );
            return self.tell(&owed, DeliveryStage::Failed, now, status, error);
        }
        self.tell(&owed, DeliveryStage::Attempted, now, status, error);
        self.enqueue(owed);
    }

    /// Nothing is tried any more; what is owed stays owed, and is given up a day after it was planned.
    fn stop(&mut self, mut owed: PendingDelivery, now: i64, status: u16, error: String) {
        tracing::error!(
            service = SERVICE,
            destination = self.name,
            owner = self.owner,
            status,
            "the destination refuses: {error}. Nothing is sent there until its owner has changed that and notify is started \
             again; messages wait for a day"
        );
        self.refused = true;
        self.circuit.set(true);
        owed.not_before = now;
        self.tell(&owed, DeliveryStage::Attempted, now, status, error);
        let queue = std::mem::take(&mut self.queue);
        queue.into_values().chain([owed]).for_each(|owed| self.enqueue(owed));
    }

    fn tell(&self, owed: &PendingDelivery, stage: DeliveryStage, at: i64, status: u16, error: String) {
        let outcome = Outcome {
            bundle_id: owed.bundle_id.clone(),
            stage,
            at,
            not_before: owed.not_before,
            attempt: owed.attempt,
            status,
            error,
        };
        if self.tell.send(outcome).is_err() {
            tracing::debug!(
                service = SERVICE,
                destination = self.name,
                "the lane has ended; its next owner sends again"
            );
        }
    }
}
