//! Named sessions: a connection that is kept between requests (`session_id`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Connection;
use super::exception::Exception;
use super::settings::RequestParameters;

/// How long a session is kept without a request (`default_session_timeout` of a server).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a request may ask for (`max_session_timeout`).
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Which session a request belongs to. Sessions of two users never meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    user: String,
    id: String,
}

/// What a request says about its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRequest {
    key: SessionKey,
    timeout: Duration,
    /// `session_check=1`: the session must be there.
    must_exist: bool,
    /// `close_session=1`: it ends with this request.
    close: bool,
}

impl SessionRequest {
    /// Reads `session_id` and what goes with it.
    pub(crate) fn of(user: &str, parameters: &RequestParameters) -> Result<Option<Self>, Exception> {
        let Some(id) = parameters.get("session_id").filter(|id| !id.is_empty()) else { return Ok(None) };
        let timeout = match parameters.get("session_timeout") {
            None => DEFAULT_TIMEOUT,
            Some(text) => {
                text.parse().ok().map(Duration::from_secs).filter(|timeout| *timeout <= LONGEST_TIMEOUT).ok_or_else(
                    || {
                        let what = format!(
                            "session_timeout {text:?} is not a number of seconds up to {}",
                            LONGEST_TIMEOUT.as_secs()
                        );
                        Exception::new(Exception::INVALID_SESSION_TIMEOUT, what)
                    },
                )?
            }
        };
        Ok(Some(Self {
            key: SessionKey { user: user.to_owned(), id: id.to_owned() },
            timeout,
            must_exist: parameters.is_on("session_check"),
            close: parameters.is_on("close_session"),
        }))
    }
}

enum Slot {
    /// A request is using the connection.
    Busy,
    Idle {
        connection: Connection,
        until: Instant,
    },
}

/// The sessions of all users.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionKey, Slot>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Slot>> {
        // Each change under the lock is a single step, so a panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session's connection for one request; `None` if the session is new. Give it back, or what was opened
    /// for it, with [`Sessions::put_back`], or end it with [`Sessions::end`].
    pub(crate) fn take(&self, request: &SessionRequest) -> Result<Option<Connection>, Exception> {
        let mut slots = self.lock();
        match slots.remove(&request.key) {
            Some(Slot::Busy) => {
                slots.insert(request.key.clone(), Slot::Busy);
                let what = format!("Session {} is locked by a concurrent client", request.key.id);
                Err(Exception::new(Exception::SESSION_IS_LOCKED, what))
            }
            Some(Slot::Idle { connection, until }) if until > Instant::now() => {
                slots.insert(request.key.clone(), Slot::Busy);
                Ok(Some(connection))
            }
            Some(Slot::Idle { .. }) | None if request.must_exist => {
                let what = format!("Session {} not found", request.key.id);
                Err(Exception::new(Exception::SESSION_NOT_FOUND, what))
            }
            Some(Slot::Idle { .. }) | None => {
                slots.insert(request.key.clone(), Slot::Busy);
                Ok(None)
            }
        }
    }

    /// Keeps the connection for the session's next request, unless this one was its last.
    pub(crate) fn put_back(&self, request: &SessionRequest, connection: Connection) {
        if request.close {
            self.end(request);
            return;
        }
        let until = Instant::now() + request.timeout;
        self.lock().insert(request.key.clone(), Slot::Idle { connection, until });
    }

    /// Forgets the session.
    pub(crate) fn end(&self, request: &SessionRequest) {
        self.lock().remove(&request.key);
    }

    /// Closes sessions that have not been used for their time.
    pub(crate) fn close_expired(&self) {
        let now = Instant::now();
        self.close_where(|until| until <= now);
    }

    /// Closes every session that no request is using.
    pub(crate) fn close_idle(&self) {
        self.close_where(|_| true);
    }

    fn close_where(&self, closes: impl Fn(Instant) -> bool) {
        let closing: Vec<Slot> = {
            let mut slots = self.lock();
            slots
                .extract_if(|_, slot| matches!(slot, Slot::Idle { until, .. } if closes(*until)))
                .map(|(_, slot)| slot)
                .collect()
        };
        // Closing waits for the engine; not under the lock.
        drop(closing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Option<SessionRequest>, u32> {
        SessionRequest::of("analyst", &RequestParameters::from_url(Some(url))).map_err(|error| error.code)
    }

    #[test]
    fn the_time_of_a_session_is_bounded() {
        assert_eq!(of("query=SELECT+1"), Ok(None));
        assert_eq!(of("session_id="), Ok(None));
        assert_eq!(of("session_id=a").unwrap().unwrap().timeout, DEFAULT_TIMEOUT);
        assert_eq!(of("session_id=a&session_timeout=3600").unwrap().unwrap().timeout, LONGEST_TIMEOUT);
        for wrong in ["3601", "-1", "x", ""] {
            let url = format!("session_id=a&session_timeout={wrong}");
            assert_eq!(of(&url), Err(Exception::INVALID_SESSION_TIMEOUT), "{wrong}");
        }
    }

    #[test]
    fn a_session_is_for_one_request_at_a_time() {
        let sessions = Sessions::default();
        let request = of("session_id=a").unwrap().unwrap();
        assert!(sessions.take(&request).unwrap().is_none());
        assert_eq!(sessions.take(&request).err().unwrap().code, Exception::SESSION_IS_LOCKED);
        sessions.end(&request);
        let checked = of("session_id=a&session_check=1").unwrap().unwrap();
        assert_eq!(sessions.take(&checked).err().unwrap().code, Exception::SESSION_NOT_FOUND);
    }
}
