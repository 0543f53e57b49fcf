//! Kafka, with `raw` stamped by its writer while a slice is written, and by the broker again after it.

use std::time::Duration;

use event::lane;
use event::raw::RawHeaders;
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use traffic::canonical::Generator;

use super::made::{Seen, Who};
use super::{LANES, event_key};
use crate::harness::SOON;

/// Writes the day into `raw`.
pub(super) struct Writer {
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer,
    positions: Positions,
    generator: Generator,
    ends: [i64; LANES as usize],
}

impl Writer {
    pub(super) fn new(brokers: &str) -> Self {
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", brokers);
        Self {
            admin: client.create().unwrap(),
            producer: client.create().unwrap(),
            positions: Positions::open(&Cluster::new(brokers), "hookline-process", SOON).unwrap(),
            generator: Generator::new(3),
            ends: [0; LANES as usize],
        }
    }

    async fn stamped_by(&self, by: &str) {
        let topic = Topic::Raw.to_string();
        let config = AlterConfig::new(ResourceSpecifier::Topic(&topic))
            .set("message.timestamp.type", by)
            .set("message.timestamp.after.max.ms", "9223372036854775807")
            .set("max.message.bytes", "2097152")
            .set("min.insync.replicas", "1");
        let done = self.admin.alter_configs([&config], &AdminOptions::new()).await.unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    /// Writes events, each at its time, and a bot's visit of each lane at the end of the slice.
    pub(super) async fn write(&mut self, day: &[Seen], first: usize, end: i64) {
        self.stamped_by("CreateTime").await;
        for (number, seen) in (first..).zip(day) {
            self.send(&event_key(number), seen);
        }
        for lane in 0..LANES {
            let key = (0..).map(|n| format!("tick:{end}:{n}")).find(|key| lane::of_key(key.as_bytes(), LANES) == lane);
            let tick = Seen { kind: "bio", who: Who::Bot, ..Seen::human(end, "tick") };
            self.send(&key.unwrap(), &tick);
        }
        self.producer.flush(SOON).unwrap();
        self.stamped_by("LogAppendTime").await;
    }

    fn send(&mut self, key: &str, seen: &Seen) {
        let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
        let slug = seen.slug();
        let error = if seen.r#type == "error" { json!({ "kind": "destination_unavailable" }) } else { json!(null) };
        let extra = seen.counter.map(|counter| json!({ "clicks_total": counter.to_string() }));
        let body = self.generator.event_with(&json!({
            "id": key, "type": seen.r#type, "time": time(seen.at - seen.late_ms), "campaign": seen.campaign, "error": error,
            "channel": "email", "utm": null, "partner": null, "launch": null, "extra": extra,
            "link": { "id": format!("l_{slug}"), "domain": "go.acme.example", "slug": slug, "kind": seen.kind, "destination_url": format!("https://{}/x", seen.host) },
            "visitor": {
                "ip": if seen.who == Who::Internal { "198.51.100.7" } else { "203.0.113.9" },
                "bot": seen.who == Who::Bot, "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            },
        }));
        let raw = RawHeaders {
            source: seen.source.into(),
            adapter: "canonical".into(),
            received_at: seen.at,
            request_id: "req_day".into(),
            secret_id: "first".into(),
            ordinal: 0,
            content_type: "application/json".into(),
            ..RawHeaders::default()
        };
        let raw_headers = raw.to_headers();
        let headers = raw_headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name.as_ref(), value: Some(value) })
        });
        let lane = lane::of_key(key.as_bytes(), LANES);
        self.ends[usize::from(lane)] += 1;
        let topic = Topic::Raw.to_string();
        let mut record = BaseRecord::to(&topic)
            .key(key)
            .payload(&body)
            .partition(i32::from(lane))
            .timestamp(seen.at)
            .headers(headers);
        while let Err((_, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(20));
            record = back;
        }
    }

    /// Whether `process` has committed everything that was written.
    pub(super) fn is_processed(&self) -> bool {
        (0..LANES).all(|lane| {
            let committed = self.positions.committed(Topic::Raw, lane).ok().flatten();
            committed.is_some_and(|committed| committed.next >= self.ends[usize::from(lane)])
        })
    }
}
