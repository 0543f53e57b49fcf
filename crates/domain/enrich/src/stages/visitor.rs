//! Daily visitors without personal data at rest: a keyed hash, whose key is the salt of a day and is thrown away.
//!
//! Two visits have the same number when they were on one UTC day, to one domain, from one address (of IPv6 its /64, since
//! devices change the rest) and with one user agent. So visitors can be counted by day, and never over days; and once the
//! salt is gone, a number leads to nobody.

use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};

use event::Millis;
use siphasher::sip::SipHasher24;

use super::Labelling;

/// An event that was received more than this many days after its own day has no visitor: its salt may be gone.
pub const DAYS_LATE: i64 = 2;

const DAY_MS: i64 = 24 * 3_600_000;

/// The random key of one day.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl fmt::Debug for Salt {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// The UTC day whose salt hashes the visitor of an event, in days since 1970. `None` when the event comes too late for it, or
/// when nothing is known that could be hashed.
///
/// It is the day that the event counts on, so that a visitor is one on it even when some of the visits arrive after midnight.
pub fn salt_day(event_time: Millis, received_at: Millis, ip: Option<IpAddr>) -> Option<i64> {
    let ip = ip?.to_canonical();
    // No visitor has these; a platform or a proxy that knows none may send them.
    if ip.is_unspecified() || ip.is_loopback() {
        return None;
    }
    let day = event_time.0.div_euclid(DAY_MS);
    (received_at.0.div_euclid(DAY_MS) - day <= DAYS_LATE).then_some(day)
}

/// The number of a visitor: never 0, which stands for unknown.
pub fn number(salt: Salt, domain: &str, ip: IpAddr, user_agent: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&salt.0);
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            hasher.write_u8(4);
            hasher.write(&ip.octets());
        }
        IpAddr::V6(ip) => {
            hasher.write_u8(6);
            hasher.write(&network(ip));
        }
    }
    // With its length, so that no two pairs of texts are the same bytes.
    hasher.write(&(domain.len() as u64).to_le_bytes());
    hasher.write(domain.as_bytes());
    hasher.write(user_agent.as_bytes());
    hasher.finish().max(1)
}

/// The /64 of an address.
fn network(ip: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = ip.octets();
    [a, b, c, d, e, f, g, h]
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.is_visit
        && let (Some(salt), Some(ip)) = (at.hints.salt, at.hints.ip)
    {
        at.event.visitor = number(salt, &at.event.domain, ip, at.hints.user_agent);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: Salt = Salt(*b"0123456789abcdef");

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn day(event_day: i64, received_day: i64) -> Option<i64> {
        salt_day(Millis(event_day * DAY_MS + 7), Millis(received_day * DAY_MS + 9), Some(ip("198.51.100.7")))
    }

    #[test]
    fn the_day_is_the_events_own_until_it_comes_too_late() {
        assert_eq!(day(100, 100), Some(100));
        assert_eq!(day(100, 102), Some(100));
        assert_eq!(day(100, 103), None);
        assert_eq!(day(101, 100), Some(101), "a sender's clock that is a little ahead at midnight");
        assert_eq!(salt_day(Millis(-1), Millis(0), Some(ip("198.51.100.7"))), Some(-1));
    }

    #[test]
    fn an_address_that_no_visitor_has_is_unknown() {
        for none in ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(salt_day(Millis(0), Millis(0), Some(ip(none))), None, "{none}");
        }
        assert_eq!(salt_day(Millis(0), Millis(0), None), None);
    }

    #[test]
    fn devices_of_one_ipv6_network_are_told_apart_by_their_user_agent_only() {
        let of = |address: &str, agent: &str| number(SALT, "go.acme.example", ip(address), agent);
        assert_eq!(of("2001:db8:1:2:aaaa::1", "a"), of("2001:db8:1:2:bbbb::2", "a"));
        assert_ne!(of("2001:db8:1:2::1", "a"), of("2001:db8:1:3::1", "a"));
        assert_ne!(of("2001:db8:1:2::1", "a"), of("2001:db8:1:2::1", "b"));
        assert_eq!(of("::ffff:198.51.100.7", "a"), of("198.51.100.7", "a"), "one address in two spellings");
    }

    #[test]
    fn the_number_of_a_visitor_does_not_change_between_builds() {
        // Computed by another implementation of SipHash-2-4, which was held to the vector of its authors.
        assert_eq!(number(SALT, "go.acme.example", ip("198.51.100.7"), "Mozilla/5.0"), 12_911_591_750_521_388_766);
    }

    proptest! {
        #[test]
        fn another_day_domain_address_or_agent_is_another_visitor(
            salts in prop::array::uniform2(any::<[u8; 16]>()),
            domains in prop::array::uniform2("[a-z.]{0,20}"),
            addresses in prop::array::uniform2(any::<[u8; 4]>()),
            agents in prop::array::uniform2(".{0,40}"),
        ) {
            let of = |n: usize, m: usize, o: usize, p: usize| {
                number(Salt(salts[n]), &domains[m], IpAddr::from(addresses[o]), &agents[p])
            };
            prop_assert_eq!(of(0, 0, 0, 0), of(0, 0, 0, 0));
            prop_assert_ne!(of(0, 0, 0, 0), 0);
            prop_assert_eq!(of(0, 0, 0, 0) == of(1, 0, 0, 0), salts[0] == salts[1]);
            prop_assert_eq!(of(0, 0, 0, 0) == of(0, 1, 0, 0), domains[0] == domains[1]);
            prop_assert_eq!(of(0, 0, 0, 0) == of(0, 0, 1, 0), addresses[0] == addresses[1]);
            prop_assert_eq!(of(0, 0, 0, 0) == of(0, 0, 0, 1), agents[0] == agents[1]);
        }
    }
}
