use proptest::prelude::*;

use crate::spreadsheet::harmless;

#[test]
fn formulas_are_disarmed_however_they_begin() {
    for (field, expected) in [
        ("=1+1", "'=1+1"),
        ("\n=1", "' =1"),
        ("\0=1", "'=1"),
        ("\t@x", "' @x"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("a;=1", "a;'=1"),
        ("a; \"=1", "a;' \"=1"),
        ("a;b", "a;b"),
        ("go.example.com/x=3", "go.example.com/x=3"),
        ("10 events", "10 events"),
    ] {
        assert_eq!(harmless(field), expected, "{field:?}");
    }
}

proptest! {
    #[test]
    fn no_cell_starts_a_formula_wherever_a_spreadsheet_splits(field in "[=+@;\\-\" a＝\\n\\t\\x00]{0,20}") {
        let safe = harmless(&field);
        for cell in safe.split(';') {
            let first = cell.trim_start_matches([' ', '"']).chars().next();
            prop_assert!(!first.is_some_and(|one| "=+-@＝＋－＠".contains(one)), "{:?} in {:?}", cell, safe);
        }
        prop_assert!(!safe.contains(char::is_control));
    }
}
