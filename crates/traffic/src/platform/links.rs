//! The links of a busy short-link workspace. Names are made up.

use rand::RngExt;
use rand::rngs::StdRng;

/// A link that gets clicks.
pub(crate) struct Link {
    pub(crate) id: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) key: &'static str,
    pub(crate) url: &'static str,
    pub(crate) campaign: &'static str,
    pub(crate) source: &'static str,
    pub(crate) medium: &'static str,
    /// How many of a hundred clicks are its.
    share: u32,
}

pub(crate) const LINKS: [Link; 8] = [
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

/// A link, the busiest more often.
pub(crate) fn pick(random: &mut StdRng) -> &'static Link {
    let mut at = random.random_range(0..100);
    for link in &LINKS {
        if at < link.share {
            return link;
        }
        at -= link.share;
    }
    &LINKS[0]
}
