//! Writing rows beside `report`: one replay of a lane at a time, and only where nobody else can be writing.

use std::ops::Range;
use std::time::{Duration, Instant};

use kafka::Cluster;
use kafka::lane::{Fence, LaneProducer, Proof, TRANSACTION_TIMEOUT, TxnError, Writes};
use warehouse::{Attempt, BlockStore, InsertPermit, Warehouse};

use super::read::{Replayed, chunks};
use crate::error::refuse;
use crate::{Error, Result, blocking};

/// An owner of a lane, of `report` or of another replay, that has been fenced begins no insert later than this: each is begun under a
/// proof of the fence that is no older than ten seconds.
const BEGINS_WITHIN: Duration = Duration::from_secs(11);
/// How long inserts that were begun before may take: `report` gives one up after 70 s.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
/// Acknowledged attempts after which a chunk is given up: each heals one deletion that the engine does not know of.
const ATTEMPTS: u32 = 20;

/// The right to write rows of a lane that are settled: whoever takes it ends the claims before it.
pub(super) struct Claim {
    lane: u16,
    producer: Option<LaneProducer>,
    since: Instant,
    /// No other claim has it: so its inserts are not taken for those of one before.
    name: String,
}

/// The claim was proven right before.
pub(super) struct Proven {
    _proof: Proof,
}

impl InsertPermit for Proven {}

impl Claim {
    pub(super) async fn take(cluster: &Cluster, lane: u16) -> Result<Self> {
        let cluster = cluster.clone();
        // Nothing is ever written in its transactions.
        let open = move || Ok(Fence::open(&cluster, "replay", lane, TRANSACTION_TIMEOUT, Writes::nothing())?);
        let producer = blocking(open).await?;
        Ok(Self { lane, producer: Some(producer), since: Instant::now(), name: warehouse::claim_name() })
    }

    /// Waits until no insert of anybody who came before can be under way.
    ///
    /// What is settled was acknowledged to the owner who committed it. An owner before that one may have slept since: it begins
    /// nothing any more once its proof is old, and what it has begun is seen among the running queries.
    pub(super) async fn wait_until_calm(&self, warehouse: &Warehouse) -> Result<()> {
        tokio::time::sleep(BEGINS_WITHIN.saturating_sub(self.since.elapsed())).await;
        let begun = Instant::now();
        while begun.elapsed() < ENDS_WITHIN {
            if warehouse.inserts_running(begun.elapsed()).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        refuse!(
            "inserts that began over {} s ago are still running in ClickHouse; nothing was written, try again",
            ENDS_WITHIN.as_secs()
        )
    }

    /// Proves that no one has taken the claim since: for one insert.
    pub(super) async fn prove(&mut self) -> Result<Proven> {
        let lane = self.lane;
        let mut producer = self
            .producer
            .take()
            .ok_or_else(|| Error::Refused("the claim on the lane was lost: start the replay again".to_owned()))?;
        let (producer, proven) = blocking(move || {
            let proven = producer.prove();
            Ok((producer, proven))
        })
        .await?;
        self.producer = Some(producer);
        proven.map(|proof| Proven { _proof: proof }).map_err(|error| match error {
            TxnError::Fenced { .. } => Error::Refused(format!(
                "another replay of lane {lane} was started: this one ends, what it has brought in is whole"
            )),
            other => other.into(),
        })
    }

    /// Brings in what is missing of these ranges; says how many rows.
    pub(super) async fn backfill(
        &mut self,
        store: &BlockStore,
        replayed: &mut Replayed<'_>,
        wanted: &[Range<u64>],
    ) -> Result<u64> {
        let mut written = 0;
        for chunk in wanted.iter().flat_map(chunks) {
            let block = replayed.again(&chunk).await?;
            written += self.backfill_block(store, &block).await?;
        }
        Ok(written)
    }

    async fn backfill_block(&mut self, store: &BlockStore, block: &warehouse::Block) -> Result<u64> {
        let mut first = None;
        for number in 1..=ATTEMPTS {
            let proven = self.prove().await?;
            match store.mend(block, Attempt { claim: &self.name, number }, proven).await? {
                0 => return Ok(first.unwrap_or(0)),
                missing => first = first.or(Some(missing as u64)),
            }
        }
        refuse!(
            "ClickHouse acknowledged rows of lane {} {ATTEMPTS} times and does not have them all: look at the table's parts and disks",
            self.lane
        )
    }
}
