use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use event::{Kind, LinkEvent, Millis};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::tests::documented;
use crate::{Alias, Countries, Enricher, Form, Launch, NamedField, Naming, References, Salt, Settings, Standard};

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const INSTAGRAM: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Instagram 350.0.0";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
const TAG: &[Cow<'static, str>] = &[Cow::Borrowed("autumn")];
const LIST: &str = "\
link,owner,campaign,launch,partner,tags,kind,intent,programme,placement,contact,expected_host
go.acme.example/listed,link-owner,list-campaign,list-launch,df,qa,ad,sale,gold,bio,Ada,shop.example
";

/// A file that knows the country of one network.
static COUNTRIES: LazyLock<Arc<Countries>> = LazyLock::new(|| {
    let mut database = maxminddb_writer::Database::default();
    database.metadata.binary_format_major_version = 2;
    let germany = database.insert_value(serde_json::json!({"country_code": "DE"})).expect("a value");
    let network: maxminddb_writer::paths::IpAddrWithMask = "198.51.100.0/24".parse().expect("a network");
    database.insert_node(network, germany);
    Arc::new(Countries::read(database.write_to(Vec::new()).expect("memory")).expect("countries"))
});

/// Settings under which each stage has something to say of the events below.
fn settings() -> Settings {
    let alias = |field, from: &str, to: &str| {
        (field, HashMap::from([(from.to_owned(), Alias { is: to.to_owned(), from_ms: i64::MIN })]))
    };
    let standard = |field, form| Standard { field, form, from_ms: i64::MIN, example: String::new() };
    let owners = HashSet::from(["sales", "link-owner"].map(str::to_owned));
    let links = ["go.acme.example/listed", "go.alias.example/x"].map(str::to_owned).to_vec();
    Settings {
        source_owners: HashMap::from([("dub-main".to_owned(), "growth".to_owned())]),
        internal_networks: vec!["203.0.113.0/24".parse().expect("a network")],
        internal_referrer_hosts: vec!["admin.example.com".into()],
        test_campaigns: vec!["zz-test".into()],
        test_tags: vec!["qa".into()],
        test_slug_prefixes: vec!["try-".into()],
        naming: Naming {
            aliases: vec![
                alias(NamedField::Launch, "plan", "podcast"),
                alias(NamedField::Owner, "growth", "marketing"),
                alias(NamedField::Campaign, "spring", "zz-test"),
                alias(NamedField::Domain, "go.alias.example", "go.acme.example"),
                alias(NamedField::Channel, "social", "social-media"),
                alias(NamedField::Partner, "df", "dealfox"),
                alias(NamedField::LinkKind, "ad", "advert"),
                alias(NamedField::Intent, "sale", "purchase"),
                alias(NamedField::Programme, "gold", "golden"),
                alias(NamedField::Placement, "bio", "profile"),
                alias(NamedField::Promo, "ten", "TEN"),
                alias(NamedField::Slug, "old-1", "try-1"),
                alias(NamedField::UtmSource, "px", "partner-x"),
                alias(NamedField::UtmMedium, "mail", "newsletter"),
                alias(NamedField::UtmCampaign, "spring", "spring-sale"),
                alias(NamedField::UtmTerm, "shoe", "shoes"),
                alias(NamedField::UtmContent, "a", "top"),
            ],
            standards: vec![
                standard(NamedField::Owner, Form::OneOf(owners)),
                standard(NamedField::Channel, Form::Pattern("^(?:[a-z]+)$".parse().expect("an expression"))),
            ],
        },
        partners: HashMap::from([("dealfox".to_owned(), HashSet::from(["partnerx".to_owned()]))]),
        launches: vec![Launch { name: "plan".into(), links, from_ms: 0, until_ms: 100 }],
        ..Settings::default()
    }
}

fn click() -> LinkEvent<'static> {
    LinkEvent {
        r#type: EventType::Click,
        source: "dub-main".into(),
        domain: "go.acme.example".into(),
        slug: "listed".into(),
        utm_campaign: "spring".into(),
        event_time: Millis(50),
        ..LinkEvent::default()
    }
}

/// Events of which each order that a stage asks for changes one at least.
fn telling() -> Vec<(LinkEvent<'static>, Hints<'static>)> {
    let other = LinkEvent {
        domain: "go.alias.example".into(),
        slug: "x".into(),
        partner: "df".into(),
        utm_source: "partner-x".into(),
        ..click()
    };
    let hints = Hints {
        ip: Some([198, 51, 100, 7].into()),
        salt: Some(Salt([7; 16])),
        referrer: Some("https://t.co/x"),
        ..Hints::default()
    };
    let renamed = LinkEvent {
        slug: "old-1".into(),
        utm_source: "px".into(),
        utm_medium: "mail".into(),
        utm_term: "shoe".into(),
        utm_content: "a".into(),
        promo: "ten".into(),
        ..click()
    };
    let elsewhere = LinkEvent { destination_host: "other.example".into(), ..click() };
    vec![
        (renamed, Hints::default()),
        (elsewhere, Hints { user_agent: CHROME, ..Hints::default() }),
        (click(), Hints { tags: TAG, ..Hints::default() }),
        (other, hints),
        (click(), Hints { referrer: Some(""), user_agent: INSTAGRAM, ..Hints::default() }),
        (click(), Hints { user_agent: GOOGLEBOT, ..Hints::default() }),
        (click(), Hints { referrer: Some("https://admin.example.com/links"), ..Hints::default() }),
    ]
}

/// Whatever comes: fields and hints from a few values, so that they meet each other and the settings.
fn any_event() -> impl Strategy<Value = (LinkEvent<'static>, Hints<'static>)> {
    let texts = |texts: &'static [&'static str]| select(texts);
    let link = (texts(&["", "go.acme.example", "go.alias.example"]), texts(&["", "listed", "x", "old-1", "try-2"]));
    let labels = (
        texts(&["", "growth", "sales"]),
        texts(&["", "spring", "q4"]),
        texts(&["", "social", "email"]),
        texts(&["", "df", "dealfox"]),
        texts(&["", "plan"]),
    );
    let utm = (texts(&["", "partner-x", "px", "google"]), texts(&["", "cpc", "mail"]), texts(&["", "spring"]));
    let agent = texts(&["", GOOGLEBOT, INSTAGRAM, CHROME]);
    let from = select(&[None, Some(""), Some("https://t.co/x"), Some("https://admin.example.com/")][..]);
    let address = select(&[None, Some([198, 51, 100, 7]), Some([203, 0, 113, 9])][..]);
    let about = (select(EventType::ALL), any::<bool>(), any::<bool>(), agent, from, address);
    (link, labels, utm, about).prop_map(|(link, labels, utm, about)| {
        let (r#type, has_salt, has_tag, user_agent, referrer, ip) = about;
        let event = LinkEvent {
            r#type,
            domain: link.0.into(),
            slug: link.1.into(),
            owner: labels.0.into(),
            campaign: labels.1.into(),
            channel: labels.2.into(),
            partner: labels.3.into(),
            launch: labels.4.into(),
            utm_source: utm.0.into(),
            utm_medium: utm.1.into(),
            utm_campaign: utm.2.into(),
            ..click()
        };
        let hints = Hints {
            ip: ip.map(Into::into),
            user_agent,
            referrer,
            salt: has_salt.then_some(Salt([7; 16])),
            tags: if has_tag { TAG } else { &[] },
            ..Hints::default()
        };
        (event, hints)
    })
}

/// An event behind stages in some order; `between` sees it behind each. The lines of its trace are sorted, since their
/// order is that of the stages.
fn behind<'e>(
    order: &[usize],
    (event, hints): &(LinkEvent<'static>, Hints<'_>),
    catalogue: &'e Catalogue,
    mut between: impl FnMut(usize, &LinkEvent<'e>),
) -> LinkEvent<'e> {
    let mut enricher = Enricher::new(settings());
    enricher.refer_to(References { countries: Some(Arc::clone(&COUNTRIES)), catalogue: None });
    let mut event: LinkEvent<'e> = event.clone();
    let mut at = Labelling::new(&mut event, hints, &enricher.known, Some(catalogue), &mut enricher.agents);
    for stage in order {
        (STAGES[*stage].label)(&mut at);
        between(*stage, at.event);
    }
    event.trace.sort();
    event
}

/// Which stage is to come before which, by their places in [`STAGES`].
fn declared() -> Vec<(usize, usize)> {
    let place = |name: &str| STAGES.iter().position(|stage| stage.name == name).expect("the name of a stage");
    let behind =
        |(at, stage): (usize, &Stage)| -> Vec<_> { stage.after.iter().map(|(name, _)| (place(name), at)).collect() };
    STAGES.iter().enumerate().flat_map(behind).collect()
}

/// An order of the stages that keeps what is asked for, of several that of the ranks; none where what is asked for
/// contradicts itself.
fn order(asked: &[(usize, usize)], ranks: &[usize]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < STAGES.len() {
        let is_due = |stage: &usize| {
            !order.contains(stage) && asked.iter().all(|(before, at)| at != stage || order.contains(before))
        };
        let next = (0..STAGES.len()).filter(is_due).min_by_key(|stage| ranks[*stage])?;
        order.push(next);
    }
    Some(order)
}

fn columns(event: &LinkEvent<'_>) -> Vec<(&'static str, String)> {
    let mut names = LinkEvent::COLUMNS.iter().filter(|column| column.kind != Kind::Unstored);
    let mut columns = vec![("test", event.test.to_string())];
    event.visit(|value| columns.push((names.next().expect("a column").name, format!("{value:?}"))));
    columns
}

#[test]
fn the_documentation_lists_the_stages_in_their_order() {
    let plain = |text: &str| text.replace('`', "");
    let documented: Vec<Vec<String>> =
        documented("## In which order").iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let listed = STAGES.iter().map(|stage| {
        let after: Vec<String> = stage.after.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let (writes, after) = (stage.writes.join(", "), after.join("; "));
        vec![stage.name.to_owned(), plain(stage.says), writes, plain(&after)]
    });
    let listed: Vec<Vec<String>> = listed.collect();
    let table: Vec<String> = listed.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    assert_eq!(documented, listed, "docs/labels.md is to say:\n{}", table.join("\n"));
}

#[test]
fn a_stage_names_columns_that_there_are_and_stages_that_come_before_it() {
    let all: Vec<&str> = LinkEvent::COLUMNS.iter().map(|column| column.name).collect();
    for stage in STAGES {
        let places: Vec<_> = stage.writes.iter().map(|name| all.iter().position(|column| column == name)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}: {:?}", stage.name, stage.writes);
    }
    assert!(declared().iter().all(|(before, at)| before < at), "{:?}", declared());
}

#[test]
fn each_order_that_is_asked_for_matters_and_follows_from_no_other() {
    let catalogue = Catalogue::read(LIST.as_bytes()).expect("a list");
    let (all, ranks) = (declared(), (0..STAGES.len()).collect::<Vec<_>>());
    for (before, at) in &all {
        let (first, second) = (STAGES[*before].name, STAGES[*at].name);
        let others = all.iter().copied().filter(|pair| pair != &(*before, *at));
        let turned = order(&others.chain([(*at, *before)]).collect::<Vec<_>>(), &ranks);
        let turned = turned.unwrap_or_else(|| panic!("that {second} comes behind {first} follows from other lines"));
        let differs = |case: &(LinkEvent<'static>, Hints<'static>)| {
            behind(&turned, case, &catalogue, |_, _| ()) != behind(&ranks, case, &catalogue, |_, _| ())
        };
        assert!(telling().iter().any(differs), "no event shows why {second} comes behind {first}");
    }
}

/// The columns that each stage of the list has changed, by the place of the stage, on the way of one event.
fn written(case: &(LinkEvent<'static>, Hints<'_>)) -> BTreeSet<(usize, &'static str)> {
    let catalogue = Catalogue::read(LIST.as_bytes()).expect("a list");
    let (mut before, mut written) = (columns(&case.0), BTreeSet::new());
    let usual: Vec<usize> = (0..STAGES.len()).collect();
    behind(&usual, case, &catalogue, |at, event| {
        let after = columns(event);
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        written.extend(changed.map(|((name, _), _)| (at, *name)));
        before = after;
    });
    written
}

#[test]
fn each_column_that_a_stage_declares_is_written_by_it_for_some_event() {
    let written: BTreeSet<_> = telling().iter().flat_map(written).collect();
    let declared = STAGES.iter().enumerate().flat_map(|(at, stage)| stage.writes.iter().map(move |name| (at, *name)));
    let never = declared.filter(|pair| !written.contains(pair)).map(|(at, name)| (STAGES[at].name, name));
    assert_eq!(never.collect::<Vec<_>>(), [], "no event of `telling` shows these");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_that_keeps_what_is_asked_for_gives_the_same_labels(
        case in any_event(), ranks in Just((0..STAGES.len()).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let catalogue = Catalogue::read(LIST.as_bytes()).expect("a list");
        let usual: Vec<usize> = (0..STAGES.len()).collect();
        let other = order(&declared(), &ranks).expect("the order of the list is one");
        let labelled = |order: &[usize]| behind(order, &case, &catalogue, |_, _| ()).to_owned();
        prop_assert_eq!(labelled(&other), labelled(&usual), "{:?}", other);
    }

    #[test]
    fn a_stage_writes_the_columns_that_it_declares_and_no_others(case in any_event()) {
        let undeclared = written(&case).into_iter().filter(|(at, name)| !STAGES[*at].writes.contains(name));
        let wrong: Vec<_> = undeclared.map(|(at, name)| (STAGES[at].name, name)).collect();
        prop_assert!(wrong.is_empty(), "{wrong:?}");
    }
}
