//! Bodies that come compressed: undone within the same bound that plain bodies have.

use std::io::Read;

use axum::http::{HeaderMap, header};
use bytes::Bytes;

use crate::limits::Hold;

/// What a sender may name in `Content-Encoding`; said in answers to those who name another.
pub(crate) const ACCEPTED: &str = "gzip, zstd";

/// The largest window of a zstd frame, as a power of two: 8 MiB, the bound of RFC 9659.
const ZSTD_WINDOW: u32 = 23;
/// How much room a decoded body gets at first and how much more at a time, at least.
const STEP: usize = 16 << 10;

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
    pub(crate) fn decode(self, wire: &Bytes, limit: usize, hold: &mut Hold<'_>) -> Result<Bytes, DecodeError> {
        match self {
            Self::Identity | Self::Unknown => Ok(wire.clone()),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(&wire[..]), limit, hold),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&wire[..]);
                let mut decoder = decoder.map_err(|_| DecodeError::NoRoom)?;
                decoder.window_log_max(ZSTD_WINDOW).map_err(|_| DecodeError::Corrupt)?;
                read(decoder, limit, hold)
            }
        }
    }
}

fn read(mut decoder: impl Read, limit: usize, hold: &mut Hold<'_>) -> Result<Bytes, DecodeError> {
    let mut content = Vec::new();
    loop {
        if content.len() == content.capacity() {
            // One byte beyond the limit shows that there is more.
            let room = (content.len() * 2).max(STEP).min(limit + 1);
            let more = room.saturating_sub(content.len());
            if more == 0 {
                return Err(DecodeError::TooLarge);
            }
            hold.grow(more).map_err(|_| DecodeError::NoRoom)?;
            content.reserve_exact(more);
        }
        let (filled, spare) = (content.len(), content.capacity() - content.len());
        content.resize(filled + spare.min(limit + 1 - filled), 0);
        let read = decoder.read(&mut content[filled..]).map_err(|_| DecodeError::Corrupt)?;
        content.truncate(filled + read);
        match read {
            0 => return Ok(Bytes::from(content)),
            _ if content.len() > limit => return Err(DecodeError::TooLarge),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicUsize;

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
        coding.decode(wire, limit, &mut hold)
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_costs_no_more_memory_than_that() {
        let bomb = vec![b' '; 200 << 20];
        for (coding, wire) in [(Coding::Gzip, gzip(&bomb)), (Coding::Zstd, zstd(&bomb))] {
            let (memory, source) = (Memory::new(64 << 20), AtomicUsize::new(0));
            let mut hold = memory.hold(&source).unwrap();
            let before = memory.used();
            assert_eq!(coding.decode(&wire, 256 << 10, &mut hold), Err(DecodeError::TooLarge), "{coding:?}");
            assert!(memory.used() - before <= (256 << 10) + 1, "{}", memory.used() - before);
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
