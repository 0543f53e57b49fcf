//! Who is ready, who is not, and why: behind `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::beats::Beat;

/// Where a component stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "why", rename_all = "snake_case")]
pub enum State {
    /// On its way.
    Starting,
    /// At work.
    Ready,
    /// Not at work now, and trying again by itself.
    Failing(String),
    /// Stopped on purpose: somebody has to look.
    Halted(String),
}

impl State {
    /// Whether waiting changes nothing: at work, or stopped on purpose.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Ready | Self::Halted(_))
    }
}

/// The components of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, State>>>);

/// One component's handle on [`Health`].
#[derive(Clone, Debug)]
pub struct Component {
    name: String,
    health: Health,
    beat: Option<Arc<Beat>>,
}

impl Health {
    /// Adds a component that is starting.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let component = Component { name: name.into(), health: self.clone(), beat: None };
        component.set(State::Starting);
        component
    }

    /// Every component and its state.
    pub fn states(&self) -> BTreeMap<String, State> {
        self.lock().clone()
    }

    /// Whether every component is ready (and there is one).
    pub fn is_ready(&self) -> bool {
        let states = self.lock();
        !states.is_empty() && states.values().all(|state| *state == State::Ready)
    }

    /// Whether every component (and there is one) is ready or has halted.
    pub fn is_settled(&self) -> bool {
        let states = self.lock();
        !states.is_empty() && states.values().all(State::is_settled)
    }

    /// Whether nothing has halted: a process that is merely waiting for an engine is alive.
    pub fn is_alive(&self) -> bool {
        !self.lock().values().any(|state| matches!(state, State::Halted(_)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // A map of states is whole after any panic, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// The same component, whose work shows signs of life.
    #[must_use]
    pub fn beating(self, beat: Beat) -> Self {
        Self { beat: Some(Arc::new(beat)), ..self }
    }

    /// A sign of life: what it does goes on.
    pub fn beat(&self) {
        if let Some(beat) = &self.beat {
            beat.tick();
        }
    }

    /// A sign of life before something that may take as long as `time`.
    pub fn allow(&self, time: std::time::Duration) {
        if let Some(beat) = &self.beat {
            beat.allow(time);
        }
    }

    /// At work.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// Not at work now, and trying again.
    pub fn failing(&self, why: impl Into<String>) {
        self.set(State::Failing(why.into()));
    }

    /// Stopped on purpose, until somebody has looked.
    pub fn halted(&self, why: impl Into<String>) {
        self.set(State::Halted(why.into()));
    }

    /// Somebody else's now: it says nothing about this process any more.
    pub fn gone(&self) {
        self.health.lock().remove(&self.name);
    }

    fn set(&self, state: State) {
        self.health.lock().insert(self.name.clone(), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_only_when_every_component_is() {
        let health = Health::default();
        assert!(!health.is_ready());
        let (ingest, lane) = (health.component("ingest"), health.component("process lane 0"));
        ingest.ready();
        assert!(!health.is_ready());
        lane.ready();
        assert!(health.is_ready());
        lane.failing("Kafka does not answer");
        assert!(!health.is_ready() && health.is_alive() && !health.is_settled());
        lane.halted("the input was rewound");
        assert!(!health.is_alive() && !health.is_ready() && health.is_settled());
        lane.gone();
        assert!(health.is_alive() && health.is_ready());
    }
}
