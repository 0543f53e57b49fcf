//! The stages of an event, from a record of `raw` to what is written for it, in their order.
//!
//! [`STAGES`] says what each takes, gives and may refuse; `Stages::take` goes through them, a chunk of records at a
//! time; each is a file of `pipeline/`. What one stage gives is what a later one takes, so no stage can stand before
//! one that it builds on: that does not compile. What only notes (the counts for metrics and the lane's time, between
//! them) is held to its place by no type. What runs around them, the transaction and its commit, is
//! `lane/transaction.rs`. [`Step::decode`] and [`Step::enrich`] are pure, and the operator's tools ask them too:
//! `replay`, `redrive`, `explain`, `rehearse`.

mod decode;
mod dedupe;
mod encode;
mod enrich;
mod fuse;
mod route;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::dedupe::{Window, WindowStore};
use ::enrich::Catalogue;
use event::wire::Ids;
use kafka::lane::End;
use kafka::topics::Plan;
use rules::RuleIndex;
use runtime::clock::Moment;

pub use decode::Decoded;
pub(crate) use dedupe::unusable;
pub(crate) use encode::Out;
pub use enrich::Decided;
pub use step::{Pipeline, SourceRules, Step};

use crate::advance::Advance;
use crate::catalogue::Told;
use crate::clock;
use crate::fuse::Limits;
use crate::record::RawRecord;
use crate::salts::LaneSalts;
use crate::signals::Signals;
use crate::tally::Tally;
use crate::traced::Traced;

/// The stages, in their order. `docs/design/process-lane.md` has the same list.
pub const STAGES: [&Stage; 6] = [&DECODE, &DEDUPE, &ENRICH, &FUSE, &ROUTE, &ENCODE];

/// What the bytes of a record say.
pub const DECODE: Stage = Stage {
    name: "decode",
    shown_as: "adapt",
    takes: "a record of `raw`",
    gives: "an event as its sender tells it, or a dead letter with the reason",
    refuses: "nothing",
    here: "all that follows is about events, not about bytes",
};

/// Which events are the first of their key.
pub const DEDUPE: Stage = Stage {
    name: "dedupe",
    shown_as: "dedupe",
    takes: "the events of a chunk, all at once: their looks into the window overlap",
    gives: "for each whether it is the first of its key, or of which offset it is a duplicate",
    refuses: "an offset that was committed before: the lane halts; a window that cannot be read: it tries again",
    here: "a dead letter is not asked about and marks no key, so that it can be sent again",
};

/// What can be said of an event beyond what its sender says: the stages of [`::enrich::STAGES`].
pub const ENRICH: Stage = Stage {
    name: "enrich",
    shown_as: "label",
    takes: "an event, its verdict, the salt of its day and the catalogue",
    gives: "the event as its row will have it, and what its platform tells of its link",
    refuses: "a salt that this version cannot read: the lane halts; a topic of salts that does not answer: it tries again",
    here: "a duplicate is labelled as well, so the verdict can be written on the event that is finished here",
};

/// Whether the lane may go on.
pub const FUSE: Stage = Stage {
    name: "fuse",
    shown_as: "",
    takes: "what was decided",
    gives: "the right to write it",
    refuses: "one dead letter too many: the lane halts",
    here: "before anything of the record is written",
};

/// Which rules an event meets.
pub const ROUTE: Stage = Stage {
    name: "route",
    shown_as: "route",
    takes: "what was decided, and the right to write it",
    gives: "its count for rules that count, and the rules that fire on it",
    refuses: "nothing",
    here: "rules match labels; a duplicate and a dead letter meet none",
};

/// What is written.
pub const ENCODE: Stage = Stage {
    name: "encode",
    shown_as: "",
    takes: "what was decided, the right to write it, and the rules that fire on it",
    gives: "records of the open transaction: on `events`, `dead-letters`, `links` and `alerts`",
    refuses: "a record that the broker does not take: the transaction is aborted, and the lane tries again or halts",
    here: "last: the block grows by what was written",
};

/// One stage of an event.
#[derive(Debug)]
pub struct Stage {
    /// Its name, which is the name of its file.
    pub name: &'static str,
    /// What `hookline explain` calls it, and the dead letters that it makes; `''` where neither tells of it.
    pub shown_as: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it gives.
    pub gives: &'static str,
    /// What it may refuse, and what becomes of the lane then.
    pub refuses: &'static str,
    /// Why it is at this place.
    pub here: &'static str,
}

/// The stages of one lane, with what they keep from one event to the next.
pub(crate) struct Stages<'s, S> {
    /// `decode` and `enrich`: the pure functions, and their caches.
    pub(crate) step: Step<'static>,
    /// `dedupe`: the window.
    pub(crate) window: Window<S>,
    /// `enrich`: the salts of days.
    pub(crate) salts: LaneSalts<'s>,
    /// `enrich`: the catalogue, until the next transaction at least.
    pub(crate) catalogue: Arc<Catalogue>,
    /// `encode`: what platforms told of links, until it is read back.
    pub(crate) told: Told,
    /// `route`: what the open transaction adds to the rules that count.
    pub(crate) signals: Signals,
    /// `route`: the rules that fire on the event under way, by their place in the index.
    fires: Vec<usize>,
    /// `encode`: the value of the record under way.
    value: Vec<u8>,
}

/// What a chunk of records goes through the stages by.
pub(crate) struct By<'c> {
    pub(crate) lane: u16,
    pub(crate) plan: &'c Plan,
    pub(crate) ids: &'c Ids,
    pub(crate) routes: &'c RuleIndex,
    pub(crate) fuse: Limits,
    /// Up to which offset an operator lets dead letters pass the fuse.
    pub(crate) past_fuse: Option<u64>,
    pub(crate) now: Moment,
    /// When the chunk was read, if spans are sent.
    pub(crate) traced_since: Option<Duration>,
    /// One past the last record that `raw` is known to hold.
    pub(crate) raw_end: i64,
}

/// What the stages add to the open transaction, beside the records that they write.
pub(crate) struct Open<'t> {
    pub(crate) advance: &'t mut Advance,
    pub(crate) tally: &'t mut Tally,
    pub(crate) traced: &'t mut Traced,
}

impl<'s, S: WindowStore> Stages<'s, S> {
    pub(crate) fn new(
        step: Step<'static>,
        window: Window<S>,
        salts: LaneSalts<'s>,
        catalogue: Arc<Catalogue>,
        signals: Signals,
    ) -> Self {
        let (told, fires, value) = (Told::default(), Vec::new(), Vec::with_capacity(2_048));
        Self { step, window, salts, catalogue, told, signals, fires, value }
    }

    /// Takes a chunk of records through the stages.
    ///
    /// # Errors
    /// What a stage refuses. The transaction is then aborted, and with it what the stages before have noted.
    pub(crate) fn take(
        &mut self,
        raw: &[RawRecord<'_>],
        by: &By<'_>,
        open: Open<'_>,
        out: &impl Out,
    ) -> Result<(), End> {
        let Open { advance, tally, traced } = open;
        // Events borrow from it, and stay where they were built.
        let catalogue = Arc::clone(&self.catalogue);

        let decoded: Vec<Decoded<'_>> = raw.iter().map(|raw| self.step.decode(raw)).collect();
        catalogue.bring(decoded.iter().filter_map(Decoded::link));
        let mut verdicts = dedupe::judge(&mut self.window, &decoded, clock::latest(by.now))?;

        for (raw, decoded) in raw.iter().zip(decoded) {
            let verdict = verdicts.of(&decoded, by.lane)?;
            let work = by.traced_since.and_then(|since| traced.record(raw, since));
            let mut decided = enrich::label(&mut self.step, &mut self.salts, raw, decoded, verdict, &catalogue)?;
            tally.count(raw, &decided);
            let passed = fuse::pass(advance, raw, &decided, by, tally)?;
            // Counts are of the lane's time at the record.
            advance.saw(raw.time());
            let routed = route::route(&decided, &passed, by.routes, advance, &mut self.signals, tally, &mut self.fires);
            let mut records = encode::Records { by, raw, out, value: &mut self.value, work, traced };
            let written = records.event(&decided, passed)?;
            advance.wrote(written.bytes, by.now.wall_ms);
            records.facts(&written, &mut self.told, &mut decided, &catalogue)?;
            records.alerts(&written, &decided, routed)?;
            traced.became(work, &decided);
        }
        if let Some(last) = raw.last() {
            advance.read_append(last.appended_at);
        }
        Ok(())
    }

    /// The open transaction was committed: its marks are in the window, and those leave it that no record to come can
    /// look for. `time_ms` is the lane's time by the clocks, if it has one.
    ///
    /// # Errors
    /// When the window cannot be written.
    pub(crate) fn commit(
        &mut self,
        advance: &mut Advance,
        time_ms: Option<i64>,
        longest_window: Duration,
    ) -> Result<(), End> {
        advance.commit();
        self.window.commit(advance.committed().seen).map_err(unusable)?;
        let (Some(appended_ms), Some(time_ms)) = (advance.append_ms(), time_ms) else { return Ok(()) };
        let longest_ms = longest_window.as_millis() as i64;
        self.window.expire(clock::needed_from(appended_ms, time_ms, longest_ms)).map_err(unusable)
    }

    /// The open transaction was aborted: its records are read again.
    pub(crate) fn abort(&mut self, advance: &mut Advance) {
        advance.abort();
        self.window.abort();
        self.signals.abort();
    }
}
