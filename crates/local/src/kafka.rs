//! Apache Kafka on one node: KRaft, broker and controller in one JVM.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::process::Command;

use crate::data_dir::DataDir;
use crate::java::Java;
use crate::supervise::{Engine, Supervisor};
use crate::{fetch, leash, port, probe};

/// The JVM: 512 MB are plenty for one node, and the serial collector starts faster and holds less than the default one.
/// Out of memory ends it, so that it is started again instead of limping on.
const JVM: [&str; 5] =
    ["-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"];
/// Its log: times, and not the list of several hundred settings at every start.
const LOGGING: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
];

/// A Kafka that is ready to be run by a supervisor.
pub(crate) struct Kafka {
    executable: PathBuf,
    class_path: String,
    folder: PathBuf,
    classes: Classes,
    port: u16,
}

impl Kafka {
    /// Fetches, configures and, at the first start, formats it.
    pub(crate) async fn prepare(
        supervisor: &Supervisor,
        data: &DataDir,
        executable: &Path,
        port: u16,
        progress: crate::Progress,
    ) -> anyhow::Result<Self> {
        let java = Java::find().await?;
        let libs = fetch::kafka_libs(&progress).await?;
        let folder = data.path("kafka");
        let this = Self {
            executable: executable.to_owned(),
            class_path: class_path(&libs)?,
            classes: Classes::of(&libs, &java, &folder)?,
            folder,
            port,
        };
        let controller_port = port::any().context("for Kafka's controller")?;
        let properties = properties(port, controller_port, &this.log_dir());
        write(&this.folder.join("server.properties"), &properties)?;
        if !this.log_dir().exists() {
            this.format(supervisor, controller_port).await?;
        }
        Ok(this)
    }

    /// What the supervisor is to run.
    pub(crate) fn engine(self, data: &DataDir) -> Engine {
        let address = self.address();
        let classes = self.classes.clone();
        Engine {
            name: "Kafka",
            log: data.path("logs/kafka.log"),
            pid: data.path(crate::engines::KAFKA_PID),
            command: Box::new(move || {
                let mut command = self.java();
                command.args(self.classes.flag()).arg("kafka.Kafka").arg(self.folder.join("server.properties"));
                command
            }),
            is_ready: Box::new(move || Box::pin(probe::kafka(address))),
            after_stop: Box::new(move || classes.keep()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn log_dir(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn java(&self) -> Command {
        let mut command = leash::command(&self.executable, "java");
        command.args(JVM).args(LOGGING).args(["-cp", &self.class_path]).current_dir(&self.folder);
        command
    }

    /// Formats a folder beside, and gives it its name when it is complete: a format that was killed begins anew.
    async fn format(&self, supervisor: &Supervisor, controller_port: u16) -> anyhow::Result<()> {
        let unfinished = self.folder.join("log.unformatted");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        let properties_file = self.folder.join("format.properties");
        write(&properties_file, &properties(self.port, controller_port, &unfinished))?;
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "-t", &cluster_id(), "-c"]).arg(&properties_file);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = supervisor.on_thread(async move { command.output().await.context("cannot run java") }).await?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let reason: Vec<&str> = said.lines().filter(|line| !line.trim_start().starts_with("at ")).collect();
            bail!("Kafka could not format {}: {}", self.log_dir().display(), reason.join(" / "));
        }
        std::fs::rename(&unfinished, self.log_dir()).context("cannot name the formatted folder")?;
        std::fs::remove_file(&properties_file).context("cannot remove format.properties")
    }
}

/// A random id for the cluster, in the form that Kafka wants: 16 bytes in URL-safe base64, not beginning with a dash.
fn cluster_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4());
        if !id.starts_with('-') {
            return id;
        }
    }
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

/// The archive of loaded classes (AppCDS): with it Kafka is ready in 1.3 s instead of 2.3 s and uses 40 % less CPU for it.
/// A JVM writes it when it stops, if it was told so at its start; that stop takes two seconds longer, once.
#[derive(Clone)]
struct Classes {
    /// In the cache; fits one build of Java and these very jars.
    kept: PathBuf,
    /// In the data folder, being written.
    fresh: PathBuf,
    /// The one process of this cache that writes it has this lock.
    writes: Option<Arc<File>>,
}

impl Classes {
    fn of(libs: &Path, java: &Java, folder: &Path) -> anyhow::Result<Self> {
        let kept = libs.with_file_name(format!("classes-{}.jsa", java.build));
        let writes = if kept.exists() { None } else { fetch::try_lock(&kept.with_extension("lock"))?.map(Arc::new) };
        Ok(Self { kept, fresh: folder.join("classes.jsa"), writes })
    }

    fn flag(&self) -> Option<String> {
        if self.kept.exists() {
            Some(format!("-XX:SharedArchiveFile={}", self.kept.display()))
        } else if self.writes.is_some() {
            Some(format!("-XX:ArchiveClassesAtExit={}", self.fresh.display()))
        } else {
            None
        }
    }

    /// Moves what the stopped JVM wrote, if it did, into the cache. Without it the next start is slower, and no more.
    fn keep(&self) {
        if self.writes.is_none() || !self.fresh.exists() {
            return;
        }
        let unfinished = self.kept.with_extension("unfinished");
        let moved = std::fs::copy(&self.fresh, &unfinished)
            .and_then(|_| std::fs::rename(&unfinished, &self.kept))
            .and_then(|()| std::fs::remove_file(&self.fresh));
        if let Err(error) = moved {
            tracing::warn!(%error, "cannot keep Kafka's class archive; its next start takes a second longer");
        }
    }
}

/// The settings of one node. Ports are settings of each start: the controller's is free to change, since its voters are
/// named here and not in the log.
fn properties(port: u16, controller_port: u16, log_dir: &Path) -> String {
    // In properties files a backslash escapes; nothing else in a value does.
    let log_dir = log_dir.display().to_string().replace('\\', "\\\\");
    format!(
        "\
# Written by hookline at every start.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={log_dir}

# After a kill the node registers again when its old session has expired: 12.5 s by default, about 3 s with these.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
controller.quorum.election.timeout.ms=300
controller.quorum.fetch.timeout.ms=500
controller.quorum.election.backoff.max.ms=100

# One node, a handful of clients.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.segment.bytes=16777216
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=16777216
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4

# Topics are created with intent, positions are kept for good, abandoned transactions are aborted at once.
auto.create.topics.enable=false
offsets.retention.minutes=2147483647
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# Groups form without a wait, and may ask for short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=1000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=300

# Small segments: less to read again after a kill, and retention works in smaller steps. The index of one is preallocated.
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.retention.check.interval.ms=60000
log.cleaner.dedupe.buffer.size=33554432
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_is_given_twice_and_ports_reach_the_listeners() {
        let text = properties(9092, 20_001, Path::new("/data folder/kafka/log"));
        let mut keys: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:20001\n"));
        assert!(text.contains("\ncontroller.quorum.voters=1@127.0.0.1:20001\n"));
        assert!(text.contains("\nlog.dirs=/data folder/kafka/log\n"));
    }

    #[test]
    fn cluster_ids_have_kafkas_form() {
        for _ in 0..1000 {
            let id = cluster_id();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with('-'));
        }
    }
}
