//! The naming standard: which values a field may have, and which names mean the same. Breaks are flagged, not dropped.

use std::collections::{HashMap, HashSet};

use event::LinkEvent;
use regex::Regex;

use super::Labelling;

/// Declares the fields that a standard may be about.
macro_rules! fields {
    ($($variant:ident = $name:literal => $column:ident;)*) => {
        /// A field that a naming standard may be about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum NamedField {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl NamedField {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in `[naming]` and in a list of links.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn of<'e>(self, event: &'e LinkEvent<'_>) -> &'e str {
                match self { $(Self::$variant => event.$column.as_ref(),)* }
            }

            fn put(self, event: &mut LinkEvent<'_>, value: String) {
                match self { $(Self::$variant => event.$column = value.into(),)* }
            }
        }
    };
}

fields! {
    Campaign = "campaign" => campaign;
    Channel = "channel" => channel;
    Promo = "promo" => promo;
    Programme = "programme" => programme;
    Placement = "placement" => placement;
    Partner = "partner" => partner;
    Launch = "launch" => launch;
    LinkKind = "kind" => link_kind;
    Intent = "intent" => intent;
    Owner = "owner" => owner;
    Domain = "domain" => domain;
    Slug = "slug" => slug;
    UtmSource = "utm_source" => utm_source;
    UtmMedium = "utm_medium" => utm_medium;
    UtmCampaign = "utm_campaign" => utm_campaign;
    UtmTerm = "utm_term" => utm_term;
    UtmContent = "utm_content" => utm_content;
}

impl NamedField {
    /// The field of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }
}

/// What values may look like.
#[derive(Debug, Clone)]
pub enum Form {
    /// All of a value matches this expression, which is anchored at both ends.
    Pattern(Regex),
    /// One of these.
    OneOf(HashSet<String>),
}

impl Form {
    /// Whether a value has the form.
    #[must_use]
    pub fn allows(&self, value: &str) -> bool {
        match self {
            Self::Pattern(regex) => regex.is_match(value),
            Self::OneOf(values) => values.contains(value),
        }
    }

    fn issue(&self) -> &'static str {
        match self {
            Self::Pattern(_) => "pattern",
            Self::OneOf(_) => "value",
        }
    }
}

/// What is demanded of one field.
#[derive(Debug, Clone)]
pub struct Standard {
    /// The field.
    pub field: NamedField,
    /// What its values may look like.
    pub form: Form,
    /// From when on, in milliseconds since 1970: events of before are not held to it.
    pub from_ms: i64,
    /// A good value, for those who have to mend a bad one.
    pub example: String,
}

/// Another name for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// What it means.
    pub is: String,
    /// From when on, in milliseconds since 1970.
    pub from_ms: i64,
}

/// A naming standard.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// Per field.
    pub standards: Vec<Standard>,
    /// Per field: other names of values. What an alias means is not an alias itself.
    pub aliases: Vec<(NamedField, HashMap<String, Alias>)>,
}

/// A value that breaks the standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// `campaign:pattern` or `channel:value`.
    pub issue: String,
    /// A good value, if the standard has one.
    pub example: String,
}

impl Naming {
    /// The value that `value` means at a time, if it is an alias then.
    #[must_use]
    pub fn meaning(&self, field: NamedField, value: &str, at_ms: i64) -> Option<&str> {
        let (_, aliases) = self.aliases.iter().find(|(of, _)| *of == field)?;
        aliases.get(value).filter(|alias| at_ms >= alias.from_ms).map(|alias| alias.is.as_str())
    }

    /// How a value breaks the standard at a time; an empty one says nothing and breaks nothing.
    pub fn breaks(&self, field: NamedField, value: &str, at_ms: i64) -> impl Iterator<Item = Break> {
        let of_field = move |standard: &&Standard| standard.field == field && at_ms >= standard.from_ms;
        let broken =
            self.standards.iter().filter(of_field).filter(move |one| !value.is_empty() && !one.form.allows(value));
        broken.map(move |standard| Break {
            issue: format!("{}:{}", field.name(), standard.form.issue()),
            example: standard.example.clone(),
        })
    }

    /// Writes values under their own names, and flags those that break the standard.
    fn apply(&self, event: &mut LinkEvent<'_>) {
        let at_ms = event.event_time.0;
        for (field, _) in &self.aliases {
            if let Some(meaning) = self.meaning(*field, field.of(event), at_ms) {
                let line = format!("same_as:{}:{}", field.name(), field.of(event));
                field.put(event, meaning.to_owned());
                event.trace.push(line.into());
            }
        }
        for standard in &self.standards {
            let value = standard.field.of(event);
            if at_ms >= standard.from_ms && !value.is_empty() && !standard.form.allows(value) {
                let issue = format!("{}:{}", standard.field.name(), standard.form.issue());
                event.naming_issues.push(issue.into());
            }
        }
    }
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    at.known.settings.naming.apply(at.event);
}

#[cfg(test)]
mod tests {
    use event::Millis;

    use super::*;

    fn naming() -> Naming {
        let pattern = Regex::new("^(?:20[0-9]{2}q[1-4]-(?:de|fr)-[a-z]+)$").expect("an expression");
        let standard = |field, form, from_ms| Standard { field, form, from_ms, example: "2026q4-de-x".into() };
        let channels = HashSet::from(["email".to_owned(), "social".to_owned()]);
        let alias = |is: &str, from_ms| Alias { is: is.to_owned(), from_ms };
        Naming {
            standards: vec![
                standard(NamedField::Campaign, Form::Pattern(pattern), 1_000),
                standard(NamedField::Channel, Form::OneOf(channels), i64::MIN),
            ],
            aliases: vec![(
                NamedField::Channel,
                HashMap::from([
                    ("e-mail".to_owned(), alias("email", i64::MIN)),
                    ("ig".to_owned(), alias("social", 2_000)),
                ]),
            )],
        }
    }

    fn flagged(campaign: &str, channel: &str, at: i64) -> (String, Vec<String>, Vec<String>) {
        let mut event = LinkEvent {
            campaign: campaign.to_owned().into(),
            channel: channel.to_owned().into(),
            event_time: Millis(at),
            ..LinkEvent::default()
        };
        naming().apply(&mut event);
        let texts = |list: Vec<std::borrow::Cow<'_, str>>| list.into_iter().map(|text| text.into_owned()).collect();
        (event.channel.into_owned(), texts(event.naming_issues), texts(event.trace))
    }

    #[test]
    fn values_are_held_to_the_standard_of_their_time_and_kept_whatever_they_are() {
        let none = Vec::<String>::new;
        assert_eq!(flagged("2026q4-de-blackfriday", "email", 5_000), ("email".into(), none(), none()));
        assert_eq!(flagged("", "", 5_000), (String::new(), none(), none()), "what is not said breaks nothing");
        assert_eq!(flagged("xmas", "email", 999).1, none(), "before it was decided");
        assert_eq!(flagged("xmas", "fax", 1_000).1, ["campaign:pattern", "channel:value"]);
        assert_eq!(flagged("x2026q4-de-a", "email", 5_000).1, ["campaign:pattern"], "all of the value counts");
    }

    #[test]
    fn an_alias_means_its_value_from_its_day_on() {
        assert_eq!(flagged("", "e-mail", 0), ("email".into(), vec![], vec!["same_as:channel:e-mail".into()]));
        assert_eq!(flagged("", "ig", 1_999), ("ig".into(), vec!["channel:value".into()], vec![]));
        assert_eq!(flagged("", "ig", 2_000), ("social".into(), vec![], vec!["same_as:channel:ig".into()]));
    }
}
