//! ClickHouse's own compressed blocks, as in `decompress=1` and `compress=1`.
//!
//! A block is: CityHash128 (version 1.0.2, 16 bytes, little-endian halves) of all that follows; then the header of
//! 9 bytes, that is the method (`0x82` LZ4, `0x02` none), the size of header and payload, the size when uncompressed
//! (both u32, little-endian); then the payload. Source: `src/Compression/CompressedReadBufferBase.cpp` of ClickHouse.

use std::io::{self, Read, Write};

use cityhash_rs::cityhash_102_128;

use super::exception::Exception;

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const LZ4: u8 = 0x82;
const NONE: u8 = 0x02;
/// No block may claim more than this, compressed or not (`DBMS_MAX_COMPRESSED_SIZE`, 1 GiB, in ClickHouse; blocks in
/// practice have about 1 MiB).
const LARGEST: usize = 256 << 20;
/// How much goes into one block of an answer (`max_compress_block_size`).
const BLOCK: usize = 1 << 20;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    // The hash names its halves high to low; the file has the low one first.
    let hash = cityhash_102_128(bytes);
    let mut out = [0; CHECKSUM];
    out[..8].copy_from_slice(&((hash >> 64) as u64).to_le_bytes());
    out[8..].copy_from_slice(&(hash as u64).to_le_bytes());
    out
}

/// One block that holds `data`.
pub(crate) fn compress(data: &[u8]) -> Vec<u8> {
    let mut block = vec![0; CHECKSUM + HEADER];
    block.extend_from_slice(&lz4_flex::block::compress(data));
    let size = (block.len() - CHECKSUM) as u32;
    block[CHECKSUM] = LZ4;
    block[CHECKSUM + 1..CHECKSUM + 5].copy_from_slice(&size.to_le_bytes());
    block[CHECKSUM + 5..CHECKSUM + 9].copy_from_slice(&(data.len() as u32).to_le_bytes());
    let sum = checksum(&block[CHECKSUM..]);
    block[..CHECKSUM].copy_from_slice(&sum);
    block
}

/// Reads what a stream of blocks holds. A damaged or cut block is an error and gives no data.
pub(crate) struct BlockReader<R> {
    inner: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, block: Vec::new(), at: 0 }
    }

    /// Makes the next block current; `false` at a clean end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut prefix = [0; CHECKSUM + HEADER];
        let got = read_up_to(&mut self.inner, &mut prefix)?;
        if got == 0 {
            return Ok(false);
        }
        if got < prefix.len() {
            return Err(refuse(
                Exception::CANNOT_READ_ALL_DATA,
                "the body ends inside the header of a compressed block",
            ));
        }
        let (sum, header) = prefix.split_at(CHECKSUM);
        let size = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let uncompressed = u32::from_le_bytes([header[5], header[6], header[7], header[8]]) as usize;
        if !(HEADER..=LARGEST).contains(&size) || uncompressed > LARGEST {
            let what = format!(
                "a compressed block claims {size} bytes for {uncompressed}; at most {LARGEST} are taken: \
                 the body is not in ClickHouse's compressed blocks, or is damaged"
            );
            return Err(refuse(Exception::TOO_LARGE_SIZE_COMPRESSED, what));
        }
        let mut hashed = header.to_vec();
        hashed.resize(size, 0);
        if read_up_to(&mut self.inner, &mut hashed[HEADER..])? < size - HEADER {
            return Err(refuse(Exception::CANNOT_READ_ALL_DATA, "the body ends inside a compressed block"));
        }
        if checksum(&hashed) != sum {
            let what = "the checksum of a compressed block does not match: the body is damaged";
            return Err(refuse(Exception::CHECKSUM_DOESNT_MATCH, what));
        }
        self.at = 0;
        match header[0] {
            LZ4 => {
                self.block.resize(uncompressed, 0);
                let written = lz4_flex::block::decompress_into(&hashed[HEADER..], &mut self.block)
                    .map_err(|error| refuse(Exception::CANNOT_DECOMPRESS, error))?;
                if written != uncompressed {
                    let what = format!("a compressed block holds {written} bytes and claims {uncompressed}");
                    return Err(refuse(Exception::CANNOT_DECOMPRESS, what));
                }
            }
            NONE => {
                self.block.clear();
                self.block.extend_from_slice(&hashed[HEADER..]);
            }
            other => {
                let what =
                    format!("compression method {other:#04x} is not supported here; LZ4 (0x82) and none (0x02) are");
                return Err(refuse(Exception::UNKNOWN_COMPRESSION_METHOD, what));
            }
        }
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.block.len() - self.at);
        out[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn refuse(code: u32, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Exception::new(code, what))
}

fn read_up_to(reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < out.len() {
        match reader.read(&mut out[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Writes a stream of blocks; `flush` ends the block that is being filled.
pub(crate) struct BlockWriter<W: Write> {
    pub(crate) inner: W,
    pending: Vec<u8>,
}

impl<W: Write> BlockWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, pending: Vec::new() }
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(BLOCK - self.pending.len());
        self.pending.extend_from_slice(&data[..count]);
        if self.pending.len() == BLOCK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.inner.write_all(&compress(&self.pending))?;
            self.pending.clear();
        }
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<u8>, Exception> {
        let mut out = Vec::new();
        match BlockReader::new(bytes).read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err(error.into_inner().unwrap().downcast_ref::<Exception>().unwrap().clone()),
        }
    }

    #[test]
    fn a_damaged_or_cut_block_is_refused() {
        let block = compress(&b"forty-two ".repeat(100));
        for at in 0..block.len() {
            let mut damaged = block.clone();
            damaged[at] ^= 0x40;
            read_all(&damaged).expect_err("a flipped bit is noticed");
        }
        for cut in 1..block.len() {
            assert_eq!(read_all(&block[..cut]).unwrap_err().code, Exception::CANNOT_READ_ALL_DATA);
        }
        let mut damaged = block.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(read_all(&damaged).unwrap_err().code, Exception::CHECKSUM_DOESNT_MATCH);
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read(pieces in proptest::collection::vec(
            proptest::collection::vec(proptest::num::u8::ANY, 0..5000), 0..20))
        {
            let mut writer = BlockWriter::new(Vec::new());
            for piece in &pieces {
                writer.write_all(piece).unwrap();
                if piece.len() % 2 == 0 {
                    writer.flush().unwrap();
                }
            }
            writer.flush().unwrap();
            proptest::prop_assert_eq!(read_all(&writer.inner).unwrap(), pieces.concat());
        }

        #[test]
        fn no_bytes_make_the_reader_fail_hard(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read_all(&bytes);
        }
    }
}
