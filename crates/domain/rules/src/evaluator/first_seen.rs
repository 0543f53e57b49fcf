//! First seen: a domain, channel, campaign prefix or kind of link that no event had before. Told once a value.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::Hasher;

use event::LinkEvent;
use siphasher::sip::SipHasher13;

use crate::codec::{Reader, Writer};
use crate::{Field, Glob};

/// Values that are remembered. Beyond them nothing new is told, and that is counted: so many are not a list that people
/// keep.
const MOST: usize = 10_000;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The branded short domain.
    Domain,
    /// The channel.
    Channel,
    /// The campaign.
    Campaign,
    /// The campaign up to its first `-`, `_`, `.`, `:`, `/` or blank.
    CampaignPrefix,
    /// The kind of link.
    LinkKind,
    /// The affiliate partner.
    Partner,
    /// The UTM source.
    UtmSource,
    /// The host that the link points to.
    DestinationHost,
}

impl Subject {
    /// All of them, with their names in a rule.
    pub const ALL: [(&'static str, Self); 8] = [
        ("domain", Self::Domain),
        ("channel", Self::Channel),
        ("campaign", Self::Campaign),
        ("campaign_prefix", Self::CampaignPrefix),
        ("link_kind", Self::LinkKind),
        ("partner", Self::Partner),
        ("utm_source", Self::UtmSource),
        ("destination_host", Self::DestinationHost),
    ];

    /// Its name in a rule.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, subject)| *subject == self).map_or("", |(name, _)| name)
    }

    /// Its name in a message.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::CampaignPrefix => "campaign prefix",
            Self::LinkKind => "link kind",
            Self::UtmSource => "utm_source",
            Self::DestinationHost => "destination host",
            other => other.name(),
        }
    }

    /// The field that it is read from.
    pub fn field(self) -> Field {
        match self {
            Self::Domain => Field::Domain,
            Self::Channel => Field::Channel,
            Self::Campaign | Self::CampaignPrefix => Field::Campaign,
            Self::LinkKind => Field::LinkKind,
            Self::Partner => Field::Partner,
            Self::UtmSource => Field::UtmSource,
            Self::DestinationHost => Field::DestinationHost,
        }
    }

    /// What an event says; none: nothing.
    pub fn value<'e>(self, event: &'e LinkEvent<'_>) -> Option<Cow<'e, str>> {
        let value = match self {
            Self::CampaignPrefix => {
                let campaign = event.campaign.as_ref();
                Cow::Borrowed(campaign.split(['-', '_', '.', ':', '/', ' ']).next().unwrap_or(campaign))
            }
            other => other.field().value(event),
        };
        (!value.is_empty()).then_some(value)
    }
}

/// What a rule on what is first seen asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstSeenRule {
    /// What is looked at.
    pub of: Subject,
    /// From the first event of the rule on it only learns, for so many minutes.
    pub learn_minutes: i64,
    /// Values that are known from the start.
    pub known: Vec<Glob>,
}

/// What a value is to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It came before, is known from the start, or is learned.
    Known,
    /// To be told of.
    New,
    /// It may be new: no more values are remembered.
    NoRoom,
}

/// The values of a rule: 8 bytes each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SeenKey {
    /// The end of the minute of the rule's first event; 0: none.
    born: i64,
    values: BTreeSet<u64>,
}

impl SeenKey {
    /// Takes a value of a closed minute, which ends at `end`.
    pub(crate) fn take(&mut self, rule: &FirstSeenRule, end: i64, value: &str) -> Seen {
        if self.born == 0 {
            self.born = end;
        }
        let value_hash = hash(value);
        if rule.known.iter().any(|known| known.matches(value)) || self.values.contains(&value_hash) {
            return Seen::Known;
        }
        if self.values.len() >= MOST {
            return Seen::NoRoom;
        }
        self.values.insert(value_hash);
        if end - self.born >= rule.learn_minutes { Seen::New } else { Seen::Known }
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.i64(self.born);
        to.u32(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        self.values.iter().for_each(|value| to.u64(*value));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut key = Self { born: from.i64()?, values: BTreeSet::new() };
        for _ in 0..from.u32()? {
            key.values.insert(from.u64()?);
        }
        Some(key)
    }
}

/// The same on every machine: it is stored.
fn hash(value: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(value.as_bytes());
    hasher.finish()
}
