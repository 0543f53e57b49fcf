//! The channel that brought a visit, when the sender does not say: the QR code, then `utm_medium`, then the referrer.

use event::{EventType, LinkEvent};

/// `utm_medium` in lower case → channel.
const MEDIA: &[(&str, &[&str])] = &[
    ("email", &["email", "e-mail", "mail", "newsletter"]),
    ("social", &["social", "social-media", "social_media", "socialmedia", "organic-social", "organic_social"]),
    ("paid", &["paid", "cpc", "ppc", "cpm", "cpv", "display", "banner", "ads", "ad", "retargeting"]),
    ("affiliate", &["affiliate", "affiliates", "partner"]),
    ("qr", &["qr", "qrcode", "qr-code", "qr_code"]),
    ("bio", &["bio", "linkinbio", "link-in-bio", "link_in_bio"]),
    ("sales", &["sales", "outreach", "proposal"]),
    ("search", &["search", "organic", "seo", "organic-search", "organic_search"]),
    ("referral", &["referral", "link"]),
];

/// The channel, and the line of the trace that says what decided it.
pub(crate) fn of(event: &LinkEvent<'_>) -> Option<(&'static str, &'static str)> {
    if event.r#type == EventType::QrScan || !event.qr_id.is_empty() {
        return Some(("qr", "channel:qr"));
    }
    if let Some(channel) = of_medium(&event.utm_medium) {
        return Some((channel, "channel:utm_medium"));
    }
    let channel = match event.referrer_class.as_ref() {
        "direct" => "direct",
        "search" => "search",
        "social" => "social",
        "email" => "email",
        "other" => "referral",
        _ => return None,
    };
    Some((channel, "channel:referrer"))
}

fn of_medium(medium: &str) -> Option<&'static str> {
    let medium = medium.trim();
    let named = |names: &&[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(medium));
    if let Some((channel, _)) = MEDIA.iter().find(|(_, names)| named(names)) {
        return Some(channel);
    }
    // paid-social, paid_search, paidsocial: whatever is paid for is paid.
    medium.get(..4).filter(|start| start.eq_ignore_ascii_case("paid")).map(|_| "paid")
}
