//! Deduplication records without a part.
//!
//! A MergeTree table with `non_replicated_deduplication_window` writes the id of a block into
//! `deduplication_logs/deduplication_log_N.txt` *before* it renames the block's part into place. A process that is
//! killed in between leaves a record of rows that are not there, and the engine then drops the repetition of that
//! INSERT as a duplicate: the rows are lost. So, before the engine starts, records whose part is not on the disk go.
//!
//! A line of the log is `operation <tab> part <tab> block id`; operation 1 adds, 2 drops, 3 takes a drop back
//! (`MergeTreeDeduplicationLog.h` of ClickHouse). A part is a folder `partition_min_max_level[_mutation]`; after merges
//! it is another one that covers the same range of block numbers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a repair did in one table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// The table's folder.
    pub(crate) table: PathBuf,
    /// The parts whose records were dropped.
    pub(crate) parts: Vec<String>,
}

/// Repairs every table below the engine's folder. The engine must not be running.
pub(crate) fn repair_all(engine: &Path) -> io::Result<Vec<Repaired>> {
    let mut repaired = Vec::new();
    // `store/<prefix>/<uuid>` of Atomic databases, `data/<database>/<table>` of Ordinary ones (links otherwise).
    for base in ["store", "data"] {
        for group in folders(&engine.join(base))? {
            for table in folders(&group)? {
                let parts = repair(&table, engine)?;
                if !parts.is_empty() {
                    repaired.push(Repaired { table, parts });
                }
            }
        }
    }
    Ok(repaired)
}

/// The folders in a folder, without links; none if it is not there.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The range of blocks that a part holds.
#[derive(Debug, PartialEq, Eq)]
struct PartRange {
    partition: String,
    first: i64,
    last: i64,
}

impl PartRange {
    fn parse(name: &str) -> Option<Self> {
        let fields: Vec<&str> = name.split('_').collect();
        let [partition, first, last, level, mutation @ ..] = fields.as_slice() else { return None };
        level.parse::<u32>().ok()?;
        match mutation {
            [] => {}
            [version] => drop(version.parse::<i64>().ok()?),
            _ => return None,
        }
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (!partition.is_empty()).then(|| Self { partition: (*partition).to_owned(), first, last })
    }

    fn covers(&self, other: &Self) -> bool {
        self.partition == other.partition && self.first <= other.first && other.last <= self.last
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record {
    operation: u8,
    part: String,
    block: String,
}

impl Record {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (operation, part, block) = (fields.next()?, fields.next()?, fields.next()?);
        let operation = operation.parse().ok().filter(|operation| (1..=3).contains(operation))?;
        let whole = fields.next().is_none() && !part.is_empty() && !block.is_empty();
        whole.then(|| Self { operation, part: part.to_owned(), block: block.to_owned() })
    }
}

/// Repairs one table; answers the parts whose records went.
fn repair(table: &Path, scratch: &Path) -> io::Result<Vec<String>> {
    let logs = logs_of(&table.join("deduplication_logs"))?;
    if logs.is_empty() {
        return Ok(Vec::new());
    }
    let mut there = Vec::new();
    for folder in folders(table)? {
        there.extend(folder.file_name().and_then(|name| PartRange::parse(name.to_str()?)));
    }

    // The history in order gives what the engine would believe: block id → part.
    let mut believed: HashMap<String, String> = HashMap::new();
    let mut contents = Vec::with_capacity(logs.len());
    for log in logs {
        let text = std::fs::read_to_string(&log)?;
        // A line without its end was cut by a kill; the part that it was to announce cannot be there.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let Some(records) = whole.lines().map(Record::parse).collect::<Option<Vec<_>>>() else {
            tracing::warn!(log = %log.display(), "a deduplication log has lines of an unknown form; left as it is");
            return Ok(Vec::new());
        };
        for record in &records {
            if record.operation == 2 {
                believed.remove(&record.block);
            } else {
                believed.insert(record.block.clone(), record.part.clone());
            }
        }
        contents.push((log, records, whole.len() != text.len()));
    }
    believed.retain(|_, part| {
        // A name of an unknown form is kept: dropping a record of rows that are there would double them.
        PartRange::parse(part).is_some_and(|range| !there.iter().any(|part| part.covers(&range)))
    });

    let mut dropped = Vec::new();
    for (log, records, cut) in contents {
        let gone = |record: &Record| believed.get(&record.block) == Some(&record.part);
        if !cut && !records.iter().any(gone) {
            continue;
        }
        dropped.extend(records.iter().filter(|record| gone(record)).map(|record| record.part.clone()));
        let kept = records.iter().filter(|record| !gone(record));
        let text: String = kept.map(|r| format!("{}\t{}\t{}\n", r.operation, r.part, r.block)).collect();
        replace(&log, text.as_bytes(), scratch)?;
    }
    dropped.sort_unstable();
    dropped.dedup();
    Ok(dropped)
}

/// The logs in a folder, oldest first.
fn logs_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
                    name.strip_prefix("deduplication_log_")?.strip_suffix(".txt")?.parse::<u64>().ok()
                });
                logs.extend(number.map(|number| (number, path)));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    logs.sort_unstable();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// Replaces a file in one step. The new text is first written elsewhere: the engine reads every file of the log folder.
fn replace(path: &Path, text: &[u8], scratch: &Path) -> io::Result<()> {
    let new = scratch.join("deduplication_log.new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table folder with parts and one log; answers what is left of the log and which parts lost their record.
    fn repaired(parts: &[&str], log: &str) -> (String, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let table = root.path().join("store/48e/48e3d376-d492-4f7f-a3c7-c908a6b4c091");
        for part in parts {
            std::fs::create_dir_all(table.join(part)).unwrap();
        }
        let path = table.join("deduplication_logs/deduplication_log_1.txt");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, log).unwrap();
        let repaired = repair_all(root.path()).unwrap();
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no other file is left there");
        let parts = repaired.into_iter().flat_map(|one| one.parts).collect();
        (std::fs::read_to_string(&path).unwrap(), parts)
    }

    #[test]
    fn a_record_without_its_part_goes_and_the_others_stay() {
        let log = "1\tall_1_1_0\tall_11_12\n1\tall_2_2_0\tall_21_22\n1\t202607_3_3_0\t202607_31_32\n";
        let (left, dropped) = repaired(&["all_1_1_0", "202607_3_3_0", "tmp_insert_all_2_2_0", "detached"], log);
        assert_eq!(dropped, ["all_2_2_0"]);
        assert_eq!(left, "1\tall_1_1_0\tall_11_12\n1\t202607_3_3_0\t202607_31_32\n");
    }

    #[test]
    fn a_part_that_was_merged_or_mutated_is_there() {
        let log = "1\tall_1_1_0\tall_1\n1\tall_2_2_0\tall_2\n1\tall_7_7_0\tall_7\n1\tother_3_3_0\tother_3\n";
        let (left, dropped) = repaired(&["all_1_5_1", "all_7_7_0_9"], log);
        assert_eq!(dropped, ["other_3_3_0"], "the same numbers in another partition are another part");
        assert_eq!(left, "1\tall_1_1_0\tall_1\n1\tall_2_2_0\tall_2\n1\tall_7_7_0\tall_7\n");
    }

    #[test]
    fn a_record_that_was_dropped_by_the_engine_is_left_alone() {
        let log = "1\tall_1_1_0\tall_1\n2\tall_1_1_0\tall_1\n1\tall_2_2_0\tall_1\n";
        let (left, dropped) = repaired(&["all_2_2_0"], log);
        assert!(dropped.is_empty());
        assert_eq!(left, log);
    }

    #[test]
    fn a_drop_that_was_taken_back_does_not_bring_a_lost_part_back() {
        let log = "1\tall_1_1_0\tall_1\n2\tall_1_1_0\tall_1\n3\tall_1_1_0\tall_1\n1\tall_2_2_0\tall_2\n";
        let (left, dropped) = repaired(&["all_2_2_0"], log);
        assert_eq!(dropped, ["all_1_1_0"]);
        assert_eq!(left, "1\tall_2_2_0\tall_2\n");
    }

    #[test]
    fn a_line_that_was_cut_goes_because_the_engine_would_ignore_the_whole_log() {
        let (left, dropped) = repaired(&["all_1_1_0"], "1\tall_1_1_0\tall_1\n1\tall_2_2");
        assert!(dropped.is_empty());
        assert_eq!(left, "1\tall_1_1_0\tall_1\n");
    }

    #[test]
    fn a_log_of_an_unknown_form_is_left_as_it_is() {
        for log in ["9\tall_2_2_0\tall_2\n", "1 all_2_2_0 all_2\n", "1\tall_2_2_0\tall_2\tmore\n"] {
            let (left, dropped) = repaired(&["all_1_1_0"], log);
            assert!(dropped.is_empty() && left == log, "{log:?}");
        }
    }
}
