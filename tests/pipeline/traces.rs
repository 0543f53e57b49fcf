//! Traces: one event seen whole, from the sender's context to the row and the message, and a collector that is away
//! costs nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signature::{Scheme, Secret};
use testkit::collector::{Collector, Mood, Seen};
use testkit::receiver::{Platform, Receiver};
use testkit::{House, Sender};
use traffic::canonical::Generator;

use crate::alerts::SECRET;
use crate::harness::{Running, SOON, until};

const SENDERS_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDERS_SPAN: &str = "00f067aa0ba902b7";
/// Bodies of a burst. The cap a second leaves most of them untraced, as it should.
const BURST: u64 = 600;

/// Two sources: the traces of `own` go on here, those of `other` do not. A rule sends each event of `own` to a webhook.
fn config(collector: &Collector, receiver: &Receiver) -> String {
    let hook = Platform::Webhook.section(receiver.address);
    let hook: Vec<&str> = hook.lines().filter(|line| !line.starts_with("secret")).collect();
    let source = |name: &str| {
        format!(
            "[source.{name}]\nadapter = \"canonical\"\nowner = \"me\"\nsecrets = [{{ id = \"first\", file = \"secret\" }}]\n"
        )
    };
    format!(
        "version = 1\n[owner]\nme = {{ name = \"Me\" }}\n{}{}\
         [traces]\nendpoint = \"http://{}\"\none_in = 0\nmax_per_second = 50\ntrusted_sources = [\"own\"]\ntimeout = \"3s\"\n\
         [destination.hook]\nowner = \"me\"\nsecret = {{ file = \"secret\" }}\n{}\n\
         [rule.each]\nowner = \"me\"\nwhen = {{ event = \"error\" }}\nalert = {{ each = true }}\nsend = {{ to = [\"hook\"] }}\ndo = \"Look.\"\n",
        source("own"),
        source("other"),
        collector.address,
        hook.join("\n"),
    )
}

fn traced(sender: &Sender, body: &[u8], trace: &str) -> Vec<(String, String)> {
    let mut headers = sender.headers(body).unwrap();
    headers.push(("traceparent".to_owned(), format!("00-{trace}-{SENDERS_SPAN}-01")));
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_seen_whole_and_a_collector_that_is_away_slow_or_broken_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path()).await.unwrap();
    if !collector.is_real() {
        println!(
            "NOT A REAL COLLECTOR: tests/otel-collector builds one; the receiver of this test reads the spans instead"
        );
    }
    let receiver = Receiver::start(Platform::Webhook).unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/secret"), SECRET).unwrap();
    let file = folder.path().join("data/hookline.toml");
    std::fs::write(&file, config(&collector, &receiver)).unwrap();
    let data = folder.path().join("data");
    let house = tokio::task::spawn_blocking(move || House::up(&data, &["--config", file.to_str().unwrap()]));
    let mut running = Running { house: house.await.unwrap().unwrap(), folder };
    let sender =
        |source: &str| Sender::new(running.ingest(), source, Scheme::StandardWebhooks, Secret::new("first", SECRET));
    let (own, other) = (sender("own").unwrap(), sender("other").unwrap());

    // A sender that is not trusted cannot have anything traced, whatever its flag says.
    let mut events = Generator::new(3);
    let body = events.error();
    let (status, _) = other.post(&body, &traced(&other, &body, "11111111111111111111111111111111")).await.unwrap();
    assert_eq!(status.as_u16(), 202);
    let body = events.error();
    let (status, answer) = own.post(&body, &traced(&own, &body, SENDERS_TRACE)).await.unwrap();
    assert_eq!(status.as_u16(), 202, "{answer}");

    let whole = |seen: &[Seen]| seen.iter().filter(|span| span.trace == SENDERS_TRACE).count() >= 8;
    let seen = until(SOON, "the event's trace is whole", || async {
        let seen = collector.seen();
        whole(&seen).then_some(seen)
    });
    let seen = match seen.await {
        Ok(seen) => seen,
        Err(error) => panic!("{error}: {:#?}", collector.seen()),
    };
    let parts: Vec<&Seen> = seen.iter().filter(|span| span.trace == SENDERS_TRACE).collect();
    let by_name: BTreeMap<&str, &Seen> = parts.iter().map(|span| (span.name.as_str(), *span)).collect();
    let of = |name: &str| *by_name.get(name).unwrap_or_else(|| panic!("no span {name:?} among {:?}", by_name.keys()));
    // Each is a part of the one before it.
    let chain = [
        ("POST /v1/webhooks/{source}", "hookline-ingest"),
        ("send hookline.raw.v1", "hookline-ingest"),
        ("process hookline.raw.v1", "hookline-process"),
        ("send hookline.alerts.v1", "hookline-process"),
        ("process hookline.alerts.v1", "hookline-notify"),
        ("deliver", "hookline-notify"),
    ];
    let mut parent = SENDERS_SPAN;
    for (name, service) in chain {
        let span = of(name);
        assert_eq!((span.service.as_str(), span.parent.as_str(), span.error.as_str()), (service, parent, ""), "{name}");
        parent = &span.span;
    }
    assert_eq!(of("send hookline.events.v1").parent, of("process hookline.raw.v1").span);
    let row = of("process hookline.events.v1");
    assert_eq!((row.service.as_str(), &row.parent), ("hookline-report", &of("send hookline.events.v1").span));
    assert_eq!(of("POST /v1/webhooks/{source}").attribute("http.response.status_code"), Some("202"));
    assert_eq!(of("process hookline.raw.v1").attribute("hookline.outcome"), Some("event"));
    // The offset that the spans name is the row's.
    let offset: u64 = of("send hookline.raw.v1").attribute("messaging.kafka.offset").unwrap().parse().unwrap();
    let lane: u64 =
        of("send hookline.raw.v1").attribute("messaging.destination.partition.id").unwrap().parse().unwrap();
    let asker = running.asker();
    let question = format!(
        "SELECT count() FROM hookline.records WHERE source = 'own' AND lane = {lane} AND raw_offset = {offset}"
    );
    asker.until(&question, 1, SOON).await.unwrap();
    // The transaction and the INSERT are shared by many events: links.
    for (name, part) in
        [("commit hookline.raw.v1", "process hookline.raw.v1"), ("INSERT records", "process hookline.events.v1")]
    {
        let link = (SENDERS_TRACE.to_owned(), of(part).span.clone());
        assert!(
            seen.iter().any(|span| span.name == name && span.links.contains(&link)),
            "no {name} is linked to {part}"
        );
    }
    // The receiver of the message goes on with the same trace, and no other was begun.
    let told: Vec<_> =
        receiver.requests().iter().map(|request| request.header("traceparent").map(str::to_owned)).collect();
    let of_message = format!("00-{SENDERS_TRACE}-{}-01", of("deliver").span);
    assert!(told.contains(&Some(of_message.clone())), "{of_message} is not in {told:?}");
    assert!(seen.iter().all(|span| !span.links.iter().any(|(trace, _)| trace.starts_with("1111"))), "{seen:#?}");
    // No key, no address, nothing that a visitor has said.
    let text = format!("{seen:?}");
    assert!(!text.contains(&Generator::id(&body)), "an event key left with the spans");
    assert!(!text.contains("127.0.0.1"), "an address left with the spans");
    if collector.is_real() {
        let said = collector.said_of(SENDERS_TRACE);
        assert!(said >= Some(8), "the real collector shows {said:?} spans of the trace");
        println!("seen whole in a real OpenTelemetry Collector: {} spans", parts.len());
    }

    // The same burst with a collector in each mood: rows come as soon, and every span is accounted for.
    let mut rows = 2;
    let mut took = Vec::new();
    for mood in [Mood::Well, Mood::Slow, Mood::Broken, Mood::Gone] {
        collector.behave(mood);
        let begun = Instant::now();
        for _ in 0..BURST / 50 {
            let bodies: Vec<_> = (0..50).map(|_| events.visit()).collect();
            let posts = bodies.iter().map(|body| {
                let (own, headers) = (own.clone(), traced(&own, body, SENDERS_TRACE));
                async move { own.post(body, &headers).await.unwrap().0.as_u16() }
            });
            assert!(futures::future::join_all(posts).await.iter().all(|status| *status == 202));
        }
        rows += BURST;
        asker.until("SELECT count() FROM hookline.records", rows, SOON).await.unwrap();
        took.push((mood, begun.elapsed()));
    }
    println!("{BURST} traced requests until they are rows: {took:?}");
    let (_, well) = took[0];
    for (mood, other) in &took[1..] {
        assert!(
            *other < well * 3 + Duration::from_secs(3),
            "{mood:?}: {other:?}, and with a collector that is well {well:?}"
        );
    }
    let outcomes = running.counted("hookline_spans_total").await;
    assert!(outcomes > 0 && running.counted("hookline_traced_events_total").await >= BURST, "each was asked about");
    // The stop waits for no collector.
    let begun = Instant::now();
    let status = running.house.program.stop(Duration::from_secs(30)).unwrap();
    println!("stopped after {:?} with a collector that does not answer", begun.elapsed());
    assert!(status.success(), "{status}");
}
