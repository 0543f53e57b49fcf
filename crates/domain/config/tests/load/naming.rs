//! `[naming]`, `[partner]`, `[launch]`, `[catalogue]` and route tests: what is read, and what is refused.

use std::time::Duration;

use hookline_config::{Config, ListPlace};

use crate::{base, errors, sound};

fn with(text: &str) -> String {
    format!("{}{text}", base())
}

/// What is wrong with a `[naming]`, whose first key stands in line 13.
fn wrong(keys: &str) -> Vec<String> {
    errors(&with(&format!("[naming]\n{keys}")))
}

#[test]
fn patterns_are_made_of_parts_and_hold_for_all_of_a_value() {
    let naming = sound(&with(
        "[naming]\ncampaign = { pattern = \"{quarter}-{region}-{name}\", example = \"2026q4-de-blackfriday\", from = 2026-12-01 }\n\
         quarter = \"20[0-9]{2}q[1-4]\"\nregion = [\"de\", \"u.s\"]\npromo = \"[A-Z]{3,10}[0-9]{0,2}\"\nchannel = { values = [\"email\"] }\n",
    ))
    .naming;
    let allows = |field: &str, value: &str| {
        let standard = naming.standards.iter().find(|standard| standard.field.name() == field).unwrap();
        standard.form.allows(value)
    };
    for (field, value, allowed) in [
        ("campaign", "2026q4-de-black-friday-2", true),
        ("campaign", "2026q4-u.s-x", true),
        ("campaign", "2026q4-uxs-x", false),
        ("campaign", "2026q4-de-Black", false),
        ("campaign", "x2026q4-de-x", false),
        ("campaign", "2026q4-de-x\n", false),
        ("promo", "BLACK26", true),
        ("promo", "black26", false),
        ("channel", "email", true),
        ("channel", "e-mail", false),
    ] {
        assert_eq!(allows(field, value), allowed, "{field} {value:?}");
    }
    assert_eq!(naming.standards[0].from_ms, 1_796_083_200_000);
}

#[test]
fn what_cannot_be_a_standard_is_refused_with_its_place() {
    for (keys, why) in [
        (
            "campain = [\"a\"]\n",
            "hookline.toml:13:1: \"campain\" in [naming] is neither a field nor a part of a pattern; did you mean \"campaign\"?",
        ),
        ("campaign = \"{quarter}\"\n", "hookline.toml:13:12: the part {quarter} is not declared in [naming]"),
        ("campaign = \"[a-z\"\n", "hookline.toml:13:12: \"[a-z\" is not an expression: unclosed character class"),
        ("campaign = \"(?=x)a\"\n", "hookline.toml:13:12: \"(?=x)a\" is not an expression: look-around"),
        (
            "campaign = \"((a{1,99}){1,99}){1,99}\"\n",
            "hookline.toml:13:12: the expression \"((a{1,99}){1,99}){1,99}\" is too large once it is compiled",
        ),
        ("campaign = []\n", "hookline.toml:13:12: campaign in [naming] allows no value"),
        ("campaign = { example = \"a\" }\n", "hookline.toml:13:1: campaign in [naming] needs a pattern or values"),
        (
            "campaign = { pattern = \"[a-z]+\", example = \"A1\" }\n",
            "hookline.toml:13:1: the example \"A1\" breaks the standard of campaign",
        ),
        (
            "campaign = \"{a}\"\na = \"{b}\"\nb = \"x{a}\"\n",
            "hookline.toml:14:1: parts of [naming] that contain each other: a -> b -> a",
        ),
        (
            "same_as = { chanel = { a = \"b\" } }\n",
            "hookline.toml:13:13: unknown field \"chanel\" in same_as of [naming]; did you mean \"channel\"?",
        ),
        (
            "same_as = { channel = { a = \"b\", b = \"c\", c = \"a\" } }\n",
            "hookline.toml:13:25: aliases of channel that mean each other: a -> b -> c -> a",
        ),
        (
            "same_as = { channel = { a = \"a\" } }\n",
            "hookline.toml:13:25: aliases of channel that mean each other: a -> a",
        ),
        (
            "channel = [\"email\"]\nsame_as = { channel = { ig = \"social\" } }\n",
            "hookline.toml:14:25: \"ig\" means \"social\", which the standard of channel does not allow",
        ),
    ] {
        let found = wrong(keys);
        assert!(found.iter().any(|line| line.starts_with(why)), "{found:#?}\nnot {why}\nfor {keys}");
    }
    let doubling: String = (1..=30).map(|at| format!("p{at} = \"{{p{0}}}{{p{0}}}\"\n", at - 1)).collect();
    let found = wrong(&format!("campaign = \"{{p30}}\"\np0 = \"aaaaaaaa\"\n{doubling}"));
    assert!(found.iter().any(|line| line.contains("too long together") || line.contains("characters")), "{found:#?}");
}

#[test]
fn an_alias_means_what_the_last_of_its_chain_means_from_the_day_of_the_latest() {
    let naming =
        sound(&with("[naming]\nsame_as = { channel = { a = \"b\", b = { is = \"email\", from = 2026-12-01 } } }\n"))
            .naming;
    let channel = enrich::NamedField::Channel;
    assert_eq!(naming.meaning(channel, "a", 1_796_083_200_000), Some("email"));
    assert_eq!(naming.meaning(channel, "a", 1_796_083_199_999), None);
    assert_eq!(naming.meaning(channel, "email", i64::MAX), None);
}

#[test]
fn partners_launches_and_a_catalogue_are_read() {
    let config = sound(&with(
        "[partner.dealfox]\napproved_sources = [\"Deal Fox\", \"dealfox-app\"]\n\
         [launch.podcast]\nlinks = [\"go.example.com/bio\"]\nfrom = 2026-12-01\n[catalogue]\nfile = \"links.csv\"\n",
    ));
    assert!(config.partners["dealfox"].contains(&enrich::fold("deal-fox")));
    let launch = &config.launches[0];
    assert_eq!((launch.name.as_str(), launch.from_ms, launch.until_ms), ("podcast", 1_796_083_200_000, i64::MAX));
    assert!(matches!(config.catalogue, Some(ListPlace::File(file)) if file.ends_with("links.csv")));
    let fetched = "[catalogue]\nfile = \"https://lists.example/links.csv\"\nevery = \"1m\"\nallow_private = true\n";
    let (url, every) = ("https://lists.example/links.csv".to_owned(), Duration::from_secs(60));
    assert_eq!(sound(&with(fetched)).catalogue, Some(ListPlace::Address { url, every, allow_private: true }));
    for (text, why) in [
        ("[partner.dealfox]\n", "[partner.dealfox] has no \"approved_sources\""),
        ("[launch.x]\nfrom = 2026-12-01\n", "[launch.x] has no \"links\""),
        ("[catalogue]\nfile = \"s3://lists/links.csv\"\n", "a catalogue cannot be fetched by s3"),
        ("[catalogue]\nfile = \"https://a:b@lists.example/\"\n", "the address of the catalogue has a login in it"),
        ("[catalogue]\nfile = \"https:///links.csv\"\n", "the address of the catalogue names no host"),
        ("[catalogue]\nfile = \"links.csv\"\nevery = \"1m\"\n", "every and allow_private are for a list at an address"),
        ("[catalogue]\n", "[catalogue] has no \"file\""),
    ] {
        let found = errors(&with(text));
        assert!(found.iter().any(|line| line.contains(why)), "{found:#?}\nnot {why}");
    }
}

fn with_test(given: &str) -> Result<Config, Vec<String>> {
    let rule = "[rule.r]\nowner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";
    let text = with(&format!("{rule}[test.t]\ngiven = {given}\nexpect = [\"r -> log\"]\n"));
    let found = errors(&text);
    if found.is_empty() { Ok(sound(&text)) } else { Err(found) }
}

#[test]
fn a_route_test_gives_events_by_the_fields_that_rules_ask_about() {
    let config = with_test("{ event = \"qr_scan\", link = \"go.example.com/x\", tag = \"q4\", partner_approved = true, count = 200, within = \"5m\", usual = 10 }").unwrap();
    let test = &config.tests[0];
    let event = &test.given.event;
    assert_eq!((event.r#type.as_str(), event.domain.as_ref(), event.slug.as_ref()), ("qr_scan", "go.example.com", "x"));
    assert_eq!((event.tags().next(), event.partner_approved), (Some("q4"), true));
    assert_eq!((test.given.count, test.given.within_ms, test.given.usual), (200, 300_000, 10));
    assert_eq!(test.expect, ["r -> log"]);
    for (given, why) in [
        ("{ link_kind = \"promo\" }", "given of [test.t] has no \"event\""),
        ("{ event = \"clik\" }", "unknown event \"clik\""),
        ("{ event = \"click\", link_kimd = \"promo\" }", "unknown key \"link_kimd\" in given of [test.t]"),
        ("{ event = \"click\", tag = [\"a\"] }", "tag is a list"),
        ("{ event = \"click\", count = 0 }", "count in given of [test.t] is 0"),
    ] {
        let found = with_test(given).unwrap_err();
        assert!(found.iter().any(|line| line.contains(why)), "{found:#?}\nnot {why}");
    }
}
