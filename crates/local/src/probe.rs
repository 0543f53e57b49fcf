//! Whether an engine answers: one question on its own protocol. An open port is not enough.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one question and its answer, on this very machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A Metadata request of version 12, about no topic (Kafka's protocol guide: request header v2 and flexible encodings).
const METADATA_REQUEST: [u8; 19] = [
    0, 0, 0, 15, // size of what follows
    0, 3, 0, 12, // Metadata, version 12
    0, 0, 0, 1, // correlation id
    0xff, 0xff, 0, // no client id; no tagged fields
    1, 0, 0, 0, // topics: an empty array; no creation; no authorised operations; no tagged fields
];
/// Where the number of brokers stands in the answer: behind its size, correlation id, tagged fields and throttle time.
const BROKERS_AT: usize = 4 + 4 + 1 + 4;

/// Whether the broker answers a metadata request and lists itself, which it does once it has registered.
pub(crate) async fn kafka(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&METADATA_REQUEST).await?;
        let mut answer = [0; BROKERS_AT + 1];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(lists_a_broker(&answer))
    };
    matches!(timeout(ANSWERS_WITHIN, ask).await, Ok(Ok(true)))
}

fn lists_a_broker(answer: &[u8; BROKERS_AT + 1]) -> bool {
    // A compact array begins with its length plus one.
    answer[4..8] == METADATA_REQUEST[8..12] && answer[BROKERS_AT] > 1
}

/// Whether the HTTP interface answers `GET /ping` with 200.
pub(crate) async fn clickhouse(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /ping HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut status).await?;
        Ok::<_, std::io::Error>(status == *b"HTTP/1.1 200")
    };
    matches!(timeout(ANSWERS_WITHIN, ask).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_has_not_registered_yet_is_not_ready() {
        let mut answer = [0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2];
        assert!(lists_a_broker(&answer));
        answer[BROKERS_AT] = 1;
        assert!(!lists_a_broker(&answer), "an empty list");
        answer[BROKERS_AT] = 2;
        answer[7] = 9;
        assert!(!lists_a_broker(&answer), "an answer to something else");
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(METADATA_REQUEST.len(), 4 + usize::from(METADATA_REQUEST[3]));
    }
}
