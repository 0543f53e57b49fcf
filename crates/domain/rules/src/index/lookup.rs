//! Finding the few rules that an event can match among many, without asking each.
//!
//! Each rule is filed under one of its conditions: the one whose values the fewest other rules name. A value is
//! filed whole, by its beginning (`spring-*`) or by its end (`*.example.com`). An event is looked up by the fields that
//! rules are filed under; what is found is still asked. A rule without such a condition is asked of every event.

use std::collections::HashMap;

use event::LinkEvent;

use crate::{Condition, Field, Glob, Rule};

/// What a value is filed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Whole(String),
    Start(String),
    End(String),
}

impl Key {
    /// None for a pattern such as `*` or `*x*`, which is filed nowhere.
    fn of(pattern: &Glob) -> Option<Self> {
        let text = pattern.as_str();
        let Some((start, rest)) = text.split_once('*') else { return Some(Self::Whole(text.to_owned())) };
        let end = rest.rsplit_once('*').map_or(rest, |(_, end)| end);
        // The longer end says more.
        match (start.len(), end.len()) {
            (0, 0) => None,
            (start_len, end_len) if start_len >= end_len => Some(Self::Start(start.to_owned())),
            _ => Some(Self::End(end.to_owned())),
        }
    }
}

/// The keys of a condition; none if one of its values is filed nowhere.
fn keys(condition: &Condition) -> Option<Vec<Key>> {
    condition.patterns().iter().map(Key::of).collect()
}

/// Rules by a part of a value, for each length of such parts.
type ByLength = Vec<(usize, HashMap<String, Vec<usize>>)>;

/// The rules that are filed under one field.
#[derive(Debug, Clone, Default)]
struct Filed {
    whole: HashMap<String, Vec<usize>>,
    starts: ByLength,
    ends: ByLength,
}

impl Filed {
    fn add(&mut self, key: Key, rule: usize) {
        let rules = match key {
            Key::Whole(text) => self.whole.entry(text).or_default(),
            Key::Start(text) => of_length(&mut self.starts, text.len()).entry(text).or_default(),
            Key::End(text) => of_length(&mut self.ends, text.len()).entry(text).or_default(),
        };
        rules.push(rule);
    }

    fn find(&self, value: &str, found: &mut Vec<usize>) {
        let mut take = |rules: Option<&Vec<usize>>| found.extend(rules.into_iter().flatten());
        take(self.whole.get(value));
        for (length, rules) in &self.starts {
            take(value.get(..*length).and_then(|start| rules.get(start)));
        }
        for (length, rules) in &self.ends {
            let end = value.len().checked_sub(*length).and_then(|from| value.get(from..));
            take(end.and_then(|end| rules.get(end)));
        }
    }
}

fn of_length(parts: &mut ByLength, length: usize) -> &mut HashMap<String, Vec<usize>> {
    let at = parts.iter().position(|(known, _)| *known == length).unwrap_or_else(|| {
        parts.push((length, HashMap::new()));
        parts.len() - 1
    });
    &mut parts[at].1
}

/// The rules of one type of event, filed.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    /// Rules that are asked of every event.
    always: Vec<usize>,
    filed: Vec<(Field, Filed)>,
}

impl Lookup {
    /// Files those of `rules` that `candidates` names.
    pub(super) fn new(rules: &[Rule], candidates: &[usize]) -> Self {
        let mut named: HashMap<(Field, Key), usize> = HashMap::new();
        let conditions = |index: &usize| rules[*index].when().conditions();
        for condition in candidates.iter().flat_map(conditions) {
            for key in keys(condition).into_iter().flatten() {
                *named.entry((condition.field(), key)).or_default() += 1;
            }
        }
        let mut this = Self::default();
        for index in candidates {
            let usable = conditions(index).iter().filter_map(|condition| Some((condition.field(), keys(condition)?)));
            let most = |(field, keys): &(Field, Vec<Key>)| {
                keys.iter().map(|key| named.get(&(*field, key.clone())).copied().unwrap_or_default()).sum::<usize>()
            };
            match usable.min_by_key(most) {
                Some((field, keys)) => keys.into_iter().for_each(|key| this.of_field(field).add(key, *index)),
                None => this.always.push(*index),
            }
        }
        this
    }

    fn of_field(&mut self, field: Field) -> &mut Filed {
        let at = self.filed.iter().position(|(known, _)| *known == field).unwrap_or_else(|| {
            self.filed.push((field, Filed::default()));
            self.filed.len() - 1
        });
        &mut self.filed[at].1
    }

    /// The rules that an event may match, each once, in their order. No other rule matches it.
    pub(super) fn candidates(&self, event: &LinkEvent<'_>) -> Vec<usize> {
        let mut found = self.always.clone();
        for (field, filed) in &self.filed {
            field.each_value(event, |value| filed.find(value, &mut found));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
