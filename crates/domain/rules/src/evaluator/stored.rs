//! The learned states as bytes. The profile, 900 bytes, is a record beside the rest: it changes once an hour.

use super::profile::{Profile, WEEK};
use super::silence::{self, SilenceKey};
use super::spike::{self, SpikeKey};
use crate::codec::{Reader, Writer};

/// Whether the rule fires for the key of a record that stands beside a profile; none for other records.
pub(crate) fn is_firing(record: &[u8]) -> Option<bool> {
    let mut from = Reader(record);
    let (kind, _) = (from.byte()?, from.byte()?);
    let flag = match kind {
        b'S' => {
            let _ = (from.u32()?, from.u32()?, from.u32()?);
            3
        }
        b'Q' => {
            let _ = (from.u32()?, from.u32()?, from.byte()?);
            1
        }
        _ => return None,
    };
    Some(from.byte()? >> flag & 1 == 1)
}

impl Profile {
    pub(crate) fn write(&self, to: &mut Writer) {
        to.i64(self.spoke);
        self.counts.iter().for_each(|count| to.f32(*count));
        (0..WEEK).for_each(|at| to.byte(self.weeks(at)));
        for first in (0..WEEK).step_by(8) {
            to.flags::<8>(std::array::from_fn(|at| self.hot(first + at)));
        }
        let [short, long] = [0, 1].map(|window| [self.deviation[window], self.square[window]]);
        [[self.events, self.usual], short, long].as_flattened().iter().for_each(|number| to.f64(*number));
        to.byte(self.run);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut profile = Self::new(from.i64()?);
        for at in 0..WEEK {
            profile.counts[at] = from.f32()?;
        }
        for at in 0..WEEK {
            profile.set_weeks(at, from.byte()?);
        }
        for first in (0..WEEK).step_by(8) {
            let hot = from.flags::<8>()?;
            hot.into_iter().enumerate().for_each(|(at, hot)| profile.set_hot(first + at, hot));
        }
        (profile.events, profile.usual) = (from.f64()?, from.f64()?);
        for window in 0..2 {
            (profile.deviation[window], profile.square[window]) = (from.f64()?, from.f64()?);
        }
        profile.run = from.byte()?;
        profile.unsaved = false;
        Some(profile)
    }
}

impl SpikeKey {
    /// All but the profile.
    pub(crate) fn write(&self, to: &mut Writer) {
        [self.born, self.last, self.in_hour].into_iter().for_each(|number| to.u32(number));
        let Some(known) = &self.speaking else { return to.byte(0) };
        let flags = [true, known.fired, known.planned, known.firing].into_iter().enumerate();
        to.byte(flags.fold(0, |flags, (at, flag)| flags | u8::from(flag) << at));
        to.i64(known.hour);
        to.i64(known.fired_at);
        to.byte(known.calm);
        to.u32(u32::try_from(known.events).unwrap_or(u32::MAX));
        let filled = || (0..60).map(|minute| (minute, known.ring.get(usize::from(minute)))).filter(|one| one.1 > 0);
        to.byte(u8::try_from(filled().count()).unwrap_or(u8::MAX));
        for (minute, count) in filled() {
            to.byte(minute);
            to.u32(count);
        }
    }

    /// What [`SpikeKey::write`] wrote, with the profile that belongs to it.
    pub(crate) fn read(from: &mut Reader<'_>, profile: Option<Profile>) -> Option<Self> {
        let mut key = Self { born: from.u32()?, last: from.u32()?, in_hour: from.u32()?, speaking: None };
        let flags = from.byte()?;
        if flags == 0 {
            return Some(key);
        }
        let hour = from.i64()?;
        let mut known = Box::new(spike::Speaking::with(profile?, hour));
        [known.fired, known.planned, known.firing] = [1, 2, 3].map(|at| flags >> at & 1 == 1);
        known.fired_at = from.i64()?;
        known.calm = from.byte()?;
        known.events = u64::from(from.u32()?);
        for _ in 0..from.byte()? {
            let (minute, count) = (usize::from(from.byte()?), from.u32()?);
            if minute >= 60 {
                return None;
            }
            known.ring.set(minute, count);
        }
        known.sum = known.ring.sum(0..60);
        key.speaking = Some(known);
        Some(key)
    }

    pub(crate) fn profile_mut(&mut self) -> Option<&mut Profile> {
        self.speaking.as_mut().map(|known| &mut known.profile)
    }
}

impl SilenceKey {
    /// All but the profile.
    pub(crate) fn write(&self, to: &mut Writer) {
        [self.last, self.in_hour].into_iter().for_each(|number| to.u32(number));
        to.byte(u8::from(self.quiet));
        let Some(known) = &self.speaking else { return to.byte(0) };
        let flags = [true, known.firing, known.trickle, known.fired].into_iter().enumerate();
        to.byte(flags.fold(0, |flags, (at, flag)| flags | u8::from(flag) << at));
        [known.hour, known.since, known.recent_since].into_iter().for_each(|number| to.i64(number));
        to.u32(known.pending);
        known.fives.iter().for_each(|five| to.u32(*five));
        let numbers = [known.due, known.longest, known.events, known.profiled, known.tide];
        numbers.into_iter().chain([known.recent_due, known.recent_came]).for_each(|number| to.f64(number));
    }

    /// What [`SilenceKey::write`] wrote, with the profile that belongs to it.
    pub(crate) fn read(from: &mut Reader<'_>, profile: Option<Profile>) -> Option<Self> {
        let mut key = Self { last: from.u32()?, in_hour: from.u32()?, quiet: from.byte()? == 1, speaking: None };
        let flags = from.byte()?;
        if flags == 0 {
            return Some(key);
        }
        let mut known = Box::new(silence::Speaking::with(profile?, from.i64()?));
        (known.since, known.recent_since) = (from.i64()?, from.i64()?);
        [known.firing, known.trickle, known.fired] = [1, 2, 3].map(|at| flags >> at & 1 == 1);
        known.pending = from.u32()?;
        for five in &mut known.fives {
            *five = from.u32()?;
        }
        (known.due, known.longest) = (from.f64()?, from.f64()?);
        (known.events, known.profiled, known.tide) = (from.f64()?, from.f64()?, from.f64()?);
        (known.recent_due, known.recent_came) = (from.f64()?, from.f64()?);
        known.look();
        key.speaking = Some(known);
        Some(key)
    }

    pub(crate) fn profile_mut(&mut self) -> Option<&mut Profile> {
        self.speaking.as_mut().map(|known| &mut known.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_more_events_than_a_record_can_say_goes_on_from_it_as_without_a_restart() {
        let rule = spike::SpikeRule {
            times: 3.0,
            within_minutes: 5,
            at_least: 50,
            quiet_for_minutes: 60,
            sensitivity: spike::Sensitivity::Normal,
        };
        let mut key = SpikeKey::default();
        for minute in 0..3 {
            key.take(&rule, 30_000_000 + minute, u32::MAX, &[], &mut |_| ());
        }
        let (mut record, mut profile) = (Writer::default(), Writer::default());
        key.write(&mut record);
        key.profile_mut().expect("it speaks").write(&mut profile);
        let profile = Profile::read(&mut Reader(&profile.0)).expect("what was written");
        let mut restored = SpikeKey::read(&mut Reader(&record.0), Some(profile)).expect("what was written");
        // The next hour has learned from this one.
        for key in [&mut key, &mut restored] {
            key.take(&rule, 30_000_000 + 70, 1, &[], &mut |_| ());
        }
        let [learned, again] = [&mut key, &mut restored].map(|key| {
            let mut profile = Writer::default();
            key.profile_mut().expect("it speaks").write(&mut profile);
            profile.0
        });
        assert!(learned == again, "the profiles differ");
    }

    #[test]
    fn a_record_says_whether_its_rule_fires() {
        let record = |kind: u8, state: &dyn Fn(&mut Writer)| {
            let mut to = Writer(vec![kind, 1]);
            state(&mut to);
            to.0
        };
        for firing in [false, true] {
            let mut speaking = spike::Speaking::with(Profile::new(500_000), 500_000);
            (speaking.fired, speaking.firing) = (true, firing);
            let key = SpikeKey { born: 1, last: 2, in_hour: 3, speaking: Some(Box::new(speaking)) };
            assert_eq!(is_firing(&record(b'S', &|to| key.write(to))), Some(firing));

            let mut speaking = silence::Speaking::with(Profile::new(500_000), 500_000);
            (speaking.fired, speaking.firing) = (true, firing);
            let key = SilenceKey { last: 2, in_hour: 3, quiet: true, speaking: Some(Box::new(speaking)) };
            assert_eq!(is_firing(&record(b'Q', &|to| key.write(to))), Some(firing));
        }
        assert_eq!(is_firing(&record(b'S', &|to| SpikeKey::default().write(to))), Some(false));
        assert_eq!(is_firing(b"G\x01"), None);
    }
}
