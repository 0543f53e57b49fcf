//! The answer of a request, written from the engine's thread.
//!
//! The first mebibyte is held back, as a server does: so an error that shows early still gets its own status, and a
//! small answer its exact numbers in `X-ClickHouse-Summary`. After that the answer streams. An error in the middle of a
//! stream is written behind the data, marked with the tag of `X-ClickHouse-Exception-Tag`, and the connection is broken
//! off, so that no client can take the answer for whole.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use super::block_codec::{self, BlockWriter};
use super::engine::Progress;
use super::exception::Exception;
use super::format;

/// What is held back before an answer streams (`http_response_buffer_size` of a server: 1 MiB).
const HELD_BACK: usize = 1 << 20;
/// How much `wait_end_of_query=1` may hold back.
const LARGEST_HELD_BACK: usize = 256 << 20;
/// Size of the pieces of a stream, and how many may be under way.
const PIECE: usize = 64 << 10;
const PIECES: usize = 16;
/// How long the end of a failed stream is given to leave, through the connection's buffer and to a slow reader, before
/// the connection is broken off. A client that knows the marks does not wait for that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How the bytes of an answer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Identity,
    /// `Content-Encoding: lz4`, one frame.
    Lz4,
    /// `Content-Encoding: gzip`.
    Gzip,
}

impl Encoding {
    /// Picks from `Accept-Encoding`; the cheapest one wins.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let accepted: Vec<String> = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter(|one| !one.replace(' ', "").ends_with(";q=0"))
            .map(|one| one.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
            .collect();
        let has = |name: &str| accepted.iter().any(|one| one == name);
        if has("lz4") {
            Self::Lz4
        } else if has("gzip") {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    fn name(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Lz4 => Some(HeaderValue::from_static("lz4")),
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
        }
    }
}

/// What an answer is like, before its bytes.
#[derive(Debug)]
pub(crate) struct ReplyOptions {
    pub(crate) query_id: String,
    pub(crate) encoding: Encoding,
    /// `compress=1`: in ClickHouse's own blocks.
    pub(crate) blocks: bool,
    /// `wait_end_of_query=1`: nothing leaves before the query has ended.
    pub(crate) whole: bool,
}

/// The engine thread's end of an answer.
pub(crate) struct Reply {
    options: ReplyOptions,
    /// Random, so that no data looks like it.
    tag: String,
    started: Instant,
    format: Option<String>,
    progress: Progress,
    head: Option<oneshot::Sender<Response<Body>>>,
    held: Vec<u8>,
    body: Option<Packer<PieceWriter>>,
}

/// Makes an answer to be written by the engine's thread, and the place where its head appears.
pub(crate) fn reply(options: ReplyOptions) -> (Reply, oneshot::Receiver<Response<Body>>) {
    let (head, receiver) = oneshot::channel();
    let tag = uuid::Uuid::new_v4().simple().to_string()[..16].to_owned();
    let reply = Reply {
        options,
        tag,
        started: Instant::now(),
        format: None,
        progress: Progress::default(),
        head: Some(head),
        held: Vec::new(),
        body: None,
    };
    (reply, receiver)
}

impl Reply {
    /// Names the format of the answer, before its first bytes.
    pub(crate) fn set_format(&mut self, format: String) {
        self.format = Some(format);
    }

    /// Counts what the query did.
    pub(crate) fn add_progress(&mut self, progress: Progress) {
        self.progress += progress;
    }

    /// Writes a piece of the answer.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let limit = if self.options.whole { LARGEST_HELD_BACK } else { HELD_BACK };
        if self.body.is_none() && self.held.len() + data.len() <= limit {
            self.held.extend_from_slice(data);
            return Ok(());
        }
        if self.body.is_none() && self.options.whole {
            let what = format!("the answer is over {LARGEST_HELD_BACK} bytes, too large for wait_end_of_query=1");
            return Err(WriteError::Refused(Exception::new(Exception::QUERY_IS_TOO_LARGE, what)));
        }
        self.start_stream().and_then(|body| body.write_all(data)).map_err(|_| WriteError::Gone)
    }

    /// Sends the head, and what was held back, as a stream that goes on.
    fn start_stream(&mut self) -> io::Result<&mut Packer<PieceWriter>> {
        if self.body.is_none() {
            let (pieces, receiver) = mpsc::channel(PIECES);
            let body = Body::from_stream(stream_of(receiver));
            let response = self.response(StatusCode::OK, body);
            let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
            self.head.take().ok_or_else(gone)?.send(response).map_err(|_| gone())?;
            let writer = PieceWriter { pieces, pending: Vec::with_capacity(PIECE) };
            let mut body = Packer::new(writer, self.options.encoding, self.options.blocks);
            body.write_all(&std::mem::take(&mut self.held))?;
            self.body = Some(body);
        }
        self.body.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends a good answer. A client that is gone by now is nobody's concern.
    pub(crate) fn finish(mut self) {
        match self.body.take() {
            Some(body) => drop(body.finish().and_then(PieceWriter::finish)),
            None => {
                let packed = if self.held.is_empty() {
                    // No encoding of nothing: clients that find no frame in an empty body complain.
                    self.options.encoding = Encoding::Identity;
                    Ok(Vec::new())
                } else {
                    let mut packer = Packer::new(Vec::new(), self.options.encoding, self.options.blocks);
                    packer.write_all(&self.held).and_then(|()| packer.finish())
                };
                match packed {
                    Ok(packed) => {
                        let response = self.response(StatusCode::OK, Body::from(packed));
                        self.send_head(response);
                    }
                    Err(error) => self.fail(&Exception::new(Exception::LOGICAL_ERROR, error)),
                }
            }
        }
    }

    /// Ends the answer with an error: with its status if nothing has left yet, else marked behind the data.
    pub(crate) fn fail(mut self, exception: &Exception) {
        if let Some(mut body) = self.body.take() {
            let message = format!("{}\n", exception.message.trim_end());
            let last_words = format!(
                "\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n",
                tag = self.tag,
                length = message.len(),
            );
            // Alone in its compressed block: the `clickhouse` crate looks for it at the end of a block.
            let written = body.flush().and_then(|()| body.write_all(last_words.as_bytes())).and_then(|()| body.flush());
            if written.is_ok() {
                body.into_inner().break_off();
            }
            return;
        }
        self.options.encoding = Encoding::Identity;
        let mut text = format!("{}\n", exception.message.trim_end()).into_bytes();
        if self.options.blocks {
            // A client that asked for blocks takes whatever comes for blocks.
            text = block_codec::compress(&text);
        }
        let mut response = self.response(exception.status(), Body::from(text));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        headers.insert("X-ClickHouse-Exception-Code", HeaderValue::from(exception.code));
        if response.status() == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        self.send_head(response);
    }

    fn send_head(&mut self, response: Response<Body>) {
        if let Some(head) = self.head.take() {
            // The receiver is gone when the client is.
            let _ = head.send(response);
        }
    }

    fn response(&self, status: StatusCode, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &str| {
            // Our own values, and an id and a format's name that the client gave: one that cannot stand in a header
            // is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let format = self.format.as_deref();
        set("content-type", format::content_type(format.unwrap_or("TabSeparated")));
        if let Some(format) = format {
            set("x-clickhouse-format", format);
        }
        set("x-clickhouse-query-id", &self.options.query_id);
        set("x-clickhouse-timezone", "UTC");
        set("x-clickhouse-server-display-name", SERVER_NAME);
        set("x-clickhouse-exception-tag", &self.tag);
        let p = self.progress;
        set(
            "x-clickhouse-summary",
            &format!(
                "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\"written_bytes\":\"{}\",\
                 \"total_rows_to_read\":\"0\",\"result_rows\":\"{}\",\"result_bytes\":\"{}\",\"elapsed_ns\":\"{}\"}}",
                p.read_rows,
                p.read_bytes,
                p.written_rows,
                p.written_bytes,
                p.result_rows,
                p.result_bytes,
                self.started.elapsed().as_nanos()
            ),
        );
        if let Some(name) = self.options.encoding.name() {
            headers.insert(header::CONTENT_ENCODING, name);
        }
        response
    }
}

/// `X-ClickHouse-Server-Display-Name`.
pub(crate) const SERVER_NAME: &str = "hookline-local";

/// Why a piece of an answer was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The client went away.
    Gone,
    /// The answer is not possible.
    Refused(Exception),
}

/// Passes pieces on to the connection; the last message of a failed answer breaks it off.
enum Piece {
    Data(Bytes),
    End,
    BreakOff,
}

fn stream_of(receiver: mpsc::Receiver<Piece>) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some(receiver), |state| async move {
        let mut receiver = state?;
        match receiver.recv().await {
            Some(Piece::Data(data)) => Some((Ok(data), Some(receiver))),
            Some(Piece::End) => None,
            Some(Piece::BreakOff) => {
                // What was written before is still on its way through the connection's buffer.
                tokio::time::sleep(LAST_WORDS).await;
                Some((Err(io::Error::other("the query failed in the middle of its answer")), None))
            }
            // The engine's thread ended without a word.
            None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
        }
    })
}

/// Gathers pieces and hands them to the connection; blocks while the client is slow.
struct PieceWriter {
    pieces: mpsc::Sender<Piece>,
    pending: Vec<u8>,
}

impl PieceWriter {
    fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::End)
    }

    /// A client that is gone needs no breaking off.
    fn break_off(mut self) {
        let _ = self.flush().and_then(|()| self.send(Piece::BreakOff));
    }
}

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(data);
        if self.pending.len() >= PIECE {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let data = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE));
        self.send(Piece::Data(data.into()))
    }
}

/// Packs bytes: ClickHouse's blocks inside, the content encoding outside.
enum Packer<W: Write> {
    Plain(Encoder<W>),
    Blocks(BlockWriter<Encoder<W>>),
}

enum Encoder<W: Write> {
    Identity(W),
    Lz4(lz4_flex::frame::FrameEncoder<W>),
    Gzip(flate2::write::GzEncoder<W>),
}

impl<W: Write> Packer<W> {
    fn new(writer: W, encoding: Encoding, blocks: bool) -> Self {
        let encoder = match encoding {
            Encoding::Identity => Encoder::Identity(writer),
            Encoding::Lz4 => Encoder::Lz4(lz4_flex::frame::FrameEncoder::new(writer)),
            Encoding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(writer, flate2::Compression::fast())),
        };
        if blocks { Self::Blocks(BlockWriter::new(encoder)) } else { Self::Plain(encoder) }
    }

    /// Ends blocks and encoding.
    fn finish(self) -> io::Result<W> {
        let encoder = match self {
            Self::Plain(encoder) => encoder,
            Self::Blocks(mut blocks) => {
                blocks.flush()?;
                blocks.inner
            }
        };
        match encoder {
            Encoder::Identity(writer) => Ok(writer),
            Encoder::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Packer<PieceWriter> {
    /// Leaves the encoding without its end, so that no decoder takes the answer for whole.
    fn into_inner(self) -> PieceWriter {
        let encoder = match self {
            Self::Plain(encoder) => encoder,
            Self::Blocks(blocks) => blocks.inner,
        };
        match encoder {
            Encoder::Identity(writer) => writer,
            Encoder::Lz4(encoder) => encoder.into_inner(),
            Encoder::Gzip(mut encoder) => {
                // Dropped, the encoder writes its end: to nowhere.
                let nowhere = PieceWriter { pieces: mpsc::channel(1).0, pending: Vec::new() };
                std::mem::replace(encoder.get_mut(), nowhere)
            }
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(encoder) => encoder.write(data),
            Self::Blocks(blocks) => blocks.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(encoder) => encoder.flush(),
            Self::Blocks(blocks) => blocks.flush(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Identity(writer) => writer.write(data),
            Self::Lz4(encoder) => encoder.write(data),
            Self::Gzip(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Identity(writer) => writer.flush(),
            Self::Lz4(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// The answer to a request that never reached the engine's thread.
pub(crate) fn refusal(query_id: String, exception: &Exception) -> Response<Body> {
    let options = ReplyOptions { query_id, encoding: Encoding::Identity, blocks: false, whole: false };
    let (reply, mut head) = reply(options);
    reply.fail(exception);
    head.try_recv().unwrap_or_else(|_: oneshot::error::TryRecvError| {
        // `fail` sends the head of an answer that has not begun.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
