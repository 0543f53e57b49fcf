//! What each report looks like, as text and as JSON. `INSTA_UPDATE=always cargo test -p hookline` writes the snapshots anew; a
//! change of one is a change of what operators and their scripts read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kafka::control::State;
use operate::check::{CheckReport, Contents, Finding};
use operate::dead_letters::body::DeadLetterBody;
use operate::dead_letters::discard::DiscardReport;
use operate::dead_letters::redrive::RedriveReport;
use operate::dead_letters::{self, ShowReport, Shown};
use operate::erase::Named;
use operate::ledger::accept_loss::{AcceptLossReport, EndLifeReport};
use operate::ledger::raw::{Kept, Record};
use operate::ledger::recover::{Gap, LaneRecovery, Misplaced, RecoverReport};
use operate::ledger::reset::{RecreateTopicReport, StartAnewReport, Waiting};
use operate::ledger::{LaneReport, LedgerReport, Repeated};
use operate::migrate::{MigrateReport, Migration};
use operate::replay::{Difference, LaneReplay, ReplayReport};
use operate::switches::{self, Changed, HistoryReport, Listed, SwitchReport, Switched};
use operate::{OffsetRange, Report};
use warehouse::{ChangedColumn, DeadLetterGroup, DeadLetterRow, Loss, RowDiff};

use super::{Page, Text};

/// 2025-11-25T12:00:00Z.
pub(super) const AT: i64 = 1_764_072_000_000;

/// Both renderings, and the exit code.
pub(super) fn rendered<R: Report + Text>(report: &R) -> String {
    let text = Page::of(report, "--config hookline.toml").shown();
    let json = serde_json::to_string_pretty(&serde_json::to_value(report).unwrap()).unwrap();
    format!("{text}---\n{json}\n---\nneeds attention: {}\n", report.needs_attention())
}

macro_rules! snapshot {
    ($name:literal, $report:expr) => {
        insta::assert_snapshot!($name, rendered(&$report));
    };
}

fn named(what: &str, done_at: Option<i64>, records: u64) -> Named {
    let at = |ms| Timestamp::from_millisecond(ms).unwrap();
    let (who, why) = ("ana".to_owned(), "request 7".to_owned());
    Named { id: "0190-7".into(), what: what.into(), who, why, at: at(AT), done_at: done_at.map(at), records }
}

fn lane(lane: u16) -> LaneReport {
    LaneReport {
        incarnation: "018f".into(),
        lane,
        records: 1_000,
        expected: 1_000,
        missing: 0,
        repeated: 0,
        lost: 0,
        settled: Some(1_000),
        waiting: Some(7),
        waiting_minutes: 0,
        more: false,
        missing_offsets: Vec::new(),
        under_way: Vec::new(),
        repeated_offsets: Vec::new(),
        kept: Some(Kept { from: 0, to: 1_007 }),
        details: Vec::new(),
    }
}

#[test]
fn a_ledger_that_balances() {
    let report = LedgerReport {
        ok: true,
        incarnation: Some("018f".into()),
        kafka: None,
        lanes: vec![lane(0), LaneReport { settled: None, waiting: None, ..lane(1) }],
        losses: Vec::new(),
        erasures: Vec::new(),
        next: Vec::new(),
    };
    snapshot!("ledger_balances", report);
}

#[test]
fn a_ledger_with_a_lane_that_stands_still() {
    let report = LedgerReport {
        ok: true,
        incarnation: Some("018f".into()),
        kafka: None,
        lanes: vec![lane(0), LaneReport { waiting: Some(9_187), waiting_minutes: 6, ..lane(1) }],
        losses: Vec::new(),
        erasures: Vec::new(),
        next: Vec::new(),
    };
    assert!(report.needs_attention(), "nothing is missing, and a lane stands still");
    snapshot!("ledger_waiting", report);
}

#[test]
fn a_ledger_with_every_fault() {
    let faulty = LaneReport {
        records: 990,
        missing: 6,
        repeated: 1,
        lost: 3,
        missing_offsets: vec![OffsetRange(3..7), OffsetRange(20..21), OffsetRange(30..31)],
        under_way: vec![OffsetRange(1_000..1_004)],
        repeated_offsets: vec![Repeated { offset: 40, rows: 2 }],
        kept: Some(Kept { from: 5, to: 1_007 }),
        details: vec![Record {
            offset: 20,
            source: "dub".into(),
            received_at: AT,
            receipt: "req_1".into(),
            key: "click:1".into(),
            bytes: 310,
        }],
        ..lane(0)
    };
    let report = LedgerReport {
        ok: false,
        incarnation: Some("0190".into()),
        kafka: None,
        lanes: vec![faulty, LaneReport { more: true, ..lane(1) }],
        losses: vec![
            Loss { lane: 0, first_offset: 8, last_offset: 10, at: AT, who: "ana".into(), why: "disk gone".into() },
            Loss {
                lane: 1,
                first_offset: 9,
                last_offset: warehouse::NO_MORE - 1,
                at: AT,
                who: "ana".into(),
                why: "cluster rebuilt".into(),
            },
        ],
        erasures: vec![
            named("the source dub", Some(AT + 60_000), 12),
            named("a link (hash 00000000000000ff)", None, 0),
        ],
        next: vec!["hookline replay --config hookline.toml --lane 0 --from 5 --to 6".into(), "hookline …".into()],
    };
    snapshot!("ledger_every_fault", report);
}

#[test]
fn a_ledger_when_kafka_does_not_answer() {
    let report = LedgerReport {
        ok: true,
        incarnation: None,
        kafka: Some("cannot reach 127.0.0.1:9092".into()),
        lanes: Vec::new(),
        losses: Vec::new(),
        erasures: Vec::new(),
        next: Vec::new(),
    };
    snapshot!("ledger_without_kafka", report);
}

#[test]
fn losses_that_are_acknowledged() {
    let report = AcceptLossReport {
        ok: true,
        dry_run: false,
        lane: 3,
        records: 5,
        lost: vec![OffsetRange(1..5), OffsetRange(9..10)],
        who: "ana".into(),
        why: "retention was too short".into(),
    };
    snapshot!("accept_loss", report);
    snapshot!("accept_loss_nothing_new", AcceptLossReport { records: 0, lost: Vec::new(), dry_run: true, ..report });
    let life = EndLifeReport {
        ok: true,
        dry_run: false,
        life: "018f".into(),
        records: 90,
        ended_before: false,
        who: "ana".into(),
        why: "cluster rebuilt".into(),
    };
    snapshot!("accept_loss_life", life);
    snapshot!("accept_loss_life_dry_run", EndLifeReport { dry_run: true, ..life });
}

#[test]
fn positions_that_are_misplaced() {
    let fine = LaneRecovery { lane: 0, process: None, report: None };
    let gap = LaneRecovery { lane: 1, process: Some(Gap { lost: vec![OffsetRange(0..900)] }), report: None };
    let moved = Misplaced {
        fault: "the position is beyond the end of events",
        from: Some(77),
        to: Some(60),
        settled: Some(55),
        to_replay: Some(vec![OffsetRange(40..55)]),
    };
    let lost = Misplaced {
        fault: "the position is lost, and the lane was reported before",
        from: None,
        to: Some(0),
        settled: Some(0),
        to_replay: None,
    };
    let lanes = vec![
        fine.clone(),
        gap,
        LaneRecovery { lane: 2, process: None, report: Some(moved) },
        LaneRecovery { lane: 3, process: None, report: Some(lost) },
    ];
    snapshot!("recover_look", RecoverReport { ok: false, applied: false, lanes: lanes.clone() });
    snapshot!("recover_applied", RecoverReport { ok: true, applied: true, lanes });
    snapshot!("recover_fine", RecoverReport { ok: true, applied: false, lanes: vec![fine] });
}

#[test]
fn topics_that_begin_anew() {
    let lanes = vec![
        Waiting { lane: 0, raw_end: Some(100), settled: 90, lost: Some(10) },
        Waiting { lane: 1, raw_end: None, settled: 90, lost: None },
    ];
    let look = StartAnewReport { ok: false, applied: false, lives: vec!["018f".into()], lanes, deleted: Vec::new() };
    snapshot!("start_anew_look", look);
    let deleted = vec!["hookline.raw.v1", "hookline.events.v1"];
    snapshot!("start_anew_applied", StartAnewReport { ok: true, applied: true, deleted, ..look });
    let topic = "hookline.alerts.v1";
    let report = RecreateTopicReport { ok: true, topic, created: true, why: "deleted by mistake".into() };
    snapshot!("recreate_topic", report);
    snapshot!("recreate_topic_was_there", RecreateTopicReport { created: false, ..report });
}

#[test]
fn a_replay_that_finds_differences() {
    let column =
        ChangedColumn { column: "channel", rows: 2, example: 17, is: "email".into(), would_be: "newsletter".into() };
    let diff =
        RowDiff { compared: 8, missing: vec![3, 4, 9], repeated: vec![5], moved: 1, changed: 2, columns: vec![column] };
    let lane =
        LaneReplay { lane: 2, from: 0, to: 9, diff: diff.into(), written: None, after: None, frozen: Vec::new() };
    let report = ReplayReport { ok: false, applied: false, shadow: None, lanes: vec![lane.clone()], replaced: false };
    snapshot!("replay_look", report);
    let after: Difference = RowDiff { compared: 10, ..RowDiff::default() }.into();
    let lane = LaneReplay {
        written: Some(3),
        after: Some(after.clone()),
        frozen: vec!["campaign_channel_daily of 2025-11-01".into()],
        ..lane
    };
    let shadow = Some("replay_1".to_owned());
    snapshot!(
        "replay_replaced",
        ReplayReport { ok: true, applied: true, shadow, lanes: vec![lane.clone()], replaced: true }
    );
    let lane = LaneReplay { diff: after, written: None, after: None, frozen: Vec::new(), ..lane };
    snapshot!(
        "replay_agrees",
        ReplayReport { ok: true, applied: false, shadow: None, lanes: vec![lane], replaced: false }
    );
}

fn row() -> DeadLetterRow {
    DeadLetterRow {
        incarnation: "018f".into(),
        lane: 2,
        raw_offset: 7,
        source: "shop".into(),
        event_key: "click:a".into(),
        request_id: "req_1".into(),
        received_at: AT,
        stage: "adapt".into(),
        reason: "missing_field".into(),
        detail: "link.id is not there".into(),
        redrive_of: "1/5".into(),
        state: "open".into(),
        decided_at: 0,
        decided_by: String::new(),
        decided_why: String::new(),
    }
}

#[test]
fn dead_letters_that_are_counted_and_shown() {
    let group = DeadLetterGroup {
        source: "shop".into(),
        stage: "adapt".into(),
        reason: "missing_field".into(),
        number: 9,
        open: 4,
        redriven: 3,
        discarded: 2,
        first_seen: AT,
        last_seen: AT + 60_000,
    };
    let foreign = DeadLetterGroup { source: String::new(), open: 0, redriven: 9, discarded: 0, ..group.clone() };
    snapshot!("dlq_list", dead_letters::ListReport { ok: false, open: 4, groups: vec![group, foreign] });
    snapshot!("dlq_list_empty", dead_letters::ListReport { ok: true, open: 0, groups: Vec::new() });
    let headers = vec![("hookline".to_owned(), b"\xff".to_vec())];
    let text = DeadLetterBody { headers: headers.clone(), body: b"{\"a\":\"\x1b[31m\"}".to_vec() };
    let bytes = DeadLetterBody { headers, body: vec![0xff, 0x00] };
    let decided = DeadLetterRow {
        state: "discarded".into(),
        decided_at: AT,
        decided_by: "ana".into(),
        decided_why: "a test of theirs".into(),
        ..row()
    };
    let begun = DeadLetterRow { state: "open".into(), ..decided.clone() };
    let letters = vec![
        Shown::new(Some(text), row()),
        Shown::new(None, begun),
        Shown::new(Some(bytes), decided.clone()),
        Shown::new(None, decided),
    ];
    snapshot!("dlq_show", ShowReport { ok: true, personal_data: "may be in body and headers", letters });
    let none = ShowReport { ok: false, personal_data: "may be in body and headers", letters: Vec::new() };
    snapshot!("dlq_show_none", none);
}

#[test]
fn dead_letters_that_are_decided_about() {
    let skipped = BTreeMap::from([
        ("was redriven before".to_owned(), 1),
        ("would be a dead letter again (not_json)".to_owned(), 6),
    ]);
    let report = RedriveReport {
        ok: false,
        dry_run: false,
        seen: 10,
        redriven: 3,
        appended: 4,
        unreadable: 1,
        left: 7,
        skipped,
        examples: BTreeMap::from([(
            "would be a dead letter again (not_json)".to_owned(),
            "expected value at line 1".to_owned(),
        )]),
        cancelled: false,
        force: false,
    };
    snapshot!("dlq_redrive", report);
    snapshot!(
        "dlq_redrive_dry_run",
        RedriveReport {
            dry_run: true,
            skipped: BTreeMap::new(),
            examples: BTreeMap::new(),
            left: 0,
            ok: true,
            ..report.clone()
        }
    );
    snapshot!("dlq_redrive_none", RedriveReport { seen: 0, redriven: 0, appended: 0, unreadable: 0, ..report });
    let report = DiscardReport { ok: true, dry_run: true, discarded: 9, who: String::new(), why: "noise".into() };
    snapshot!("dlq_discard_dry_run", report);
    snapshot!("dlq_discard", DiscardReport { dry_run: false, who: "ana".into(), ..report });
}

#[test]
fn sources_that_are_switched() {
    let at = Timestamp::from_millisecond(AT).unwrap();
    let switch = |state| Switched {
        object: "source/dub".into(),
        state,
        who: "ana".into(),
        why: "plan change".into(),
        until: (state == State::Pause).then_some(at),
        at,
    };
    let changed = |state, was| Changed { switch: switch(state), was };
    for (name, state, was) in [
        ("pause", State::Pause, State::Accept),
        ("quarantine", State::Quarantine, State::Quarantine),
        ("retire", State::Retired, State::Accept),
        ("resume", State::Accept, State::Pause),
    ] {
        let warning = (state == State::Pause).then(|| "the sender gives up after 3 h".to_owned());
        let report = SwitchReport { ok: true, change: changed(state, was), warning };
        insta::assert_snapshot!(format!("switch_{name}"), rendered(&report));
    }
    let listed = |state, configured| Listed { switch: switch(state), configured };
    let switched = vec![listed(State::Pause, true), listed(State::Retired, false)];
    let unreadable = vec!["a record of source/x is of another version".to_owned()];
    snapshot!("switches", switches::ListReport { ok: false, switched, unreadable: unreadable.clone() });
    snapshot!("switches_none", switches::ListReport { ok: true, switched: Vec::new(), unreadable: Vec::new() });
    let changes = vec![changed(State::Pause, State::Accept), changed(State::Accept, State::Pause)];
    snapshot!("switches_history", HistoryReport { ok: false, changes, unreadable });
    snapshot!("switches_no_history", HistoryReport { ok: true, changes: Vec::new(), unreadable: Vec::new() });
}

#[test]
fn tables_that_are_migrated() {
    let migrations = vec![
        Migration { database: "hookline".into(), version: 3, name: "records".into(), shard: None },
        Migration { database: "hookline_test".into(), version: 0, name: "view events".into(), shard: Some(2) },
    ];
    let report = MigrateReport { applied: false, migrations };
    snapshot!("migrate_dry_run", report);
    snapshot!("migrate", MigrateReport { applied: true, ..report });
    snapshot!("migrate_nothing", MigrateReport { applied: true, migrations: Vec::new() });
}

#[test]
fn configurations_that_are_checked() {
    let finding = |message: &str, hint: &str| Finding {
        file: "hookline.toml".into(),
        line: 3,
        column: 5,
        message: message.into(),
        hint: hint.into(),
        text: format!("hookline.toml:3:5: {message}; {hint}"),
    };
    let report = CheckReport {
        templates: Vec::new(),
        ok: true,
        version: Some("1f2e".into()),
        errors: Vec::new(),
        warnings: vec![finding("secret a ends tomorrow", "add the next one")],
        file: "hookline.toml".into(),
        contents: Some(Contents {
            sources: 2,
            rules: 5,
            tests: 0,
            destinations: 1,
            window_hours: 168,
            window_bytes: 1_234_000_000,
            lanes: 12,
        }),
    };
    snapshot!("check_fine", report);
    let errors = vec![finding("unknown key \"sorce\"", "did you mean \"source\"?")];
    snapshot!("check_errors", CheckReport { ok: false, version: None, errors, contents: None, ..report });
}
