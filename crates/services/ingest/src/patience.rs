//! How long a connection may be held without sending a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection may be without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// With a part of a request's head, or of the first one nothing.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
}

impl Patience {
    /// How often a connection is looked at: it is closed at most this much later than it should be.
    pub(crate) fn tick(self) -> Duration {
        (self.head.min(self.idle) / 2).clamp(Duration::from_millis(50), Duration::from_secs(5))
    }
}

/// What happens on a connection, for the one who watches over it. Counters instead of timers: a request costs four additions.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Bytes read.
    read: AtomicU64,
    /// Bytes read when the last request's head was complete, or its answer was there.
    read_before: AtomicU64,
    /// Requests that have begun.
    begun: AtomicU32,
    under_way: AtomicU32,
    /// On HTTP/2 bytes come between requests too, so they say nothing about heads.
    http2: AtomicBool,
}

impl Pulse {
    pub(crate) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// A request has begun; it ends when the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

/// A request under way.
pub(crate) struct UnderWay(Arc<Pulse>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.read_before.store(self.0.read.load(Ordering::Relaxed), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches a connection by its pulse.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    begun: u32,
    without_request: Duration,
    with_part_of_a_head: Duration,
}

impl Watcher {
    /// To be called once a tick: whether the connection has used up its patience.
    pub(crate) fn is_over(&mut self, pulse: &Pulse, patience: Patience) -> bool {
        let begun = pulse.begun.load(Ordering::Relaxed);
        if pulse.under_way.load(Ordering::Relaxed) > 0 || begun != self.begun {
            *self = Self { begun, ..Self::default() };
            return false;
        }
        let part_of_a_head = !pulse.http2.load(Ordering::Relaxed)
            && pulse.read.load(Ordering::Relaxed) > pulse.read_before.load(Ordering::Relaxed);
        self.without_request += patience.tick();
        if part_of_a_head || begun == 0 {
            self.with_part_of_a_head += patience.tick();
        } else {
            self.with_part_of_a_head = Duration::ZERO;
        }
        self.with_part_of_a_head >= patience.head || self.without_request >= patience.idle
    }
}

/// A stream that counts what is read from it.
pub(crate) struct Counted<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.pulse.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(60) };

    fn ticks_until_over(watcher: &mut Watcher, pulse: &Pulse) -> u32 {
        (1..100).find(|_| watcher.is_over(pulse, PATIENCE)).unwrap()
    }

    #[test]
    fn a_connection_that_sends_no_whole_head_is_closed_soon_and_an_idle_one_later() {
        let (pulse, mut watcher) = (Arc::new(Pulse::default()), Watcher::default());
        assert_eq!(ticks_until_over(&mut watcher, &pulse), 2, "nothing was sent at all");
        let mut watcher = Watcher::default();
        pulse.read.fetch_add(100, Ordering::Relaxed);
        drop(pulse.request());
        assert!(!watcher.is_over(&pulse, PATIENCE));
        assert_eq!(ticks_until_over(&mut watcher, &pulse), 12, "idle");
        let mut watcher = Watcher::default();
        drop(pulse.request());
        assert!(!watcher.is_over(&pulse, PATIENCE));
        pulse.read.fetch_add(1, Ordering::Relaxed);
        assert_eq!(ticks_until_over(&mut watcher, &pulse), 2, "a head that trickles");
    }

    #[test]
    fn a_request_under_way_has_deadlines_of_its_own() {
        let (pulse, mut watcher) = (Arc::new(Pulse::default()), Watcher::default());
        let under_way = pulse.request();
        assert!((0..1_000).all(|_| !watcher.is_over(&pulse, PATIENCE)));
        drop(under_way);
        assert_eq!(ticks_until_over(&mut watcher, &pulse), 12);
    }

    #[test]
    fn between_requests_of_http2_bytes_are_no_head() {
        let (pulse, mut watcher) = (Arc::new(Pulse::default()), Watcher::default());
        pulse.speaks_http2();
        drop(pulse.request());
        assert!(!watcher.is_over(&pulse, PATIENCE));
        pulse.read.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(ticks_until_over(&mut watcher, &pulse), 12);
    }
}
