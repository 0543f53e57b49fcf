//! What was erased, as a replay goes by it: an erasure may be noted while the replay runs.

use event::Erasure;
use kafka::control::KnownErasures;
use kafka::positions::Positions;
use kafka::{Cluster, Topic};

use crate::error::During;
use crate::{GROUP, KAFKA_TIMEOUT, Result, blocking};

/// Follows the erasures on `control`.
pub(super) struct Erased {
    cluster: Cluster,
    asking: Option<(Positions, KnownErasures)>,
}

impl Erased {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, asking: None }
    }

    /// All that was erased by now. The topic is read again only if it has grown since.
    pub(super) async fn now(&mut self) -> Result<Vec<Erasure>> {
        let (cluster, asking) = (self.cluster.clone(), self.asking.take());
        let (asking, erasures) = blocking(move || {
            let (positions, mut known) = match asking {
                Some(asking) => asking,
                None => (Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?, KnownErasures::default()),
            };
            let end = positions.stable(Topic::Control, 0)?.end;
            known.follow(&cluster, end).during(|| "what was erased cannot be read".to_owned())?;
            let erasures = known.known().to_vec();
            Ok(((positions, known), erasures))
        })
        .await?;
        self.asking = Some(asking);
        Ok(erasures)
    }
}
