//! Bodies that come compressed: undone within the same bound that plain bodies have.

use std::io::{BufRead, ErrorKind, Read};

use axum::http::{HeaderMap, header};
use bytes::Bytes;

use crate::limits::Hold;

/// What a sender may name in `Content-Encoding`; said in answers to those who name another.
pub(crate) const ACCEPTED: &str = "gzip, zstd";

/// The largest window of a zstd frame, as a power of two: 8 MiB, the bound of RFC 9659.
const ZSTD_WINDOW: u32 = 23;
/// How much room a decoded body gets at first and how much more at a time, at least.
const STEP: usize = 16 << 10;
/// How many bytes are made before others have a turn: well under a millisecond's work.
const TURN: usize = 64 << 10;
/// How many bytes are taken from the wire before that. The smallest member of gzip has 20, and costs about a
/// microsecond.
const PIECE: usize = 8 << 10;

/// How a body is encoded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Zstd,
    /// Something else, or several.
    Unknown,
}

/// Why an encoded body cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It becomes larger than the limit.
    TooLarge,
    /// It is not what its header says.
    Corrupt,
    /// There is no memory for it now.
    NoRoom,
}

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(header::CONTENT_ENCODING) { Self::Unknown } else { Self::Identity };
        };
        match value.as_bytes().trim_ascii() {
            name if name.is_empty() || name.eq_ignore_ascii_case(b"identity") => Self::Identity,
            name if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => Self::Gzip,
            name if name.eq_ignore_ascii_case(b"zstd") => Self::Zstd,
            _ => Self::Unknown,
        }
    }

    /// Whether there is something to undo, and we can.
    pub(crate) fn is_compressed(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }

    /// The content of a body. Never more than `limit` bytes are made, and what is made is held.
    pub(crate) async fn decode(self, wire: &Bytes, limit: usize, hold: &mut Hold<'_>) -> Result<Bytes, DecodeError> {
        match self {
            Self::Identity | Self::Unknown => Ok(wire.clone()),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(Pieces::of(wire)), limit, hold).await,
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(Pieces::of(wire));
                let mut decoder = decoder.map_err(|_| DecodeError::NoRoom)?;
                decoder.window_log_max(ZSTD_WINDOW).map_err(|_| DecodeError::Corrupt)?;
                read(decoder, limit, hold).await
            }
        }
    }
}

/// Makes room only as it is filled, and clears it once: decoders return at the end of each member or frame, and those
/// may be tiny. Other requests have their turns in between.
async fn read(mut decoder: impl Read, limit: usize, hold: &mut Hold<'_>) -> Result<Bytes, DecodeError> {
    let (mut content, mut filled, mut since_turn) = (Vec::new(), 0, 0);
    loop {
        if filled == content.len() {
            // One byte beyond the limit shows that there is more.
            let room = (filled * 2).max(STEP).min(limit + 1);
            let more = room.saturating_sub(filled);
            if more == 0 {
                return Err(DecodeError::TooLarge);
            }
            hold.grow(more).map_err(|_| DecodeError::NoRoom)?;
            content.reserve_exact(more);
            content.resize(room, 0);
        }
        let window = content.len().min(filled + TURN);
        match decoder.read(&mut content[filled..window]) {
            Ok(0) => {
                content.truncate(filled);
                return Ok(Bytes::from(content));
            }
            Ok(read) => {
                filled += read;
                since_turn += read;
                if filled > limit {
                    return Err(DecodeError::TooLarge);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => since_turn = TURN,
            Err(_) => return Err(DecodeError::Corrupt),
        }
        if since_turn >= TURN {
            tokio::task::yield_now().await;
            since_turn = 0;
        }
    }
}

/// What came on the wire, in pieces: after each, the decoder stops for a turn of others, wherever it is. A member may
/// be empty, so that a decoder reads thousands of them before it returns a byte.
struct Pieces<'w> {
    wire: &'w [u8],
    /// What is left of this piece.
    left: usize,
}

impl<'w> Pieces<'w> {
    fn of(wire: &'w [u8]) -> Self {
        Self { wire, left: PIECE }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.left == 0 && !self.wire.is_empty() {
            self.left = PIECE;
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(self.wire.get(..self.left).unwrap_or(self.wire))
    }

    fn consume(&mut self, bytes: usize) {
        self.wire = self.wire.get(bytes..).unwrap_or_default();
        self.left = self.left.saturating_sub(bytes);
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicUsize;

    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Memory;

    fn gzip(content: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap().into()
    }

    fn zstd(content: &[u8]) -> Bytes {
        zstd::stream::encode_all(content, 3).unwrap().into()
    }

    fn decode(coding: Coding, wire: &Bytes, limit: usize) -> Result<Bytes, DecodeError> {
        let (memory, source) = (Memory::new(64 << 20), AtomicUsize::new(0));
        let mut hold = memory.hold(&source).unwrap();
        block_on(coding.decode(wire, limit, &mut hold))
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_costs_no_more_memory_than_that() {
        let bomb = vec![b' '; 200 << 20];
        for (coding, wire) in [(Coding::Gzip, gzip(&bomb)), (Coding::Zstd, zstd(&bomb))] {
            let (memory, source) = (Memory::new(64 << 20), AtomicUsize::new(0));
            let mut hold = memory.hold(&source).unwrap();
            let before = memory.used();
            assert_eq!(block_on(coding.decode(&wire, 256 << 10, &mut hold)), Err(DecodeError::TooLarge), "{coding:?}");
            assert!(memory.used() - before <= (256 << 10) + 1, "{}", memory.used() - before);
        }
    }

    /// One byte a call, as a decoder gives whose members or frames have one. What it is given to write into is marked,
    /// so that what was cleared since the call before is seen.
    struct Tiny<'c> {
        left: usize,
        cleared: &'c mut usize,
    }

    impl Read for Tiny<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let Some((last, _)) = into.split_last_mut() else { return Ok(0) };
            if *last == 0 {
                *self.cleared += into.len();
                *into.last_mut().unwrap() = 0xff;
            }
            self.left = self.left.saturating_sub(1);
            Ok(usize::from(self.left > 0))
        }
    }

    #[test]
    fn a_decoder_that_gives_one_byte_a_call_has_its_room_cleared_once() {
        let (memory, source, mut cleared) = (Memory::new(64 << 20), AtomicUsize::new(0), 0);
        let mut hold = memory.hold(&source).unwrap();
        let content = block_on(read(Tiny { left: 50_000, cleared: &mut cleared }, 1 << 20, &mut hold)).unwrap();
        assert_eq!(content.len(), 49_999);
        assert!(cleared <= 2 * content.len(), "{cleared}");
    }

    #[test]
    fn tiny_and_empty_members_are_undone_and_others_have_turns_meanwhile() {
        const MEMBERS: usize = 20_000;
        for (coding, tiny, empty) in [(Coding::Gzip, gzip(b"a"), gzip(b"")), (Coding::Zstd, zstd(b"a"), zstd(b""))] {
            for (member, length) in [(tiny, MEMBERS), (empty, 0)] {
                let wire: Bytes = member.repeat(MEMBERS).into();
                let (memory, source) = (Memory::new(64 << 20), AtomicUsize::new(0));
                let mut hold = memory.hold(&source).unwrap();
                let mut decoding = std::pin::pin!(coding.decode(&wire, 16 << 20, &mut hold));
                let waker = futures::task::noop_waker();
                let mut turns = 1;
                let content = loop {
                    match decoding.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
                        std::task::Poll::Ready(content) => break content.unwrap(),
                        std::task::Poll::Pending => turns += 1,
                    }
                };
                assert!(content.len() == length && content.iter().all(|byte| *byte == b'a'), "{coding:?}");
                assert!(turns >= wire.len() / PIECE, "{coding:?}: {turns} turns for {} bytes", wire.len());
            }
        }
    }

    #[test]
    fn a_body_that_is_longer_than_a_piece_comes_back_as_it_was_wherever_it_is_cut() {
        // It does not compress, so that pieces end in heads, in blocks and in trailers.
        let mut next = 7_u32;
        let noise: Vec<u8> = (0..60_000)
            .map(|_| {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (next >> 24) as u8
            })
            .collect();
        let name = vec![b'n'; PIECE + 5];
        let mut named = flate2::GzBuilder::new().filename(name).write(Vec::new(), flate2::Compression::fast());
        named.write_all(&noise).unwrap();
        assert_eq!(decode(Coding::Gzip, &named.finish().unwrap().into(), 60_000), Ok(noise.clone().into()));
        for cut in (0..20).map(|n| n * 2_999) {
            let (one, other) = noise.split_at(cut);
            for (coding, wire) in [(Coding::Gzip, [gzip(one), gzip(other)]), (Coding::Zstd, [zstd(one), zstd(other)])] {
                assert_eq!(decode(coding, &wire.concat().into(), 60_000), Ok(noise.clone().into()), "{coding:?} {cut}");
            }
        }
    }

    #[test]
    fn a_zstd_frame_that_wants_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&[b'x'; 1_000]).unwrap();
        assert_eq!(decode(Coding::Zstd, &encoder.finish().unwrap().into(), 1 << 20), Err(DecodeError::Corrupt));
    }

    #[test]
    fn what_is_cut_off_or_not_encoded_at_all_is_corrupt() {
        for (coding, wire) in [(Coding::Gzip, gzip(b"some content")), (Coding::Zstd, zstd(b"some content"))] {
            for end in 1..wire.len() {
                assert_eq!(decode(coding, &wire.slice(..end), 1_000), Err(DecodeError::Corrupt), "{coding:?} {end}");
            }
            assert_eq!(decode(coding, &Bytes::from_static(b"{\"plain\":1}"), 1_000), Err(DecodeError::Corrupt));
        }
    }

    #[test]
    fn names_are_read_as_http_has_them_and_lists_are_not_known() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        assert_eq!([of(&[]), of(&["identity"]), of(&[""])], [Coding::Identity; 3]);
        assert_eq!([of(&["gzip"]), of(&["GZIP "]), of(&["x-gzip"])], [Coding::Gzip; 3]);
        assert_eq!(of(&["zstd"]), Coding::Zstd);
        assert_eq!([of(&["br"]), of(&["deflate"]), of(&["gzip, zstd"]), of(&["gzip", "zstd"])], [Coding::Unknown; 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_fits_comes_back_as_it_was_and_what_does_not_is_refused(
            content in prop::collection::vec(0_u8..4, 0..60_000),
            limit in 1_usize..60_000,
        ) {
            for (coding, wire) in [(Coding::Gzip, gzip(&content)), (Coding::Zstd, zstd(&content))] {
                let expected = if content.len() <= limit { Ok(Bytes::from(content.clone())) } else { Err(DecodeError::TooLarge) };
                prop_assert_eq!(decode(coding, &wire, limit), expected);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(wire in prop::collection::vec(any::<u8>(), 0..500), at in any::<prop::sample::Index>(), byte: u8) {
            let mut near = zstd(b"nearly right").to_vec();
            *at.get_mut(&mut near[..]) = byte;
            let mut other = gzip(b"nearly right").to_vec();
            *at.get_mut(&mut other[..]) = byte;
            let _ = decode(Coding::Zstd, &near.into(), 1_000);
            let _ = decode(Coding::Gzip, &other.into(), 1_000);
            let _ = decode(Coding::Gzip, &wire.clone().into(), 1_000);
            let _ = decode(Coding::Zstd, &wire.into(), 1_000);
        }
    }
}
