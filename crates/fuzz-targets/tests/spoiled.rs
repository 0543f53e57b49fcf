//! One text spoils nothing but its event: whatever is wrong in one event of a batch, the others come out as without it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use adapter::{Adapter, Dialect};
use hookline_fuzz_targets::batches::{Batch, SOURCES, Source, neighbours_stay};
use proptest::prelude::*;

/// What stands as the value of a field, and whether the event can still be used.
const VALUES: [(&[u8], bool); 44] = [
    (br#""Sale \ud83d""#, true),
    (br#""\ude00 Sale""#, true),
    (br#""\uD83D\uD83D""#, true),
    (br#""\ud83d\n""#, true),
    (br#""\ud83d\u0041""#, true),
    (br#"{"\ud83d":{"\ude00":"\udfff"}}"#, true),
    (b"\"caf\xe9\"", true),
    (b"\"\xe2\x82\"", true),
    (b"\"\xf0\x9f\x98\"", true),
    (b"\"\xc0\xaf \xe0\x80\xaf\"", true),
    (b"\"\xed\xa0\xbd\xed\xb8\x80\"", true),
    (b"\"\xf5\xff\xfe\"", true),
    (b"1e999", true),
    (b"-1E+999", true),
    (b"[1e400,2]", true),
    (b"1e-999", true),
    ("\"\u{7f}\u{2028}\u{2029}\u{85}\u{feff}\u{ffff}\"".as_bytes(), true),
    (br#""\u0000""#, true),
    (br#""once","odd":"twice""#, true),
    (b"\"tab\there\"", false),
    (b"\"nul\0\"", false),
    (b"\"\x1f\"", false),
    (b"\"cr\r\"", false),
    (b"NaN", false),
    (b"-NaN", false),
    (b"Infinity", false),
    (b"-Infinity", false),
    (b"nan", false),
    (b"undefined", false),
    (b"None", false),
    (b"01", false),
    (b"-01e999", false),
    (b"+1", false),
    (b".5", false),
    (b"5.", false),
    (b"0x1F", false),
    (b"'single'", false),
    (br#""\x41""#, false),
    (br#""\u12""#, false),
    (br#""\ud83d\u""#, false),
    (b"[1,]", false),
    (b"{\"a\":1,}", false),
    (b"// why\n1", false),
    (b"\xff", false),
];

#[test]
fn one_bad_value_spoils_at_most_its_own_event() {
    for source in SOURCES {
        for (value, usable) in VALUES {
            if source.1 == Batch::Lines && value.contains(&b'\n') {
                continue;
            }
            for place in [0, 1, 2] {
                let template = source.event("bad", "TEXT-HERE");
                let text = template.windows(9).position(|window| window == b"TEXT-HERE").expect("the mark");
                let spoiled = [&template[..text], value, &template[text + 9..]].concat();
                let becomes = neighbours_stay(source, 2, place, &spoiled);
                let expected = if usable { None } else { Some("not_json") };
                assert_eq!(becomes, [expected], "{source:?} {}", String::from_utf8_lossy(&spoiled));
                // Alone it fares as in a batch.
                let dialect = source.dialect();
                let alone = source.0.split(&dialect, &spoiled, "", &|_| None);
                if !source.2 && source.0 != Adapter::Mapping {
                    assert_eq!(alone.is_ok_and(|alone| alone[0].quarantine.is_none()), usable);
                }
            }
        }
    }
}

#[test]
fn a_text_whose_end_is_lost_hides_no_neighbour() {
    for source in SOURCES {
        for damage in [
            // A text cut behind a backslash, quotes that were not escaped, brackets lost and doubled.
            br#""Sale \""#.as_slice(),
            br#""24" screen""#,
            br#"24" screen""#,
            br#""Sale"#,
            br#"["#,
            br#"{"a":["#,
            br#"1]"#,
            br#"1}"#,
            br#""a","b"]}"#,
            br#"}"#,
            br#"]]]"#,
        ] {
            for place in [0, 1, 2, 3] {
                let template = source.event("bad", "TEXT-HERE");
                let text = template.windows(9).position(|window| window == b"TEXT-HERE").expect("the mark");
                let spoiled = [&template[..text], damage, &template[text + 9..]].concat();
                let becomes = neighbours_stay(source, 3, place, &spoiled);
                assert!(becomes.iter().any(Option::is_some), "{becomes:?} {}", String::from_utf8_lossy(&spoiled));
            }
        }
    }
}

#[test]
fn two_events_with_a_quote_too_many_hide_nothing_between_them() {
    for source in [SOURCES[0], SOURCES[2], SOURCES[4], SOURCES[6], SOURCES[8]] {
        let dialect = source.dialect();
        let events: Vec<_> = ["\"a\"", "\"24\" screen\"", "\"b\"", "\"c\"", "\"27\" screen\"", "\"d\""]
            .iter()
            .enumerate()
            .map(|(n, text)| source.event(&format!("e{n}"), text))
            .collect();
        let body = source.body(&events);
        let elements = source.split(&dialect, &body);
        let good: Vec<_> = elements.iter().filter(|element| element.quarantine.is_none()).collect();
        assert_eq!(good.len(), 4, "{source:?} {elements:?}");
        for (element, expected) in good.iter().zip([0, 2, 3, 5]) {
            assert_eq!(element.bytes.as_ref(), events[expected]);
        }
    }
}

#[test]
fn ids_that_differ_only_in_what_was_replaced_are_two_events_and_the_same_id_is_one() {
    let key = |id: &[u8]| {
        let event = Source(Adapter::Canonical, Batch::Array, false).event("ID-HERE", "1");
        let at = event.windows(7).position(|window| window == b"ID-HERE").expect("the mark");
        let body = [&event[..at], id, &event[at + 7..]].concat();
        let elements = Adapter::Canonical.split(&Dialect::PLAIN, &body, "", &|_| None).expect("an event");
        assert_eq!(elements[0].quarantine, None);
        elements[0].key.as_str().to_owned()
    };
    assert_ne!(key(br"a\ud83d"), key(br"a\ud83e"));
    assert_ne!(key(b"caf\xe9"), key(b"caf\xe8"));
    assert_eq!(key(br"a\ud83d"), key(br"a\uD83D"));
    assert_eq!(key("é".as_bytes()), key(br"\u00e9"));
    assert_eq!(key("a\u{fffd}".as_bytes()), "a\u{fffd}", "what came whole stays as it is");
}

#[test]
fn a_mark_before_a_body_a_line_or_an_event_says_nothing() {
    let event = r#"{"id":"1","type":"click","time":"2026-11-23T10:00:00Z","link":{"id":"l"},"odd":"é"}"#;
    let keys = |body: &[u8], content_type: &str| -> Vec<String> {
        let elements = Adapter::Canonical.split(&Dialect::PLAIN, body, content_type, &|_| None).expect("events");
        assert!(elements.iter().all(|element| element.quarantine.is_none()));
        assert!(elements.iter().all(|element| element.bytes.as_ref() == event.as_bytes()), "as it came without a mark");
        elements.iter().map(|element| element.key.as_str().to_owned()).collect()
    };
    for body in [
        format!("\u{feff}{event}"),
        format!("\u{feff}\u{feff} \n{event}"),
        format!(" \u{feff}{event}\r\n"),
        format!("\u{feff}[{event}]"),
        format!("[\u{feff}{event}]"),
        format!("\u{feff}[\u{feff}{event},]"),
    ] {
        assert_eq!(keys(body.as_bytes(), ""), ["1"], "{body}");
    }
    for lines in [
        format!("\u{feff}{event}\n{event}"),
        format!("{event}\r\n\u{feff}{event}\r\n\u{feff}"),
        format!("\u{feff}\n{event}\n\n\u{feff}{event}"),
    ] {
        assert_eq!(keys(lines.as_bytes(), "application/x-ndjson"), ["1", "1"], "{lines}");
    }
    for wide in [format!("\u{feff}{event}"), event.to_owned(), format!("\u{feff}[{event}]")] {
        let little: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = wide.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!([keys(&little, ""), keys(&big, "")], [["1"], ["1"]]);
    }
    let lines: Vec<u8> = format!("\u{feff}{event}\n{event}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(keys(&lines, "application/x-ndjson"), ["1", "1"]);
    let rebrandly = "\u{feff}{\"data\":[{\"timestamp\":1,\"route\":{\"id\":\"r\"}}]}";
    let clicks = Adapter::Rebrandly.split(&Dialect::PLAIN, rebrandly.as_bytes(), "", &|_| None).expect("a click");
    assert_eq!((clicks.len(), &clicks[0].quarantine), (1, &None));
    for nothing in ["\u{feff}", " \u{feff}\n"] {
        let why = Adapter::Canonical.split(&Dialect::PLAIN, nothing.as_bytes(), "", &|_| None).expect_err("nothing");
        assert_eq!(why.reason, "empty");
    }
}

#[test]
fn a_batch_that_is_made_to_be_slow_is_not() {
    let begun = std::time::Instant::now();
    for unit in [
        ",{\"",
        ",{",
        "{\"a\":1},",
        ",{\"a\":[",
        "\"},{\"",
        ",{},{",
        "\\\",{\"",
        ",{\"id\":\"x\",\"type\":\"click\"",
        "{[},",
        "{\"a},",
    ] {
        let body = [b"[{\"".as_slice(), unit.repeat(64 * 1_024 / unit.len()).as_bytes()].concat();
        for source in SOURCES {
            let dialect = source.dialect();
            _ = source.0.split(&dialect, &body, "application/json", &|_| None).map(|elements| elements.len());
        }
    }
    // 90 bodies of 64 KiB, unoptimised and beside other programs; were the work quadratic, each would take many seconds.
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}

#[test]
fn an_event_that_closes_and_opens_a_bracket_at_its_beginning_takes_no_neighbour_along() {
    for source in SOURCES.into_iter().filter(|source| source.1 == Batch::Array) {
        let mut spoiled = source.event("bad", "\"text\"");
        spoiled.splice(1..1, *b"}[{");
        for place in [0, 1] {
            neighbours_stay(source, 1, place, &spoiled);
        }
    }
}

/// Any bytes in place of any part of an event.
fn damage() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(VALUES.iter().map(|(value, _)| value.to_vec()).collect::<Vec<_>>());
    let bytes = prop::collection::vec(
        prop_oneof![3 => prop::sample::select(b"\"\\{}[],: \xff\x01a1u".to_vec()), 1 => any::<u8>()],
        0..8,
    );
    prop_oneof![piece, bytes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn whatever_is_wrong_in_one_event_its_neighbours_come_out_as_without_it(
        source in prop::sample::select(SOURCES.to_vec()),
        good in 1..5_usize,
        place in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 0..12_usize,
        with in damage(),
    ) {
        let mut spoiled = source.event("bad", "\"text \\\" \\\\ é\"");
        // A bracket that is lost at the end of an event takes what follows along where nothing tells them apart.
        let at = 1 + from.index(spoiled.len() - 1);
        let end = (at + length).min(spoiled.len() - 1);
        spoiled.splice(at.min(end)..end, with.iter().copied());
        prop_assume!(source.1 != Batch::Lines || !spoiled.contains(&b'\n'));
        neighbours_stay(source, good, place.index(good + 1), &spoiled);
    }

    #[test]
    fn longer_damage_takes_no_neighbour_along_either(
        head in prop::collection::vec(any::<u8>(), 5),
        with in prop::collection::vec(
            prop_oneof![4 => prop::sample::select(b"\"\\{}[],: \xff\x01a1u".to_vec()), 1 => any::<u8>()],
            0..48,
        ),
    ) {
        hookline_fuzz_targets::batches(&[head, with].concat());
    }
}
