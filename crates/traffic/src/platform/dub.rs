//! Dub's webhooks, as a busy short-link workspace would send them.
//!
//! The shapes follow Dub's own webhook schemas; names, links and addresses are made up (documentation ranges).

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::links::{self, LINKS, Link};
use super::visitors::{self, Visitor};
use super::{Platform, merge, now};

/// Clicks, customers and new links that later events may refer to.
const REMEMBERED: usize = 200;

/// Makes events. The same seed gives the same events but for their times.
pub struct Generator {
    random: StdRng,
    /// Clicks of people, of late, with their links.
    clicks: VecDeque<(Value, &'static Link)>,
    /// Customers of late, with the click that brought them.
    customers: VecDeque<(Value, Value, &'static Link)>,
    /// Links of late that were created and not deleted.
    created: VecDeque<Value>,
    /// When a link was changed last, in milliseconds since 1970: a link is not changed twice at the same time.
    changed: i64,
}

impl Generator {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            clicks: VecDeque::new(),
            customers: VecDeque::new(),
            created: VecDeque::new(),
            changed: 0,
        }
    }

    /// A click (one in twelve a QR scan, one in fifty a bot's), as it happened now.
    pub fn click(&mut self) -> Vec<u8> {
        let link = self.link();
        let click = self.click_data(link);
        if click["bot"] == false {
            remember(&mut self.clicks, (click.clone(), link));
        }
        self.envelope("link.clicked", &json!({ "click": click, "link": link_data(link) }))
    }

    /// A click with parts of its data replaced: `patch` is merged into `data`.
    pub fn click_with(&mut self, patch: &Value) -> Vec<u8> {
        let link = &LINKS[0];
        let mut data = json!({ "click": self.click_data(link), "link": link_data(link) });
        merge(&mut data, patch);
        self.envelope("link.clicked", &data)
    }

    /// The id of a click body.
    ///
    /// # Panics
    /// When `body` is not a click that this generator made.
    #[allow(clippy::expect_used, reason = "bodies are this generator's own")]
    pub fn click_id(body: &[u8]) -> String {
        let body: Value = serde_json::from_slice(body).expect("a generated body is JSON");
        body["data"]["click"]["id"].as_str().expect("a click has an id").to_owned()
    }

    /// The same event, delivered again: a click under a new envelope, as Dub does when it prepares a delivery twice;
    /// anything else byte for byte, as it does when it retries.
    ///
    /// # Panics
    /// When `body` is not an event that this generator made.
    #[allow(clippy::expect_used, reason = "bodies are this generator's own")]
    pub fn again(&mut self, body: &[u8]) -> Vec<u8> {
        let mut event: Value = serde_json::from_slice(body).expect("a generated body is JSON");
        if event["event"] != "link.clicked" {
            return body.to_vec();
        }
        event["id"] = json!(format!("evt_{}", self.id(24)));
        event.to_string().into_bytes()
    }

    /// An event about something else than a link, as a workspace sends that has every trigger switched on.
    pub fn partner_enrolled(&mut self) -> Vec<u8> {
        let id = format!("pn_{}", self.id(16));
        self.envelope(
            "partner.enrolled",
            &json!({ "id": id, "name": "Deal Fox", "country": "DE", "status": "approved" }),
        )
    }

    /// Somebody who clicked signs up; a click if nobody has.
    fn lead(&mut self) -> Vec<u8> {
        let Some(index) = self.random.random_range(0..=self.clicks.len()).checked_sub(1) else { return self.click() };
        let (click, link) = self.clicks[index].clone();
        let number = self.random.random_range(1_000..100_000);
        let customer = json!({
            "id": format!("cus_{}", self.id(16)), "externalId": format!("user-{number}"), "name": format!("Customer {number}"),
            "email": format!("customer-{number}@example.com"), "avatar": null, "country": click["country"], "createdAt": now(),
        });
        remember(&mut self.customers, (customer.clone(), click.clone(), link));
        let data = json!({
            "eventName": "Sign up", "customer": customer, "click": click, "link": link_data(link),
            "partner": null, "metadata": null,
        });
        self.envelope("lead.created", &data)
    }

    /// A customer buys; a lead if there is none.
    fn sale(&mut self) -> Vec<u8> {
        let Some(index) = self.random.random_range(0..=self.customers.len()).checked_sub(1) else { return self.lead() };
        let (customer, click, link) = self.customers[index].clone();
        let amount = i64::from(self.random.random_range(9..400_u32)) * 100 - 1;
        let currency = if click["country"] == "US" { "usd" } else { "eur" };
        // Not every payment processor has invoices.
        let invoice =
            if self.random.random_range(0..5) > 0 { json!(format!("in_{}", self.id(18))) } else { Value::Null };
        let data = json!({
            "eventName": "Purchase", "customer": customer, "click": click, "link": link_data(link),
            "sale": { "amount": amount, "currency": currency, "paymentProcessor": "stripe", "invoiceId": invoice },
            "partner": null, "metadata": null,
        });
        self.envelope("sale.created", &data)
    }

    fn link_created(&mut self) -> Vec<u8> {
        let mut link = link_data(self.link());
        let key = self.id(7).to_lowercase();
        let short = format!("https://{}/{key}", link["domain"].as_str().unwrap_or_default());
        let new = json!({
            "id": format!("link_{}", self.id(20)), "key": key, "shortLink": short, "clicks": 0, "lastClicked": null,
            "leads": 0, "sales": 0, "saleAmount": 0, "createdAt": now(), "updatedAt": now(),
        });
        merge(&mut link, &new);
        remember(&mut self.created, link.clone());
        self.envelope("link.created", &link)
    }

    fn link_updated(&mut self) -> Vec<u8> {
        let mut link = link_data(self.link());
        self.changed = jiff::Timestamp::now().as_millisecond().max(self.changed + 1);
        let changed = jiff::Timestamp::from_millisecond(self.changed).unwrap_or_default();
        merge(&mut link, &json!({ "updatedAt": format!("{changed:.3}") }));
        self.envelope("link.updated", &link)
    }

    /// The oldest link that was created goes; if there is none, one is created.
    fn link_deleted(&mut self) -> Vec<u8> {
        match self.created.pop_front() {
            Some(link) => self.envelope("link.deleted", &link),
            None => self.link_created(),
        }
    }

    fn link(&mut self) -> &'static Link {
        links::pick(&mut self.random)
    }

    fn click_data(&mut self, link: &Link) -> Value {
        let Visitor { country, region, city, continent, ip, device, browser, os, user_agent, referrer, bot } =
            visitors::pick(&mut self.random, 50);
        let qr = link.medium == "qr" && self.random.random_range(0..10) > 0;
        json!({
            "id": self.id(16), "timestamp": now(), "url": link.url, "ip": ip, "continent": continent, "country": country,
            "city": city, "region": region, "device": device, "browser": browser, "os": os, "ua": user_agent, "bot": bot,
            "qr": qr, "referer": referrer.trim_start_matches("https://").trim_end_matches('/'), "refererUrl": referrer,
        })
    }

    fn envelope(&mut self, event: &str, data: &Value) -> Vec<u8> {
        json!({ "id": format!("evt_{}", self.id(24)), "event": event, "createdAt": now(), "data": data })
            .to_string()
            .into_bytes()
    }

    fn id(&mut self, length: usize) -> String {
        visitors::word(&mut self.random, length)
    }
}

impl Platform for Generator {
    fn event(&mut self) -> Vec<u8> {
        match self.random.random_range(0..1_000) {
            0..45 => self.lead(),
            45..60 => self.sale(),
            60..72 => self.link_created(),
            72..92 => self.link_updated(),
            92..100 => self.link_deleted(),
            _ => self.click(),
        }
    }

    fn again(&mut self, body: &[u8]) -> Vec<u8> {
        Self::again(self, body)
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

fn link_data(link: &Link) -> Value {
    let text = |value: &str| if value.is_empty() { Value::Null } else { json!(value) };
    json!({
        "id": link.id, "domain": link.domain, "key": link.key, "url": link.url,
        "shortLink": format!("https://{}/{}", link.domain, link.key), "externalId": null, "tenantId": null, "folderId": null,
        "archived": false, "expiresAt": null, "expiredUrl": null, "disabledAt": null, "password": null,
        "trackConversion": false, "proxy": false, "title": "Acme", "description": null, "image": null, "video": null,
        "utm_source": text(link.source), "utm_medium": text(link.medium), "utm_campaign": text(link.campaign),
        "utm_term": null, "utm_content": null, "rewrite": false, "doIndex": false, "ios": null, "android": null, "geo": null,
        "tags": [], "identifier": null, "comments": null, "workspaceId": "ws_acme", "projectId": "acme",
        "clicks": 1234, "lastClicked": now(), "leads": 12, "sales": 3, "saleAmount": 14700,
        "createdAt": "2026-09-01T08:00:00.000Z", "updatedAt": "2026-09-01T08:00:00.000Z", "testVariants": null,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn every_event_about_links_comes_up_and_most_are_clicks() {
        let mut generator = Generator::new(1);
        let mut counts = BTreeMap::new();
        for _ in 0..5_000 {
            let event: Value = serde_json::from_slice(&generator.event()).unwrap();
            *counts.entry(event["event"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        let names = ["lead.created", "link.clicked", "link.created", "link.deleted", "link.updated", "sale.created"];
        assert_eq!(counts.keys().collect::<Vec<_>>(), names);
        assert!((4_300..4_700).contains(&counts["link.clicked"]), "{counts:?}");
    }

    #[test]
    fn a_lead_goes_back_to_a_click_and_a_sale_to_a_customer() {
        let mut generator = Generator::new(2);
        let (mut clicks, mut customers) = (HashSet::new(), HashSet::new());
        for _ in 0..5_000 {
            let event: Value = serde_json::from_slice(&generator.event()).unwrap();
            let (click, customer) =
                (event["data"]["click"]["id"].to_string(), event["data"]["customer"]["id"].to_string());
            match event["event"].as_str().unwrap() {
                "link.clicked" => assert!(clicks.insert(click), "a click id comes once"),
                "lead.created" => assert!(clicks.contains(&click) && customers.insert(customer)),
                "sale.created" => assert!(clicks.contains(&click) && customers.contains(&customer)),
                _ => {}
            }
        }
    }

    #[test]
    fn a_click_comes_again_under_another_envelope_and_anything_else_as_it_was() {
        let mut generator = Generator::new(3);
        let click = generator.click();
        let again = generator.again(&click);
        assert_ne!(again, click);
        assert_eq!(Generator::click_id(&again), Generator::click_id(&click));
        let created = generator.link_created();
        assert_eq!(generator.again(&created), created);
    }
}
