//! What a rule can ask about.

use std::borrow::Cow;

use event::LinkEvent;

/// Declares the fields that are one column of the event: their names in rules, and where they are read.
macro_rules! fields {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal => $column:ident;)*) => {
        /// A property of an event that a rule's `when` can name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            /// The link: its platform id, or `domain/slug`.
            Link,
            /// Whether the partner may use this source: `true` or `false`; never known for events without a partner.
            PartnerApproved,
            /// A tag of the link: one of them is enough.
            Tag,
            $($(#[doc = $doc])* $variant,)*
        }

        impl Field {
            /// All of them.
            pub const ALL: &'static [Self] = &[Self::Link, Self::PartnerApproved, Self::Tag, $(Self::$variant,)*];

            /// Its name in a rule.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Link => "link",
                    Self::PartnerApproved => "partner_approved",
                    Self::Tag => "tag",
                    $(Self::$variant => $name,)*
                }
            }

            /// The columns of an event that it is read from.
            pub fn columns(self) -> &'static [&'static str] {
                match self {
                    Self::Link => &["domain", "slug", "link_id"],
                    Self::PartnerApproved => &["partner", "partner_approved"],
                    Self::Tag => &["extra"],
                    $(Self::$variant => &[stringify!($column)],)*
                }
            }

            /// Makes an event say it, as a route test does. A link is `domain/slug`, or an id without a `/`.
            pub fn set(self, event: &mut LinkEvent<'static>, value: &str) {
                let value = self.spelling(value);
                match self {
                    Self::Link => match value.split_once('/') {
                        Some((domain, slug)) => {
                            (event.domain, event.slug) = (domain.to_owned().into(), slug.to_owned().into());
                        }
                        None => event.link_id = value.into(),
                    },
                    Self::PartnerApproved => event.partner_approved = value == "true",
                    Self::Tag => event.keep_tags([value.as_str()]),
                    $(Self::$variant => event.$column = value.into(),)*
                }
            }

            /// What the event says, `''` when it says nothing; for several tags, all of them with commas.
            pub fn value<'e>(self, event: &'e LinkEvent<'_>) -> Cow<'e, str> {
                match self {
                    Self::Link => link_name(event),
                    Self::PartnerApproved if event.partner.is_empty() => Cow::Borrowed(""),
                    Self::PartnerApproved => Cow::Borrowed(if event.partner_approved { "true" } else { "false" }),
                    Self::Tag => Cow::Borrowed(event.extra.get(event::TAGS)),
                    $(Self::$variant => Cow::Borrowed(event.$column.as_ref()),)*
                }
            }
        }
    };
}

fields! {
    /// The configured source that received it.
    Source = "source" => source;
    /// The branded short domain.
    Domain = "domain" => domain;
    /// The path of the short link.
    Slug = "slug" => slug;
    /// What kind of link it is: proposal, promo, affiliate, bio and so on.
    LinkKind = "link_kind" => link_kind;
    /// The campaign.
    Campaign = "campaign" => campaign;
    /// The channel.
    Channel = "channel" => channel;
    /// The UTM source.
    UtmSource = "utm_source" => utm_source;
    /// The UTM medium.
    UtmMedium = "utm_medium" => utm_medium;
    /// The UTM campaign.
    UtmCampaign = "utm_campaign" => utm_campaign;
    /// The UTM term.
    UtmTerm = "utm_term" => utm_term;
    /// The UTM content.
    UtmContent = "utm_content" => utm_content;
    /// The country, ISO 3166-1 alpha-2.
    Country = "country" => country;
    /// The intent that the catalogue gives the link.
    Intent = "intent" => intent;
    /// The promo code.
    Promo = "promo" => promo;
    /// The QR programme.
    Programme = "programme" => programme;
    /// The QR code.
    Qr = "qr" => qr_id;
    /// Where the QR code hangs.
    Placement = "placement" => placement;
    /// The affiliate partner.
    Partner = "partner" => partner;
    /// The content launch.
    Launch = "launch" => launch;
    /// The owner of the link, or else of its source.
    Owner = "owner" => owner;
    /// The host that the link points to.
    DestinationHost = "destination_host" => destination_host;
    /// The class of the referrer.
    ReferrerClass = "referrer_class" => referrer_class;
    /// The kind of error.
    ErrorKind = "error_kind" => error_kind;
    /// The device class.
    Device = "device" => device;
}

impl Field {
    /// The field of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// Shows each value that a pattern of this field may mean: a link has a name and its platform's id, and an event
    /// may have several tags. `''` is shown for what the event does not say, but for tags.
    pub(crate) fn each_value(self, event: &LinkEvent<'_>, mut show: impl FnMut(&str)) {
        match self {
            Self::Link => {
                let name = link_name(event);
                show(&name);
                if name != event.link_id {
                    show(&event.link_id);
                }
            }
            Self::Tag => event.tags().for_each(show),
            _ => show(&self.value(event)),
        }
    }

    /// A pattern as events spell this field: hosts in lower case, countries in upper case.
    pub(crate) fn spelling(self, pattern: &str) -> String {
        match self {
            Self::Domain | Self::DestinationHost => pattern.to_ascii_lowercase(),
            Self::Country => pattern.to_ascii_uppercase(),
            _ => pattern.to_owned(),
        }
    }
}

/// `domain/slug`, or the platform's id where the event has no slug.
pub(crate) fn link_name<'e>(event: &'e LinkEvent<'_>) -> Cow<'e, str> {
    if event.slug.is_empty() || event.domain.is_empty() {
        Cow::Borrowed(event.link_id.as_ref())
    } else {
        Cow::Owned(format!("{}/{}", event.domain, event.slug))
    }
}
