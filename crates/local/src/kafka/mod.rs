//! Apache Kafka in KRaft mode: each node is broker and controller in one JVM; one node, or three that keep each record on two
//! disks at least.

mod classes;
mod folders;
mod properties;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::data_dir::DataDir;
use crate::engines::Options;
use crate::java::Java;
use crate::port::Claims;
use crate::supervise::Engine;
use crate::{fetch, leash, probe};
use classes::Classes;
use folders::Folders;
use properties::{Ports, properties};

/// The JVM: the serial collector starts faster and holds less than the default one. Out of memory ends it, so that it is
/// started again instead of limping on.
const JVM: [&str; 4] =
    ["-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"];
/// Its log: times, and not the list of several hundred settings at every start.
const LOGGING: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
];
/// Files of the data folder whose first word is the process id of a running node, whatever their number.
pub(crate) const PIDS: [&str; 4] = ["kafka.pid", "kafka-1.pid", "kafka-2.pid", "kafka-3.pid"];

/// A Kafka that is ready to be run by a supervisor.
pub(crate) struct Kafka {
    nodes: Vec<Arc<Node>>,
    folders: Folders,
}

/// One node of it.
struct Node {
    /// From 1.
    id: usize,
    executable: PathBuf,
    class_path: String,
    folders: Folders,
    cluster_id: String,
    classes: Option<Classes>,
    /// Of all nodes, in the order of their ids.
    ports: Vec<Ports>,
    /// Where further settings may be.
    settings: Option<PathBuf>,
    has_run: AtomicBool,
}

impl Kafka {
    /// Fetches and configures it. `nodes`: 1 or 3; without it as many as the data folder has, one at first. `port` is that of
    /// the first broker, the others have the next ones; 0 picks free ones. `patient`: an earlier run may just be ending.
    pub(crate) async fn prepare(
        data: &DataDir,
        options: &Options,
        claims: &Claims,
        patient: bool,
    ) -> anyhow::Result<Self> {
        let Options { executable, kafka_port: port, kafka_nodes: nodes, kafka_settings, progress, .. } = options;
        let folders = Folders::of(data.root(), *nodes)?;
        folders.may_format()?;
        let cluster_id = folders.cluster_id()?;
        let brokers = brokers(*port, folders.nodes(), claims, patient).await?;
        let controllers = claims.several(folders.nodes()).context("for Kafka's controllers")?;
        let ports: Vec<Ports> =
            brokers.into_iter().zip(controllers).map(|(broker, controller)| Ports { broker, controller }).collect();
        let java = Java::find().await?;
        let libs = fetch::kafka_libs(progress).await?;
        let class_path = class_path(&libs)?;
        let mut nodes = Vec::new();
        for id in 1..=folders.nodes() {
            // One process writes the archive, so of several nodes the first.
            let classes = (id == 1).then(|| Classes::of(&libs, &java, &folders.folder(id))).transpose()?;
            nodes.push(Arc::new(Node {
                id,
                executable: executable.clone(),
                class_path: class_path.clone(),
                folders: folders.clone(),
                cluster_id: cluster_id.clone(),
                classes: classes.or_else(|| Classes::kept(&libs, &java)),
                ports: ports.clone(),
                settings: kafka_settings.clone(),
                has_run: AtomicBool::new(false),
            }));
        }
        Ok(Self { nodes, folders })
    }

    /// What the supervisor is to run: an engine a node.
    pub(crate) fn engines(&self, data: &DataDir) -> Vec<Engine> {
        self.nodes.iter().map(|node| node.engine(data)).collect()
    }

    /// The brokers' addresses, with commas between.
    pub(crate) fn addresses(&self) -> String {
        let mut list = String::new();
        for node in &self.nodes {
            let comma = if list.is_empty() { "" } else { "," };
            // Writing to a text cannot fail.
            let _ = write!(list, "{comma}{}", node.address());
        }
        list
    }

    /// To be called once all nodes have been ready together.
    pub(crate) fn complete(&self) -> anyhow::Result<()> {
        self.folders.complete()
    }
}

impl Node {
    fn engine(self: &Arc<Self>, data: &DataDir) -> Engine {
        let name = self.folders.name(self.id);
        let (prepares, runs, asked, stops) = (self.clone(), self.clone(), self.clone(), self.clone());
        Engine {
            name: if self.ports.len() == 1 { "Kafka".to_owned() } else { format!("Kafka {}", self.id) },
            log: data.path(&format!("logs/{name}.log")),
            pid: data.path(&format!("{name}.pid")),
            prepare: Box::new(move || {
                let node = prepares.clone();
                Box::pin(async move { node.prepare().await })
            }),
            command: Box::new(move || {
                let mut command = runs.java();
                command.args(runs.classes.as_ref().and_then(Classes::flag));
                command.arg("kafka.Kafka").arg(runs.folder().join("server.properties"));
                command
            }),
            is_ready: Box::new(move || Box::pin(probe::kafka(asked.address(), asked.advertised_port()))),
            after_stop: Box::new(move || {
                if let Some(classes) = &stops.classes {
                    classes.keep();
                }
            }),
        }
    }

    fn address(&self) -> SocketAddr {
        let port = self.ports.get(self.id - 1).map_or(0, |ports| ports.broker);
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn folder(&self) -> PathBuf {
        self.folders.folder(self.id)
    }

    /// Before each start: writes its settings, and formats its log if there is none.
    async fn prepare(&self) -> anyhow::Result<()> {
        let (folder, log) = (self.folder(), self.folders.log(self.id));
        let runs_again = self.has_run.swap(true, Ordering::Relaxed);
        if !log.exists() {
            self.folders.may_format()?;
            ensure!(
                !(runs_again && self.ports.len() == 1),
                "Kafka's log {} is gone, and with it all topics: put it back, or start again to begin with an empty Kafka",
                log.display()
            );
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        write(
            &folder.join("server.properties"),
            &(properties(self.id, &self.ports, &log) + &self.further_settings()?),
        )?;
        if log.exists() {
            return Ok(());
        }
        if runs_again {
            tracing::warn!(
                "the log of Kafka {} is gone: it begins with an empty one, and copies what it had from the other nodes",
                self.id
            );
        }
        self.format().await
    }

    /// What tests set besides: of a setting that a file gives twice, Kafka takes the last.
    fn further_settings(&self) -> anyhow::Result<String> {
        let Some(folder) = &self.settings else { return Ok(String::new()) };
        let path = folder.join(format!("{}.properties", self.folders.name(self.id)));
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The port that the node tells clients of: its own, if tests set nothing else.
    fn advertised_port(&self) -> u16 {
        let settings = self.further_settings().unwrap_or_default();
        let told = settings.lines().find_map(|line| line.strip_prefix("advertised.listeners=PLAINTEXT://"));
        let port = told.and_then(|told| told.split(',').next()?.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| self.address().port())
    }

    fn java(&self) -> Command {
        // Three nodes share what one has, and a little more.
        let memory = if self.ports.len() == 1 { "-Xmx512m" } else { "-Xmx256m" };
        let mut command = leash::command(&self.executable, "java");
        command.arg(memory).args(JVM).args(LOGGING).args(["-cp", &self.class_path]).current_dir(self.folder());
        command
    }

    /// Formats a folder beside, and gives it its name when it is complete: a format that was killed begins anew.
    async fn format(&self) -> anyhow::Result<()> {
        let (folder, log) = (self.folder(), self.folders.log(self.id));
        let unfinished = folder.join("log.unformatted");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        let properties_file = folder.join("format.properties");
        write(&properties_file, &properties(self.id, &self.ports, &unfinished))?;
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "-t", &self.cluster_id, "-c"]).arg(&properties_file);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("cannot run java")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let reason: Vec<&str> = said.lines().filter(|line| !line.trim_start().starts_with("at ")).collect();
            bail!("Kafka could not format {}: {}", log.display(), reason.join(" / "));
        }
        std::fs::rename(&unfinished, &log).context("cannot name the formatted folder")?;
        std::fs::remove_file(&properties_file).context("cannot remove format.properties")
    }
}

/// The ports of the brokers: from `first` on, or any that are free.
async fn brokers(first: u16, nodes: usize, claims: &Claims, patient: bool) -> anyhow::Result<Vec<u16>> {
    if first == 0 {
        return claims.several(nodes).context("for Kafka");
    }
    let mut ports = Vec::new();
    for port in (first..=u16::MAX).take(nodes) {
        ports.push(claims.choose(port, "Kafka", "--kafka-port", patient).await?);
    }
    ensure!(
        ports.len() == nodes,
        "{nodes} Kafka nodes need as many ports, from {first} on there are {}: give a lower one with --kafka-port PORT",
        ports.len()
    );
    Ok(ports)
}

/// Every jar by name and in order: a wildcard has neither, and class archives are bound to both.
fn class_path(libs: &Path) -> anyhow::Result<String> {
    let mut jars = Vec::new();
    for entry in std::fs::read_dir(libs).with_context(|| format!("cannot read {}", libs.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", libs.display()))?.path();
        jars.push(path.into_os_string().into_string().map_err(|path| {
            anyhow::anyhow!("{} is not UTF-8, which Java needs: set HOOKLINE_CACHE to another folder", path.display())
        })?);
    }
    jars.sort();
    Ok(jars.join(":"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
