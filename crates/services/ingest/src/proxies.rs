//! Who sent a request, when proxies stand between. For log lines of refusals and nothing else: the address is stored nowhere.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use config::Network;

/// The proxies whose word about their client is believed.
#[derive(Debug)]
pub(crate) struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether this is one of them.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The address of the client: the nearest one that is not a trusted proxy's. A proxy appends whom it heard to
    /// `X-Forwarded-For` (or `Forwarded`), so the list is read from its end and only as far as the proxies are ours: what
    /// stands before was written by strangers.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trust(peer) {
            return peer;
        }
        // Proxies write one of the two; a sender that adds the other must not be heard, and this one is by far the more common.
        let hops = match headers.contains_key("x-forwarded-for") {
            true => texts(headers, "x-forwarded-for").flat_map(|list| list.split(',')).map(address).collect(),
            false => texts(headers, FORWARDED.as_str()).flat_map(elements).map(forwarded_for).collect::<Vec<_>>(),
        };
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop.filter(|_| self.trust(client)) else { break };
            client = hop;
        }
        client
    }
}

fn texts<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// The elements of a `Forwarded` header. No address holds a comma, so one inside quotation marks only spoils its own element.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"')))?
    })
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`; not `unknown`, and not a made-up name.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => text,
    };
    bare.parse().ok().or_else(|| bare.rsplit_once(':')?.0.parse().ok()).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()]);
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        assert_eq!(client("198.51.100.7", &[("x-forwarded-for", "203.0.113.1")]), "198.51.100.7");
        assert_eq!(client("198.51.100.7", &[("forwarded", "for=203.0.113.1")]), "198.51.100.7");
    }

    #[test]
    fn a_trusted_proxy_says_whom_it_heard_and_what_stood_before_is_not_believed() {
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "203.0.113.1")]), "203.0.113.1");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.1, 10.9.9.9")]), "203.0.113.1");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2")]), "1.1.1.1");
    }

    #[test]
    fn both_headers_and_all_their_forms_are_read() {
        assert_eq!(
            client("10.0.0.1", &[("forwarded", "for=1.1.1.1;proto=https, For=\"[2001:db8::1]:4711\"")]),
            "2001:db8::1"
        );
        assert_eq!(client("2001:db8:f::9", &[("x-forwarded-for", "203.0.113.1:4711")]), "203.0.113.1");
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:203.0.113.1")]), "203.0.113.1");
    }

    #[test]
    fn where_the_chain_is_unclear_it_ends() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=203.0.113.1, for=_hidden")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "203.0.113.1, unknown, 10.0.0.2")]), "10.0.0.2");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(list in "[ -~]{0,60}", other in "[0-9a-f:.,;=\\[\\]\"for ]{0,60}") {
            client("10.0.0.1", &[("x-forwarded-for", &list)]);
            client("10.0.0.1", &[("forwarded", &list)]);
            client("10.0.0.1", &[("forwarded", &other)]);
        }
    }
}
