//! Events that a rule is about, made up, and what the rule says about them: for previews and rehearsals.

use event::{Alert, EventType, LinkEvent, Millis, SignalBatch, Transition};
use jiff::tz::TimeZone;

use crate::trial::START_MS;
use crate::{
    COUNTER, Condition, Detector, EventPattern, Field, FirstSeenRule, GapRule, Per, Rule, SignalSum, Subject, Trial,
    Trigger, When,
};

/// The usual traffic of a made-up key, in ten minutes.
const USUAL: u64 = 60;
/// In so many milliseconds.
const TEN_MINUTES: i64 = 600_000;
/// What stands where a pattern takes any text.
const ANY: &str = "example";
/// Countries that a pattern with `*` may mean.
const COUNTRIES: [&str; 8] = ["DE", "US", "FR", "GB", "ES", "IT", "NL", "AT"];

impl Condition {
    /// A text that meets the condition.
    #[must_use]
    pub fn example(&self) -> String {
        let pattern = self.patterns().first().map_or("*", |pattern| pattern.as_str());
        let country = || COUNTRIES.into_iter().find(|code| self.patterns()[0].matches(code));
        match self.field() {
            Field::Country if pattern.contains('*') => country().unwrap_or("DE").to_owned(),
            Field::PartnerApproved if pattern == "*" => "true".to_owned(),
            _ => pattern.replace('*', ANY),
        }
    }
}

impl When {
    /// A kind of event that it accepts, with its finer kind.
    #[must_use]
    pub fn example_kind(&self) -> (EventType, String) {
        let asks = |fields: &[Field]| self.conditions().iter().any(|condition| fields.contains(&condition.field()));
        let visit = match asks(&[Field::Qr, Field::Programme, Field::Placement]) {
            true => EventType::QrScan,
            false => EventType::Click,
        };
        let broken = || {
            let kind = self.conditions().iter().find(|condition| condition.field() == Field::ErrorKind);
            (EventType::Error, kind.map_or_else(|| "destination_unavailable".to_owned(), Condition::example))
        };
        match self.events().first() {
            Some(EventPattern::Type(EventType::Error)) => broken(),
            Some(EventPattern::Type(EventType::Lifecycle)) => (EventType::Lifecycle, "link.edited".to_owned()),
            Some(EventPattern::Type(one)) => (*one, String::new()),
            Some(EventPattern::Subtype(glob)) => {
                let known = EventPattern::SUBTYPES.into_iter().find(|name| glob.matches(name));
                let name = known.map_or_else(|| glob.as_str().replace('*', ANY), str::to_owned);
                (if name.starts_with("link.") { EventType::Lifecycle } else { EventType::Error }, name)
            }
            None if asks(&[Field::ErrorKind]) => broken(),
            Some(EventPattern::Visit) | None => (visit, String::new()),
        }
    }
}

impl Rule {
    /// An event that the rule is about, with the key that it counts per.
    #[must_use]
    pub fn example(&self) -> LinkEvent<'static> {
        let (r#type, subtype) = self.when().example_kind();
        let error_kind = if r#type == EventType::Error { subtype.clone() } else { String::new() };
        let mut event = LinkEvent {
            r#type,
            subtype: subtype.into(),
            error_kind: error_kind.into(),
            received_at: Millis(START_MS),
            event_time: Millis(START_MS),
            event_key: "example-event-1".into(),
            source: "example-source".into(),
            link_id: "example-link".into(),
            domain: "go.example.com".into(),
            slug: "example".into(),
            destination_host: "shop.example.com".into(),
            ..LinkEvent::default()
        };
        match self.per() {
            Some(Per::Campaign) => event.campaign = ANY.into(),
            Some(Per::Qr) => event.qr_id = ANY.into(),
            Some(Per::Partner) => event.partner = ANY.into(),
            Some(Per::Owner) => event.owner = ANY.into(),
            _ => {}
        }
        match self.trigger() {
            Some(Trigger::Broken { .. }) => event.redirect_status = 404,
            Some(Trigger::Drift { .. }) => event.trace.push("catalogue:expected_host:www.example.org".into()),
            Some(Trigger::FirstSeen(first)) => match first.of {
                Subject::Channel => event.channel = ANY.into(),
                Subject::Campaign | Subject::CampaignPrefix => event.campaign = ANY.into(),
                Subject::LinkKind => event.link_kind = ANY.into(),
                Subject::Partner => event.partner = ANY.into(),
                Subject::UtmSource => event.utm_source = ANY.into(),
                Subject::Domain | Subject::DestinationHost => {}
            },
            _ => {}
        }
        // A partner that is approved, or not, is one.
        if self.when().conditions().iter().any(|condition| condition.field() == Field::PartnerApproved) {
            event.partner = ANY.into();
        }
        self.when().conditions().iter().for_each(|condition| condition.field().set(&mut event, &condition.example()));
        event
    }

    /// What a rule on delivery gaps says of a counter that grows while nothing arrives.
    fn gap_alerts(&self, mut event: LinkEvent<'static>, gap: &GapRule) -> Vec<Alert<'static>> {
        let mut detector = Detector::new(std::slice::from_ref(self), 1);
        let mut alerts = Vec::new();
        let (begin, grown) = (1_000, 2 * gap.at_least.max(20));
        for (hour, counter) in [(0, Some(begin)), (2, Some(begin + grown)), (gap.within_hours + 24, None)] {
            let at = START_MS + hour * 3_600_000;
            let signals = counter.and_then(|counter| {
                event.extra.0.retain(|(name, _)| name != COUNTER);
                event.extra.add(COUNTER, counter.to_string());
                let seen = self.observe(&event, at)?;
                Some(SignalSum::new(self, &seen, 1, &event).signal())
            });
            let batch = SignalBatch { lane: 0, watermark: Millis(at), signals: signals.into_iter().collect() };
            // There is one lane, and it is number 0.
            let taken = detector.take(&batch).unwrap_or_default();
            alerts.extend(taken.findings.into_iter().map(|finding| finding.alert));
        }
        alerts
    }

    /// The alerts that the rule raises about its [`Rule::example`], a start and, for conditions that end, the end.
    /// They are made by the evaluators that run, and say times by that zone; none for a rule without an alert.
    #[must_use]
    pub fn example_alerts(&self, zone: Option<&TimeZone>) -> Vec<Alert<'static>> {
        let event = self.example();
        let alerts = |rule: &Self, count, within_ms, usual| {
            Trial { event: event.clone(), count, within_ms, usual }.alerts(rule, zone)
        };
        let mut told = match self.trigger() {
            None => return Vec::new(),
            Some(Trigger::Each) => return self.each_alert(&event).into_iter().collect(),
            Some(Trigger::Count { count, within_ms, .. }) => alerts(self, *count, *within_ms, 0),
            Some(Trigger::Spike { spike, .. }) => {
                let within_ms = i64::from(spike.within_minutes) * 60_000;
                let usual = USUAL * within_ms.unsigned_abs() / TEN_MINUTES.unsigned_abs() + 1;
                let many = (usual * u64::from(spike.times_hundredths) / 100).max(spike.at_least) * 2;
                alerts(self, many, within_ms, usual)
            }
            Some(Trigger::Silence { .. }) => alerts(self, 0, TEN_MINUTES, USUAL),
            Some(Trigger::Broken { broken, .. }) => alerts(self, u64::from(broken.at_least.max(1)), 60_000, 0),
            Some(Trigger::Drift { drift, .. }) => alerts(self, u64::from(drift.at_least.max(1)), 60_000, 0),
            Some(Trigger::Gap { gap, .. }) => self.gap_alerts(event.clone(), gap),
            Some(Trigger::FirstSeen(first)) => {
                // The first event that there is: nothing is learned before it.
                let first = FirstSeenRule { learn_minutes: 0, known: Vec::new(), ..first.clone() };
                let when = self.when().clone();
                let rule = Self::new(self.name(), self.owner(), when, Some(Trigger::FirstSeen(first)));
                return alerts(&rule, 1, 60_000, 0);
            }
        };
        let start = told.iter().position(|alert| alert.transition == Transition::Fired);
        let Some(start) = start else { return Vec::new() };
        told.drain(..start);
        let end = told.iter().position(|alert| alert.transition == Transition::Resolved);
        told.truncate(1 + end.unwrap_or(0));
        if end.is_some_and(|end| end > 1) {
            // What fires again before it ends adds nothing here.
            told.drain(1..told.len() - 1);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BrokenRule, DriftRule, Sensitivity, SilenceRule, Spike};

    fn triggers() -> Vec<Trigger> {
        let spike = Spike {
            times_hundredths: 300,
            within_minutes: 5,
            at_least: 50,
            quiet_for_minutes: 60,
            sensitivity: Sensitivity::Normal,
        };
        let silence = SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
        let mut triggers = vec![Trigger::Each];
        for per in Per::EVERY {
            triggers.push(Trigger::count(500, per, 300_000, 0).unwrap());
            triggers.push(Trigger::Spike { spike, per, not_during_launches: false });
            triggers.push(Trigger::Silence { silence, per });
            let broken = BrokenRule {
                at_least: 3,
                percent: 10,
                within_minutes: 10,
                over_after_minutes: 60,
                quiet_for_minutes: 60,
            };
            triggers.push(Trigger::Broken { broken, per });
            triggers
                .push(Trigger::Gap { gap: GapRule { share_basis_points: 500, within_hours: 24, at_least: 50 }, per });
        }
        triggers.push(Trigger::Drift { drift: DriftRule { at_least: 3, quiet_for_minutes: 60 }, per: Per::Link });
        for (_, of) in Subject::ALL {
            triggers.push(Trigger::FirstSeen(FirstSeenRule { of, learn_minutes: 1_440, known: vec![] }));
        }
        triggers
    }

    #[test]
    fn every_trigger_speaks_about_its_example_and_conditions_end() {
        for trigger in triggers() {
            let when = When::new(EventPattern::parse("visit"), []);
            let alerts = Rule::new("r", "o", when, Some(trigger.clone())).example_alerts(None);
            let transitions: Vec<Transition> = alerts.iter().map(|alert| alert.transition).collect();
            match trigger {
                Trigger::Each | Trigger::FirstSeen(_) => assert_eq!(transitions, [Transition::Each], "{trigger:?}"),
                Trigger::Silence { .. } => assert_eq!(transitions[0], Transition::Fired, "{trigger:?}"),
                // Each by its name, so that a new one leads here, and from here to the list above.
                Trigger::Count { .. }
                | Trigger::Spike { .. }
                | Trigger::Broken { .. }
                | Trigger::Drift { .. }
                | Trigger::Gap { .. } => {
                    assert_eq!(transitions, [Transition::Fired, Transition::Resolved], "{trigger:?}");
                }
            }
        }
    }

    #[test]
    fn an_example_says_times_in_the_zone_that_is_asked_for() {
        let silence = SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
        let rule = Rule::new("r", "o", When::default(), Some(Trigger::Silence { silence, per: Per::Source }));
        let why = |zone: Option<&TimeZone>| rule.example_alerts(zone)[0].attributes.get("why").to_owned();
        // It begins at 2027-01-14T00:00:00Z.
        assert!(why(None).contains("usual for Thursday 00:00 UTC is "), "{}", why(None));
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert!(why(Some(&berlin)).contains("usual for Thursday 01:00 CET is "), "{}", why(Some(&berlin)));
    }

    proptest! {
        #[test]
        fn an_example_is_what_its_rule_is_about(
            event in prop::sample::select(EventPattern::names().chain(["link.*", "*", ""]).collect::<Vec<_>>()),
            fields in prop::collection::btree_map(prop::sample::select(Field::ALL.to_vec()), "[a-z*]{1,8}", 0..4),
        ) {
            // What comes with the event is not asked for otherwise here.
            let own = |field: Field| matches!(field, Field::PartnerApproved | Field::Country | Field::ErrorKind);
            let conditions = fields.iter().filter(|(field, _)| !own(**field));
            let conditions = conditions.map(|(field, pattern)| Condition::new(*field, [pattern]));
            let when = When::new(EventPattern::parse(event), conditions);
            let rule = Rule::new("r", "o", when, Some(Trigger::Each));
            prop_assert!(rule.when().mismatch(&rule.example()).is_none(), "{:?}", rule.when().mismatch(&rule.example()));
        }
    }
}
