//! Choosing ports before an engine is started, so that a taken one is a clear line and not a stack trace.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::fetch::{Cache, try_lock};

/// Free ports are looked for below the range from which the kernel gives ports to outgoing connections (from 32768 on):
/// none of those can take one between the look and the engine's start.
const SEARCHED: std::ops::Range<u16> = 20_000..32_000;
const TRIES: u32 = 200;

/// How long a port may be held by what is ending.
pub(crate) const FREE_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// The ports that one run was given. A port is free again between the look and the engine's start, and while an
/// engine that died is started again: what picks a free one here locks it, which every run of this user meets.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Of the lock files, one a port.
    folder: PathBuf,
    /// Held until the engines are gone; given up by the kernel when this process dies.
    held: Mutex<Vec<File>>,
}

/// Whose a port is.
enum Claim {
    /// This run's, by a lock where one could be made.
    Ours(Option<File>),
    /// Another run's.
    Anothers,
}

impl Claims {
    /// Nothing claimed so far, in the cache of this user.
    pub(crate) fn of_this_user() -> anyhow::Result<Self> {
        Ok(Self::at(Cache::of_this_user()?.path("ports")))
    }

    fn at(folder: PathBuf) -> Self {
        Self { folder, held: Mutex::default() }
    }

    /// The lock of a port; none where another run has it. Where no lock can be made, as in a cache that is read-only or
    /// has files of another user, a look at the port itself has to do.
    fn lock(&self, port: u16) -> Claim {
        let locked = std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))
            .and_then(|()| try_lock(&self.folder.join(port.to_string())));
        match locked {
            Ok(Some(file)) => Claim::Ours(Some(file)),
            Ok(None) => Claim::Anothers,
            Err(error) => {
                tracing::debug!("ports are given without locks: {error:#}");
                Claim::Ours(None)
            }
        }
    }

    /// `wanted` if it is free, any free port if it is 0. `flag` is what the message tells a user to change. `patient`:
    /// an earlier run on the same data folder was killed, and what is left of it may hold the port for a while.
    pub(crate) async fn choose(&self, wanted: u16, what: &str, flag: &str, patient: bool) -> anyhow::Result<u16> {
        if wanted == 0 {
            return self.any().with_context(|| format!("for {what}"));
        }
        let asked = Instant::now();
        loop {
            match bind(wanted) {
                Ok(()) => return Ok(wanted),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    if !patient || asked.elapsed() > FREE_WITHIN {
                        bail!(
                            "port {wanted} for {what} is in use by another program: give another with {flag} PORT (0 \
                             picks a free one)"
                        );
                    }
                    if asked.elapsed() < POLL {
                        tracing::warn!(
                            "port {wanted} for {what} is still in use, perhaps by what is left of an earlier run that \
                             was killed: waiting for it, up to {} s",
                            FREE_WITHIN.as_secs()
                        );
                    }
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot use port {wanted} for {what}: give another with {flag} PORT")
                    });
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Any free port of this machine that no other run of this user was given.
    pub(crate) fn any(&self) -> anyhow::Result<u16> {
        for _ in 0..TRIES {
            let random = uuid::Uuid::new_v4().as_u128();
            let span = u128::from(SEARCHED.end - SEARCHED.start);
            let port = SEARCHED.start + (random % span) as u16;
            // The lock first: who has it and looks finds what the one before has bound.
            let Claim::Ours(claim) = self.lock(port) else { continue };
            if bind(port).is_ok() {
                self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(claim);
                return Ok(port);
            }
        }
        bail!("no free port among {SEARCHED:?}")
    }

    /// As many as are asked for, all different.
    pub(crate) fn several(&self, count: usize) -> anyhow::Result<Vec<u16>> {
        (0..count).map(|_| self.any()).collect()
    }
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
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::at(folder.path().join("ports"));
        let error = claims.choose(port, "Kafka", "--kafka-port", false).await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--kafka-port"), "{error}");
        drop(holder);
        assert_eq!(claims.choose(port, "Kafka", "--kafka-port", false).await.unwrap(), port);
    }

    #[tokio::test]
    async fn a_port_that_something_ending_holds_is_waited_for() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let ends = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(holder);
        });
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::at(folder.path().join("ports"));
        assert_eq!(claims.choose(port, "Kafka", "--kafka-port", true).await.unwrap(), port);
        ends.await.unwrap();
    }

    #[tokio::test]
    async fn port_zero_picks_a_free_one_outside_the_kernels_range() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::at(folder.path().join("ports"));
        assert!(SEARCHED.contains(&claims.choose(0, "Kafka", "--kafka-port", false).await.unwrap()));
    }

    /// So many that without the locks some two of them are nearly always given one port.
    #[test]
    fn no_port_is_given_twice_while_its_engine_has_not_bound_it() {
        let folder = tempfile::tempdir().unwrap();
        let runs: Vec<Claims> = (0..60).map(|_| Claims::at(folder.path().join("ports"))).collect();
        let mut ports: Vec<u16> = runs.iter().flat_map(|claims| claims.several(6).unwrap()).collect();
        let given = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), given);
    }

    #[test]
    fn what_a_run_was_given_is_free_again_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::at(folder.path().join("ports"));
        let port = claims.any().unwrap();
        let lock = folder.path().join("ports").join(port.to_string());
        assert!(try_lock(&lock).unwrap().is_none());
        drop(claims);
        assert!(try_lock(&lock).unwrap().is_some());
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_the_locks_and_no_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("no-folder");
        std::fs::write(&file, "").unwrap();
        assert!(SEARCHED.contains(&Claims::at(file).any().unwrap()));
    }
}
