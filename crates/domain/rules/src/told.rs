//! Alerts of the rules whose panes are minutes: what each says, and by which numbers.

use event::{Alert, AlertId, Map, Millis, Transition};

use crate::evaluator::broken::{BrokenChange, BrokenEnd, BrokenRule};
use crate::evaluator::drift::{DriftChange, DriftEnd, DriftMark, DriftRule};
use crate::evaluator::first_seen::FirstSeenRule;
use crate::evaluator::gap::{self, GapChange, GapRule};
use crate::evaluator::silence::SilenceChange;
use crate::evaluator::spike::SpikeChange;
use crate::learned::PANE_MS;
use crate::pane::Part;
use crate::sample::Sample;
use crate::words::{self, Clock};

/// The rule that tells.
pub(crate) struct Teller {
    name: String,
    version: String,
    owner: String,
    pub(crate) shadow: bool,
    clock: Clock,
}

/// The numbers of an alert.
struct Numbers {
    transition: Transition,
    /// In minutes since 1970.
    window: (i64, i64),
    observed: u64,
    /// What the rule asks for.
    asked: u64,
}

impl Teller {
    pub(crate) fn of(rule: &crate::Rule, clock: Clock) -> Self {
        Self {
            name: rule.name().to_owned(),
            version: rule.version().to_owned(),
            owner: rule.owner().to_owned(),
            shadow: rule.is_shadow(),
            clock,
        }
    }

    pub(crate) fn spike(&self, key: &str, test: bool, sample: Option<&Sample>, change: SpikeChange) -> Alert<'static> {
        match change {
            SpikeChange::Fired { at, observed, window, bound, usual, level } => {
                let window = i64::from(window);
                let numbers = Numbers {
                    transition: Transition::Fired,
                    window: (at - window, at),
                    observed,
                    asked: bound.ceil() as u64,
                };
                self.alert(key, test, sample, &numbers, |attributes| {
                    let (what, hour) = (words::events(attributes), self.clock.hour(at - 1));
                    let within = words::minutes(window);
                    let why = format!("{observed} {what} in {within}; usual for {hour} is {}", words::range(usual));
                    attributes.add("usual_low", words::whole(usual.0));
                    attributes.add("usual_high", words::whole(usual.1));
                    attributes.add("level", format!("{level:.2}"));
                    attributes.add("window", within);
                    why
                })
            }
            SpikeChange::Resolved { at } => {
                let numbers =
                    Numbers { transition: Transition::Resolved, window: (at - 20, at), observed: 0, asked: 0 };
                let why = "for 20 minutes there were no more than is usual";
                self.alert(key, test, sample, &numbers, |_| why.to_owned())
            }
        }
    }

    pub(crate) fn silence(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        change: SilenceChange,
    ) -> Alert<'static> {
        match change {
            SilenceChange::Fired { at, since, observed, due, usual, trickle } => {
                let numbers =
                    Numbers { transition: Transition::Fired, window: (since, at), observed, asked: due as u64 };
                self.alert(key, test, sample, &numbers, |attributes| {
                    let mut why = if trickle {
                        format!("{key}: only {observed} of at least {} in the last hours", words::whole(due))
                    } else {
                        format!("{key}: nothing since {}", self.clock.since(since, at))
                    };
                    if let Some(usual) = usual {
                        let hour = self.clock.hour(at - 1);
                        why.push_str(&format!("; usual for {hour} is {} an hour", words::range(usual)));
                        attributes.add("usual_low", words::whole(usual.0));
                        attributes.add("usual_high", words::whole(usual.1));
                        attributes.add("missed", words::whole(due));
                    }
                    attributes.add("window", words::minutes(at - since));
                    why
                })
            }
            SilenceChange::Resolved { at, observed, forgotten } => {
                let numbers = Numbers { transition: Transition::Resolved, window: (at - 1, at), observed, asked: 0 };
                let why =
                    if forgotten { "nothing came for eight weeks: it is no longer missed" } else { "it speaks again" };
                self.alert(key, test, sample, &numbers, |_| why.to_owned())
            }
        }
    }

    pub(crate) fn broken(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        rule: &BrokenRule,
        change: BrokenChange,
    ) -> Alert<'static> {
        match change {
            BrokenChange::Fired { at, bad, works, reason } => {
                let numbers = Numbers {
                    transition: Transition::Fired,
                    window: (at - rule.within_minutes, at),
                    observed: bad,
                    asked: u64::from(rule.at_least.max(1)),
                };
                self.alert(key, test, sample, &numbers, |attributes| {
                    let within = words::minutes(rule.within_minutes);
                    let of = if works > 0 { format!("{bad} of {} visits", bad + works) } else { words::visits(bad) };
                    attributes.add("reason", reason.clone());
                    attributes.add("arrived", works.to_string());
                    attributes.add("window", within.clone());
                    format!("{key}: {of} in {within} led nowhere: {reason}")
                })
            }
            BrokenChange::Resolved { at, bad, end } => {
                let numbers =
                    Numbers { transition: Transition::Resolved, window: (at - 1, at), observed: bad, asked: 0 };
                self.alert(key, test, sample, &numbers, |_| {
                    let how = match end {
                        BrokenEnd::Works => "visits arrive again",
                        BrokenEnd::Edited => "the link was edited, and no visit has led nowhere since",
                        BrokenEnd::Quiet => "no visit has led nowhere for a while",
                    };
                    format!("{how}; in all, {} led nowhere", words::visits(bad))
                })
            }
        }
    }

    pub(crate) fn drift(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        rule: &DriftRule,
        change: DriftChange,
    ) -> Alert<'static> {
        match change {
            DriftChange::Fired { at, since, visits, marks } => {
                let numbers = Numbers {
                    transition: Transition::Fired,
                    window: (since - 1, at),
                    observed: visits,
                    asked: u64::from(rule.at_least.max(1)),
                };
                self.alert(key, test, sample, &numbers, |attributes| {
                    let mut told = Vec::new();
                    for (mark, before) in marks {
                        let before = before.as_ref().map(DriftMark::to_string).unwrap_or_default();
                        let was = if before.is_empty() { String::new() } else { format!(", before to {before}") };
                        match &mark {
                            DriftMark::Site(site) => {
                                attributes.add("leads_to", site.clone());
                                attributes.add("led_to", before);
                                told.push(format!("leads to {site}{was}"));
                            }
                            DriftMark::Unexpected { expected, site } => {
                                attributes.add("expected_host", expected.clone());
                                told.push(format!("leads to {site}, the list of links expects {expected}"));
                            }
                            DriftMark::Status(status) => {
                                attributes.add("status", status.to_string());
                                attributes.add("status_before", before.clone());
                                told.push(format!("redirects with {status}, before with {before}"));
                            }
                        }
                    }
                    attributes.add("window", words::minutes(at - since + 1));
                    format!(
                        "{key} {}; seen in {} since {}",
                        told.join("; "),
                        words::visits(visits),
                        self.clock.since(since - 1, at)
                    )
                })
            }
            DriftChange::Resolved { at, visits, end } => {
                let numbers =
                    Numbers { transition: Transition::Resolved, window: (at - 1, at), observed: visits, asked: 0 };
                self.alert(key, test, sample, &numbers, |_| {
                    match end {
                        DriftEnd::Back => "for an hour visits led where they did before",
                        DriftEnd::Edited => "an edit of the link explains it",
                        DriftEnd::Usual => "it has been so for a week, and is taken as usual from now on",
                    }
                    .to_owned()
                })
            }
        }
    }

    pub(crate) fn gap(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        rule: &GapRule,
        change: GapChange,
    ) -> Alert<'static> {
        let within = words::minutes(rule.within_hours * 60);
        match change {
            GapChange::Fired { at, counted, missing } => {
                let numbers = Numbers {
                    transition: Transition::Fired,
                    window: (at - rule.within_hours * 60, at),
                    observed: missing,
                    asked: gap::least_missing(rule, counted),
                };
                self.alert(key, test, sample, &numbers, |attributes| {
                    attributes.add("counted", counted.to_string());
                    attributes.add("missing", missing.to_string());
                    attributes.add("window", within.clone());
                    let percent = missing as f64 * 100.0 / counted.max(1) as f64;
                    format!("{key}: of {counted} visits that the platform has counted in {within}, {missing} have not arrived ({percent:.1} %)")
                })
            }
            GapChange::Resolved { at, missing } => {
                let numbers =
                    Numbers { transition: Transition::Resolved, window: (at - 60, at), observed: missing, asked: 0 };
                self.alert(key, test, sample, &numbers, |_| match missing {
                    0 => format!("of what the platform has counted in {within}, all has arrived"),
                    _ => format!("of what the platform has counted in {within}, {missing} are missing"),
                })
            }
        }
    }

    /// The value is what the alert is about.
    pub(crate) fn first_seen(&self, rule: &FirstSeenRule, test: bool, minute: i64, part: &Part) -> Alert<'static> {
        let numbers = Numbers {
            transition: Transition::Each,
            window: (minute, minute + 1),
            observed: u64::from(part.count),
            asked: 0,
        };
        let value = &*part.facet;
        self.alert(value, test, Some(&part.sample), &numbers, |attributes| {
            attributes.add("first_seen", rule.of.name());
            format!("the {} {value:?} was never seen before", rule.of.words())
        })
    }

    /// An alert. `why` adds what is known, and says it in words.
    fn alert(
        &self,
        key: &str,
        test: bool,
        sample: Option<&Sample>,
        numbers: &Numbers,
        why: impl FnOnce(&mut Map<'static>) -> String,
    ) -> Alert<'static> {
        let (sample, mut attributes) = sample.map(Sample::told).unwrap_or_default();
        let why = why(&mut attributes);
        attributes.add("why", why);
        let (from, to) = (numbers.window.0 * PANE_MS, numbers.window.1 * PANE_MS);
        // The same key in test data is another thing, so it has another id. The separator stands in no key.
        let id_key = if test { format!("\u{1f}test\u{1f}{key}") } else { key.to_owned() };
        Alert {
            alert_id: AlertId::new(&self.name, &self.version, &id_key, to, numbers.transition).0.into(),
            rule: self.name.clone().into(),
            rule_version: self.version.clone().into(),
            owner: self.owner.clone().into(),
            key: key.to_owned().into(),
            transition: numbers.transition,
            window_start: Millis(from),
            window_end: Millis(to),
            observed: numbers.observed,
            threshold: numbers.asked,
            received_at: Millis(to),
            sample: sample.into(),
            test,
            attributes,
        }
    }
}
