//! The catalogue of links, from a list at an address and from what platforms say, while every process is killed: a day
//! of traffic labelled twice has the same labels, an export that is sent again changes nothing, and an expiry is told
//! once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::Sender;
use testkit::clock::Clock;
use testkit::oracle::Fleet;

use crate::harness::{Running, SOON, configure, until};

/// Links of the list.
const LINKS: usize = 60;
/// What an event is labelled by, as it stands on its row: nothing of it depends on when or how the event came.
const LABELS: &str = "type, subtype, event_time, counted, counted_by, link_id, link_kind, domain, slug, destination_host, owner, intent, \
     campaign, channel, utm_source, programme, placement, partner, partner_approved, launch, referrer_class, country, device, os, browser, \
     visitor, extra, naming_issues, trace, catalogue_version";

/// Serves a list: `None` stands for a server that fails.
#[derive(Clone, Default)]
struct Lists(Arc<Mutex<(Option<String>, u64)>>);

impl Lists {
    async fn serve(&self) -> SocketAddr {
        let lists = self.clone();
        let answer = move |headers: HeaderMap| std::future::ready(lists.answer(&headers));
        let app = Router::new().route("/links.csv", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut held = self.0.lock().unwrap();
        held.1 += 1;
        let Some(list) = &held.0 else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        let etag = format!("\"{:x}\"", crc32c::crc32c(list.as_bytes()));
        if headers.get("if-none-match").is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        ([("etag", etag)], list.clone()).into_response()
    }

    fn set(&self, list: Option<String>) {
        self.0.lock().unwrap().0 = list;
    }

    fn asked(&self) -> u64 {
        self.0.lock().unwrap().1
    }
}

/// A list, its links in one order or the other; `campaign` is that of the edited link.
fn list(reversed: bool, campaign: &str, expires: &str) -> String {
    let mut lines: Vec<String> = (0..LINKS)
        .map(|n| match n {
            0 => format!("go.acme.example/edited,promo,growth,{campaign},,,,"),
            1 => format!("go.acme.example/ends,promo,growth,2026q4-de-ends,,,,{expires}"),
            2 => format!("go.acme.example/later,promo,growth,2026q4-de-later,,,,{}", later(expires)),
            n => format!(
                "go.acme.example/{n},{},team-{},2026q4-de-{},c-{n},d-{n},q4|n{},",
                ["promo", "bio", "proposal"][n % 3],
                n % 4,
                n % 7,
                n % 5
            ),
        })
        .collect();
    if reversed {
        lines.reverse();
    }
    format!("link,kind,owner,campaign,contact,deal,tags,expires\n{}\n", lines.join("\n"))
}

/// Two hours after the first link expires.
fn later(expires: &str) -> Timestamp {
    expires.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(2)
}

/// A day of traffic: the same for each source that sends it.
fn day(events: usize, end: Timestamp) -> Vec<Vec<u8>> {
    let agents = ["Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0", "Mozilla/5.0 (iPhone) Mobile/15E148", "curl/8.5"];
    let (kinds, origins) = (["click", "qr_scan", "click", "lead"], ["newsletter", "", "chatgpt.com"]);
    let event = |n: usize| {
        let back = SignedDuration::from_secs((86_000 * (events - n) / events) as i64);
        let link = match n % 11 {
            0 => json!({ "id": format!("p_{}", n % 5) }),
            1 => json!({ "id": "nobody_knows", "domain": "go.acme.example", "slug": "unknown" }),
            _ => {
                json!({ "id": format!("l_{}", n % LINKS), "domain": "go.acme.example", "slug": (3 + n % (LINKS - 3)).to_string() })
            }
        };
        json!({
            "id": format!("day-{n}"), "type": kinds[n % 4],
            "time": end.checked_sub(back).unwrap().to_string(), "link": link,
            "utm": { "source": origins[n % 3] },
            "visitor": { "ip": format!("198.51.100.{}", n % 250), "user_agent": agents[n % agents.len()] },
        })
    };
    (0..events).map(|n| event(n).to_string().into_bytes()).collect()
}

fn visit(id: &str, link: Value) -> Vec<u8> {
    json!({ "id": id, "type": "click", "time": Timestamp::now().to_string(), "link": link }).to_string().into_bytes()
}

fn slug(slug: &str) -> Value {
    json!({ "domain": "go.acme.example", "slug": slug })
}

/// How many events the day has: `HOOKLINE_TEST_DAY_EVENTS`, or 1,500.
fn events_of_the_day() -> usize {
    std::env::var("HOOKLINE_TEST_DAY_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_500)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_traffic_is_labelled_alike_whatever_is_killed_and_an_expiry_is_told_once() {
    let running = Running::engines();
    let folder = running.folder.path();
    let scheme = "standard-webhooks";
    let sources = [("once", "canonical", scheme), ("again", "canonical", scheme), ("probe", "canonical", scheme)];
    let config = configure(folder, &sources);
    let text = std::fs::read_to_string(&config).unwrap();
    let lists = Lists::default();
    let address = lists.serve().await;
    let catalogue =
        format!("\n[catalogue]\nfile = \"http://{address}/links.csv\"\nevery = \"10s\"\nallow_private = true\n");
    std::fs::write(&config, format!("{text}{catalogue}")).unwrap();
    let services = ["ingest", "process", "report"];
    let clock = Clock::new(folder, "process", None).unwrap();
    let clocks = HashMap::from([("process".to_owned(), clock.clone())]);
    let fleet = Fleet::with_clocks(folder, &config, &running.house.addresses, &services, clocks).unwrap();
    let sender = |source: &str| {
        let secret = std::fs::read_to_string(folder.join("secrets").join(source)).unwrap();
        Sender::new(&fleet.ingest(), source, Scheme::StandardWebhooks, Secret::new("first", secret.trim())).unwrap()
    };
    let (once, again, probe) = (sender("once"), sender("again"), sender("probe"));
    let asker = running.asker();
    let row = async |id: &str| -> Value {
        let sql = format!(
            "SELECT campaign, owner, link_kind, extra['contact'] AS contact, catalogue_version AS version \
             FROM hookline.events WHERE event_key LIKE '%{id}'"
        );
        until(SOON, "the row", async || asker.rows(&sql).await.ok()?.pop()).await.unwrap()
    };

    // The server fails at the first start: nothing was in force before, so events wait and nothing is lost.
    probe.deliver_all(vec![visit("first", slug("5"))], 1).await.unwrap();
    until(SOON, "the list to be asked for", async || (lists.asked() > 0).then_some(())).await.unwrap();
    let waiting = async || {
        let ready = reqwest::get(format!("{}/readyz", fleet.metrics("process")?)).await.ok()?;
        let said = ready.text().await.ok()?;
        said.contains("no list of links has been in force yet").then_some(())
    };
    until(Duration::from_secs(90), "the lanes to say what they wait for", waiting).await.unwrap();
    let expires = (Timestamp::now() + SignedDuration::from_secs(60)).to_string();
    lists.set(Some(list(false, "2026q4-de-first", &expires)));
    let first = row("first").await;
    assert_eq!((&first["campaign"], &first["contact"]), (&json!("2026q4-de-5"), &json!("c-5")), "{first}");

    // What a platform says of its links labels what comes later.
    let created = |n: usize| {
        json!({
            "id": format!("created-{n}"), "type": "link.created", "time": Timestamp::now().to_string(),
            "link": { "id": format!("p_{n}"), "kind": "affiliate", "tags": ["theirs"] }, "campaign": format!("theirs-{n}"),
        })
        .to_string()
        .into_bytes()
    };
    probe.deliver_all((0..5).map(created), 1).await.unwrap();
    for n in 0..5 {
        let tries = AtomicU32::new(0);
        let told = async || {
            let id = format!("told-{n}-{}", tries.fetch_add(1, Ordering::Relaxed));
            probe.deliver_all(vec![visit(&id, json!({ "id": format!("p_{n}") }))], 1).await.ok()?;
            (row(&id).await["campaign"] == format!("theirs-{n}")).then_some(())
        };
        until(SOON, "a link to be known", told).await.unwrap();
    }

    // The day, once in peace, and once while every process is killed, the server of the list fails, and the same list
    // comes again in another order.
    let (events, end) = (events_of_the_day(), Timestamp::now());
    once.deliver_all(day(events, end), 8).await.unwrap();
    let rows = |source: &str| format!("SELECT count() FROM hookline.events WHERE source = '{source}'");
    asker.until(&rows("once"), events as u64, SOON).await.unwrap();
    let delivered = again.deliver_all(day(events, end), 2);
    let blows = async {
        lists.set(None);
        for service in ["process", "report", "ingest", "process"] {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            fleet.kill(service).unwrap();
            lists.set(Some(list(true, "2026q4-de-first", &expires)));
            tokio::time::sleep(Duration::from_millis(300)).await;
            fleet.restart(service).unwrap();
        }
    };
    let (delivered, ()) = tokio::join!(delivered, blows);
    delivered.unwrap();
    asker.until(&rows("again"), events as u64, SOON * 2).await.unwrap();
    let differ = format!(
        "SELECT count() FROM (SELECT event_key, count() AS rows, uniqExact(({LABELS})) AS labels FROM hookline.events \
         WHERE source IN ('once', 'again') GROUP BY event_key HAVING rows != 2 OR labels != 1)"
    );
    assert_eq!(asker.number(&differ).await.unwrap(), 0, "each event has two rows with the same labels");
    let joined = "SELECT uniqExact(campaign) FROM hookline.events WHERE source = 'again' AND catalogue_version > 0";
    assert!(asker.number(joined).await.unwrap() >= 10, "and it was labelled at all");

    // One line is edited: the links beside it are as they were, to their version.
    let before = row("day-4").await["version"].clone();
    lists.set(Some(list(false, "2026q4-de-second", &expires)));
    let tries = AtomicU32::new(0);
    let edited = async || {
        let id = format!("edited-{}", tries.fetch_add(1, Ordering::Relaxed));
        probe.deliver_all(vec![visit(&id, slug("edited"))], 1).await.ok()?;
        (row(&id).await["campaign"] == "2026q4-de-second").then_some(())
    };
    until(SOON, "the edited line", edited).await.unwrap();
    probe.deliver_all(vec![visit("beside", slug("7"))], 1).await.unwrap();
    let beside = row("beside").await;
    assert_eq!((&beside["campaign"], &beside["version"]), (&json!("2026q4-de-0"), &before), "{beside}");

    // A link expires while the process that tells it is killed.
    let told =
        "SELECT count() FROM hookline.events WHERE source = 'catalogue' AND subtype = 'link.expired' AND slug = 'ends'";
    asker.until(told, 1, Duration::from_secs(120)).await.unwrap();
    fleet.kill("process").unwrap();
    fleet.restart("process").unwrap();
    probe.deliver_all(vec![visit("after", slug("ends"))], 1).await.unwrap();
    let over = "SELECT count() FROM hookline.events WHERE event_key LIKE '%after' AND has(trace, 'catalogue:expired')";
    asker.until(over, 1, SOON).await.unwrap();
    // Nor does a clock that jumps over an expiry tell it, or one that jumps back tell what was told again.
    for ahead in [3 * 3_600, -3 * 3_600] {
        clock.set(ahead).unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    clock.set(0).unwrap();
    let all = "SELECT count() FROM hookline.events WHERE source = 'catalogue'";
    assert_eq!(asker.number(all).await.unwrap(), 1, "one link has expired, and it is told once");

    // All along: a link at a version means one thing.
    let ambiguous = "SELECT count() FROM (SELECT domain, slug, link_id, catalogue_version, \
         uniqExact((link_kind, owner, campaign, extra['contact'], extra['deal'], extra['tags'])) AS meanings FROM hookline.events \
         WHERE catalogue_version > 0 AND type != 'lifecycle' GROUP BY ALL HAVING meanings > 1)";
    assert_eq!(asker.number(ambiguous).await.unwrap(), 0);
    fleet.stop().unwrap();
}
