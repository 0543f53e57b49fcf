//! Times as they are printed.

use jiff::Timestamp;

/// Milliseconds since 1970 for people, to the second; `-` for 0.
pub(crate) fn shown(millis: i64) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(at) if millis != 0 => at.strftime("%FT%TZ").to_string(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(shown(1_764_072_000_999), "2025-11-25T12:00:00Z");
        assert_eq!(shown(0), "-");
    }
}
