//! The engine's folder: who holds it, what lies where, and the configuration the engine starts with.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A folder that this process holds, until it ends.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// The lock of the operating system goes with the open file, so also a killed process gives it back.
    _lock: File,
}

impl Folder {
    /// Takes the folder (created if needed) for this process.
    pub(crate) fn hold(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("cannot create the data folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        let path = root.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open the lock file {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
                anyhow::bail!(
                    "the ClickHouse folder {} is in use by {holder}: one engine per folder. Stop that process, or name \
                     another data folder",
                    root.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { root, _lock: lock })
    }

    /// Where the engine keeps its databases.
    pub(crate) fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// An empty folder to work in: the engine's default database finds files of the working folder by their names.
    pub(crate) fn working(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// Where the address is written once the engine serves.
    pub(crate) fn address(&self) -> PathBuf {
        self.root.join("address")
    }

    /// The engine's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// Writes the engine's configuration and answers where.
    pub(crate) fn write_config(&self, memory_limit: u64) -> anyhow::Result<PathBuf> {
        let path = self.root.join("config.xml");
        let (log, backups) = (self.log(), self.root.with_file_name("backups"));
        let text = |path: &'_ Path| {
            path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
        };
        std::fs::write(&path, config(&text(&log)?, &text(&backups)?, memory_limit))
            .with_context(|| format!("cannot write the engine's configuration {}", path.display()))?;
        Ok(path)
    }
}

/// The engine's configuration: one machine that also runs everything else, a few gigabytes of rows, no logs in tables.
fn config(log: &str, backups: &str, memory_limit: u64) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (log, backups) = (escaped(log), escaped(backups));
    let machine = shared_machine(memory_limit);
    format!(
        "<clickhouse>
    <!-- Written at every start; changes here are lost. -->
    <log-level>warning</log-level>
    <logger>
        <log>{log}</log><size>10M</size><count>2</count>
        <!-- The library ends the thread of every streamed INSERT with a complaint about its own bookkeeping. -->
        <levels><logger><name>ThreadStatus</name><level>none</level></logger></levels>
    </logger>
    <timezone>UTC</timezone>
    <!-- Where BACKUP … TO File('NAME') may write: beside this folder, so that it outlives it. -->
    <backups><allowed_path>{backups}</allowed_path></backups>

{machine}    <primary_index_cache_size>67108864</primary_index_cache_size>
    <query_condition_cache_size>16777216</query_condition_cache_size>
    <parquet_metadata_cache_size>4194304</parquet_metadata_cache_size>
    <iceberg_metadata_files_cache_size>4194304</iceberg_metadata_files_cache_size>
    <vector_similarity_index_cache_size>4194304</vector_similarity_index_cache_size>
    <background_schedule_pool_initial_size>4</background_schedule_pool_initial_size>
</clickhouse>
"
    )
}

/// What a server of ClickHouse is told, in XML, when everything else runs on its machine too: few threads, small
/// caches, a few gigabytes of rows, `memory_limit` bytes of memory.
pub fn shared_machine(memory_limit: u64) -> String {
    let merges = memory_limit / 2;
    format!(
        "    <!-- Above this, queries fail with code 241 instead of the machine running out. -->
    <max_server_memory_usage>{memory_limit}</max_server_memory_usage>
    <!-- No further merge begins while merges take half of it. Their default is half of the machine's memory, and they
         then take what inserts and questions need. -->
    <merges_mutations_memory_usage_soft_limit>{merges}</merges_mutations_memory_usage_soft_limit>
    <mark_cache_size>67108864</mark_cache_size>
    <index_mark_cache_size>16777216</index_mark_cache_size>
    <compiled_expression_cache_size>16777216</compiled_expression_cache_size>

    <!-- Threads that wait for work are given back soon. -->
    <max_thread_pool_size>1000</max_thread_pool_size>
    <max_thread_pool_free_size>8</max_thread_pool_free_size>
    <background_pool_size>2</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>

    <merge_tree>
        <!-- The defaults are for a pool of 32 slots; this one has 4, and mutations would wait for ever. -->
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::hold(folder.path()).unwrap();
        let refused = Folder::hold(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        drop(held);
        Folder::hold(folder.path()).unwrap();
    }

    #[test]
    fn a_path_cannot_break_the_configuration() {
        let text = config("/tmp/<a>&b/engine.log", "/tmp/<a>&b/backups", 1 << 30);
        assert!(text.contains("<log>/tmp/&lt;a&gt;&amp;b/engine.log</log>"));
        assert!(text.contains("<allowed_path>/tmp/&lt;a&gt;&amp;b/backups</allowed_path>"));
        assert!(text.contains("<max_server_memory_usage>1073741824<"));
    }
}
