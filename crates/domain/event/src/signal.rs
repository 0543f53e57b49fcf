//! What `process` tells the detector: counts, never events.

use std::borrow::Cow;

use crate::avro::{Map, Millis, list_field};
use crate::avro_record;

avro_record! {
    /// How often a rule matched for a key within a pane, in one transaction of one lane.
    pub struct Signal<'a> {
        rule: Cow<'a, str> = Low, "the rule";
        rule_version: Cow<'a, str> = Low, "hash of the rule as it counted";
        key: Cow<'a, str> = Text, "what the rule counts per: a link, campaign, partner and so on";
        pane: Millis = Time, "start of the pane, by the lane's received time";
        count: u64 = Unsigned, "events of the pane in this transaction";
        late: u64 = Unsigned, "how many of them came late: 15 minutes or more after they happened";
        test: bool = Flag, "whether these are test data";
        sample: Cow<'a, str> = Text, "the event key of one of them";
        attributes: Map<'a> = Pairs, "what a message about it needs: link, domain, campaign, owner";
    }
}

list_field!(Signal<'a>, |_| crate::avro::Value::Unstored);

avro_record! {
    /// One record of `signals`: what one transaction of one lane adds to one partition, and the lane's watermark.
    pub struct SignalBatch<'a> {
        lane: u16 = Short, "the lane that speaks";
        watermark: Millis = Time, "the lane has passed this received time";
        signals: Vec<Signal<'a>> = Unstored, "the counts; empty on a tick";
    }
}
