//! The record that ends a block of a lane.

use crate::Millis;

/// A cut on `events`: a null value whose headers say what the block that it ends holds.
///
/// Everything between two cuts of a lane is one block; the block is known by the offset of its cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// One past the last raw offset of the block.
    pub raw_hi: u64,
    /// The lane's watermark: no later record of the lane was received before it.
    pub watermark: Millis,
}

const VERSION: &str = "1";

impl Cut {
    /// The headers of the cut record.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [("cut", VERSION.into()), ("raw-hi", self.raw_hi.to_string()), ("watermark", self.watermark.0.to_string())]
    }

    /// Reads the headers of a record with a null value. `None` when it is not a cut that this version knows.
    pub fn from_headers<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Option<Self> {
        let (mut version, mut raw_hi, mut watermark) = (None, None, None);
        for (name, value) in headers {
            let value = std::str::from_utf8(value).ok()?;
            match name {
                "cut" => version = Some(value),
                "raw-hi" => raw_hi = value.parse().ok(),
                "watermark" => watermark = value.parse().ok(),
                _ => {}
            }
        }
        (version? == VERSION).then_some(Self { raw_hi: raw_hi?, watermark: Millis(watermark?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_read_back_from_its_headers() {
        let cut = Cut { raw_hi: 4711, watermark: Millis(1_764_000_000_123) };
        let headers = cut.headers();
        assert_eq!(Cut::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))), Some(cut));
    }

    #[test]
    fn a_null_record_without_the_cut_header_is_no_cut() {
        assert_eq!(Cut::from_headers([("raw-hi", &b"1"[..]), ("watermark", b"2")]), None);
        assert_eq!(Cut::from_headers([("cut", &b"2"[..]), ("raw-hi", b"1"), ("watermark", b"2")]), None);
    }
}
