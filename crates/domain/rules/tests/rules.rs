//! What rules make of events.

#![allow(clippy::unwrap_used, reason = "a test that panics says what broke")]

use event::{Counted, EventType, LinkEvent, Millis, Outcome, Transition};
use hookline_rules::{Condition, EventPattern, Field, Per, Rule, RuleIndex, SignalSum, Trigger, When};
use proptest::prelude::*;

fn click() -> LinkEvent<'static> {
    LinkEvent {
        r#type: EventType::Click,
        received_at: Millis(1_795_428_000_123),
        source: "dub-main".into(),
        event_key: "click:1".into(),
        link_id: "l_77".into(),
        link_kind: "promo".into(),
        domain: "go.example.com".into(),
        slug: "spring".into(),
        campaign: "2026q4-de-blackfriday".into(),
        country: "DE".into(),
        partner: "dealfox".into(),
        ..LinkEvent::default()
    }
}

fn events(names: &[&str]) -> Vec<EventPattern> {
    names.iter().map(|name| EventPattern::parse(name).unwrap()).collect()
}

fn rule(name: &str, kinds: &[&str], conditions: Vec<Condition>, alert: Option<Trigger>) -> Rule {
    Rule::new(name, "growth", When::new(events(kinds), conditions), alert)
}

fn matched(when: When, event: &LinkEvent<'_>) -> bool {
    RuleIndex::new(vec![Rule::new("r", "growth", when, None)]).matches(event).count() == 1
}

fn field(field: Field, patterns: &[&str]) -> When {
    When::new([], [Condition::new(field, patterns)])
}

#[test]
fn a_visit_is_a_click_or_a_scan() {
    for (r#type, expected) in [
        (EventType::Click, true),
        (EventType::QrScan, true),
        (EventType::Error, false),
        (EventType::Lifecycle, false),
        (EventType::Unknown, false),
    ] {
        assert_eq!(matched(When::new(events(&["visit"]), []), &LinkEvent { r#type, ..click() }), expected, "{type:?}");
    }
}

#[test]
fn a_subtype_is_matched_whatever_the_type() {
    let edited = LinkEvent { r#type: EventType::Lifecycle, subtype: "link.edited".into(), ..click() };
    assert!(matched(When::new(events(&["link.edited"]), []), &edited));
    assert!(matched(When::new(events(&["link.*"]), []), &edited));
    assert!(matched(When::new(events(&["sale", "lifecycle"]), []), &edited));
    assert!(!matched(When::new(events(&["link.expired", "click"]), []), &edited));
    assert!(EventPattern::parse("clicks").is_none());
}

#[test]
fn every_condition_must_hold_and_any_of_its_values_is_enough() {
    let both = |country: &[&str], kind: &str| {
        When::new(
            events(&["visit"]),
            [Condition::new(Field::Country, country), Condition::new(Field::LinkKind, [kind])],
        )
    };
    assert!(matched(both(&["FR", "DE"], "promo"), &click()));
    assert!(!matched(both(&["FR", "DE"], "proposal"), &click()));
    assert!(!matched(both(&["FR"], "promo"), &click()));
}

#[test]
fn hosts_and_countries_match_however_the_rule_spells_them() {
    assert!(matched(field(Field::Domain, &["Go.Example.COM"]), &click()));
    assert!(matched(field(Field::Country, &["de"]), &click()));
    assert!(!matched(field(Field::Campaign, &["2026Q4-de-blackfriday"]), &click()));
}

#[test]
fn a_link_is_named_by_its_id_or_by_domain_and_slug() {
    for name in ["l_77", "go.example.com/spring", "go.example.com/*", "*/spring"] {
        assert!(matched(field(Field::Link, &[name]), &click()), "{name}");
    }
    assert!(!matched(field(Field::Link, &["spring"]), &click()));
}

#[test]
fn approval_is_unknown_for_events_without_a_partner() {
    let approved = LinkEvent { partner_approved: true, ..click() };
    let nobody = LinkEvent { partner: "".into(), ..click() };
    assert!(matched(field(Field::PartnerApproved, &["false"]), &click()));
    assert!(!matched(field(Field::PartnerApproved, &["false"]), &approved));
    assert!(!matched(field(Field::PartnerApproved, &["false"]), &nobody));
    assert!(!matched(field(Field::PartnerApproved, &["true"]), &nobody));
}

#[test]
fn bots_internal_traffic_duplicates_and_dead_letters_meet_no_rule() {
    let routes = RuleIndex::new(vec![rule("all", &[], vec![], Some(Trigger::Each))]);
    assert_eq!(routes.matches(&click()).count(), 1);
    for (event, reason) in [
        (
            LinkEvent { counted: Counted::Bot, counted_by: "user-agent".into(), ..click() },
            "bot (decided by user-agent)",
        ),
        (LinkEvent { counted: Counted::Internal, ..click() }, "internal"),
        (LinkEvent { outcome: Outcome::Duplicate, ..click() }, "duplicate"),
        (LinkEvent { outcome: Outcome::DeadLetter, ..click() }, "dead letter"),
    ] {
        assert_eq!(routes.matches(&event).count(), 0);
        let verdict = &routes.explain(&event)[0];
        assert!(!verdict.matched && verdict.why.contains(reason), "{}", verdict.why);
    }
}

#[test]
fn a_lead_or_a_sale_meets_rules_whoever_told_of_it() {
    let routes = RuleIndex::new(vec![rule("all", &[], vec![], Some(Trigger::Each))]);
    for r#type in [EventType::Lead, EventType::Sale] {
        for counted in [Counted::Human, Counted::Bot, Counted::Internal] {
            let event = LinkEvent { r#type, counted, ..click() };
            assert_eq!(routes.matches(&event).count(), 1, "{counted:?}");
            assert!(routes.explain(&event)[0].matched);
            let again = LinkEvent { outcome: Outcome::Duplicate, ..event };
            assert_eq!(routes.matches(&again).count(), 0, "a repeat");
        }
    }
}

#[test]
fn test_data_matches_and_its_alert_says_so() {
    let each = rule("r", &["visit"], vec![], Some(Trigger::Each));
    let event = LinkEvent { test: true, ..click() };
    let routes = RuleIndex::new(vec![each.clone()]);
    assert_eq!(routes.matches(&event).count(), 1);
    assert!(routes.explain(&event)[0].why.contains("capture sink"));
    assert!(each.each_alert(&event).unwrap().test);
    let count = rule("c", &["visit"], vec![], Some(Trigger::count(3, Per::Link, 600_000, 0).unwrap()));
    let seen = count.observe(&event, 0).unwrap();
    assert!(SignalSum::new(&count, &seen, 1, &event).signal().test);
}

#[test]
fn the_explanation_names_the_condition_that_fails_and_what_the_event_says() {
    let count = Trigger::count(3, Per::Qr, 600_000, 0).unwrap();
    let routes = RuleIndex::new(vec![
        rule("kind", &["error", "sale"], vec![], None),
        rule("value", &[], vec![Condition::new(Field::LinkKind, ["proposal", "bio"])], None),
        rule("absent", &[], vec![Condition::new(Field::Programme, ["instore"])], None),
        rule("keyless", &["visit"], vec![], Some(count)),
    ]);
    let event = click();
    let why: Vec<_> = routes.explain(&event).into_iter().map(|verdict| (verdict.matched, verdict.why)).collect();
    assert_eq!(why[0], (false, r#"the event is "click", the rule is about "error" or "sale""#.to_owned()));
    assert_eq!(why[1], (false, r#"link_kind is "promo", the rule asks for "bio" or "proposal""#.to_owned()));
    assert_eq!(why[2], (false, r#"the event has no programme, the rule asks for "instore""#.to_owned()));
    assert!(why[3].0 && why[3].1.ends_with("not counted: the event names no qr"), "{}", why[3].1);
}

#[test]
fn an_event_without_the_key_does_not_count() {
    let per = |per| rule("r", &[], vec![], Some(Trigger::count(3, per, 600_000, 0).unwrap()));
    let key = |rule: Rule| {
        let event = click();
        rule.observe(&event, 1_795_428_012_345).map(|seen| (seen.key.clone().into_owned(), seen.pane))
    };
    assert_eq!(key(per(Per::Link)), Some(("go.example.com/spring".to_owned(), 1_795_428_000_000)));
    assert_eq!(key(per(Per::Partner)), Some(("dealfox".to_owned(), 1_795_428_000_000)));
    assert_eq!(key(per(Per::All)), Some(("all".to_owned(), 1_795_428_000_000)));
    assert_eq!(key(per(Per::Qr)), None);
    assert_eq!(key(rule("r", &[], vec![], Some(Trigger::Each))), None);
}

#[test]
fn an_each_alert_has_one_id_per_event_and_rule_version() {
    let first = rule("r", &["visit"], vec![], Some(Trigger::Each));
    let alert = first.each_alert(&click()).unwrap();
    assert_eq!(alert.alert_id, first.each_alert(&click()).unwrap().alert_id);
    assert_eq!((alert.transition, alert.observed, alert.threshold), (Transition::Each, 1, 0));
    let other_event = LinkEvent { event_key: "click:2".into(), ..click() };
    let other_rule = rule("r", &["click"], vec![], Some(Trigger::Each));
    assert_ne!(alert.alert_id, first.each_alert(&other_event).unwrap().alert_id);
    assert_ne!(alert.alert_id, other_rule.each_alert(&click()).unwrap().alert_id);
    assert_eq!(rule("r", &["visit"], vec![], None).each_alert(&click()), None);
}

#[test]
fn attributes_hold_no_personal_data() {
    let event = LinkEvent { visitor: 42, region: "DE-BE".into(), destination_path: "/p?mail=a@b".into(), ..click() };
    let text = format!("{:?}", event::attributes(&event));
    for absent in ["42", "DE-BE", "mail"] {
        assert!(!text.contains(absent), "{text}");
    }
    assert_eq!(event::attributes(&event).get("slug"), "spring");
}

fn condition() -> impl Strategy<Value = Condition> {
    let fields =
        prop::sample::select(&[Field::Domain, Field::LinkKind, Field::Country, Field::Campaign, Field::Link][..]);
    let patterns = prop::collection::vec("[a-c*]{1,3}", 1..3);
    (fields, patterns).prop_map(|(field, patterns)| Condition::new(field, patterns))
}

fn when() -> impl Strategy<Value = When> {
    const NAMES: [&str; 8] = ["visit", "click", "qr_scan", "error", "lifecycle", "sale", "a.*", "link.*"];
    let kinds = prop::collection::vec(prop::sample::select(&NAMES[..]), 0..3);
    (kinds, prop::collection::vec(condition(), 0..3))
        .prop_map(|(kinds, conditions)| When::new(events(&kinds), conditions))
}

fn any_event() -> impl Strategy<Value = LinkEvent<'static>> {
    (
        prop::sample::select(EventType::ALL),
        prop::sample::select(Counted::ALL),
        prop::sample::select(&["", "a.b", "link.edited"][..]),
        "[a-c]{0,2}",
        "[a-c]{0,2}",
        "[A-C]{0,2}",
    )
        .prop_map(|(r#type, counted, subtype, domain, link_kind, country)| LinkEvent {
            r#type,
            counted,
            subtype: subtype.into(),
            domain: domain.into(),
            link_kind: link_kind.into(),
            country: country.into(),
            ..LinkEvent::default()
        })
}

proptest! {
    #[test]
    fn the_index_never_hides_a_match_and_the_explanation_agrees(
        whens in prop::collection::vec(when(), 0..6), event in any_event(),
    ) {
        let rules: Vec<Rule> =
            whens.iter().enumerate().map(|(at, when)| Rule::new(format!("r{at}"), "o", when.clone(), None)).collect();
        let routes = RuleIndex::new(rules);
        let expected: Vec<usize> =
            (0..whens.len()).filter(|at| (event.counted == Counted::Human || event.r#type.is_conversion()) && whens[*at].matches(&event)).collect();
        let found: Vec<usize> = routes.matching_indexes(&event).collect();
        prop_assert_eq!(&found, &expected);
        let explained: Vec<usize> =
            routes.explain(&event).iter().enumerate().filter(|(_, verdict)| verdict.matched).map(|(at, _)| at).collect();
        prop_assert_eq!(explained, expected);
        for when in &whens {
            prop_assert_eq!(when.mismatch(&event).is_none(), when.matches(&event));
        }
    }

    #[test]
    fn the_version_does_not_depend_on_order_name_or_owner(
        conditions in prop::collection::vec(condition(), 0..4), kinds in Just(vec!["click", "error"]),
    ) {
        let reversed = conditions.iter().rev().map(|condition| {
            Condition::new(condition.field(), condition.patterns().iter().rev().map(|glob| glob.as_str().to_owned()))
        });
        let one = Rule::new("a", "x", When::new(events(&kinds), conditions.clone()), None);
        let kinds: Vec<_> = kinds.into_iter().rev().collect();
        let other = Rule::new("b", "y", When::new(events(&kinds), reversed), None).in_shadow(true);
        prop_assert_eq!(one.version(), other.version());
        prop_assert_eq!(one.version().len(), 12);
    }

    #[test]
    fn the_version_follows_what_the_rule_decides_by(
        count in 1..50u64, other_count in 1..50u64, seconds in 1..600i64, other_seconds in 1..600i64,
    ) {
        let rule = |count, seconds: i64| {
            rule("r", &[], vec![], Some(Trigger::count(count, Per::Link, seconds * 1_000, 0).unwrap()))
        };
        let same = (count, seconds) == (other_count, other_seconds);
        prop_assert_eq!(rule(count, seconds).version() == rule(other_count, other_seconds).version(), same);
    }

    #[test]
    fn conditions_that_differ_have_versions_that_differ(one in when(), other in when()) {
        let version = |when: &When| Rule::new("r", "o", when.clone(), None).version().to_owned();
        prop_assert_eq!(one == other, version(&one) == version(&other));
    }
}

#[test]
fn one_tag_of_several_is_enough_and_no_part_of_one_is() {
    let mut event = click();
    event.keep_tags(["q4", "black,friday"]);
    assert_eq!(event.tags().collect::<Vec<_>>(), ["q4", "black friday"]);
    for (pattern, expected) in
        [("q4", true), ("black*", true), ("*friday", true), ("q", false), ("q4,black friday", false)]
    {
        assert_eq!(matched(field(Field::Tag, &[pattern]), &event), expected, "{pattern}");
    }
    assert!(!matched(field(Field::Tag, &["*"]), &click()), "a link without tags has none");
}

/// Patterns over few letters, so that rules often match and often share their values.
fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{0,2}[*]?[ab]{0,2}[*]?[ab]?", 1..3)
}

proptest! {
    /// The index finds exactly what asking every rule finds, in the order of the rules.
    #[test]
    fn the_index_agrees_with_asking_every_rule(
        rules in prop::collection::vec(prop::collection::vec((0..6_usize, patterns()), 0..3), 0..40),
        values in prop::collection::vec("[ab]{0,4}", 6),
        kind in 0..3_usize,
    ) {
        let fields = [Field::Campaign, Field::Link, Field::Tag, Field::Domain, Field::Country, Field::LinkKind];
        let rules: Vec<Rule> = rules.into_iter().enumerate().map(|(index, conditions)| {
            let conditions = conditions.into_iter().map(|(field, patterns)| Condition::new(fields[field], patterns));
            let kinds = [&["visit"][..], &["click", "error"], &[]][index % 3];
            Rule::new(format!("r{index}"), "growth", When::new(events(kinds), conditions), None)
        }).collect();
        let mut event = LinkEvent {
            r#type: [EventType::Click, EventType::QrScan, EventType::Error][kind],
            campaign: values[0].as_str().into(),
            link_id: values[1].as_str().into(),
            domain: values[2].as_str().into(),
            slug: values[3].as_str().into(),
            link_kind: values[4].as_str().into(),
            ..LinkEvent::default()
        };
        event.keep_tags([values[5].as_str(), values[0].as_str()].into_iter().filter(|tag| !tag.is_empty()));
        let asked: Vec<usize> = rules.iter().enumerate().filter(|(_, rule)| rule.when().matches(&event)).map(|(index, _)| index).collect();
        let found: Vec<usize> = RuleIndex::new(rules).matching_indexes(&event).collect();
        prop_assert_eq!(found, asked);
    }
}
