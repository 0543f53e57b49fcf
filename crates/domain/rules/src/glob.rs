//! Texts with `*`.

use std::fmt;

/// A text that a value must equal, in which `*` stands for any run of characters, also none.
///
/// There is no escape: a literal `*` cannot be asked for, since no name on a link holds one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

impl Glob {
    /// A pattern. Runs of `*` are one `*`, so that patterns that mean the same are the same.
    pub fn new(pattern: &str) -> Self {
        let mut text = String::with_capacity(pattern.len());
        for character in pattern.chars() {
            if character != '*' || !text.ends_with('*') {
                text.push(character);
            }
        }
        Self(text)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it holds a `*`.
    pub fn is_wild(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether `value` is one that the pattern means.
    pub fn matches(&self, value: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == value };
        let Some(value) = value.strip_prefix(head) else { return false };
        // The pieces between stars may sit at their first place, since what follows each is free; the last is the end.
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut value) = value.strip_suffix(tail) else { return false };
        for piece in middle.split('*') {
            let Some(at) = value.find(piece) else { return false };
            value = &value[at + piece.len()..];
        }
        true
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, value, expected) in [
            ("spring", "spring", true),
            ("spring", "springs", false),
            ("*", "", true),
            ("*", "anything", true),
            ("spring-*", "spring-", true),
            ("spring-*", "spring-2026", true),
            ("spring-*", "xspring-2026", false),
            ("*.example.com", "go.example.com", true),
            ("*.example.com", "example.com", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "ac", false),
            ("aa*aa", "aaa", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(value), expected, "{pattern} against {value}");
        }
    }

    /// The textbook definition, exponential and obviously right.
    fn by_definition(pattern: &[char], value: &[char]) -> bool {
        match pattern.split_first() {
            None => value.is_empty(),
            Some(('*', rest)) => (0..=value.len()).any(|skip| by_definition(rest, &value[skip..])),
            Some((first, rest)) => value.first() == Some(first) && by_definition(rest, &value[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*é]{0,7}", value in "[abé]{0,8}") {
            let (p, v): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(Glob::new(&pattern).matches(&value), by_definition(&p, &v));
        }
    }
}
