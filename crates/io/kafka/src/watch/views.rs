//! What each of several brokers says of leaders, asked of that broker alone.
//!
//! A broker that the controllers do not reach any more is fenced by them, and others lead what it led; it does not hear
//! of that, and goes on. A client that asks it is told that it leads, and a reader gets an empty answer from it to each
//! fetch, without an error, for as long as it is cut off. librdkafka asks the broker that it used last, so such a
//! reader never hears of the new leader. Two brokers that agree against one know better.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use runtime::disposal::Aside;
use runtime::progress::Board;
use runtime::{Shutdown, Telemetry};

use super::{Place, WatchError};
use crate::cluster::{Cluster, Elsewhere, Quiet};
use crate::groups;
use crate::positions::asking;

/// How often the brokers are asked.
const TURN: Duration = Duration::from_secs(1);
/// How long one broker has to answer: one that is silent must not keep the answers of the others from being compared.
const ASK: Duration = Duration::from_millis(700);
/// The brokers that are asked, of however many there are: two that agree are right.
const MOST: usize = 3;
/// How often a cluster with fewer brokers than it takes to compare is looked at, in case it grows.
const ALONE: Duration = Duration::from_secs(30);
/// A broker that says otherwise for so long has not only heard later. That new clients begin elsewhere for a moment
/// costs nothing.
const AT_ODDS: Duration = Duration::from_secs(1);

/// Who leads, as the most of those that were asked say. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaders(Arc<Mutex<BTreeMap<Place, i32>>>);

impl Leaders {
    /// The broker that leads a partition; none while there are not two that agree.
    pub(super) fn of(&self, place: Place) -> Option<i32> {
        self.lock().get(&place).copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one broker says: who leads each partition that it knows of.
type View = BTreeMap<Place, i32>;

/// What several views come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Agreed {
    /// Who leads, where two views at least agree and most do.
    leaders: View,
    /// The brokers, by their ids, that say otherwise.
    at_odds: BTreeSet<i32>,
    /// Those that say nothing else. One that no two others can be held against is in neither.
    in_line: BTreeSet<i32>,
}

fn agreed(views: &BTreeMap<i32, View>) -> Agreed {
    let places: BTreeSet<Place> = views.values().flat_map(BTreeMap::keys).copied().collect();
    let Agreed { mut leaders, mut at_odds, mut in_line } = Agreed::default();
    for place in places {
        let mut said: BTreeMap<i32, usize> = BTreeMap::new();
        for leader in views.values().filter_map(|view| view.get(&place)) {
            *said.entry(*leader).or_default() += 1;
        }
        let Some((leader, times)) =
            said.iter().max_by_key(|(_, times)| **times).map(|(leader, times)| (*leader, *times))
        else {
            continue;
        };
        if times < 2 || times * 2 <= said.values().sum() || leader < 0 {
            continue;
        }
        leaders.insert(place, leader);
        for (broker, said) in views.iter().filter_map(|(broker, view)| Some((*broker, *view.get(&place)?))) {
            if said == leader {
                in_line.insert(broker)
            } else {
                at_odds.insert(broker)
            };
        }
    }
    in_line.retain(|broker| !at_odds.contains(broker));
    Agreed { leaders, at_odds, in_line }
}

/// Starts the thread that asks. It ends after the stop is given.
pub(super) fn start(
    cluster: &Cluster,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<(Leaders, JoinHandle<()>), WatchError> {
    let leaders = Leaders::default();
    let beat = telemetry.beats.register("lane watch", "lane watch, leaders");
    let mut asked = Asked {
        cluster: cluster.clone(),
        any: asking(cluster, groups::WATCH, "read_uncommitted")?,
        brokers: BTreeMap::new(),
        at_odds: BTreeMap::new(),
    };
    let (board, told, stop) = (telemetry.board.clone(), leaders.clone(), shutdown.clone());
    let thread = std::thread::Builder::new().name("lane-leaders".into()).spawn(move || {
        while !stop.is_stopping() {
            beat.tick();
            let begun = Instant::now();
            let turn = if asked.look(&board, &told) { TURN } else { ALONE };
            while begun.elapsed() < turn && !stop.is_stopping() {
                beat.tick();
                std::thread::park_timeout(TURN);
            }
        }
    })?;
    Ok((leaders, thread))
}

/// A broker, and a client that asks no other.
struct Broker {
    address: String,
    client: Aside<BaseConsumer<Quiet>>,
}

struct Asked {
    cluster: Cluster,
    /// Tells which brokers there are.
    any: Aside<BaseConsumer<Quiet>>,
    brokers: BTreeMap<i32, Broker>,
    /// Since when a broker says otherwise.
    at_odds: BTreeMap<i32, Instant>,
}

impl Asked {
    /// Asks all once. Whether there is something to compare.
    fn look(&mut self, board: &Board, told: &Leaders) -> bool {
        if self.brokers.len() < MOST {
            self.meet();
        }
        if self.brokers.len() < 2 {
            return false;
        }
        let topics: BTreeSet<&'static str> =
            board.lanes().iter().filter_map(|(_, progress)| Some(progress.look()?.input.topic)).collect();
        let mut views = BTreeMap::new();
        self.brokers.retain(|id, broker| match view(*id, broker, &topics) {
            Ok(view) => {
                views.insert(*id, view);
                true
            }
            Err(No::Answer) => true,
            Err(No::View) => false,
        });
        let agreed = agreed(&views);
        self.note(&views, &agreed);
        *told.lock() = agreed.leaders;
        true
    }

    /// Lets new clients begin at brokers that are not at odds with the others.
    fn note(&mut self, views: &BTreeMap<i32, View>, Agreed { at_odds, in_line, .. }: &Agreed) {
        let now = Instant::now();
        // One that does not answer, or that too few others can be held against now, is as it was.
        self.at_odds.retain(|broker, _| !in_line.contains(broker));
        at_odds.iter().for_each(|broker| {
            self.at_odds.entry(*broker).or_insert(now);
        });
        let stale = |broker: &i32| self.at_odds.get(broker).is_some_and(|since| now - *since >= AT_ODDS);
        let known = views.keys().filter(|broker| !stale(broker)).filter_map(|broker| self.brokers.get(broker));
        let good: Vec<&str> = known.map(|broker| &*broker.address).collect();
        let stale: BTreeSet<i32> = self.at_odds.keys().copied().filter(stale).collect();
        let is_known = !stale.is_empty() && !good.is_empty();
        let elsewhere = is_known.then(|| Elsewhere { brokers: good.join(","), stale: stale.clone() });
        let was_known = self.cluster.brokers_disagree();
        self.cluster.begin_at(elsewhere);
        if is_known && !was_known {
            tracing::warn!(
                brokers = ?stale,
                "brokers name leaders that the others have replaced: the controllers do not reach them; new clients begin at {}",
                good.join(",")
            );
        } else if was_known && !is_known {
            tracing::info!("all brokers name the same leaders again");
        }
    }

    /// Makes clients for brokers that have none yet.
    fn meet(&mut self) {
        let Ok(metadata) = self.any.fetch_metadata(Some(crate::Topic::Raw.name()), ASK * 3) else { return };
        if metadata.brokers().len() < 2 {
            return;
        }
        for broker in metadata.brokers() {
            let (id, address) = (broker.id(), format!("{}:{}", broker.host(), broker.port()));
            if self.brokers.len() >= MOST || self.brokers.contains_key(&id) {
                continue;
            }
            let mut alone = Cluster::new(&*address);
            alone.properties.clone_from(&self.cluster.properties);
            match asking(&alone, groups::WATCH, "read_uncommitted") {
                Ok(client) => drop(self.brokers.insert(id, Broker { address, client })),
                Err(error) => tracing::error!(%error, "no client to ask a broker who leads"),
            }
        }
    }
}

/// Why a broker's view is not known.
enum No {
    /// It does not answer now.
    Answer,
    /// Another answered: the client goes to one where its own is away, and stays there. It is made anew.
    View,
}

fn view(id: i32, broker: &Broker, topics: &BTreeSet<&'static str>) -> Result<View, No> {
    let mut view = View::new();
    let until = Instant::now() + ASK;
    for topic in topics {
        let left = until.saturating_duration_since(Instant::now());
        let metadata = broker.client.fetch_metadata(Some(*topic), left).map_err(|_| No::Answer)?;
        if metadata.orig_broker_id() != id {
            return Err(No::View);
        }
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            if let Ok(number) = u16::try_from(partition.id()) {
                view.insert((*topic, number), partition.leader());
            }
        }
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(leaders: &[i32]) -> View {
        (0..).zip(leaders).map(|(partition, leader)| (("raw", partition), *leader)).collect()
    }

    #[test]
    fn two_that_agree_are_right_and_one_that_says_otherwise_is_at_odds() {
        let views = BTreeMap::from([(1, view(&[1, 2, 1])), (2, view(&[2, 2, 3])), (3, view(&[2, 2, 3]))]);
        let (at_odds, in_line) = (BTreeSet::from([1]), BTreeSet::from([2, 3]));
        assert_eq!(agreed(&views), Agreed { leaders: view(&[2, 2, 3]), at_odds, in_line });
        let views = BTreeMap::from([(1, view(&[1, 2])), (2, view(&[2, 2]))]);
        let (leaders, in_line) = (View::from([(("raw", 1), 2)]), BTreeSet::from([1, 2]));
        let agree = Agreed { leaders, in_line, at_odds: BTreeSet::new() };
        assert_eq!(agreed(&views), agree, "of two that disagree neither is right");
        for one in [&[1][..], &[1, 2, 3], &[1, -1, -1]] {
            let views = (1..).zip(one.iter().map(|leader| view(&[*leader]))).collect();
            assert_eq!(agreed(&views), Agreed::default(), "{one:?}");
        }
    }
}
