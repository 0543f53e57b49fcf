//! What the command line says of lanes: which are ours, and which may pass their fuse.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::ensure;

/// Which share of the lanes is ours: instance `i` of `n`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instance {
    number: u16,
    of: u16,
}

impl Instance {
    /// All lanes.
    pub(crate) const ONLY: Instance = Instance { number: 1, of: 1 };

    /// The lanes of this instance.
    fn lanes(self, lanes: u16) -> Vec<u16> {
        (0..lanes).filter(|lane| lane % self.of == self.number - 1).collect()
    }
}

/// How the lanes of a stage come to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// For good, by its number.
    Fixed(Instance),
    /// By the stage's group, which shares them anew whenever an instance comes or goes.
    Joined,
}

impl Share {
    /// The lanes to start with, of so many.
    pub(crate) fn at_first(self, lanes: u16) -> Vec<u16> {
        match self {
            Self::Fixed(instance) => instance.lanes(lanes),
            Self::Joined => Vec::new(),
        }
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, of) = text.split_once('/')?;
            let this = Self { number: number.parse().ok()?, of: of.parse().ok()? };
            (1..=this.of).contains(&this.number).then_some(this)
        };
        read().ok_or_else(|| format!("{text:?} is not an instance: write i/n with i from 1 to n, such as 2/3"))
    }
}

/// A lane, and the last offset of `raw` up to which its dead letters pass the fuse.
///
/// It names an offset, so it ends by itself: left behind in a unit file, it lets nothing new pass. And it is given to the
/// start of the process, because only a start makes a lane that has halted go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PastFuse {
    lane: u16,
    last: u64,
}

impl FromStr for PastFuse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (lane, last) = text.split_once('@')?;
            Some(Self { lane: lane.parse().ok()?, last: last.parse().ok()? })
        };
        read().ok_or_else(|| format!("{text:?} is no lane and offset: write LANE@OFFSET, such as 3@1200"))
    }
}

impl PastFuse {
    /// By lane; the furthest offset counts.
    pub(crate) fn by_lane(all: &[Self], lanes: u16) -> anyhow::Result<BTreeMap<u16, u64>> {
        let mut by_lane = BTreeMap::new();
        for Self { lane, last } in all {
            ensure!(
                *lane < lanes,
                "--past-fuse {lane}@{last}: there is no lane {lane}; lanes go from 0 to {}",
                lanes - 1
            );
            let known = by_lane.entry(*lane).or_insert(*last);
            *known = (*known).max(*last);
        }
        Ok(by_lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_all_lanes_without_overlap() {
        let mut all: Vec<u16> = (1..=5).flat_map(|i| format!("{i}/5").parse::<Instance>().unwrap().lanes(12)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
        assert_eq!(Instance::ONLY.lanes(3), [0, 1, 2]);
        for wrong in ["", "1", "0/3", "4/3", "a/b", "1/0"] {
            assert!(wrong.parse::<Instance>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lane_passes_its_fuse_up_to_an_offset_and_no_other_lane_does() {
        let all: Vec<PastFuse> = ["3@7", "0@0", "3@12", "3@9"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(PastFuse::by_lane(&all, 4).unwrap(), BTreeMap::from([(0, 0), (3, 12)]));
        let unknown = PastFuse::by_lane(&all, 3).unwrap_err().to_string();
        assert!(unknown.contains("no lane 3"), "{unknown}");
        for wrong in ["", "3", "3@", "@7", "-1@7", "3@x", "3:7"] {
            assert!(wrong.parse::<PastFuse>().is_err(), "{wrong}");
        }
    }
}
