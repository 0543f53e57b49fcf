//! Who may hold a connection to a listener.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The connections that are open: so many in all, and of one address at most half of them.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    limit: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There are too many.
    All,
    /// There are too many from this address.
    Address,
}

impl Full {
    /// The name of the reason in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::All => "limit",
            Self::Address => "address",
        }
    }
}

impl Connections {
    /// None is open, and `limit` may be.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), limit, by_address: Mutex::default() })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes a connection from `address`; none for one that may come from many senders at once, such as a proxy's.
    ///
    /// # Errors
    /// Why it is not taken: answer no more than that.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::All);
        }
        let mut seat = Seat { connections: Arc::clone(self), address: None };
        if let Some(address) = address.map(one_client) {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = by_address.entry(address).or_default();
            if *of_address >= self.limit.div_ceil(2) {
                drop(by_address);
                return Err(Full::Address);
            }
            *of_address += 1;
            seat.address = Some(address);
        }
        Ok(seat)
    }
}

/// The addresses that one client has: of IPv6 a whole network is anybody's.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            let mut by_address = self.connections.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(of_address) = by_address.get_mut(&address) {
                *of_address -= 1;
                if *of_address == 0 {
                    by_address.remove(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_at_most_half_of_the_connections_and_they_are_free_again() {
        let connections = Connections::new(10);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let seats: Vec<_> = (0..5).map(|_| connections.enter(Some(one)).unwrap()).collect();
        assert_eq!(connections.enter(Some(one)).err(), Some(Full::Address));
        let proxied: Vec<_> = (0..4).map(|_| connections.enter(None).unwrap()).collect();
        let last = connections.enter(Some(other)).unwrap();
        assert_eq!(connections.enter(Some(other)).err(), Some(Full::All));
        drop((seats, proxied, last));
        assert_eq!(connections.open(), 0);
        assert!(connections.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let connections = Connections::new(2);
        let seat = connections.enter(Some("2001:db8::1".parse().unwrap())).unwrap();
        assert_eq!(connections.enter(Some("2001:db8::ffff:2".parse().unwrap())).err(), Some(Full::Address));
        assert!(connections.enter(Some("2001:db8:0:1::1".parse().unwrap())).is_ok());
        drop(seat);
    }
}
