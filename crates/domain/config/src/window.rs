//! The dedupe window of a source: how long its sender is known to retry, and what remembering costs.

use std::time::Duration;

use adapter::Adapter;
use signature::Scheme;

use crate::platform::LANES_WHERE;

/// `remember_for` of a source whose sender is not known to retry for longer.
pub(crate) const REMEMBER_FOR: Duration = Duration::from_secs(72 * 3_600);

/// Above this the memory of a window is worth a warning.
const MEMORY_WORTH_SAYING: f64 = 4.0 * (1u64 << 30) as f64;

/// How long a sender is known to deliver one event again, from its first attempt, and by which name it is known.
///
/// By platform: Dub's listed schedule (12 s, 2 m 28 s, 30 m 8 s, 6 h 7 m, 24 h, 24 h) adds up to 54 h 40 m; Twilio's Event
/// Streams retry for up to 4 h. Bitly makes 5 attempts, at times that it does not say. By way of signing: Standard
/// Webhooks' recommended schedule adds up to 75 h 35 m. Svix: 27 h 35 m. Stripe: up to three days. GitHub: manual redelivery
/// for three days. Shopify: 8 attempts in 4 h. Of others nothing is known.
pub fn horizon(adapter: Adapter, scheme: &Scheme) -> Option<(&'static str, Duration)> {
    let of_platform = match adapter {
        Adapter::Dub => Some(54 * 60 + 40),
        Adapter::Twilio => Some(4 * 60),
        _ => None,
    };
    let of_scheme = match scheme {
        Scheme::StandardWebhooks => Some(75 * 60 + 36),
        Scheme::Svix => Some(27 * 60 + 36),
        Scheme::Stripe | Scheme::GitHub => Some(72 * 60),
        Scheme::Shopify => Some(4 * 60),
        _ => None,
    };
    // A platform whose deliveries are signed in another's way is relayed: whoever goes on for longer counts.
    let known =
        [of_platform.map(|minutes| (adapter.name(), minutes)), of_scheme.map(|minutes| (scheme.name(), minutes))];
    let (name, minutes) = known.into_iter().flatten().max_by_key(|(_, minutes)| *minutes)?;
    Some((name, Duration::from_secs(minutes * 60)))
}

/// `remember_for` where a source does not say: the default, or the next whole hour beyond its sender's horizon.
pub(crate) fn default_for(adapter: Adapter, scheme: &Scheme) -> Duration {
    let beyond = horizon(adapter, scheme).map_or(0, |(_, horizon)| horizon.as_secs() / 3_600 + 1);
    REMEMBER_FOR.max(Duration::from_secs(beyond * 3_600))
}

/// The most memory, in bytes, that a window takes over so many lanes if events come at `per_second` all the time.
pub fn memory_bytes(per_second: u32, remember_for: Duration, lanes: u16) -> u64 {
    dedupe::LogStore::memory_for(per_second.into(), remember_for.as_millis() as u64, lanes)
}

/// What to say about the memory of a window; none where it is small. With the lanes that a cluster has unless told:
/// other numbers make a few percent of it.
pub(crate) fn memory_warning(per_second: u32, remember_for: Duration) -> Option<String> {
    let bytes = memory_bytes(per_second, remember_for, LANES_WHERE.1) as f64;
    (bytes > MEMORY_WORTH_SAYING).then(|| {
        format!(
            "at its full quota all the time, {per_second} events a second for {} take about {:.0} GiB of memory over all lanes",
            crate::section::words(remember_for),
            bytes / (1u64 << 30) as f64
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_goes_on_for_as_long_as_its_platform_or_its_relay_does() {
        let hours = |adapter, scheme| horizon(adapter, &scheme).map(|(name, time)| (name, time.as_secs() / 3_600));
        assert_eq!(hours(Adapter::Dub, Scheme::Dub), Some(("dub", 54)));
        assert_eq!(hours(Adapter::Dub, Scheme::StandardWebhooks), Some(("standard-webhooks", 75)));
        assert_eq!(hours(Adapter::Twilio, Scheme::Basic), Some(("twilio", 4)));
        assert_eq!(hours(Adapter::Twilio, Scheme::Svix), Some(("svix", 27)));
        assert_eq!(hours(Adapter::Bitly, Scheme::Query { key: "key".into() }), None);
        assert_eq!(default_for(Adapter::Twilio, &Scheme::Twilio), REMEMBER_FOR);
        assert_eq!(default_for(Adapter::Canonical, &Scheme::StandardWebhooks), Duration::from_secs(76 * 3_600));
    }
}
