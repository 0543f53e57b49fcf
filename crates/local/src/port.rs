//! Choosing ports before an engine is started, so that a taken one is a clear line and not a stack trace.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use anyhow::{Context, bail};

/// Free ports are looked for below the range from which the kernel gives ports to outgoing connections (from 32768 on):
/// none of those can take one between the look and the engine's start.
const SEARCHED: std::ops::Range<u16> = 20_000..32_000;
const TRIES: u32 = 200;

/// `wanted` if it is free, any free port if it is 0. `flag` is what the message tells a user to change.
pub(crate) fn choose(wanted: u16, what: &str, flag: &str) -> anyhow::Result<u16> {
    if wanted == 0 {
        return any().with_context(|| format!("for {what}"));
    }
    match bind(wanted) {
        Ok(()) => Ok(wanted),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {wanted} for {what} is in use by another program: give another with {flag} PORT (0 picks a free one)"
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot use port {wanted} for {what}: give another with {flag} PORT"))
        }
    }
}

/// Any free port of this machine.
pub(crate) fn any() -> anyhow::Result<u16> {
    for _ in 0..TRIES {
        let random = uuid::Uuid::new_v4().as_u128();
        let span = u128::from(SEARCHED.end - SEARCHED.start);
        let port = SEARCHED.start + (random % span) as u16;
        if bind(port).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port among {SEARCHED:?}")
}

fn bind(port: u16) -> std::io::Result<()> {
    TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = choose(port, "Kafka", "--kafka-port").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--kafka-port"), "{error}");
        drop(holder);
        assert_eq!(choose(port, "Kafka", "--kafka-port").unwrap(), port);
    }

    #[test]
    fn port_zero_picks_a_free_one_outside_the_kernels_range() {
        assert!(SEARCHED.contains(&choose(0, "Kafka", "--kafka-port").unwrap()));
    }
}
