//! Batches that are not JSON as a whole: the events in them that are, and the one that is not as an element of its own.
//!
//! Brackets and quotes say where an event ends, whatever stands between them. Where they do not fit each other, since a
//! text was cut behind a backslash or a quote was not escaped, the next event is looked for: an object after a comma
//! that is a good event. What is before it is the spoiled one. No byte of an array is passed over but the commas and
//! the space between.

use crate::Undecodable;
use crate::edge::{Element, Keyed, MAX_ELEMENTS, element, is_readable, too_many};
use crate::json::Given;
use crate::mend::trimmed;

/// How deep brackets are followed: deeper than any payload that can be read. It bounds how often a byte is looked at.
const MAX_DEPTH: u32 = 80;
/// How often, on average, a byte of a batch may be looked at. Real batches need three or four times; one that is made
/// to take longer is not taken further apart.
const LOOKS: usize = 16;

/// The events of an array, of which `array` holds all from its bracket on. `enveloped` says that it stands in an
/// object, so that other fields follow it. `read` reads one event, strictly.
///
/// # Errors
/// With `whole`, what is wrong with the body, when nothing in it can be read; and when there are too many events.
pub(crate) fn events<'b, H>(
    array: &'b [u8],
    enveloped: bool,
    whole: Undecodable,
    read: impl Fn(&'b [u8]) -> Result<Given<H>, Undecodable>,
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let mut batch = Batch { bytes: array, read, recipe, looks: array.len().saturating_mul(LOOKS) };
    let mut elements = Vec::new();
    let mut at = 1;
    while let Some(start) = batch.next_place(at, enveloped) {
        if elements.len() == MAX_ELEMENTS {
            return Err(too_many());
        }
        let (found, next) = batch.element(start, elements.len());
        elements.push(found);
        at = next;
    }
    if elements.iter().any(is_readable) { Ok(elements) } else { Err(whole) }
}

/// Where the value at a path of names starts in a body that need not be JSON. As in a body that is, the last of several
/// equal keys counts.
pub(crate) fn value_at(body: &[u8], names: &[impl AsRef<str>]) -> Option<usize> {
    names.iter().try_fold(0, |at, name| field(body, at, name.as_ref()))
}

/// The value that a text starts with, as far as brackets and quotes tell; all of the text where they do not fit.
pub(crate) fn first_value(text: &[u8]) -> &[u8] {
    trimmed(value_end(text, 0).map_or(text, |end| &text[..end]))
}

/// Where the value of a field starts, in the object at `at`.
fn field(body: &[u8], at: usize, name: &str) -> Option<usize> {
    let mut found = None;
    let mut at = match body.get(at) {
        Some(b'{') => past_space(body, at + 1),
        _ => return None,
    };
    while let Some((key, value)) = field_at(body, at) {
        if sonic_rs::from_slice::<String>(key).is_ok_and(|key| key == name) {
            found = Some(value);
        }
        match value_end(body, value) {
            Some(comma) if body[comma] == b',' => at = past_space(body, comma + 1),
            _ => break,
        }
    }
    found
}

/// The name in quotes that stands at `at`, and where its value starts.
fn field_at(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = string_end(body, at).filter(|_| body[at] == b'"')?;
    let colon = past_space(body, end + 1);
    (body.get(colon) == Some(&b':')).then(|| (&body[at..=end], past_space(body, colon + 1)))
}

/// An array that is taken apart.
struct Batch<'b, R, K> {
    bytes: &'b [u8],
    read: R,
    recipe: K,
    /// Bytes that may still be looked at.
    looks: usize,
}

impl<'b, H, R, K> Batch<'b, R, K>
where
    R: Fn(&'b [u8]) -> Result<Given<H>, Undecodable>,
    K: Fn(&H) -> Keyed,
{
    /// Where the next element starts: past commas and space. Empty places are passed over, as empty lines are.
    fn next_place(&mut self, mut at: usize, enveloped: bool) -> Option<usize> {
        loop {
            at = past_space(self.bytes, at);
            match self.bytes.get(at)? {
                b',' => at += 1,
                // The end, unless the bracket is one too many.
                b']' if self.ends_after(at + 1, enveloped) => return None,
                b']' => at += 1,
                _ => return Some(at),
            }
        }
    }

    /// Whether what follows the array is nothing, or what can follow it in an object.
    fn ends_after(&mut self, mut at: usize, enveloped: bool) -> bool {
        loop {
            at = past_space(self.bytes, at);
            match self.bytes.get(at) {
                None => return true,
                Some(b'}') if enveloped => at += 1,
                Some(b',') if enveloped => {
                    let name = past_space(self.bytes, at + 1);
                    let Some(value) = field_at(self.bytes, name).map(|(_, value)| value) else { return false };
                    let Some(end) = self.value_end(value) else { return false };
                    at = end;
                }
                Some(_) => return false,
            }
        }
    }

    /// The element that starts here, and where the rest starts.
    fn element(&mut self, start: usize, ordinal: usize) -> (Element<'b>, usize) {
        let end = self.end(start);
        let next = match end {
            Some(end) => {
                let bytes = trimmed(&self.bytes[start..end]);
                let head = (self.read)(bytes);
                if head.is_ok() {
                    return (element(bytes, ordinal, head, &self.recipe), end);
                }
                // Quotes that do not fit can hide events in what looks like a text; and an event is an object, so what
                // begins otherwise can be a part of the spoiled one and hold what follows.
                let in_texts = self.bytes.get(start) == Some(&b'{');
                self.next_event(start, end, in_texts).unwrap_or(end)
            }
            None => self.next_event(start, self.bytes.len(), false).unwrap_or(self.bytes.len()),
        };
        let bytes = trimmed(&self.bytes[start..next]);
        let bytes = trimmed(bytes.strip_suffix(b",").unwrap_or(bytes));
        (element(bytes, ordinal, (self.read)(bytes), &self.recipe), next)
    }

    /// Where the first good event after a comma starts, between two places; in what looks like a text only, if
    /// `in_texts`.
    fn next_event(&mut self, from: usize, to: usize, in_texts: bool) -> Option<usize> {
        let mut in_text = false;
        let mut at = from;
        while at < to {
            match self.bytes[at] {
                b'"' => in_text = !in_text,
                b'\\' if in_text && in_texts => at += 1,
                b',' if in_text || !in_texts => {
                    let start = past_space(self.bytes, at + 1);
                    if start < to && self.bytes.get(start) == Some(&b'{') && self.is_event(start) {
                        return Some(start);
                    }
                }
                _ => {}
            }
            at += 1;
            self.looks = self.looks.saturating_sub(1);
            if self.looks == 0 {
                return None;
            }
        }
        None
    }

    /// Whether what starts here is a good event: one that has a key, or else one after which all others are good.
    fn is_event(&mut self, start: usize) -> bool {
        let Some((key, end)) = self.good(start) else { return false };
        if key {
            return true;
        }
        let mut at = past_space(self.bytes, end);
        while self.bytes.get(at) == Some(&b',') {
            let start = past_space(self.bytes, at + 1);
            let Some((_, end)) = self.good(start) else { return false };
            at = past_space(self.bytes, end);
        }
        true
    }

    /// Whether the event that starts here has a key, if it is a good one, and where it ends.
    fn good(&mut self, start: usize) -> Option<(bool, usize)> {
        let end = self.end(start)?;
        let Ok(Given::Is(head)) = (self.read)(trimmed(&self.bytes[start..end])) else { return None };
        (self.recipe)(&head).ok().map(|key| (key.is_some(), end))
    }

    /// Where the value ends that starts here, if it ends as an item of an array does.
    fn end(&mut self, start: usize) -> Option<usize> {
        self.looked(start, Ends::AtOnce).filter(|end| self.bytes[*end] != b'}')
    }

    /// As the function of this name, as long as the batch may be looked at.
    fn value_end(&mut self, start: usize) -> Option<usize> {
        self.looked(start, Ends::AtComma)
    }

    fn looked(&mut self, start: usize, ends: Ends) -> Option<usize> {
        if self.looks == 0 {
            return None;
        }
        let end = end_of_value(self.bytes, start, ends);
        self.looks = self.looks.saturating_sub(end.unwrap_or(self.bytes.len()) - start);
        end
    }
}

fn past_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where a value ends whose brackets have closed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    /// At what follows, whatever it is: an item of a batch.
    AtOnce,
    /// At a comma, a bracket, or an object or array that follows: a field, whose neighbours are told by commas.
    AtComma,
}

/// What ends the value at `from`, by brackets and quotes alone: a comma, a bracket, or an object or array that follows
/// without a comma.
/// `None` where they do not fit.
fn value_end(bytes: &[u8], from: usize) -> Option<usize> {
    end_of_value(bytes, from, Ends::AtComma)
}

/// As [`value_end`], for either kind of value.
fn end_of_value(bytes: &[u8], from: usize, ends: Ends) -> Option<usize> {
    // A bit for each open bracket: whether it is a square one.
    let (mut open, mut depth) = (0_u128, 0_u32);
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            b'"' => at = string_end(bytes, at)?,
            bracket @ (b'{' | b'[') => {
                if depth == MAX_DEPTH {
                    return None;
                }
                open = open << 1 | u128::from(bracket == b'[');
                depth += 1;
            }
            b'}' | b']' if depth == 0 => return Some(at),
            bracket @ (b'}' | b']') => {
                if (open & 1 == 1) != (bracket == b']') {
                    return None;
                }
                open >>= 1;
                depth -= 1;
                let next = past_space(bytes, at + 1);
                if depth == 0 && (ends == Ends::AtOnce || matches!(bytes.get(next), Some(b'{' | b'['))) {
                    return (next < bytes.len()).then_some(next);
                }
            }
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

/// The quote that ends the string at `from`.
fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
