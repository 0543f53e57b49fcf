//! What a mapping is made of, as the configuration says it.

use event::EventType;

use super::PayloadPath;
use crate::canonical;
use crate::time::TimeFormat;

/// A mapping in words: what is found where. Plain data, checked by the configuration's own crate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MappingPlan {
    /// Where the events of a body stand, if they stand in an envelope. All other paths start at the event.
    pub items: Option<PayloadPath>,
    /// Whether bodies may be called plain text; they are JSON all the same.
    pub text_plain: bool,
    /// What deliveries of one event have in common; the hash of its bytes when nothing is said or found.
    pub event_key: Option<KeyFrom>,
    /// What kind of event it is.
    pub event_type: TypeFrom,
    /// When it happened: the first path that holds something.
    pub event_time: Vec<PayloadPath>,
    /// How that time is written, if not in a common form.
    pub time_format: Option<TimeFormat>,
    /// The texts and numbers of the event, each at most once.
    pub fields: Vec<(Field, TextFrom)>,
    /// The yes-or-no facts of the event, each at most once.
    pub facts: Vec<(Fact, FactFrom)>,
    /// The worth of a conversion, and the unit that the payload counts it in.
    pub value: Option<(Vec<PayloadPath>, AmountUnit)>,
    /// Further fields, by names of the owner's choosing.
    pub extra: Vec<(String, TextFrom)>,
}

impl MappingPlan {
    /// The most further fields.
    pub const MAX_EXTRA: usize = crate::json::MAX_PAIRS;

    /// Whether events will have a link: an event without one is about nothing.
    pub fn names_a_link(&self) -> bool {
        let has = |field| self.fields.iter().any(|(named, _)| *named == field);
        has(Field::LinkId) || has(Field::ShortUrl) || (has(Field::Domain) && has(Field::Slug))
    }
}

/// What an event is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFrom {
    /// The first path that holds something.
    First(Vec<PayloadPath>),
    /// All of these together, as a hash.
    All(Vec<PayloadPath>),
}

/// A text: the first path that holds something, else a fixed one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextFrom {
    /// Tried in order; none, for a text that is always the same.
    pub paths: Vec<PayloadPath>,
    /// What holds when no path does; may be empty.
    pub default: String,
}

/// What kind of event it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypeFrom {
    /// Tried in order.
    pub paths: Vec<PayloadPath>,
    /// The payload's own words for our types; empty when it uses ours.
    pub names: Vec<(String, OurType)>,
    /// The type of an event whose word is missing or not among them; without one it cannot be used.
    pub default: Option<OurType>,
}

/// A yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactFrom {
    /// The first that holds something decides.
    pub paths: Vec<PayloadPath>,
    /// The values that mean yes; empty for true, 1 and "yes".
    pub is: Vec<String>,
}

/// What an amount of a payload counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountUnit {
    /// So many of the currency's smallest unit; 1 when it is that unit.
    Smallest(u32),
    /// Whole euros, yen, dinars: each currency has its own smallest unit, by ISO 4217.
    Currency,
}

/// A type of event, by the name that the canonical format has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OurType {
    pub(super) name: &'static str,
    pub(super) event_type: EventType,
}

impl OurType {
    /// Every type, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = OurType> {
        canonical::TYPES.iter().map(|(name, event_type)| OurType { name, event_type: *event_type })
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|known| known.name == name)
    }

    /// Its name: `click`, `link.created`.
    pub fn name(self) -> &'static str {
        self.name
    }
}

macro_rules! named {
    ($(#[$meta:meta])* $kind:ident { $($(#[$about:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind { $($(#[$about])* $variant,)* }

        impl $kind {
            /// Every one, in the order of the documentation.
            pub const ALL: &'static [$kind] = &[$($kind::$variant,)*];

            /// Its key in the configuration.
            pub fn name(self) -> &'static str {
                match self { $($kind::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// A text or number of an event.
    Field {
        /// The platform's id of the link.
        LinkId = "link_id",
        /// The branded short domain.
        Domain = "domain",
        /// The path of the short link.
        Slug = "slug",
        /// The short link whole, in place of domain and slug.
        ShortUrl = "short_url",
        /// proposal, promo, affiliate, bio and so on.
        LinkKind = "link_kind",
        /// When a link expires, on events about the link itself.
        ExpiresAt = "expires_at",
        /// Where the link points.
        DestinationUrl = "destination_url",
        /// The HTTP status of the redirect.
        RedirectStatus = "redirect_status",
        /// The campaign.
        Campaign = "campaign",
        /// The channel.
        Channel = "channel",
        /// utm_source.
        UtmSource = "utm_source",
        /// utm_medium.
        UtmMedium = "utm_medium",
        /// utm_campaign.
        UtmCampaign = "utm_campaign",
        /// utm_term.
        UtmTerm = "utm_term",
        /// utm_content.
        UtmContent = "utm_content",
        /// The QR code's id.
        QrId = "qr_id",
        /// The QR programme.
        Programme = "programme",
        /// Where the QR code hangs.
        Placement = "placement",
        /// The affiliate partner.
        Partner = "partner",
        /// The content launch.
        Launch = "launch",
        /// The visitor's country, two letters.
        Country = "country",
        /// The visitor's region.
        Region = "region",
        /// mobile, desktop, tablet.
        Device = "device",
        /// The operating system.
        Os = "os",
        /// The browser.
        Browser = "browser",
        /// The user agent; read, never stored.
        UserAgent = "user_agent",
        /// The visitor's address; read, never stored.
        Ip = "ip",
        /// The referring URL; its host is stored.
        Referrer = "referrer",
        /// destination_unavailable, malformed_target or unexpected_redirect.
        ErrorKind = "error_kind",
        /// What the platform says about an error.
        ErrorDetail = "error_detail",
        /// The name of a conversion.
        Conversion = "conversion",
        /// The currency of its worth.
        Currency = "currency",
    }
}

named! {
    /// A yes or no of an event.
    Fact {
        /// It is test data.
        Test = "test",
        /// The platform takes the visitor for a bot.
        Bot = "bot",
        /// A click came from a QR code.
        Qr = "qr",
    }
}
