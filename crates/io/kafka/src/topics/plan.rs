//! How each topic shall be: partitions, retention, and the settings that delivery rests on.

use std::time::Duration;

use super::Topic;
use crate::salts::OUTLIVES_RAW;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The largest batch that a topic takes, in bytes as compressed by the producer; producers of this crate send at most
/// 2,000,000. A body is at most 256 KiB and an event or a changelog entry made of it far below a MiB.
const MAX_MESSAGE_BYTES: i64 = 2 * 1024 * 1024;

/// How often a broker looks what retention may delete (`log.retention.check.interval.ms`), and a minute until it has.
const RETENTION_CHECK: Duration = Duration::from_secs(6 * 60);

/// How the topics shall be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Partitions of `raw`, `events` and `seen`. Never changed in place.
    pub lanes: u16,
    /// Partitions of `signals` and `detector-state`. Never changed in place.
    pub signal_partitions: u16,
    /// Partitions of `alerts`.
    pub alert_partitions: u16,
    /// Partitions of `deliveries`.
    pub delivery_partitions: u16,
    /// Partitions of `dead-letters`.
    pub dead_letter_partitions: u16,
    /// Copies of each partition; with 3 or more, 2 must have a record before it is acknowledged.
    pub replication: u16,
    /// How long `raw` is kept.
    pub raw_retention: Duration,
    /// How long `events` is kept.
    pub events_retention: Duration,
    /// The dedupe window; `seen` is kept six hours longer.
    pub window: Duration,
    /// How long to wait for brokers, creation and leaders.
    pub patience: Duration,
}

impl Plan {
    /// The retentions of the design: 7 days of `raw` and `events`, a window of 7 days.
    #[must_use]
    pub fn new(lanes: u16, replication: u16) -> Self {
        Self {
            lanes,
            signal_partitions: lanes.clamp(1, 8),
            alert_partitions: 1,
            delivery_partitions: 1,
            dead_letter_partitions: 1,
            replication,
            raw_retention: 7 * DAY,
            events_retention: 7 * DAY,
            window: 7 * DAY,
            patience: Duration::from_secs(30),
        }
    }

    /// The number of partitions of a topic under this plan.
    #[must_use]
    pub fn partitions(&self, topic: Topic) -> u16 {
        match topic {
            Topic::Raw | Topic::Events | Topic::Seen => self.lanes,
            Topic::Signals | Topic::DetectorState => self.signal_partitions,
            Topic::Alerts => self.alert_partitions,
            Topic::Deliveries => self.delivery_partitions,
            Topic::DeadLetters => self.dead_letter_partitions,
            Topic::Links | Topic::Salts | Topic::Control => 1,
        }
    }

    /// `None`: compacted, kept for good.
    pub(crate) fn retention(&self, topic: Topic) -> Option<Duration> {
        match topic {
            Topic::Raw => Some(self.raw_retention),
            Topic::Events => Some(self.events_retention),
            Topic::Seen => Some(self.window + 6 * HOUR),
            Topic::Signals => Some(2 * DAY),
            Topic::Alerts | Topic::Deliveries | Topic::DeadLetters => Some(30 * DAY),
            Topic::Salts => Some(self.raw_retention + OUTLIVES_RAW),
            Topic::DetectorState | Topic::Links | Topic::Control => None,
        }
    }

    /// After how long a record of a topic is gone for certain: when its segment, closed in time, was old enough, and
    /// the broker has looked. `None`: compacted.
    #[must_use]
    pub fn gone_after(&self, topic: Topic) -> Option<Duration> {
        let retention = self.retention(topic)?;
        Some(retention + segment(retention) + RETENTION_CHECK)
    }

    pub(super) fn settings(&self, topic: Topic) -> Vec<Setting> {
        let min_insync = if self.replication >= 3 { 2 } else { 1 };
        let mut settings = vec![
            Setting::exact("unclean.leader.election.enable", "false"),
            Setting::at_least("min.insync.replicas", min_insync),
            Setting::at_least("max.message.bytes", MAX_MESSAGE_BYTES),
            Setting::advised("compression.type", "producer"),
        ];
        // By the writer's clock, a broker would refuse what a clock says that is an hour ahead, and delete too early what one says that
        // is days behind. For `raw` it is the lane's time besides.
        let stamp = ("message.timestamp.type", "LogAppendTime");
        settings.push(match topic {
            Topic::Raw => Setting::exact(stamp.0, stamp.1),
            _ => Setting::advised(stamp.0, stamp.1),
        });
        match self.retention(topic) {
            Some(retention) => {
                let seen = topic == Topic::Seen;
                let millis = millis(retention);
                settings.extend([
                    Setting::exact("cleanup.policy", "delete"),
                    // A shorter `seen` would forget keys inside the window.
                    if seen {
                        Setting::at_least("retention.ms", millis)
                    } else {
                        Setting::advised("retention.ms", millis)
                    },
                    if seen {
                        Setting::exact("retention.bytes", "-1")
                    } else {
                        Setting::advised("retention.bytes", "-1")
                    },
                    Setting::advised("segment.ms", self::millis(segment(retention))),
                    Setting::advised("segment.bytes", 256 * 1024 * 1024),
                ]);
            }
            None => settings.extend([
                Setting::exact("cleanup.policy", "compact"),
                Setting::advised("segment.ms", millis(6 * HOUR)),
                Setting::advised("segment.bytes", 64 * 1024 * 1024),
                Setting::advised("min.cleanable.dirty.ratio", "0.2"),
            ]),
        }
        settings
    }
}

/// How long a segment takes records. A closed one is what retention deletes: an eighth of the retention, so that what
/// is due is deleted in time (personal data rests in raw and dead-letters), and an hour at most for the first day of a
/// quiet topic.
fn segment(retention: Duration) -> Duration {
    (retention / 8).clamp(HOUR / 6, 12 * HOUR)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One configuration entry of a topic, and what it means when an existing topic differs.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) rule: Rule,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Delivery rests on this very value: another refuses to start.
    Exact,
    /// Delivery rests on at least this number; −1 stands for no limit.
    AtLeast,
    /// The operator may know better: a difference is logged.
    Advised,
}

impl Setting {
    fn exact(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: value.to_string(), rule: Rule::Exact }
    }
    fn at_least(name: &'static str, value: i64) -> Self {
        Self { name, value: value.to_string(), rule: Rule::AtLeast }
    }
    fn advised(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: value.to_string(), rule: Rule::Advised }
    }

    pub(super) fn is_met_by(&self, found: &str) -> bool {
        match self.rule {
            Rule::Exact | Rule::Advised => found == self.value,
            Rule::AtLeast => match (found.parse::<i64>(), self.value.parse::<i64>()) {
                (Ok(-1), _) => true,
                (Ok(found), Ok(wanted)) => found >= wanted,
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(plan: &Plan, topic: Topic, name: &str) -> String {
        plan.settings(topic).into_iter().find(|setting| setting.name == name).unwrap().value
    }

    #[test]
    fn seen_outlives_the_window_by_six_hours_and_a_shorter_one_is_refused() {
        let plan = Plan::new(4, 1);
        let wanted = setting(&plan, Topic::Seen, "retention.ms");
        assert_eq!(wanted, ((7 * 24 + 6) * 3_600_000).to_string());
        let rule = plan.settings(Topic::Seen).into_iter().find(|setting| setting.name == "retention.ms").unwrap();
        assert!(rule.is_met_by("-1") && rule.is_met_by(&wanted) && !rule.is_met_by("604800000"));
        assert_eq!(rule.rule, Rule::AtLeast);
    }

    #[test]
    fn a_record_is_gone_once_its_segment_is_old_enough() {
        let plan = Plan::new(4, 1);
        let hours = |topic| plan.gone_after(topic).map(|after| after.as_secs() / 3_600);
        assert_eq!((hours(Topic::Raw), hours(Topic::DeadLetters)), (Some(7 * 24 + 12), Some(30 * 24 + 12)));
        assert_eq!((hours(Topic::Signals), hours(Topic::Links)), (Some(2 * 24 + 6), None));
    }

    #[test]
    fn salts_outlive_the_records_that_need_them() {
        let plan = Plan { raw_retention: 2 * DAY, ..Plan::new(4, 1) };
        assert_eq!(setting(&plan, Topic::Salts, "retention.ms"), (5 * 24 * 3_600_000).to_string());
    }

    #[test]
    fn three_replicas_need_two_in_sync() {
        assert_eq!(setting(&Plan::new(4, 3), Topic::Raw, "min.insync.replicas"), "2");
        assert_eq!(setting(&Plan::new(4, 1), Topic::Raw, "min.insync.replicas"), "1");
    }

    #[test]
    fn every_topic_is_stamped_by_the_broker_and_raw_does_not_go_without() {
        for topic in Topic::ALL {
            let settings = Plan::new(4, 1).settings(topic);
            let stamp = settings.iter().find(|setting| setting.name == "message.timestamp.type").unwrap();
            assert_eq!(stamp.value, "LogAppendTime", "{topic:?}");
            assert_eq!(stamp.rule == Rule::Exact, topic == Topic::Raw, "{topic:?}");
        }
    }
}
