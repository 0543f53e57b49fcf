//! The event: one per record of `raw`, whatever became of it.

use std::borrow::Cow;

use crate::avro::{Map, Millis};
use crate::{avro_names, avro_record};

avro_names! {
    /// What became of a record of `raw`.
    pub enum Outcome {
        /// A new event.
        #[default]
        Event = "event",
        /// The same event key was seen before, within the dedupe window.
        Duplicate = "duplicate",
        /// Authentic but not decodable: its bytes are on `dead-letters`.
        DeadLetter = "dead_letter",
    }
}

avro_names! {
    /// What happened to the link.
    pub enum EventType {
        /// Not known, as for dead letters.
        #[default]
        Unknown = "",
        /// Somebody followed a link.
        Click = "click",
        /// Somebody scanned a QR code.
        QrScan = "qr_scan",
        /// The destination is unavailable, malformed, or redirects where it should not.
        Error = "error",
        /// The platform says that a count was crossed.
        Threshold = "threshold",
        /// The link was created, edited, pointed elsewhere or expired.
        Lifecycle = "lifecycle",
        /// A visitor became a lead.
        Lead = "lead",
        /// A visitor bought.
        Sale = "sale",
    }
}

avro_names! {
    /// Who an event counts as: exclusive, in the order internal, bot, human.
    pub enum Counted {
        /// A person outside.
        #[default]
        Human = "human",
        /// A crawler, prefetcher or link scanner.
        Bot = "bot",
        /// Our own people and machines.
        Internal = "internal",
    }
}

/// The key of `extra` that has the tags of the link, with commas between them.
pub const TAGS: &str = "tags";

impl<'a> LinkEvent<'a> {
    /// The tags of the link.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.extra.get(TAGS).split(',').filter(|tag| !tag.is_empty())
    }

    /// Keeps the tags of the link in `extra`; a comma in one becomes a blank. Without a tag nothing changes.
    pub fn keep_tags<'t>(&mut self, tags: impl IntoIterator<Item = &'t str>) {
        let mut text = String::new();
        for tag in tags {
            if !text.is_empty() {
                text.push(',');
            }
            text.extend(tag.chars().map(|letter| if letter == ',' { ' ' } else { letter }));
        }
        if !text.is_empty() {
            self.extra.0.retain(|(name, _)| name != TAGS);
            self.extra.add(TAGS, text);
        }
    }
}

impl EventType {
    /// A click or a scan: somebody came.
    pub fn is_visit(self) -> bool {
        matches!(self, EventType::Click | EventType::QrScan)
    }

    /// A lead or a sale: it counts whoever told of it, a server program as well as a browser.
    pub fn is_conversion(self) -> bool {
        matches!(self, EventType::Lead | EventType::Sale)
    }
}

avro_record! {
    /// One record of `raw` after `process`: what was said, what was decided, and where it came from.
    ///
    /// Texts borrow from the input where they can. `''` and `0` mean unknown.
    pub struct LinkEvent<'a> {
        outcome: Outcome = Low, "event, duplicate or dead_letter";
        r#type: EventType = Low, "click, qr_scan, error, lifecycle, lead, sale or threshold";
        subtype: Cow<'a, str> = Low, "the finer kind: link.created, link.edited, destination_unavailable and so on";
        event_time: Millis = Time, "when it happened (UTC): at the earliest 35 days before received_at, and received_at for what claims to be over 5 minutes after it";
        event_time_claimed: Cow<'a, str> = Text, "the sender's own words for the time, when they were not used as they stood";
        time_flag: Cow<'a, str> = Low, "why event_time differs from the claim: missing, unreadable, too_old or in_the_future";
        received_at: Millis = Time, "when the webhook arrived (UTC)";
        counted: Counted = Low, "who came or told: human, bot or internal; leads and sales count whatever it is";
        counted_by: Cow<'a, str> = Low, "the rule that decided counted";
        source: Cow<'a, str> = Low, "the configured source that received it";
        secret_id: Cow<'a, str> = Low, "the id of the secret that its signature matched";
        event_key: Cow<'a, str> = Text, "what deliveries of one event have in common; unique within a source and the dedupe window";
        request_id: Cow<'a, str> = Text, "the receipt id that the sender was given";
        link_id: Cow<'a, str> = Text, "the platform's id of the link, or domain/slug";
        link_kind: Cow<'a, str> = Low, "proposal, promo, affiliate, bio and so on";
        domain: Cow<'a, str> = Low, "the branded short domain, lower case";
        slug: Cow<'a, str> = Text, "the path of the short link, without the leading slash";
        destination_host: Cow<'a, str> = Low, "the host that the link points to, lower case";
        destination_path: Cow<'a, str> = Text, "the destination's path and the query parameters that are kept";
        redirect_status: u16 = Short, "the HTTP status of the redirect, 0 when unknown";
        owner: Cow<'a, str> = Low, "the owner of the link, or else of its source";
        intent: Cow<'a, str> = Low, "the intent that the catalogue gives the link";
        campaign: Cow<'a, str> = Low, "the campaign";
        channel: Cow<'a, str> = Low, "the channel: email, social, paid, affiliate, qr, bio, sales, search, direct or referral";
        utm_source: Cow<'a, str> = Low, "utm_source";
        utm_medium: Cow<'a, str> = Low, "utm_medium";
        utm_campaign: Cow<'a, str> = Low, "utm_campaign";
        utm_term: Cow<'a, str> = Text, "utm_term";
        utm_content: Cow<'a, str> = Text, "utm_content";
        promo: Cow<'a, str> = Low, "the promo code";
        programme: Cow<'a, str> = Low, "the QR programme";
        qr_id: Cow<'a, str> = Text, "the QR code's id";
        placement: Cow<'a, str> = Low, "where the QR code hangs";
        partner: Cow<'a, str> = Low, "the affiliate partner";
        partner_approved: bool = Flag, "whether the partner may use this source";
        launch: Cow<'a, str> = Low, "the content launch that the link belongs to";
        referrer_class: Cow<'a, str> = Low, "direct, search, social, email or other";
        referrer_host: Cow<'a, str> = Low, "the referring host, lower case";
        country: Cow<'a, str> = Country, "one of the 249 codes of ISO 3166-1 alpha-2; UK is GB, EL is GR";
        region: Cow<'a, str> = Low, "ISO 3166-2, or what the platform says";
        device: Cow<'a, str> = Low, "mobile, desktop, tablet or what the platform says, lower case";
        os: Cow<'a, str> = Low, "the operating system";
        browser: Cow<'a, str> = Low, "the browser";
        visitor: u64 = Unsigned, "daily visitor hash, 0 when unknown; never to be summed over days";
        error_kind: Cow<'a, str> = Low, "destination_unavailable, malformed_target or unexpected_redirect";
        value_minor: i64 = Signed, "the conversion's value in minor units of the currency";
        currency: Cow<'a, str> = Low, "ISO 4217, upper case";
        extra: Map<'a> = Pairs, "further fields that the sender gave, at most 20; tags of the link, and contact and deal of the catalogue";
        naming_issues: Vec<Cow<'a, str>> = Names, "breaks of the naming standard, such as campaign:pattern or channel:value";
        trace: Vec<Cow<'a, str>> = Names, "what was decided on the way, in order";
        first_offset: u64 = Unsigned, "duplicates: the raw offset of the first delivery, in the same lane";
        duplicate_delay: i64 = Signed, "duplicates: milliseconds between the first delivery and this one";
        stage: Cow<'a, str> = Low, "dead letters: the stage that refused it";
        reason: Cow<'a, str> = Low, "dead letters: why, as a fixed label";
        detail: Cow<'a, str> = Text, "dead letters and errors: why, in words";
        redrive_of: Cow<'a, str> = Text, "redriven dead letters: lane/offset of the original";
        config_version: Cow<'a, str> = Low, "hash of the configuration that decided";
        catalogue_version: u64 = Unsigned, "what the catalogue knew of the link: one past an offset of the topic links; the same link and version mean the same labels, 0 means that it was not in the catalogue";
        schema_version: u16 = Short, "version of this schema";
        raw_offset: u64 = Unsigned, "the offset in raw, in the lane that the row names";
        test: bool = Unstored, "test data: rests in the database hookline_test";
    }
}
