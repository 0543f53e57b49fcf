//! What people do to topics and positions with Kafka's own tools: it is noticed, said, and has a way out. On the real engines.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use testkit::oracle::every_offset_is_one_row;

use crate::harness::until;
use crate::installation::{Installation, LANES, PATIENCE, lanes};
use crate::tool::said;

impl Installation {
    /// A client with Kafka's own view of the positions of a stage.
    fn positions(&self, group: &str) -> BaseConsumer {
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", &self.up.addresses.kafka).set("group.id", group).create().unwrap()
    }

    /// The committed positions of a stage on the topic that it reads, one a lane, with what stands beside them.
    fn committed(&self, group: &str, topic: &str) -> TopicPartitionList {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, LANES - 1);
        self.positions(group).committed_offsets(asked, Duration::from_secs(20)).unwrap()
    }

    /// Deletes the position of `process`, as the runbook says.
    async fn forget_process(&self) {
        let forgotten = async || {
            let gone = self.admin().delete_groups(&["hookline-process"], &AdminOptions::new()).await.ok()?;
            gone.into_iter().all(|group| group.is_ok()).then_some(())
        };
        until(PATIENCE, "the group is deleted", forgotten).await.unwrap();
    }

    /// Deletes a topic and makes it again, empty, as Kafka's tools do.
    async fn made_again(&self, topic: &str, partitions: i32) {
        let admin = self.admin();
        admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "2097152");
        let new = match topic {
            "hookline.raw.v1" => new.set("message.timestamp.type", "LogAppendTime"),
            "hookline.control.v1" => new.set("cleanup.policy", "compact"),
            _ => new,
        };
        let made = async || {
            let made = admin.create_topics([&new], &AdminOptions::new()).await.ok()?;
            made.into_iter().all(|topic| topic.is_ok()).then_some(())
        };
        until(PATIENCE, "the topic is there again", made).await.unwrap();
    }

    /// Starts again what has ended by itself, as whatever supervises services does: one that finds topics that others are just making
    /// may give up. Until all are ready.
    async fn supervise(&self) {
        let client = testkit::http::client(PATIENCE).unwrap();
        let all = async || {
            for name in self.fleet.ended().unwrap() {
                self.fleet.restart(&name).unwrap();
            }
            for service in ["ingest", "process", "report"] {
                let url = format!("{}/readyz", self.fleet.metrics(service)?);
                if !client.get(url).send().await.ok()?.status().is_success() {
                    return None;
                }
            }
            Some(())
        };
        let ready = until(PATIENCE, "all services are ready", all).await;
        ready.unwrap_or_else(|error| panic!("{error:#}\n{}", self.fleet.logs()));
    }

    /// Stops everything, begins a new life of the topics, and counts on from there: `rows` in all.
    async fn starts_anew(&mut self, why: &str, number: usize, rows: u64) -> Value {
        for service in ["ingest", "process", "report"] {
            self.fleet.kill(service).unwrap();
        }
        self.does(&["ledger", "start-anew", "--apply", "--who", "ana", "--why", why]).await;
        for service in ["ingest", "process", "report"] {
            self.fleet.restart(service).unwrap();
        }
        self.supervise().await;
        self.send_and_see(number, rows).await;
        self.balances().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_process_that_is_lost_is_found_in_seen_and_one_that_was_moved_is_refused() {
    let mut it = Installation::start().await;
    it.send_and_see(80, 80).await;

    // Lost: nothing has to be done.
    it.fleet.kill("process").unwrap();
    it.forget_process().await;
    it.fleet.restart("process").unwrap();
    it.says("process", "the committed position is gone; seen has it").await;
    it.send_and_see(40, 120).await;
    it.balances().await;

    // Moved back with all that stands beside it, so that nothing but the offset is wrong; then with nothing beside it.
    for (beside, reason) in [(true, "position"), (false, "position")] {
        it.fleet.kill("process").unwrap();
        let mut moved = TopicPartitionList::new();
        for lane in it.committed("hookline-process", "hookline.raw.v1").elements() {
            let Offset::Offset(next) = lane.offset() else { panic!("{lane:?} has no position") };
            assert!(next > 3, "every lane has records");
            let mut back = moved.add_partition(lane.topic(), lane.partition());
            back.set_offset(Offset::Offset(next - 3)).unwrap();
            if beside {
                back.set_metadata(lane.metadata());
            }
        }
        it.positions("hookline-process").commit(&moved, CommitMode::Sync).unwrap();
        it.fleet.restart("process").unwrap();
        it.stands_still("process", reason).await;
        let log = it.says("process", "forget-process").await;
        assert!(log.contains("the lane stands still"), "{log}");
        // Nothing was written a second time meanwhile, and the way out that is said leads on.
        it.fleet.kill("process").unwrap();
        it.forget_process().await;
        it.fleet.restart("process").unwrap();
        let rows = if beside { 140 } else { 160 };
        it.send_and_see(20, rows).await;
        it.balances().await;
    }
    assert_eq!(it.asker().number("SELECT countIf(outcome = 'event') FROM hookline.records").await.unwrap(), 160);
    every_offset_is_one_row(&it.asker()).await.unwrap();
}

/// What Kafka's coordinator can do after a crash is done by hand here: the positions of a while ago are the committed ones again, with
/// all that stands beside them.
#[tokio::test(flavor = "multi_thread")]
async fn earlier_positions_that_a_broker_gives_out_are_not_obeyed_and_nothing_counts_twice() {
    const READS: [(&str, &str, &str); 3] = [
        ("process", "hookline-process", "hookline.raw.v1"),
        ("report", "hookline-report", "hookline.events.v1"),
        ("detect", "hookline-detect", "hookline.signals.v1"),
    ];
    let mut it = Installation::of(&["ingest", "process", "report", "detect"]).await;
    it.send_and_see(80, 80).await;
    it.balances().await;
    let had = async || {
        let detects = it.committed("hookline-detect", "hookline.signals.v1");
        detects.elements().iter().all(|lane| matches!(lane.offset(), Offset::Offset(next) if next > 0)).then_some(())
    };
    until(PATIENCE, "detect has positions", had).await.unwrap();
    let early = READS.map(|(_, group, topic)| it.committed(group, topic));
    // Several blocks a lane.
    for rows in [160, 240, 320] {
        it.send_and_see(80, rows).await;
    }
    for ((_, group, topic), early) in READS.into_iter().zip(&early) {
        let moved = async || {
            let now = it.committed(group, topic);
            now.elements().iter().zip(early.elements()).all(|(now, then)| now.offset() != then.offset()).then_some(())
        };
        until(PATIENCE, "every position has moved on", moved).await.unwrap();
    }
    for (service, ..) in READS {
        it.fleet.kill(service).unwrap();
    }
    for ((_, group, _), early) in READS.into_iter().zip(&early) {
        it.positions(group).commit(early, CommitMode::Sync).unwrap();
    }
    for (service, ..) in READS {
        it.fleet.restart(service).unwrap();
    }
    for (service, ..) in READS {
        it.says(service, "the broker gave out an earlier").await;
    }
    it.send_and_see(40, 360).await;
    it.balances().await;
    assert_eq!(it.asker().number("SELECT countIf(outcome = 'event') FROM hookline.records").await.unwrap(), 360);
    every_offset_is_one_row(&it.asker()).await.unwrap();
    for (service, ..) in READS {
        let url = format!("{}/metrics", it.fleet.metrics(service).unwrap());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let line = format!("hookline_position_disagreements_total{{service=\"{service}\"}} ");
        let times =
            text.lines().find_map(|found| found.strip_prefix(&line)).map(|number| number.parse::<u32>().unwrap());
        assert!(times.is_some_and(|times| times > 0), "{service}: {times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_were_made_again_by_hand_are_not_taken_for_the_old_ones() {
    let mut it = Installation::start().await;
    it.send_and_see(60, 60).await;

    // raw, with fewer records than before: process refuses its offsets.
    for service in ["ingest", "process"] {
        it.fleet.kill(service).unwrap();
    }
    it.made_again("hookline.raw.v1", LANES).await;
    it.fleet.restart("process").unwrap();
    it.stands_still("process", "raw_replaced").await;
    it.starts_anew("raw was made again", 40, 100).await;

    // events: report does not go on in it, and recover says what it is.
    for service in ["process", "report"] {
        it.fleet.kill(service).unwrap();
    }
    it.made_again("hookline.events.v1", LANES).await;
    for service in ["process", "report"] {
        it.fleet.restart(service).unwrap();
    }
    it.send(40).await;
    it.stands_still("report", "rows_beyond_position").await;
    let (code, _, error) = said(&it.config(), &["ledger", "recover"]).await.unwrap();
    assert!(code == 2 && error.contains("hookline.events.v1 was deleted and made again"), "{code} {error}");
    it.starts_anew("events was made again", 40, 140).await;

    // The identity: nobody makes another one over records.
    for service in ["ingest", "process", "report"] {
        it.fleet.kill(service).unwrap();
    }
    it.made_again("hookline.control.v1", 1).await;
    for service in ["ingest", "process", "report"] {
        it.fleet.restart(service).unwrap();
        let log = it.says(service, "holds no identity").await;
        assert!(log.contains("hookline ledger start-anew"), "{log}");
    }
    let ledger = it.starts_anew("control was made again", 40, 180).await;
    let lives = it.asker().number("SELECT uniqExact(incarnation) FROM hookline.records").await.unwrap();
    assert_eq!(lives, 4);
    assert!(!lanes(&ledger).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_offsets_no_row_has_is_made_again_by_a_command() {
    let mut it = Installation::start().await;
    it.send_and_see(60, 60).await;
    for service in ["ingest", "process", "report"] {
        it.fleet.kill(service).unwrap();
    }
    it.admin().delete_topics(&["hookline.alerts.v1"], &AdminOptions::new()).await.unwrap();
    it.fleet.restart("process").unwrap();
    let log = it.says("process", "hookline.alerts.v1 is gone from Kafka").await;
    assert!(log.contains("hookline ledger recreate-topic hookline.alerts.v1"), "{log}");
    let wrong = ["ledger", "recreate-topic", "hookline.events.v1", "--why", "x"];
    let (code, _, error) = said(&it.config(), &wrong).await.unwrap();
    assert_eq!(code, 2, "{error}");
    it.does(&["ledger", "recreate-topic", "hookline.alerts.v1", "--why", "deleted by mistake"]).await;
    for service in ["ingest", "process", "report"] {
        it.fleet.kill(service).unwrap();
        it.fleet.restart(service).unwrap();
    }
    it.supervise().await;
    it.send_and_see(40, 100).await;
    it.balances().await;
    every_offset_is_one_row(&it.asker()).await.unwrap();
}
