//! How long platforms put up with a webhook that refuses, and what they do then.

use std::time::Duration;

use signature::Scheme;

const HOUR: u64 = 3_600;

/// What is known of a platform whose deliveries are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For so long it keeps every delivery for its retries and does nothing else, however many there are; zero if that
    /// depends on their number, or if it does not retry at all.
    pub survives: Duration,
    /// After so many refusals in a row it is over, where that is what it counts.
    pub refusals: Option<u32>,
    /// What it does then, as a sentence without its full stop.
    pub then: &'static str,
}

/// What is known of the platform behind an adapter (by its name) or, where the adapter tells nothing, behind a scheme;
/// `None` if nothing is.
pub fn patience(adapter: &str, scheme: &Scheme) -> Option<Patience> {
    let counted = |refusals, then| Some(Patience { survives: Duration::ZERO, refusals: Some(refusals), then });
    let known = |hours: u64, then| Some(Patience { survives: Duration::from_secs(hours * HOUR), refusals: None, then });
    match (adapter, scheme) {
        ("dub", _) | (_, Scheme::Dub) => counted(20, "Dub disables a webhook after 20 refusals in a row"),
        ("bitly", _) => counted(5, "Bitly drops an event after 5 attempts and deactivates the webhook"),
        (_, Scheme::Shopify) => counted(8, "Shopify deletes the subscription after 8 refusals within 4 hours"),
        (_, Scheme::GitHub) => {
            known(0, "GitHub does not retry: each delivery must be sent again by hand, within 3 days")
        }
        (_, Scheme::Stripe) => known(72, "Stripe retries for 3 days, then disables the endpoint"),
        (_, Scheme::Svix) => known(27, "Svix retries for about 27 hours, and disables an endpoint after 5 days"),
        (_, Scheme::StandardWebhooks) => known(
            75,
            "senders of Standard Webhooks retry for about 75 hours, then give up and may disable the endpoint",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_known_by_its_adapter_or_else_by_its_scheme() {
        let then = |adapter, scheme| patience(adapter, &scheme).map_or("", |known| known.then);
        assert!(then("dub", Scheme::Dub).contains("20 refusals"));
        assert!(then("bitly", Scheme::Query { key: "key".into() }).contains("5 attempts"));
        assert!(then("mapping", Scheme::Shopify).contains("8 refusals"));
        assert_eq!(patience("canonical", &Scheme::StandardWebhooks).unwrap().survives.as_secs(), 75 * HOUR);
        assert_eq!(patience("mapping", &Scheme::Bearer), None);
        assert_eq!(patience("dub", &Scheme::Dub).unwrap().refusals, Some(20));
        assert_eq!(patience("mapping", &Scheme::GitHub).unwrap().refusals, None);
    }
}
