//! The listener: connections are bounded in number, and in how long they may take to ask.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use runtime::connections::{Connections, Seat};
use runtime::{LogLimit, Shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Connections that may be open, of one address at most half of them: a browser opens about six.
const MOST: usize = 256;
/// How long a browser may take to send the head of a request, and be idle before it.
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// The largest head of a request. A connection's read buffer grows no larger either.
const MAX_HEAD: usize = 32 << 10;
/// How long pages that were asked for before a stop may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Between two lines about connections that were not taken.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// What a browser is told whose connection cannot be taken.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Answers until the stop is given, and a little longer what was asked before it.
pub(crate) async fn serve(listener: TcpListener, router: Router, head_within: Duration, shutdown: Shutdown) {
    let (seats, connections, lines) = (Connections::new(MOST), TaskTracker::new(), LogLimit::every(LINES_EVERY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.given() => break,
        };
        match accepted {
            Ok((stream, peer)) => match seats.enter(Some(peer.ip())) {
                Ok(seat) => {
                    connections.spawn(connection(stream, router.clone(), head_within, seat, shutdown.clone()));
                }
                Err(_) => {
                    if let Some(left_out) = lines.due() {
                        tracing::warn!(
                            left_out,
                            "a connection to the console was turned away: {MOST} are open, or half as many of its address"
                        );
                    }
                    // Best effort: a browser that cannot read it sees a closed connection.
                    let _ = stream.try_write(FULL);
                }
            },
            Err(error) => {
                if let Some(left_out) = lines.due() {
                    tracing::warn!(left_out, "a connection to the console could not be taken: {error}");
                }
                // Out of descriptors: others have to close first.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // A page that waits for an engine holds no stop.
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
}

/// Serves the requests of one connection.
async fn connection(stream: TcpStream, router: Router, head_within: Duration, seat: Seat, shutdown: Shutdown) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_within).max_buf_size(MAX_HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = false;
    loop {
        tokio::select! {
            // What breaks a connection is its browser's affair: it has no answer and asks again.
            _ = connection.as_mut() => break,
            () = shutdown.given(), if !stopping => {
                connection.as_mut().graceful_shutdown();
                stopping = true;
            }
        }
    }
    drop(seat);
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_that_sends_half_a_head_or_nothing_is_closed_and_others_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, shutdown) = (Router::new().route("/", get(async || "fine")), Shutdown::default());
        let serving = tokio::spawn(serve(listener, router, Duration::from_millis(500), shutdown.clone()));
        for begun in ["", "GET / HTTP/1.1\r\nhost: c\r\nx: "] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            let mut other = TcpStream::connect(address).await.unwrap();
            other.write_all(b"GET / HTTP/1.1\r\nhost: c\r\n\r\n").await.unwrap();
            let (mut said, mut answer) = (Vec::new(), Vec::new());
            // An answer 408, a reset or nothing: that it ends is what counts.
            let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await.expect("it is not held open");
            // It is kept for another request, and in the end closed as well.
            let _ = tokio::time::timeout(LONG, other.read_to_end(&mut answer)).await.expect("it is not held open");
            assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"fine"), "{answer:?}");
        }
        shutdown.stop();
        tokio::time::timeout(LONG, serving).await.expect("it stops").unwrap();
    }
}
