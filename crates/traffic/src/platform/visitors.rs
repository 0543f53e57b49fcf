//! People, and who is none: what a platform says about a visitor. Addresses are from the documentation ranges.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// Country, region and edge city, the busiest first and more often.
const PLACES: [(&str, &str, &str, &str); 10] = [
    ("DE", "DE-BE", "Berlin", "EU"),
    ("DE", "DE-BY", "Munich", "EU"),
    ("DE", "DE-HH", "Hamburg", "EU"),
    ("DE", "DE-BE", "Berlin", "EU"),
    ("FR", "FR-IDF", "Paris", "EU"),
    ("US", "US-CA", "San Francisco", "NA"),
    ("US", "US-NY", "New York", "NA"),
    ("AT", "AT-9", "Vienna", "EU"),
    ("CH", "CH-ZH", "Zurich", "EU"),
    ("NL", "Unknown", "Unknown", "EU"),
];

/// Device, browser, operating system, user agent.
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

const BOTS: [&str; 4] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
];

const REFERRERS: [&str; 6] = [
    "(direct)",
    "(direct)",
    "https://www.google.com/",
    "https://www.instagram.com/",
    "https://mail.example/",
    "https://news.example/story",
];

/// What a platform says about one visitor.
pub(crate) struct Visitor {
    pub(crate) country: &'static str,
    pub(crate) region: &'static str,
    pub(crate) city: &'static str,
    pub(crate) continent: &'static str,
    /// Empty for visitors from Europe, as Dub has it.
    pub(crate) ip: String,
    pub(crate) device: &'static str,
    pub(crate) browser: &'static str,
    pub(crate) os: &'static str,
    pub(crate) user_agent: &'static str,
    pub(crate) referrer: &'static str,
    pub(crate) bot: bool,
}

/// A visitor; one in `bots` is none.
pub(crate) fn pick(random: &mut StdRng, bots: u32) -> Visitor {
    let (country, region, city, continent) = PLACES[random.random_range(0..PLACES.len())];
    let (device, browser, os, agent) = AGENTS[random.random_range(0..AGENTS.len())];
    let referrer = REFERRERS[random.random_range(0..REFERRERS.len())];
    let bot = random.random_range(0..bots) == 0;
    let user_agent = if bot { BOTS[random.random_range(0..BOTS.len())] } else { agent };
    let ip = match continent {
        "EU" => String::new(),
        _ => format!("198.51.100.{}", random.random_range(1..255)),
    };
    Visitor { country, region, city, continent, ip, device, browser, os, user_agent, referrer, bot }
}

/// Letters and digits, as platforms make their ids of.
pub(crate) fn word(random: &mut StdRng, length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(ALPHABET[random.next_u32() as usize % ALPHABET.len()])).collect()
}
