//! Borrowed, forgiving JSON: a field of the wrong type is noted and passed over, a field that nobody reads is counted.
//!
//! Two properties hold for both halves of the crate, because both read through this file. The last of several equal keys
//! counts. And what is passed over is parsed like what is read, so that depth, escapes and numbers are checked there too:
//! the parser's own skipping recurses without a limit and would let a deeply nested body end the process.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::edge::MAX_ELEMENTS;

/// What a payload gives for a field.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Given<T> {
    /// Nothing, or null.
    #[default]
    Absent,
    /// A value of the type that the field has.
    Is(T),
    /// A value of another type.
    Wrong,
}

impl<T> Given<T> {
    /// The value, if it is there with the right type.
    pub(crate) fn ok(self) -> Option<T> {
        match self {
            Given::Is(value) => Some(value),
            Given::Absent | Given::Wrong => None,
        }
    }

    /// The same without its value being taken.
    pub(crate) fn view(&self) -> Given<&T> {
        match self {
            Given::Absent => Given::Absent,
            Given::Is(value) => Given::Is(value),
            Given::Wrong => Given::Wrong,
        }
    }

    /// What a value of the right type has inside.
    pub(crate) fn map<U>(self, inside: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Given::Absent => Given::Absent,
            Given::Is(value) => Given::Is(inside(value)),
            Given::Wrong => Given::Wrong,
        }
    }

    /// A view of the value, if it is there with the right type.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Given::Is(value) => Some(value),
            Given::Absent | Given::Wrong => None,
        }
    }
}

impl<'a> Given<Cow<'a, str>> {
    /// The text, or `''`.
    pub(crate) fn as_str(&self) -> &str {
        self.get().map_or("", |text| text.as_ref())
    }
}

impl<T: Default> Given<T> {
    /// The value, or an empty one.
    pub(crate) fn or_empty(self) -> T {
        self.ok().unwrap_or_default()
    }
}

/// A type that a field can have: which JSON values become it.
pub(crate) trait Shape<'de>: Sized {
    /// From a string.
    fn text(_: Cow<'de, str>) -> Option<Self> {
        None
    }
    /// From a whole number.
    fn integer(_: i64) -> Option<Self> {
        None
    }
    /// From any other number.
    fn float(_: f64) -> Option<Self> {
        None
    }
    /// From true or false.
    fn flag(_: bool) -> Option<Self> {
        None
    }
    /// From an object.
    fn object<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        pass_map(map).map(|()| None)
    }
    /// From an array.
    fn list<A: SeqAccess<'de>>(list: A) -> Result<Option<Self>, A::Error> {
        pass_list(list).map(|()| None)
    }
    /// Notes what is wrong inside the value, and how much of it nobody reads.
    fn survey(&self, _: &Path<'_>, _: &mut Findings) {}
}

fn pass_map<'de, A: MapAccess<'de>>(map: A) -> Result<(), A::Error> {
    Pass { deeper: MAX_PASSED_DEPTH }.visit_map(map)
}

fn pass_list<'de, A: SeqAccess<'de>>(list: A) -> Result<(), A::Error> {
    Pass { deeper: MAX_PASSED_DEPTH }.visit_seq(list)
}

/// How deep what nobody reads may be nested: far deeper than any real payload, and a small part of a thread's stack.
const MAX_PASSED_DEPTH: u32 = 64;

/// Parses a value and forgets it.
#[derive(Clone, Copy)]
struct Pass {
    deeper: u32,
}

impl Pass {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.deeper.checked_sub(1) {
            Some(deeper) => Ok(Pass { deeper }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Pass {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pass {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while map.next_entry_seed(inner, inner)?.is_some() {}
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
}

/// A value that nobody reads.
pub(crate) struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Pass { deeper: MAX_PASSED_DEPTH }.deserialize(deserializer).map(|()| Unread)
    }
}

impl<'de> Shape<'de> for Cow<'de, str> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl Shape<'_> for i64 {
    fn integer(number: i64) -> Option<Self> {
        Some(number)
    }
    fn float(number: f64) -> Option<Self> {
        // Beyond 2^53 a float names no single whole number.
        (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
    }
}

impl Shape<'_> for bool {
    fn flag(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

impl<'de, T: Shape<'de>> Shape<'de> for Vec<Given<T>> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut items = Vec::new();
        while items.len() <= MAX_ELEMENTS {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Some(items)),
            }
        }
        // One more than any batch may have says enough: a flood of items is parsed and not kept.
        pass_list(list)?;
        Ok(Some(items))
    }
    fn survey(&self, at: &Path<'_>, findings: &mut Findings) {
        self.iter().for_each(|item| item.survey(at, findings));
    }
}

/// An object of any keys, in order, the last of several equal ones kept.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(Cow<'a, str>, Given<Cow<'a, str>>)>);

impl<'de> Shape<'de> for Pairs<'de> {
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut pairs: Vec<(Cow<'de, str>, Given<Cow<'de, str>>)> = Vec::new();
        while let Some((Given::Is(key), value)) = map.next_entry::<Given<Cow<'de, str>>, _>()? {
            // Few keys are kept, so a search through them is cheap; a flood of them is only looked through to the limit.
            match pairs.iter_mut().take(MAX_PAIRS).find(|(name, _)| *name == key) {
                Some(pair) => pair.1 = value,
                None => pairs.push((key, value)),
            }
        }
        Ok(Some(Self(pairs)))
    }
}

/// How many entries of an open map are kept.
pub(crate) const MAX_PAIRS: usize = 20;

impl<'de, T: Shape<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

fn given<T>(value: Option<T>) -> Given<T> {
    value.map_or(Given::Wrong, Given::Is)
}

impl<'de, T: Shape<'de>> Visitor<'de> for Reader<T> {
    type Value = Given<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Given::Absent)
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(given(T::flag(flag)))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(given(T::integer(number)))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(given(i64::try_from(number).map_or_else(|_| T::float(number as f64), T::integer)))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(given(T::float(number)))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(given(T::text(Cow::Borrowed(text))))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(given(T::text(Cow::Owned(text.to_owned()))))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::object(map).map(given)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::list(list).map(given)
    }
}

impl<'de, T: Shape<'de>> Given<T> {
    /// As [`Shape::survey`], for the field at `at`.
    pub(crate) fn survey(&self, at: &Path<'_>, findings: &mut Findings) {
        match self {
            Given::Absent => {}
            Given::Is(value) => value.survey(at, findings),
            Given::Wrong => findings.wrong_at(at),
        }
    }
}

/// What is off in a payload that is good enough to be used.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Paths of the fields whose type is wrong.
    pub(crate) wrong: Vec<String>,
    /// Fields that nobody reads.
    pub(crate) unread: u32,
}

impl Findings {
    /// The items of a list share their path, so a list full of them is found once.
    fn wrong_at(&mut self, at: &Path<'_>) {
        let path = at.to_string();
        if self.wrong.last() != Some(&path) {
            self.wrong.push(path);
        }
    }
}

/// Where a field is: names from the inside out, on the stack.
pub(crate) struct Path<'p> {
    outer: Option<&'p Path<'p>>,
    name: &'static str,
}

impl Path<'_> {
    /// The payload itself.
    pub(crate) const ROOT: Path<'static> = Path { outer: None, name: "" };

    /// A field of the object here.
    pub(crate) fn then<'p>(&'p self, name: &'static str) -> Path<'p> {
        Path { outer: Some(self), name }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer.filter(|outer| !outer.name.is_empty()) {
            write!(out, "{outer}.")?;
        }
        out.write_str(self.name)
    }
}

/// A key of an object, as the field that it names.
pub(crate) trait Key {
    /// The field of this name.
    fn of(name: &str) -> Self;
}

/// Reads a key without keeping its text.
pub(crate) struct KeyOf<K>(pub(crate) K);

impl<'de, K: Key> Deserialize<'de> for KeyOf<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<K>(PhantomData<K>);
        impl<K: Key> Visitor<'_> for Names<K> {
            type Value = KeyOf<K>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(KeyOf(K::of(name)))
            }
        }
        deserializer.deserialize_str(Names(PhantomData))
    }
}

/// Declares objects: each field is `name = "key in JSON": type`, or `name = "key" | "also written": type`.
macro_rules! objects {
    ($($(#[$meta:meta])* $name:ident { $($field:ident = $key:literal $(| $alias:literal)*: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: $crate::json::Given<$type>,)*
            unread: u32,
            borrowed: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::json::Shape<'a> for $name<'a> {
            fn object<A: serde::de::MapAccess<'a>>(mut map: A) -> Result<Option<Self>, A::Error> {
                #[allow(non_camel_case_types, reason = "named after the fields")]
                enum Field { $($field,)* Unread }
                impl $crate::json::Key for Field {
                    fn of(name: &str) -> Self {
                        match name { $($key $(| $alias)* => Field::$field,)* _ => Field::Unread }
                    }
                }
                let mut this = Self::default();
                while let Some(next) = map.next_key::<$crate::json::KeyOf<Field>>()? {
                    match next.0 {
                        $(Field::$field => this.$field = map.next_value()?,)*
                        Field::Unread => {
                            map.next_value::<$crate::json::Unread>()?;
                            this.unread += 1;
                        }
                    }
                }
                Ok(Some(this))
            }

            fn survey(&self, at: &$crate::json::Path<'_>, findings: &mut $crate::json::Findings) {
                findings.unread += self.unread;
                $(self.$field.survey(&at.then($key), findings);)*
            }
        }
    )*};
}
pub(crate) use objects;
