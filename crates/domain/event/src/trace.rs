//! The context of a trace as W3C writes it: the header `traceparent`, over HTTP and on Kafka records alike.

use std::fmt::Write;

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// Which span something belongs to: what travels beside an event that is traced, never in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace; not all zero.
    pub trace_id: [u8; 16],
    /// The span within it; not all zero.
    pub span_id: [u8; 8],
    /// Whether its writer records it.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. `None` for what is not one: a reader that has none starts a new trace.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" flags; a later version may have more behind a further "-".
        let (fields, more) = header.split_at_checked(55)?;
        let version = *lower_hex::<1>(fields.get(0..2)?)?.first()?;
        let whole = if version == 0 { more.is_empty() } else { more.first().is_none_or(|byte| *byte == b'-') };
        let dashes = [2, 35, 52].iter().all(|at| fields.get(*at) == Some(&b'-'));
        if version == 0xff || !whole || !dashes {
            return None;
        }
        let trace_id = lower_hex::<16>(fields.get(3..35)?)?;
        let span_id = lower_hex::<8>(fields.get(36..52)?)?;
        let [flags] = lower_hex::<1>(fields.get(53..55)?)?;
        let known = trace_id != [0; 16] && span_id != [0; 8];
        known.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The `traceparent` that says so, in version 00.
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut text = String::with_capacity(55);
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        // Writing to a String cannot fail.
        let _ = write!(text, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled));
        text
    }
}

/// Bytes from lower-case hex digits, which are all that W3C allows.
fn lower_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_w3c_is_read_and_written_as_it_is() {
        let context = TraceContext::parse(W3C.as_bytes()).unwrap();
        assert!(context.sampled);
        assert_eq!(context.span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!(context.to_header(), W3C);
        let unsampled = TraceContext { sampled: false, ..context };
        assert_eq!(TraceContext::parse(unsampled.to_header().as_bytes()), Some(unsampled));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = |more: &str| TraceContext::parse(format!("cc{}{more}", &W3C[2..]).as_bytes());
        assert_eq!(later("").unwrap().to_header(), W3C);
        assert_eq!(later("-what-the-future-will-be-like").unwrap().to_header(), W3C);
        assert_eq!(later(".what-the-future-will-be-like"), None);
    }

    #[test]
    fn what_is_not_a_context_is_not_read() {
        let spoiled = |at: usize, with: &str| {
            let mut text = W3C.to_owned();
            text.replace_range(at..at + with.len(), with);
            text
        };
        let broken = [
            String::new(),
            W3C[..54].to_owned(),
            format!("{W3C}-00"),
            W3C.to_uppercase(),
            spoiled(0, "ff"),
            spoiled(3, &"0".repeat(32)),
            spoiled(36, &"0".repeat(16)),
            spoiled(35, "_"),
            spoiled(10, "g"),
            spoiled(53, " 1"),
        ];
        for text in broken {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
