//! The sieve of a folder that is opened: all shards at once, from one reading of the logs.
//!
//! The thread that reads gathers marks; another puts them in order and merges them. Each shard is merged eight times:
//! with fewer steps more marks would wait, eight bytes each, and more would take longer.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::StoreError;
use super::beside::Beside;
use super::segment::{Batch, id_of};
use super::shard::{Homes, Mark, Shard};
use super::sieve::{SHARDS, Sieve, merged, shard_of, share, tag_of};

const STEPS: u64 = 8;
/// Fewer marks of a shard are not merged by themselves.
const FEW: usize = 1 << 12;

pub(super) struct Filling {
    homes: Homes,
    waiting: Vec<Vec<Mark>>,
    at_once: usize,
    /// A shard's number and marks for it.
    to_merge: SyncSender<(usize, Vec<Mark>)>,
    merging: Beside<Vec<Shard>>,
}

impl Filling {
    /// With homes for so many marks, of the store in `folder`.
    pub(super) fn for_marks(marks: u64, folder: &Path) -> Result<Self, StoreError> {
        let shards = (0..SHARDS).map(|_| Shard::for_marks(share(marks))).collect::<io::Result<Vec<_>>>();
        let mut shards = shards.map_err(StoreError::Memory)?;
        let homes = shards.first().map_or(Homes::for_marks(0), Shard::homes);
        let at_once = FEW.max((share(marks) / STEPS) as usize);
        // Shards are not all merged at the same time.
        let waiting = (1..=SHARDS).map(|nth| Vec::with_capacity(at_once * nth / SHARDS)).collect();
        let (to_merge, gathered) = sync_channel::<(usize, Vec<Mark>)>(1);
        let merging = Beside::start("window-filling", folder, move |_| {
            for (which, mut marks) in gathered {
                if let Some(shard) = shards.get_mut(which) {
                    *shard = merged(shard, 0, &mut marks)?;
                }
            }
            Ok(shards)
        })?;
        Ok(Self { homes, waiting, at_once, to_merge, merging })
    }

    /// Adds the marks of a batch of a closed file.
    pub(super) fn fill(&mut self, number: u64, batch: &Batch<'_>) {
        let tag = tag_of(number);
        for id in batch.cells.iter().map(id_of) {
            let (which, mark) = (shard_of(id), self.homes.mark(id, tag));
            let waiting = &mut self.waiting[which];
            waiting.push(mark);
            if waiting.len() == waiting.capacity() {
                let marks = std::mem::replace(waiting, Vec::with_capacity(self.at_once));
                // If the other thread has ended, it says why in the end.
                let _ = self.to_merge.send((which, marks));
            }
        }
    }

    /// The sieve of files with these numbers.
    pub(super) fn finish(self, files: &Range<u64>) -> Result<Sieve, StoreError> {
        let Self { waiting, to_merge, merging, .. } = self;
        for gathered in waiting.into_iter().enumerate() {
            let _ = to_merge.send(gathered);
        }
        drop(to_merge);
        Ok(Sieve::of(merging.wait()?.unwrap_or_default(), files))
    }
}
