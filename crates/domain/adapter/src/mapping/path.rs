//! Where in a payload something stands.

use std::fmt;

/// The deepest path; real payloads need five or six.
const MAX_DEPTH: usize = 16;
/// The longest path, in bytes.
const MAX_LENGTH: usize = 256;

/// A path into a payload: names between dots. In an array a whole number counts its items from 0. A backslash takes a dot,
/// a bracket or a backslash as part of a name. A field of a form is a path of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadPath {
    written: String,
    names: Vec<String>,
}

impl PayloadPath {
    /// Reads a path as it is written in the configuration.
    ///
    /// # Errors
    /// With what is wrong and how to write it, in words.
    pub fn parse(written: &str) -> Result<Self, String> {
        if written.len() > MAX_LENGTH {
            return Err(format!("a path has at most {MAX_LENGTH} bytes"));
        }
        if let Some(rest) = written.strip_prefix("$.") {
            return Err(format!("a path starts at the event: write {rest:?}"));
        }
        let mut names = vec![String::new()];
        let mut letters = written.chars();
        while let Some(letter) = letters.next() {
            let letter = match letter {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => match letters.next() {
                    Some(escaped @ ('.' | '\\' | '[' | ']')) => escaped,
                    _ => return Err("a backslash stands before a dot, a bracket or a backslash only".to_owned()),
                },
                '[' | ']' => {
                    return Err("an item of an array is written as list.0; a bracket in a name needs a backslash \
                                before it"
                        .to_owned());
                }
                other => other,
            };
            // The list is never empty.
            if let Some(name) = names.last_mut() {
                name.push(letter);
            }
        }
        if names.iter().any(String::is_empty) {
            return Err("a path is names between dots, and none of them is empty".to_owned());
        }
        if names.len() > MAX_DEPTH {
            return Err(format!("a path has at most {MAX_DEPTH} names"));
        }
        Ok(Self { written: written.to_owned(), names })
    }

    /// Its names, from the outside in.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for PayloadPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(written: &str) -> Vec<String> {
        PayloadPath::parse(written).unwrap().names
    }

    #[test]
    fn a_path_is_names_between_dots() {
        assert_eq!(names("payload.eventId"), ["payload", "eventId"]);
        assert_eq!(names("items.0.id"), ["items", "0", "id"]);
        assert_eq!(names(r"a\.b.c\\d"), ["a.b", r"c\d"]);
        assert_eq!(names(r"link\[domain\]"), ["link[domain]"]);
        assert_eq!(names("User agent"), ["User agent"]);
    }

    #[test]
    fn what_looks_like_another_language_is_refused_with_the_way_to_write_it() {
        assert!(PayloadPath::parse("$.payload.id").unwrap_err().contains("\"payload.id\""));
        assert!(PayloadPath::parse("items[0].id").unwrap_err().contains("list.0"));
        for wrong in ["", ".", "a.", ".a", "a..b", "a\\", "a\\n", &"a.".repeat(20), &"a".repeat(300)] {
            assert!(PayloadPath::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
