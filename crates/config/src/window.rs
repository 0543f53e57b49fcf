//! The dedupe window of a source: how long its sender is known to retry, and what remembering costs.

use std::time::Duration;

use signature::Scheme;

use crate::defaults;

/// Resident memory of one id in the window store before its bucket is sealed, in bytes (measured: 100 million ids in
/// 800 MB).
const BYTES_PER_ID: f64 = 8.2;
/// Above this the memory of a window is worth a warning.
const MEMORY_WORTH_SAYING: f64 = 4.0 * (1u64 << 30) as f64;

/// How long a sender is known to deliver one event again, from its first attempt, and who says so.
///
/// Standard Webhooks: the specification's recommended schedule adds up to 75 h 35 m. Svix: 27 h 35 m. Stripe: up to
/// three days. GitHub: manual redelivery for three days. Shopify: 8 attempts in 4 h. Dub: its listed schedule (12 s,
/// 2 m 28 s, 30 m 8 s, 6 h 7 m, 24 h, 24 h) adds up to 54 h 40 m. Of others nothing is known.
pub fn horizon(scheme: &Scheme) -> Option<Duration> {
    let minutes = match scheme {
        Scheme::StandardWebhooks => 75 * 60 + 36,
        Scheme::Svix => 27 * 60 + 36,
        Scheme::Stripe | Scheme::GitHub => 72 * 60,
        Scheme::Shopify => 4 * 60,
        Scheme::Dub => 54 * 60 + 40,
        _ => return None,
    };
    Some(Duration::from_secs(minutes * 60))
}

/// `remember_for` where a source does not say: the default, or the next whole hour beyond its sender's horizon.
pub(crate) fn default_for(scheme: &Scheme) -> Duration {
    let beyond = horizon(scheme).map_or(0, |horizon| horizon.as_secs() / 3_600 + 1);
    defaults::REMEMBER_FOR.max(Duration::from_secs(beyond * 3_600))
}

/// The resident memory, in bytes, that a window implies if events come at `per_second` all the time.
pub fn memory_bytes(per_second: u32, remember_for: Duration) -> u64 {
    (f64::from(per_second) * remember_for.as_secs_f64() * BYTES_PER_ID) as u64
}

/// What to say about the memory of a window; none where it is small.
pub(crate) fn memory_warning(per_second: u32, remember_for: Duration) -> Option<String> {
    let bytes = memory_bytes(per_second, remember_for) as f64;
    (bytes > MEMORY_WORTH_SAYING).then(|| {
        format!(
            "at its full quota all the time, {per_second} events a second for {} take {:.0} GiB of memory over all lanes",
            crate::section::words(remember_for),
            bytes / (1u64 << 30) as f64
        )
    })
}
