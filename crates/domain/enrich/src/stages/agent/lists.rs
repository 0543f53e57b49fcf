//! The lists of bots: ours, then the vendored one. `lists/README.md` says where they come from and how they are renewed.

const OURS: &str = include_str!("../../../lists/ours.tsv");
const VENDORED: &str = include_str!("../../../lists/crawler-user-agents.tsv");

/// The version of our own list; raised with every change of what `ours.tsv`, `adjusted.tsv` or the general words name.
const OUR_VERSION: u32 = 1;

/// The versions of the lists that say who is a bot, as they stand on events: `bots-<vendored>.<ours>`.
pub(super) fn version() -> String {
    let vendored = VENDORED.split_ascii_whitespace().nth(2).unwrap_or("unknown");
    format!("bots-{vendored}.{OUR_VERSION}")
}

/// Where in a user agent a text must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere.
    Anywhere,
    /// At the start.
    Start,
    /// At the end.
    End,
    /// Anywhere, not behind a letter or a digit.
    WordStart,
}

/// A line of a list.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the user agent holds, in lower case.
    pub(super) text: &'static str,
    /// Where.
    pub(super) place: Place,
    /// `preview`, `scanner`, `assistant`, `crawler`, `monitor` or `program`.
    pub(super) kind: &'static str,
    /// The name under which it is counted.
    pub(super) name: &'static str,
}

/// All entries. Where several fit, the first counts.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    let ours = OURS.lines().filter(|line| !line.starts_with('#'));
    let vendored = VENDORED.lines().filter(|line| !line.starts_with('#'));
    ours.chain(vendored).filter_map(entry)
}

fn entry(line: &'static str) -> Option<Entry> {
    let mut columns = line.split('\t');
    let (kind, text) = (columns.next()?, columns.next()?);
    let (text, place) = match (text.strip_prefix('^'), text.strip_suffix('$'), text.strip_prefix('<')) {
        (Some(text), _, _) => (text, Place::Start),
        (_, Some(text), _) => (text, Place::End),
        (_, _, Some(text)) => (text, Place::WordStart),
        _ => (text, Place::Anywhere),
    };
    let name = columns.next().unwrap_or_else(|| text.trim_matches(|c: char| !c.is_alphanumeric()));
    (!text.is_empty()).then_some(Entry { text, place, kind, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lists_is_an_entry_in_lower_case_with_a_known_kind() {
        let lines = OURS.lines().chain(VENDORED.lines()).filter(|line| !line.starts_with('#')).count();
        assert_eq!(entries().count(), lines);
        for Entry { text, kind, name, .. } in entries() {
            assert_eq!(text, text.to_ascii_lowercase());
            assert!(
                ["preview", "scanner", "assistant", "crawler", "monitor", "program"].contains(&kind),
                "{kind} {text}"
            );
            assert!(!name.is_empty(), "{text} has no name");
        }
    }

    #[test]
    fn the_version_names_the_vendored_list() {
        assert!(version().starts_with("bots-1."), "{}", version());
    }
}
