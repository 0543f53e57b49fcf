//! The archive of loaded classes that makes later starts of Kafka faster.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fetch;
use crate::java::Java;

/// The archive of loaded classes (AppCDS): with it Kafka is ready in 1.3 s instead of 2.3 s and uses 40 % less CPU for it.
/// A JVM writes it when it stops, if it was told so at its start; that stop takes two seconds longer, once.
#[derive(Clone)]
pub(super) struct Classes {
    /// In the cache; fits one build of Java and these very jars.
    kept: PathBuf,
    /// In the data folder, being written.
    fresh: PathBuf,
    /// The one process of this cache that writes it has this lock.
    writes: Option<Arc<File>>,
}

impl Classes {
    pub(super) fn of(libs: &Path, java: &Java, folder: &Path) -> anyhow::Result<Self> {
        let kept = Self::path(libs, java);
        let writes = if kept.exists() { None } else { fetch::try_lock(&kept.with_extension("lock"))?.map(Arc::new) };
        Ok(Self { kept, fresh: folder.join("classes.jsa"), writes })
    }

    /// The archive as others have written it, if it is there: to be used, not to be written.
    pub(super) fn kept(libs: &Path, java: &Java) -> Option<Self> {
        let kept = Self::path(libs, java);
        kept.exists().then(|| Self { kept, fresh: PathBuf::new(), writes: None })
    }

    fn path(libs: &Path, java: &Java) -> PathBuf {
        libs.with_file_name(format!("classes-{}.jsa", java.build))
    }

    pub(super) fn flag(&self) -> Option<String> {
        if self.kept.exists() {
            Some(format!("-XX:SharedArchiveFile={}", self.kept.display()))
        } else if self.writes.is_some() {
            Some(format!("-XX:ArchiveClassesAtExit={}", self.fresh.display()))
        } else {
            None
        }
    }

    /// Moves what the stopped JVM wrote, if it did, into the cache. Without it the next start is slower, and no more.
    pub(super) fn keep(&self) {
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
