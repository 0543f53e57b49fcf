//! What is known of a link beside its events: a record of the catalogue.

use std::borrow::Cow;

use crate::avro::Millis;
use crate::{avro_names, avro_record};

/// The source that events of the catalogue itself name: an expiry that no platform tells.
pub const CATALOGUE_SOURCE: &str = "catalogue";

avro_names! {
    /// Who says it. The tellers of one link do not overwrite each other: each has its own key on the topic.
    pub enum Teller {
        /// The operator's list.
        #[default]
        List = "list",
        /// The link's platform, in lifecycle events.
        Platform = "platform",
        /// The timer: the expiry of the link was told as an event.
        Timer = "timer",
        /// The list as a whole: all of it is on the topic up to here.
        InForce = "in_force",
    }
}

avro_record! {
    /// One record of `links`: the newest of its key counts.
    pub struct LinkRecord<'a> {
        teller: Teller = Low, "who says it: list, platform or timer; in_force says that a list is on the topic as a whole";
        link: Cow<'a, str> = Text, "domain/slug, or the id that the platform gave; '' for in_force";
        at: Millis = Time, "platform: when the newest event behind it happened; in_force: when the list was taken up";
        kind: Cow<'a, str> = Low, "as link_kind of events";
        owner: Cow<'a, str> = Low, "the owner of the link";
        campaign: Cow<'a, str> = Low, "the campaign";
        intent: Cow<'a, str> = Low, "the intent";
        contact: Cow<'a, str> = Text, "an opaque id of a CRM";
        deal: Cow<'a, str> = Text, "an opaque id of a CRM";
        programme: Cow<'a, str> = Low, "the QR programme";
        placement: Cow<'a, str> = Low, "where the QR code hangs";
        partner: Cow<'a, str> = Low, "the affiliate partner";
        launch: Cow<'a, str> = Low, "the content launch";
        expected_host: Cow<'a, str> = Low, "the host that the link is to lead to";
        tags: Cow<'a, str> = Text, "tags, with commas between them";
        expires: Millis = Time, "from when on it has expired, 0 for never; timer: the expiry that was told";
        deleted: Millis = Time, "platform: when it was deleted, 0 if it was not";
        expired: bool = Flag, "platform: whether the platform itself has told the expiry";
        removed: bool = Flag, "list: the list has the link no more, and this record only takes away what it said";
        digest: Cow<'a, str> = Text, "in_force: names the bytes of the list";
        links: u64 = Unsigned, "in_force: how many links the list has";
    }
}

impl LinkRecord<'_> {
    /// The record's key on the topic.
    #[must_use]
    pub fn key(&self) -> String {
        match self.teller {
            Teller::InForce => self.teller.as_str().to_owned(),
            teller => format!("{} {}", teller.as_str(), self.link),
        }
    }

    /// As it is, owning its texts.
    #[must_use]
    pub fn into_owned(self) -> LinkRecord<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        LinkRecord {
            teller: self.teller,
            link: own(self.link),
            at: self.at,
            kind: own(self.kind),
            owner: own(self.owner),
            campaign: own(self.campaign),
            intent: own(self.intent),
            contact: own(self.contact),
            deal: own(self.deal),
            programme: own(self.programme),
            placement: own(self.placement),
            partner: own(self.partner),
            launch: own(self.launch),
            expected_host: own(self.expected_host),
            tags: own(self.tags),
            expires: self.expires,
            deleted: self.deleted,
            expired: self.expired,
            removed: self.removed,
            digest: own(self.digest),
            links: self.links,
        }
    }
}
