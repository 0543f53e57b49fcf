//! What became of a message: the plan, its attempts, its end.

use std::borrow::Cow;

use crate::avro::Millis;
use crate::{avro_names, avro_record};

avro_names! {
    /// Where a bundle stands.
    pub enum DeliveryStage {
        /// Alerts that wait for their message's time.
        Held = "held",
        /// Frozen and owed to its destination.
        #[default]
        Planned = "planned",
        /// Tried, and to be tried again.
        Attempted = "attempted",
        /// The destination took it.
        Delivered = "delivered",
        /// Given up: the destination refuses it for good, or time ran out.
        Failed = "failed",
        /// Alerts that nobody gets: a silence covers their rule.
        Silenced = "silenced",
    }
}

avro_record! {
    /// One record of `deliveries`: a step in the life of one bundle at one destination.
    pub struct Delivery<'a> {
        bundle_id: Cow<'a, str> = Text, "the same over every retry and crash; the webhook-id of a signed webhook";
        destination: Cow<'a, str> = Low, "the configured destination";
        owner: Cow<'a, str> = Low, "the destination's owner";
        rule: Cow<'a, str> = Low, "the rule whose alerts are bundled";
        group: Cow<'a, str> = Text, "what the bundle is about";
        stage: DeliveryStage = Low, "held, planned, attempted, delivered, failed or silenced";
        at: Millis = Time, "when this step was taken";
        not_before: Millis = Time, "held: when it is planned; planned: when it may first be sent; attempted: when it is tried again";
        first_received_at: Millis = Time, "when the oldest event behind it was received";
        attempt: u16 = Short, "attempts so far";
        status: u16 = Short, "the HTTP status of the attempt, 0 when there was none";
        error: Cow<'a, str> = Text, "why the attempt failed, or which silence covers it";
        test: bool = Flag, "whether it is about test data, which goes to the capture sink";
        alert_ids: Vec<Cow<'a, str>> = Names, "held: the alerts that came; planned: the first 1,000 alerts in it, frozen; silenced: those that nobody gets";
        body: Cow<'a, str> = Text, "held: what the alerts come to (JSON); planned: what is sent, frozen (JSON)";
    }
}
