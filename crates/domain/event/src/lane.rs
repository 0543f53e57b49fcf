//! Which lane an event takes: a function of its key and of the number of lanes, nothing else.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::ids::routing_part;

/// Recorded in the `control` topic: a running system refuses a build with another partitioner.
pub const PARTITIONER_VERSION: u32 = 1;

/// The key of the partitioner's SipHash. Public on purpose: producers in other languages need it.
pub const PARTITIONER_KEY: [u8; 16] = *b"hookline.lane.v1";

/// The lane of an event key, from 0 to `lanes - 1`.
///
/// `lanes` is at least 1; 0 is taken as 1.
pub fn of_key(key: &[u8], lanes: u16) -> u16 {
    (hash(routing_part(key)) % u64::from(lanes.max(1))) as u16
}

/// The partition of a (rule, key) pair on `signals` and `detector-state`.
pub fn of_rule_key(rule: &str, key: &str, partitions: u16) -> u16 {
    let mut hasher = SipHasher24::new_with_key(&PARTITIONER_KEY);
    hasher.write_u64(rule.len() as u64);
    hasher.write(rule.as_bytes());
    hasher.write(key.as_bytes());
    (hasher.finish() % u64::from(partitions.max(1))) as u16
}

/// The partition of a name (a rule on `alerts`, a source on `dead-letters`).
///
/// Records on `deliveries` follow the alerts that they are about: the notifier's lane of partition `p` of `alerts` writes
/// all of its own to partition `p % partitions` of `deliveries`, whatever their destination.
pub fn of_name(name: &str, partitions: u16) -> u16 {
    (hash(name.as_bytes()) % u64::from(partitions.max(1))) as u16
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&PARTITIONER_KEY);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventKey;

    #[test]
    fn lifecycle_events_of_one_link_share_a_lane() {
        let lanes: Vec<u16> = (0..50)
            .map(|n| of_key(EventKey::of_link("link_1", &format!("edited {n}")).as_str().as_bytes(), 12))
            .collect();
        assert!(lanes.iter().all(|lane| *lane == lanes[0]));
        assert_eq!(lanes[0], of_key(b"link_1", 12));
    }

    #[test]
    fn the_lane_of_a_key_never_changes() {
        // These values are on disk everywhere: a change of the partitioner is a new PARTITIONER_VERSION.
        let lanes: Vec<u16> =
            ["a", "b", "click:yNrYm0F6r1KMnq6N"].iter().map(|key| of_key(key.as_bytes(), 12)).collect();
        assert_eq!(lanes, [2, 9, 9]);
    }

    #[test]
    fn keys_spread_evenly_over_lanes() {
        let mut counts = [0u32; 4];
        (0..40_000).for_each(|n| counts[usize::from(of_key(format!("click:{n}").as_bytes(), 4))] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
