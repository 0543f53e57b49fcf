//! Our own format, as a marketing platform would send it that runs proposals, promos, affiliates, QR codes and bio links.
//!
//! Names, links and addresses are made up (documentation ranges).

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::visitors;
use super::{Platform, merge, now};

/// A link that gets visits.
struct Link {
    id: &'static str,
    domain: &'static str,
    slug: &'static str,
    url: &'static str,
    kind: &'static str,
    campaign: &'static str,
    channel: &'static str,
    /// QR code, programme, placement; empty for links that nobody scans.
    qr: [&'static str; 3],
    /// An affiliate partner and the `utm_source` that it sends under.
    partner: [&'static str; 2],
    launch: &'static str,
    /// How many of a hundred visits are its.
    share: u32,
}

/// A link of no kind and no campaign, that gets no visits.
const PLAIN: Link = Link {
    id: "",
    domain: "go.acme.example",
    slug: "",
    url: "",
    kind: "",
    campaign: "",
    channel: "",
    qr: ["", "", ""],
    partner: ["", ""],
    launch: "",
    share: 0,
};

const LINKS: [Link; 10] = [
    Link {
        id: "l_promo_bf",
        slug: "bf",
        url: "https://shop.acme.example/black-friday?sku=9",
        kind: "promo",
        campaign: "2026q4-all-blackfriday",
        channel: "paid",
        share: 26,
        ..PLAIN
    },
    Link {
        id: "l_promo_shoes",
        slug: "shoes20",
        url: "https://shop.acme.example/shoes?lang=de",
        kind: "promo",
        campaign: "2026q4-de-shoes",
        channel: "email",
        share: 18,
        ..PLAIN
    },
    Link {
        id: "l_deal_fox",
        slug: "dealfox",
        url: "https://shop.acme.example/deal?sku=7",
        kind: "affiliate",
        campaign: "2026q4-de-affiliate",
        channel: "affiliate",
        partner: ["dealfox", "dealfox"],
        share: 10,
        ..PLAIN
    },
    Link {
        id: "l_deal_hunter",
        slug: "hunter",
        url: "https://shop.acme.example/deal?sku=12",
        kind: "affiliate",
        campaign: "2026q4-fr-affiliate",
        channel: "affiliate",
        partner: ["bargainhunter", "hunter-app"],
        share: 6,
        ..PLAIN
    },
    Link {
        id: "l_bio",
        domain: "acme.bio.example",
        slug: "links",
        url: "https://acme.example/podcast",
        kind: "bio",
        launch: "podcast-s3",
        share: 12,
        ..PLAIN
    },
    Link {
        id: "l_shelf_3",
        domain: "qr.acme.example",
        slug: "s3",
        url: "https://acme.example/instore",
        kind: "qr",
        campaign: "2026q4-de-instore",
        qr: ["qr_12", "instore", "shelf-3"],
        share: 10,
        ..PLAIN
    },
    Link {
        id: "l_window",
        domain: "qr.acme.example",
        slug: "w1",
        url: "https://acme.example/instore",
        kind: "qr",
        campaign: "2026q4-de-instore",
        qr: ["qr_13", "instore", "window-1"],
        share: 6,
        ..PLAIN
    },
    Link {
        id: "l_box",
        domain: "qr.acme.example",
        slug: "box",
        url: "https://acme.example/unboxing",
        kind: "qr",
        campaign: "2026q4-all-packaging",
        qr: ["qr_20", "packaging", "box-lid"],
        share: 6,
        ..PLAIN
    },
    Link {
        id: "l_webinar",
        slug: "webinar",
        url: "https://acme.example/webinar",
        campaign: "2026q4-us-webinar",
        channel: "social",
        share: 5,
        ..PLAIN
    },
    Link { id: "l_help", slug: "help", url: "https://help.acme.example/", share: 1, ..PLAIN },
];

/// Who was sent a proposal: one link each.
const PROPOSALS: [(&str, &str); 5] = [
    ("l_prop_umbrella", "proposal-umbrella"),
    ("l_prop_globex", "proposal-globex"),
    ("l_prop_initech", "proposal-initech"),
    ("l_prop_hooli", "proposal-hooli"),
    ("l_prop_stark", "proposal-stark"),
];

/// What goes wrong with a destination.
const FAULTS: [(&str, &str, u16); 4] = [
    ("destination_unavailable", "HTTP 503", 302),
    ("destination_unavailable", "HTTP 404", 302),
    ("unexpected_redirect", "leads to another host", 301),
    ("malformed_target", "the destination is no URL", 500),
];

/// Visits that leads may refer to.
const REMEMBERED: usize = 200;

/// Makes events. The same seed gives the same events but for their times.
pub struct Generator {
    random: StdRng,
    /// People's visits of late: the event's id and its link.
    visits: VecDeque<(String, &'static Link)>,
    outage: Option<Outage>,
}

/// A link whose destination does not work.
struct Outage {
    /// What an event says about it.
    link: Value,
    /// What is wrong: kind, words, status.
    fault: (&'static str, &'static str, u16),
    /// How many people are still to meet it.
    left: u32,
}

impl Generator {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), visits: VecDeque::new(), outage: None }
    }

    /// A click or a scan, as it happened now (one in forty a bot's).
    pub fn visit(&mut self) -> Vec<u8> {
        let link = self.link();
        let scanned = !link.qr[0].is_empty() && self.random.random_range(0..10) > 0;
        let event = self.of_link(if scanned { "qr_scan" } else { "click" }, link);
        if event["visitor"]["bot"] == false {
            if self.visits.len() == REMEMBERED {
                self.visits.pop_front();
            }
            self.visits.push_back((id_of(&event), link));
        }
        event.to_string().into_bytes()
    }

    /// Somebody opens a proposal: the rule for proposals speaks at once.
    pub fn proposal_opened(&mut self) -> Vec<u8> {
        let (id, slug) = PROPOSALS[self.random.random_range(0..PROPOSALS.len())];
        let url = format!("https://acme.example/proposals/{}", slug.trim_start_matches("proposal-"));
        let mut event = self.event_of("click", &PLAIN);
        merge(
            &mut event,
            &json!({
                "link": { "id": id, "slug": slug, "destination_url": url, "kind": "proposal" },
                "campaign": "2026q4-us-proposals", "channel": "sales",
                "utm": { "source": "sales", "medium": "email", "campaign": "2026q4-us-proposals" },
            }),
        );
        event.to_string().into_bytes()
    }

    /// Somebody meets a broken destination. Outages come one at a time, each of a link of its own and met by five people
    /// and more, so that a threshold per link is reached.
    pub fn error(&mut self) -> Vec<u8> {
        let mut outage = match self.outage.take() {
            Some(outage) => outage,
            None => self.new_outage(),
        };
        let (kind, detail, status) = outage.fault;
        let mut event = self.event_of("error", &PLAIN);
        let error = json!({ "kind": kind, "detail": detail });
        merge(&mut event, &json!({ "link": outage.link, "redirect_status": status, "error": error }));
        outage.left -= 1;
        self.outage = (outage.left > 0).then_some(outage);
        event.to_string().into_bytes()
    }

    fn new_outage(&mut self) -> Outage {
        let (id, slug) = (self.word(10), self.word(5).to_lowercase());
        let url = format!("https://shop.acme.example/{slug}");
        Outage {
            link: json!({ "id": format!("l_{id}"), "slug": slug, "destination_url": url, "kind": "promo" }),
            fault: FAULTS[self.random.random_range(0..FAULTS.len())],
            left: self.random.random_range(5..9),
        }
    }

    /// The event with parts of it replaced: `patch` is merged into it.
    pub fn event_with(&mut self, patch: &Value) -> Vec<u8> {
        let mut event = self.of_link("click", &LINKS[0]);
        merge(&mut event, patch);
        event.to_string().into_bytes()
    }

    /// The id of a body.
    ///
    /// # Panics
    /// When `body` is not an event of this format.
    #[allow(clippy::expect_used, reason = "bodies are this generator's own")]
    pub fn id(body: &[u8]) -> String {
        id_of(&serde_json::from_slice(body).expect("a generated body is JSON"))
    }

    /// A lead or a sale that goes back to a visit of late; a visit if there was none.
    fn conversion(&mut self, sale: bool) -> Vec<u8> {
        let Some(index) = self.random.random_range(0..=self.visits.len()).checked_sub(1) else { return self.visit() };
        let (click, link) = (self.visits[index].0.clone(), self.visits[index].1);
        let mut event = self.of_link(if sale { "sale" } else { "lead" }, link);
        let conversion = match sale {
            true => json!({
                "name": "order", "value_minor": i64::from(self.random.random_range(9..400_u32)) * 100 - 5,
                "currency": if self.random.random_range(0..4) == 0 { "USD" } else { "EUR" }, "click_id": click,
            }),
            false => json!({ "name": "signup", "click_id": click }),
        };
        merge(&mut event, &json!({ "conversion": conversion }));
        event.to_string().into_bytes()
    }

    fn lifecycle(&mut self, name: &str) -> Vec<u8> {
        let new = name == "link.created";
        let link = self.link();
        let mut event = self.of_link(name, link);
        if let Some(event) = event.as_object_mut() {
            event.retain(|field, _| !["visitor", "referrer", "redirect_status"].contains(&field.as_str()));
        }
        if new {
            let slug = self.word(6).to_lowercase();
            merge(&mut event, &json!({ "link": { "id": format!("l_{}", self.word(10)), "slug": slug } }));
        }
        match name {
            "link.destination_changed" => {
                merge(&mut event, &json!({ "link": { "destination_url": format!("{}#v2", link.url) } }));
            }
            "link.expired" => merge(&mut event, &json!({ "link": { "expires_at": now() } })),
            "threshold" => merge(&mut event, &json!({ "extra": { "threshold": "1000", "period": "day" } })),
            _ => {}
        }
        event.to_string().into_bytes()
    }

    fn link(&mut self) -> &'static Link {
        let mut at = self.random.random_range(0..100);
        for link in &LINKS {
            if at < link.share {
                return link;
            }
            at -= link.share;
        }
        &LINKS[0]
    }

    fn of_link(&mut self, name: &str, link: &Link) -> Value {
        let mut event = self.event_of(name, link);
        if !link.qr[0].is_empty() {
            let [id, programme, placement] = link.qr;
            merge(&mut event, &json!({ "qr": { "id": id, "programme": programme, "placement": placement } }));
        }
        let [partner, source] = link.partner;
        if !partner.is_empty() {
            merge(&mut event, &json!({ "partner": partner, "utm": { "source": source, "medium": "affiliate" } }));
        }
        for (field, text) in [("campaign", link.campaign), ("channel", link.channel), ("launch", link.launch)] {
            if !text.is_empty() {
                merge(&mut event, &json!({ field: text }));
            }
        }
        event
    }

    /// What every event has.
    fn event_of(&mut self, name: &str, link: &Link) -> Value {
        let visitor = visitors::pick(&mut self.random, 40);
        json!({
            "id": format!("ev_{}", self.word(20)), "type": name, "time": now(),
            "link": {
                "id": link.id, "domain": link.domain, "slug": link.slug, "destination_url": link.url,
                "kind": if link.kind.is_empty() { Value::Null } else { json!(link.kind) }, "tags": [],
            },
            "visitor": {
                "ip": visitor.ip, "user_agent": visitor.user_agent, "country": visitor.country,
                "region": visitor.region, "device": visitor.device.to_lowercase(), "os": visitor.os,
                "browser": visitor.browser, "bot": visitor.bot,
            },
            "referrer": visitor.referrer, "redirect_status": 302,
        })
    }

    fn word(&mut self, length: usize) -> String {
        visitors::word(&mut self.random, length)
    }
}

impl Platform for Generator {
    fn event(&mut self) -> Vec<u8> {
        if self.outage.is_some() && self.random.random_range(0..4) == 0 {
            return self.error();
        }
        match self.random.random_range(0..1_000) {
            0..2 => self.error(),
            2..10 => self.proposal_opened(),
            10..50 => self.conversion(false),
            50..66 => self.conversion(true),
            66..74 => self.lifecycle("link.created"),
            74..88 => self.lifecycle("link.edited"),
            88..93 => self.lifecycle("link.destination_changed"),
            93..98 => self.lifecycle("link.expired"),
            98..104 => self.lifecycle("threshold"),
            _ => self.visit(),
        }
    }
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap_or_default().to_owned()
}

/// The same events in the envelopes of CloudEvents 1.0.
pub struct CloudEvents(pub Generator);

impl Platform for CloudEvents {
    #[allow(clippy::expect_used, reason = "bodies are this generator's own")]
    fn event(&mut self) -> Vec<u8> {
        let body = self.0.event();
        let mut data: Value = serde_json::from_slice(&body).expect("a generated body is JSON");
        let mut taken = |field: &str| data.as_object_mut().and_then(|data| data.remove(field)).unwrap_or_default();
        let (id, time, name) = (taken("id"), taken("time"), taken("type"));
        let name = format!("com.acme.{}", name.as_str().unwrap_or_default());
        json!({
            "specversion": "1.0", "id": id, "source": "https://links.acme.example", "type": name, "time": time,
            "datacontenttype": "application/json", "data": data,
        })
        .to_string()
        .into_bytes()
    }

    fn content_type(&self) -> &'static str {
        "application/cloudevents+json"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_of_the_format_and_every_kind_of_link_comes_up() {
        let mut generator = Generator::new(1);
        let events: Vec<Value> = (0..5_000).map(|_| serde_json::from_slice(&generator.event()).unwrap()).collect();
        let texts = |path: &str| -> BTreeSet<&str> {
            events.iter().filter_map(|event| event.pointer(path).and_then(Value::as_str)).collect()
        };
        let types = [
            "click",
            "error",
            "lead",
            "link.created",
            "link.destination_changed",
            "link.edited",
            "link.expired",
            "qr_scan",
            "sale",
            "threshold",
        ];
        assert_eq!(texts("/type"), BTreeSet::from(types));
        assert_eq!(texts("/link/kind"), BTreeSet::from(["affiliate", "bio", "promo", "proposal", "qr"]));
        assert_eq!(texts("/id").len(), events.len(), "every event has an id of its own");
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        let ids = |seed| {
            let mut generator = Generator::new(seed);
            (0..500).map(|_| Generator::id(&generator.event())).collect::<Vec<_>>()
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
    }

    #[test]
    fn errors_come_as_outages_of_one_link_each() {
        let mut generator = Generator::new(3);
        let errors: Vec<String> = (0..100)
            .map(|_| serde_json::from_slice::<Value>(&generator.error()).unwrap()["link"]["id"].to_string())
            .collect();
        let outages: Vec<_> = errors.chunk_by(|one, next| one == next).collect();
        assert_eq!(BTreeSet::from_iter(&errors).len(), outages.len(), "a link breaks once");
        assert!(outages[..outages.len() - 1].iter().all(|outage| (5..9).contains(&outage.len())));
    }
}
