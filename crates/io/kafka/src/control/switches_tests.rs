use proptest::prelude::*;

use super::*;

const STATES: [State; 4] = [State::Accept, State::Quarantine, State::Pause, State::Retired];

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

fn switch() -> impl Strategy<Value = Switch> {
    (prop::sample::select(&STATES[..]), ".{0,20}", ".{0,20}", prop::option::of(time()), time())
        .prop_map(|(state, who, why, until, at)| Switch { state, who, why, until, at })
}

/// What may stand on the topic.
#[derive(Debug, Clone)]
enum Written {
    /// A switch, with its audit record.
    Switch(&'static str, Switch),
    /// A switch of a version that this build does not know.
    Newer(&'static str, u32),
    /// Anything else.
    Other(Vec<u8>, Option<Vec<u8>>),
}

fn written() -> impl Strategy<Value = Written> {
    let ids = || prop::sample::select(&["dub", "qr", "a/b"][..]);
    let keys = prop::sample::select(&["identity", "rule/dub", "sources/dub", "source", "audit/1", "\u{fffd}"][..]);
    prop_oneof![
        4 => (ids(), switch()).prop_map(|(id, switch)| Written::Switch(id, switch)),
        1 => (ids(), 2_u32..9).prop_map(|(id, version)| Written::Newer(id, version)),
        1 => (keys, prop::option::of(prop::collection::vec(any::<u8>(), 0..20)))
            .prop_map(|(key, value)| Written::Other(key.as_bytes().to_vec(), value)),
    ]
}

/// Key and value of every record, in order.
fn records(written: &[Written]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut records = Vec::new();
    for (n, one) in written.iter().enumerate() {
        match one {
            Written::Switch(id, switch) => {
                let change = Change { object: Object::source(*id), was: State::Accept, switch: switch.clone() };
                for (key, value) in change.records(&n.to_string()).unwrap() {
                    records.push((key.into_bytes(), Some(value)));
                }
            }
            Written::Newer(id, version) => {
                let value = format!(r#"{{"version":{version},"state":"asleep"}}"#);
                records.push((format!("source/{id}").into_bytes(), Some(value.into_bytes())));
            }
            Written::Other(key, value) => records.push((key.clone(), value.clone())),
        }
    }
    records
}

fn fold<'r>(records: impl IntoIterator<Item = &'r (Vec<u8>, Option<Vec<u8>>)>) -> Switches {
    let mut switches = Switches::new(Kind::Source);
    for (key, value) in records {
        switches.apply(key, value.as_deref());
    }
    switches
}

proptest! {
    #[test]
    fn the_newest_readable_record_of_an_object_counts(history in prop::collection::vec(written(), 0..40)) {
        let mut model = BTreeMap::new();
        for one in &history {
            match one {
                Written::Switch(id, switch) => {
                    model.insert(*id, (Some(switch.clone()), false));
                }
                Written::Newer(id, _) => model.entry(*id).or_insert((None, false)).1 = true,
                Written::Other(..) => {}
            }
        }
        let switches = fold(&records(&history));
        for id in ["dub", "qr", "a/b"] {
            let (expected, unreadable) = model.get(id).cloned().unwrap_or((None, false));
            prop_assert_eq!(switches.get(id), expected.as_ref());
            let key = format!("source/{id}");
            prop_assert_eq!(switches.unreadable().any(|why| why.key == key), unreadable);
        }
    }

    /// Compaction may remove any record that a newer one of its key follows. Where all can be read, nothing changes by it.
    #[test]
    fn compaction_changes_nothing(
        history in prop::collection::vec((prop::sample::select(&["dub", "qr"][..]), switch()), 0..30),
        kept in prop::collection::vec(any::<bool>(), 60),
    ) {
        let history: Vec<Written> = history.into_iter().map(|(id, switch)| Written::Switch(id, switch)).collect();
        let all = records(&history);
        let compacted: Vec<_> = all.iter().enumerate()
            .filter(|(place, (key, _))| kept[*place] || !all[place + 1..].iter().any(|(later, _)| later == key))
            .map(|(_, record)| record)
            .collect();
        prop_assert_eq!(fold(compacted.iter().copied()), fold(&all));
        // And the audit keeps every change, in order.
        let audit: Vec<_> = compacted.iter().filter_map(|(key, value)| Change::read(key, value.as_deref())).collect();
        let said: Vec<_> = audit.into_iter().map(|change| change.unwrap().switch).collect();
        let expected: Vec<_> = history.iter().filter_map(|one| match one {
            Written::Switch(_, switch) => Some(switch.clone()),
            _ => None,
        }).collect();
        prop_assert_eq!(said, expected);
    }

    /// A reader that stops anywhere and goes on later, as a restart does, comes to the same.
    #[test]
    fn it_does_not_matter_where_reading_stopped(history in prop::collection::vec(written(), 0..30), at in 0_usize..60) {
        let all = records(&history);
        let mut switches = fold(&all[..at.min(all.len())]);
        for (key, value) in &all[at.min(all.len())..] {
            switches.apply(key, value.as_deref());
        }
        prop_assert_eq!(switches, fold(&all));
    }

    #[test]
    fn a_switch_holds_until_its_end_and_not_a_moment_longer(switch in switch(), now in time()) {
        let over = switch.until.is_some_and(|until| now >= until);
        prop_assert_eq!(switch.state_at(now), if over { State::Accept } else { switch.state });
    }

    #[test]
    fn bytes_that_nobody_wrote_are_refused_and_change_nothing(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let paused = Switch {
            state: State::Pause, who: "ana".into(), why: "test".into(), until: None, at: Timestamp::UNIX_EPOCH,
        };
        let change = Change { object: Object::source("dub"), was: State::Accept, switch: paused.clone() };
        let mut all: Vec<_> = change.records("1").unwrap().into_iter().map(|(key, value)| (key.into_bytes(), Some(value))).collect();
        all.push((b"source/dub".to_vec(), Some(value)));
        let switches = fold(&all);
        prop_assert_eq!(switches.get("dub"), Some(&paused));
        prop_assert_eq!(switches.unreadable().count(), 1);
    }
}

#[test]
fn a_record_says_what_is_wrong_with_it_and_the_way_out() {
    let said = |value: &str| {
        let switches = fold(&[(b"source/dub".to_vec(), Some(value.as_bytes().to_vec()))]);
        assert_eq!(switches.state_at("dub", Timestamp::UNIX_EPOCH), State::Accept);
        switches.unreadable().next().unwrap().to_string()
    };
    let newer = said(r#"{"version":2,"state":"pause","who":"a","why":"b","at":"2026-01-01T00:00:00Z"}"#);
    assert!(
        newer.contains("source/dub") && newer.contains("its version is 2") && newer.contains("hookline resume"),
        "{newer}"
    );
    let unknown = said(r#"{"version":1,"state":"asleep","who":"a","why":"b","at":"2026-01-01T00:00:00Z"}"#);
    assert!(unknown.contains("asleep") && unknown.contains("quarantine"), "{unknown}");
    let more =
        said(r#"{"version":1,"state":"pause","who":"a","why":"b","at":"2026-01-01T00:00:00Z","only_at_night":true}"#);
    assert!(more.contains("only_at_night"), "{more}");
    assert!(said("").contains("EOF"), "an empty value");
}

#[test]
fn what_stands_on_the_topic_is_legible() {
    let at = "2026-11-25T12:00:00Z".parse().unwrap();
    let until = Some("2026-11-25T14:00:00Z".parse().unwrap());
    let switch = Switch { state: State::Pause, who: "ana".into(), why: "plan change".into(), until, at };
    let [now, audit] = Change { object: Object::source("dub"), was: State::Accept, switch }.records("7").unwrap();
    assert_eq!((now.0.as_str(), audit.0.as_str()), ("source/dub", "audit/7"));
    assert_eq!(
        String::from_utf8(now.1).unwrap(),
        r#"{"version":1,"state":"pause","who":"ana","why":"plan change","until":"2026-11-25T14:00:00Z","at":"2026-11-25T12:00:00Z"}"#
    );
    assert_eq!(
        String::from_utf8(audit.1).unwrap(),
        r#"{"version":1,"object":"source/dub","was":"accept","state":"pause","who":"ana","why":"plan change","until":"2026-11-25T14:00:00Z","at":"2026-11-25T12:00:00Z"}"#
    );
}

#[test]
fn objects_are_named_by_kind_and_id() {
    assert_eq!("source/dub".parse(), Ok(Object::source("dub")));
    assert_eq!("silence/promo/go.example.com/x".parse(), Ok(Object::new(Kind::Silence, "promo/go.example.com/x")));
    for wrong in ["dub", "rules/x", "source/", "/dub", ""] {
        assert!(wrong.parse::<Object>().unwrap_err().contains("source/NAME"), "{wrong}");
    }
}
