//! Platform payloads into events, in two halves that agree.
//!
//! **Edge** ([`Adapter::split`], used by ingest): the body is checked strictly, its events are found, each gets its key.
//! **Adapt** ([`Adapter::adapt`], used by process): one element becomes one [`event::LinkEvent`].
//!
//! Both read JSON through `json`, so they agree on what a payload says. What an adapter may store is what it names:
//! there is no way from an unknown field to a column. No input makes either half panic, and nothing that a sender wrote
//! reaches an error text unless `clean` has seen it.

mod address;
mod amount;
mod bitly;
mod canonical;
mod clean;
mod cloudevents;
mod currency;
mod destination;
mod dub;
mod edge;
mod form;
mod json;
mod mapped;
pub mod mapping;
mod mend;
mod owned;
mod rebrandly;
mod salvage;
mod shlink;
mod short_link;
mod shortio;
mod spelling;
mod time;
mod twilio;
mod unreadable;

use std::borrow::Cow;

use event::raw::RawHeaders;

use mapped::Scratch;
use mapping::Mapping;

pub use canonical::{SCHEMA, example};
pub use cloudevents::ATTRIBUTE_HEADERS;
pub use edge::{Element, MAX_ELEMENTS, fallback_key, is_json};
pub use mapped::{Adapted, Dialect, Memory, Options, Visitor};
pub use time::TimeFormat;
pub use unreadable::Unreadable;

/// The version of the key recipes. A change makes known events look new: it is recorded in the `control` topic, and a
/// running system refuses a build with another one.
pub const RECIPE_VERSION: u32 = 1;

/// Why an authentic delivery, or one element of it, holds no event that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Undecodable {
    /// A fixed label, fit for a metric.
    pub reason: &'static str,
    /// What is wrong and where, in words; holds no personal data.
    pub detail: String,
}

impl Undecodable {
    pub(crate) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The element is JSON, but no object.
    pub(crate) fn no_object() -> Self {
        Self::new("not_an_event", "an event is a JSON object")
    }

    /// A field that every event of its kind has is not there.
    pub(crate) fn missing(path: &str) -> Self {
        Self::new("missing_field", format!("the required field `{path}` is missing or empty"))
    }

    /// A required field is there with another type.
    pub(crate) fn wrong_type(path: &str) -> Self {
        Self::new("wrong_type", format!("the required field `{path}` has the wrong type"))
    }

    /// The platform calls the event by a name that this adapter does not know.
    pub(crate) fn unknown_type(name: &str) -> Self {
        // The halves put different things for what was cut, so that nothing from there on is shown.
        let name = name.split(char::REPLACEMENT_CHARACTER).next().unwrap_or_default();
        // As it will be shown: what is escaped there (a NUL is `\0`) can look like the end of a name before an @.
        let shown = format!("{:?}", clean::clipped(name.into(), 64));
        let shown = if event::personal::find(&shown).is_some() { "\"\"" } else { &shown };
        Self::new("unknown_event_type", format!("the event type {shown} is not one that the adapter knows"))
    }
}

/// Each adapter in one line: what it reads, and its name.
macro_rules! adapters {
    ($($(#[$doc:meta])* $adapter:ident = $name:literal,)*) => {
        /// Who speaks: which payloads are read, and how events are known.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Adapter {
            $($(#[$doc])* $adapter,)*
        }

        impl Adapter {
            /// Every adapter.
            pub const ALL: &'static [Adapter] = &[$(Adapter::$adapter),*];

            /// Its name in the configuration and on records of `raw`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Adapter::$adapter => $name,)*
                }
            }
        }
    };
}

adapters! {
    /// Dub's webhooks: one event a request.
    Dub = "dub",
    /// Our own format: one event, an array or NDJSON.
    Canonical = "canonical",
    /// Our own format as the data of CloudEvents 1.0: structured, batched or binary.
    CloudEvents = "cloudevents",
    /// Bitly's engagement webhooks: one event a request.
    Bitly = "bitly",
    /// Rebrandly's webhooks and Clickstream: batches of clicks.
    Rebrandly = "rebrandly",
    /// Short.io's click webhooks: one event a request, JSON or a form.
    ShortIo = "shortio",
    /// Shlink's real-time updates as a bridge relays them: one event or an array.
    Shlink = "shlink",
    /// The link shortening events of Twilio's Event Streams: CloudEvents 1.0, structured or batched.
    Twilio = "twilio",
    /// Any platform, by the [`mapping::Mapping`] of its source: one event, an array, NDJSON or a form.
    Mapping = "mapping",
}

impl Adapter {
    /// The adapter with this name in the configuration.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|adapter| adapter.name() == name)
    }

    /// Whether a body of this content type can be read; parameters and case do not matter, and no type is fine. JSON that is
    /// called a form, or stands in a field of one, is read by every adapter; plain text where the map of the source says so.
    pub fn accepts(self, dialect: &Dialect, content_type: &str, body: &[u8]) -> bool {
        if is_json(content_type) {
            return true;
        }
        if edge::is_form(content_type) {
            return matches!(self, Adapter::ShortIo | Adapter::Mapping) || form::json_in(body).is_some();
        }
        match self {
            Adapter::Canonical => edge::is_ndjson(content_type),
            Adapter::Mapping => {
                edge::is_ndjson(content_type)
                    || (edge::is_plain_text(content_type) && dialect.mapping.as_ref().is_some_and(Mapping::takes_text))
            }
            _ => false,
        }
    }

    /// Finds the events of an authentic body, in order, each with its key. An element that is not an event is marked
    /// ([`Element::quarantine`]); the others are as good as without it. `dialect` is what the configuration says about the
    /// source. `headers` gives a request header by its name in lower case; only CloudEvents in binary mode ask, for
    /// `ce-*`, which are to stand on the record too.
    ///
    /// # Errors
    /// When the body cannot be split at all: ingest then writes it whole, quarantined, under [`fallback_key`].
    pub fn split<'b>(
        self,
        dialect: &Dialect,
        body: &'b [u8],
        content_type: &str,
        headers: &dyn Fn(&str) -> Option<&'b str>,
    ) -> Result<Vec<Element<'b>>, Undecodable> {
        if let Some(text) = mend::from_wide(body) {
            return self.split_decoded(dialect, text.as_bytes(), content_type, headers);
        }
        if edge::is_form(content_type)
            && !self.is_form(dialect, mend::trimmed(body))?
            && let Some(json) = form::json_in(body)
        {
            return match json {
                Cow::Borrowed(json) => self.split_utf8(dialect, json, edge::JSON, headers),
                Cow::Owned(json) => self.split_decoded(dialect, &json, edge::JSON, headers),
            };
        }
        self.split_utf8(dialect, body, content_type, headers)
    }

    /// Whether a body that is called a form is an event of this platform as a form.
    fn is_form(self, dialect: &Dialect, body: &[u8]) -> Result<bool, Undecodable> {
        Ok(match self {
            Adapter::ShortIo => shortio::is_form(body),
            Adapter::Mapping => mapping::is_form(dialect.mapping()?, body),
            _ => false,
        })
    }

    /// As [`Self::split`], for a body that was decoded.
    fn split_decoded<'b>(
        self,
        dialect: &Dialect,
        body: &[u8],
        content_type: &str,
        headers: &dyn Fn(&str) -> Option<&'b str>,
    ) -> Result<Vec<Element<'b>>, Undecodable> {
        let elements = self.split_utf8(dialect, body, content_type, &|name| headers(name))?;
        Ok(elements.into_iter().map(Element::into_owned).collect())
    }

    fn split_utf8<'b>(
        self,
        dialect: &Dialect,
        body: &'b [u8],
        content_type: &str,
        headers: &dyn Fn(&str) -> Option<&'b str>,
    ) -> Result<Vec<Element<'b>>, Undecodable> {
        match self {
            Adapter::Dub => edge::one(body, dub::Head::key),
            Adapter::Canonical if edge::is_ndjson(content_type) => edge::lines(body, canonical::Head::key),
            Adapter::Canonical => edge::one_or_array(body, canonical::Head::key),
            Adapter::CloudEvents => cloudevents::split(dialect, body, content_type, headers),
            Adapter::Bitly => edge::one(body, bitly::Head::key),
            Adapter::Rebrandly => rebrandly::split(body),
            Adapter::ShortIo => shortio::split(body, content_type),
            Adapter::Shlink => edge::one_or_array(body, shlink::Head::key),
            Adapter::Twilio => edge::one_or_array(body, twilio::Head::key),
            Adapter::Mapping => mapping::split(dialect.mapping()?, body, content_type),
        }
    }

    /// Maps one element to an event. Filled in: what the payload says, and of the headers the source, the secret, the
    /// request id, the received time and what it is a redrive of. The event key, the outcome and the versions are the
    /// caller's. `dialect` is what the configuration says about the source; of one that is gone, [`Dialect::PLAIN`].
    ///
    /// # Errors
    /// When the bytes are no event of this platform. What [`Adapter::split`] took without a mark always adapts.
    pub fn adapt<'a>(
        self,
        dialect: &Dialect,
        raw: &RawHeaders<'a>,
        bytes: &'a [u8],
        memory: &mut Memory,
    ) -> Result<Adapted<'a>, Undecodable> {
        let bytes = mend::trimmed(bytes);
        let scratch = &mut Scratch::new(memory, dialect);
        match self {
            Adapter::Dub => dub::adapt(raw, bytes, scratch),
            Adapter::Canonical => canonical::adapt(raw, bytes, scratch),
            Adapter::CloudEvents => cloudevents::adapt(raw, bytes, scratch),
            Adapter::Bitly => bitly::adapt(raw, bytes, scratch),
            Adapter::Rebrandly => rebrandly::adapt(raw, bytes, scratch),
            Adapter::ShortIo => shortio::adapt(raw, bytes, scratch),
            Adapter::Shlink => shlink::adapt(raw, bytes, scratch),
            Adapter::Twilio => twilio::adapt(raw, bytes, scratch),
            Adapter::Mapping => mapping::adapt(dialect.mapping()?, raw, bytes, scratch),
        }
    }
}
