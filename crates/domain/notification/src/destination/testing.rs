//! Messages for the tests of destinations.

use std::collections::BTreeMap;

use super::{Answer, Destination, Outgoing, People, Person, Request, Step, Values, Verdict, kind};
use crate::message::{LinkCount, Message, MessageKind, Thread, Window};

/// What a hostile sender calls its campaign and link.
pub(super) const HOSTILE: &str =
    "<!channel> <@U1> @org/team #12 <!-- x --> *b* `c` <at>A</at> [l](http://x) =1+1 & \u{0}";

pub(crate) fn message(kind: MessageKind) -> Message {
    Message {
        id: "b1".to_owned(),
        kind,
        rule: "broken-destination".to_owned(),
        owner: "web-ops".to_owned(),
        mention: Some("ann".to_owned()),
        instruction: Some("docs/runbooks/broken-destination.md".to_owned()),
        title: format!("broken-destination: 3 events on {HOSTILE}"),
        text: format!("broken-destination: 3 events on {HOSTILE}\nOwner: web-ops"),
        count: 3,
        alerts: 1,
        over: u64::from(kind == MessageKind::Resolved),
        links: vec![LinkCount { link: HOSTILE.to_owned(), count: 3 }],
        sample_event_keys: vec!["e1".to_owned()],
        attributes: BTreeMap::from([("campaign".to_owned(), HOSTILE.to_owned())]),
        window: Window { start: "2026-11-29T10:00:00Z".to_owned(), end: "2026-11-29T10:10:00Z".to_owned() },
        alert_ids: vec!["a1".to_owned()],
        test: false,
        digest: Vec::new(),
        attachment: None,
        thread: Some(Thread {
            key: "k1".to_owned(),
            opens: kind == MessageKind::Alert,
            ends: kind == MessageKind::Resolved,
            first: "b1".to_owned(),
            title: format!("broken-destination: 3 events on {HOSTILE}"),
            count: 7,
            receipt: String::new(),
            firing: Vec::new(),
            told: Vec::new(),
            later: Vec::new(),
            acknowledged: false,
        }),
    }
}

pub(crate) fn people() -> People {
    let ann = Person {
        name: "Ann".to_owned(),
        slack: Some("U0ANN".to_owned()),
        teams: Some("ann@example.com".to_owned()),
        github: Some("ann-gh".to_owned()),
        jira: Some("5b10a2844c20165700ede21g".to_owned()),
        email: Some("ann@example.com".to_owned()),
    };
    People::from([("ann".to_owned(), ann)])
}

pub(super) fn built(name: &str, values: &Values) -> Box<dyn Destination> {
    (kind(name).unwrap().build)(values).unwrap_or_else(|fault| panic!("{fault:?}"))
}

pub(super) fn step(destination: &dyn Destination, message: &Message, receipt: &str, answers: &[Answer]) -> Step {
    let people = people();
    destination.step(&Outgoing { message, receipt, people: &people, now_ms: 1_764_000_000_000 }, answers)
}

pub(super) fn request(step: Step) -> Request {
    match step {
        Step::Http(request) => request,
        other => panic!("{other:?}"),
    }
}

pub(super) fn verdict(step: Step) -> Verdict {
    match step {
        Step::End(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: body.to_owned(), ..Answer::default() }
}

/// The verdict's name.
pub(super) fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered { .. } => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Rejected { .. } => "rejected",
        Verdict::WrittenInPart { .. } => "written in part",
        Verdict::Refused { .. } => "refused",
    }
}
