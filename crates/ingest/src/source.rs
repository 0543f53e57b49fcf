//! The sources that may send, ready to verify.

use std::collections::HashMap;

use adapter::{Adapter, Dialect};
use signature::Verifier;

use crate::metrics::{IngestMetrics, SourceMetrics};
use crate::switches::SourceSwitch;

/// One configured source.
pub struct SourceSettings {
    /// Its name, the last part of its URL.
    pub name: String,
    /// Who speaks.
    pub adapter: Adapter,
    /// How its payloads are read.
    pub dialect: Dialect,
    /// How its deliveries are authenticated.
    pub verifier: Verifier,
    /// The largest body, in bytes.
    pub max_body: usize,
}

pub(crate) struct Source {
    pub(crate) settings: SourceSettings,
    pub(crate) metrics: SourceMetrics,
    pub(crate) switch: SourceSwitch,
}

/// The sources by name.
pub(crate) struct Sources(HashMap<String, Source>);

impl Sources {
    pub(crate) fn new(sources: Vec<SourceSettings>, metrics: &IngestMetrics) -> Self {
        let source = |settings: SourceSettings| {
            let metrics = metrics.source(&settings.name);
            (settings.name.clone(), Source { settings, metrics, switch: SourceSwitch::unread() })
        };
        Self(sources.into_iter().map(source).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Source> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.values()
    }
}
