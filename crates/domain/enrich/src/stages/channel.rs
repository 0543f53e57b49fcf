//! The channel that brought a visit, when the sender does not say. The order of the rules is in `docs/labels.md`.

use std::collections::HashMap;

use event::{EventType, LinkEvent};

use super::agent::Agent;
use super::{Labelling, referrer};
use crate::Hints;

/// What the configuration says in `[channels]`: it goes before our own tables. Keys are folded ([`fold`]), hosts are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channels {
    /// `utm_medium` → channel.
    pub medium: HashMap<String, String>,
    /// `utm_source` → channel.
    pub source: HashMap<String, String>,
    /// Referring host → channel; the hosts below it, too.
    pub referrer: HashMap<String, String>,
}

/// A text by which spellings are one: lower case, without blanks, `_` and `-`.
pub fn fold(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'));
    kept.flat_map(char::to_lowercase).collect()
}

/// Folded `utm_medium` → channel.
const MEDIA: &[(&str, &[&str])] = &[
    ("email", &["email", "mail", "newsletter", "emailnewsletter", "emailmarketing", "mailing", "edm"]),
    (
        "social",
        &[
            "social",
            "socialmedia",
            "socialnetwork",
            "socialnetworks",
            "sm",
            "organicsocial",
            "socialorganic",
            "socialpost",
        ],
    ),
    (
        "paid",
        &[
            "display",
            "banner",
            "banners",
            "expandable",
            "interstitial",
            "ads",
            "ad",
            "adwords",
            "googleads",
            "retargeting",
            "remarketing",
            "native",
            "nativeads",
            "sponsored",
            "sponsoredpost",
            "sponsorship",
            "sem",
            "programmatic",
            "crossnetwork",
        ],
    ),
    ("affiliate", &["affiliate", "affiliates", "affiliatemarketing", "partner", "partners", "partnership"]),
    ("qr", &["qr", "qrcode", "qrcodes"]),
    ("bio", &["bio", "linkinbio", "biolink"]),
    ("sales", &["sales", "outreach", "proposal"]),
    ("search", &["search", "organic", "seo", "organicsearch", "searchorganic"]),
    ("sms", &["sms", "text", "textmessage", "mms", "rcs"]),
    ("push", &["mobile", "notification", "notifications", "inapp"]),
    ("chat", &["chat", "messaging", "instantmessage"]),
    ("ai", &["ai", "aiassistant", "aiassistants", "llm"]),
    ("video", &["video", "organicvideo", "videos"]),
    ("audio", &["audio", "podcast", "radio"]),
    ("referral", &["referral", "ref", "link", "app"]),
];

/// Folded `utm_source` without a dot → channel. Sources that are hosts are looked up as referrers.
const SOURCES: &[(&str, &[&str])] = &[
    (
        "email",
        &[
            "email",
            "mail",
            "newsletter",
            "mailchimp",
            "klaviyo",
            "brevo",
            "mailerlite",
            "activecampaign",
            "campaignmonitor",
            "sendgrid",
            "gmail",
            "outlook",
        ],
    ),
    (
        "social",
        &[
            "facebook",
            "fb",
            "meta",
            "instagram",
            "ig",
            "threads",
            "linkedin",
            "twitter",
            "tiktok",
            "pinterest",
            "reddit",
            "youtube",
            "snapchat",
            "bluesky",
            "mastodon",
            "whatsapp",
            "telegram",
            "discord",
            "vk",
            "weibo",
            "wechat",
            "xing",
            "tumblr",
            "quora",
            "line",
            "hackernews",
        ],
    ),
    ("search", &["google", "bing", "yahoo", "duckduckgo", "ecosia", "baidu", "yandex", "naver", "qwant", "seznam"]),
    ("ai", &["chatgpt", "openai", "perplexity", "claude", "copilot", "gemini", "grok", "deepseek", "mistral"]),
    ("chat", &["slack", "teams", "msteams", "microsoftteams"]),
    ("sms", &["sms", "twilio"]),
    ("push", &["push", "pushnotification", "pushnotifications", "webpush", "firebase"]),
    ("qr", &["qr", "qrcode"]),
    ("bio", &["linktree", "linkinbio", "bio"]),
    ("audio", &["podcast", "spotify"]),
];

/// Services of Google that are assistants, though their class is `other`.
const ASSISTANTS_OF_OTHERS: [&str; 3] = ["gemini.google.com", "bard.google.com", "notebooklm.google.com"];

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.is_visit
        && at.event.channel.is_empty()
        && let Some((channel, because)) = of(at.event, at.hints, &at.agent, &at.known.settings.channels)
    {
        at.event.channel = channel.to_owned().into();
        at.event.trace.push(because.into());
    }
}

/// The channel, and the line of the trace that says what decided it.
fn of<'c>(
    event: &LinkEvent<'_>,
    hints: &Hints<'_>,
    agent: &Agent,
    overrides: &'c Channels,
) -> Option<(&'c str, &'static str)> {
    if event.r#type == EventType::QrScan || !event.qr_id.is_empty() {
        return Some(("qr", "channel:qr"));
    }
    let by_medium = (!event.utm_medium.is_empty()).then(|| of_medium(&event.utm_medium, overrides)).flatten();
    if let Some(channel) = by_medium {
        return Some((channel, "channel:utm_medium"));
    }
    if hints.paid_click {
        return Some(("paid", "channel:click_id"));
    }
    let by_source = (!event.utm_source.is_empty()).then(|| of_source(&event.utm_source, overrides)).flatten();
    if let Some(channel) = by_source {
        return Some((channel, "channel:utm_source"));
    }
    let host = event.referrer_host.as_ref();
    if let Some(channel) = of_host(host, overrides) {
        return Some((channel, "channel:referrer"));
    }
    if matches!(event.referrer_class.as_ref(), "" | "direct")
        && let Some(app) = agent.app
    {
        return Some((app, "channel:in_app_browser"));
    }
    let channel = match event.referrer_class.as_ref() {
        _ if ASSISTANTS_OF_OTHERS.contains(&host) => "ai",
        "other" => "referral",
        class => ["direct", "search", "social", "email", "chat", "ai"].into_iter().find(|known| *known == class)?,
    };
    Some((channel, "channel:referrer"))
}

fn listed(table: &[(&'static str, &[&str])], folded: &str) -> Option<&'static str> {
    table.iter().find(|(_, names)| names.contains(&folded)).map(|(channel, _)| *channel)
}

fn of_medium<'c>(medium: &str, overrides: &'c Channels) -> Option<&'c str> {
    let folded = fold(medium);
    if let Some(channel) = overrides.medium.get(&folded) {
        return Some(channel);
    }
    if let Some(channel) = listed(MEDIA, &folded) {
        return Some(channel);
    }
    // Whatever is paid for is paid: paid-social, social_paid, paidsearch; and by the click, the view or the sale: cpc, cpa, ppc.
    let mut words = medium.split(|c: char| !c.is_alphanumeric());
    let paid =
        folded.starts_with("paid") || folded.contains("cp") || words.any(|word| word.eq_ignore_ascii_case("paid"));
    if paid || folded == "ppc" {
        return Some("paid");
    }
    // As GA4 has them: youtube_video; web-push, push_notification, mobile app.
    if folded.contains("video") {
        return Some("video");
    }
    let push = folded.ends_with("push") || folded.contains("mobile") || folded.contains("notification");
    push.then_some("push")
}

fn of_source<'c>(source: &str, overrides: &'c Channels) -> Option<&'c str> {
    let folded = fold(source);
    if let Some(channel) = overrides.source.get(&folded) {
        return Some(channel);
    }
    if let Some(channel) = listed(SOURCES, &folded) {
        return Some(channel);
    }
    // ChatGPT adds utm_source=chatgpt.com.
    let host = source.trim().to_ascii_lowercase();
    if !host.contains('.') {
        return None;
    }
    if ASSISTANTS_OF_OTHERS.contains(&host.as_str()) {
        return Some("ai");
    }
    let class = referrer::known_class(&host)?.as_str();
    ["search", "social", "email", "chat", "ai"].into_iter().find(|channel| *channel == class)
}

fn of_host<'c>(host: &str, overrides: &'c Channels) -> Option<&'c str> {
    if overrides.referrer.is_empty() || host.is_empty() {
        return None;
    }
    let mut part = Some(host);
    while let Some(host) = part {
        if let Some(channel) = overrides.referrer.get(host) {
            return Some(channel);
        }
        part = host.split_once('.').map(|(_, parent)| parent);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium(text: &str) -> Option<String> {
        of_medium(text, &Channels::default()).map(str::to_owned)
    }

    #[test]
    fn the_spellings_of_a_medium_are_one() {
        for (texts, channel) in [
            (&["email", "E-Mail", "e mail", "e_mail", " newsletter "][..], "email"),
            (&["social", "social media", "social-network", "social network", "sm", "organic_social"], "social"),
            (
                &[
                    "cpc",
                    "CPC",
                    "ppc",
                    "cpa",
                    "cpm",
                    "cpp",
                    "cpv",
                    "paid",
                    "paid-social",
                    "social_paid",
                    "paidsearch",
                    "display",
                    "banner",
                    "expandable",
                    "interstitial",
                    "retargeting",
                    "remarketing",
                    "native",
                    "sponsored",
                    "sem",
                    "cross-network",
                ],
                "paid",
            ),
            (&["affiliate", "partner"], "affiliate"),
            (&["qr", "qr code", "QR_Code"], "qr"),
            (&["organic", "organic search"], "search"),
            (&["sms", "SMS", "text message"], "sms"),
            (
                &[
                    "push",
                    "web-push",
                    "mobile",
                    "notification",
                    "push_notification",
                    "Push-Notifications",
                    "mobile app",
                ],
                "push",
            ),
            (&["ai-assistant", "ai assistant"], "ai"),
            (&["video", "youtube_video", "video-ad"], "video"),
            (&["audio", "podcast"], "audio"),
            (&["referral", "link", "app"], "referral"),
        ] {
            for text in texts {
                assert_eq!(medium(text).as_deref(), Some(channel), "{text}");
            }
        }
        for unknown in ["website", "carrier pigeon", "unpaid", "(none)"] {
            assert_eq!(medium(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_source_is_a_name_or_a_host_of_the_map() {
        for (source, channel) in [
            ("email", Some("email")),
            ("Facebook", Some("social")),
            ("l.facebook.com", Some("social")),
            ("chatgpt.com", Some("ai")),
            ("gemini.google.com", Some("ai")),
            ("google", Some("search")),
            ("news.example", None),
            ("partner-x", None),
        ] {
            assert_eq!(of_source(source, &Channels::default()), channel, "{source}");
        }
    }

    #[test]
    fn the_configuration_goes_before_the_tables() {
        let one = |key: &str, channel: &str| HashMap::from([(key.to_owned(), channel.to_owned())]);
        let channels = Channels {
            medium: one("newsletter", "crm"),
            source: one("acmenews", "email"),
            referrer: one("wiki.example", "chat"),
        };
        assert_eq!(of_medium("News-Letter", &channels), Some("crm"));
        assert_eq!(of_source("acme_news", &channels), Some("email"));
        assert_eq!(of_host("de.wiki.example", &channels), Some("chat"));
        assert_eq!(of_host("notwiki.example", &channels), None);
    }

    #[test]
    fn no_name_stands_twice_in_a_table() {
        for table in [MEDIA, SOURCES] {
            let names: Vec<_> = table.iter().flat_map(|(_, names)| names.iter()).collect();
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len());
            assert!(names.iter().all(|name| fold(name) == **name));
        }
    }
}
