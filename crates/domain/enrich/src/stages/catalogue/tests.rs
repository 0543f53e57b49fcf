use event::Millis;
use proptest::prelude::*;

use super::*;

const LIST: &str = "\
link,kind,owner,campaign,intent,contact,deal,programme,placement,partner,launch,expected_host,tags,expires
go.acme.example/spring,promo,growth,2026q4-de-spring,,,,,,,,Acme.example,q4|sale,2026-12-01
https://GO.acme.example/proposal-7/,proposal,,,buy,c-77,d-9,,,,,,,
l_77,affiliate,,,,,,,,dealfox,podcast-s3,,,2026-12-01T09:00:00Z
";

fn read(list: &str) -> Result<Catalogue, String> {
    Catalogue::read(list.as_bytes()).map_err(|why| why.to_string())
}

fn joined(mut event: LinkEvent<'static>) -> LinkEvent<'static> {
    // Events borrow from a list for as long as they are, here to the end of the test.
    let list: &'static Catalogue = Box::leak(Box::new(read(LIST).expect("a list")));
    if let Some(link) = list.find(&event.domain.clone(), &event.slug.clone(), &event.link_id.clone()) {
        join(link, &mut event, false);
    }
    event
}

fn click(domain: &'static str, slug: &'static str, id: &'static str) -> LinkEvent<'static> {
    LinkEvent {
        r#type: EventType::Click,
        domain: domain.into(),
        slug: slug.into(),
        link_id: id.into(),
        ..LinkEvent::default()
    }
}

#[test]
fn a_link_is_found_by_its_name_or_its_id_and_told_what_the_list_says() {
    let version = read(LIST).expect("a list").version();
    let event = joined(click("go.acme.example", "spring", "x1"));
    assert_eq!((event.link_kind.as_ref(), event.owner.as_ref()), ("promo", "growth"));
    assert_eq!((event.campaign.as_ref(), event.catalogue_version), ("2026q4-de-spring", version));
    let event = joined(click("go.acme.example", "proposal-7", "x2"));
    assert_eq!((event.link_kind.as_ref(), event.intent.as_ref()), ("proposal", "buy"));
    assert_eq!((event.extra.get("contact"), event.extra.get("deal")), ("c-77", "d-9"));
    let event = joined(click("go.acme.example", "", "l_77"));
    assert_eq!((event.partner.as_ref(), event.launch.as_ref()), ("dealfox", "podcast-s3"));
    let event = joined(click("", "", "go.acme.example/spring"));
    assert_eq!(event.link_kind, "promo", "a link without an id is known by its name");
    let event = joined(click("go.acme.example", "Spring", "spring"));
    assert_eq!((event.link_kind.as_ref(), event.catalogue_version), ("", 0));
}

#[test]
fn what_the_platform_says_stays() {
    let event = joined(LinkEvent {
        link_kind: "bio".into(),
        campaign: "mine".into(),
        ..click("go.acme.example", "spring", "")
    });
    assert_eq!((event.link_kind.as_ref(), event.campaign.as_ref(), event.owner.as_ref()), ("bio", "mine", "growth"));
}

#[test]
fn a_visit_after_the_end_of_its_link_or_to_another_host_says_so() {
    // The first of December 2026.
    let day = 1_796_083_200_000;
    let trace = |event_time: i64, host: &'static str| {
        let visit = click("go.acme.example", "spring", "");
        let event = joined(LinkEvent { event_time: Millis(event_time), destination_host: host.into(), ..visit });
        event.trace.into_iter().map(|line| line.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(trace(day - 1, "acme.example"), [""; 0]);
    assert_eq!(trace(day, "acme.example"), ["catalogue:expired"]);
    assert_eq!(trace(day - 1, "elsewhere.example"), ["catalogue:expected_host:acme.example"]);
}

#[test]
fn whatever_is_wrong_with_a_list_is_said_with_its_line() {
    for (list, why) in [
        ("kind\npromo\n", "line 1: the column \"link\" is missing"),
        ("link,kimd\na,b\n", "line 1: unknown column \"kimd\"; one of: link, kind,"),
        ("link,kind,kind\n", "line 1: the column \"kind\" stands twice"),
        ("link,kind\na/b,promo\nc/d\n", "line 3: 1 fields, where the head has 2"),
        ("link,kind\na/b,promo,x\n", "line 2: 3 fields, where the head has 2"),
        ("link,kind\n,promo\n", "line 2: the link is empty"),
        ("link\na/b\nc/d\nhttps://A/b/\n", "line 4: the link \"a/b\" stands in line 2 already"),
        ("link,expires\na/b,soon\n", "line 2: expires is \"soon\": write 2026-12-31"),
        ("", "line 1: the column \"link\" is missing"),
    ] {
        let found = read(list).err().unwrap_or_default();
        assert!(found.starts_with(why), "{found}\nfor {list:?}");
    }
    let long = format!("link,kind\na/b,{}\n", "x".repeat(1_025));
    assert_eq!(read(&long).unwrap_err(), "line 2: a text of 1025 bytes; 1024 are allowed");
    let not_text = [&b"link,kind\na/b,"[..], &[0xFF], b"\n"].concat();
    assert_eq!(Catalogue::read(not_text.as_slice()).unwrap_err().to_string(), "line 2: it is not UTF-8");
    let torn = read("link,kind\n\"a/b,promo\nc/d,bio\n").unwrap_err();
    assert!(
        torn.starts_with("line 2: 1 fields, where the head has 2"),
        "a quotation mark that is never closed: {torn}"
    );
}

#[test]
fn a_list_without_end_is_given_up_at_its_bound() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let line = if self.0 == 0 { "link\n".to_owned() } else { format!("l{}\n", self.0) };
            self.0 += 1;
            buffer[..line.len()].copy_from_slice(line.as_bytes());
            Ok(line.len())
        }
    }
    let why = Catalogue::read_at_most(Endless(0), 10_000).unwrap_err().to_string();
    assert_eq!(why, "line 10002: the list has over 10000 links");
}

#[test]
fn the_version_names_the_bytes() {
    let version = |list: &str| read(list).expect("a list").version();
    assert_eq!(version(LIST), version(LIST));
    assert_ne!(version(LIST), version(&LIST.replace("promo", "bio")));
    assert!(version("link\n") > 0 && i64::try_from(version("link\n")).is_ok());
}

proptest! {
    #[test]
    fn a_list_finds_its_own_links_and_no_others(links in prop::collection::btree_set("[a-c]{1,3}(/[a-c]{0,3})?", 1..30), other in "[a-c]{1,3}/[a-c]{1,3}") {
        let links: std::collections::BTreeSet<String> = links.iter().map(|link| link.trim_end_matches('/').to_owned()).collect();
        let list = read(&format!("link\n{}\n", links.iter().cloned().collect::<Vec<_>>().join("\n"))).expect("a list");
        prop_assert_eq!(list.len(), links.len());
        for (at, link) in links.iter().enumerate() {
            let found = list.find("", "", link).map(|link| link.line());
            prop_assert_eq!(found, Some(at as u64 + 2));
        }
        prop_assert_eq!(list.find("", "", &other).is_some(), links.contains(&other));
    }

    #[test]
    fn no_list_makes_it_panic(list in "\\PC{0,60}(\n\\PC{0,40}){0,4}") {
        let _ = read(&list);
        let _ = read(&format!("link,tags,expires\n{list}"));
    }
}
