//! How long a message takes: from `received_at` of its event until its receiver has it, under load.
//!
//! `cargo build --release -p hookline`, then
//! `cargo run --release -p hookline-testkit --example messages -- [EVENTS A SECOND] [SECONDS] [ONE IN]`
//!
//! `hookline up` with all services and both engines, and a sender of signed canonical clicks, one a request, at an even
//! pace (5,000 a second for 60 s unless told, after 20 s of the same), all on this machine. One event in a hundred
//! (unless told) is on a link that a rule with `each = true` is about, each on another link, so that each has its own
//! message, to a webhook on this machine. Times include what a busy machine adds; its load is printed.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use hookline_testkit::receiver::{Platform, Receiver};
use hookline_testkit::{House, Sender};
use jiff::Timestamp;
use serde_json::json;
use signature::{Scheme, Secret};
use traffic::Delivery;
use traffic::canonical::Generator;
use traffic::latencies::Latencies;
use traffic::load::{self, Pace, Tally};

/// Seconds of sending before anything is measured.
const WARM: u64 = 20;
/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let argument = |place: usize, unless_told: u64| {
        std::env::args().nth(place).map_or(Ok(unless_told), |number| number.parse::<u64>())
    };
    let (per_second, seconds, one_in) = (argument(1, 5_000)?, argument(2, 60)?, argument(3, 100)?.max(1));
    // By message, when it arrived first and when its event was received.
    let arrived: Arc<Mutex<HashMap<String, (Timestamp, Timestamp)>>> = Arc::default();
    let seen = Arc::clone(&arrived);
    let receiver = Receiver::listen(Platform::Webhook, "127.0.0.1:0", move |request, _, _| {
        let (now, body) = (Timestamp::now(), request.json());
        let received = body["window"]["start"].as_str().and_then(|at| at.parse().ok());
        if let (Some(id), Some(received)) = (body["id"].as_str(), received) {
            load::locked(&seen).entry(id.to_owned()).or_insert((now, received));
        }
    })?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("secret"), SECRET)?;
    let config = folder.path().join("hookline.toml");
    let text = format!(
        "version = 1\n[owner]\nme = {{ name = \"Ann\" }}\n[source.canonical]\nadapter = \"canonical\"\nowner = \"me\"\n\
         secrets = [{{ id = \"first\", file = \"secret\" }}]\n[destination.hook]\nkind = \"webhook\"\nowner = \"me\"\n\
         url = \"http://{}/hook\"\nsecret = {{ file = \"secret\" }}\nallow_private = true\n[rule.opened]\nowner = \"me\"\n\
         when = {{ campaign = \"measured\" }}\nalert = {{ each = true }}\nsend = {{ to = [\"hook\"], one_open_per = \"link\" }}\n",
        receiver.address
    );
    std::fs::write(&config, text)?;
    let data = folder.path().join("data");
    let house = House::up(&data, &["--config", config.to_str().context("a path that is not UTF-8")?])?;
    let ingest = house.addresses.ingest.clone().context("up does not say where ingest is")?;
    let sender = Sender::new(&ingest, "canonical", Scheme::StandardWebhooks, Secret::new("first", SECRET))?;

    let mut clicks = Generator::new(1);
    let pace = Pace { per_second: Some(per_second as f64), parallel: 4_096 };
    let mut sent = 0u64;
    let mut send = async |events: u64| -> anyhow::Result<Tally> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let deliveries = (0..events).map(|_| {
            sent += 1;
            let body = match sent.is_multiple_of(one_in) {
                true => clicks.event_with(&json!({
                    "type": "click", "campaign": "measured", "link": { "id": format!("l_{sent}"), "slug": format!("s{sent}") },
                    "visitor": { "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
                })),
                false => clicks.visit(),
            };
            Delivery { body, again: false }
        });
        load::run(&sender, deliveries, pace, &tally).await?;
        let done = load::locked(&tally).clone();
        Ok(done)
    };
    let (warm, events) = (per_second * WARM, per_second * seconds);
    send(warm).await?;
    let begun = Timestamp::now();
    let tally = send(events).await?;
    let took = Timestamp::now().duration_since(begun);
    let expected = (warm + events) / one_in;
    let deadline = std::time::Instant::now() + PATIENCE;
    while (load::locked(&arrived).len() as u64) < expected && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let arrived = load::locked(&arrived).clone();
    let mut times = Latencies::default();
    for (at, received) in arrived.values().filter(|(_, received)| *received >= begun) {
        times.add(Duration::try_from(at.duration_since(*received)).unwrap_or_default());
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{events} events in {:.1} s, answers {:?}, load {}", took.as_secs_f64(), tally.answers, load.trim());
    println!("{} of {expected} messages arrived", arrived.len());
    let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    println!(
        "accepted → message: {} times, median {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        times.count(),
        ms(times.quantile(0.5)),
        ms(times.quantile(0.99)),
        ms(Some(times.longest()))
    );
    Ok(())
}
