//! Reading a body as it streams in: never past its limit, never slower than a real sender, never beyond the memory there is.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use crate::limits::{Hold, NoRoom};

/// For so long a sender may be as slow as it likes; networks hiccup.
const GRACE: Duration = Duration::from_secs(2);
/// From then on it has to average at least this many bytes a second.
const SLOWEST: u64 = 1 << 10;
/// What is still read of a body that was refused, so that the answer reaches a sender that only reads once it has written.
const DRAINED: (usize, Duration) = (1 << 20, Duration::from_secs(2));

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    /// The connection broke off, or the framing is wrong.
    Broken,
    NoRoom,
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// The length that a request announces, if it does.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the sender waits for a `100 Continue` before it sends the body.
pub(crate) fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Reads all of `body`: at most `limit` bytes within `within`, holding the memory that it takes.
pub(crate) async fn read<B>(
    body: &mut B,
    limit: usize,
    within: Duration,
    hold: &mut Hold<'_>,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let begun = Instant::now();
    let mut gathered = Gathered::Nothing;
    while !body.is_end_stream() {
        // The slowest sender that is borne would have its next byte here by then.
        let due = GRACE + Duration::from_millis((gathered.len() as u64 + 1) * 1_000 / SLOWEST);
        let frame = match timeout_at(begun + due.min(within), body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Err(_elapsed) => return Err(BodyError::TooSlow),
        };
        // What is not data are trailers, which nobody needs.
        if let Ok(data) = frame.into_data() {
            if gathered.len() + data.len() > limit {
                return Err(BodyError::TooLarge);
            }
            gathered = gathered.with(data, limit, hold)?;
        }
    }
    Ok(gathered.into_bytes())
}

/// A body so far. Most come in one piece, which is kept as it is.
enum Gathered {
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Gathered {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn with(self, data: Bytes, limit: usize, hold: &mut Hold<'_>) -> Result<Self, NoRoom> {
        let mut many = match self {
            Self::Nothing => {
                hold.grow(data.len())?;
                return Ok(Self::One(data));
            }
            Self::One(first) => {
                let room = ((first.len() + data.len()) * 2).min(limit);
                hold.grow(room)?;
                let mut many = Vec::with_capacity(room);
                many.extend_from_slice(&first);
                many
            }
            Self::Many(many) => many,
        };
        let needed = many.len() + data.len();
        if needed > many.capacity() {
            let room = (needed * 2).min(limit).max(needed);
            hold.grow(room - many.capacity())?;
            many.reserve_exact(room - many.len());
        }
        many.extend_from_slice(&data);
        Ok(Self::Many(many))
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.into(),
        }
    }
}

/// Reads on for a little and forgets what comes: closing a connection on unread bytes would take the answer with it.
pub(crate) fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    if body.is_end_stream() {
        return;
    }
    let (most, within) = DRAINED;
    tokio::spawn(tokio::time::timeout(within, async move {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > most {
                break;
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Memory;

    /// A body whose pieces come with a pause before each.
    fn pieces(pieces: Vec<Bytes>, pause: Duration) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let stream = futures::stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(piece))
        });
        StreamBody::new(Box::pin(stream))
    }

    async fn read_all(body: Vec<Bytes>, pause: Duration, limit: usize, memory: usize) -> Result<Bytes, BodyError> {
        let (memory, source) = (Memory::new(memory), AtomicUsize::new(0));
        let mut hold = memory.hold(&source).unwrap();
        read(&mut pieces(body, pause), limit, Duration::from_secs(10), &mut hold).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_trickles_is_cut_off_after_the_grace() {
        let body = vec![Bytes::from_static(b"x"); 100];
        let begun = Instant::now();
        assert_eq!(read_all(body, Duration::from_secs(1), 1_000, 1 << 20).await, Err(BodyError::TooSlow));
        assert!(begun.elapsed() < GRACE + Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_is_merely_slow_is_waited_for_until_the_deadline() {
        let body = |pieces| vec![Bytes::from(vec![b'x'; 2_000]); pieces];
        assert_eq!(read_all(body(9), Duration::from_secs(1), 1 << 20, 4 << 20).await.unwrap().len(), 18_000);
        assert_eq!(read_all(body(11), Duration::from_secs(1), 1 << 20, 4 << 20).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_body_is_not_read_past_its_limit_nor_past_the_memory_there_is() {
        let endless = vec![Bytes::from(vec![b'x'; 10_000]); 1_000];
        assert_eq!(read_all(endless.clone(), Duration::ZERO, 256 << 10, 64 << 20).await, Err(BodyError::TooLarge));
        assert_eq!(read_all(endless, Duration::ZERO, 256 << 20, 1 << 20).await, Err(BodyError::NoRoom));
    }

    proptest! {
        #[test]
        fn what_comes_in_pieces_is_put_together_and_what_it_takes_is_held(
            body in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..30),
        ) {
            let whole = body.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (memory, source) = (Memory::new(4 << 20), AtomicUsize::new(0));
                let mut hold = memory.hold(&source).unwrap();
                let mut stream = pieces(body.into_iter().map(Bytes::from).collect(), Duration::ZERO);
                let read = read(&mut stream, 100_000, Duration::from_secs(10), &mut hold).await.unwrap();
                assert_eq!(read, whole);
                assert!(memory.used() >= whole.len());
            });
        }
    }
}
