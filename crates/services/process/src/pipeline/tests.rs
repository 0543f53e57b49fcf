use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use ::dedupe::MemoryStore;
use ::enrich::Links;
use adapter::Dialect;
use event::raw::RawHeaders;
use event::trace::TRACEPARENT;
use event::{DeadLetter, LinkEvent, Outcome, TraceContext};
use kafka::control::Control;
use kafka::{Cluster, Topic};
use proptest::prelude::*;
use rules::{Per, Rule, Trigger, When};
use runtime::HaltReason;

use super::*;
use crate::Salts;
use crate::cuts::{Open as OpenBlock, Policy};
use crate::fuse::Fuse;
use crate::position::Carried;

const WINDOW_MS: i64 = 72 * 3_600_000;
const NOW: i64 = 1_795_428_001_000;
pub(super) const CLICK: &[u8] = br#"{"id":"1","type":"click","time":"2026-11-23 11:00:00","link":{"id":"l"}}"#;
const CREATED: &[u8] =
    br#"{"id":"2","type":"link.created","time":"2026-11-23 10:00:00","link":{"id":"l","campaign":"autumn"}}"#;

pub(super) fn pipeline(sources: HashMap<String, SourceRules>) -> Pipeline {
    let gone = SourceRules { window_ms: 1, dialect: Dialect::PLAIN, visitors: true };
    let (adapt, enrich) = (adapter::Options::default(), ::enrich::Settings::default());
    let references = ::enrich::References::default();
    Pipeline { sources, gone, adapt, enrich, references, owners: BTreeSet::new(), config_version: "0".into() }
}

pub(super) fn control() -> Control {
    Control { incarnation: String::new(), lanes: 1, partitioner: 1, recipes: 1, dedupe_key: [0; 16] }
}

fn known() -> Pipeline {
    let rules = SourceRules { window_ms: WINDOW_MS as u64, dialect: Dialect::PLAIN, visitors: true };
    pipeline(HashMap::from([("s".to_owned(), rules)]))
}

fn headers(received_at: i64) -> RawHeaders<'static> {
    RawHeaders { source: "s".into(), adapter: "canonical".into(), received_at, ..RawHeaders::default() }
}

fn record<'r>(offset: u64, key: &'r [u8], body: &'r [u8]) -> RawRecord<'r> {
    RawRecord::new(0, offset, NOW + offset as i64, key, body, Ok(headers(NOW)))
}

/// One that came at another time than the others.
fn late(offset: u64, at: i64, key: &'static [u8], body: &'static [u8]) -> RawRecord<'static> {
    RawRecord::new(0, offset, at, key, body, Ok(headers(at)))
}

/// A record as it was sent.
struct Record {
    topic: Topic,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// A transaction that holds what is sent into it.
#[derive(Default)]
struct Sent(RefCell<Vec<Record>>);

impl Out for Sent {
    fn send<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        topic: Topic,
        _partition: u16,
        key: &[u8],
        value: &[u8],
        headers: &[(N, V)],
    ) -> Result<(), End> {
        let headers = headers.iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_vec())).collect();
        self.0.borrow_mut().push(Record { topic, key: key.to_vec(), value: value.to_vec(), headers });
        Ok(())
    }
}

impl Sent {
    fn topics(&self) -> Vec<Topic> {
        self.0.borrow().iter().map(|record| record.topic).collect()
    }

    fn events(&self, see: impl FnMut(LinkEvent<'_>)) {
        let sent = self.0.borrow();
        let events = sent.iter().filter(|record| record.topic == Topic::Events);
        events.map(|record| LinkEvent::from_wire(&Ids::FIXED, &record.value).expect("an event")).for_each(see);
    }
}

/// A lane without engines: the stages, over a window in memory.
struct Bench<'s> {
    stages: Stages<'s, MemoryStore>,
    routes: RuleIndex,
    advance: Advance,
    tally: Tally,
    sent: Sent,
    past_fuse: Option<u64>,
    now: Moment,
    traced_since: Option<Duration>,
}

impl<'s> Bench<'s> {
    fn new(salts: &'s Salts, rules: Vec<Rule>) -> Self {
        let routes = RuleIndex::new(rules);
        let step = Step::shared(Arc::new(known()), &control());
        let signals = Signals::new(0, 1, &routes);
        let catalogue = Arc::new(Links::default().catalogue());
        let window = Window::new(MemoryStore::default());
        let stages = Stages::new(step, window, LaneSalts::new(salts), catalogue, signals);
        let seen = ::dedupe::SeenPosition { next_offset: 0, raw_hi: 0 };
        let carried =
            Carried { seen, open: OpenBlock::default(), fuse: Fuse::default(), links: 0, watermark_ms: NOW - 60_000 };
        let advance = Advance::from(carried, Policy::for_lanes(1));
        let now = Moment { wall_ms: NOW + 1_000, monotonic_ms: 1 };
        let (tally, sent) = (Tally::default(), Sent::default());
        Self { stages, routes, advance, tally, sent, past_fuse: None, now, traced_since: None }
    }

    fn take(&mut self, raw: &[RawRecord<'_>]) -> Result<(), End> {
        let plan = Plan::new(1, 1);
        let by = By {
            lane: 0,
            plan: &plan,
            ids: &Ids::FIXED,
            routes: &self.routes,
            fuse: Limits { run: 2, percent: 0 },
            past_fuse: self.past_fuse,
            now: self.now,
            traced_since: self.traced_since,
            raw_end: 20,
        };
        let open = Open { advance: &mut self.advance, tally: &mut self.tally, traced: &mut Traced::default() };
        self.stages.take(raw, &by, open, &self.sent)?;
        self.advance.read_to(raw.last().map_or(0, |last| last.offset + 1));
        Ok(())
    }

    /// Commits what was taken, at a time.
    fn commit(&mut self, at_ms: i64) {
        self.advance.position(self.advance.committed().seen.next_offset);
        let longest = Duration::from_millis(WINDOW_MS as u64);
        self.stages.commit(&mut self.advance, Some(at_ms), longest).expect("a window in memory");
    }

    fn abort(&mut self) {
        self.stages.abort(&mut self.advance);
    }

    /// How many events rules have counted.
    fn counted(&self) -> u64 {
        let batches = self.stages.signals.batches(NOW, NOW);
        batches.iter().flat_map(|(_, batch)| &batch.signals).map(|signal| signal.count).sum()
    }
}

fn salts() -> Salts {
    Salts::new(Cluster::new("127.0.0.1:1"), Duration::from_secs(1))
}

fn rules() -> Vec<Rule> {
    let clicks = || When::new(vec![], vec![]);
    vec![
        Rule::new("each", "growth", clicks(), Some(Trigger::Each)),
        Rule::new("quiet", "growth", clicks(), Some(Trigger::Each)).in_shadow(true),
        Rule::new("many", "growth", clicks(), Trigger::count(10, Per::Link, 60_000, 0).ok()),
    ]
}

#[test]
fn a_record_goes_through_all_stages_and_the_event_is_written_first() {
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    bench.take(&[record(0, b"1", CLICK), record(1, b"2", b"{}"), record(2, b"1", CLICK)]).expect("three records");
    let topics = [Topic::Events, Topic::Alerts, Topic::Events, Topic::DeadLetters, Topic::Events];
    assert_eq!(bench.sent.topics(), topics, "an event with its alert, a dead letter with its body, a duplicate alone");
    let mut outcomes = Vec::new();
    bench.sent.events(|event| outcomes.push((event.outcome, event.first_offset, event.stage.into_owned())));
    let none = String::new;
    assert_eq!(
        outcomes,
        [
            (Outcome::Event, 0, none()),
            (Outcome::DeadLetter, 0, DECODE.shown_as.to_owned()),
            (Outcome::Duplicate, 0, none()),
        ]
    );
    assert_eq!(bench.counted(), 1, "a duplicate and a dead letter count for no rule");
    assert_eq!(bench.tally.shadow_alerts.values().sum::<u64>(), 1);
    let written = bench.sent.0.borrow();
    let events = written.iter().filter(|record| record.topic == Topic::Events);
    let bytes: usize = events.map(|record| record.value.len()).sum();
    assert_eq!((bench.advance.current().open.rows, bench.advance.current().open.bytes), (3, bytes as u64));
    assert_eq!(bench.advance.watermark_ms(), NOW + 2);
}

#[test]
fn what_a_platform_tells_of_its_link_is_written_behind_the_event_and_before_its_alerts() {
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    bench.take(&[record(0, b"1", CREATED), record(1, b"1", CREATED)]).expect("an event and its duplicate");
    assert_eq!(bench.sent.topics(), [Topic::Events, Topic::Links, Topic::Alerts, Topic::Events]);
    let sent = bench.sent.0.borrow();
    let keys: Vec<&[u8]> = sent.iter().map(|record| record.key.as_slice()).collect();
    assert_eq!(keys, [&b"1"[..], b"platform l", b"each", b"1"]);
    assert!(sent.iter().all(|record| record.headers.is_empty()), "what is not traced has none");
}

#[test]
fn a_dead_letter_keeps_the_headers_of_its_record_beside_its_reason() {
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    bench.take(&[record(7, b"1", b"{}")]).expect("a dead letter");
    let sent = bench.sent.0.borrow();
    let [event, letter] = &sent[..] else { panic!("{:?}", bench.sent.topics()) };
    assert_eq!((event.topic, letter.topic, &letter.value[..]), (Topic::Events, Topic::DeadLetters, &b"{}"[..]));
    assert_eq!(RawHeaders::from_headers(letter.headers()), Ok(headers(NOW)));
    let dead = DeadLetter::from_headers(letter.headers()).expect("its reason");
    assert_eq!((dead.stage.as_str(), dead.lane, dead.offset), (DECODE.shown_as, 0, 7));
}

#[test]
fn what_is_written_for_a_traced_event_is_of_its_trace() {
    let salts = salts();
    let mut bench = Bench { traced_since: Some(Duration::ZERO), ..Bench::new(&salts, rules()) };
    let trace = TraceContext { trace_id: [7; 16], span_id: [9; 8], sampled: true };
    let traced = |offset, sampled, body| {
        let trace = Some(TraceContext { sampled, ..trace });
        RawRecord::new(0, offset, NOW, body, body, Ok(RawHeaders { trace, ..headers(NOW) }))
    };
    bench.take(&[traced(0, true, CREATED), traced(1, false, CLICK)]).expect("two events, of which one is sampled");
    let sent = bench.sent.0.borrow();
    let spans: Vec<_> = sent
        .iter()
        .map(|record| {
            let mut headers = record.headers().map(|(name, value)| {
                assert_eq!(name, TRACEPARENT);
                TraceContext::parse(value).expect("a context")
            });
            (record.topic, headers.next())
        })
        .collect();
    let [(Topic::Events, Some(event)), (Topic::Links, None), (Topic::Alerts, Some(alert)), untraced @ ..] = &spans[..]
    else {
        panic!("{spans:?}");
    };
    assert_eq!((event.trace_id, alert.trace_id), (trace.trace_id, trace.trace_id));
    let distinct: BTreeSet<_> = [trace, *event, *alert].iter().map(|context| context.span_id).collect();
    assert_eq!(distinct.len(), 3, "each record has its own span");
    assert_eq!(untraced, [(Topic::Events, None), (Topic::Alerts, None)]);
}

#[test]
fn the_fuse_goes_before_what_is_written_of_its_record_and_is_passed_by_command() {
    let salts = salts();
    let dead = [record(0, b"1", b"{}"), record(1, b"2", b"{}"), record(2, b"3", CLICK)];
    let mut bench = Bench::new(&salts, rules());
    let end = bench.take(&dead).expect_err("two dead letters in a row");
    assert!(
        matches!(&end, End::Halt { reason: HaltReason::Fuse, message } if message.contains("--past-fuse 0@19")),
        "{end}"
    );
    assert_eq!(bench.sent.topics(), [Topic::Events, Topic::DeadLetters], "of the second nothing is written");
    let mut bench = Bench { past_fuse: Some(1), ..Bench::new(&salts, rules()) };
    bench.take(&dead).expect("an operator lets them pass");
    assert_eq!(bench.counted(), 1);
}

#[test]
fn what_an_aborted_transaction_counted_is_counted_when_it_is_read_again_and_not_before() {
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    let records = [record(0, b"1", CLICK), record(1, b"2", b"{}"), record(2, b"3", b"{}")];
    bench.take(&records).expect_err("the fuse");
    assert_eq!(bench.counted(), 1);
    bench.abort();
    // As for the last transaction of a lane that halts: it ends the block, and says what is counted.
    assert_eq!(bench.counted(), 0);
    bench.take(&records[..1]).expect("read again");
    assert_eq!(bench.counted(), 1);
}

/// After an outage, the chunks of one transaction are hours apart.
#[test]
fn what_an_aborted_transaction_read_makes_no_mark_expire() {
    const HOUR: i64 = 3_600_000;
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    bench.take(&[record(0, b"1", CLICK)]).expect("the first of its key");
    bench.commit(NOW);
    let far_end = [late(1, NOW + WINDOW_MS - HOUR, b"1", CLICK)];
    let now = NOW + WINDOW_MS + 12 * HOUR;
    bench.take(&far_end).expect("a repeat, as late as one may be");
    bench.take(&[late(2, now - HOUR, b"2", CLICK)]).expect("hours later");
    let dead = [late(3, now, b"3", b"{}"), late(4, now, b"4", b"{}")];
    assert!(matches!(bench.take(&dead), Err(End::Halt { reason: HaltReason::Fuse, .. })));
    bench.abort();
    // A lane that halts ends its block.
    bench.commit(now);
    bench.sent = Sent::default();
    bench.take(&far_end).expect("read again");
    bench.sent.events(|event| assert_eq!((event.outcome, event.first_offset), (Outcome::Duplicate, 0)));
    assert_eq!(bench.sent.topics(), [Topic::Events]);
}

#[test]
fn an_input_that_was_rewound_halts_the_lane() {
    let salts = salts();
    let mut bench = Bench::new(&salts, rules());
    bench.take(&[record(5, b"1", CLICK)]).expect("a record");
    let end = bench.take(&[record(5, b"1", CLICK)]).expect_err("the same offset");
    assert!(matches!(end, End::Halt { reason: HaltReason::Rewound, .. }), "{end}");
}

#[test]
fn the_documentation_lists_the_stages_in_their_order() {
    let page = include_str!("../../../../../docs/design/process-lane.md");
    let (_, section) = page.split_once("| stage | takes |").expect("the table of the stages");
    let rows: Vec<&str> = section.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let listed = STAGES.iter().map(|stage| {
        let Stage { name, takes, gives, refuses, here, .. } = stage;
        format!("| `{name}` | {takes} | {gives} | {refuses} | {here} |")
    });
    let listed: Vec<String> = listed.collect();
    assert_eq!(rows, listed, "docs/design/process-lane.md is to say:\n{}", listed.join("\n"));
}

proptest! {
    /// Three clocks stamp a delivery: ingest's, the broker's and ours. Any one may say anything, another one each time.
    #[test]
    fn with_one_clock_off_each_time_a_repeat_within_the_window_is_a_duplicate(
        wrong in [(0..4_usize, any::<i32>()), (0..4_usize, any::<i32>())], later_ms in 0..WINDOW_MS,
    ) {
        let salts = salts();
        let mut bench = Bench::new(&salts, Vec::new());
        for (offset, (which, by)) in wrong.into_iter().enumerate() {
            let mut clocks = [NOW + offset as i64 * later_ms; 4];
            clocks[which] += i64::from(by) * 1_000;
            let [claimed, appended, ours, _] = clocks;
            bench.now.wall_ms = ours;
            let raw = RawRecord::new(0, offset as u64, appended, b"1", CLICK, Ok(headers(claimed)));
            bench.take(&[raw]).expect("a record");
        }
        let mut became = Vec::new();
        bench.sent.events(|event| became.push((event.outcome, event.first_offset)));
        prop_assert_eq!(became, [(Outcome::Event, 0), (Outcome::Duplicate, 0)]);
    }
}
