//! A range of addresses, as `203.0.113.0/24` or `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// A CIDR block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// The address cannot be read.
    #[error("{0:?} is not an IP address or network; write it like 203.0.113.0/24 or 2001:db8::/32")]
    Address(String),
    /// The prefix is no number, or longer than the address.
    #[error("the prefix length of {0:?} must be a number from 0 to {1}")]
    Prefix(String, u8),
    /// Bits are set to the right of the prefix.
    #[error("{0:?} has address bits beyond its prefix; did you mean {1}?")]
    HostBits(String, Network),
}

impl Network {
    /// Whether the address lies in the network. An IPv4 address within IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into()),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim().parse().map_err(|_| NetworkError::Address(text.to_owned()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(|prefix| prefix.trim().parse::<u8>()) {
            None => longest,
            Some(Ok(prefix)) if prefix <= longest => prefix,
            Some(_) => return Err(NetworkError::Prefix(text.to_owned(), longest)),
        };
        let network = Self { address: masked(address, prefix), prefix };
        if network.address == address { Ok(network) } else { Err(NetworkError::HostBits(text.to_owned(), network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        assert!(contains("203.0.113.0/24", "203.0.113.255"));
        assert!(!contains("203.0.113.0/24", "203.0.114.0"));
        assert!(contains("0.0.0.0/0", "198.51.100.7"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("203.0.113.7", "203.0.113.7"));
        assert!(contains("203.0.113.0/24", "::ffff:203.0.113.9"));
    }

    #[test]
    fn a_mistaken_network_is_refused_with_the_likely_right_one() {
        let error = |text: &str| text.parse::<Network>().expect_err("no network").to_string();
        assert!(error("203.0.113.5/24").contains("did you mean 203.0.113.0/24"));
        assert!(error("203.0.113.0/33").contains("from 0 to 32"));
        assert!(error("office").contains("203.0.113.0/24"));
    }
}
