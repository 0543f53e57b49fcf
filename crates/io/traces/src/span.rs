//! One span: plain data, made where something begins and published once it is known to have happened.

use std::borrow::Cow;
use std::time::Duration;

use event::TraceContext;
use runtime::clock::since_1970;

/// What part a span has in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
    /// A record that was written.
    Producer,
    /// A record that was worked on.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A span: what happened from when to when, for which event. It is made by [`crate::conventions`] alone, so that names
/// stand in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The service that it happened in: `ingest`, `process`, …
    pub(crate) service: &'static str,
    /// Its own identity, which travels in headers.
    pub(crate) context: TraceContext,
    /// What it is a part of.
    pub(crate) parent: Option<TraceContext>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    /// Since 1970.
    pub(crate) begun: Duration,
    /// Since 1970; the beginning as long as it has not ended.
    pub(crate) ended: Duration,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that it has to do with.
    pub(crate) links: Vec<TraceContext>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl Span {
    /// A span that begins now, as a part of `parent` or as the first of a trace.
    pub(crate) fn new(
        service: &'static str,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        parent: Option<TraceContext>,
    ) -> Self {
        let now = since_1970();
        let trace_id = parent.map_or_else(random_nonzero, |parent| parent.trace_id);
        Self {
            service,
            context: TraceContext { trace_id, span_id: random_nonzero(), sampled: true },
            parent,
            name: name.into(),
            kind,
            begun: now,
            ended: now,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    /// Its identity: what a part of it has as its parent, and what its record has as its header.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// The same, begun earlier.
    #[must_use]
    pub fn since(mut self, begun: Duration) -> Self {
        self.begun = begun;
        self
    }

    /// Has it end now.
    pub fn end(&mut self) {
        self.ended = since_1970();
    }

    /// Has it end at a time since 1970.
    pub fn end_at(&mut self, ended: Duration) {
        self.ended = ended;
    }

    /// Has it end now with an error.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.error = Some(why.into());
        self.end();
    }

    /// Links it to a span of another trace.
    pub fn link(&mut self, to: TraceContext) {
        // What OpenTelemetry takes by default; more than that tells nothing.
        if self.links.len() < 128 {
            self.links.push(to);
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }
}

/// An id; all zero means "none" in W3C's header.
fn random_nonzero<const N: usize>() -> [u8; N]
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    loop {
        let id = rand::random::<[u8; N]>();
        if id != [0; N] {
            return id;
        }
    }
}
