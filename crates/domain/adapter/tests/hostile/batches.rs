//! Batches that a platform without ids sends in a field.

use hookline_adapter::{Adapter, Element, MAX_ELEMENTS};

use crate::{JSON, split};

fn rebrandly_click(referrer: &str) -> String {
    format!(r#"{{"timestamp":"2026-11-23T10:00:00Z","referral":{{"hostname":"{referrer}"}},"route":{{"id":"r1"}}}}"#)
}

fn keys<'e>(elements: &'e [Element<'_>]) -> Vec<&'e str> {
    elements.iter().map(|element| element.key.as_str()).collect()
}

#[test]
fn clicks_of_one_batch_that_nothing_in_the_recipe_tells_apart_count_one_by_one() {
    let (one, other) = (rebrandly_click("a.example"), rebrandly_click("b.example"));
    let batch = format!(r#"{{"data":[{one},{one},{other}]}}"#);
    let elements = split(Adapter::Rebrandly, batch.as_bytes(), JSON).expect("a batch");
    let first = elements[0].key.as_str();
    assert_eq!(keys(&elements), [first, &format!("{first}:1"), &format!("{first}:2")]);
    let again = split(Adapter::Rebrandly, batch.as_bytes(), JSON).expect("a batch");
    assert_eq!(keys(&again), keys(&elements), "a batch that comes again is known");
}

#[test]
fn a_bad_click_of_a_batch_spoils_itself_only_and_the_envelope_goes() {
    let good = rebrandly_click("a.example");
    let batch = format!(r#"{{"key":"userId_1","data":[{good},7,{{"route":{{}}}},null]}}"#);
    let elements = split(Adapter::Rebrandly, batch.as_bytes(), JSON).expect("a batch");
    let reasons: Vec<_> = elements.iter().map(|element| element.quarantine.as_ref().map(|why| why.reason)).collect();
    assert_eq!(reasons, [None, Some("not_an_event"), Some("missing_field"), Some("not_an_event")]);
    assert_eq!(elements.iter().map(|element| element.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(elements[0].bytes.as_ref(), good.as_bytes(), "as it came");
    assert!(elements.iter().all(|element| !String::from_utf8_lossy(&element.bytes).contains("userId")));
}

#[test]
fn a_batch_in_a_field_is_bounded_and_read_as_the_strict_pass_reads_it() {
    let many = format!(r#"{{"data":[{}{{}}]}}"#, "{},".repeat(MAX_ELEMENTS));
    let refused = split(Adapter::Rebrandly, many.as_bytes(), JSON).expect_err("too many");
    assert_eq!(refused.reason, "too_many_events");
    assert_eq!(split(Adapter::Rebrandly, br#"{"data":[]}"#, JSON).expect_err("nothing").reason, "empty");
    let (one, other) = (rebrandly_click("a.example"), rebrandly_click("b.example"));
    for twice in [
        format!(r#"{{"data":[{one},{one}],"data":[{other}]}}"#),
        format!(r#"{{"data":[{one}],"d\u0061ta":[{other}]}}"#),
        format!(r#"{{"data":7,"data":[{other}]}}"#),
    ] {
        let elements = split(Adapter::Rebrandly, twice.as_bytes(), JSON).expect(&twice);
        assert_eq!(
            elements.iter().map(|element| element.bytes.as_ref()).collect::<Vec<_>>(),
            [other.as_bytes()],
            "{twice}"
        );
    }
}
