//! A visitor's address as platforms, proxies and languages write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::clean;

/// A text that was to hold a visitor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// Nothing is said.
    Unknown,
    /// The address.
    Is(IpAddr),
    /// Something is said, and it is no address.
    Unreadable,
}

/// Reads an address: with a port, in brackets or quotation marks, with a zone or the full prefix, as a number, percent-encoded,
/// after `for=`, or in a list. Of a list the first public address counts, else the first.
pub(crate) fn read(text: &str) -> Address {
    let text = text.trim();
    if let Ok(ip) = text.parse() {
        return Address::Is(ip);
    }
    if says_nothing(text) {
        return Address::Unknown;
    }
    if let Some(ip) = of_list(text) {
        return Address::Is(ip);
    }
    let decoded = event::personal::decoded(text);
    match std::str::from_utf8(&decoded).ok().filter(|decoded| *decoded != text).and_then(of_list) {
        Some(ip) => Address::Is(ip),
        None => Address::Unreadable,
    }
}

fn says_nothing(text: &str) -> bool {
    if clean::is_sentinel(text) {
        return true;
    }
    let text = text.trim_matches(|char: char| char.is_whitespace() || "\"'[](){},;-".contains(char));
    text.is_empty() || clean::is_sentinel(text) || text.eq_ignore_ascii_case("hidden")
}

/// The elements of a list; in a `Forwarded` header only what follows `for=` is the visitor.
fn of_list(text: &str) -> Option<IpAddr> {
    let forwarded = text.to_ascii_lowercase().contains("for=");
    let elements = text.split(|char: char| char.is_whitespace() || ",;|\"'<>(){}".contains(char));
    let mut first = None;
    for element in elements {
        let element = match element.split_once('=') {
            Some((name, value)) if !forwarded || name.eq_ignore_ascii_case("for") => value,
            Some(_) => continue,
            // In quotation marks, the value is an element by itself.
            None => element,
        };
        match one(element) {
            Some(ip) if is_public(ip.to_canonical()) => return Some(ip),
            found => first = first.or(found),
        }
    }
    first
}

/// One address, with whatever is around it.
fn one(element: &str) -> Option<IpAddr> {
    // `tcp://203.0.113.7:80`, and `/203.0.113.7:80` or `host/203.0.113.7:80` of Java.
    let element = element.rsplit_once("//").map_or(element, |(_, rest)| rest).trim_end_matches('/');
    let (address, prefix) = match element.split_once('/') {
        None => (element, None),
        Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => (address, prefix.parse().ok()),
        Some((_, address)) => (address, None),
    };
    let ip = bare(address)?;
    // A network is no visitor; of IPv6 a visitor is known by its /64.
    let longest = if ip.is_ipv4() { 32..=32 } else { 64..=128 };
    prefix.is_none_or(|prefix: u8| longest.contains(&prefix)).then_some(ip)
}

fn bare(text: &str) -> Option<IpAddr> {
    let text = text.trim_end_matches('.');
    if let Some(inside) = text.strip_prefix('[') {
        let (inside, rest) = inside.split_once(']')?;
        return (rest.is_empty() || port(rest.strip_prefix(':')?)).then(|| bare_v6(inside)).flatten();
    }
    let text = text.trim_end_matches(']');
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(ip.into());
    }
    if let Some(ip) = bare_v6(text) {
        return Some(ip);
    }
    if let Some((address, _)) = text.rsplit_once(':').filter(|(_, end)| port(end)) {
        // Eight groups and a port, or IPv4 and a port.
        if let Some(ip) = address.parse().ok().map(IpAddr::V4).or_else(|| bare_v6(address)) {
            return Some(ip);
        }
    }
    // A name before it: `ip:203.0.113.7`.
    if let Some((_, address)) =
        text.split_once(':').filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphabetic()))
    {
        return bare(address);
    }
    padded(text).or_else(|| number(text))
}

/// IPv6, with or without a zone.
fn bare_v6(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().ok().map(IpAddr::V6).or_else(|| address.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
}

fn port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// `203.000.113.007`: where each number has three digits they are decimal, whatever they begin with.
fn padded(text: &str) -> Option<IpAddr> {
    let mut octets = [0; 4];
    let mut labels = text.split('.');
    for octet in &mut octets {
        *octet = labels.next().filter(|label| label.len() == 3)?.parse().ok()?;
    }
    labels.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// IPv4 as one number, as databases keep it. Small numbers would be networks that nobody has.
fn number(text: &str) -> Option<IpAddr> {
    let number: u32 = text.parse().ok()?;
    (number >= 1 << 24).then(|| Ipv4Addr::from(number).into())
}

/// Whether an address is one of the open network: of others a list may hold some, of proxies on the way.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            let local = first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFE80;
            !(local || ip.is_loopback() || ip.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(text: &str) -> Address {
        Address::Is(text.parse().expect("an address"))
    }

    #[test]
    fn every_way_to_write_an_address_is_read() {
        for text in [
            "203.0.113.7",
            " 203.0.113.7\n",
            "203.0.113.7:51234",
            "203.0.113.7, 10.0.0.1",
            "10.0.0.1, 203.0.113.7",
            "unknown, 203.0.113.7:443, 198.51.100.1",
            "203.0.113.7 198.51.100.1",
            "for=203.0.113.7",
            "For=\"203.0.113.7:51234\";proto=https;by=198.51.100.1",
            "by=198.51.100.1;for=203.0.113.7",
            "for=unknown, for=203.0.113.7",
            "ip=203.0.113.7",
            "ip:203.0.113.7",
            "\"203.0.113.7\"",
            "[\"203.0.113.7\", \"10.0.0.1\"]",
            "('203.0.113.7', 51234)",
            "/203.0.113.7:51234",
            "client.example/203.0.113.7:51234",
            "tcp://203.0.113.7:51234",
            "203.0.113.7/32",
            "203.0.113.7%3A51234",
            "203%2E0%2E113%2E7",
            "２０３.0.113.7",
            "203.000.113.007",
            "3405803783",
            "[203.0.113.7]",
            "[203.0.113.7]:51234",
        ] {
            assert_eq!(read(text), is("203.0.113.7"), "{text}");
        }
        for text in [
            "2001:db8:5::1",
            "[2001:db8:5::1]",
            "[2001:db8:5::1]:51234",
            "2001:db8:5::1%eth0",
            "[2001:db8:5::1%25eth0]:51234",
            "for=\"[2001:db8:5::1]:4711\"",
            "2001:DB8:5:0:0:0:0:1",
            "2001:db8:5:0:0:0:0:1:51234",
            "2001:db8:5::1/128",
            "/[2001:db8:5:0:0:0:0:1]:51234",
            "/2001:db8:5:0:0:0:0:1:51234",
            "%5B2001%3Adb8%3A5%3A%3A1%5D",
            "fe80::1, 2001:db8:5::1",
        ] {
            assert_eq!(read(text), is("2001:db8:5::1"), "{text}");
        }
        assert_eq!(read("::ffff:203.0.113.7"), is("::ffff:203.0.113.7"));
        assert_eq!(read("[::ffff:203.0.113.7]:80"), is("::ffff:203.0.113.7"));
        assert_eq!(read("10.0.0.1, 192.168.0.1"), is("10.0.0.1"), "without a public one the first counts");
    }

    #[test]
    fn what_says_nothing_is_unknown_and_what_cannot_be_read_is_said() {
        for text in ["", " ", "unknown", "null", "(none)", "-", "[]", "hidden"] {
            assert_eq!(read(text), Address::Unknown, "{text}");
        }
        for text in [
            "jane",
            "203.0.113.xxx",
            "203.0.113.0/24",
            "203.0.113",
            "256.0.0.1",
            "203.0.113.7:99999",
            "010.0.0.1",
            "2001:db8::/32",
            "_hidden",
            "12345",
            "by=198.51.100.1;proto=for=",
        ] {
            assert_eq!(read(text), Address::Unreadable, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_read_in_every_dress(
            bits in any::<u128>(), v4 in any::<bool>(), port in any::<u16>(), dress in 0..7_usize, depth in 0..3_usize,
        ) {
            let ip = if v4 { IpAddr::from((bits as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) };
            let bracketed = if v4 { ip.to_string() } else { format!("[{ip}]") };
            let mut text = match dress {
                0 => ip.to_string(),
                1 => format!("{bracketed}:{port}"),
                2 => bracketed,
                3 => format!("for=\"{bracketed}:{port}\";by=10.0.0.1"),
                4 => format!("{ip}, {ip}"),
                5 if !v4 => format!("{ip}%eth0"),
                5 => format!("/{ip}:{port}"),
                _ => format!("unknown, {ip}"),
            };
            for _ in 0..depth {
                text = text.replace('%', "%25").replace(':', "%3A").replace('[', "%5B");
            }
            prop_assert_eq!(read(&text), Address::Is(ip), "{}", text);
        }

        #[test]
        fn any_text_panics_nobody(text in any::<String>(), odd in "[0-9a-f:.%\\[\\]/,=\" ]{0,40}") {
            read(&text);
            read(&odd);
        }
    }
}
