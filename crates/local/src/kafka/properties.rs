//! The settings of a node, as Kafka reads them.

use std::fmt::Write;
use std::path::Path;

/// Where one node listens, on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) broker: u16,
    pub(super) controller: u16,
}

/// How long nodes wait for each other, in milliseconds.
struct QuorumTimeouts {
    /// Until a silent broker is fenced, and others lead what it led.
    session: u32,
    heartbeat: u32,
    /// Until a voter that hears nothing of the leader asks for another.
    fetch: u32,
    election: u32,
    backoff: u32,
}

impl QuorumTimeouts {
    /// One node waits for its own past alone. Several share a machine and its moments of heavy load: with 500 ms of
    /// `fetch` and 300 ms of `election`, three nodes on two busy cores elected a controller 158 times in seven minutes,
    /// and after a kill no partition had a leader for 11 s at a time. With 2 s of `session`, a new controller at a
    /// load of 30 fenced brokers that were well, again and again: what one of them led had no leader for half a
    /// minute.
    fn of(nodes: usize) -> Self {
        if nodes > 1 {
            Self { session: 5000, heartbeat: 500, fetch: 2000, election: 600, backoff: 300 }
        } else {
            Self { session: 1500, heartbeat: 300, fetch: 500, election: 300, backoff: 100 }
        }
    }
}

/// The settings of node `id` (from 1) of as many nodes as there are `ports`. Ports are settings of each start: the
/// controllers' are free to change, since the voters are named here and not in the log.
pub(super) fn properties(id: usize, ports: &[Ports], log_dir: &Path) -> String {
    let own = ports.get(id - 1).copied().unwrap_or(Ports { broker: 0, controller: 0 });
    let Ports { broker: port, controller: controller_port } = own;
    let mut voters = String::new();
    for (at, ports) in ports.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(voters, "{comma}{}@127.0.0.1:{}", at + 1, ports.controller);
    }
    // With three nodes each record is on three disks, and is acknowledged when it is on two.
    let (replication, in_sync) = if ports.len() >= 3 { (3, 2) } else { (1, 1) };
    // Of several, what is cut off keeps the others for a few seconds, not for half a minute: followers that do not
    // fetch are waited for by each write, answers of a silent node by each commit. And a broker that is back leads
    // its share again soon: by default for up to five minutes one may lead all, and then everything waits for it when
    // clients do not reach it.
    let (lag, request, balance) = if ports.len() > 1 { (6_000, 6_000, 15) } else { (30_000, 30_000, 300) };
    let QuorumTimeouts { session, heartbeat, fetch, election, backoff } = QuorumTimeouts::of(ports.len());
    // In properties files a backslash escapes; nothing else in a value does.
    let log_dir = log_dir.display().to_string().replace('\\', "\\\\");
    format!(
        "\
# Written by hookline at every start.
process.roles=broker,controller
node.id={id}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={log_dir}

# After a kill the node registers again when its old session has expired.
broker.session.timeout.ms={session}
broker.heartbeat.interval.ms={heartbeat}
controller.quorum.election.timeout.ms={election}
controller.quorum.fetch.timeout.ms={fetch}
controller.quorum.election.backoff.max.ms={backoff}

# A handful of clients.
default.replication.factor={replication}
min.insync.replicas={in_sync}
unclean.leader.election.enable=false
replica.lag.time.max.ms={lag}
request.timeout.ms={request}
controller.socket.timeout.ms={request}
leader.imbalance.check.interval.seconds={balance}
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=4
offsets.topic.segment.bytes=16777216
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=16777216
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4

# Topics are created with intent, positions are kept for good, abandoned transactions are aborted at once.
auto.create.topics.enable=false
offsets.retention.minutes=2147483647
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# Groups form without a wait, and may ask for short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=1000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=300

# Small segments: less to read again after a kill, and retention works in smaller steps. The index of one is preallocated.
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.retention.check.interval.ms=60000
log.cleaner.dedupe.buffer.size=33554432
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(nodes: u16) -> Vec<Ports> {
        (0..nodes).map(|at| Ports { broker: 9092 + at, controller: 20_001 + at }).collect()
    }

    #[test]
    fn no_setting_is_given_twice_and_ports_reach_the_listeners() {
        for nodes in [1, 3] {
            let text = properties(1, &ports(nodes), Path::new("/data folder/kafka/log"));
            let mut keys: Vec<&str> =
                text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
            let all = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), all);
            assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:20001\n"));
            assert!(text.contains("\nlog.dirs=/data folder/kafka/log\n"));
        }
    }

    #[test]
    fn one_node_votes_alone_and_three_keep_each_record_on_two_disks() {
        let alone = properties(1, &ports(1), Path::new("/log"));
        assert!(alone.contains("\ncontroller.quorum.voters=1@127.0.0.1:20001\n"));
        assert!(alone.contains("\noffsets.topic.replication.factor=1\n"));
        let second = properties(2, &ports(3), Path::new("/log"));
        let voters = "1@127.0.0.1:20001,2@127.0.0.1:20002,3@127.0.0.1:20003";
        assert!(second.contains(&format!("\ncontroller.quorum.voters={voters}\n")));
        assert!(
            second.contains("\nnode.id=2\n") && second.contains("\nadvertised.listeners=PLAINTEXT://127.0.0.1:9093\n")
        );
        for (topic, in_sync) in [("transaction.state.log", "min.isr"), ("share.coordinator.state.topic", "min.isr")] {
            assert!(second.contains(&format!("\n{topic}.replication.factor=3\n{topic}.{in_sync}=2\n")), "{topic}");
        }
        // A controller is not voted out by a moment of load.
        assert!(second.contains("\ncontroller.quorum.fetch.timeout.ms=2000\n"));
        assert!(second.contains("\nreplica.lag.time.max.ms=6000\nrequest.timeout.ms=6000\n"));
        assert!(alone.contains("\nreplica.lag.time.max.ms=30000\n"));
        assert!(second.contains("\nmin.insync.replicas=2\nunclean.leader.election.enable=false\n"));
    }
}
