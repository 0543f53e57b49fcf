//! What is held back while something else fires.

use std::collections::BTreeMap;

use notification::Inhibit;

use crate::{base, errors, sound};

const RULES: &str = "[rule.source-quiet]\nowner = \"growth\"\nwhen = {}\nalert = { silence = \"30m\", per = \"source\" }\n\
    [rule.link-quiet]\nowner = \"growth\"\nwhen = {}\nalert = { silence = \"learned\", per = \"link\" }\n\
    [rule.campaign-quiet]\nowner = \"growth\"\nwhen = {}\nalert = { silence = \"learned\", per = \"campaign\" }\n\
    [rule.each]\nowner = \"growth\"\nwhen = {}\nalert = { each = true }\n";

fn inhibits(more: &str) -> Vec<Inhibit> {
    sound(&format!("{}{RULES}{more}", base())).inhibits
}

#[test]
fn a_silent_source_holds_back_its_links_by_itself() {
    let found = inhibits("");
    let [inhibit] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        *inhibit,
        Inhibit {
            name: "silent-source".to_owned(),
            by: BTreeMap::from([("source-quiet".to_owned(), "source".to_owned())]),
            hold: vec!["link-quiet".to_owned()],
            same: vec!["source".to_owned()],
            wait_ms: 30_000,
            after_ms: 1_800_000,
        }
    );
    assert_eq!(inhibits("[inhibit.silent-source]\nenabled = false\n"), []);
    // One that is only tried out holds nothing back.
    let shadow = format!("{}{RULES}", base()).replacen("per = \"source\" }", "per = \"source\" }\nshadow = true", 1);
    assert_eq!(sound(&shadow).inhibits, []);
}

/// Which rules are held back by which, by itself, of rules with these conditions.
fn by_itself(sources: &[&str], links: &[&str]) -> Vec<(String, String)> {
    let rules = |name: &str, per: &str, all: &[&str]| -> String {
        let one = |(number, when): (usize, &&str)| {
            let alert = format!("alert = {{ silence = \"30m\", per = \"{per}\" }}");
            format!("[rule.{name}-{number}]\nowner = \"growth\"\nwhen = {when}\n{alert}\n")
        };
        all.iter().enumerate().map(one).collect()
    };
    let text = format!("{}{}{}", base(), rules("source", "source", sources), rules("link", "link", links));
    let found = sound(&text).inhibits;
    assert!(found.iter().all(|one| one.name == "silent-source"), "{found:?}");
    let pairs = found.iter().flat_map(|one| {
        one.by.keys().flat_map(|by| one.hold.iter().map(|held| (by.clone(), held.clone()))).collect::<Vec<_>>()
    });
    pairs.collect()
}

#[test]
fn a_silent_source_holds_back_only_what_it_explains() {
    for (source, link, explains) in [
        // Sales that do not come say nothing of visits that do not come.
        ("{ event = \"sale\" }", "{ event = \"visit\" }", false),
        ("{ event = \"visit\" }", "{ event = \"visit\", link_kind = \"flagship\" }", true),
        ("{ event = \"visit\" }", "{ event = [\"click\", \"qr_scan\"] }", true),
        ("{ event = \"click\" }", "{ event = \"visit\" }", false),
        ("{ event = \"visit\" }", "{}", false),
        ("{}", "{ event = \"visit\" }", true),
        ("{ event = \"link.*\" }", "{ event = \"link.expired\" }", true),
        ("{ event = \"link.expired\" }", "{ event = \"link.*\" }", false),
        ("{ campaign = \"q4-*\" }", "{ event = \"visit\" }", false),
        ("{ campaign = [\"q4\", \"q4-*\"] }", "{ campaign = \"q4-east\", event = \"visit\" }", true),
        ("{ campaign = \"q4-*\" }", "{ campaign = [\"q4-east\", \"q3\"] }", false),
        ("{ campaign = \"q4-*\" }", "{ channel = \"q4-east\" }", false),
    ] {
        let pairs = by_itself(&[source], &[link]);
        assert_eq!(!pairs.is_empty(), explains, "{source} and {link}: {pairs:?}");
    }
    // Each pair by its own conditions.
    let pairs = by_itself(
        &["{ event = \"visit\" }", "{ event = \"sale\" }", "{}"],
        &["{ event = \"click\" }", "{ event = \"sale\" }", "{ event = \"lead\" }"],
    );
    let mut found: Vec<String> = pairs.iter().map(|(by, held)| format!("{by}>{held}")).collect();
    found.sort();
    assert_eq!(
        found,
        ["source-0>link-0", "source-1>link-1", "source-2>link-0", "source-2>link-1", "source-2>link-2"],
        "by the order of the rules"
    );
}

#[test]
fn one_that_has_only_rules_in_shadow_holds_nothing_back() {
    let declared = "[inhibit.silent-source]\nwhile = [\"source-quiet\"]\nhold = [\"each\"]\n";
    let text = format!("{}{RULES}{declared}", base());
    assert_eq!(sound(&text).inhibits.len(), 1);
    let shadow = text.replacen("per = \"source\" }", "per = \"source\" }\nshadow = true", 1);
    assert_eq!(sound(&shadow).inhibits, []);
}

#[test]
fn rules_that_would_hide_each_other_are_refused() {
    let refused = |more: &str| -> Vec<String> { errors(&format!("{}{RULES}{more}", base())) };
    let pair = |name: &str, by: &str, held: &str| {
        format!("[inhibit.{name}]\nsame = []\nwhile = [\"{by}\"]\nhold = [\"{held}\"]\n")
    };
    let (link, campaign, source) = ("link-quiet", "campaign-quiet", "source-quiet");
    // The one that is there by itself takes part, and an inhibition that stands before it.
    let line = base().lines().count() + RULES.lines().count() + 4;
    let found = refused(&pair("a", link, source));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&format!("hookline.toml:{line}:")), "{found:?}");
    let words = "rules would hide each other: source-quiet holds back link-quiet, which holds back source-quiet";
    assert!(found[0].contains(words) && found[0].contains("[inhibit.silent-source]"), "{found:?}");
    let three = pair("a", link, campaign) + &pair("b", campaign, source);
    let found = refused(&three);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&format!("hookline.toml:{}:", line + 4)), "{found:?}");
    let words = "source-quiet holds back link-quiet, which holds back campaign-quiet, which holds back source-quiet";
    assert!(found[0].contains(words), "{found:?}");
    // Without the default, and with one that is off, there is none.
    let off = "[inhibit.silent-source]\nenabled = false\n";
    assert_eq!(inhibits(&(pair("a", link, source) + off)).len(), 1);
    assert_eq!(refused(&(pair("a", link, campaign) + &pair("b", campaign, link))).len(), 1);
    let not_on = pair("b", campaign, link) + "enabled = false\n";
    assert_eq!(inhibits(&(pair("a", link, campaign) + &not_on)).len(), 2);
}

#[test]
fn others_are_declared_and_may_take_its_place() {
    let declared = "[inhibit.silent-source]\nwhile = [\"source-quiet\"]\nhold = [\"campaign-quiet\", \"each\"]\nafter = \"0s\"\n\
        [inhibit.other]\nwhile = [\"link-quiet\"]\nhold = [\"campaign-quiet\"]\nsame = [\"campaign\", \"key\"]\nwait = \"2m\"\n";
    let found = inhibits(declared);
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["silent-source", "other"]);
    assert_eq!((found[0].hold.len(), found[0].after_ms), (2, 0));
    assert_eq!(
        found[1].by,
        BTreeMap::from([("link-quiet".to_owned(), String::new())]),
        "no attribute is the key of a link"
    );
    assert_eq!((found[1].wait_ms, found[1].same.len()), (120_000, 2));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |more: &str| errors(&format!("{}{RULES}{more}", base()));
    let one = |more: &str, words: &str| {
        let found = refused(more);
        assert!(found.len() == 1 && found[0].contains(words), "{more}: {found:?}");
    };
    one("[inhibit.a]\nwhile = [\"each\"]\nhold = [\"link-quiet\"]\n", "the alerts of rule each have no end");
    one("[inhibit.a]\nwhile = [\"link-quiet\"]\nhold = [\"link-quiet\"]\n", "rule link-quiet would hold itself back");
    one("[inhibit.a]\nwhile = [\"link-quite\"]\nhold = [\"each\"]\n", "did you mean \"link-quiet\"?");
    one("[inhibit.a]\nwhile = [\"link-quiet\"]\nhold = [\"each\"]\nsame = [\"sorce\"]\n", "did you mean \"source\"?");
    assert_eq!(refused("[inhibit.a]\n").len(), 2, "both rules are missing");
}
