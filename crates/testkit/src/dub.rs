//! Dub's webhooks, as a busy short-link workspace would send them.
//!
//! The shapes follow Dub's own webhook schemas; names, links and addresses are made up (documentation ranges).

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

/// A link that gets clicks.
struct Link {
    id: &'static str,
    domain: &'static str,
    key: &'static str,
    url: &'static str,
    campaign: &'static str,
    source: &'static str,
    medium: &'static str,
    /// How many of a hundred clicks are its.
    share: u32,
}

const LINKS: [Link; 8] = [
    Link {
        id: "link_spring",
        domain: "go.acme.example",
        key: "spring",
        url: "https://acme.example/p/spring?sku=9&utm_term=x",
        campaign: "2026q4-de-spring",
        source: "newsletter",
        medium: "email",
        share: 30,
    },
    Link {
        id: "link_shoes",
        domain: "go.acme.example",
        key: "shoes",
        url: "https://acme.example/shoes?lang=de",
        campaign: "2026q4-de-shoes",
        source: "instagram",
        medium: "social",
        share: 20,
    },
    Link {
        id: "link_black",
        domain: "go.acme.example",
        key: "blackfriday",
        url: "https://acme.example/bf",
        campaign: "2026q4-all-blackfriday",
        source: "google",
        medium: "cpc",
        share: 15,
    },
    Link {
        id: "link_bio",
        domain: "acme.bio.example",
        key: "podcast",
        url: "https://acme.example/podcast",
        campaign: "",
        source: "",
        medium: "",
        share: 10,
    },
    Link {
        id: "link_deal",
        domain: "go.acme.example",
        key: "dealfox-7",
        url: "https://shop.acme.example/deal?sku=7",
        campaign: "2026q4-de-affiliate",
        source: "dealfox",
        medium: "affiliate",
        share: 10,
    },
    Link {
        id: "link_shelf",
        domain: "qr.acme.example",
        key: "shelf-3",
        url: "https://acme.example/instore",
        campaign: "2026q4-de-instore",
        source: "shelf",
        medium: "qr",
        share: 8,
    },
    Link {
        id: "link_offer",
        domain: "go.acme.example",
        key: "proposal-umbrella",
        url: "https://acme.example/proposals/umbrella",
        campaign: "2026q4-us-proposals",
        source: "sales",
        medium: "email",
        share: 4,
    },
    Link {
        id: "link_help",
        domain: "go.acme.example",
        key: "help",
        url: "https://help.acme.example/",
        campaign: "",
        source: "",
        medium: "",
        share: 3,
    },
];

const COUNTRIES: [&str; 8] = ["DE", "DE", "DE", "FR", "US", "AT", "CH", "NL"];
const AGENTS: [(&str, &str, &str, &str); 5] = [
    (
        "Mobile",
        "Mobile Safari",
        "iOS",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
    ),
    (
        "Mobile",
        "Chrome",
        "Android",
        "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    ),
    (
        "Desktop",
        "Chrome",
        "Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("Desktop", "Firefox", "Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (
        "Desktop",
        "Safari",
        "Mac OS",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15",
    ),
];
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const REFERRERS: [&str; 6] = [
    "(direct)",
    "(direct)",
    "https://www.google.com/",
    "https://www.instagram.com/",
    "https://mail.example/",
    "https://news.example/story",
];

/// Makes events. The same seed gives the same events but for their times.
pub struct Generator {
    random: StdRng,
}

impl Generator {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// A click (one in twelve a QR scan, one in fifty a bot's), as it happened now.
    pub fn click(&mut self) -> Vec<u8> {
        let link = self.link();
        let click = self.click_data(link);
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

    /// The same click, delivered again under a new envelope, as Dub does when it prepares a delivery twice.
    ///
    /// # Panics
    /// When `body` is not a click that this generator made.
    #[allow(clippy::expect_used, reason = "bodies are this generator's own")]
    pub fn again(&mut self, body: &[u8]) -> Vec<u8> {
        let mut body: Value = serde_json::from_slice(body).expect("a generated body is JSON");
        body["id"] = json!(format!("evt_{}", self.id(24)));
        body.to_string().into_bytes()
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

    fn click_data(&mut self, link: &Link) -> Value {
        let bot = self.random.random_range(0..50) == 0;
        let (device, browser, os, agent) = AGENTS[self.random.random_range(0..AGENTS.len())];
        let country = COUNTRIES[self.random.random_range(0..COUNTRIES.len())];
        let referer = REFERRERS[self.random.random_range(0..REFERRERS.len())];
        let qr = link.medium == "qr" && self.random.random_range(0..10) > 0;
        let ip =
            if country == "US" { format!("198.51.100.{}", self.random.random_range(1..255)) } else { String::new() };
        json!({
            "id": self.id(16), "timestamp": now(), "url": link.url, "ip": ip, "continent": "EU", "country": country,
            "city": "Unknown", "region": format!("{country}-1"), "device": device, "browser": browser, "os": os,
            "ua": if bot { BOT } else { agent }, "bot": bot, "qr": qr,
            "referer": if referer == "(direct)" { "(direct)" } else { referer.trim_start_matches("https://").trim_end_matches('/') },
            "refererUrl": referer,
        })
    }

    fn envelope(&mut self, event: &str, data: &Value) -> Vec<u8> {
        json!({ "id": format!("evt_{}", self.id(24)), "event": event, "createdAt": now(), "data": data })
            .to_string()
            .into_bytes()
    }

    fn id(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(ALPHABET[self.random.next_u32() as usize % ALPHABET.len()])).collect()
    }
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

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

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
