//! Many deliveries: so many a second, so many at a time, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::latencies::Latencies;
use crate::sender::{Answer, Fate, Sender};
use crate::stream::Delivery;

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Deliveries a second, evenly; as fast as answers come when left out.
    pub per_second: Option<f64>,
    /// How many may wait for their answer at once.
    pub parallel: usize,
}

/// What became of deliveries so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Deliveries begun.
    pub sent: u64,
    /// Of these, how many were repeats on purpose.
    pub again: u64,
    /// Deliveries that were taken, all of their events readable.
    pub accepted: u64,
    /// Deliveries that were taken and set aside, whole or in part, since they hold no event.
    pub quarantined: u64,
    /// Deliveries that were refused.
    pub refused: u64,
    /// Events that the receiver says it stored.
    pub events: u64,
    /// Attempts by the status of their answer.
    pub answers: BTreeMap<u16, u64>,
    /// Attempts without an answer.
    pub unanswered: u64,
    /// How long each 2xx took; where there is a pace, since the delivery was due, so that a sender who is held up by
    /// slow answers leaves no slow one out.
    pub acks: Latencies,
    /// Why the first delivery was refused or set aside, in the receiver's words.
    pub complaint: Option<String>,
    /// The last 2xx, as it came.
    pub last: Option<String>,
}

impl Tally {
    /// Attempts that had no 2xx and were repeated.
    pub fn repeated(&self) -> u64 {
        let failed = self.answers.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, n)| n);
        (failed.sum::<u64>() + self.unanswered).saturating_sub(self.refused)
    }

    /// Counts an attempt of a delivery, which was due at some time if there is a pace.
    fn attempted(&mut self, attempt: Result<&Answer, &str>, due: Option<Instant>) {
        match attempt {
            Ok(answer) => {
                *self.answers.entry(answer.status.as_u16()).or_default() += 1;
                if answer.status.is_success() {
                    self.acks.add(due.map_or(answer.took, |due| due.elapsed()));
                }
            }
            Err(_) => self.unanswered += 1,
        }
    }

    /// Counts a 2xx by what its receipt says. Of an answer that is no receipt, the status is all that is known.
    fn taken(&mut self, answer: Answer) {
        let receipt: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        self.events += receipt["events"].as_u64().unwrap_or(1);
        if receipt["quarantined"].as_u64().unwrap_or_default() > 0 {
            self.quarantined += 1;
            let why = receipt["results"].as_array().into_iter().flatten().find(|result| !result["detail"].is_null());
            let words = why.and_then(|why| why["detail"].as_str()).unwrap_or(&answer.text).to_owned();
            self.complaint.get_or_insert(words);
        } else {
            self.accepted += 1;
        }
        self.last = Some(answer.text);
    }

    fn refused(&mut self, answer: &Answer) {
        self.refused += 1;
        self.complaint.get_or_insert_with(|| said(answer));
    }
}

/// Sends deliveries until they are all taken or refused. `tally` may be read at any time meanwhile.
///
/// # Errors
/// When nobody answers, a delivery is not taken for two minutes, or a refusal holds for every delivery of the source (its
/// signature, its name, its content type).
pub async fn run(
    sender: &Sender,
    deliveries: impl IntoIterator<Item = Delivery>,
    pace: Pace,
    tally: &Arc<Mutex<Tally>>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let due = pace.per_second.map(|per_second| begun + Duration::from_secs_f64(number as f64 / per_second));
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        if under_way.len() >= pace.parallel.max(1) {
            under_way.join_next().await.context("nothing under way")???;
        }
        let (sender, tally) = (sender.clone(), Arc::clone(tally));
        under_way.spawn(async move { deliver(&sender, &delivery, &tally, due).await });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

/// Sends one delivery and counts it.
///
/// # Errors
/// As [`run`].
pub async fn one(sender: &Sender, delivery: &Delivery, tally: &Mutex<Tally>) -> anyhow::Result<()> {
    deliver(sender, delivery, tally, None).await
}

async fn deliver(
    sender: &Sender,
    delivery: &Delivery,
    tally: &Mutex<Tally>,
    due: Option<Instant>,
) -> anyhow::Result<()> {
    {
        let mut tally = locked(tally);
        tally.sent += 1;
        tally.again += u64::from(delivery.again);
    }
    let fate = sender.send(&delivery.body, |attempt| locked(tally).attempted(attempt, due)).await?;
    match fate {
        Fate::Taken(answer) => locked(tally).taken(answer),
        Fate::Refused(answer) => {
            locked(tally).refused(&answer);
            if holds_for_all(answer.status) {
                bail!("{} answered {}: {}", sender.url(), answer.status, said(&answer));
            }
        }
        Fate::Unreachable(why) => bail!("nobody answers at {}: {why}", sender.url()),
        Fate::Lost(heard) => bail!("{} took a delivery neither at once nor within two minutes: {heard}", sender.url()),
    }
    Ok(())
}

/// Whether every other delivery would be refused the same way.
fn holds_for_all(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::GONE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
    )
}

/// The words of a refusal: its `detail` if it is a problem document.
fn said(answer: &Answer) -> String {
    let problem: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    problem["detail"].as_str().unwrap_or(&answer.text).to_owned()
}

/// The value, whoever panicked while it was locked: counts stay counts.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
