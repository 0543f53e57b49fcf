//! What a rule counts per.

use std::borrow::Cow;

use event::LinkEvent;

use crate::Field;

/// What a rule counts per: each key has its own count and its own alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// Each link.
    Link,
    /// Each campaign.
    Campaign,
    /// Each QR code.
    Qr,
    /// Each branded domain.
    Domain,
    /// Each affiliate partner.
    Partner,
    /// Each source.
    Source,
    /// Each owner of links.
    Owner,
    /// All matching events together, under the key `all`.
    All,
}

impl Per {
    /// All of them.
    pub const EVERY: [Self; 8] =
        [Self::Link, Self::Campaign, Self::Qr, Self::Domain, Self::Partner, Self::Source, Self::Owner, Self::All];

    /// Its name in a rule.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Campaign => "campaign",
            Self::Qr => "qr",
            Self::Domain => "domain",
            Self::Partner => "partner",
            Self::Source => "source",
            Self::Owner => "owner",
            Self::All => "all",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|per| per.name() == name)
    }

    /// What its keys are read from; none for all events together.
    pub fn field(self) -> Option<Field> {
        match self {
            Self::Link => Some(Field::Link),
            Self::Campaign => Some(Field::Campaign),
            Self::Qr => Some(Field::Qr),
            Self::Domain => Some(Field::Domain),
            Self::Partner => Some(Field::Partner),
            Self::Source => Some(Field::Source),
            Self::Owner => Some(Field::Owner),
            Self::All => None,
        }
    }

    /// The key that an event counts under.
    ///
    /// None when the event does not say it: events without a campaign are not one campaign, so they count for none.
    /// A link's key is what people know it by, `domain/slug`, or the platform's id where there is no slug.
    pub fn key<'e>(self, event: &'e LinkEvent<'_>) -> Option<Cow<'e, str>> {
        let key = match self {
            Self::Link => Field::Link.value(event),
            Self::Campaign => Field::Campaign.value(event),
            Self::Qr => Field::Qr.value(event),
            Self::Domain => Field::Domain.value(event),
            Self::Partner => Field::Partner.value(event),
            Self::Source => Field::Source.value(event),
            Self::Owner => Field::Owner.value(event),
            Self::All => Cow::Borrowed("all"),
        };
        (!key.is_empty()).then_some(key)
    }
}
