//! Calls of the client that can hang, each with a bound that is ours.
//!
//! A transactional call of librdkafka waits for the client's main thread without a limit; its `timeout` is a wish. When
//! the search for a coordinator fails (its broker is killed or paused at that moment), the request waits for the next
//! change of any broker's state (`rd_kafka_coord_req_handle_FindCoordinator` of 2.12.1: "rely on state broadcast to
//! trigger retry") and has no deadline. Once all brokers are well again nothing changes any more:
//! `rd_kafka_send_offsets_to_transaction` has been seen to wait until its process was ended, on three brokers of which
//! one was killed, with all the brokers ready. So these calls are made on a thread that the lane can leave behind: the
//! lane opens again with another client, and the fence makes whatever the old one still sends void.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::producer::BaseProducer;
use runtime::disposal::{Aside, Mark};

use super::reports::LaneContext;

/// How long the coordinators are asked in one call; a well one answers within milliseconds, a busy one is asked again.
pub(super) const ASKED_FOR: Duration = Duration::from_secs(5);
/// By how much a call may outlast the time that it was given before its client counts as hung.
const SLACK: Duration = Duration::from_secs(2);

type Call = Box<dyn FnOnce(&BaseProducer<LaneContext>) + Send>;

/// A producer, and the thread that makes its calls to coordinators.
pub(super) struct BoundedClient {
    client: Arc<Aside<BaseProducer<LaneContext>>>,
    calls: Sender<Call>,
    /// Counts the client among those that do not end, from the moment it is left behind until its call returns.
    left_behind: Arc<Mutex<Option<Mark>>>,
}

impl std::ops::Deref for BoundedClient {
    type Target = BaseProducer<LaneContext>;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl BoundedClient {
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn new(id: &str, client: BaseProducer<LaneContext>) -> std::io::Result<Self> {
        let client = Arc::new(Aside::new("a lane's producer", client));
        let (calls, todo) = channel();
        let left_behind = Arc::<Mutex<Option<Mark>>>::default();
        let (theirs, mark) = (Arc::clone(&client), Arc::clone(&left_behind));
        std::thread::Builder::new().name(format!("txn-{id}")).spawn(move || make(&todo, theirs, &mark))?;
        Ok(Self { client, calls, left_behind })
    }

    /// Makes a call that was told to take at most `timeout`. `None` when it did not return: the client is of no more
    /// use, and each further call returns `None` at once.
    pub(super) fn call<R: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&BaseProducer<LaneContext>) -> R + Send + 'static,
    ) -> Option<R> {
        if self.is_left_behind() {
            return None;
        }
        let (tell, told) = sync_channel(1);
        let sent = self.calls.send(Box::new(move |client| {
            // Where the lane has gone on, the answer is of no interest any more.
            let _ = tell.send(call(client));
        }));
        if sent.is_ok()
            && let Ok(answer) = told.recv_timeout(timeout + SLACK)
        {
            return Some(answer);
        }
        *lock(&self.left_behind) = Some(Mark::new("a lane's producer that does not return from a call"));
        None
    }

    fn is_left_behind(&self) -> bool {
        lock(&self.left_behind).is_some()
    }
}

fn make(todo: &Receiver<Call>, client: Arc<Aside<BaseProducer<LaneContext>>>, mark: &Mutex<Option<Mark>>) {
    while let Ok(call) = todo.recv() {
        call(&client);
    }
    drop(client);
    lock(mark).take();
}

fn lock(mark: &Mutex<Option<Mark>>) -> MutexGuard<'_, Option<Mark>> {
    mark.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::bindings::rd_kafka_resp_err_t as Response;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;
    use runtime::disposal::still_ending;

    use super::super::{Fence, Position, TxnError, Writes};
    use super::*;
    use crate::cluster::Cluster;
    use crate::topics::Topic;

    #[test]
    fn a_lane_whose_group_coordinator_is_not_found_ends_within_its_bound_and_can_open_again() {
        let brokers = MockCluster::new(3).unwrap();
        brokers.create_topic(Topic::Raw.name(), 1, 1).unwrap();
        let cluster = Cluster::new(brokers.bootstrap_servers());
        let position = Position { topic: Topic::Raw, partition: 0, next: 1, metadata: String::new() };
        let open = || Fence::open_id(&cluster, "bounded", Duration::from_secs(10), Writes::records([]));
        let mut tries = 0..5;
        let (mut lane, error, took) = loop {
            let mut lane = open().unwrap();
            // What a search meets while coordinators move: the client searches again when a broker comes or goes.
            brokers.request_errors(RDKafkaApiKey::FindCoordinator, &[Response::RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
            lane.begin().unwrap();
            let begun = Instant::now();
            match lane.commit("group", std::slice::from_ref(&position)) {
                Err(error) => break (lane, error, begun.elapsed()),
                // The search for the coordinator of transactions, which the client repeats, has met it.
                Ok(()) => assert!(tries.next().is_some(), "no search for the group's coordinator met the answer"),
            }
        };
        assert!(matches!(error, TxnError::Fatal { .. }), "{error}");
        assert!(took < ASKED_FOR + SLACK * 2, "{took:?}");
        // As a lane does before it opens again.
        let begun = Instant::now();
        lane.abort().unwrap_err();
        assert!(begun.elapsed() < SLACK * 2, "a client that hangs is not asked again: {:?}", begun.elapsed());
        drop(lane);
        assert!(still_ending().iter().any(|(what, _)| what.contains("does not return")), "it is counted");
        let mut lane = open().unwrap();
        lane.begin().unwrap();
        lane.commit("group", &[position]).unwrap();
    }
}
