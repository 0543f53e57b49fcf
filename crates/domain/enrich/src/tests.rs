use event::{Counted, EventType, Millis};
use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings {
        channels: Channels::default(),
        source_owners: HashMap::from([("dub-main".to_owned(), "growth".to_owned())]),
        internal_networks: vec!["203.0.113.0/24".parse().expect("a network")],
        internal_referrer_hosts: vec!["Admin.example.com".into(), "*.staging.example.com".into()],
        test_sources: vec!["sandbox".into()],
        test_slug_prefixes: vec!["qa-".into()],
        test_campaigns: vec!["zz-test".into()],
        test_tags: vec!["qa".into()],
        ..Settings::default()
    }
}

fn click() -> LinkEvent<'static> {
    LinkEvent { r#type: EventType::Click, source: "dub-main".into(), slug: "spring".into(), ..LinkEvent::default() }
}

fn enriched(mut event: LinkEvent<'static>, hints: Hints<'_>) -> LinkEvent<'static> {
    Enricher::new(settings()).enrich(&mut event, &hints, None);
    event
}

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// The cells of the rows of a table in docs/labels.md, the first table behind a heading.
pub(crate) fn documented(heading: &str) -> Vec<Vec<String>> {
    let text = include_str!("../../../../docs/labels.md");
    let (_, section) = text.split_once(heading).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    table.skip(2).map(cells).collect()
}

#[test]
fn every_referrer_of_the_documentation_has_the_class_that_it_says() {
    let rows = documented("## From where: the referrer");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let event = LinkEvent { r#type: EventType::Click, ..LinkEvent::default() };
        let event = enriched(event, Hints { referrer: Some(&row[2]), ..Hints::default() });
        assert_eq!(event.referrer_class, row[3], "{row:?}");
    }
}

#[test]
fn every_channel_of_the_documentation_comes_by_the_rule_that_it_says() {
    let rows = documented("## By which way: the channel");
    assert!(rows.len() > 20);
    for row in rows.iter().filter(|row| row[2] != "(configured)") {
        let given: HashMap<&str, &str> = row[2].split("; ").filter_map(|pair| pair.split_once('=')).collect();
        let said = |key: &str| given.get(key).copied().unwrap_or_default().to_owned();
        let event = LinkEvent {
            r#type: EventType::Click,
            qr_id: said("qr_id").into(),
            utm_medium: said("utm_medium").into(),
            utm_source: said("utm_source").into(),
            ..LinkEvent::default()
        };
        let referrer = given.get("referrer").map(|given| if *given == "none" { "" } else { given });
        let user_agent = given.get("user_agent").copied().unwrap_or_default();
        let hints = Hints { referrer, user_agent, paid_click: given.contains_key("paid_click"), ..Hints::default() };
        let event = enriched(event, hints);
        let traced = event.trace.iter().find(|line| line.starts_with("channel:")).map_or("", |line| line);
        assert_eq!((&*event.channel, traced), (&*row[3], &*row[4]), "{row:?}");
    }
}

#[test]
fn a_request_without_a_reader_counts_as_a_bot_and_the_lists_that_were_asked_are_noted() {
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    for (method, purpose, counted, by) in [
        ("GET", "", Counted::Human, ""),
        ("HEAD", "", Counted::Bot, "method:HEAD"),
        ("GET", "prefetch;prerender", Counted::Bot, "purpose:prerender"),
    ] {
        let event = LinkEvent { r#type: EventType::Click, ..LinkEvent::default() };
        let event = enriched(event, Hints { method, purpose, user_agent: FIREFOX, ..Hints::default() });
        assert_eq!((event.counted, &*event.counted_by), (counted, by));
        assert_eq!(event.trace.last().map(|line| &**line), Some(list_version()));
    }
    let event = enriched(LinkEvent::default(), Hints::default());
    assert!(event.trace.is_empty(), "nothing was asked: {:?}", event.trace);
}

#[test]
fn internal_goes_before_bot_and_bot_before_human() {
    let counted = |hints: Hints<'_>| {
        let event = enriched(click(), hints);
        (event.counted, event.counted_by.into_owned())
    };
    let inside = Some("203.0.113.9".parse().expect("an address"));
    let none = Hints::default();
    assert_eq!(counted(none), (Counted::Human, String::new()));
    assert_eq!(counted(Hints { bot: Some(false), ..none }), (Counted::Human, String::new()));
    assert_eq!(counted(Hints { bot: Some(true), ..none }), (Counted::Bot, "platform".into()));
    assert_eq!(
        counted(Hints { bot: Some(false), user_agent: GOOGLEBOT, ..none }),
        (Counted::Bot, "user_agent:crawler:googlebot".into()),
        "a platform that did not notice does not overrule a bot that names itself"
    );
    assert_eq!(
        counted(Hints { ip: inside, user_agent: GOOGLEBOT, ..none }),
        (Counted::Internal, "network:203.0.113.0/24".into())
    );
    assert_eq!(
        counted(Hints { referrer: Some("https://shop.staging.example.com/x"), ..none }),
        (Counted::Internal, "referrer:*.staging.example.com".into())
    );
    assert_eq!(
        counted(Hints { referrer: Some("https://admin.example.com/"), ..none }),
        (Counted::Internal, "referrer:admin.example.com".into())
    );
}

#[test]
fn each_rule_for_test_data_says_its_name() {
    let reason = |event: LinkEvent<'static>, tags: &[Cow<'_, str>]| {
        let event = enriched(event, Hints { tags, ..Hints::default() });
        event.test.then(|| event.trace.last().expect("a reason").to_string())
    };
    assert_eq!(reason(click(), &[]), None);
    assert_eq!(reason(LinkEvent { source: "sandbox".into(), ..click() }, &[]), Some("test:source:sandbox".into()));
    assert_eq!(reason(LinkEvent { slug: "qa-1".into(), ..click() }, &[]), Some("test:slug_prefix:qa-".into()));
    let campaign = LinkEvent { utm_campaign: "zz-test".into(), ..click() };
    assert_eq!(reason(campaign, &[]), Some("test:campaign:zz-test".into()));
    assert_eq!(reason(click(), &["q4".into(), "qa".into()]), Some("test:tag:qa".into()));
}

#[test]
fn a_mark_as_test_data_is_never_taken_away() {
    assert!(enriched(LinkEvent { test: true, ..click() }, Hints::default()).test);
}

#[test]
fn the_channel_comes_from_the_sender_then_qr_then_medium_then_referrer() {
    let channel = |event: LinkEvent<'static>, referrer: &str| {
        let event = enriched(event, Hints { referrer: Some(referrer), ..Hints::default() });
        (event.channel.into_owned(), event.trace.first().map(|line| line.to_string()).unwrap_or_default())
    };
    let says = |channel: &str, because: &str| (channel.to_owned(), because.to_owned());
    let email = || LinkEvent { utm_medium: "Newsletter".into(), ..click() };
    assert_eq!(channel(LinkEvent { channel: "bio".into(), ..email() }, ""), says("bio", ""));
    assert_eq!(channel(LinkEvent { r#type: EventType::QrScan, ..email() }, ""), says("qr", "channel:qr"));
    assert_eq!(channel(email(), "https://t.co/x"), says("email", "channel:utm_medium"));
    assert_eq!(
        channel(LinkEvent { utm_medium: "Paid-Social".into(), ..click() }, ""),
        says("paid", "channel:utm_medium")
    );
    let odd = LinkEvent { utm_medium: "carrier pigeon".into(), ..click() };
    assert_eq!(channel(odd, "https://t.co/x"), says("social", "channel:referrer"));
    assert_eq!(channel(click(), "https://www.google.com/"), says("search", "channel:referrer"));
    assert_eq!(channel(click(), "https://blog.example/"), says("referral", "channel:referrer"));
    assert_eq!(channel(click(), ""), says("direct", "channel:referrer"));
    let paid = |event: LinkEvent<'static>| {
        let hints = Hints { paid_click: true, referrer: Some("https://www.google.com/"), ..Hints::default() };
        enriched(event, hints).channel.into_owned()
    };
    assert_eq!(paid(click()), "paid", "a click id says more than the page");
    assert_eq!(paid(email()), "email", "a medium says more than a click id");
    let source = |source: &'static str, referrer: &'static str| {
        channel(LinkEvent { utm_source: source.into(), utm_medium: "website".into(), ..click() }, referrer)
    };
    assert_eq!(source("chatgpt.com", ""), says("ai", "channel:utm_source"));
    assert_eq!(source("partner-x", "https://blog.example/"), says("referral", "channel:referrer"));
    let unsaid = enriched(click(), Hints::default());
    assert_eq!((unsaid.channel.as_ref(), unsaid.referrer_class.as_ref()), ("", ""), "not said is not direct");
    let instagram = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Instagram 350.0.0";
    let in_app = enriched(click(), Hints { user_agent: instagram, referrer: Some(""), ..Hints::default() });
    assert_eq!(in_app.channel, "social");
    assert_eq!(in_app.trace, ["channel:in_app_browser", list_version()]);
    let created = LinkEvent { r#type: EventType::Lifecycle, ..click() };
    assert_eq!(channel(created, ""), says("", ""), "nobody came, so nothing brought anybody");
}

#[test]
fn owner_and_campaign_are_filled_in_but_never_replaced() {
    let event = enriched(LinkEvent { utm_campaign: "spring".into(), ..click() }, Hints::default());
    assert_eq!((event.owner.as_ref(), event.campaign.as_ref()), ("growth", "spring"));
    let given = LinkEvent { owner: "sales".into(), campaign: "q4".into(), utm_campaign: "spring".into(), ..click() };
    let event = enriched(given, Hints::default());
    assert_eq!((event.owner.as_ref(), event.campaign.as_ref()), ("sales", "q4"));
}

proptest! {
    #[test]
    fn no_hint_rests_in_the_event(
        ip in any::<std::net::Ipv4Addr>(),
        user_agent in "[ -~]{8,60}",
        path in "[a-z]{12,20}",
    ) {
        let referrer = format!("https://news.example/{path}?who={path}");
        let hints = Hints { ip: Some(ip.into()), user_agent: &user_agent, referrer: Some(&referrer), ..Hints::default() };
        let event = enriched(LinkEvent { received_at: Millis(1), ..click() }, hints);
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let stored = String::from_utf8_lossy(&bytes).into_owned();
        // What the configuration names may be in it; what the visitor brought may not.
        prop_assert!(!stored.contains(&ip.to_string()));
        prop_assert!(!stored.contains(&user_agent));
        prop_assert!(!stored.contains(&path));
    }

    #[test]
    fn the_verdict_does_not_depend_on_what_came_before(agents in prop::collection::vec("[a-zA-Z/+; ]{0,20}", 1..20)) {
        let mut lane = Enricher::new(settings());
        for agent in &agents {
            let hints = Hints { user_agent: agent, ..Hints::default() };
            let mut event = click();
            lane.enrich(&mut event, &hints, None);
            prop_assert_eq!(event, enriched(click(), hints));
        }
    }
}

#[test]
fn only_visits_with_a_salt_and_an_address_have_a_visitor() {
    let hints = Hints { ip: "198.51.100.7".parse().ok(), salt: Some(Salt([7; 16])), ..Hints::default() };
    let visitor = |event: LinkEvent<'static>, hints: Hints<'_>| enriched(event, hints).visitor;
    assert_ne!(visitor(click(), hints), 0);
    assert_eq!(visitor(click(), Hints { ip: None, ..hints }), 0);
    assert_eq!(visitor(click(), Hints { salt: None, ..hints }), 0);
    let created = LinkEvent { r#type: EventType::Lifecycle, ..click() };
    assert_eq!(visitor(created, hints), 0, "whoever made a link did not visit it");
}

#[test]
fn a_country_is_looked_up_where_the_sender_names_none_and_the_address_is_gone() {
    let mut database = maxminddb_writer::Database::default();
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = 1_793_491_200;
    let germany = database.insert_value(serde_json::json!({"country": {"iso_code": "DE"}})).expect("a value");
    let network: maxminddb_writer::paths::IpAddrWithMask = "198.51.100.0/24".parse().expect("a network");
    database.insert_node(network, germany);
    let countries = Countries::read(database.write_to(Vec::new()).expect("memory")).expect("countries");
    let mut enricher = Enricher::new(settings());
    enricher.refer_to(References { countries: Some(Arc::new(countries)), catalogue: None });
    let mut told = |mut event: LinkEvent<'static>| {
        let hints = Hints { ip: Some("198.51.100.7".parse().expect("an address")), ..Hints::default() };
        enricher.enrich(&mut event, &hints, None);
        let stored = format!("{event:?}");
        assert!(!stored.contains("198.51.100.7"), "{stored}");
        (event.country.into_owned(), event.trace.iter().any(|line| line == "country:mmdb:2026-11-01"))
    };
    assert_eq!(told(click()), ("DE".to_owned(), true));
    assert_eq!(told(LinkEvent { country: "FR".into(), ..click() }), ("FR".to_owned(), false));
    assert_eq!(told(LinkEvent { r#type: EventType::Lifecycle, ..click() }), (String::new(), false));
}
