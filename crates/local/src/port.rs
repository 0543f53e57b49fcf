//! Choosing ports before an engine is started, so that a taken one is a clear line and not a stack trace.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Free ports are looked for below the range from which the kernel gives ports to outgoing connections (from 32768 on):
/// none of those can take one between the look and the engine's start.
const SEARCHED: std::ops::Range<u16> = 20_000..32_000;
const TRIES: u32 = 200;

/// How long a port may be held by what is ending.
pub(crate) const FREE_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// `wanted` if it is free, any free port if it is 0. `flag` is what the message tells a user to change. `patient`: an earlier
/// run on the same data folder was killed, and what is left of it may hold the port a while longer.
pub(crate) async fn choose(wanted: u16, what: &str, flag: &str, patient: bool) -> anyhow::Result<u16> {
    if wanted == 0 {
        return any().with_context(|| format!("for {what}"));
    }
    let asked = Instant::now();
    loop {
        match bind(wanted) {
            Ok(()) => return Ok(wanted),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                if !patient || asked.elapsed() > FREE_WITHIN {
                    bail!(
                        "port {wanted} for {what} is in use by another program: give another with {flag} PORT (0 picks a \
                         free one)"
                    );
                }
                if asked.elapsed() < POLL {
                    tracing::warn!(
                        "port {wanted} for {what} is still in use, perhaps by what is left of an earlier run that was \
                         killed: waiting for it, up to {} s",
                        FREE_WITHIN.as_secs()
                    );
                }
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot use port {wanted} for {what}: give another with {flag} PORT"));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As many free ports as are asked for, no two the same and none of `taken`.
pub(crate) fn distinct(count: usize, taken: &[u16]) -> anyhow::Result<Vec<u16>> {
    let mut ports: Vec<u16> = Vec::new();
    for _ in 0..TRIES {
        if ports.len() == count {
            return Ok(ports);
        }
        let port = any()?;
        if !ports.contains(&port) && !taken.contains(&port) {
            ports.push(port);
        }
    }
    bail!("no {count} free ports among {SEARCHED:?}")
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

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_flag() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = choose(port, "Kafka", "--kafka-port", false).await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--kafka-port"), "{error}");
        drop(holder);
        assert_eq!(choose(port, "Kafka", "--kafka-port", false).await.unwrap(), port);
    }

    #[tokio::test]
    async fn a_port_that_something_ending_holds_is_waited_for() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let ends = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(holder);
        });
        assert_eq!(choose(port, "Kafka", "--kafka-port", true).await.unwrap(), port);
        ends.await.unwrap();
    }

    #[tokio::test]
    async fn port_zero_picks_a_free_one_outside_the_kernels_range() {
        assert!(SEARCHED.contains(&choose(0, "Kafka", "--kafka-port", false).await.unwrap()));
    }

    #[test]
    fn distinct_ports_are_all_different() {
        let mut ports = distinct(6, &[]).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
    }
}
