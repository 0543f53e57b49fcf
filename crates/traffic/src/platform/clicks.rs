//! Platforms that tell of clicks and of little else, each in its own words: Bitly, Rebrandly, Short.io, Shlink, Twilio.
//!
//! The shapes follow their documentation; names, links, addresses and numbers are made up (documentation ranges).

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::links::{self, Link};
use super::visitors::{self, Visitor};
use super::{Platform, now};

/// Declares a platform: its events come from one source of chance, and the same seed gives the same but for their times.
macro_rules! platforms {
    ($($(#[$meta:meta])* $name:ident)*) => {$(
        $(#[$meta])*
        pub struct $name(StdRng);

        impl $name {
            /// Starts from a seed.
            pub fn new(seed: u64) -> Self {
                Self(StdRng::seed_from_u64(seed))
            }
        }
    )*};
}

platforms! {
    /// Bitly's engagement webhooks: one a request.
    Bitly
    /// Rebrandly: batches of one to three clicks, of either generation.
    Rebrandly
    /// Short.io: forms.
    ShortIo
    /// Shlink, through a bridge: visits, and now and then one to nothing or a new short URL.
    Shlink
    /// Twilio's link shortening events: batches of one to three CloudEvents.
    Twilio
}

/// A click: on which link, and whose (one in forty is a bot's).
fn click(random: &mut StdRng) -> (&'static Link, Visitor) {
    (links::pick(random), visitors::pick(random, 40))
}

/// One in `of`.
fn one_in(random: &mut StdRng, of: u32) -> bool {
    random.random_range(0..of) == 0
}

fn hex(random: &mut StdRng) -> String {
    format!("{:032x}", random.random::<u128>())
}

impl Platform for Bitly {
    fn event(&mut self) -> Vec<u8> {
        let (link, visitor) = click(&mut self.0);
        let id = uuid::Builder::from_random_bytes(self.0.random()).into_uuid().to_string();
        let bitlink = format!("{}/{}", link.domain, link.key);
        json!({
            "event_id": id, "datetime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(), "url": link.url,
            "bitlink": bitlink, "passed_params": "", "country": visitor.country,
            "referrer": if visitor.referrer == "(direct)" { "direct" } else { visitor.referrer },
            "device_type": visitor.device, "webhook_guid": "W0acme", "organization_guid": "O0acme", "group_guid": "B0acme",
            "references": { "bitlink": format!("https://api-ssl.bitly.com/v4/bitlinks/{bitlink}") },
        })
        .to_string()
        .into_bytes()
    }
}

impl Platform for Rebrandly {
    fn event(&mut self) -> Vec<u8> {
        let clicks: Vec<Value> = (0..self.0.random_range(1..4)).map(|_| self.click()).collect();
        json!({ "data": clicks, "key": "userId_acme-configId_acme" }).to_string().into_bytes()
    }
}

impl Rebrandly {
    fn click(&mut self) -> Value {
        let (link, visitor) = click(&mut self.0);
        let country = visitor.country;
        let (place, place_data) = match one_in(&mut self.0, 2) {
            true => ("location", json!({ "country": country.to_lowercase() })),
            false => ("geo", json!({ "country": country, "region": visitor.region, "city": visitor.city })),
        };
        let name = |text: &str| text.to_lowercase().replace(' ', "-");
        let device = if visitor.device == "Mobile" { "smartphone" } else { "desktop" };
        let host = visitor.referrer.trim_start_matches("https://").split('/').next().unwrap_or_default();
        let direct = host == "(direct)";
        json!({
            "timestamp": format!("{:.6}", Timestamp::now()),
            "client": {
                "agent": {
                    "browser": { "name": name(visitor.browser), "version": format!("{}.0", self.0.random_range(120..146)) },
                    "os": { "name": name(visitor.os), "version": format!("{}", self.0.random_range(10..20)) },
                    "device": { "name": device }, "type": if visitor.bot { "bot" } else { "human" },
                },
                place: place_data, "language": "en",
            },
            "referral": {
                "hostname": if direct { "" } else { host }, "protocol": "https", "path": "/",
                "origin": { "type": if direct { "direct" } else { "website" }, "name": "" },
            },
            "route": {
                "id": link.id, "slashtag": link.key, "createdAt": "2026-09-01T08:00:00.000",
                "domain": { "id": "d0acme", "raw": link.domain, "zone": "" }, "destination": { "raw": link.url },
            },
        })
    }
}

impl Platform for ShortIo {
    fn event(&mut self) -> Vec<u8> {
        let (link, visitor) = click(&mut self.0);
        // There is no id: the address and the time make a click.
        let host = format!("2001:db8::{:x}:{:x}", self.0.random::<u16>(), self.0.random::<u16>());
        let referrer = if visitor.referrer == "(direct)" { "null" } else { visitor.referrer };
        let path = format!("/{}", link.key);
        let (date, mut form) = (now(), form_urlencoded::Serializer::new(String::new()));
        form.extend_pairs([
            ("Host", host.as_str()),
            ("Date", date.as_str()),
            ("Referrer", referrer),
            ("Origin", link.domain),
        ]);
        form.extend_pairs([("User-agent", visitor.user_agent), ("Path", path.as_str())]);
        for (name, value) in [("utm_source", link.source), ("utm_medium", link.medium), ("utm_campaign", link.campaign)]
        {
            form.append_pair(name, if value.is_empty() { "null" } else { value });
        }
        form.finish().into_bytes()
    }

    fn content_type(&self) -> &'static str {
        "application/x-www-form-urlencoded"
    }
}

impl Platform for Shlink {
    fn event(&mut self) -> Vec<u8> {
        if one_in(&mut self.0, 60) {
            return self.created();
        }
        let (link, visitor) = click(&mut self.0);
        let mut visit = json!({
            "referer": if visitor.referrer == "(direct)" { "" } else { visitor.referrer }, "date": local_now(),
            "userAgent": visitor.user_agent, "potentialBot": visitor.bot, "redirectUrl": link.url,
            "visitedUrl": format!("https://{}/{}", link.domain, link.key),
            "visitLocation": { "cityName": visitor.city, "countryCode": visitor.country, "regionName": visitor.region },
        });
        if one_in(&mut self.0, 40) {
            let gone = visitors::word(&mut self.0, 8);
            let kind = if one_in(&mut self.0, 2) { "invalid_short_url" } else { "regular_404" };
            visit["type"] = json!(kind);
            visit["visitedUrl"] = json!(format!("https://{}/{gone}", link.domain));
            visit["redirectUrl"] = Value::Null;
            return json!({ "visit": visit }).to_string().into_bytes();
        }
        let mut short_url = short_url(link, link.key);
        // The count is what tells two visits of one second apart.
        short_url["visitsSummary"]["total"] = json!(self.0.random_range(0..1_u64 << 40));
        json!({ "shortUrl": short_url, "visit": visit }).to_string().into_bytes()
    }
}

impl Shlink {
    fn created(&mut self) -> Vec<u8> {
        let code = visitors::word(&mut self.0, 7);
        json!({ "shortUrl": short_url(links::pick(&mut self.0), &code) }).to_string().into_bytes()
    }
}

fn short_url(link: &Link, code: &str) -> Value {
    json!({
        "shortCode": code, "shortUrl": format!("https://{}/{code}", link.domain), "longUrl": link.url,
        "dateCreated": local_now(), "visitsSummary": { "total": 0, "nonBots": 0, "bots": 0 }, "tags": [],
        "meta": { "validSince": null, "validUntil": null, "maxVisits": null }, "domain": link.domain, "title": "Acme",
    })
}

/// The time as a server in Berlin writes it, to the second.
fn local_now() -> String {
    let berlin = TimeZone::fixed(offset(1));
    Timestamp::now().to_zoned_datetime(berlin).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

impl Platform for Twilio {
    fn event(&mut self) -> Vec<u8> {
        let events: Vec<Value> = (0..self.0.random_range(1..4)).map(|_| self.click()).collect();
        Value::Array(events).to_string().into_bytes()
    }
}

impl Twilio {
    fn click(&mut self) -> Value {
        let (link, visitor) = click(&mut self.0);
        // Each message has links of its own.
        let short = format!("https://{}/{}", link.domain, visitors::word(&mut self.0, 10));
        let (account, message) = (hex(&mut self.0), hex(&mut self.0));
        json!({
            "specversion": "1.0", "type": "com.twilio.daptbt.link-shortening.link-clicked", "source": format!("AB{account}"),
            "id": format!("EZ{}", hex(&mut self.0)), "time": now(), "datacontenttype": "application/json",
            "dataschema": "https://events-schemas.twilio.com/DapTbt.LinkClicked/3",
            "data": {
                "message_sid": format!("SM{message}"), "account_sid": format!("AC{account}"), "to": "+15005550006",
                "from": "+15005550001", "link": link.url, "shortened_link": short, "link_create_time": now(),
                "click_time": now(), "user_agent": visitor.user_agent,
            },
        })
    }
}
