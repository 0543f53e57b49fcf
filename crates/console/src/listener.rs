//! The listener: connections are bounded in number, and in how long they may take to ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
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
    let (seats, connections, lines) = (Arc::new(Seats::default()), TaskTracker::new(), LogLimit::every(LINES_EVERY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.given() => break,
        };
        match accepted {
            Ok((stream, peer)) => match seats.take(peer.ip()) {
                Some(seat) => {
                    connections.spawn(connection(stream, router.clone(), head_within, seat, shutdown.clone()));
                }
                None => {
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

/// The connections that are open, by address.
#[derive(Debug, Default)]
struct Seats {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Seats {
    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = one_client(address);
        let mut taken = self.taken();
        let (all, of_address) = (taken.values().sum::<usize>(), taken.get(&address).copied().unwrap_or(0));
        if all >= MOST || of_address >= MOST / 2 {
            return None;
        }
        taken.insert(address, of_address + 1);
        Some(Seat { seats: Arc::clone(self), address })
    }
}

/// The addresses that one client has: of IPv6 a whole network.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// An open connection; its seat is free again when it is dropped.
#[derive(Debug)]
struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(of_address) = taken.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&self.address);
            }
        }
    }
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

    #[test]
    fn one_address_takes_at_most_half_of_the_seats_and_they_are_free_again() {
        let seats = Arc::new(Seats::default());
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let of_one: Vec<Seat> = std::iter::from_fn(|| seats.take(one)).take(MOST).collect();
        assert_eq!(of_one.len(), MOST / 2);
        let of_other: Vec<Seat> = std::iter::from_fn(|| seats.take(other)).take(MOST).collect();
        assert_eq!(of_other.len(), MOST / 2);
        assert!(seats.take("192.0.2.3".parse().unwrap()).is_none(), "all are taken");
        drop(of_other);
        let networks =
            ["2001:db8::1", "2001:db8::ffff:2", "::ffff:192.0.2.1"].map(|address| one_client(address.parse().unwrap()));
        assert_eq!(
            (networks[0], networks[2]),
            (networks[1], one),
            "one network, and one address however it is written"
        );
        drop(of_one);
        assert!(seats.taken().is_empty());
    }
}
