//! The clocks of this machine, read here alone: clippy refuses `SystemTime::now` elsewhere.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, by two clocks: the one that never goes back stands still while a machine sleeps, the other one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The monotonic clock, in milliseconds since a point of its own.
    pub monotonic_ms: i64,
    /// The wall clock, in milliseconds since 1970.
    pub wall_ms: i64,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic_ms: monotonic_ms(), wall_ms: now_ms() }
    }
}

/// The wall clock, in milliseconds since 1970. It can jump; [`monotonic_ms`] cannot.
#[must_use]
pub fn now_ms() -> i64 {
    since_1970().as_millis() as i64
}

/// The wall clock, as the time since 1970; nothing where it is set before that.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the place where it is read")]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock that never goes back, in milliseconds since it was first asked. It stands still while a machine sleeps.
#[must_use]
pub fn monotonic_ms() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as i64
}
