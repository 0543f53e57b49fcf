//! When a topic has vanished: a new life of all topics, or one topic made again.

use std::collections::BTreeMap;
use std::time::Duration;

use event::Progress;
use kafka::control::ControlError;
use kafka::positions::Positions;
use kafka::{Topic, control, topics};
use serde::Serialize;

use super::recover::Word;
use crate::error::{During, refuse_unless};
use crate::{GROUP, Installation, KAFKA_TIMEOUT, Report, Result, blocking, clock};

/// How long Kafka may take to delete all topics.
const DELETED_WITHIN: Duration = Duration::from_secs(60);

/// A new life of the topics.
#[derive(Debug, Clone, Serialize)]
pub struct StartAnewReport {
    /// Whether it was done.
    pub ok: bool,
    /// Whether it was done.
    pub applied: bool,
    /// The lives of the topics that end.
    pub lives: Vec<String>,
    /// What each lane has that no row shows yet.
    pub lanes: Vec<Waiting>,
    /// The topics that were deleted.
    pub deleted: Vec<&'static str>,
}

/// What a lane has that no row shows yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The lane.
    pub lane: u16,
    /// One past its last record; `None` where a topic is gone, so that it cannot be known.
    pub raw_end: Option<u64>,
    /// The raw offset up to which there are rows.
    pub settled: u64,
    /// Records in between, which are lost with the topics.
    pub lost: Option<u64>,
}

impl Report for StartAnewReport {
    fn needs_attention(&self) -> bool {
        !self.applied
    }
}

/// Ends every life of the topics and deletes them, or only says what would be lost. `word` is who wants it and why; without it,
/// nothing is changed. All services have to be stopped before.
///
/// # Errors
/// When an engine fails.
pub async fn start_anew(installation: &Installation, word: Option<Word>) -> Result<StartAnewReport> {
    let warehouse = installation.connect().await?;
    let cluster = installation.cluster.clone();
    let identity = blocking(move || {
        // The topic with the identity may be the one that is gone, or damaged. A Kafka that does not answer is neither: nothing is
        // written down as over while it cannot be asked.
        if !topics::present(&cluster, KAFKA_TIMEOUT)?.contains(&Topic::Control) {
            return Ok(None);
        }
        match control::read(&cluster) {
            Err(ControlError::Unreadable { .. }) => Ok(None),
            read => Ok(read?),
        }
    })
    .await?;
    let mut lives: Vec<String> = warehouse.lives().await?.into_iter().map(|life| life.incarnation).collect();
    if let Some(control) = identity.as_ref().filter(|control| !lives.contains(&control.incarnation)) {
        lives.push(control.incarnation.clone());
    }
    let ended = warehouse.ended_lives().await?;
    lives.retain(|life| !ended.contains(life));
    let mut waiting = Vec::new();
    for life in &lives {
        if identity.as_ref().is_none_or(|control| control.incarnation == *life) {
            waiting.extend(still_waiting(installation, warehouse.settled(life).await?).await?);
        }
    }
    let mut deleted = Vec::new();
    if let Some(Word { who, why }) = &word {
        // First the deed: a life whose topics could not be deleted goes on, and must not be written down as over.
        let cluster = installation.cluster.clone();
        deleted = blocking(move || Ok(topics::delete_all(&cluster, DELETED_WITHIN)?)).await.during(|| {
            "not all topics are deleted, and no life of theirs was written down as over; once the cause is gone, do the same again"
                .to_owned()
        })?;
        for life in &lives {
            warehouse.end_life(life, clock::now(), who, why).await.during(|| {
                format!(
                    "the topics are deleted, and it could not be written down that {life} is over: do the same again"
                )
            })?;
        }
    }
    let applied = word.is_some();
    let deleted = deleted.iter().map(|topic| topic.name()).collect();
    Ok(StartAnewReport { ok: applied, applied, lives, lanes: waiting, deleted })
}

/// How much of each lane has no row yet.
async fn still_waiting(
    installation: &Installation,
    settled: BTreeMap<u16, warehouse::Settled>,
) -> Result<Vec<Waiting>> {
    let (cluster, lanes) = (installation.cluster.clone(), installation.plan.lanes);
    blocking(move || {
        let positions = Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?;
        let reported = Positions::open(&cluster, report::GROUP, KAFKA_TIMEOUT)?;
        let lane = |lane: u16| {
            let raw_end = positions.watermarks(Topic::Raw, lane).ok().map(|range| range.end.unsigned_abs());
            let committed = reported.last_committed(Topic::Events, lane).ok().flatten();
            let progress = committed.and_then(|committed| committed.metadata.parse::<Progress>().ok());
            let settled = settled.get(&lane).map_or(0, |lane| lane.end).max(progress.unwrap_or_default().raw_hi);
            Waiting { lane, raw_end, settled, lost: raw_end.map(|end| end.saturating_sub(settled)) }
        };
        Ok((0..lanes).map(lane).collect())
    })
    .await
}

/// A topic that was made again.
#[derive(Debug, Clone, Serialize)]
pub struct RecreateTopicReport {
    /// Always true: what fails is an error.
    pub ok: bool,
    /// Its name.
    pub topic: &'static str,
    /// Whether it was made; otherwise it was there.
    pub created: bool,
    /// Why what was in it is given up.
    #[serde(skip)]
    pub why: String,
}

impl Report for RecreateTopicReport {}

/// Makes a topic again, empty, that has vanished.
///
/// # Errors
/// When its offsets are on rows, or Kafka fails.
pub async fn recreate_topic(installation: &Installation, topic: Topic, why: &str) -> Result<RecreateTopicReport> {
    refuse_unless!(
        !topic.counts_for_rows(),
        "the offsets of {topic} are on rows, blocks and marks, so that it cannot be made again alone: hookline ledger start-anew {}",
        installation.flag()
    );
    installation.identity().await?;
    let (cluster, plan) = (installation.cluster.clone(), installation.plan.clone());
    let created = blocking(move || Ok(topics::recreate(&cluster, &plan, topic)?)).await?;
    Ok(RecreateTopicReport { ok: true, topic: topic.name(), created: created.is_some(), why: why.to_owned() })
}
