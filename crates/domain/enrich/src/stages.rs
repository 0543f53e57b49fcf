//! The stages of labelling, in their order: one line here and one file in `stages/` each.
//!
//! A stage fills in what the sender left open, from the event as the stages before it left it, from the [`Hints`], and
//! from what the configuration says. It writes the columns that it declares and no others. Where one must come behind
//! another, it says so, with the reason; stages that say nothing of each other may change places, and only the lines of
//! the trace would be in another order. `stages/tests.rs` holds all of that.

pub(crate) mod agent;
mod campaign;
pub(crate) mod catalogue;
pub(crate) mod channel;
pub(crate) mod counted;
pub(crate) mod country;
pub(crate) mod launch;
pub(crate) mod naming;
mod owner;
mod partner;
mod referrer;
mod tags;
mod test_data;
#[cfg(test)]
mod tests;
pub mod visitor;

use event::{EventType, LinkEvent};

use crate::{Catalogue, Hints, Known};
use agent::{Agent, Agents};

/// Makes [`STAGES`] of the list, and the calls in its order: direct ones, so that they can be inlined.
macro_rules! stages {
    ($($name:ident: $says:literal, writes [$($writes:literal),*], after [$($after:literal: $why:literal),* $(,)?];)*) => {
        /// The stages, in their order. `docs/labels.md` has the same list.
        pub const STAGES: &[Stage] = &[$(Stage {
            name: stringify!($name),
            says: $says,
            writes: &[$($writes),*],
            after: &[$(($after, $why)),*],
            #[cfg(test)]
            label: $name::label,
        },)*];

        impl Labelling<'_, '_> {
            /// Takes the event through all stages.
            pub(crate) fn run(mut self) {
                $($name::label(&mut self);)*
            }
        }
    };
}

stages! {
    catalogue: "what the operator's list and the platform's earlier events say of the link",
        writes ["link_kind", "owner", "intent", "campaign", "programme", "placement", "partner", "launch",
            "extra", "trace", "catalogue_version"],
        after [];

    launch: "the planned launch of the link",
        writes ["launch"],
        after ["catalogue": "what is said of the link goes before the plan"];

    owner: "the owner of the source",
        writes ["owner"],
        after ["catalogue": "the owner of the link goes before the owner of its source"];

    campaign: "the campaign of the link's address, `utm_campaign`",
        writes ["campaign"],
        after ["catalogue": "the campaign of the link goes before that of its address"];

    referrer: "the referring host, and what kind of place it is",
        writes ["referrer_class", "referrer_host"],
        after [];

    agent: "device, system and browser; for later stages, whether it is a program and in which app it runs",
        writes ["device", "os", "browser"],
        after [];

    country: "the country of the address",
        writes ["country", "trace"],
        after [];

    visitor: "the visitor's number of the day",
        writes ["visitor"],
        after [];

    channel: "the way by which the visit came",
        writes ["channel", "trace"],
        after [
            "referrer": "the kind of the referring place is a channel where nothing else tells one",
            "agent": "an app's own browser often sends no referrer: the app is the channel then",
        ];

    naming: "values under their own names, and what breaks the naming standard",
        writes ["link_kind", "domain", "slug", "owner", "intent", "campaign", "channel", "utm_source",
            "utm_medium", "utm_campaign", "utm_term", "utm_content", "promo", "programme", "placement", "partner",
            "launch", "naming_issues", "trace"],
        after [
            "launch": "a launch that was planned is held to the standard as well",
            "owner": "so is the owner of the source",
            "campaign": "so is a campaign of the link's address",
            "visitor": "a visitor's number is of the domain as it was sent, so that a new alias does not split a day",
            "channel": "the channel is read from what was sent, and held to the standard then",
        ];

    partner: "whether the partner may use the source of the link, `utm_source`",
        writes ["partner_approved"],
        after ["naming": "a partner and a source may be written by another name"];

    tags: "the tags of the platform and of the catalogue, each once",
        writes ["extra"],
        after ["catalogue": "its tags are found with the link"];

    test_data: "whether it is test data, and by which line of the configuration",
        writes ["trace", "test"],
        after [
            "naming": "a test campaign may be written by another name",
            "tags": "a tag of the catalogue may mark test data",
        ];

    counted: "who it counts as: internal goes before bot, bot before human",
        writes ["counted", "counted_by", "trace"],
        after [
            "referrer": "a referring host may be internal",
            "agent": "a program is a bot",
        ];
}

/// One stage of labelling.
#[derive(Debug)]
pub struct Stage {
    /// Its name, which is the name of its file.
    pub name: &'static str,
    /// What it says of an event.
    pub says: &'static str,
    /// The columns that it may write, in the order of the event's. To `trace` and `extra` it may add.
    pub writes: &'static [&'static str],
    /// Behind which stages it must come, and why. What follows from the lines of others is left out.
    pub after: &'static [(&'static str, &'static str)],
    #[cfg(test)]
    label: fn(&mut Labelling<'_, '_>),
}

/// An event on its way through the stages.
pub(crate) struct Labelling<'w, 'e> {
    /// The event, where it was built.
    event: &'w mut LinkEvent<'e>,
    /// What is known beside it, in memory only.
    hints: &'w Hints<'w>,
    /// What the configuration says, and the operator's files.
    known: &'w Known,
    /// The links that it is labelled by. They outlive the event, which borrows their texts.
    catalogue: Option<&'e Catalogue>,
    agents: &'w mut Agents,
    /// Whether someone came: a link that is edited has no visitor.
    is_visit: bool,
    /// What the user agent tells; nothing before the stage `agent`.
    agent: Agent,
    /// Tags of the catalogue that are still to be united with the platform's, with commas between them.
    more_tags: &'e str,
}

impl<'w, 'e> Labelling<'w, 'e> {
    pub(crate) fn new(
        event: &'w mut LinkEvent<'e>,
        hints: &'w Hints<'w>,
        known: &'w Known,
        catalogue: Option<&'e Catalogue>,
        agents: &'w mut Agents,
    ) -> Self {
        let is_visit = matches!(
            event.r#type,
            EventType::Click | EventType::QrScan | EventType::Error | EventType::Lead | EventType::Sale
        );
        Self { event, hints, known, catalogue, agents, is_visit, agent: Agent::default(), more_tags: "" }
    }
}
