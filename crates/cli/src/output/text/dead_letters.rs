//! Dead letters.

use event::raw::RawHeaders;
use operate::dead_letters::discard::DiscardReport;
use operate::dead_letters::redrive::RedriveReport;
use operate::dead_letters::{ListReport, ShowReport, Shown, hex};
use warehouse::{DeadLetterGroup, DeadLetterState};

use super::{Page, Text, line, time};

/// Bytes of a body that are printed.
const BYTES: usize = 64 * 1024;
/// Reasons that are printed.
const REASONS: usize = 10;

impl Text for ListReport {
    fn text(&self, page: &mut Page) {
        if self.groups.is_empty() {
            line!(page, "There are no dead letters.");
            return;
        }
        line!(
            page,
            "{:<20} {:<8} {:<24} {:>8} {:>8} {:>9} {:>10}  {:<21} {:<21}",
            "source",
            "stage",
            "reason",
            "all",
            "open",
            "redriven",
            "discarded",
            "first seen",
            "last seen"
        );
        for DeadLetterGroup { source, stage, reason, number, open, redriven, discarded, first_seen, last_seen } in
            &self.groups
        {
            let source = if source.is_empty() { "?" } else { source };
            line!(
                page,
                "{source:<20} {stage:<8} {reason:<24} {number:>8} {open:>8} {redriven:>9} {discarded:>10}  {:<21} {:<21}",
                time::shown(*first_seen),
                time::shown(*last_seen)
            );
        }
        match self.groups.iter().find(|group| group.open > 0) {
            Some(group) => {
                let flag = page.flag();
                let source =
                    if group.source.is_empty() { String::new() } else { format!(" --source {}", group.source) };
                let which = format!("{source} --stage {} --reason {}", group.stage, group.reason);
                line!(page, "{} are open.", self.open);
                line!(
                    page,
                    "Next: hookline dlq show {flag}{which}              what they are (personal data may be in them)"
                );
                line!(page, "      hookline dlq redrive {flag}{which} --dry-run what would become of them today");
                line!(page, "      hookline dlq discard {flag}{which} --why WHY if they will not be counted");
            }
            None => line!(page, "None is open."),
        }
    }
}

impl Text for ShowReport {
    fn text(&self, page: &mut Page) {
        self.letters.iter().for_each(|letter| shown(page, letter));
        let flag = page.flag();
        match self.letters.first().map(|letter| &letter.row) {
            Some(row) if row.state == DeadLetterState::Open.name() => {
                line!(page, "Next: hookline dlq redrive {flag} --offset {}:{} --dry-run", row.lane, row.raw_offset);
            }
            Some(_) => {}
            None => line!(page, "There is no such dead letter. Next: hookline dlq list {flag}"),
        }
    }
}

fn shown(page: &mut Page, Shown { row, letter, .. }: &Shown) {
    line!(page, "dead letter {}:{} ({})", row.lane, row.raw_offset, row.state);
    let mut lines = vec![
        ("source", row.source.clone()),
        ("received", time::shown(row.received_at)),
        ("receipt", row.request_id.clone()),
        ("key", row.event_key.clone()),
        ("refused by", format!("{}, {}", row.stage, row.reason)),
        ("because", row.detail.clone()),
    ];
    if !row.redrive_of.is_empty() {
        lines.push(("redrive of", row.redrive_of.replace('/', ":")));
    }
    if row.decided_at != 0 {
        let why = if row.decided_why.is_empty() { String::new() } else { format!(": {}", row.decided_why) };
        // Cut short, perhaps in the middle: a redrive takes it again, and each event of it counts once.
        let state = if row.is_begun() { "begun" } else { row.state.as_str() };
        lines.push((state, format!("{} by {}{why}", time::shown(row.decided_at), row.decided_by)));
    }
    if let Some(Ok(headers)) = letter.as_ref().map(|letter| RawHeaders::from_headers(letter.headers())) {
        lines.push(("adapter", headers.adapter.to_string()));
        lines.push(("secret", headers.secret_id.to_string()));
        lines.push(("type", headers.content_type.to_string()));
        lines.push(("in batch", headers.ordinal.to_string()));
        let attributes = headers.cloud_event.iter().map(|(name, value)| format!("ce-{name}: {value}"));
        lines.extend(attributes.map(|attribute| ("header", attribute)));
    }
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        line!(page, "  {name:<11} {value}");
    }
    let Some(letter) = letter else {
        line!(page, "  The topic dead-letters no longer holds its bytes.");
        return;
    };
    page.notice(format_args!("What follows is what the sender sent: it may hold personal data."));
    line!(page, "  {:<11} {}", "bytes", letter.body.len());
    let shown = &letter.body[..letter.body.len().min(BYTES)];
    match std::str::from_utf8(shown) {
        // Control characters could make a terminal do things.
        Ok(text) => line!(
            page,
            "{}",
            text.chars()
                .map(|letter| if letter.is_control() && !"\n\t".contains(letter) { '\u{fffd}' } else { letter })
                .collect::<String>()
        ),
        Err(_) => line!(page, "{}", hex(shown)),
    }
    if letter.body.len() > BYTES {
        page.notice(format_args!("({} further bytes; --json has all of them)", letter.body.len() - BYTES));
    }
}

impl Text for RedriveReport {
    fn text(&self, page: &mut Page) {
        let flag = page.flag();
        if self.seen == 0 {
            line!(page, "There is no such dead letter{}.", if self.force { "" } else { " that is open" });
            line!(page, "Next: hookline dlq list {flag}");
            return;
        }
        let verb = if self.dry_run { "would be" } else { "are" };
        line!(page, "{} of {} dead letters {verb} redriven, as {} records.", self.redriven, self.seen, self.appended);
        if self.unreadable > 0 {
            line!(
                page,
                "{} of the records cannot be read today either: they {verb} new dead letters.",
                self.unreadable
            );
        }
        let mut skipped: Vec<_> = self.skipped.iter().collect();
        skipped.sort_by_key(|(why, number)| (std::cmp::Reverse(**number), why.as_str()));
        for (why, number) in skipped.iter().take(REASONS) {
            let verb = if **number == 1 { "stays" } else { "stay" };
            let example = self.examples.get(*why).map(|found| format!("; the first of them: {found}"));
            line!(page, "  {number:>8} {verb}: {why}{}", example.unwrap_or_default());
        }
        if self.left > 0 {
            line!(
                page,
                "hookline dlq discard {flag}, with the same filter and --why WHY, closes what stays; --force redrives it all the same."
            );
        }
        match self.dry_run {
            true if self.redriven > 0 => line!(page, "Next: the same without --dry-run"),
            true => line!(page, "Next: hookline dlq list {flag}"),
            false => {
                line!(page, "Next: what became of them, in a second or two:");
                line!(
                    page,
                    "  SELECT outcome, type, counted, reason, count() FROM hookline.where_is WHERE redrive_of != '' GROUP BY ALL ORDER BY ALL"
                );
            }
        }
    }
}

impl Text for DiscardReport {
    fn text(&self, page: &mut Page) {
        match self.dry_run {
            true => line!(page, "{} dead letters would be discarded: {}", self.discarded, self.why),
            false => line!(page, "{} dead letters are discarded, by {}: {}", self.discarded, self.who, self.why),
        }
        line!(page, "Next: hookline dlq list {}", page.flag());
    }
}
