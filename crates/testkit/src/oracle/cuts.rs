//! Parts of the network of three brokers that fail, and how long each lane stands still meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::availability::{Lane, MARKERS, STAGES};
use super::brokers::Cluster;
use crate::network::{Mode, NODES, Network, Plane};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// For the cluster to tell who leads it.
const TELLS_WITHIN: Duration = Duration::from_secs(30);

/// The network of a run, and how long each fault of it lasts.
#[derive(Debug, Clone)]
pub struct Cuts {
    /// The links.
    pub network: Arc<Network>,
    /// From the fault to the moment at which everything passes again.
    pub lasting: Duration,
}

/// Which links of a node fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Links {
    /// Those to clients.
    Clients,
    /// Those to other brokers.
    Brokers,
    /// Those to other nodes as controllers.
    Controllers,
    /// Those to other nodes, of both kinds.
    Nodes,
    /// All.
    All,
}

/// Which node it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// This one, from 1.
    Node(u8),
    /// The active controller.
    Controller,
    /// The broker that leads most partitions of `raw`.
    Leader,
}

/// What happens to the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Connections are reset, and new ones too.
    Cut,
    /// Connections stay open, and nothing arrives either way.
    Silent,
    /// As [`How::Silent`], but only what is sent to the node is held back.
    NothingArrives,
    /// As [`How::Silent`], but only what the node sends is held back.
    NothingLeaves,
}

/// A fault of the network; written `clients:1:silent`, `controllers:active:cut`, `nodes:2:nothing-leaves`,
/// `all:leader:silent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Which links.
    pub links: Links,
    /// Of which node.
    pub which: Which,
    /// What happens to them.
    pub how: How,
}

const LINKS: [(&str, Links); 5] = [
    ("clients", Links::Clients),
    ("brokers", Links::Brokers),
    ("controllers", Links::Controllers),
    ("nodes", Links::Nodes),
    ("all", Links::All),
];
const HOW: [(&str, How); 4] = [
    ("cut", How::Cut),
    ("silent", How::Silent),
    ("nothing-arrives", How::NothingArrives),
    ("nothing-leaves", How::NothingLeaves),
];

impl Links {
    fn planes(self) -> &'static [Plane] {
        match self {
            Self::Clients => &[Plane::Clients],
            Self::Brokers => &[Plane::Brokers],
            Self::Controllers => &[Plane::Controllers],
            Self::Nodes => &[Plane::Brokers, Plane::Controllers],
            Self::All => &[Plane::Clients, Plane::Brokers, Plane::Controllers],
        }
    }
}

impl Fault {
    /// One round: each broker silent to its clients, each cut from the other nodes, the controller lost, and faults
    /// that go one way.
    pub const ROUND: [Self; 10] = [
        Self::of(Links::Controllers, Which::Controller, How::Cut),
        Self::of(Links::Clients, Which::Leader, How::Silent),
        Self::of(Links::Nodes, Which::Node(1), How::Cut),
        Self::of(Links::Clients, Which::Node(2), How::Silent),
        Self::of(Links::Nodes, Which::Node(2), How::Cut),
        Self::of(Links::Nodes, Which::Leader, How::NothingLeaves),
        Self::of(Links::Clients, Which::Node(3), How::Silent),
        Self::of(Links::Nodes, Which::Node(3), How::Cut),
        Self::of(Links::All, Which::Leader, How::Silent),
        Self::of(Links::Clients, Which::Node(1), How::NothingLeaves),
    ];

    const fn of(links: Links, which: Which, how: How) -> Self {
        Self { links, which, how }
    }

    /// Whether Kafka notices, and gives what the node led to the two others: it hears of a node from the controllers
    /// alone.
    pub(crate) fn is_seen_by_kafka(self) -> bool {
        self.links.planes().contains(&Plane::Controllers)
    }

    fn start(self, network: &Network, node: usize) {
        let mode = match self.how {
            How::Cut => Mode::Cut,
            How::Silent => Mode::Silent,
            How::NothingArrives => Mode::RequestsLost,
            How::NothingLeaves => Mode::AnswersLost,
        };
        self.links.planes().iter().for_each(|plane| network.set(node, *plane, mode));
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = LINKS.iter().find(|(_, links)| *links == self.links).map_or("", |(name, _)| name);
        let how = HOW.iter().find(|(_, how)| *how == self.how).map_or("", |(name, _)| name);
        match self.which {
            Which::Node(number) => write!(f, "{links}:{number}:{how}"),
            Which::Controller => write!(f, "{links}:active:{how}"),
            Which::Leader => write!(f, "{links}:leader:{how}"),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let unknown = || {
            let round = Fault::ROUND.map(|fault| fault.to_string()).join(" ");
            format!("{text:?} names no fault; faults are such as {round}")
        };
        let [links, which, how] = text.split(':').collect::<Vec<_>>()[..] else { bail!(unknown()) };
        let which = match which {
            "active" => Which::Controller,
            "leader" => Which::Leader,
            number => Which::Node(number.parse().ok().filter(|number| (1..=3).contains(number)).with_context(unknown)?),
        };
        Ok(Self {
            links: LINKS.iter().find(|(name, _)| *name == links).with_context(unknown)?.1,
            which,
            how: HOW.iter().find(|(name, _)| *name == how).with_context(unknown)?.1,
        })
    }
}

/// How long a lane stood still at most, in seconds, and where.
pub(crate) type Stood = BTreeMap<Lane, f64>;

impl Cuts {
    /// Lets a fault begin.
    pub(crate) async fn begin(&self, fault: Fault) -> anyhow::Result<Cut<'_>> {
        let node = self.node(fault.which).await?;
        let before = self.look().await;
        ensure!(!before.is_empty(), "no lane is known before {fault}");
        let led = self.leaders().await;
        let begun = Instant::now();
        fault.start(&self.network, node);
        Ok(Cut { cuts: self, fault, node, led, begun, watched: Watched::from(&before, begun) })
    }

    async fn node(&self, which: Which) -> anyhow::Result<usize> {
        let deadline = Instant::now() + TELLS_WITHIN;
        loop {
            let found = match which {
                Which::Node(number) => return Ok(usize::from(number)),
                Which::Controller => self.controller().await,
                Which::Leader => self.leads_most().await,
            };
            match found {
                Ok(node) if (1..=NODES).contains(&node) => return Ok(node),
                Ok(node) => ensure!(Instant::now() < deadline, "node {node} does not exist"),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn controller(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.seen_by(1).await?.controller().await?)?)
    }

    async fn leads_most(&self) -> anyhow::Result<usize> {
        let seen = self.seen_by(1).await?;
        let mut led: BTreeMap<i32, usize> = BTreeMap::new();
        for partition in seen.topics.get("hookline.raw.v1").context("raw is not there")?.values() {
            *led.entry(partition.leader).or_default() += 1;
        }
        let (leader, _) = led.into_iter().max_by_key(|(_, count)| *count).context("raw has no partition")?;
        Ok(usize::try_from(leader)?)
    }

    /// Who leads the partitions of `raw`, as each broker sees it.
    async fn leaders(&self) -> String {
        let mut words = Vec::new();
        for node in 1..=NODES {
            let Ok(seen) = self.seen_by(node).await else {
                words.push(format!("{node} tells nothing"));
                continue;
            };
            let leaders = seen.topics.get("hookline.raw.v1").into_iter().flatten();
            words.push(format!("{node} says {:?}", leaders.map(|(_, one)| one.leader).collect::<Vec<_>>()));
        }
        format!("leaders of raw: {}", words.join(", "))
    }

    async fn seen_by(&self, node: usize) -> anyhow::Result<Cluster> {
        let address = self.network.broker(node).context("the node is one of three")?.to_string();
        Cluster::seen_past_proxies(&address, &self.network.directory()).await
    }

    /// Where every lane is and how far it may read: the most that any broker knows, since one that is cut off knows
    /// only of before.
    async fn look(&self) -> BTreeMap<Lane, Place> {
        let (one, two, three) = tokio::join!(self.told_by(1), self.told_by(2), self.told_by(3));
        let mut places: BTreeMap<Lane, Place> = BTreeMap::new();
        for (lane, told) in [one, two, three].into_iter().flatten() {
            let place = places.entry(lane).or_default();
            (place.at, place.stable) = (place.at.max(told.at), place.stable.max(told.stable));
        }
        places
    }

    async fn told_by(&self, node: usize) -> BTreeMap<Lane, Place> {
        let mut places = BTreeMap::new();
        let Ok(cluster) = self.seen_by(node).await else { return places };
        let ends = cluster.stable(&STAGES.map(|(_, _, topic, _)| topic)).await;
        for (number, (_, group, topic, _)) in STAGES.into_iter().enumerate() {
            let committed = cluster.committed(group, topic).await.unwrap_or_default();
            for id in cluster.topics.get(topic).into_iter().flat_map(BTreeMap::keys) {
                let (at, stable) = (committed.get(id).copied(), ends.get(&(topic.to_owned(), *id)).copied());
                if at.is_some() || stable.is_some() {
                    places.insert((number, *id), Place { at: at.unwrap_or(-1), stable: stable.unwrap_or(-1) });
                }
            }
        }
        places
    }
}

/// A fault that lasts.
pub(crate) struct Cut<'a> {
    cuts: &'a Cuts,
    fault: Fault,
    node: usize,
    /// Who led what when it began.
    led: String,
    begun: Instant,
    watched: Watched,
}

impl Cut<'_> {
    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.cuts.lasting
    }

    /// Takes note of where every lane is.
    pub(crate) async fn look(&mut self) {
        let places = self.cuts.look().await;
        self.watched.take(&places, Instant::now());
    }

    /// Lets everything pass again. Returns how long each lane stood still meanwhile, and who leads what now.
    pub(crate) async fn end(self) -> (Stood, String) {
        let led = self.cuts.leaders().await;
        self.cuts.network.heal();
        (self.watched.stood(Instant::now()), format!("{}: passes again; {led}", self.fault))
    }
}

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: node {}, for {:?}; {}", self.fault, self.node, self.cuts.lasting, self.led)
    }
}

/// Where a lane is, and how far it may read; below 0 what no broker has told.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: i64,
    stable: i64,
}

impl Default for Place {
    fn default() -> Self {
        Self { at: -1, stable: -1 }
    }
}

/// Lanes as they are looked at again and again.
struct Watched {
    places: BTreeMap<Lane, Place>,
    /// Since when a lane has something to read and does not move.
    still: BTreeMap<Lane, Instant>,
    longest: Stood,
}

impl Watched {
    fn from(before: &BTreeMap<Lane, Place>, begun: Instant) -> Self {
        let still = before.iter().filter(|(_, place)| place.stable - place.at > MARKERS);
        let still = still.map(|(lane, _)| (*lane, begun)).collect();
        let longest = before.keys().map(|lane| (*lane, 0.0)).collect();
        Self { places: before.clone(), still, longest }
    }

    fn take(&mut self, seen: &BTreeMap<Lane, Place>, now: Instant) {
        for (lane, known) in &mut self.places {
            // What no broker tells now is as it was.
            let told = seen.get(lane).copied().unwrap_or_default();
            let (moved, stable) = (told.at > known.at, told.stable.max(known.stable));
            *known = Place { at: told.at.max(known.at), stable };
            if moved || stable - known.at <= MARKERS {
                if let Some(since) = self.still.remove(lane) {
                    longest(&mut self.longest, *lane, now - since);
                }
            } else {
                self.still.entry(*lane).or_insert(now);
            }
        }
    }

    fn stood(mut self, now: Instant) -> Stood {
        for (lane, since) in self.still {
            longest(&mut self.longest, lane, now - since);
        }
        self.longest
    }
}

fn longest(stood: &mut Stood, lane: Lane, time: Duration) {
    let longest = stood.entry(lane).or_default();
    *longest = longest.max(time.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        for fault in Fault::ROUND {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
        assert_eq!("nodes:2:nothing-leaves".parse::<Fault>().unwrap().to_string(), "nodes:2:nothing-leaves");
        assert!("clients:4:silent".parse::<Fault>().is_err() && "clients:1".parse::<Fault>().is_err());
    }

    #[test]
    fn a_lane_stands_still_while_it_has_something_to_read_and_does_not_move() {
        let begun = Instant::now();
        let at = |second: u64| begun + Duration::from_secs(second);
        let seen = |at, stable| BTreeMap::from([((0, 0), Place { at, stable })]);
        let mut watched = Watched::from(&seen(5, 5), begun);
        watched.take(&seen(5, 5), at(1)); // nothing to read
        watched.take(&seen(5, 50), at(2));
        watched.take(&BTreeMap::new(), at(5)); // no broker tells
        watched.take(&seen(-1, 60), at(6)); // its position alone is not told
        watched.take(&seen(9, 70), at(9));
        watched.take(&seen(9, 70), at(10));
        assert_eq!(watched.stood(at(14)), BTreeMap::from([((0, 0), 7.0)]));
        let mut watched = Watched::from(&seen(5, 50), begun);
        watched.take(&seen(5, 50), at(1));
        assert_eq!(watched.stood(at(3)), BTreeMap::from([((0, 0), 3.0)]), "one that lagged before the fault");
    }
}
