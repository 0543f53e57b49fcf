//! The canary: a made-up, signed event at each interval, through the door that senders use, down to its row and, where
//! a rule is named, to its message.
//!
//! It knows what a sender and an analyst know, ingest and ClickHouse, and asks nothing of Kafka or of a service: so it
//! is right whatever they believe of themselves. One event is under way at a time, and one that does not come through
//! is given up, so nothing piles up while an engine is away. Its source is of test data alone, which the configuration
//! holds: its rows are in the test database and its messages end in the capture sink.

mod flight;
mod meters;

use std::time::Duration;

use runtime::{Live, Shutdown, Telemetry};
use tokio::time::Instant;

use crate::{Installation, Result};
use flight::Flight;
use meters::Meters;

/// What it is called as a component.
pub const SERVICE: &str = "canary";

/// How soon it is looked again whether the configuration has a canary.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What the canary needs to know.
pub struct Settings {
    /// What it is about: the newest, for each event.
    pub installation: Live<Installation>,
    /// Where ingest is.
    pub ingest: Ingest,
}

/// Where ingest is.
#[derive(Debug, Clone)]
pub enum Ingest {
    /// There, whatever the configuration says.
    Always(String),
    /// There, unless `[canary] ingest` says it; none: it has to.
    Unless(Option<String>),
}

impl Ingest {
    fn of<'i>(&'i self, canary: &'i config::Canary) -> Option<&'i str> {
        match self {
            Self::Always(url) => Some(url),
            Self::Unless(url) => canary.ingest.as_deref().or(url.as_deref()),
        }
    }
}

/// Where an event of the canary is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Row,
    Message,
}

impl Path {
    pub(crate) const ALL: [Self; 2] = [Self::Row, Self::Message];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Message => "message",
        }
    }
}

/// Sends an event at each interval until the stop is given. While the configuration has no `[canary]` it sends none.
///
/// # Errors
/// When a metric cannot be registered: a defect of this build.
pub async fn run(settings: Settings, telemetry: &Telemetry, shutdown: &Shutdown) -> Result<()> {
    let mut meters = Meters::new(&telemetry.metrics)?;
    let (mut component, mut warehouse) = (None, None);
    loop {
        let installation = settings.installation.current();
        let pause = match &installation.config.canary {
            None => {
                meters.forget();
                LOOK_AGAIN
            }
            Some(canary) => {
                meters.expect(canary);
                component.get_or_insert_with(|| telemetry.health.component(SERVICE)).ready();
                let begun = Instant::now();
                let ingest = settings.ingest.of(canary);
                let mut flight = Flight { installation: &installation, canary, ingest, warehouse: &mut warehouse };
                let came = tokio::select! {
                    came = flight.fly() => came,
                    () = shutdown.given() => return Ok(()),
                };
                meters.note(canary, &came);
                until_next(canary.interval, begun.elapsed())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.given() => return Ok(()),
        }
    }
}

/// How long to wait for the next turn. Turns that passed meanwhile are left out.
fn until_next(interval: Duration, elapsed: Duration) -> Duration {
    let into = elapsed.as_nanos() % interval.as_nanos().max(1);
    interval.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_passed_while_one_was_waited_for_are_left_out() {
        let minute = Duration::from_secs(60);
        let next = |seconds| until_next(minute, Duration::from_secs(seconds)).as_secs();
        assert_eq!([next(0), next(2), next(59), next(61), next(150)], [60, 58, 1, 59, 30]);
    }
}
