//! A rule that learns what is usual: its keys, and which of them a closed minute concerns.
//!
//! Closing walks keys that were touched, that fire, or whose time has come; never all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use event::{Alert, AlertId, Map, Millis, Signal, Transition};

use crate::codec::{Reader, Writer};
use crate::evaluator::profile::Profile;
use crate::evaluator::silence::{SilenceChange, SilenceKey, SilenceRule};
use crate::evaluator::spike::{SpikeChange, SpikeKey, SpikeRule};
use crate::state::{Change, StateKey, StatePart};
use crate::{Expectations, Glob, Trigger, words};

/// Length of a pane: a minute.
pub(crate) const PANE_MS: i64 = 60_000;
/// The version of a key's record, behind its kind.
const VERSION: u8 = 1;
const KIND_SPIKE: u8 = b'S';
const KIND_SILENCE: u8 = b'Q';

/// What decides.
#[derive(Debug, Clone)]
enum Evaluator {
    Spike { rule: SpikeRule, during_launches: bool },
    Silence { rule: SilenceRule, by_source: bool },
}

/// Who a message is about: one event, for its names.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sample {
    lane: u16,
    event_key: String,
    attributes: Map<'static>,
}

/// The counts of an open minute.
#[derive(Debug, Clone, PartialEq)]
struct Pane {
    count: u32,
    late: u32,
    sample: Sample,
}

enum KeyState {
    Spike(SpikeKey),
    Silence(SilenceKey),
}

struct Entry {
    key: Arc<str>,
    state: KeyState,
    /// The end of the minute for which a timer is set; 0: none.
    wakes: i64,
    /// Changed since the last snapshot.
    changed: bool,
    /// Its profile is in some snapshot.
    profile_stored: bool,
    /// The event that the last alert named, or the last one that came.
    sample: Option<Box<Sample>>,
}

/// The keys of production data, or of test data.
#[derive(Default)]
struct Keys {
    ids: HashMap<Arc<str>, u32>,
    entries: Vec<Entry>,
    /// Minute → keys with events in it, of the minutes that have not closed.
    open: BTreeMap<i64, HashMap<u32, Pane>>,
    /// End of a minute → keys that must be walked then.
    timers: BTreeMap<i64, Vec<u32>>,
    changed: Vec<u32>,
}

/// A rule that learns what is usual.
pub(crate) struct LearnedRule {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What its keys have learned is kept under this: a rule that asks for more or less keeps it.
    pub(crate) memory: String,
    owner: String,
    shadow: bool,
    evaluator: Evaluator,
    expectations: Arc<Expectations>,
    /// The end of the last minute that was evaluated, in minutes since 1970.
    closed: Option<i64>,
    keys: [Keys; 2],
    /// Profiles that were restored and wait for the rest of their key.
    profiles: HashMap<(bool, String), Profile>,
    /// Keys that were restored and wait for their profile.
    restored: Vec<(bool, String, Vec<u8>)>,
}

impl LearnedRule {
    /// The rule, if it is one that learns.
    pub(crate) fn of(rule: &crate::Rule, expectations: &Arc<Expectations>) -> Option<Self> {
        let evaluator = match rule.trigger()? {
            Trigger::Spike { spike, not_during_launches, .. } => {
                Evaluator::Spike { rule: spike.rule(), during_launches: !not_during_launches }
            }
            Trigger::Silence { silence, per } => {
                Evaluator::Silence { rule: *silence, by_source: *per == crate::Per::Source }
            }
            Trigger::Each | Trigger::Count { .. } => return None,
        };
        Some(Self {
            name: rule.name().to_owned(),
            version: rule.version().to_owned(),
            memory: rule.memory(),
            owner: rule.owner().to_owned(),
            shadow: rule.is_shadow(),
            evaluator,
            expectations: Arc::clone(expectations),
            closed: None,
            keys: Default::default(),
            profiles: HashMap::new(),
            restored: Vec::new(),
        })
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.iter().map(|keys| keys.entries.len()).sum()
    }

    /// How many keys a snapshot would write now.
    pub(crate) fn unsaved(&self) -> usize {
        self.keys.iter().map(|keys| keys.changed.len()).sum()
    }

    /// What has passed, in milliseconds, after a restart.
    pub(crate) fn closed_at(&mut self, passed: Option<i64>) {
        self.closed = passed.map(|passed| passed.div_euclid(PANE_MS));
    }

    /// Adds a signal. Whether its minute was open.
    pub(crate) fn add(&mut self, lane: u16, signal: &Signal<'_>) -> bool {
        let minute = signal.pane.0.max(0) / PANE_MS;
        let in_time = self.closed.is_none_or(|closed| minute >= closed);
        // A lane that was left out still proves that a key speaks; a spike it cannot prove any more.
        let minute = match (&self.evaluator, self.closed) {
            (Evaluator::Silence { .. }, Some(closed)) => minute.max(closed),
            _ if !in_time => return false,
            _ => minute,
        };
        let keys = &mut self.keys[usize::from(signal.test)];
        let id = keys.id(signal.key.as_ref(), &self.evaluator);
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let sample =
            || Sample { lane, event_key: signal.sample.clone().into_owned(), attributes: owned(&signal.attributes) };
        let of_minute = keys.open.entry(minute).or_default();
        match of_minute.get_mut(&id) {
            Some(pane) => {
                pane.count = pane.count.saturating_add(count);
                pane.late = pane.late.saturating_add(late);
                if lane < pane.sample.lane {
                    pane.sample = sample();
                }
            }
            None => drop(of_minute.insert(id, Pane { count, late, sample: sample() })),
        }
        keys.touch(id);
        in_time
    }

    /// Evaluates every minute that ends by `passed` and was not evaluated yet.
    pub(crate) fn close(&mut self, passed: i64, mut tell: impl FnMut(Alert<'static>)) {
        let to = passed.div_euclid(PANE_MS);
        if self.closed.is_some_and(|closed| closed >= to) {
            return;
        }
        self.closed = Some(to);
        let mut keys = std::mem::take(&mut self.keys);
        for (test, keys) in [false, true].into_iter().zip(&mut keys) {
            while let Some(minute) = keys.open.first_key_value().map(|(minute, _)| *minute).filter(|at| *at < to) {
                for (id, pane) in keys.open.remove(&minute).unwrap_or_default() {
                    self.walk(keys, id, test, minute, Some(pane), &mut tell);
                }
            }
            while let Some(at) = keys.timers.first_key_value().map(|(at, _)| *at).filter(|at| *at <= to) {
                for id in keys.timers.remove(&at).unwrap_or_default() {
                    if keys.entries.get(id as usize).is_some_and(|entry| entry.wakes == at) {
                        self.walk(keys, id, test, to, None, &mut tell);
                    }
                }
            }
        }
        self.keys = keys;
    }

    /// Takes a closed minute of a key, or walks it up to `minute` in which nothing came.
    fn walk(
        &self,
        keys: &mut Keys,
        id: u32,
        test: bool,
        minute: i64,
        pane: Option<Pane>,
        tell: &mut impl FnMut(Alert<'static>),
    ) {
        let Some(entry) = keys.entries.get_mut(id as usize) else { return };
        let wakes = match (&self.evaluator, &mut entry.state) {
            (Evaluator::Spike { rule, during_launches }, KeyState::Spike(key)) => {
                let planned = if *during_launches { Vec::new() } else { self.expectations.planned(&entry.key) };
                let (count, sample) =
                    pane.map_or((0, None), |pane| (pane.count.saturating_sub(pane.late), Some(Box::new(pane.sample))));
                let mut changes = Vec::new();
                if count > 0 {
                    key.take(rule, minute, count, &planned, &mut |change| changes.push(change));
                } else {
                    key.walk(rule, minute - 1, &planned, &mut |change| changes.push(change));
                }
                for change in changes {
                    if let SpikeChange::Fired { .. } = change {
                        entry.sample.clone_from(&sample);
                    }
                    tell(self.spike_alert(&entry.key, test, entry.sample.as_deref(), change));
                }
                key.wakes()
            }
            (Evaluator::Silence { rule, by_source }, KeyState::Silence(key)) => {
                let fixed = if *by_source { self.expectations.quiet_after(&entry.key) } else { None };
                let rule = SilenceRule { quiet_after_minutes: fixed.or(rule.quiet_after_minutes), ..*rule };
                let mut changes = Vec::new();
                let mut told = |change| changes.push(change);
                match pane {
                    Some(pane) => {
                        key.take(&rule, minute, pane.count, &mut told);
                        // What was said before this minute is about the events before it.
                        let before = entry.sample.replace(Box::new(pane.sample));
                        for change in changes {
                            let sample = match change {
                                SilenceChange::Fired { trickle: false, .. } => before.as_deref(),
                                _ => entry.sample.as_deref(),
                            };
                            tell(self.silence_alert(&entry.key, test, sample, change));
                        }
                    }
                    None => {
                        key.walk(&rule, minute, &mut told);
                        for change in changes {
                            tell(self.silence_alert(&entry.key, test, entry.sample.as_deref(), change));
                        }
                    }
                }
                key.wakes(&rule)
            }
            _ => None,
        };
        keys.touch(id);
        keys.wake(id, wakes);
    }

    fn spike_alert(&self, key: &str, test: bool, sample: Option<&Sample>, change: SpikeChange) -> Alert<'static> {
        let mut attributes = sample.map(|sample| owned(&sample.attributes)).unwrap_or_default();
        match change {
            SpikeChange::Fired { at, observed, window, bound, usual, level } => {
                let what = words::events(&attributes);
                let why = format!(
                    "{observed} {what} in {}; usual for {} is {}",
                    words::minutes(i64::from(window)),
                    words::hour(at - 1),
                    words::range(usual),
                );
                attributes.add("usual_low", words::whole(usual.0));
                attributes.add("usual_high", words::whole(usual.1));
                attributes.add("level", format!("{level:.2}"));
                attributes.add("window", words::minutes(i64::from(window)));
                attributes.add("why", why);
                let from = at - i64::from(window);
                self.alert(
                    key,
                    test,
                    sample,
                    Transition::Fired,
                    (from, at),
                    (observed, bound.ceil() as u64),
                    attributes,
                )
            }
            SpikeChange::Resolved { at } => {
                attributes.add("why", "for 20 minutes there were no more than is usual");
                self.alert(key, test, sample, Transition::Resolved, (at - 20, at), (0, 0), attributes)
            }
        }
    }

    fn silence_alert(&self, key: &str, test: bool, sample: Option<&Sample>, change: SilenceChange) -> Alert<'static> {
        let mut attributes = sample.map(|sample| owned(&sample.attributes)).unwrap_or_default();
        match change {
            SilenceChange::Fired { at, since, observed, due, usual, trickle } => {
                let mut why = if trickle {
                    format!("{key}: only {observed} of at least {} in the last hours", words::whole(due))
                } else {
                    format!("{key}: nothing since {}", words::since(since, at))
                };
                if let Some(usual) = usual {
                    why.push_str(&format!("; usual for {} is {} an hour", words::hour(at - 1), words::range(usual)));
                    attributes.add("usual_low", words::whole(usual.0));
                    attributes.add("usual_high", words::whole(usual.1));
                    attributes.add("missed", words::whole(due));
                }
                attributes.add("why", why);
                let asked = (due as u64, observed);
                self.alert(key, test, sample, Transition::Fired, (since, at), (asked.1, asked.0), attributes)
            }
            SilenceChange::Resolved { at, observed, forgotten } => {
                let why =
                    if forgotten { "nothing came for eight weeks: it is no longer missed" } else { "it speaks again" };
                attributes.add("why", why);
                self.alert(key, test, sample, Transition::Resolved, (at - 1, at), (observed, 0), attributes)
            }
        }
    }

    /// `window` in minutes; `counts` are what was observed, and what the rule asks for.
    #[allow(clippy::too_many_arguments, reason = "the fields of one alert")]
    fn alert(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        transition: Transition,
        window: (i64, i64),
        counts: (u64, u64),
        attributes: Map<'static>,
    ) -> Alert<'static> {
        let (from, to) = (window.0 * PANE_MS, window.1 * PANE_MS);
        // The same key in test data is another thing, so it has another id. The separator stands in no key.
        let id_key = if test { format!("\u{1f}test\u{1f}{key}") } else { key.to_owned() };
        Alert {
            alert_id: AlertId::new(&self.name, &self.version, &id_key, to, transition).0.into(),
            rule: self.name.clone().into(),
            rule_version: self.version.clone().into(),
            owner: self.owner.clone().into(),
            key: key.to_owned().into(),
            transition,
            window_start: Millis(from),
            window_end: Millis(to),
            observed: counts.0,
            threshold: counts.1,
            received_at: Millis(to),
            sample: sample.map(|sample| sample.event_key.clone()).unwrap_or_default().into(),
            test,
            attributes,
        }
    }

    /// What has changed since the last call.
    pub(crate) fn snapshot(&mut self, changes: &mut Vec<Change>) {
        for (test, keys) in [false, true].into_iter().zip(&mut self.keys) {
            let changed = std::mem::take(&mut keys.changed);
            for id in changed {
                let Some(entry) = keys.entries.get_mut(id as usize) else { continue };
                entry.changed = false;
                let key = |part| StateKey::of(&self.name, &self.memory, &entry.key, test).part(part).encode();
                let mut value = Writer::default();
                let (kind, profile) = match &mut entry.state {
                    KeyState::Spike(state) => {
                        value.0.extend([KIND_SPIKE, VERSION]);
                        state.write(&mut value);
                        (KIND_SPIKE, state.profile_mut())
                    }
                    KeyState::Silence(state) => {
                        value.0.extend([KIND_SILENCE, VERSION]);
                        state.write(&mut value);
                        (KIND_SILENCE, state.profile_mut())
                    }
                };
                value.byte(u8::from(entry.sample.is_some()));
                if let Some(sample) = &entry.sample {
                    sample.write(&mut value);
                }
                let open: Vec<(&i64, &Pane)> =
                    keys.open.iter().filter_map(|(minute, panes)| Some((minute, panes.get(&id)?))).collect();
                value.u32(u32::try_from(open.len()).unwrap_or(u32::MAX));
                for (minute, pane) in open {
                    value.i64(*minute);
                    value.u32(pane.count);
                    value.u32(pane.late);
                    pane.sample.write(&mut value);
                }
                changes.push(Change { key: key(StatePart::Present), value: Some(value.0) });
                match profile {
                    Some(profile) if profile.unsaved || !entry.profile_stored => {
                        let mut value = Writer(vec![kind, VERSION]);
                        profile.write(&mut value);
                        (profile.unsaved, entry.profile_stored) = (false, true);
                        changes.push(Change { key: key(StatePart::Profile), value: Some(value.0) });
                    }
                    None if entry.profile_stored => {
                        entry.profile_stored = false;
                        changes.push(Change { key: key(StatePart::Profile), value: None });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Takes one record of a snapshot; none if it is not what this version writes.
    pub(crate) fn restore(&mut self, key: &StateKey<'_>, value: &[u8]) -> Option<()> {
        let kind = match self.evaluator {
            Evaluator::Spike { .. } => KIND_SPIKE,
            Evaluator::Silence { .. } => KIND_SILENCE,
        };
        let mut from = Reader(value);
        if (from.byte()?, from.byte()?) != (kind, VERSION) {
            return None;
        }
        match key.part {
            StatePart::Profile => {
                self.profiles.insert((key.test, key.key.to_owned()), Profile::read(&mut from)?);
            }
            StatePart::Present => self.restored.push((key.test, key.key.to_owned(), from.0.to_vec())),
        }
        Some(())
    }

    /// Puts keys and their profiles together, once all records are there. The key that cannot be read.
    pub(crate) fn restored(&mut self) -> Result<(), String> {
        for (test, key, value) in std::mem::take(&mut self.restored) {
            let profile = self.profiles.remove(&(test, key.clone()));
            self.put_back(test, &key, &value, profile).ok_or(key)?;
        }
        self.profiles.clear();
        Ok(())
    }

    fn put_back(&mut self, test: bool, key: &str, value: &[u8], profile: Option<Profile>) -> Option<()> {
        let mut from = Reader(value);
        let profile_stored = profile.is_some();
        let (state, wakes) = match &self.evaluator {
            Evaluator::Spike { .. } => {
                let state = SpikeKey::read(&mut from, profile)?;
                let wakes = state.wakes();
                (KeyState::Spike(state), wakes)
            }
            Evaluator::Silence { rule, by_source } => {
                let fixed = if *by_source { self.expectations.quiet_after(key) } else { None };
                let rule = SilenceRule { quiet_after_minutes: fixed.or(rule.quiet_after_minutes), ..*rule };
                let state = SilenceKey::read(&mut from, profile)?;
                let wakes = state.wakes(&rule);
                (KeyState::Silence(state), wakes)
            }
        };
        let sample = if from.byte()? == 1 { Some(Box::new(Sample::read(&mut from)?)) } else { None };
        let keys = &mut self.keys[usize::from(test)];
        let id = keys.id(key, &self.evaluator);
        let entry = keys.entries.get_mut(id as usize)?;
        (entry.state, entry.sample, entry.profile_stored) = (state, sample, profile_stored);
        for _ in 0..from.u32()? {
            let (minute, count, late) = (from.i64()?, from.u32()?, from.u32()?);
            let pane = Pane { count, late, sample: Sample::read(&mut from)? };
            keys.open.entry(minute).or_default().insert(id, pane);
        }
        keys.wake(id, wakes);
        Some(())
    }
}

impl Keys {
    fn id(&mut self, key: &str, evaluator: &Evaluator) -> u32 {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let key: Arc<str> = key.into();
        let id = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let state = match evaluator {
            Evaluator::Spike { .. } => KeyState::Spike(SpikeKey::default()),
            Evaluator::Silence { .. } => KeyState::Silence(SilenceKey::default()),
        };
        let entry =
            Entry { key: Arc::clone(&key), state, wakes: 0, changed: false, profile_stored: false, sample: None };
        self.entries.push(entry);
        self.ids.insert(key, id);
        id
    }

    fn touch(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(id as usize)
            && !std::mem::replace(&mut entry.changed, true)
        {
            self.changed.push(id);
        }
    }

    /// Sets the timer of a key; an earlier one that is still in the list is passed over when its time comes.
    fn wake(&mut self, id: u32, wakes: Option<i64>) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        let at = wakes.unwrap_or(0);
        if std::mem::replace(&mut entry.wakes, at) != at && at > 0 {
            self.timers.entry(at).or_default().push(id);
        }
    }
}

impl Sample {
    fn write(&self, to: &mut Writer) {
        to.u32(u32::from(self.lane));
        to.text(&self.event_key);
        to.map(&self.attributes);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let lane = u16::try_from(from.u32()?).ok()?;
        Some(Self { lane, event_key: from.text()?.to_owned(), attributes: from.map()? })
    }
}

fn owned(map: &Map<'_>) -> Map<'static> {
    let mut own = Map::default();
    for (name, value) in &map.0 {
        own.add(name.clone().into_owned(), value.clone().into_owned());
    }
    own
}

impl Expectations {
    /// The planned launches of a link, as half-open ranges of minutes.
    fn planned(&self, key: &str) -> Vec<(i64, i64)> {
        let of_link = self.launches.iter().filter(|launch| launch.links.iter().any(|link: &Glob| link.matches(key)));
        of_link.map(|launch| (launch.from_ms.div_euclid(PANE_MS), -(-launch.until_ms).div_euclid(PANE_MS))).collect()
    }

    /// After how many minutes a source is too quiet, where its configuration says it.
    fn quiet_after(&self, source: &str) -> Option<i64> {
        self.quiet_after_minutes.get(source).copied()
    }
}
