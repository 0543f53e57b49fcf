//! The closed reports of a day.

use operate::rebuild::{RebuildReport, ReportOfDay};
use warehouse::DayCompared;

use super::{Page, Text, line};

impl Text for RebuildReport {
    fn text(&self, page: &mut Page) {
        line!(page, "{:<46} {:>10} {:>10} {:>8} {:>8}  ", self.day, "closed", "events now", "rows", "differ");
        let closed = self.reports.iter().filter(|report| report.before.closed > 0);
        let mut none = true;
        for ReportOfDay { database, report, before, after } in closed {
            none = false;
            let DayCompared { closed, records, kept_rows, only_kept, only_live, frozen, .. } = before;
            let verdict = match after {
                _ if *frozen => "stays as it was closed: its rows are thinned or cleared",
                Some(after) if after.differs() => "computed again, and differs still: events are arriving",
                Some(_) => "computed again",
                None if before.differs() => "DIFFERS from its rows",
                None => "is what its rows say",
            };
            // A row that has changed is one of either side.
            let differ = only_kept.max(only_live);
            let name = format!("{database}.{report}");
            line!(page, "{name:<46} {closed:>10} {records:>10} {kept_rows:>8} {differ:>8}  {verdict}");
        }
        if none {
            line!(page, "No report of that day is closed: each is computed from its rows at every question.");
        }
        match (self.ok, self.applied) {
            (true, _) => line!(page, "Each report says what its rows say, where these can tell."),
            (false, false) => line!(page, "Next: the same with --apply"),
            (false, true) => line!(page, "Next: the same again; then hookline ledger {}", page.flag()),
        }
    }
}
