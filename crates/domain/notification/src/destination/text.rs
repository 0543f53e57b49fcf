//! Texts that a receiver cannot take for something else.

/// At most so many bytes of a text, cut between characters; an ellipsis says that something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub('…'.len_utf8());
    format!("{}…", &text[..text.floor_char_boundary(room)])
}

/// One line without control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A text in a Markdown code span: nothing in it pings, links or formats.
pub(super) fn code_span(text: &str) -> String {
    let text = one_line(text);
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    format!("{fence} {text} {fence}")
}

/// A text inside HTML.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_that_is_cut_is_short_enough(text in "\\PC{0,200}", most in 3usize..100) {
            prop_assert!(cut(&text, most).len() <= most.max(text.len().min(most)));
        }

        #[test]
        fn no_run_of_backticks_ends_a_code_span(text in "[`a@#]{0,30}") {
            let span = code_span(&text);
            let fence = span.split(' ').next().unwrap().to_owned();
            let inner = &span[fence.len()..span.len() - fence.len()];
            prop_assert!(!inner.contains(&fence));
        }

        #[test]
        fn html_has_no_tags_of_the_sender(text in "[<>&\"'a]{0,40}") {
            let escaped = html(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
