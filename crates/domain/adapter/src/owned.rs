//! A deserializer that lends nothing: for texts that do not live as long as what is read from them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Reads like the deserializer inside, which borrows for `'x`, with every text copied.
pub(crate) struct Owned<'x, T> {
    inner: T,
    borrowed: PhantomData<&'x ()>,
}

impl<T> Owned<'_, T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, borrowed: PhantomData }
    }
}

impl<'de, 'x, D: Deserializer<'x>> Deserializer<'de> for Owned<'x, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Copying { inner: visitor, wanted: PhantomData })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Hands on what a deserializer of a shorter life gives, to a visitor or a seed of `'de`.
struct Copying<'de, T> {
    inner: T,
    wanted: PhantomData<&'de ()>,
}

impl<'x, 'de, V: Visitor<'de>> Visitor<'x> for Copying<'de, V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(out)
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(flag)
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(number)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(number)
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<V::Value, E> {
        self.inner.visit_f64(number)
    }
    // A borrowed text comes here as well.
    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_str(text)
    }
    fn visit_map<A: MapAccess<'x>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Owned::new(map))
    }
    fn visit_seq<A: SeqAccess<'x>>(self, list: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Owned::new(list))
    }
}

impl<'x, 'de, S: DeserializeSeed<'de>> DeserializeSeed<'x> for Copying<'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'x>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Owned::new(deserializer))
    }
}

impl<'de, 'x, A: MapAccess<'x>> MapAccess<'de> for Owned<'x, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(Copying { inner: seed, wanted: PhantomData })
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Copying { inner: seed, wanted: PhantomData })
    }
}

impl<'de, 'x, A: SeqAccess<'x>> SeqAccess<'de> for Owned<'x, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Copying { inner: seed, wanted: PhantomData })
    }
}
