//! A thousand connections that trickle a byte a second: they are cut, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use traffic::dub::Generator;
use traffic::latencies::Latencies;

use crate::harness::{Running, SOON};

/// Connections that trickle at every moment: half of them a head, half of them a body.
const TRICKLES: u64 = 1_000;
/// For how long there are so many.
const FOR: Duration = Duration::from_secs(30);
/// When a connection that sends a byte a second is cut at the latest: the head's time is 10 s, and it is looked at every few.
const CUT_WITHIN: Duration = Duration::from_secs(30);
/// Requests of others, a second.
const OTHERS: u32 = 50;
/// What the process may grow by meanwhile, in bytes.
const GROWTH: u64 = 96 << 20;

/// What became of the trickles.
#[derive(Default)]
struct Cut {
    opened: AtomicU64,
    cut: AtomicU64,
    /// Those that were told why (408) before they were cut.
    told: AtomicU64,
    longest_ms: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_trickle_leave_other_senders_unharmed() {
    let running = Running::everything();
    let dub = running.dub();
    let mut generator = Generator::new(11);
    // Warm: connections are open, buffers have their size.
    dub.deliver_all((0..500).map(|_| generator.click()), 16).await.unwrap();
    let pid = running.house.program.pid();
    let before = measure::resident(pid).unwrap();

    let cut = Arc::new(Cut::default());
    let until = Instant::now() + FOR;
    let address = running.ingest().trim_start_matches("http://").to_owned();
    let mut trickles = JoinSet::new();
    for number in 0..TRICKLES {
        let (address, cut) = (address.clone(), Arc::clone(&cut));
        trickles.spawn(async move {
            while Instant::now() < until {
                trickle(&address, number % 2 == 0, &cut).await;
            }
        });
    }

    // Others send as ever. Each of their requests is taken at the first attempt.
    let (mut latencies, mut sent, mut most) = (Latencies::default(), 0_u64, before);
    let mut under_way = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / OTHERS);
    while Instant::now() < until {
        tick.tick().await;
        let (dub, click) = (dub.clone(), generator.click());
        under_way.spawn(async move {
            let begun = Instant::now();
            let (status, answer) = dub.once(&click).await.unwrap();
            assert_eq!(status.as_u16(), 202, "{answer}");
            begun.elapsed()
        });
        while let Some(took) = under_way.try_join_next() {
            latencies.add(took.unwrap());
        }
        sent += 1;
        if sent % u64::from(OTHERS) == 0 {
            most = most.max(measure::resident(pid).unwrap());
        }
    }
    under_way.join_all().await.into_iter().for_each(|took| latencies.add(took));
    trickles.join_all().await;

    let [opened, gone, told, longest] =
        [&cut.opened, &cut.cut, &cut.told, &cut.longest_ms].map(|n| n.load(Ordering::Relaxed));
    println!(
        "{opened} connections trickled, {told} were told 408, the longest lived {longest} ms; {sent} requests of others: p50 {:?}, p99 \
         {:?}, longest {:?}; memory {} MB before, {} MB at most",
        latencies.quantile(0.5).unwrap(),
        latencies.quantile(0.99).unwrap(),
        latencies.longest(),
        before >> 20,
        most >> 20
    );
    assert!(opened >= 2 * TRICKLES, "only {opened} connections trickled: they were not cut");
    assert_eq!(gone, opened, "connections that were not cut");
    assert!(told >= TRICKLES / 2, "only {told} were told");
    assert!(Duration::from_millis(longest) < CUT_WITHIN);
    assert_eq!(latencies.count(), sent);
    // Not a figure of speed: senders hang up after five seconds, and none of these would have.
    assert!(latencies.longest() < Duration::from_secs(5), "{:?}", latencies.longest());
    assert!(most < before + GROWTH, "from {before} to {most} bytes");
    let asker = running.asker();
    asker.until("SELECT count() FROM hookline.records", 500 + sent, SOON).await.unwrap();
}

/// One connection that sends a byte a second, of its head or of its body, until it is cut.
async fn trickle(address: &str, head: bool, cut: &Cut) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    cut.opened.fetch_add(1, Ordering::Relaxed);
    let (start, mut rest) = match head {
        true => ("POST /v1/webhooks/dub HTTP/1.1\r\n", "host: x\r\nx-slow: ".bytes().cycle()),
        false => (
            "POST /v1/webhooks/dub HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
            "{\"id\":\"evt_1\",".bytes().cycle(),
        ),
    };
    let mut answer = Vec::new();
    let mut alive = stream.write_all(start.as_bytes()).await.is_ok();
    while alive && begun.elapsed() < 2 * CUT_WITHIN {
        let byte = [rest.next().unwrap_or(b' ')];
        if stream.write_all(&byte).await.is_err() {
            break;
        }
        let mut heard = [0; 1_024];
        match tokio::time::timeout(Duration::from_secs(1), stream.read(&mut heard)).await {
            Err(_nothing) => {}
            Ok(Ok(n)) if n > 0 => answer.extend_from_slice(&heard[..n]),
            Ok(_) => alive = false,
        }
    }
    if begun.elapsed() < 2 * CUT_WITHIN {
        cut.cut.fetch_add(1, Ordering::Relaxed);
    }
    if answer.starts_with(b"HTTP/1.1 408") {
        cut.told.fetch_add(1, Ordering::Relaxed);
    }
    cut.longest_ms.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
}
