//! The listener: connections are taken, bounded, watched and, on the stop, let go.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use runtime::connections::{Full, Seat};
use runtime::{LogLimit, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::patience::{Counted, Pulse, Watcher};
use crate::receive;
use crate::source::LINES_EVERY;
use crate::{Edge, SERVICE};

/// The largest head of a request. A connection's read buffer grows no larger either.
const MAX_HEAD: usize = 32 << 10;
/// Requests that one HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;
/// What HTTP/2 senders may send ahead of being read, of one request and of a connection.
const WINDOWS: (u32, u32) = (64 << 10, 256 << 10);
/// How often an HTTP/2 connection is asked whether it is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// After the stop: how long requests under way have.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// What a sender is told whose connection cannot be taken.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Open files that are left to everything but senders: Kafka's connections, logs; where all services are one process,
/// also the windows of a dozen lanes, 64 each.
const OTHER_FILES: u64 = 1_024;

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) edge: Arc<Edge>,
    /// What is not a webhook.
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Server {
    /// Takes connections until the stop is given, then lets the requests under way end.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let (server, connections, lines) = (Arc::new(self), TaskTracker::new(), LogLimit::every(LINES_EVERY));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.given() => break,
            };
            let edge = &server.edge;
            match accepted {
                Ok((stream, peer)) => {
                    match edge.connections.enter((!edge.proxies.trust(peer.ip())).then_some(peer.ip())) {
                        Ok(seat) => {
                            connections.spawn(Arc::clone(&server).connection(stream, peer, seat, shutdown.clone()));
                        }
                        Err(full) => server.turn_away(stream, peer, full, &lines),
                    }
                }
                Err(error) => {
                    if let Some(left_out) = lines.due() {
                        tracing::warn!(service = SERVICE, left_out, "a connection could not be taken: {error}");
                    }
                    // Out of descriptors: others have to close first. A connection that broke off costs no wait worth saving.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(LAST_REQUESTS, connections.wait()).await.is_err() {
            tracing::warn!(service = SERVICE, left = connections.len(), "connections were cut off at the stop");
        }
    }

    fn turn_away(&self, stream: TcpStream, peer: SocketAddr, full: Full, lines: &LogLimit) {
        self.edge.metrics.refused_connections.with_label_values(&[full.label()]).inc();
        if let Some(left_out) = lines.due() {
            let (client, reason) = (peer.ip(), full.label());
            tracing::warn!(service = SERVICE, %client, reason, left_out, "a connection was turned away: too many are open");
        }
        // Best effort: whoever cannot read it sees a closed connection. In TLS nothing can be said before the handshake.
        if self.tls.is_none() {
            let _ = stream.try_write(FULL);
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, seat: Seat, shutdown: Shutdown) {
        // Answers are small and go out whole: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let (peer, head) = (peer.ip().to_canonical(), self.edge.patience.head);
        match &self.tls {
            None => {
                if let Ok(Ok(http2)) = tokio::time::timeout(head, speaks_http2(&stream)).await {
                    self.drive(stream, http2, peer, shutdown).await;
                }
            }
            Some(acceptor) => match tokio::time::timeout(head, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    self.drive(stream, http2, peer, shutdown).await;
                }
                failed => {
                    self.edge.metrics.refused_connections.with_label_values(&["tls"]).inc();
                    let why = failed.err().map_or("the handshake failed", |_| "the handshake took too long");
                    tracing::debug!(service = SERVICE, client = %peer, "no TLS connection: {why}");
                }
            },
        }
        drop(seat);
    }

    /// Serves the requests of one connection.
    async fn drive<S>(self: &Arc<Self>, stream: S, http2: bool, peer: IpAddr, shutdown: Shutdown)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = Arc::new(Pulse::default());
        let io = TokioIo::new(Counted::new(stream, Arc::clone(&pulse)));
        let (server, of_requests) = (Arc::clone(self), Arc::clone(&pulse));
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, under_way) = (Arc::clone(&server), of_requests.request());
            async move {
                let response = if request.uri().path().starts_with(receive::PATH) {
                    receive::webhook(&server.edge, peer, request).await
                } else {
                    let router = TowerToHyperService::new(server.router.clone());
                    router.call(request.map(Body::new)).await?
                };
                drop(under_way);
                Ok::<_, Infallible>(response)
            }
        });
        if http2 {
            pulse.speaks_http2();
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEAD as u32)
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
                .max_send_buf_size(WINDOWS.0 as usize)
                .keep_alive_interval(PING.0)
                .keep_alive_timeout(PING.1);
            self.watch(builder.serve_connection(io, service), &pulse, shutdown).await;
        } else {
            let mut builder = http1::Builder::new();
            // The pulse is watched instead: it tells a slow head from an idle connection, and needs no timer a request.
            builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD).header_read_timeout(None);
            self.watch(builder.serve_connection(io, service), &pulse, shutdown).await;
        }
    }

    /// Lives as long as the connection: until its sender closes it, it has used up our patience, or the stop is given and its
    /// requests have been answered.
    async fn watch<C>(&self, connection: C, pulse: &Pulse, shutdown: Shutdown)
    where
        C: GracefulConnection,
    {
        let patience = self.edge.patience;
        let (mut watcher, mut stopping) = (Watcher::default(), false);
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + patience.tick(), patience.tick());
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                // What breaks a connection is its sender's affair: it has no answer and sends again.
                _ = connection.as_mut() => break,
                _ = tick.tick() => if watcher.is_over(pulse, patience) { break },
                () = shutdown.given(), if !stopping => {
                    connection.as_mut().graceful_shutdown();
                    stopping = true;
                }
            }
        }
    }
}

/// Whether the sender starts with HTTP/2 without having asked ("prior knowledge"): its first three bytes are `PRI`.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    const START: &[u8] = b"PRI";
    let mut first = [0; START.len()];
    loop {
        let peeked = stream.peek(&mut first).await?;
        let seen = &first[..peeked];
        if peeked == START.len() || peeked == 0 || !START.starts_with(seen) {
            return Ok(seen == START);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Raises this process's limit of open files as far as it may, and says how many connections fit in it.
pub(crate) fn room_for_connections(wanted: usize) -> usize {
    let files = runtime::raise_file_limit();
    let room = usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            service = SERVICE,
            files,
            "this process may open {files} files, so it takes {room} connections instead of {wanted}; raise the limit (ulimit -n) \
             or lower max_connections of [ingest]"
        );
    }
    wanted.min(room)
}
