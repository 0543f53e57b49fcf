//! How many nodes a data folder's Kafka has, where each keeps its log, and which cluster they are.
//!
//! ```text
//! kafka/log              one node
//! kafka-1/log … -3/log   three nodes
//! kafka.nodes            written once three nodes have been ready together: from then on two logs at least must be there
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Nodes of a local cluster: each record is on all three disks.
const THREE: usize = 3;
/// Of them, those without which what was acknowledged may be gone.
const MAJORITY: usize = 2;

/// Where the nodes of one Kafka keep what is theirs.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    root: PathBuf,
    nodes: usize,
}

impl Folders {
    /// Of the data folder `root`. `asked`: how many nodes are wanted, 1 or 3; without it as many as there are, one at first.
    ///
    /// # Errors
    /// The folder holds a Kafka of another number of nodes.
    pub(super) fn of(root: &Path, asked: Option<u8>) -> anyhow::Result<Self> {
        let with = |nodes| Self { root: root.to_owned(), nodes };
        let (one, three) = (with(1), with(THREE));
        let found = if one.logs().any(|log| log.exists()) {
            Some(1)
        } else if three.marker().exists() || three.logs().any(|log| log.exists()) {
            Some(THREE)
        } else {
            None
        };
        let asked = asked.map(usize::from);
        if let (Some(found), Some(asked)) = (found, asked) {
            ensure!(
                found == asked,
                "the data folder {} holds a Kafka of {}, and --kafka-nodes asks for {asked}: topics cannot be carried \
                 over; leave --kafka-nodes away, or give another folder with --data DIR",
                root.display(),
                if found == 1 { "1 node".to_owned() } else { format!("{found} nodes") },
            );
        }
        Ok(with(found.or(asked).unwrap_or(1)))
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// What a node's folder, its process id's file and its log are called: `kafka`, or `kafka-1` and so on.
    pub(super) fn name(&self, id: usize) -> String {
        if self.nodes == 1 { "kafka".to_owned() } else { format!("kafka-{id}") }
    }

    /// The folder of a node.
    pub(super) fn folder(&self, id: usize) -> PathBuf {
        self.root.join(self.name(id))
    }

    /// Where a node keeps its topics.
    pub(super) fn log(&self, id: usize) -> PathBuf {
        self.folder(id).join("log")
    }

    fn logs(&self) -> impl Iterator<Item = PathBuf> {
        (1..=self.nodes).map(|id| self.log(id))
    }

    /// Whether a log may be formatted anew where there is none.
    ///
    /// # Errors
    /// So many nodes have lost their logs that acknowledged records may be gone: two empty nodes would outvote the third.
    pub(super) fn may_format(&self) -> anyhow::Result<()> {
        let there = self.logs().filter(|log| log.exists()).count();
        if self.nodes == 1 || !self.marker().exists() || there >= MAJORITY {
            return Ok(());
        }
        let gone: Vec<String> = (1..=self.nodes).filter(|id| !self.log(*id).exists()).map(|id| self.name(id)).collect();
        bail!(
            "{} of {} Kafka nodes have lost their logs ({} in {}), and with them records that were acknowledged: put one \
             back, or delete the kafka-* folders and kafka.nodes to begin with an empty Kafka",
            gone.len(),
            self.nodes,
            gone.join(", "),
            self.root.display()
        )
    }

    /// The cluster's id: that of the logs which are there, a new one where there are none.
    ///
    /// # Errors
    /// Two logs belong to different clusters, or one cannot be read.
    pub(super) fn cluster_id(&self) -> anyhow::Result<String> {
        let mut known: Option<(PathBuf, String)> = None;
        for log in self.logs().filter(|log| log.exists()) {
            let path = log.join("meta.properties");
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                // A node alone says itself what is wrong with its log.
                Err(_) if self.nodes == 1 => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            };
            let Some(id) = text.lines().find_map(|line| line.strip_prefix("cluster.id=")) else { continue };
            match &known {
                Some((other, other_id)) => ensure!(
                    other_id == id,
                    "{} and {} belong to different clusters: put the right one back",
                    other.display(),
                    log.display()
                ),
                None => known = Some((log, id.to_owned())),
            }
        }
        Ok(known.map_or_else(fresh_id, |(_, id)| id))
    }

    /// Notes that all nodes have been ready together.
    pub(super) fn complete(&self) -> anyhow::Result<()> {
        let marker = self.marker();
        if self.nodes == 1 || marker.exists() {
            return Ok(());
        }
        std::fs::write(&marker, format!("{}\n", self.nodes))
            .with_context(|| format!("cannot write {}", marker.display()))
    }

    fn marker(&self) -> PathBuf {
        self.root.join("kafka.nodes")
    }
}

/// A random id, in the form that Kafka wants: 16 bytes in URL-safe base64, not beginning with a dash.
fn fresh_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4());
        if !id.starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(folders: &Folders, id: usize, cluster: &str) {
        std::fs::create_dir_all(folders.log(id)).unwrap();
        std::fs::write(folders.log(id).join("meta.properties"), format!("version=1\ncluster.id={cluster}\n")).unwrap();
    }

    #[test]
    fn cluster_ids_have_kafkas_form() {
        for _ in 0..1000 {
            let id = fresh_id();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with('-'));
        }
    }

    #[test]
    fn a_folder_keeps_its_number_of_nodes() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Folders::of(root.path(), None).unwrap().nodes(), 1);
        let three = Folders::of(root.path(), Some(3)).unwrap();
        format(&three, 2, "a");
        assert_eq!(Folders::of(root.path(), None).unwrap().nodes(), 3);
        let refused = Folders::of(root.path(), Some(1)).unwrap_err().to_string();
        assert!(refused.contains("a Kafka of 3 nodes, and --kafka-nodes asks for 1"), "{refused}");

        let root = tempfile::tempdir().unwrap();
        format(&Folders::of(root.path(), None).unwrap(), 1, "a");
        let refused = Folders::of(root.path(), Some(3)).unwrap_err().to_string();
        assert!(refused.contains("a Kafka of 1 node, and --kafka-nodes asks for 3"), "{refused}");
    }

    #[test]
    fn a_lost_log_is_formatted_for_the_same_cluster_and_two_lost_ones_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let three = Folders::of(root.path(), Some(3)).unwrap();
        // A first start that was killed in the middle goes on.
        format(&three, 1, "the-first");
        three.may_format().unwrap();
        assert_eq!(three.cluster_id().unwrap(), "the-first");
        format(&three, 2, "the-first");
        format(&three, 3, "the-first");
        three.complete().unwrap();

        std::fs::remove_dir_all(three.folder(2)).unwrap();
        three.may_format().unwrap();
        assert_eq!(three.cluster_id().unwrap(), "the-first");
        std::fs::remove_dir_all(three.folder(3)).unwrap();
        let refused = three.may_format().unwrap_err().to_string();
        assert!(refused.contains("2 of 3") && refused.contains("kafka-2, kafka-3"), "{refused}");

        format(&three, 3, "another");
        let refused = three.cluster_id().unwrap_err().to_string();
        assert!(refused.contains("different clusters"), "{refused}");
    }
}
