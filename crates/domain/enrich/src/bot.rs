//! Who is no person: crawlers, link previews and scanners, prefetchers, monitors, programs.

use std::hash::{BuildHasher, RandomState};

use quick_cache::unsync::Cache;

/// User agents that are remembered. Real traffic has a few thousand.
const REMEMBERED: usize = 16_384;

/// What a user agent in lower case holds, and the name under which it is counted. The first match counts.
const SIGNATURES: &[(&str, &str)] = &[
    // Search engines and indexes.
    ("googlebot", "googlebot"),
    ("google-inspectiontool", "googlebot"),
    ("storebot-google", "googlebot"),
    ("adsbot-google", "adsbot-google"),
    ("mediapartners-google", "mediapartners-google"),
    ("bingbot", "bingbot"),
    ("bingpreview", "bingpreview"),
    ("adidxbot", "adidxbot"),
    ("duckduckbot", "duckduckbot"),
    ("yandex.com/bots", "yandexbot"),
    ("baiduspider", "baiduspider"),
    ("applebot", "applebot"),
    ("petalbot", "petalbot"),
    ("yahoo! slurp", "slurp"),
    ("seznambot", "seznambot"),
    ("ahrefsbot", "ahrefsbot"),
    ("semrushbot", "semrushbot"),
    ("mj12bot", "mj12bot"),
    ("dotbot", "dotbot"),
    ("archive.org_bot", "archive.org"),
    // Language models.
    ("gptbot", "gptbot"),
    ("chatgpt-user", "chatgpt-user"),
    ("oai-searchbot", "oai-searchbot"),
    ("claudebot", "claudebot"),
    ("claude-user", "claude-user"),
    ("perplexitybot", "perplexitybot"),
    ("bytespider", "bytespider"),
    ("ccbot", "ccbot"),
    ("amazonbot", "amazonbot"),
    ("meta-externalagent", "meta-externalagent"),
    // Previews of links in chats and feeds.
    ("facebookexternalhit", "facebookexternalhit"),
    ("facebookcatalog", "facebookcatalog"),
    ("facebot", "facebot"),
    ("twitterbot", "twitterbot"),
    ("slackbot", "slackbot"),
    ("slack-imgproxy", "slack-imgproxy"),
    ("linkedinbot", "linkedinbot"),
    ("discordbot", "discordbot"),
    ("telegrambot", "telegrambot"),
    ("whatsapp/", "whatsapp"),
    ("skypeuripreview", "skypeuripreview"),
    ("microsoftpreview", "microsoftpreview"),
    ("pinterestbot", "pinterestbot"),
    ("redditbot", "redditbot"),
    ("mastodon/", "mastodon"),
    ("bluesky cardyb", "bluesky-cardyb"),
    ("iframely", "iframely"),
    ("embedly", "embedly"),
    // Scanners of links in mail, and proxies of mail readers.
    ("proofpoint", "proofpoint"),
    ("mimecast", "mimecast"),
    ("barracuda", "barracuda"),
    ("zscaler", "zscaler"),
    ("safelinks", "safelinks"),
    ("microsoft office existence discovery", "office-discovery"),
    ("ms-office", "ms-office"),
    ("googleimageproxy", "googleimageproxy"),
    ("yahoomailproxy", "yahoomailproxy"),
    ("virustotal", "virustotal"),
    ("urlscan", "urlscan"),
    ("google-safety", "google-safety"),
    ("google-read-aloud", "google-read-aloud"),
    // Prefetchers.
    ("chrome privacy preserving prefetch proxy", "chrome-prefetch"),
    ("google web preview", "google-web-preview"),
    // Monitors.
    ("uptimerobot", "uptimerobot"),
    ("pingdom", "pingdom"),
    ("statuscake", "statuscake"),
    ("site24x7", "site24x7"),
    ("datadog", "datadog"),
    ("newrelicpinger", "newrelic"),
    ("better uptime", "better-uptime"),
    // Browsers that nobody sits before.
    ("headlesschrome", "headlesschrome"),
    ("phantomjs", "phantomjs"),
    ("puppeteer", "puppeteer"),
    ("playwright", "playwright"),
    ("selenium", "selenium"),
    ("chrome-lighthouse", "lighthouse"),
    // Programs.
    ("curl/", "curl"),
    ("wget/", "wget"),
    ("python-requests", "python-requests"),
    ("python-urllib", "python-urllib"),
    ("python-httpx", "python-httpx"),
    ("aiohttp", "aiohttp"),
    ("scrapy", "scrapy"),
    ("go-http-client", "go-http-client"),
    ("apache-httpclient", "apache-httpclient"),
    ("java/", "java"),
    ("axios/", "axios"),
    ("node-fetch", "node-fetch"),
    ("undici", "undici"),
    ("libwww-perl", "libwww-perl"),
    ("guzzlehttp", "guzzlehttp"),
    ("postmanruntime", "postman"),
    ("insomnia/", "insomnia"),
    ("reqwest/", "reqwest"),
    ("k6/", "k6"),
    // What calls itself one.
    ("crawler", "crawler"),
    ("spider", "spider"),
    ("scanner", "scanner"),
    ("bot/", "bot"),
    ("bot;", "bot"),
    ("bot)", "bot"),
    ("bot ", "bot"),
    ("+http", "contact-url"),
];

/// The names of bots by user agent.
#[derive(Debug)]
pub(crate) struct Bots {
    // By hash: the user agent itself is not kept. The hash is keyed anew in each process, so nobody can aim at it.
    remembered: Cache<u64, Option<&'static str>>,
    hasher: RandomState,
}

impl Default for Bots {
    fn default() -> Self {
        Self { remembered: Cache::new(REMEMBERED), hasher: RandomState::new() }
    }
}

impl Bots {
    /// The name of the bot, or `None` when the user agent may be a person's, or is not known.
    pub(crate) fn name(&mut self, user_agent: &str) -> Option<&'static str> {
        if user_agent.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(user_agent);
        if let Some(name) = self.remembered.get(&hash) {
            return *name;
        }
        let name = recognise(user_agent);
        self.remembered.insert(hash, name);
        name
    }
}

fn recognise(user_agent: &str) -> Option<&'static str> {
    // A maker of phones is called Cubot.
    let text = user_agent.to_ascii_lowercase().replace("cubot", "");
    if text.ends_with("bot") {
        return Some("bot");
    }
    SIGNATURES.iter().find(|(signature, _)| text.contains(signature)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_are_named_and_people_are_not() {
        let mut bots = Bots::default();
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Some("googlebot")),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Some("slackbot")),
            ("facebookexternalhit/1.1", Some("facebookexternalhit")),
            ("WhatsApp/2.23.20.0 A", Some("whatsapp")),
            ("curl/8.5.0", Some("curl")),
            ("SomethingNew/1.0 (+https://example.com/about)", Some("contact-url")),
            ("ExampleBot", Some("bot")),
            ("Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 Chrome/124.0 Mobile Safari/537.36", None),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(bots.name(user_agent), expected, "{user_agent}");
            assert_eq!(bots.name(user_agent), expected, "remembered: {user_agent}");
        }
    }
}
