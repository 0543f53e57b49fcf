//! An alert: a rule has something to say.

use std::borrow::Cow;

use crate::avro::{Map, Millis};
use crate::{avro_names, avro_record};

avro_names! {
    /// What changed.
    pub enum Transition {
        /// A rule that fires on every event met one.
        #[default]
        Each = "each",
        /// A condition became true.
        Fired = "fired",
        /// A condition is true no longer.
        Resolved = "resolved",
    }
}

avro_record! {
    /// One record of `alerts`.
    pub struct Alert<'a> {
        alert_id: Cow<'a, str> = Text, "the same for the same rule, version, key, window and transition";
        rule: Cow<'a, str> = Low, "the rule that speaks";
        rule_version: Cow<'a, str> = Low, "hash of the rule as it decided";
        owner: Cow<'a, str> = Low, "the rule's owner";
        key: Cow<'a, str> = Text, "what the alert is about: a link, campaign, partner or event";
        transition: Transition = Low, "each, fired or resolved";
        window_start: Millis = Time, "start of the window (received time)";
        window_end: Millis = Time, "end of the window (received time)";
        observed: u64 = Unsigned, "events counted in the window";
        threshold: u64 = Unsigned, "the count that the rule asks for, 0 for rules that fire on every event";
        received_at: Millis = Time, "when the event or the pane behind it was received";
        sample: Cow<'a, str> = Text, "the event key of one event behind it";
        test: bool = Flag, "whether it is about test data";
        attributes: Map<'a> = Pairs, "what a message needs: link, domain, campaign, country, owner and so on";
    }
}
