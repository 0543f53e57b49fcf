//! The forms that values have.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::option::Form;
use crate::schema::{self, Json, list_of, matching, object, one_of, shared, some_text, text};
use crate::section::words;

/// A name of our own: of a source, a rule, a destination.
pub(crate) const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";

/// What has no default that is a constant.
pub(crate) type Never = std::convert::Infallible;

/// A whole number; `T` is what holds it.
pub(crate) struct Integer<T> {
    pub range: (i64, i64),
    /// What it counts.
    unit: &'static str,
    number: PhantomData<fn() -> T>,
}

impl<T> Clone for Integer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Integer<T> {}

impl<T> Integer<T> {
    /// From `low` to `high` of what `unit` says.
    pub(crate) const fn within(low: i64, high: i64, unit: &'static str) -> Self {
        Self { range: (low, high), unit, number: PhantomData }
    }
}

impl<T: Copy + Sync + Into<i64> + 'static> Form for Integer<T> {
    type Plain = T;

    fn schema(&self) -> Json {
        let (low, high) = self.range;
        object([("type", text("integer")), ("minimum", Json::Number(low)), ("maximum", Json::Number(high))])
    }

    fn words(&self) -> String {
        let (low, high) = self.range;
        let of = if self.unit.is_empty() { String::new() } else { format!(" of {}", self.unit) };
        if low == high { format!("{low}") } else { format!("a whole number{of}, {low} to {high}") }
    }

    fn json(&self, plain: T) -> Json {
        Json::Number(plain.into())
    }
}

/// True or false.
#[derive(Clone, Copy)]
pub(crate) struct Flag;

impl Form for Flag {
    type Plain = bool;

    fn schema(&self) -> Json {
        object([("type", text("boolean"))])
    }

    fn words(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn json(&self, plain: bool) -> Json {
        Json::Flag(plain)
    }
}

/// A text with something in it; the words say what it is.
#[derive(Clone, Copy)]
pub(crate) struct Text(pub &'static str);

/// What any text is.
pub(crate) const TEXT: Text = Text("a text");

impl Form for Text {
    type Plain = &'static str;

    fn schema(&self) -> Json {
        some_text()
    }

    fn words(&self) -> String {
        self.0.to_owned()
    }

    fn json(&self, plain: &'static str) -> Json {
        text(plain)
    }
}

/// A duration.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    shortest: Duration,
    longest: Duration,
    /// What may stand there as well: `now`.
    or: Option<&'static str>,
}

impl Span {
    pub(crate) const fn within(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, or: None }
    }

    /// A word for no time at all.
    pub(crate) const fn or(self, word: &'static str) -> Self {
        Self { or: Some(word), ..self }
    }

    /// What may stand there in place of a duration: `now`. It means none at all.
    pub(crate) fn word(&self) -> Option<&'static str> {
        self.or
    }

    pub(crate) fn range(&self) -> RangeInclusive<Duration> {
        self.shortest..=self.longest
    }
}

impl Form for Span {
    type Plain = Duration;

    fn schema(&self) -> Json {
        // Loose: its bounds are checked by `hookline check`.
        let duration = r"^\s*[0-9]";
        match self.or {
            Some(word) => matching(&format!("^{word}$|{duration}")),
            None => matching(duration),
        }
    }

    fn words(&self) -> String {
        let or = self.or.map(|word| format!("`{word}` or ")).unwrap_or_default();
        format!("{or}a duration, {} to {}", words(self.shortest), words(self.longest))
    }

    fn json(&self, plain: Duration) -> Json {
        match self.or {
            Some(word) if plain.is_zero() => text(word),
            _ => text(words(plain)),
        }
    }
}

/// A size in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    pub smallest: u64,
    pub largest: u64,
}

impl Bytes {
    pub(crate) const fn within(smallest: u64, largest: u64) -> Self {
        Self { smallest, largest }
    }
}

impl Form for Bytes {
    type Plain = u64;

    fn schema(&self) -> Json {
        matching(r"^[0-9]+\s*(B|KiB|MiB|GiB)$")
    }

    fn words(&self) -> String {
        format!("a size, {} to {}", bytes(self.smallest), bytes(self.largest))
    }

    fn json(&self, plain: u64) -> Json {
        text(bytes(plain))
    }
}

/// A size as people write it.
fn bytes(size: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |(power, _): &&(u32, &str)| size >= 1 << power && size.trailing_zeros() >= *power;
    units.iter().find(whole).map_or_else(|| format!("{size}B"), |(power, unit)| format!("{}{unit}", size >> power))
}

/// One of several names.
pub(crate) struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T> Clone for Choice<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Choice<T> {}

impl<T: Copy + Sync + 'static> Form for Choice<T> {
    /// The name and what it stands for.
    type Plain = (&'static str, T);

    fn schema(&self) -> Json {
        one_of(self.0.iter().map(|(name, _)| *name))
    }

    fn words(&self) -> String {
        names(self.0.iter().map(|(name, _)| *name))
    }

    fn json(&self, (name, _): Self::Plain) -> Json {
        text(name)
    }
}

/// One of several names, of a list that stands elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Listed(pub fn() -> Vec<&'static str>);

impl Form for Listed {
    type Plain = &'static str;

    fn schema(&self) -> Json {
        one_of((self.0)())
    }

    fn words(&self) -> String {
        names((self.0)())
    }

    fn json(&self, plain: &'static str) -> Json {
        text(plain)
    }
}

/// Names for the page: `a`, `b` or `c`.
pub(crate) fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} or {last}", names.join(", ")) }
}

/// A text in a small language.
pub(crate) struct Spoken<T> {
    pub parse: fn(&str) -> Result<T, String>,
    /// What it is: `a rate`.
    what: &'static str,
    /// A regular expression that every such text fits.
    pattern: &'static str,
}

impl<T> Clone for Spoken<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Spoken<T> {}

impl<T> Spoken<T> {
    pub(crate) const fn new(parse: fn(&str) -> Result<T, String>, what: &'static str, pattern: &'static str) -> Self {
        Self { parse, what, pattern }
    }
}

impl<T: 'static> Form for Spoken<T> {
    type Plain = &'static str;

    fn schema(&self) -> Json {
        matching(self.pattern)
    }

    fn words(&self) -> String {
        self.what.to_owned()
    }

    fn json(&self, plain: &'static str) -> Json {
        text(plain)
    }
}

macro_rules! plain_form {
    ($(#[$about:meta])* $name:ident, $schema:expr, $words:expr) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Form for $name {
            type Plain = &'static str;

            fn schema(&self) -> Json {
                $schema
            }

            fn words(&self) -> String {
                $words.to_owned()
            }

            fn json(&self, plain: &'static str) -> Json {
                text(plain)
            }
        }
    };
}

plain_form!(
    /// A time zone by its IANA name.
    Zone,
    some_text(),
    "a time zone by its IANA name"
);
plain_form!(
    /// A path; relative ones start at the folder of the file they stand in.
    File,
    some_text(),
    "a path"
);
plain_form!(
    /// A date or a time.
    Instant,
    matching("^[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "a date"
);
plain_form!(
    /// A list of texts.
    Texts,
    list_of(some_text()),
    "a list of texts"
);
plain_form!(
    /// A reference to a secret.
    Secret,
    shared(schema::SECRET),
    "a secret"
);
plain_form!(
    /// A text, or a reference to a secret.
    SecretOrText,
    schema::any_of([some_text(), shared(schema::SECRET)]),
    "a text or a secret"
);

/// The name of something that is declared: an owner, a mute.
#[derive(Clone, Copy)]
pub(crate) struct Reference(pub &'static str);

impl Form for Reference {
    type Plain = &'static str;

    fn schema(&self) -> Json {
        some_text()
    }

    fn words(&self) -> String {
        format!("the name of a `[{}]`", self.0)
    }

    fn json(&self, plain: &'static str) -> Json {
        text(plain)
    }
}

/// The names of some that are declared.
#[derive(Clone, Copy)]
pub(crate) struct References(pub &'static str);

impl Form for References {
    type Plain = &'static str;

    fn schema(&self) -> Json {
        list_of(some_text()).with_all(object([("minItems", Json::Number(1))]))
    }

    fn words(&self) -> String {
        format!("a list of names of `[{}]`", self.0)
    }

    fn json(&self, plain: &'static str) -> Json {
        text(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_their_largest_whole_unit() {
        assert_eq!([bytes(1), bytes(1 << 10), bytes(256 << 10), bytes(1 << 40)], ["1B", "1KiB", "256KiB", "1024GiB"]);
        assert_eq!(bytes((1 << 20) + 1), "1048577B");
    }

    #[test]
    fn names_are_listed_as_a_sentence_lists_them() {
        assert_eq!(names(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(names(["a"]), "`a`");
    }
}
