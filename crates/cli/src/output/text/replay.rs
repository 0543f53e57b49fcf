//! What came of a replay.

use operate::OffsetRange;
use operate::replay::{Difference, LaneReplay, ReplayReport};

use super::{Page, SHOWN, Text, line};

impl Text for ReplayReport {
    fn text(&self, page: &mut Page) {
        for LaneReplay { lane, from, to, diff, written, after, frozen } in &self.lanes {
            let range = OffsetRange(*from..to + 1);
            line!(page, "lane {lane}, {range}: {} records", range.count());
            difference(page, diff);
            if let Some(written) = written {
                line!(
                    page,
                    "  {written} rows were brought in{}",
                    if self.replaced { ", in place of what was there" } else { "" }
                );
            }
            match after {
                Some(after) if after.is_none() => line!(page, "  Now every record has its row, and they agree."),
                Some(after) => {
                    line!(page, "  What differs after that:");
                    difference(page, after);
                }
                None => {}
            }
            for report in frozen.iter().take(SHOWN) {
                line!(page, "  stays as it was closed (it has fewer rows now, or no identifiers): {report}");
            }
        }
        if let Some(shadow) = &self.shadow {
            line!(page, "The shadow stays, in hookline and hookline_test: {shadow}");
        }
        let missing: usize = self.lanes.iter().map(|lane| lane.diff.missing).sum();
        let others = self.lanes.iter().any(|lane| lane.diff.is_beyond_missing());
        match self.applied {
            true => line!(page, "Nobody was alerted. Next: hookline ledger {}", page.flag()),
            false if missing > 0 => {
                line!(page, "Next: the same with --apply brings the {missing} missing rows in; nobody is alerted")
            }
            false if others => {
                line!(page, "Next: the same with --apply --replace writes the range anew, as of today's configuration")
            }
            false => line!(page, "Rows and replay agree."),
        }
    }
}

fn difference(page: &mut Page, diff: &Difference) {
    let Difference { compared, missing, repeated, moved, changed, columns, missing_offsets, repeated_offsets } = diff;
    line!(page, "  {compared} rows compared, {missing} missing, {repeated} repeated, {changed} changed");
    for (what, ranges) in [("missing", missing_offsets), ("repeated", repeated_offsets)] {
        for range in ranges.iter().take(SHOWN) {
            line!(page, "    {what:<9} {range}");
        }
        if ranges.len() > SHOWN {
            line!(page, "    {what:<9} and {} further ranges", ranges.len() - SHOWN);
        }
    }
    if *moved > 0 {
        line!(page, "    {moved} rows would go to the other database (test data or not)");
    }
    for column in columns {
        line!(
            page,
            "    {:<22} differs in {} rows; at {}: {:?}, would be {:?}",
            column.column,
            column.rows,
            column.example,
            column.is,
            column.would_be
        );
    }
}
