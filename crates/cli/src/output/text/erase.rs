//! What an erasure found, did and proved.

use operate::erase::{DayAgain, EraseReport, OneErasure, TopicRest};
use warehouse::{Recomputed, Resting, Sent};

use super::{Page, SHOWN, Text, line, time};

impl Text for EraseReport {
    fn text(&self, page: &mut Page) {
        if self.erasures.is_empty() {
            line!(page, "Nothing was ever erased.");
            return;
        }
        self.erasures.iter().for_each(|one| one_erasure(page, one, self.applied));
        at_rest(page, self);
        elsewhere(page);
        next(page, self);
    }
}

fn one_erasure(page: &mut Page, one: &OneErasure, applied: bool) {
    let rows = |resting: &[Resting]| resting.iter().map(|resting| resting.rows).sum::<u64>();
    line!(page, "{}, received up to {}", one.what, time::shown(one.through));
    if let (Some(done), Some(id)) = (one.done_at, &one.id) {
        let (at, records) = (time::shown(done.as_millisecond()), one.records);
        line!(page, "  erased {at}: {records} records, by {}: {} (erasure {id})", one.who, one.why);
    } else if let Some(id) = &one.id {
        line!(page, "  begun {}, by {}: {} (erasure {id})", time::shown(one.at.as_millisecond()), one.who, one.why);
    }
    let after = one.after.as_deref();
    line!(page, "  {:<44} {:<22} {:>10} {:>10}", "table", "", "before", "now");
    for (place, Resting { table, what, rows }) in one.before.iter().enumerate() {
        let now = after.and_then(|after| after.get(place)).map(|resting| resting.rows);
        if *rows > 0 || now.is_some_and(|now| now > 0) {
            let now = now.map_or_else(|| "-".to_owned(), |now| now.to_string());
            line!(page, "  {table:<44} {what:<22} {rows:>10} {now:>10}");
        }
    }
    match after {
        Some(after) if rows(after) == 0 => {
            line!(page, "  Read again: {} tables and counts, nothing rests in any of them.", after.len());
        }
        Some(after) => line!(page, "  RESTS   {} rows are there still.", rows(after)),
        None => {}
    }
    if rows(&one.before) == 0 && one.records == 0 {
        line!(page, "  No row was about it: is the name as the columns have it?");
    }
    days(page, &one.days);
    for name in one.also_named.iter().take(SHOWN) {
        line!(page, "  its rows also name {name}: erase that too, if it is the same");
    }
    for key in one.catalogue.iter().take(SHOWN) {
        let verb = if applied { "was taken from" } else { "is on" };
        let list = if key.starts_with("list ") { "; take it out of the list of [catalogue] too" } else { "" };
        line!(page, "  {key:?} {verb} the topic links{list}");
    }
    for Sent { destination, messages, until } in &one.sent {
        line!(page, "  sent to {destination}: {messages} messages, up to {}; ask there", time::shown(*until));
    }
    for TopicRest { topic, what, records, lanes, gone_by } in &one.topics {
        let number = records.map_or_else(String::new, |records| format!("{records} records: "));
        let until =
            gone_by.map_or_else(|| "until it is compacted".to_owned(), |at| format!("gone by {}", time::shown(at)));
        line!(page, "  {topic}: {number}{what}; {until}");
        for lane in lanes.iter().take(SHOWN) {
            line!(page, "    lane {}: {} between offsets {} and {}", lane.lane, lane.records, lane.first, lane.last);
        }
    }
}

fn days(page: &mut Page, days: &[DayAgain]) {
    let again = days.iter().filter(|again| !again.day.frozen).count();
    if again > 0 {
        line!(page, "  computed again: {again} reports of closed days");
    }
    for DayAgain { database, day: Recomputed { report, day, .. } } in
        days.iter().filter(|again| again.day.frozen).take(SHOWN)
    {
        line!(page, "  keeps its sums, its rows are thinned or cleared: {database}.{report} of {day}");
    }
}

fn at_rest(page: &mut Page, report: &EraseReport) {
    if report.waiting > 0 {
        line!(
            page,
            "WAITING   {} records that were accepted before are not rows yet, so this is not done: those that are meant become",
            report.waiting
        );
        line!(page, "          stubs as they come. See that the lanes go on: hookline status {}", page.flag());
    }
    if report.unplanned_messages > 0 {
        line!(
            page,
            "MESSAGES  {} messages that wait for their time have an alert about it, so this is not done: once they are planned,",
            report.unplanned_messages
        );
        line!(page, "          the same again takes their texts away");
    }
    if report.unfinished_mutations > 0 {
        line!(page, "REWRITING {} mutations of ClickHouse are under way", report.unfinished_mutations);
    }
    if report.former_parts.parts > 0 {
        let former = &report.former_parts;
        line!(
            page,
            "ON DISK   {} parts that were rewritten, {} bytes, which no query reads; ClickHouse deletes them some time after {}",
            former.parts,
            former.bytes,
            time::shown(former.gone_by)
        );
    }
    for detached in &report.detached_parts {
        line!(
            page,
            "DETACHED  {} parts of {}: what is in them is not known. Look, and ALTER TABLE … DROP DETACHED PART",
            detached.parts,
            detached.table
        );
    }
    if let Some(source) = &report.still_sends {
        line!(
            page,
            "The source {source} is configured and may send more: hookline pause source/{source} --retire {} --why TEXT",
            page.flag()
        );
    }
}

fn elsewhere(page: &mut Page) {
    line!(
        page,
        "Not reached from here: backups of ClickHouse, exports of analysts, CSV files, bodies of dead letters that"
    );
    line!(page, "name it inside (hookline dlq show). The topic seen and the dedupe window hold keyed hashes only.");
}

fn next(page: &mut Page, report: &EraseReport) {
    let open = report.erasures.iter().any(|one| one.after.is_none() && one.before.iter().any(|rest| rest.rows > 0));
    match (report.applied, report.ok) {
        (true, true) => line!(page, "Proven: nothing of it rests in ClickHouse, in tables or on disks."),
        (true, false) => line!(page, "Next: the same again; it does what is left, and proves it"),
        (false, _) if open => line!(page, "Next: the same with --apply --why TEXT"),
        (false, _) => line!(page, "Next: hookline ledger {}", page.flag()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use operate::erase::LanePlaces;
    use warehouse::{Detached, Former};

    use super::*;
    use crate::output::text::tests::{AT, rendered};

    #[test]
    fn what_would_be_erased_and_what_was_with_its_proof() {
        let resting = |table: &str, what, rows| Resting { table: table.into(), what, rows };
        let before = vec![
            resting("hookline.records", "events", 12),
            resting("hookline.records", "duplicates", 0),
            resting("hookline.alert_log", "alerts", 1),
        ];
        let one = OneErasure {
            id: None,
            what: "the link go.acme.example/spring".into(),
            through: AT,
            who: String::new(),
            why: String::new(),
            at: Timestamp::from_millisecond(AT).unwrap(),
            done_at: None,
            records: 0,
            before: before.clone(),
            after: None,
            days: Vec::new(),
            also_named: vec!["l_1".into()],
            catalogue: vec!["list go.acme.example/spring".into()],
            sent: vec![Sent { destination: "growth".into(), messages: 2, until: AT }],
            topics: vec![
                TopicRest {
                    topic: "hookline.raw.v1",
                    what: "the bytes as they came, at these offsets",
                    records: Some(12),
                    lanes: vec![LanePlaces { lane: 3, records: 12, first: 17, last: 90 }],
                    gone_by: Some(AT + 700_000_000),
                },
                TopicRest {
                    topic: "hookline.detector-state.v1",
                    what: "windows of rules that count by link",
                    records: None,
                    lanes: Vec::new(),
                    gone_by: None,
                },
            ],
        };
        let look = EraseReport {
            ok: true,
            applied: false,
            erasures: vec![one.clone()],
            waiting: 0,
            unplanned_messages: 0,
            unfinished_mutations: 0,
            former_parts: Former::default(),
            detached_parts: Vec::new(),
            still_sends: Some("dub".into()),
        };
        insta::assert_snapshot!("erase_look", rendered(&look));
        let recomputed = |frozen| Recomputed {
            report: "link_hourly",
            day: "2025-11-24".parse().unwrap(),
            before: 20,
            now: 8,
            frozen,
        };
        let again = |frozen| DayAgain { database: "hookline".into(), day: recomputed(frozen) };
        let after = before.iter().cloned().map(|rest| Resting { rows: 0, ..rest }).collect();
        let done = OneErasure {
            id: Some("0190-7".into()),
            who: "ana".into(),
            why: "request 7".into(),
            done_at: Some(Timestamp::from_millisecond(AT + 9_000).unwrap()),
            records: 12,
            after: Some(after),
            days: vec![again(false), again(true)],
            ..one
        };
        let begun = OneErasure { done_at: None, ..done.clone() };
        let erased = EraseReport {
            ok: false,
            applied: true,
            erasures: vec![begun],
            waiting: 3,
            unplanned_messages: 1,
            former_parts: Former { parts: 2, bytes: 4_096, gone_by: AT + 480_000 },
            detached_parts: vec![Detached { table: "hookline.records".into(), parts: 1 }],
            ..look
        };
        insta::assert_snapshot!("erase_done", rendered(&erased));
        let proven = EraseReport {
            ok: true,
            erasures: vec![done],
            waiting: 0,
            unplanned_messages: 0,
            former_parts: Former::default(),
            detached_parts: Vec::new(),
            ..erased
        };
        insta::assert_snapshot!("erase_proven", rendered(&proven));
    }
}
