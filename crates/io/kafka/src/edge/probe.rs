//! Whether brokers answer: asked once a second while nothing is delivered, by a thread that does nothing else.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use runtime::Backoff;
use runtime::disposal::still_ending;

use super::{PROBE_EVERY, Shared};
use crate::topics::Topic;

/// How long a client may go without an answer from any broker before another one is tried. Longer with each client that
/// gets no answer either, since then it is Kafka that is away.
const GIVE_UP: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(30));
/// Clients that were given up and have not ended. With as many, no further one is given up: each holds threads and
/// memory.
const MOST_ENDING: usize = 16;

/// Keeps [`super::Health::up`].
pub(super) fn probe(shared: &Shared) {
    let health = &shared.health;
    let (mut seen, mut number) = (0, 0);
    let (mut unanswered_since, mut given_up) = (Instant::now(), GIVE_UP);
    let mut give_up_after = given_up.pause();
    let beat = shared.options.beats.register("edge", "edge-probe");
    while !shared.stop.load(Ordering::Relaxed) {
        beat.tick();
        let delivered = health.delivered.load(Ordering::Relaxed);
        let flowing = health.up.load(Ordering::Relaxed) && delivered != seen;
        seen = delivered;
        if !flowing {
            let client = shared.client();
            let asked = health.current.load(Ordering::Relaxed);
            let answer = client.client().fetch_metadata(Some(Topic::Raw.name()), Duration::from_secs(2));
            let up = answer.is_ok_and(|metadata| {
                metadata.topics().iter().flat_map(|topic| topic.partitions()).any(|partition| partition.leader() >= 0)
            });
            // An answer of a client that was given up meanwhile says nothing about the new one.
            if asked == health.current.load(Ordering::Relaxed) && health.up.swap(up, Ordering::Relaxed) != up {
                tracing::info!(up, "the edge's way to Kafka");
            }
        }
        if health.up.load(Ordering::Relaxed) {
            given_up.reset();
            (unanswered_since, give_up_after) = (Instant::now(), given_up.pause());
        } else if number != health.current.load(Ordering::Relaxed) {
            number = health.current.load(Ordering::Relaxed);
            unanswered_since = Instant::now();
        } else if unanswered_since.elapsed() >= give_up_after {
            if still_ending().len() < MOST_ENDING {
                health.unanswered.store(true, Ordering::Relaxed);
            } else {
                tracing::error!(
                    "no broker answers, and {MOST_ENDING} clients that were given up have not ended; restart the process"
                );
            }
            (unanswered_since, give_up_after) = (Instant::now(), given_up.pause());
        }
        std::thread::park_timeout(if health.up.load(Ordering::Relaxed) { PROBE_EVERY } else { PROBE_EVERY / 4 });
    }
}
