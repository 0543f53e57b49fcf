//! What the pure stages work by, and the caches that they keep.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use adapter::{Dialect, Memory};
use dedupe::KeyHasher;
use enrich::{Catalogue, Enricher};
use kafka::control::Control;

/// What is configured about one source.
pub struct SourceRules {
    /// Its dedupe window, in milliseconds.
    pub window_ms: u64,
    /// How its payloads are read.
    pub dialect: Dialect,
    /// Whether its visitors are told apart.
    pub visitors: bool,
}

/// What is configured about decisions, shared by all lanes.
pub struct Pipeline {
    /// Each source by its name.
    pub sources: HashMap<String, SourceRules>,
    /// What holds for a source that is no longer configured: its records are still in `raw`.
    pub gone: SourceRules,
    /// How payloads become events.
    pub adapt: adapter::Options,
    /// How events are labelled.
    pub enrich: enrich::Settings,
    /// The files that they are labelled by, as they were when they were read.
    pub references: enrich::References,
    /// The owners that the configuration knows.
    pub owners: BTreeSet<String>,
    /// Hash of the configuration, stamped on every event.
    pub config_version: String,
}

impl Pipeline {
    pub(super) fn rules(&self, source: &str) -> &SourceRules {
        self.sources.get(source).unwrap_or(&self.gone)
    }

    pub(crate) fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }
}

/// Whose the pipeline is that a step decides by.
pub(super) enum Held<'p> {
    Borrowed(&'p Pipeline),
    Shared(Arc<Pipeline>),
}

impl Deref for Held<'_> {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        match self {
            Held::Borrowed(pipeline) => pipeline,
            Held::Shared(pipeline) => pipeline,
        }
    }
}

/// The pure stages of one lane, [`Step::decode`] and [`Step::enrich`], with their caches.
pub struct Step<'p> {
    pub(super) pipeline: Held<'p>,
    pub(super) keys: KeyHasher,
    pub(super) enricher: Enricher,
    pub(super) memory: Memory,
    pub(super) key: Vec<u8>,
}

impl<'p> Step<'p> {
    /// The step under a configuration and a pipeline's identity.
    pub fn new(pipeline: &'p Pipeline, control: &Control) -> Self {
        Self::by(Held::Borrowed(pipeline), control)
    }

    /// The same for a lane, which changes its pipeline between two transactions.
    pub fn shared(pipeline: Arc<Pipeline>, control: &Control) -> Step<'static> {
        Step::by(Held::Shared(pipeline), control)
    }

    fn by(pipeline: Held<'p>, control: &Control) -> Self {
        let mut enricher = Enricher::new(pipeline.enrich.clone());
        enricher.refer_to(pipeline.references.clone());
        let memory = Memory::new(pipeline.adapt.clone());
        Self { pipeline, keys: KeyHasher::new(control.dedupe_key), enricher, memory, key: Vec::new() }
    }

    /// Labels by these files from now on. A lane changes them between transactions only.
    pub fn refer_to(&mut self, references: enrich::References) {
        self.enricher.refer_to(references);
    }

    /// The catalogue that it labels by: [`Step::enrich`] is given it, and its events borrow from it.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.enricher.catalogue()
    }
}
