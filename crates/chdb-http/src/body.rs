//! The body of a request, as a plain reader on the engine's thread.
//!
//! The body arrives on the asynchronous side and is handed over piece by piece, so that it is never held whole. Its end
//! is a message of its own: a body that just stops (the client went away, a proxy gave up) is an error here, because
//! the end of the body is what commits an INSERT.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;

use super::block_codec::BlockReader;
use super::exception::Exception;

/// Pieces under way between the two sides.
const PIECES: usize = 16;
/// How long a body may stand still, as a server's `http_receive_timeout`.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);

enum Piece {
    Data(Bytes),
    End,
    Failed(String),
}

/// Reads the pieces; blocks until one is there.
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

/// Feeds a [`PieceReader`] from the body.
pub(crate) struct Pump {
    body: Body,
    pieces: mpsc::Sender<Piece>,
}

/// Splits a body into its two sides.
pub(crate) fn split(body: Body) -> (Pump, PieceReader) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (Pump { body, pieces: sender }, PieceReader { pieces, current: Bytes::new(), ended: false })
}

impl Pump {
    /// Moves the body until its end, a failure of the connection, or until nobody reads any more. When this future is
    /// dropped first, the reader sees a body without an end.
    pub(crate) async fn run(self) {
        let Self { body, pieces } = self;
        let mut stream = body.into_data_stream();
        loop {
            let piece = match tokio::time::timeout(RECEIVE_TIMEOUT, stream.next()).await {
                Ok(Some(Ok(data))) => Piece::Data(data),
                Ok(Some(Err(error))) => Piece::Failed(error.to_string()),
                Ok(None) => Piece::End,
                Err(_) => Piece::Failed(format!("nothing came for {} s", RECEIVE_TIMEOUT.as_secs())),
            };
            let last = !matches!(piece, Piece::Data(_));
            if pieces.send(piece).await.is_err() || last {
                return;
            }
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(why)) => return Err(broken(&why)),
                None => return Err(broken("the client went away")),
            }
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

fn broken(why: &str) -> io::Error {
    let what = format!("the body of the request ended before its end ({why}); nothing of it was inserted");
    // Not UnexpectedEof: the LZ4 decoder takes that, between two of its blocks, for a clean end.
    io::Error::new(io::ErrorKind::ConnectionAborted, Exception::new(Exception::CANNOT_READ_ALL_DATA, what))
}

/// The exception that a reader of this module failed with.
pub(crate) fn exception(error: io::Error) -> Exception {
    let text = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<Exception>()) {
        Some(Ok(exception)) => *exception,
        _ => Exception::new(Exception::CANNOT_READ_ALL_DATA, format!("cannot read the body of the request: {text}")),
    }
}

/// How the body of a request is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// `Content-Encoding: gzip`.
    Gzip,
    /// `Content-Encoding: lz4`, frames.
    Lz4,
}

impl Packing {
    /// Reads `Content-Encoding`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Exception> {
        let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Self::Plain) };
        match value.to_str().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "lz4" => Ok(Self::Lz4),
            other => Err(Exception::new(
                Exception::UNKNOWN_COMPRESSION_METHOD,
                format!("Content-Encoding {other:?} is not supported here; lz4 and gzip are"),
            )),
        }
    }
}

/// Unpacks `body`: the content encoding first, then ClickHouse's blocks if `blocks` (`decompress=1`).
pub(crate) fn unpack(body: &mut PieceReader, packing: Packing, blocks: bool) -> Box<dyn Read + '_> {
    let plain: Box<dyn Read> = match packing {
        Packing::Plain => Box::new(body),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Packing::Lz4 => Box::new(WholeFrames::new(body)),
    };
    if blocks { Box::new(BlockReader::new(plain)) } else { plain }
}

/// Reads LZ4 frames and refuses an end inside one, which the decoder of `lz4_flex` takes for the end of the data.
struct WholeFrames<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<Counted<R>>,
}

/// Counts what is read, and notices the end.
struct Counted<R> {
    inner: R,
    since_frame_end: u64,
    ended: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.since_frame_end += count as u64;
        self.ended |= count == 0 && !out.is_empty();
        Ok(count)
    }
}

impl<R: Read> WholeFrames<R> {
    fn new(inner: R) -> Self {
        let counted = Counted { inner, since_frame_end: 0, ended: false };
        Self { decoder: lz4_flex::frame::FrameDecoder::new(counted) }
    }
}

impl<R: Read> Read for WholeFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            // Nothing: the end mark of a frame, or the end of the input.
            let counted = self.decoder.get_mut();
            if !counted.ended {
                counted.since_frame_end = 0;
            } else if counted.since_frame_end == 0 {
                return Ok(0);
            } else {
                let what = "the body ends inside an LZ4 frame; nothing of it was inserted";
                let cut = Exception::new(Exception::CANNOT_READ_ALL_DATA, what);
                return Err(io::Error::new(io::ErrorKind::InvalidData, cut));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_with(packing: Packing, pieces: Vec<Piece>) -> Result<Vec<u8>, Exception> {
        let (sender, receiver) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            assert!(sender.try_send(piece).is_ok());
        }
        drop(sender);
        let mut body = PieceReader { pieces: receiver, current: Bytes::new(), ended: false };
        let mut out = Vec::new();
        unpack(&mut body, packing, false).read_to_end(&mut out).map_err(exception)?;
        Ok(out)
    }

    fn packed(packing: Packing, data: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Plain => data.to_vec(),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn a_whole_body_is_read_in_every_packing() {
        let data = b"one row\n".repeat(30_000);
        for packing in [Packing::Plain, Packing::Gzip, Packing::Lz4] {
            let bytes = packed(packing, &data);
            let pieces = bytes.chunks(1000).map(|chunk| Piece::Data(Bytes::copy_from_slice(chunk)));
            let read = read_with(packing, pieces.chain([Piece::End]).collect()).unwrap();
            assert!(read == data, "{packing:?}");
            let two = [bytes.clone(), bytes].concat();
            let read = read_with(packing, vec![Piece::Data(two.into()), Piece::End]).unwrap();
            assert_eq!(read.len(), 2 * data.len(), "{packing:?}, two frames in a row");
        }
    }

    #[test]
    fn a_body_that_stops_is_an_error_at_every_byte() {
        let data = b"one row\n".repeat(20_000);
        for packing in [Packing::Plain, Packing::Gzip, Packing::Lz4] {
            let bytes = packed(packing, &data);
            for cut in (1..bytes.len()).step_by(bytes.len() / 300 + 1).chain([bytes.len() - 1]) {
                let piece = Piece::Data(Bytes::copy_from_slice(&bytes[..cut]));
                read_with(packing, vec![piece]).expect_err("the connection broke");
            }
            read_with(packing, vec![Piece::Data(bytes.into())]).expect_err("whole data, but no end of the body");
        }
    }

    #[test]
    fn a_frame_that_is_cut_inside_a_whole_body_is_an_error() {
        let data = b"one row\n".repeat(20_000);
        for packing in [Packing::Gzip, Packing::Lz4] {
            let bytes = packed(packing, &data);
            for cut in 1..bytes.len() {
                let piece = Piece::Data(Bytes::copy_from_slice(&bytes[..cut]));
                read_with(packing, vec![piece, Piece::End]).expect_err("the frame is not complete");
            }
        }
    }
}
