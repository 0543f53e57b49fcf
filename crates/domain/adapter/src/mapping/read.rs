//! Reads from a payload what a set of paths names, and checks the rest as strictly as any adapter does.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::PayloadPath;
use crate::form;
use crate::json::{Given, Unread};
use crate::mend::Mending;
use crate::time::Claim;

/// Beyond this a float names no single whole number, so it is no text: two ids could read alike.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A value that is neither an object nor an array.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
}

impl<'a> Scalar<'a> {
    /// As a text. A number or a flag is as it is written.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Integer(number) => Some(number.to_string().into()),
            Scalar::Unsigned(number) => Some(number.to_string().into()),
            Scalar::Float(number) if number.abs() < MAX_EXACT => Some(number.to_string().into()),
            Scalar::Float(_) => None,
            Scalar::Flag(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        }
    }

    /// As a number; a text is read as one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Integer(number) => Some(*number as f64),
            Scalar::Unsigned(number) => Some(*number as f64),
            Scalar::Float(number) => Some(*number),
            Scalar::Flag(_) => None,
        }
    }

    /// As a time.
    pub(super) fn claim(&self) -> Option<Claim<'a>> {
        match self {
            Scalar::Text(text) => Some(Claim::Text(text.clone())),
            Scalar::Flag(_) => None,
            number => number.number().map(Claim::Epoch),
        }
    }

    /// Whether it says anything.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Scalar::Text(text) if text.trim().is_empty())
    }
}

/// What the paths led to, by their slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Found<'a> {
    pub(super) values: Vec<Given<Scalar<'a>>>,
    /// Fields that no path leads to.
    pub(super) unread: u32,
}

impl Found<'_> {
    fn new(slots: usize) -> Self {
        Self { values: vec![Given::Absent; slots], unread: 0 }
    }
}

/// Paths as a tree. Each path has a slot, and equal paths share one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tree {
    root: Node,
    slots: usize,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    slot: Option<usize>,
    /// The slots of this node and of all below it.
    slots: Vec<usize>,
    children: Vec<Child>,
}

#[derive(Debug, Clone, PartialEq)]
struct Child {
    name: Box<str>,
    /// Its place, should the value be an array.
    index: Option<usize>,
    node: Node,
}

impl Tree {
    /// Adds a path. Returns its slot.
    pub(super) fn add(&mut self, path: &PayloadPath) -> usize {
        if let Some(slot) = self.slot(path) {
            return slot;
        }
        let slot = self.slots;
        self.slots += 1;
        let mut node = &mut self.root;
        for name in path.names() {
            node.slots.push(slot);
            let at = node.children.iter().position(|child| *child.name == **name).unwrap_or_else(|| {
                let index = name.parse().ok().filter(|index: &usize| index.to_string() == *name);
                node.children.push(Child { name: name.as_str().into(), index, node: Node::default() });
                node.children.len() - 1
            });
            node = &mut node.children[at].node;
        }
        node.slots.push(slot);
        node.slot = Some(slot);
        slot
    }

    fn slot(&self, path: &PayloadPath) -> Option<usize> {
        let mut node = &self.root;
        for name in path.names() {
            node = &node.children.iter().find(|child| *child.name == **name)?.node;
        }
        node.slot
    }

    /// What the fields of a form hold.
    pub(super) fn read_form<'a>(&self, body: &'a [u8], mending: Mending) -> Found<'a> {
        let mut found = Found::new(self.slots);
        for (name, value) in form::pairs(body, mending) {
            let child = self.root.children.iter().find(|child| *child.name == name);
            match child.and_then(|child| child.node.slot) {
                Some(slot) => found.values[slot] = Given::Is(Scalar::Text(value)),
                None => found.unread += 1,
            }
        }
        found
    }
}

/// Reads an event: an object in which the paths start. Anything else is wrong.
#[derive(Clone, Copy)]
pub(super) struct Event<'t>(pub(super) &'t Tree);

impl<'de> DeserializeSeed<'de> for Event<'_> {
    type Value = Given<Found<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut found = Found::new(self.0.slots);
        let kind = At { node: &self.0.root, found: &mut found }.deserialize(deserializer)?;
        Ok(match kind {
            Kind::Object => Given::Is(found),
            Kind::Null => Given::Absent,
            Kind::Other => Given::Wrong,
        })
    }
}

/// What a value was.
enum Kind {
    Object,
    Null,
    Other,
}

/// Reads the value at a node of the tree.
struct At<'t, 'f, 'a> {
    node: &'t Node,
    found: &'f mut Found<'a>,
}

impl<'a> At<'_, '_, 'a> {
    fn set(&mut self, value: Given<Scalar<'a>>) -> Kind {
        if let Some(slot) = self.node.slot {
            self.found.values[slot] = value;
        }
        Kind::Other
    }
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, 'de> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        // Of several equal keys the last counts, so what an earlier one left goes.
        for slot in &self.node.slots {
            self.found.values[*slot] = Given::Absent;
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, 'de> {
    type Value = Kind;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_bool<E: Error>(mut self, flag: bool) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Flag(flag))))
    }
    fn visit_i64<E: Error>(mut self, number: i64) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Integer(number))))
    }
    fn visit_u64<E: Error>(mut self, number: u64) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Unsigned(number))))
    }
    fn visit_f64<E: Error>(mut self, number: f64) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Float(number))))
    }
    fn visit_borrowed_str<E: Error>(mut self, text: &'de str) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Text(Cow::Borrowed(text)))))
    }
    fn visit_str<E: Error>(mut self, text: &str) -> Result<Kind, E> {
        Ok(self.set(Given::Is(Scalar::Text(Cow::Owned(text.to_owned())))))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Kind, A::Error> {
        self.set(Given::Wrong);
        while let Some(child) = map.next_key_seed(Name(self.node))? {
            match child {
                Some(child) => {
                    map.next_value_seed(At { node: &child.node, found: self.found })?;
                }
                None => {
                    map.next_value::<Unread>()?;
                    self.found.unread += 1;
                }
            }
        }
        Ok(Kind::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Kind, A::Error> {
        self.set(Given::Wrong);
        for place in 0.. {
            let item = match self.node.children.iter().find(|child| child.index == Some(place)) {
                Some(child) => list.next_element_seed(At { node: &child.node, found: self.found })?.is_some(),
                None => list.next_element::<Unread>()?.is_some(),
            };
            if !item {
                break;
            }
        }
        Ok(Kind::Other)
    }
}

/// Finds the child that a key names, without keeping the key.
struct Name<'t>(&'t Node);

impl<'de, 't> DeserializeSeed<'de> for Name<'t> {
    type Value = Option<&'t Child>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for Name<'t> {
    type Value = Option<&'t Child>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().find(|child| *child.name == *name))
    }
}
