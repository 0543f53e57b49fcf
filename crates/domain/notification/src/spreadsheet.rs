//! Texts of senders in files that people open with a spreadsheet.

use serde_json::Value;

/// Whether a cell that starts so is a formula to some spreadsheet; full-width signs count as their narrow ones.
fn starts_formula(text: &str) -> bool {
    text.trim_start_matches([' ', '"', '\'']).starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// One line without control characters, and nothing that a spreadsheet would run as a formula: neither at the start of the
/// field nor after a `;`, at which some of them split.
pub fn harmless(field: &str) -> String {
    let line: String =
        field.chars().filter(|one| *one != '\0').map(|one| if one.is_control() { ' ' } else { one }).collect();
    let mut out = String::with_capacity(line.len() + 1);
    for (number, part) in line.split(';').enumerate() {
        if number > 0 {
            out.push(';');
        }
        if starts_formula(part) {
            out.push('\'');
        }
        out.push_str(part);
    }
    out
}

/// A value as a quoted cell of a CSV file. Texts, and what holds texts, are made [`harmless`]; numbers stay numbers.
pub fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => harmless(text),
        Value::Array(_) | Value::Object(_) => harmless(&value.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_quoted_and_numbers_stay_numbers() {
        assert_eq!(cell(&json!("say \"hi\"")), "\"say \"\"hi\"\"\"");
        assert_eq!((cell(&json!(-7)), cell(&json!(null))), ("\"-7\"".to_owned(), "\"null\"".to_owned()));
        for (text, safe) in
            [(" =1+1", "' =1+1"), ("a;+cmd", "a;'+cmd"), ("a;@SUM(A1)", "a;'@SUM(A1)"), ("\t=1", "' =1")]
        {
            assert_eq!(cell(&json!(text)), format!("\"{safe}\""));
        }
        assert_eq!(cell(&json!(["a;=1"])), "\"[\"\"a;'=1\"\"]\"");
    }

    proptest! {
        #[test]
        fn no_part_of_a_cell_is_a_formula(text in "[ =+@a-c;\"'\t\r\n\0＝＋－＠-]{0,12}") {
            let cell = cell(&json!(text));
            prop_assert!(cell.len() >= 2 && cell.starts_with('"') && cell.ends_with('"'));
            let inner = cell[1..cell.len() - 1].replace("\"\"", "\"");
            prop_assert!(!inner.contains(char::is_control));
            for part in inner.split(';') {
                let start = part.trim_start_matches([' ', '"']);
                prop_assert!(!start.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']), "{text:?} is {cell}");
            }
        }
    }
}
