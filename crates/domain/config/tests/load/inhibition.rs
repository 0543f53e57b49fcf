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
