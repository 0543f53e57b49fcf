//! The events of a rehearsal: each scenario's own, and those that a rule of the configuration asks for.
//!
//! They are in the canonical format, whose `"test": true` makes them test data whatever the configuration says.

use std::collections::BTreeMap;

use config::Config;
use event::EventType;
use rules::{Field, Per, Rule, Trigger};
use serde_json::{Value, json};

/// The most events that one rule is sent.
pub(crate) const MOST: u64 = 2_000;
/// Clicks of the burst itself.
const BURST: usize = 300;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    Click,
    QrScan,
    Utm,
    Burst,
    Broken,
    Duplicate,
    Edited,
    Changed,
    Expired,
    Other,
}

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Click,
        Self::QrScan,
        Self::Utm,
        Self::Burst,
        Self::Broken,
        Self::Duplicate,
        Self::Edited,
        Self::Changed,
        Self::Expired,
        Self::Other,
    ];

    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::QrScan => "qr_scan",
            Self::Utm => "utm",
            Self::Burst => "burst",
            Self::Broken => "broken_destination",
            Self::Duplicate => "duplicate",
            Self::Edited => "link_edited",
            Self::Changed => "destination_changed",
            Self::Expired => "link_expired",
            Self::Other => "other",
        }
    }

    /// What is tried, in words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Click => "a click on a live link",
            Self::QrScan => "a scan of a QR code",
            Self::Utm => "a click with UTM parameters",
            Self::Burst => "many clicks within seconds",
            Self::Broken => "a destination that does not work",
            Self::Duplicate => "one event that is delivered three times",
            Self::Edited => "a link that is edited, and clicked after that",
            Self::Changed => "a link that leads elsewhere, and is clicked after that",
            Self::Expired => "a link that expires, and is reached after that",
            Self::Other => "events that other rules are about",
        }
    }
}

/// An event that is sent.
#[derive(Debug, Clone)]
pub(crate) struct MadeUp {
    pub(crate) scenario: Scenario,
    /// Its `id`.
    pub(crate) id: String,
    /// Its event key, once it was tried out.
    pub(crate) key: String,
    pub(crate) body: Value,
    /// How often it is delivered.
    pub(crate) deliveries: u64,
    /// Columns that its row must have.
    pub(crate) expects: Vec<(&'static str, String)>,
    /// The rule that it is made for; its own scenario's when empty.
    pub(crate) rule: String,
}

impl MadeUp {
    fn expecting(mut self, columns: &[(&'static str, &str)]) -> Self {
        self.expects.extend(columns.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self
    }

    fn with(mut self, patch: &Value) -> Self {
        merge(&mut self.body, patch);
        self
    }
}

/// Makes events up.
pub(crate) struct Maker<'c> {
    config: &'c Config,
    source: &'c str,
    /// Tells this rehearsal from all others.
    run: &'c str,
    now: String,
    made: usize,
}

impl<'c> Maker<'c> {
    pub(crate) fn new(config: &'c Config, source: &'c str, run: &'c str, now_ms: i64) -> Self {
        let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        Self { config, source, run, now: format!("{now:.3}"), made: 0 }
    }

    /// An event of some kind on a link that no other rehearsal knows.
    pub(crate) fn event(&mut self, scenario: Scenario, kind: &str, link: &str) -> MadeUp {
        self.made += 1;
        let (run, number) = (self.run, self.made);
        let (id, name) = (format!("rehearse-{run}-{number}"), format!("rehearse-{run}-{link}"));
        let mut body = json!({
            "id": id, "type": kind, "time": self.now, "test": true,
            "link": {
                "id": name, "domain": "go.rehearse.example", "slug": name,
                "destination_url": "https://shop.rehearse.example/landing", "tags": [],
            },
        });
        if !kind.starts_with("link.") {
            let visitor = json!({
                "ip": "192.0.2.10", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "country": "DE", "device": "desktop", "bot": false,
            });
            merge(&mut body, &json!({ "visitor": visitor, "redirect_status": 302 }));
        }
        MadeUp { scenario, id, key: String::new(), body, deliveries: 1, expects: Vec::new(), rule: String::new() }
    }

    fn click(&mut self, scenario: Scenario, link: &str) -> MadeUp {
        self.event(scenario, "click", link).expecting(&[("type", "click"), ("counted", "human")])
    }

    fn lifecycle(&mut self, scenario: Scenario, kind: &str, link: &str) -> MadeUp {
        self.event(scenario, kind, link).expecting(&[("type", "lifecycle"), ("subtype", kind)])
    }

    fn error(&mut self, scenario: Scenario, kind: &str, detail: &str, link: &str) -> MadeUp {
        let error = json!({ "error": { "kind": kind, "detail": detail } });
        self.event(scenario, "error", link).with(&error).expecting(&[("type", "error"), ("error_kind", kind)])
    }

    /// The events of the scenarios themselves.
    pub(crate) fn scenarios(&mut self) -> Vec<MadeUp> {
        let mut all = vec![self.click(Scenario::Click, "click")];
        let scan = self.event(Scenario::QrScan, "qr_scan", "qr");
        let qr = json!({ "qr": { "id": "rehearse-qr", "programme": "rehearse", "placement": "shelf-1" } });
        all.push(scan.with(&qr).expecting(&[
            ("type", "qr_scan"),
            ("qr_id", "rehearse-qr"),
            ("programme", "rehearse"),
            ("placement", "shelf-1"),
        ]));
        let utm = ["source", "medium", "campaign", "term", "content"].map(|name| (name, format!("rehearse-{name}")));
        let pairs: serde_json::Map<String, Value> =
            utm.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let query: Vec<String> = utm.iter().map(|(name, value)| format!("utm_{name}={value}")).collect();
        let url = format!("https://shop.rehearse.example/landing?{}", query.join("&"));
        let click = self.click(Scenario::Utm, "utm").with(&json!({ "utm": pairs, "link": { "destination_url": url } }));
        all.push(click.expecting(&[
            ("utm_source", "rehearse-source"),
            ("utm_medium", "rehearse-medium"),
            ("utm_campaign", "rehearse-campaign"),
            ("utm_term", "rehearse-term"),
            ("utm_content", "rehearse-content"),
        ]));
        all.extend((0..BURST).map(|_| self.click(Scenario::Burst, "burst")));
        for (kind, detail) in [
            ("destination_unavailable", "HTTP 503"),
            ("unexpected_redirect", "leads to another host"),
            ("malformed_target", "the destination is not a URL"),
        ] {
            let error = self.error(Scenario::Broken, kind, detail, "broken");
            let malformed = json!({ "link": { "destination_url": "https:/ /not a url" } });
            all.push(if kind == "malformed_target" { error.with(&malformed) } else { error });
        }
        all.push(MadeUp { deliveries: 3, ..self.click(Scenario::Duplicate, "duplicate") });
        all.push(self.lifecycle(Scenario::Edited, "link.edited", "edited"));
        all.push(self.click(Scenario::Edited, "edited"));
        let moved = json!({ "link": { "destination_url": "https://new.rehearse.example/landing" } });
        let moved_to = [("destination_host", "new.rehearse.example")];
        let changed = self.lifecycle(Scenario::Changed, "link.destination_changed", "changed");
        all.push(changed.with(&moved).expecting(&moved_to));
        all.push(self.click(Scenario::Changed, "changed").with(&moved).expecting(&moved_to));
        let expires = json!({ "link": { "expires_at": self.now } });
        all.push(self.lifecycle(Scenario::Expired, "link.expired", "expired").with(&expires));
        let reached = self.error(Scenario::Expired, "destination_unavailable", "the link has expired", "expired");
        all.push(reached.with(&json!({ "redirect_status": 410 })).expecting(&[("redirect_status", "410")]));
        all
    }

    /// The events that a rule asks for.
    ///
    /// # Errors
    /// Why a rehearsal cannot make the rule speak, in words.
    pub(crate) fn of_rule(&mut self, rule: &Rule) -> Result<Vec<MadeUp>, String> {
        let count = match rule.trigger() {
            None => return Err("it has no alert".to_owned()),
            Some(Trigger::Each) => 1,
            Some(Trigger::Count { count, .. }) if *count <= MOST => *count,
            Some(Trigger::Count { count, .. }) => {
                return Err(format!("it asks for {count} events, and a rehearsal sends {MOST} at most"));
            }
            Some(Trigger::Spike { .. } | Trigger::Silence { .. }) => {
                return Err("it learns what is usual from days of traffic".to_owned());
            }
            Some(Trigger::Broken { .. } | Trigger::Drift { .. } | Trigger::Gap { .. } | Trigger::FirstSeen(_)) => {
                return Err("it decides by what links showed before, which a rehearsal does not make up".to_owned());
            }
        };
        let (kind, subtype) = rule.when().example_kind();
        let scenario = match (kind, subtype.as_str(), count) {
            (EventType::Error, ..) => Scenario::Broken,
            (EventType::Lifecycle, "link.edited", _) => Scenario::Edited,
            (EventType::Lifecycle, "link.destination_changed", _) => Scenario::Changed,
            (EventType::Lifecycle, "link.expired", _) => Scenario::Expired,
            (EventType::Click | EventType::QrScan, _, 2..) => Scenario::Burst,
            (EventType::QrScan, ..) => Scenario::QrScan,
            (EventType::Click, ..) if asks_for_utm(rule) => Scenario::Utm,
            (EventType::Click, ..) => Scenario::Click,
            _ => Scenario::Other,
        };
        let name = if kind == EventType::Lifecycle { subtype.as_str() } else { kind.as_str() };
        let link = format!("rule-{}", self.made);
        let patch = self.patch(rule, &subtype)?;
        let events = (0..count).map(|_| {
            let event = self.event(scenario, name, &link).with(&patch).expecting(&[("type", kind.as_str())]);
            MadeUp { rule: rule.name().to_owned(), ..event }
        });
        Ok(events.collect())
    }

    /// What a rule's conditions make of an event.
    fn patch(&self, rule: &Rule, subtype: &str) -> Result<Value, String> {
        let mut patch = json!({});
        let (kind, _) = rule.when().example_kind();
        match kind {
            EventType::Error => merge(&mut patch, &json!({ "error": { "kind": subtype, "detail": "a rehearsal" } })),
            EventType::Sale => merge(
                &mut patch,
                &json!({ "conversion": { "name": "rehearsal", "value_minor": 100, "currency": "EUR" } }),
            ),
            EventType::Lead => merge(&mut patch, &json!({ "conversion": { "name": "rehearsal" } })),
            _ => {}
        }
        match rule.per() {
            Some(Per::Campaign) => merge(&mut patch, &json!({ "campaign": format!("rehearse-{}", self.run) })),
            Some(Per::Qr) => merge(&mut patch, &json!({ "qr": { "id": format!("rehearse-{}", self.run) } })),
            Some(Per::Partner) => merge(&mut patch, &json!({ "partner": self.partner() })),
            _ => {}
        }
        for condition in rule.when().conditions() {
            let value = condition.example();
            let said = match condition.field() {
                Field::Source if condition.patterns().iter().any(|pattern| pattern.matches(self.source)) => continue,
                Field::Source => return Err(format!("it is about another source than {}", self.source)),
                Field::Link => match value.split_once('/') {
                    Some((domain, slug)) => json!({ "link": { "domain": domain, "slug": slug } }),
                    None => json!({ "link": { "id": value } }),
                },
                Field::Tag => json!({ "link": { "tags": [value] } }),
                Field::PartnerApproved => self.approval(value == "true", rule)?,
                Field::Domain => json!({ "link": { "domain": value } }),
                Field::Slug => json!({ "link": { "slug": value } }),
                Field::LinkKind => json!({ "link": { "kind": value } }),
                Field::DestinationHost => json!({ "link": { "destination_url": format!("https://{value}/") } }),
                Field::Campaign => json!({ "campaign": value }),
                Field::Channel => json!({ "channel": value }),
                Field::UtmSource => json!({ "utm": { "source": value } }),
                Field::UtmMedium => json!({ "utm": { "medium": value } }),
                Field::UtmCampaign => json!({ "utm": { "campaign": value } }),
                Field::UtmTerm => json!({ "utm": { "term": value } }),
                Field::UtmContent => json!({ "utm": { "content": value } }),
                Field::Country => json!({ "visitor": { "country": value } }),
                Field::Device => json!({ "visitor": { "device": value } }),
                Field::Programme => json!({ "qr": { "programme": value } }),
                Field::Qr => json!({ "qr": { "id": value } }),
                Field::Placement => json!({ "qr": { "placement": value } }),
                Field::Partner => json!({ "partner": value }),
                Field::Launch => json!({ "launch": value }),
                Field::ErrorKind => json!({ "error": { "kind": value } }),
                Field::ReferrerClass => json!({ "referrer": referrer(&value) }),
                // What comes from a list of links or the source: the event is tried, and it is said if that is missing.
                Field::Intent | Field::Promo | Field::Owner => continue,
            };
            merge(&mut patch, &said);
        }
        Ok(patch)
    }

    /// A partner that is configured.
    fn partner(&self) -> String {
        let known: BTreeMap<_, _> = self.config.partners.iter().collect();
        known.keys().next().map_or_else(|| "rehearse-partner".to_owned(), |name| (*name).clone())
    }

    /// A partner that is approved, or not.
    fn approval(&self, approved: bool, rule: &Rule) -> Result<Value, String> {
        let asked = rule.when().conditions().iter().find(|condition| condition.field() == Field::Partner);
        let partner = asked.map_or_else(|| self.partner(), rules::Condition::example);
        let sources = self.config.partners.get(&partner);
        match (approved, sources.and_then(|sources| sources.iter().min())) {
            (true, Some(source)) => Ok(json!({ "partner": partner, "utm": { "source": source } })),
            (true, None) => Err(format!("no approved source of partner {partner:?} is configured")),
            (false, _) => Ok(json!({ "partner": partner, "utm": { "source": "rehearse-unapproved" } })),
        }
    }
}

fn asks_for_utm(rule: &Rule) -> bool {
    let utm = [Field::UtmSource, Field::UtmMedium, Field::UtmCampaign, Field::UtmTerm, Field::UtmContent];
    rule.when().conditions().iter().any(|condition| utm.contains(&condition.field()))
}

fn referrer(class: &str) -> Value {
    match class {
        "search" => json!("https://www.google.com/"),
        "social" => json!("https://www.facebook.com/"),
        "email" => json!("https://mail.google.com/"),
        "other" => json!("https://rehearse.example/"),
        _ => Value::Null,
    }
}

/// Puts a patch into a document, object by object.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
