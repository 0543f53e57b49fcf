//! What the platforms of one lane tell of links, until the lane has read it back.

use std::collections::HashMap;

use enrich::{Catalogue, MAX_LINKS, facts_after};
use event::{LinkEvent, LinkRecord, Outcome, Teller};

/// What this lane has written and the catalogue that it labels by may not have yet.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<String, LinkRecord<'static>>);

impl Told {
    /// The records to write for an event, given what its adapter found in it (`facts`). None for a repeat, for test
    /// data, and for an event that is older than what is known.
    pub(crate) fn after(
        &mut self,
        event: &LinkEvent<'_>,
        facts: Vec<LinkRecord<'static>>,
        catalogue: Option<&Catalogue>,
    ) -> Vec<LinkRecord<'static>> {
        if facts.is_empty() || event.outcome != Outcome::Event || event.test {
            return Vec::new();
        }
        let creates = event.subtype == "link.created";
        let mut records = Vec::with_capacity(facts.len());
        for told in facts {
            let link = told.link.to_string();
            let known = self.0.get(&link).cloned().or_else(|| {
                let known = catalogue?.find("", "", &link)?.platform()?;
                Some(known.record(Teller::Platform, &link).into_owned())
            });
            if let Some(record) = facts_after(told, known, creates) {
                self.0.insert(link, record.clone());
                records.push(record);
            }
        }
        records
    }

    /// Forgets what a newer catalogue has.
    pub(crate) fn read_back(&mut self, catalogue: Option<&Catalogue>) {
        // A catalogue that is full passes over what is new: it never comes back.
        let is_full = catalogue.is_some_and(|catalogue| catalogue.len() >= MAX_LINKS);
        self.0.retain(|link, written| {
            let known = catalogue.and_then(|catalogue| catalogue.find("", "", link)?.platform());
            known.map_or(!is_full, |known| known.record(Teller::Platform, link) != *written)
        });
    }
}

#[cfg(test)]
mod tests {
    use enrich::Links;
    use event::{EventType, Millis};

    use super::*;

    fn edited(
        subtype: &'static str,
        at: i64,
        campaign: &'static str,
    ) -> (LinkEvent<'static>, Vec<LinkRecord<'static>>) {
        let event = LinkEvent {
            r#type: EventType::Lifecycle,
            subtype: subtype.into(),
            event_time: Millis(at),
            link_id: "l_1".into(),
            campaign: campaign.into(),
            ..LinkEvent::default()
        };
        let facts = enrich::platform_facts(&event, &[]);
        (event, facts)
    }

    #[test]
    fn an_event_goes_by_what_the_lane_has_written_before_it_reads_it_back() {
        let mut told = Told::default();
        let tell = |told: &mut Told, subtype, at, campaign, catalogue: Option<&Catalogue>| {
            let (event, facts) = edited(subtype, at, campaign);
            told.after(&event, facts, catalogue)
                .into_iter()
                .map(|record| record.campaign.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(tell(&mut told, "link.created", 10, "a", None), ["a"]);
        assert_eq!(tell(&mut told, "link.edited", 9, "b", None), [""; 0], "older than what was written");
        assert_eq!(tell(&mut told, "link.edited", 11, "", None), ["a"], "says nothing of the campaign");
        let mut links = Links::default();
        links.apply(0, 0, &LinkRecord { at: Millis(20), campaign: "z".into(), ..edited("", 20, "").1.remove(0) });
        let catalogue = links.catalogue();
        told.read_back(Some(&catalogue));
        assert_eq!(tell(&mut told, "link.edited", 12, "c", Some(&catalogue)), ["c"], "its own is not read back yet");
        let written = told.0.get("l_1").cloned().expect("written");
        links.apply(1, 0, &written);
        told.read_back(Some(&links.catalogue()));
        assert!(told.0.is_empty());
        assert_eq!(tell(&mut told, "link.edited", 11, "d", Some(&links.catalogue())), [""; 0]);
    }

    #[test]
    fn repeats_and_test_data_tell_nothing() {
        let (event, facts) = edited("link.created", 10, "a");
        let repeat = LinkEvent { outcome: Outcome::Duplicate, ..event.clone() };
        assert!(Told::default().after(&repeat, facts.clone(), None).is_empty());
        let test = LinkEvent { test: true, ..event };
        assert!(Told::default().after(&test, facts, None).is_empty());
    }
}
