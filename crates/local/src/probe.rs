//! Whether an engine answers: one question on its own protocol. An open port is not enough.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clickhouse::Account;

/// For one question and its answer, on this very machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// For a first query, which may find the machine busy with a start.
const VERSION_WITHIN: Duration = Duration::from_secs(30);

/// A Metadata request of version 12, about no topic (Kafka's protocol guide: request header v2 and flexible encodings).
const METADATA_REQUEST: [u8; 19] = [
    0, 0, 0, 15, // size of what follows
    0, 3, 0, 12, // Metadata, version 12
    0, 0, 0, 1, // correlation id
    0xff, 0xff, 0, // no client id; no tagged fields
    1, 0, 0, 0, // topics: an empty array; no creation; no authorised operations; no tagged fields
];
/// Where the list of brokers begins in the answer: behind its correlation id, tagged fields and throttle time.
const BROKERS_AT: usize = 4 + 1 + 4;
/// No answer about no topic, and none to a ping, is longer, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// Whether the broker answers a metadata request and lists itself, by the port that it advertises, which it does once
/// it has registered.
pub(crate) async fn kafka(address: SocketAddr, advertised: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&METADATA_REQUEST).await?;
        let size = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
        if size > LONGEST_ANSWER {
            return Ok(false);
        }
        let mut answer = vec![0; size];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(lists(&answer, advertised) == Some(true))
    };
    matches!(timeout(ANSWERS_WITHIN, ask).await, Ok(Ok(true)))
}

/// Whether an answer lists a broker with this port. `None`: it is an answer to something else, or cut.
fn lists(answer: &[u8], port: u16) -> Option<bool> {
    if answer.get(..4)? != METADATA_REQUEST.get(8..12)? {
        return None;
    }
    let mut rest = answer.get(BROKERS_AT..)?;
    // Compact arrays and texts begin with their length plus one.
    let brokers = varint(&mut rest)?.saturating_sub(1);
    for _ in 0..brokers {
        take(&mut rest, 4)?; // its id
        text(&mut rest)?; // its host
        let found = take(&mut rest, 4)?;
        text(&mut rest)?; // its rack
        for _ in 0..varint(&mut rest)? {
            varint(&mut rest)?;
            let size = varint(&mut rest)?;
            take(&mut rest, size)?;
        }
        if found == i32::from(port).to_be_bytes() {
            return Some(true);
        }
    }
    Some(false)
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(size)?;
    *rest = left;
    Some(taken)
}

fn text(rest: &mut &[u8]) -> Option<()> {
    let size = varint(rest)?.saturating_sub(1); // 0: none
    take(rest, size).map(drop)
}

/// Kafka's unsigned variable-length number: seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *take(rest, 1)?.first()?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether the HTTP interface answers `GET /ping` with 200.
pub(crate) async fn clickhouse(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /ping HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // To its end: a server complains in its log about a connection that is closed under its answer.
        stream.take(LONGEST_ANSWER as u64).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(timeout(ANSWERS_WITHIN, ask).await, Ok(Ok(true)))
}

/// Which version answers there, asked as its owner: an account that does not work is met before the services are.
pub(crate) async fn clickhouse_version(url: &Url, owner: &Account) -> anyhow::Result<String> {
    let ask = async {
        // An error means that a provider is installed already, which is all that is needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(VERSION_WITHIN).build()?;
        let request = client.post(url.clone()).body("SELECT version() FORMAT TSVRaw");
        let request = request.header("X-ClickHouse-User", &owner.name).header("X-ClickHouse-Key", &owner.password);
        let answer = request.send().await?;
        let (status, said) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {}", said.lines().next().unwrap_or_default());
        anyhow::Ok(said.trim().to_owned())
    };
    ask.await.with_context(|| format!("ClickHouse at {url} does not answer its owner {}", owner.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that lists brokers with these ports.
    fn answer(ports: &[u16]) -> Vec<u8> {
        let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, ports.len() as u8 + 1];
        for (id, port) in ports.iter().enumerate() {
            answer.extend([0, 0, 0, id as u8 + 1]);
            answer.extend([10]);
            answer.extend(b"127.0.0.1");
            answer.extend(i32::from(*port).to_be_bytes());
            answer.extend([0, 0]); // no rack, no tagged fields
        }
        answer.extend([0; 20]);
        answer
    }

    #[test]
    fn a_broker_that_does_not_list_itself_is_not_ready() {
        assert_eq!(lists(&answer(&[9092]), 9092), Some(true));
        assert_eq!(lists(&answer(&[9092, 9093, 9094]), 9094), Some(true));
        assert_eq!(lists(&answer(&[9092, 9093]), 9094), Some(false), "only the others have registered");
        assert_eq!(lists(&answer(&[]), 9092), Some(false), "an empty list");
    }

    #[test]
    fn an_answer_to_something_else_or_a_cut_one_is_none() {
        let mut other = answer(&[9092]);
        other[3] = 9;
        assert_eq!(lists(&other, 9092), None);
        let whole = answer(&[9092, 9093]);
        for size in 0..BROKERS_AT + 30 {
            assert_ne!(lists(&whole[..size], 9093), Some(true), "{size}");
        }
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(METADATA_REQUEST.len(), 4 + usize::from(METADATA_REQUEST[3]));
    }
}
