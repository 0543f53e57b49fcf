//! Which events a rule is about.

use std::fmt;

use event::{EventType, LinkEvent};

use crate::{Field, Glob};

/// A kind of event, as rules name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPattern {
    /// `visit`: a click or a QR scan.
    Visit,
    /// One of [`EventPattern::TYPES`].
    Type(EventType),
    /// A finer kind, such as `link.edited`, `destination_unavailable` or `link.*`.
    Subtype(Glob),
}

impl EventPattern {
    /// The types that can be named.
    pub const TYPES: [EventType; 7] = [
        EventType::Click,
        EventType::QrScan,
        EventType::Error,
        EventType::Threshold,
        EventType::Lifecycle,
        EventType::Lead,
        EventType::Sale,
    ];

    /// The finer kinds that adapters give. Platforms may add their own; a `*` matches those too.
    pub const SUBTYPES: [&'static str; 7] = [
        "link.created",
        "link.edited",
        "link.destination_changed",
        "link.expired",
        "destination_unavailable",
        "malformed_target",
        "unexpected_redirect",
    ];

    /// The pattern of that name. A type wins over a subtype of the same name; what is neither must look like a
    /// subtype (it holds a dot or a `*`, or is one of [`EventPattern::SUBTYPES`]).
    pub fn parse(name: &str) -> Option<Self> {
        if name == "visit" {
            return Some(Self::Visit);
        }
        if let Some(r#type) = Self::TYPES.into_iter().find(|r#type| r#type.as_str() == name) {
            return Some(Self::Type(r#type));
        }
        let known = Self::SUBTYPES.contains(&name) || name.contains(['.', '*']);
        known.then(|| Self::Subtype(Glob::new(name)))
    }

    /// All names that can be suggested for a misspelt one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("visit").chain(Self::TYPES.iter().map(|kind| kind.as_str())).chain(Self::SUBTYPES)
    }

    /// Whether events of this type can match: what the index of [`crate::RuleIndex`] asks.
    pub(crate) fn may_match(&self, r#type: EventType) -> bool {
        match self {
            Self::Visit => r#type.is_visit(),
            Self::Type(own) => *own == r#type,
            Self::Subtype(_) => true,
        }
    }

    fn matches(&self, event: &LinkEvent<'_>) -> bool {
        match self {
            Self::Subtype(glob) => glob.matches(&event.subtype),
            _ => self.may_match(event.r#type),
        }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visit => f.write_str("visit"),
            Self::Type(r#type) => f.write_str(r#type.as_str()),
            Self::Subtype(glob) => fmt::Display::fmt(glob, f),
        }
    }
}

/// One condition: the event's field is one of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    field: Field,
    patterns: Vec<Glob>,
}

impl Condition {
    /// A condition. The order of `patterns` means nothing. Hosts are compared in lower case, countries in upper case.
    pub fn new<P: AsRef<str>>(field: Field, patterns: impl IntoIterator<Item = P>) -> Self {
        let mut patterns: Vec<Glob> =
            patterns.into_iter().map(|pattern| Glob::new(&field.spelling(pattern.as_ref()))).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self { field, patterns }
    }

    /// What it asks about.
    pub fn field(&self) -> Field {
        self.field
    }

    /// What it accepts.
    pub fn patterns(&self) -> &[Glob] {
        &self.patterns
    }

    fn matches(&self, event: &LinkEvent<'_>) -> bool {
        let mut any = false;
        self.field.each_value(event, |value| any = any || self.patterns.iter().any(|pattern| pattern.matches(value)));
        any
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.field.name())?;
        list(f, &self.patterns)
    }
}

/// Which events a rule is about: one of the kinds, and every condition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    events: Vec<EventPattern>,
    conditions: Vec<Condition>,
}

impl When {
    /// Events of one of the kinds `events` (none given: of any) that meet all `conditions`. Neither order means anything.
    pub fn new(
        events: impl IntoIterator<Item = EventPattern>,
        conditions: impl IntoIterator<Item = Condition>,
    ) -> Self {
        let (mut events, mut conditions): (Vec<_>, Vec<_>) =
            (events.into_iter().collect(), conditions.into_iter().collect());
        events.sort_by_cached_key(EventPattern::to_string);
        events.dedup();
        conditions.sort_unstable();
        conditions.dedup();
        Self { events, conditions }
    }

    /// The kinds; empty means any.
    pub fn events(&self) -> &[EventPattern] {
        &self.events
    }

    /// The conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether an event of this type can match at all.
    pub fn may_match(&self, r#type: EventType) -> bool {
        self.events.is_empty() || self.events.iter().any(|pattern| pattern.may_match(r#type))
    }

    /// Whether the event is one of these.
    pub fn matches(&self, event: &LinkEvent<'_>) -> bool {
        (self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(event)))
            && self.conditions.iter().all(|condition| condition.matches(event))
    }

    /// Why the event is not one of these; none if it is.
    pub fn mismatch(&self, event: &LinkEvent<'_>) -> Option<String> {
        if !self.events.is_empty() && !self.events.iter().any(|pattern| pattern.matches(event)) {
            let said = if event.subtype.is_empty() { event.r#type.as_str() } else { &event.subtype };
            return Some(format!("the event is {said:?}, the rule is about {}", Names(&self.events)));
        }
        let failed = self.conditions.iter().find(|condition| !condition.matches(event))?;
        let value = failed.field.value(event);
        let wanted = Names(&failed.patterns);
        Some(if value.is_empty() {
            format!("the event has no {}, the rule asks for {wanted}", failed.field.name())
        } else {
            format!("{} is {value:?}, the rule asks for {wanted}", failed.field.name())
        })
    }
}

impl fmt::Display for When {
    /// The canonical form: equal for conditions that mean the same, whatever their order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event=")?;
        list(f, &self.events)?;
        self.conditions.iter().try_for_each(|condition| write!(f, " {condition}"))
    }
}

/// Quoted, so that no value can pass for the text around it.
fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{:?}", if index == 0 { "" } else { "," }, item.to_string())?;
    }
    f.write_str("]")
}

/// Patterns for a reader: `"a" or "b"`.
struct Names<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{:?}", if index == 0 { "" } else { " or " }, item.to_string())?;
        }
        Ok(())
    }
}
