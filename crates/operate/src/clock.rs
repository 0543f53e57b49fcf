//! The wall clock.

use event::Millis;
use jiff::Timestamp;

/// Milliseconds since 1970.
pub(crate) fn now() -> Millis {
    Millis(Timestamp::now().as_millisecond())
}
