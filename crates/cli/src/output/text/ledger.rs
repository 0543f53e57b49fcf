//! The ledger, and what mends it.

use operate::OffsetRange;
use operate::erase::Named;
use operate::ledger::accept_loss::{AcceptLossReport, EndLifeReport};
use operate::ledger::raw::Record;
use operate::ledger::recover::{LaneRecovery, Misplaced, RecoverReport};
use operate::ledger::reset::{RecreateTopicReport, StartAnewReport, Waiting};
use operate::ledger::{LaneReport, LedgerReport, Repeated};
use warehouse::Loss;

use super::{Page, SHOWN, Text, line, time};

impl Text for LedgerReport {
    fn text(&self, page: &mut Page) {
        line!(
            page,
            "{:>5} {:>14} {:>14} {:>9} {:>9} {:>9} {:>14} {:>10}",
            "lane",
            "records",
            "expected",
            "missing",
            "repeated",
            "lost",
            "settled",
            "waiting"
        );
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for lane in &self.lanes {
            line!(
                page,
                "{:>5} {:>14} {:>14} {:>9} {:>9} {:>9} {:>14} {:>10}",
                lane.lane,
                lane.records,
                lane.expected,
                lane.missing,
                lane.repeated,
                lane.lost,
                number(lane.settled),
                number(lane.waiting),
            );
        }
        if self.lanes.is_empty() {
            line!(page, "No lane has settled anything yet.");
        }
        self.lanes.iter().for_each(|lane| faults(page, lane, self));
        for LaneReport { lane, waiting, waiting_minutes, .. } in self.lanes.iter().filter(|lane| lane.waits()) {
            line!(
                page,
                "WAITING   lane {lane}: {} records, the oldest for {waiting_minutes} minutes; none is lost. See \
                 docs/runbooks/lane-stalled.md",
                waiting.unwrap_or_default()
            );
        }
        for Loss { lane, first_offset, last_offset, at, who, why } in &self.losses {
            let range = match *last_offset + 1 {
                warehouse::NO_MORE => {
                    format!("{first_offset} and all that came after it in a life of the topics that is over")
                }
                end => OffsetRange(*first_offset..end).to_string(),
            };
            line!(page, "lost      lane {lane}: {range}, acknowledged by {who} at {}: {why}", time::shown(*at));
        }
        for Named { id, what, who, why, at, done_at, records } in &self.erasures {
            let (verb, at) = done_at.map_or(("ERASING", *at), |done| ("erased ", done));
            let at = time::shown(at.as_millisecond());
            line!(page, "{verb}   {what}: {records} records, by {who} at {at}: {why} (erasure {id})");
        }
        if let Some(why) = &self.kafka {
            line!(page, "Kafka does not answer, so whether raw still holds what is missing is unknown: {why}");
        }
        match self.next.split_first() {
            Some((first, others)) => {
                line!(page, "Next: {first}");
                others.iter().for_each(|command| line!(page, "      {command}"));
            }
            None if self.lanes.iter().any(LaneReport::waits) => {}
            None if self.kafka.is_none() => line!(page, "The ledger balances: every settled record is one row."),
            None => {}
        }
    }
}

fn faults(page: &mut Page, report: &LaneReport, ledger: &LedgerReport) {
    let LaneReport { lane, incarnation, .. } = report;
    let earlier = match &ledger.incarnation {
        Some(current) if current != incarnation => format!(" of an earlier life of the topics ({incarnation})"),
        _ => String::new(),
    };
    let (kept, gone) = report.kept_and_gone();
    let lists = [
        ("MISSING", kept, ""),
        ("MISSING", gone, ", which raw no longer holds"),
        ("under way", report.under_way.clone(), ", not settled yet"),
    ];
    for (what, ranges, remark) in &lists {
        for range in ranges.iter().take(SHOWN) {
            line!(page, "{what:<9} lane {lane}{earlier}: {}{remark}", range);
        }
        if ranges.len() > SHOWN {
            line!(page, "{what:<9} lane {lane}{earlier}: and {} further ranges{remark}", ranges.len() - SHOWN);
        }
    }
    for Record { offset, source, received_at, receipt, key, bytes } in &report.details {
        line!(
            page,
            "          {offset}  {}  source {source}  receipt {receipt}  key {key}  {bytes} bytes",
            time::shown(*received_at)
        );
    }
    for Repeated { offset, rows } in report.repeated_offsets.iter().take(SHOWN) {
        line!(page, "REPEATED  lane {lane}{earlier}: {offset} has {rows} rows");
    }
    if report.repeated > SHOWN || report.more {
        line!(page, "REPEATED  lane {lane}{earlier}: there is more than what is named here");
    }
}

impl Text for AcceptLossReport {
    fn text(&self, page: &mut Page) {
        let verb = if self.dry_run { "would be" } else { "are" };
        for range in &self.lost {
            line!(page, "lane {}: {} {verb} written down as lost, by {}: {}", self.lane, range, self.who, self.why);
        }
        match self.records {
            0 => line!(page, "Nothing to write down: each of these records has its row, or was acknowledged before."),
            _ => line!(page, "Next: hookline ledger {}", page.flag()),
        }
    }
}

impl Text for EndLifeReport {
    fn text(&self, page: &mut Page) {
        let verb = match (self.ended_before, self.dry_run) {
            (true, _) => "was written down as over before",
            (false, true) => "would be written down as over",
            (false, false) => "is written down as over",
        };
        line!(page, "{} {verb}, by {}: {}. Its {} rows stay, as history.", self.life, self.who, self.why, self.records);
        line!(page, "Next: restart report; then hookline ledger {}", page.flag());
    }
}

impl Text for RecoverReport {
    fn text(&self, page: &mut Page) {
        for LaneRecovery { lane, process, report } in self.lanes.iter().filter(|lane| !lane.is_fine()) {
            for gap in process.iter().flat_map(|gap| &gap.lost) {
                let verb = if self.applied { "was" } else { "would be" };
                line!(
                    page,
                    "lane {lane}: raw was deleted before it was processed: {} are lost; the lane {verb} moved past them",
                    gap
                );
            }
            let Some(Misplaced { fault, from, to, settled, to_replay }) = report else { continue };
            if let (Some(position), Some(settled)) = (to, settled) {
                let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
                let verb = if self.applied { "is now" } else { "belongs to" };
                line!(
                    page,
                    "lane {lane}: {fault}. The position of report was {from} and {verb} {position}, settled up to raw offset {settled}"
                );
            }
            for range in to_replay.iter().flatten() {
                line!(
                    page,
                    "lane {lane}: {} are neither rows nor in events: hookline replay {} --lane {lane} --from {} --to {} --apply brings in what \
                     raw still holds",
                    range,
                    page.flag(),
                    range.first(),
                    range.last()
                );
            }
        }
        match (self.lanes.iter().all(LaneRecovery::is_fine), self.applied) {
            (true, _) => {
                line!(
                    page,
                    "Every position is where it belongs. What rows are missing: hookline ledger {}",
                    page.flag()
                )
            }
            (false, true) => line!(
                page,
                "Next: restart process and report, if their lanes stand still; then hookline ledger {}",
                page.flag()
            ),
            (false, false) => line!(page, "Next: the same with --apply (and --why TEXT where records are lost)"),
        }
    }
}

impl Text for StartAnewReport {
    fn text(&self, page: &mut Page) {
        for Waiting { lane, raw_end, settled, .. } in &self.lanes {
            match raw_end {
                Some(end) => line!(
                    page,
                    "lane {lane}: rows up to raw offset {settled}; {} records of raw after that have none yet",
                    end.saturating_sub(*settled)
                ),
                None => line!(
                    page,
                    "lane {lane}: rows up to raw offset {settled}; how much came after that, cannot be known any more"
                ),
            }
        }
        if self.applied {
            line!(page, "Written down as over: {}. Deleted: {}.", self.lives.join(", "), self.deleted.join(", "));
            line!(
                page,
                "Next: start the services; they make the topics, and a new life begins. Ask senders to send again what they keep."
            );
        } else {
            line!(
                page,
                "A new life of the topics begins at offset 0. The rows that there are stay, as history. What is lost:"
            );
            line!(
                page,
                "  records that have no row yet (start report without process and ingest, to bring in what events still holds)"
            );
            line!(page, "  the dedupe window: what was counted before, and is sent again, counts again");
            line!(page, "  messages that are owed, open windows of rules, dead letters, pauses of sources");
            line!(page, "Next: stop all services, then the same with --apply --why TEXT");
        }
    }
}

impl Text for RecreateTopicReport {
    fn text(&self, page: &mut Page) {
        let Self { topic, created, why, .. } = self;
        match created {
            true => line!(page, "{topic} is there again, empty: {why}. Next: start the services"),
            false => line!(page, "{topic} was there: nothing was done"),
        }
    }
}
