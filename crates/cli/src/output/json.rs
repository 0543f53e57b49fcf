//! A report as one JSON line.

use operate::Report;

/// The line; the keys of each object are in alphabetical order.
pub(super) fn line<R: Report>(report: &R) -> serde_json::Result<String> {
    Ok(serde_json::to_value(report)?.to_string())
}
