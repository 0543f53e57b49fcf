//! Senders that are slow, large or many.

use std::time::{Duration, Instant};

use config::Ingest as Http;
use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;

use super::door::{Door, click, dubs, head, rest};

#[tokio::test]
async fn a_thousand_connections_that_trickle_leave_other_senders_unharmed() {
    let door = Door::with_defaults().await;
    let mut tricklers = Vec::new();
    for _ in 0..1_000 {
        tricklers.push(door.raw(format!("{}content-length: 5000\r\n\r\n", head("dub", b"")).as_bytes()).await);
    }
    let trickle = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..4 {
            for stream in &mut tricklers {
                let _ = stream.write_all(b"x").await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for mut stream in tricklers {
            answers.push(rest(&mut stream).await);
        }
        answers
    });
    for n in 0..200 {
        let source = if n % 2 == 0 { "dub" } else { "other" };
        assert_eq!(door.dry(source, &click("a")).await.status(), StatusCode::ACCEPTED);
    }
    let answers = trickle.await.unwrap();
    // Writing to a closed connection can cost a sender the answer; that it is cut off is what counts.
    assert!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408")).count() > 500);
    assert_eq!(door.metric(r#"hookline_requests_total{outcome="too_slow",source="dub"}"#), Some(1_000.0));
    assert_eq!(door.metric(r#"hookline_refusals_in_a_row{source="dub"}"#), Some(0.0), "strangers are no strikes");
    door.until("hookline_buffered_bytes", |bytes| bytes == 0.0).await;
}

#[tokio::test]
async fn a_head_that_trickles_and_a_connection_that_says_nothing_are_closed() {
    let http = Http { header_timeout: Duration::from_millis(500), ..Http::default() };
    let door = Door::open(dubs(), http).await;
    let (mut silent, mut slow) = (door.raw(b"").await, door.raw(b"POST /v1/webhooks/dub HTTP/1.1\r\nx: ").await);
    let begun = Instant::now();
    let trickle = async {
        while slow.write_all(b"a").await.is_ok() && begun.elapsed() < Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (_, silence) = tokio::join!(trickle, rest(&mut silent));
    assert_eq!(silence, "");
    assert!(begun.elapsed() < Duration::from_secs(30), "the slow head was not cut off");
}

#[tokio::test]
async fn an_idle_connection_is_kept_and_in_the_end_closed() {
    let http =
        Http { idle_timeout: Duration::from_secs(2), header_timeout: Duration::from_millis(200), ..Http::default() };
    let door = Door::open(dubs(), http).await;
    let mut stream = door.raw(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let begun = Instant::now();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() >= Duration::from_secs(1), "longer than a head may take");
}

#[tokio::test]
async fn a_body_that_grows_past_the_limit_while_it_streams_in_is_refused_and_the_sender_hears_it() {
    let door = Door::with_defaults().await;
    let mut stream = door.raw(format!("{}transfer-encoding: chunked\r\n\r\n", head("dub", b"")).as_bytes()).await;
    let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
    // More than the limit, and less than what is read and forgotten afterwards.
    for _ in 0..40 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200"), "the connection goes on: {answer}");
}

#[tokio::test]
async fn a_sender_that_asks_first_does_not_send_what_would_be_refused() {
    let door = Door::with_defaults().await;
    let request = format!("{}expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n", head("dub", b""));
    let answer = rest(&mut door.raw(request.as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_turned_away() {
    let door = Door::with_defaults().await;
    for bytes in
        [&b"\x16\x03\x01 hello\r\n\r\n"[..], b"POST /v1/webhooks/dub HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"PR"]
    {
        let mut stream = door.raw(bytes).await;
        stream.shutdown().await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let head = format!("POST /v1/webhooks/dub HTTP/1.1\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(40 << 10));
    let answer = rest(&mut door.raw(head.as_bytes()).await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn one_source_cannot_take_the_memory_that_another_needs() {
    let http = Http { memory: 16 << 20, ..Http::default() };
    let door = Door::open(dubs(), http).await;
    // 8 MiB are for bodies, half of that is one source's share: 20 bodies of 200 KB fill it.
    let part = vec![b'x'; 200_000];
    let mut hot = Vec::new();
    for _ in 0..40 {
        let mut stream = door.raw(format!("{}content-length: 250000\r\n\r\n", head("dub", b"")).as_bytes()).await;
        let _ = stream.write_all(&part).await;
        hot.push(stream);
    }
    let shed = r#"hookline_requests_total{outcome="unavailable",source="dub"}"#;
    door.until(shed, |count| count > 0.0).await;
    assert!(door.metric("hookline_buffered_bytes").unwrap() <= f64::from(4 << 20));
    let answer = door.dry("other", &vec![b' '; 100_000]).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    drop(hot);
    door.until("hookline_buffered_bytes", |bytes| bytes == 0.0).await;
    assert_eq!(door.dry("dub", &vec![b' '; 100_000]).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn too_many_connections_are_turned_away_and_said() {
    let http = Http { max_connections: 16, ..Http::default() };
    let door = Door::open(dubs(), http).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(door.raw(b"").await);
    }
    door.until("hookline_open_connections", |open| open == 8.0).await;
    let answer = rest(&mut door.raw(b"").await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(door.metric(r#"hookline_connections_refused_total{reason="address"}"#), Some(1.0));
    open.pop();
    door.until("hookline_open_connections", |open| open == 7.0).await;
    assert_eq!(door.dry("dub", &click("a")).await.status(), StatusCode::ACCEPTED);
}
