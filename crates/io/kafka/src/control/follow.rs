//! Following the switches for as long as a service runs.

use std::time::{Duration, Instant};

use super::identity;
use super::switches::{Kind, Switches};
use crate::cluster::Cluster;
use crate::lane::{EndIs, Ends, Isolation, LaneReader, ScanError, pause, read_all_committed};
use crate::topics::Topic;

/// How often the broker is asked whether there is more than was read: a broker that is away is silent, too.
const CONFIRM_EVERY: Duration = Duration::from_secs(2);

/// Keeps the switches of one kind of objects: committed records only, from the beginning of the topic. Blocking, for a thread of
/// its own.
///
/// What was read once stays when Kafka is away, and when records come that this build cannot read.
#[derive(Debug)]
pub struct Follower {
    cluster: Cluster,
    switches: Switches,
    /// The switches of other kinds that are followed as well.
    others: Vec<Switches>,
    reader: Option<LaneReader>,
    /// One past what was read, and what brokers have told of the end since.
    next: i64,
    ends: Ends,
    /// The identity of the pipeline that is followed: the record's bytes.
    identity: Option<Vec<u8>>,
    standing: Standing,
    asked: Option<Instant>,
}

/// How far a [`Follower`] is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether everything was read once: before that, nothing is known of any object.
    pub read: bool,
    /// Records that are known to be there and were not read.
    pub records_behind: u64,
    /// When it was last certain that nothing newer is there.
    pub current_at: Option<Instant>,
    /// What keeps it from reading on, in words; `None` while it reads.
    pub problem: Option<String>,
}

impl Follower {
    /// Follows the switches of `kind`. No broker is asked yet.
    #[must_use]
    pub fn new(cluster: Cluster, kind: Kind) -> Self {
        Self::of(cluster, kind, &[])
    }

    /// Follows the switches of `kind`, and of other kinds beside it. No broker is asked yet.
    #[must_use]
    pub fn of(cluster: Cluster, kind: Kind, others: &[Kind]) -> Self {
        let (switches, standing) = (Switches::new(kind), Standing::default());
        let others = others.iter().copied().map(Switches::new).collect();
        let (reader, ends) = (None, Ends::default());
        Self { cluster, switches, others, reader, next: 0, ends, identity: None, standing, asked: None }
    }

    /// What is switched, as far as it is known: look at [`Standing::read`] first.
    #[must_use]
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// What is switched of every kind that is followed.
    pub fn all(&self) -> impl Iterator<Item = &Switches> {
        std::iter::once(&self.switches).chain(&self.others)
    }

    /// How far it is.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Reads on, waiting at most `wait` for something new (longer while Kafka is away). Returns whether something was switched.
    pub fn turn(&mut self, wait: Duration) -> bool {
        let Some(reader) = self.reader.take() else { return self.read_whole(wait) };
        match read_on(&reader, &mut self.switches, &mut self.others, wait) {
            Ok(changed) => {
                self.confirm(&reader);
                self.next = self.next.max(reader.position());
                self.reader = Some(reader);
                changed
            }
            Err(problem) => {
                self.standing.problem = Some(problem);
                false
            }
        }
    }

    /// Reads the topic from its beginning, then opens it at its end.
    fn read_whole(&mut self, wait: Duration) -> bool {
        match self.try_read_whole() {
            Ok(changed) => changed,
            Err(problem) => {
                self.standing.problem = Some(problem);
                pause("the control topic", wait);
                false
            }
        }
    }

    fn try_read_whole(&mut self) -> Result<bool, String> {
        let (mut switches, mut others, mut identity) = (self.switches.clone(), self.others.clone(), None);
        let scanned =
            read_all_committed::<std::convert::Infallible>(&self.cluster, Topic::Control, 0, None, None, |record| {
                let key = record.key().unwrap_or_default();
                if key == identity::KEY && identity.is_none() {
                    identity = record.payload().map(<[u8]>::to_vec);
                }
                switches.apply(key, record.payload());
                for other in &mut others {
                    other.apply(key, record.payload());
                }
                Ok(())
            });
        let scanned = scanned.map_err(|error: ScanError<_>| error.to_string())?;
        if identity.is_none() {
            return Err(format!("{} holds no identity yet", Topic::Control));
        }
        if self.identity.is_some() && self.identity != identity {
            return Err(format!(
                "{} was created anew by another pipeline; what was read before holds until this service is started again",
                Topic::Control
            ));
        }
        // A broker that is cut off from the others would give back switches of before.
        if self.ends.judge(scanned.end, self.next, Instant::now()) == EndIs::Doubted {
            return Err(format!(
                "a broker says that {} ends at offset {}, and all below {} was read: it may be cut off from the others; what \
                 was read before holds",
                Topic::Control,
                scanned.end,
                self.next
            ));
        }
        let reader = LaneReader::open(&self.cluster, Topic::Control, 0, scanned.end, Isolation::Committed)
            .map_err(|error| error.to_string())?;
        let changed = !self.standing.read || self.switches != switches || self.others != others;
        (self.switches, self.others) = (switches, others);
        self.identity = identity;
        (self.reader, self.next) = (Some(reader), scanned.end);
        let now = Instant::now();
        self.asked = Some(now);
        self.standing = Standing { read: true, records_behind: 0, current_at: Some(now), problem: None };
        Ok(changed)
    }

    /// Asks the broker, now and then, whether there is more.
    fn confirm(&mut self, reader: &LaneReader) {
        let now = Instant::now();
        if self.asked.is_some_and(|asked| now - asked < CONFIRM_EVERY) {
            return;
        }
        self.asked = Some(now);
        match reader.ask_end(CONFIRM_EVERY) {
            Ok(end) => {
                let behind = if reader.is_at_end() { 0 } else { u64::try_from(end - reader.position()).unwrap_or(0) };
                self.standing.records_behind = behind;
                self.standing.problem = None;
                if behind == 0 {
                    self.standing.current_at = Some(now);
                }
            }
            Err(error) => self.standing.problem = Some(error.to_string()),
        }
    }
}

fn read_on(
    reader: &LaneReader,
    switches: &mut Switches,
    others: &mut [Switches],
    wait: Duration,
) -> Result<bool, String> {
    let records = reader.fetch(1_000, wait).map_err(|error| error.to_string())?;
    let mut changed = false;
    for record in &records {
        for switches in std::iter::once(&mut *switches).chain(others.iter_mut()) {
            changed |= switches.apply(record.key().unwrap_or_default(), record.payload());
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rdkafka::config::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

    use super::super::switches::{Change, Object, State, Switch};
    use super::*;

    /// A broker with the identity of a pipeline, and with a source that was paused where it has heard of that.
    fn broker(paused: bool) -> MockCluster<'static, DefaultProducerContext> {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic(Topic::Control.name(), 1, 1).unwrap();
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create().unwrap();
        let mut records = vec![(String::from_utf8_lossy(identity::KEY).into_owned(), b"{}".to_vec())];
        if paused {
            let (at, state) = (Timestamp::UNIX_EPOCH, State::Pause);
            let switch = Switch { state, who: "ana".into(), why: "a test".into(), until: None, at };
            let change = Change { object: Object::source("dub"), was: State::Accept, switch };
            records.extend(change.records("1").unwrap());
        }
        for (key, value) in &records {
            producer.send(BaseRecord::to(Topic::Control.name()).partition(0).key(key).payload(value)).unwrap();
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        broker
    }

    #[test]
    fn a_broker_that_has_fallen_behind_gives_back_no_switch_of_before() {
        let (whole, behind) = (broker(true), broker(false));
        let mut follower = Follower::new(Cluster::new(whole.bootstrap_servers()), Kind::Source);
        let soon = Duration::from_millis(10);
        let begun = Instant::now();
        while !follower.turn(soon) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", follower.standing());
        }
        let is_paused = |follower: &Follower| follower.switches().get("dub").map(|switch| switch.state);
        assert_eq!(is_paused(&follower), Some(State::Pause));

        (follower.cluster, follower.reader) = (Cluster::new(behind.bootstrap_servers()), None);
        assert!(!follower.turn(soon), "nothing was switched");
        assert_eq!(is_paused(&follower), Some(State::Pause));
        let problem = follower.standing().problem.clone().unwrap();
        assert!(problem.contains("ends at offset 1") && problem.contains("what was read before holds"), "{problem}");

        (follower.cluster, follower.reader) = (Cluster::new(whole.bootstrap_servers()), None);
        follower.turn(soon);
        assert_eq!((is_paused(&follower), &follower.standing().problem), (Some(State::Pause), &None));
    }
}
