//! The network of three local Kafka nodes, of which each link can be cut or made silent: between clients and a broker,
//! between two brokers, and between two nodes as controllers.
//!
//! Every address that a node tells of itself is that of a [`Proxy`] before it, by settings that `hookline up` appends
//! to those of the node (`HOOKLINE_TEST_KAFKA_SETTINGS`). Who calls is told by the process that the connection
//! belongs to.

mod process;
mod proxy;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

pub use proxy::{Callers, Mode, Proxy};

use crate::house::{House, free_address};

/// Nodes of the cluster.
pub const NODES: usize = 3;
/// The variable by which `hookline up` is told of further settings of its nodes.
const SETTINGS: &str = "HOOKLINE_TEST_KAFKA_SETTINGS";

/// What a connection to a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// Clients, to the node as a broker.
    Clients,
    /// Other brokers, to the node as a broker: replication, markers of transactions.
    Brokers,
    /// Other nodes, to the node as a controller: votes, the log of metadata, heartbeats of brokers.
    Controllers,
}

impl Plane {
    const ALL: [Self; 3] = [Self::Clients, Self::Brokers, Self::Controllers];
}

/// Where a node listens for one plane, and the proxy before it.
#[derive(Debug)]
struct Listener {
    direct: SocketAddr,
    proxy: Proxy,
}

/// Three nodes and the links between them and to them. Nodes are counted from 1.
#[derive(Debug)]
pub struct Network {
    /// By node, then by plane.
    listeners: Vec<Vec<Listener>>,
    /// Where the settings of the nodes are.
    settings: PathBuf,
}

impl Network {
    /// Makes the proxies for nodes that will run on the data folder `data`, and writes the settings of the nodes
    /// beside it, with `more` of Kafka's (`name=value`), such as those of another installation.
    ///
    /// # Errors
    /// When no ports are free, or the settings cannot be written.
    pub async fn before(data: &Path, more: &[String]) -> anyhow::Result<Self> {
        let pids: Vec<PathBuf> = (1..=NODES).map(|node| data.join(format!("kafka-{node}.pid"))).collect();
        let brokers = three_in_row()?;
        let mut listeners = Vec::new();
        for broker in brokers {
            let mut planes = Vec::new();
            for plane in Plane::ALL {
                let direct = match plane {
                    Plane::Clients => SocketAddr::from((Ipv4Addr::LOCALHOST, broker)),
                    Plane::Brokers | Plane::Controllers => free_address()?.parse()?,
                };
                let pids = pids.clone();
                let proxy = match plane {
                    Plane::Clients => Proxy::to(direct).await?,
                    Plane::Brokers | Plane::Controllers => {
                        Proxy::between(direct, NODES, Arc::new(move |peer, ours| node_at(peer, ours, &pids))).await?
                    }
                };
                planes.push(Listener { direct, proxy });
            }
            listeners.push(planes);
        }
        let settings = data.with_file_name("kafka-settings");
        let this = Self { listeners, settings };
        this.write_settings(&more.join("\n"))?;
        Ok(this)
    }

    /// Starts the engines: `hookline up --engines-only` with three nodes behind the proxies.
    ///
    /// # Errors
    /// When they are not ready in time.
    pub fn up(&self, data: &Path) -> anyhow::Result<House> {
        let settings = self.settings.to_str().context("the folder's name is text")?;
        let port = self.direct(1, Plane::Clients).context("there is a first node")?.port().to_string();
        let arguments = ["--engines-only", "--kafka-nodes", "3", "--kafka-port", &port, "--clickhouse-port", "0"];
        let mut house = House::up_as(data, &arguments, &[(SETTINGS, settings)])?;
        house.addresses.kafka = self.brokers();
        Ok(house)
    }

    /// Where clients find the brokers: at the proxies.
    #[must_use]
    pub fn brokers(&self) -> String {
        let nodes =
            (1..=NODES).filter_map(|node| Some(self.listener(node, Plane::Clients)?.proxy.address().to_string()));
        nodes.collect::<Vec<_>>().join(",")
    }

    /// Where each broker listens for clients, past all proxies, by what it tells of itself: for one who looks on.
    #[must_use]
    pub fn directory(&self) -> BTreeMap<String, String> {
        let clients = (1..=NODES).filter_map(|node| self.listener(node, Plane::Clients));
        clients.map(|one| (one.proxy.address().to_string(), one.direct.to_string())).collect()
    }

    /// Where a broker listens for clients, past its proxy.
    #[must_use]
    pub fn broker(&self, node: usize) -> Option<SocketAddr> {
        self.direct(node, Plane::Clients)
    }

    /// Sets the links of one plane to a node: of clients, or of both other nodes; those by which it calls them too.
    /// `mode` is meant for connections to the node: where requests to it are lost, so are answers that it waits for.
    pub fn set(&self, node: usize, plane: Plane, mode: Mode) {
        let set = |caller: usize, called: usize, mode| {
            if let Some(listener) = self.listener(called, plane) {
                listener.proxy.set(caller, mode);
            }
        };
        if plane == Plane::Clients {
            return set(0, node, mode);
        }
        for other in (1..=NODES).filter(|other| *other != node) {
            set(other - 1, node, mode);
            set(node - 1, other, mode.seen_from_the_other_end());
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        for listener in self.listeners.iter().flatten() {
            (0..NODES).for_each(|caller| listener.proxy.set(caller, Mode::Pass));
        }
    }

    fn listener(&self, node: usize, plane: Plane) -> Option<&Listener> {
        self.listeners.get(node.checked_sub(1)?)?.get(plane as usize)
    }

    fn direct(&self, node: usize, plane: Plane) -> Option<SocketAddr> {
        Some(self.listener(node, plane)?.direct)
    }

    fn write_settings(&self, more: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.settings)?;
        let mut voters = Vec::new();
        for (at, planes) in self.listeners.iter().enumerate() {
            voters.extend(
                planes.get(Plane::Controllers as usize).map(|one| format!("{}@{}", at + 1, one.proxy.address())),
            );
        }
        for (at, planes) in self.listeners.iter().enumerate() {
            let [mut listens, mut advertises] = [String::new(), String::new()];
            for (name, listener) in ["PLAINTEXT", "BROKERS", "CONTROLLER"].iter().zip(planes) {
                let comma = if listens.is_empty() { "" } else { "," };
                write!(listens, "{comma}{name}://{}", listener.direct)?;
                write!(advertises, "{comma}{name}://{}", listener.proxy.address())?;
            }
            let text = format!(
                "listeners={listens}\nadvertised.listeners={advertises}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=BROKERS\ncontroller.quorum.voters={}\n{more}\n",
                voters.join(",")
            );
            std::fs::write(self.settings.join(format!("kafka-{}.properties", at + 1)), text)?;
        }
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, planes) in self.listeners.iter().enumerate() {
            let ways = planes.iter().map(|one| format!("{} for {}", one.proxy.address(), one.direct));
            writeln!(f, "node {}: {}", at + 1, ways.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// The place of the node whose process has the other end of a connection.
fn node_at(peer: SocketAddr, ours: SocketAddr, pids: &[PathBuf]) -> Option<usize> {
    let pid = |file: &PathBuf| std::fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok();
    process::owner(peer, ours, &pids.iter().map(pid).collect::<Vec<_>>())
}

/// Three free ports in a row: `hookline up` gives brokers such.
fn three_in_row() -> anyhow::Result<[u16; NODES]> {
    let free = || anyhow::Ok(free_address()?.parse::<SocketAddr>()?.port());
    let mut ports = [free()?, free()?, free()?];
    while ports[1] != ports[0] + 1 || ports[2] != ports[1] + 1 {
        ports = [ports[1], ports[2], free()?];
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Whether a byte that this process sends to a node as a controller comes back.
    async fn is_echoed(network: &Network, node: usize) -> bool {
        let to = network.listener(node, Plane::Controllers).unwrap().proxy.address();
        let Ok(mut stream) = TcpStream::connect(to).await else { return false };
        let mut heard = [0];
        stream.write_all(&[7]).await.is_ok() && stream.read_exact(&mut heard).await.is_ok() && heard == [7]
    }

    #[tokio::test]
    async fn links_between_two_nodes_are_cut_with_either_of_them_and_with_no_third() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let network = Network::before(&data, &[]).await.unwrap();
        // This process is the second node; the first one answers.
        std::fs::write(data.join("kafka-2.pid"), std::process::id().to_string()).unwrap();
        let first = TcpListener::bind(network.direct(1, Plane::Controllers).unwrap()).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = first.accept().await {
                let (mut reads, mut writes) = stream.split();
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
            }
        });
        assert!(is_echoed(&network, 1).await);
        for (node, plane, passes) in [
            (1, Plane::Controllers, false),
            (2, Plane::Controllers, false),
            (3, Plane::Controllers, true),
            (1, Plane::Brokers, true),
        ] {
            network.set(node, plane, Mode::Cut);
            assert_eq!(is_echoed(&network, 1).await, passes, "{plane:?} of {node} are cut");
            network.heal();
            assert!(is_echoed(&network, 1).await, "healed");
        }
    }
}
