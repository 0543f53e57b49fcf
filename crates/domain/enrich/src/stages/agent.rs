//! What a user agent tells: whether a person uses it, and if not, what kind of program it is; the person's device, system and
//! browser.
//!
//! One automaton reads an agent once, whatever its case, and finds the entries of the lists ([`lists`]), general words of
//! programs ([`words`]) and the marks of browsers. An entry of a list counts anywhere. A general word counts in what a browser
//! would not say; in a browser's agent only some count, and only behind the part in parentheses that names the device.

mod lists;
mod words;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use quick_cache::unsync::Cache;

use super::Labelling;
use lists::Place;
use words::Word;

/// User agents that are remembered. Real traffic has a few thousand.
const REMEMBERED: usize = 16_384;

/// Longer agents are read up to here: browsers' have 100 to 300 bytes.
const MAX_BYTES: usize = 2_048;

static READER: LazyLock<Reader> = LazyLock::new(Reader::new);

/// The versions of the lists in this build, as they stand on events.
pub fn list_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(lists::version);
    &VERSION
}

/// What one user agent tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The reason to count it as a bot, `user_agent:<kind>:<name>`; `None` when a person may use it, or it is not known.
    pub(crate) bot: Option<&'static str>,
    /// The channel of the app whose own browser it is: such browsers often send no referrer.
    pub(crate) app: Option<&'static str>,
    /// `mobile`, `tablet`, `desktop` or `tv`; `''` for bots and what is not known.
    pub(crate) device: &'static str,
    /// The operating system; `''` as above.
    pub(crate) os: &'static str,
    /// The browser; `''` as above.
    pub(crate) browser: &'static str,
}

/// Reads user agents, remembering what each told.
#[derive(Debug)]
pub(crate) struct Agents {
    // By hash: the user agent itself is not kept. The hash is keyed anew in each process, so a sender cannot aim at it.
    remembered: Cache<u64, Agent>,
    hasher: RandomState,
}

impl Default for Agents {
    fn default() -> Self {
        LazyLock::force(&READER);
        Self { remembered: Cache::new(REMEMBERED), hasher: RandomState::new() }
    }
}

impl Agents {
    /// What an agent tells; nothing when it is empty.
    pub(crate) fn read(&mut self, user_agent: &str) -> Agent {
        if user_agent.is_empty() {
            return Agent::default();
        }
        let hash = self.hasher.hash_one(user_agent);
        if let Some(agent) = self.remembered.get(&hash) {
            return *agent;
        }
        let agent = READER.read(user_agent);
        self.remembered.insert(hash, agent);
        agent
    }
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    at.agent = at.agents.read(at.hints.user_agent);
    if at.is_visit {
        fill(&mut at.event.device, at.agent.device);
        fill(&mut at.event.os, at.agent.os);
        fill(&mut at.event.browser, at.agent.browser);
    }
}

/// What the sender says goes before what the agent tells.
fn fill(field: &mut Cow<'_, str>, told: &'static str) {
    if field.is_empty() {
        *field = Cow::Borrowed(told);
    }
}

/// What one pattern of the automaton means.
#[derive(Debug)]
enum Mark {
    /// The entry of a list; the lower the rank, the earlier in the lists.
    Listed {
        place: Place,
        rank: usize,
    },
    Word(&'static Word, usize),
    Contact,
    At,
    Browser,
    System,
    /// The browser inside an app, and the channel of the app.
    App(&'static str),
    /// A class of the device, the system or the browser; the lower the rank, the more telling.
    Class(Kind, usize),
}

/// What a class is of: the index into [`Found::classes`] and [`words::CLASSES`].
type Kind = usize;

struct Reader {
    automaton: AhoCorasick,
    marks: Vec<Mark>,
    /// By rank: first the entries of the lists, then the general words, then what has no word.
    reasons: Vec<Box<str>>,
}

/// What was found in one agent.
#[derive(Debug, Default)]
struct Found {
    listed: Option<usize>,
    /// A word that counts in any agent but a browser's.
    word: Option<usize>,
    /// A word that counts in a browser's agent, too.
    browser_word: Option<usize>,
    contact: bool,
    browser: bool,
    system: bool,
    app: Option<&'static str>,
    /// The rank of the most telling mark of the device, the system and the browser.
    classes: [Option<usize>; 3],
}

fn earlier(found: &mut Option<usize>, rank: usize) {
    *found = Some(found.map_or(rank, |other| other.min(rank)));
}

impl Reader {
    #[expect(clippy::expect_used, reason = "the patterns are part of the build, and a test builds the automaton")]
    fn new() -> Self {
        let (mut patterns, mut marks, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (rank, entry) in lists::entries().enumerate() {
            patterns.push(entry.text);
            marks.push(Mark::Listed { place: entry.place, rank });
            reasons.push(format!("user_agent:{}:{}", entry.kind, entry.name).into_boxed_str());
        }
        for word in words::WORDS {
            patterns.push(word.text);
            marks.push(Mark::Word(word, reasons.len()));
            reasons.push(format!("user_agent:{}:{}", word.kind, word.text).into());
        }
        for contact in words::CONTACTS {
            patterns.push(contact);
            marks.push(Mark::Contact);
        }
        patterns.push("@");
        marks.push(Mark::At);
        for browser in words::BROWSER_MARKS {
            patterns.push(browser);
            marks.push(Mark::Browser);
        }
        for system in words::SYSTEM_MARKS {
            patterns.push(system);
            marks.push(Mark::System);
        }
        for (app, channel) in words::APPS {
            patterns.push(app);
            marks.push(Mark::App(channel));
        }
        for (kind, classes) in words::CLASSES.iter().enumerate() {
            for (rank, (text, _)) in classes.iter().enumerate() {
                patterns.push(text);
                marks.push(Mark::Class(kind, rank));
            }
        }
        reasons.push("user_agent:crawler:contact".into());
        reasons.push("user_agent:program:bare-name".into());
        let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(patterns);
        Self { automaton: automaton.expect("a few thousand short patterns"), marks, reasons }
    }

    fn read(&'static self, user_agent: &str) -> Agent {
        let agent = user_agent.as_bytes();
        // In lower case, so that the automaton needs half as many transitions.
        let agent = agent[..agent.len().min(MAX_BYTES)].trim_ascii().to_ascii_lowercase();
        let agent = agent.as_slice();
        let found = self.find(agent);
        if let Some(reason) = self.bot(agent, &found) {
            return Agent { bot: Some(reason), ..Agent::default() };
        }
        let class = |kind: Kind| found.classes[kind].map_or("", |rank| words::CLASSES[kind][rank].1);
        let device = match class(words::DEVICE) {
            // Android's tablets are those that do not say "mobile".
            "" if class(words::OS) == "Android" => "tablet",
            device => device,
        };
        Agent { bot: None, app: found.app, device, os: class(words::OS), browser: class(words::BROWSER) }
    }

    fn bot(&self, agent: &[u8], found: &Found) -> Option<&str> {
        let (contact, bare) = (self.reasons.len() - 2, self.reasons.len() - 1);
        let reason = if found.listed.is_some() {
            found.listed
        } else if found.browser {
            found.browser_word.or(found.contact.then_some(contact))
        } else if found.word.is_some() {
            found.word
        } else if found.contact || mentions_domain(agent) {
            Some(contact)
        } else {
            is_bare(agent, found.system).then_some(bare)
        };
        reason.map(|rank| &*self.reasons[rank])
    }

    fn find(&self, agent: &[u8]) -> Found {
        let device_ends = end_of_device(agent);
        let mut found = Found::default();
        for hit in self.automaton.find_overlapping_iter(agent) {
            let (start, end) = (hit.start(), hit.end());
            match &self.marks[hit.pattern().as_usize()] {
                Mark::Listed { place, rank } => {
                    let there = match place {
                        Place::Anywhere => true,
                        Place::Start => start == 0,
                        Place::End => end == agent.len(),
                        Place::WordStart => start == 0 || !agent[start - 1].is_ascii_alphanumeric(),
                    };
                    if there {
                        earlier(&mut found.listed, *rank);
                    }
                }
                Mark::Word(word, rank) => {
                    let goes_on = !word.open && agent.get(end).is_some_and(u8::is_ascii_alphabetic);
                    if goes_on || is_harmless(word, &agent[..start], &agent[end..]) {
                        continue;
                    }
                    earlier(&mut found.word, *rank);
                    if word.in_browsers && start >= device_ends {
                        earlier(&mut found.browser_word, *rank);
                    }
                }
                Mark::Contact => found.contact = true,
                Mark::At => found.contact |= is_address(&agent[end..]),
                Mark::Browser => found.browser = true,
                Mark::System => found.system = true,
                Mark::App(channel) => found.app = Some(channel),
                Mark::Class(kind, rank) => earlier(&mut found.classes[*kind], *rank),
            }
        }
        found
    }
}

/// Whether a word is part of a name that people's phones, apps and libraries have, or of a URL.
fn is_harmless(word: &Word, before: &[u8], after: &[u8]) -> bool {
    let ends_with = |tail: &str| {
        let start = before.len().saturating_sub(tail.len());
        before[start..].eq_ignore_ascii_case(tail.as_bytes())
    };
    let in_name = words::HARMLESS_BEFORE.iter().any(|(text, tail)| word.text == *text && ends_with(tail));
    let in_url = word.text == "http" && (after.starts_with(b"://") || after.starts_with(b"s://"));
    in_name || in_url
}

/// Where the part ends that names the device: the first parentheses of `Mozilla/5.0 (…)`. 0 when the agent does not begin so.
fn end_of_device(agent: &[u8]) -> usize {
    let begins = agent.len() > 13 && agent[..8].eq_ignore_ascii_case(b"mozilla/") && &agent[11..13] == b" (";
    if !begins {
        return 0;
    }
    agent.iter().position(|byte| *byte == b')').unwrap_or(agent.len())
}

/// Whether an e-mail address goes on behind its `@`.
fn is_address(domain: &[u8]) -> bool {
    let name = domain.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    name > 0 && domain.get(name) == Some(&b'.') && domain.get(name + 1).is_some_and(u8::is_ascii_alphabetic)
}

/// Whether it holds a `.com` at the end of a word.
fn mentions_domain(agent: &[u8]) -> bool {
    agent
        .windows(4)
        .enumerate()
        .any(|(at, four)| four.eq_ignore_ascii_case(b".com") && !agent.get(at + 4).is_some_and(u8::is_ascii_alphabetic))
}

/// Whether it is only a name, perhaps with a version (`name/1.2`), or a bare `Mozilla/5.0`: programs call themselves so.
fn is_bare(agent: &[u8], names_system: bool) -> bool {
    if agent.len() > 8 && agent[..8].eq_ignore_ascii_case(b"mozilla/") {
        return !names_system;
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" ._-:%".contains(byte);
    let (name, version) = match agent.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&agent[..slash], &agent[slash + 1..]),
        None => (agent, &[][..]),
    };
    let version_ends = version.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    !name.is_empty() && name.len() <= 60 && name.iter().all(plain) && version_ends
}

#[cfg(test)]
mod tests;
