//! The made-up day: its size, its events in the order of receipt, and its rules.

use super::MINUTE;

/// Days of rows that are learned from, and visits of a link in an hour of them.
const LEARNED: i64 = 16;
const AN_HOUR: i64 = 30;
/// Links that are known.
pub(super) const KNOWN: [&str; 8] = ["usual", "spike", "spiked", "news", "drop", "moved", "crawled", "kept"];
/// Where links lead, and where one of them leads from a moment on.
pub(super) const EXPECTED: &str = "shop.acme.example";
pub(super) const ELSEWHERE: &str = "evil.example.net";

/// How large the day is.
pub(super) struct Size {
    pub(super) clicks: u64,
    links: u64,
    pub(super) minutes: i64,
}

impl Size {
    pub(super) fn of_environment() -> Self {
        match std::env::var("HOOKLINE_TEST_DAY").ok().and_then(|clicks| clicks.parse().ok()) {
            Some(clicks) => Self { clicks, links: 5_000, minutes: 1_440 },
            None => Self { clicks: 20_000, links: 300, minutes: 120 },
        }
    }
}

/// An event of the day, as the reference and the sender know it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// When it is received, in milliseconds since 1970.
    pub(super) at: i64,
    /// Its own time is so much earlier.
    pub(super) late_ms: i64,
    pub(super) r#type: &'static str,
    pub(super) source: &'static str,
    pub(super) slug: String,
    pub(super) kind: &'static str,
    pub(super) campaign: &'static str,
    pub(super) host: &'static str,
    /// What the platform itself has counted of the link.
    pub(super) counter: Option<u64>,
    pub(super) who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Human,
    Bot,
    Internal,
    Test,
}

impl Seen {
    /// A person's click on a promo link.
    pub(super) fn human(at: i64, slug: &str) -> Self {
        Self {
            at,
            late_ms: 0,
            r#type: "click",
            source: "acme",
            slug: slug.to_owned(),
            kind: "promo",
            campaign: "",
            host: EXPECTED,
            counter: None,
            who: Who::Human,
        }
    }

    /// Its slug, as the platform has it.
    pub(super) fn slug(&self) -> String {
        format!("{}{}", if self.is_test() { "zz-" } else { "" }, self.slug)
    }

    pub(super) fn is_test(&self) -> bool {
        self.who == Who::Test
    }

    /// Whether rules are about it.
    pub(super) fn counts(&self) -> bool {
        !matches!(self.who, Who::Bot | Who::Internal)
    }
}

/// SplitMix64: the same day on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// The visits of known links in the days before `end` (a minute since 1970): minute and place among [`KNOWN`].
pub(super) fn before(end: i64) -> Vec<(i64, usize)> {
    let mut visits = Vec::new();
    let mut random = Random(7);
    for minute in end - LEARNED * 1_440..end {
        for link in 0..KNOWN.len() {
            if random.below(60) < AN_HOUR as u64 {
                visits.push((minute, link));
            }
        }
    }
    visits
}

/// The day from a minute on, in the order of receipt.
pub(super) fn day(start: i64, size: &Size) -> Vec<Seen> {
    let mut random = Random(11);
    let mut seen = Vec::new();
    let length = size.minutes * MINUTE;
    let human = |at: i64, slug: &str| Seen::human(start * MINUTE + at, slug);
    for _ in 0..size.clicks {
        let at = random.below(length as u64) as i64;
        let slug = format!("l{}", random.below(size.links));
        let who = match random.below(100) {
            0..4 => Who::Bot,
            4..6 => Who::Internal,
            6 => Who::Test,
            _ => Who::Human,
        };
        seen.push(Seen { kind: "bio", who, ..human(at, &slug) });
    }
    let mut counter = 1_000;
    for minute in 0..size.minutes {
        for slug in KNOWN {
            if random.below(60) < AN_HOUR as u64 {
                // A link that leads elsewhere from the middle of the day on.
                let host = if slug == "moved" && minute >= size.minutes / 2 { ELSEWHERE } else { EXPECTED };
                let at = minute * MINUTE + random.below(MINUTE as u64) as i64;
                seen.push(Seen { host, ..human(at, slug) });
            }
        }
        // A source that goes silent after two fifths of the day.
        if minute % 2 == 0 && minute < size.minutes * 2 / 5 {
            seen.push(Seen { source: "beta", kind: "bio", ..human(minute * MINUTE + 77, "beta") });
        }
        // A link of which the platform counts more than it sends, until it falls asleep in the middle of the day.
        for n in (0..3).filter(|_| minute < size.minutes / 2) {
            counter += 1;
            let is_lost = minute >= size.minutes / 4 && n == 1;
            if !is_lost {
                let at = minute * MINUTE + n * 20_000 + 3;
                seen.push(Seen { kind: "bio", counter: Some(counter), ..human(at, "metered") });
            }
        }
    }
    let mut burst = |of: i64, number: i64, within: i64, like: Seen| {
        for n in 0..number {
            let at = start * MINUTE + length * of / 100 + n * within * MINUTE / number + 5;
            seen.push(Seen { at, ..like.clone() });
        }
    };
    // Two spikes, a newsletter, and a launch that is planned.
    burst(20, 150, 5, human(0, "spike"));
    burst(70, 400, 12, human(0, "spiked"));
    burst(40, 260, 6, Seen { campaign: "news", ..human(0, "news") });
    burst(50, 300, 10, human(0, "drop"));
    // As many by bots, by our own people, from test links, and what a sender had kept: these are not spikes.
    burst(30, 200, 5, Seen { who: Who::Bot, ..human(0, "crawled") });
    burst(34, 200, 5, Seen { who: Who::Internal, ..human(0, "crawled") });
    burst(38, 260, 5, Seen { who: Who::Test, campaign: "news", ..human(0, "tried") });
    burst(60, 200, 5, Seen { late_ms: 3_600_000, ..human(0, "kept") });
    // A broken destination, and a poster that is scanned.
    burst(45, 5, 5, Seen { r#type: "error", ..human(0, "broken") });
    burst(55, 3, 30, Seen { r#type: "qr_scan", kind: "poster", ..human(0, "poster") });
    seen.sort_by_key(|one| one.at);
    seen
}

/// What the rules go by, in the words of the configuration; `drop` is when the launch is, in minutes since 1970.
pub(super) fn rules(drop: (i64, i64)) -> String {
    let time = |minute: i64| jiff::Timestamp::from_millisecond(minute * MINUTE).unwrap();
    let mut text = format!(
        "[ignore.internal]\nnetworks = [\"198.51.100.0/24\"]\n[ignore.test]\nslug_prefixes = [\"zz-\"]\n\
         [catalogue]\nfile = \"links.csv\"\n[destination.log]\nkind = \"csv\"\nowner = \"me\"\npath = \"alerts.csv\"\n\
         [launch.drop]\nlinks = [\"go.acme.example/drop\"]\nfrom = {}\nuntil = {}\n",
        time(drop.0),
        time(drop.1)
    );
    for (name, when, alert) in [
        (
            "spike",
            r#"event = "visit", link_kind = "promo""#,
            r#"spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h", not_during = "launches""#,
        ),
        ("quiet", r#"event = "visit""#, r#"silence = "learned", per = "source""#),
        ("still", r#"event = "visit""#, r#"silence = "30m", per = "source""#),
        ("failing", r#"event = "error""#, r#"count = 3, per = "link", within = "10m", quiet_for = "1h""#),
        ("burst", r#"event = "visit""#, r#"count = 200, per = "campaign", within = "5m""#),
        ("scan", r#"event = "qr_scan""#, "each = true"),
        (
            "broken",
            "",
            r#"broken = true, per = "link", at_least = 3, within = "10m", over_after = "1h", quiet_for = "1h""#,
        ),
        ("drift", "", r#"drift = true, per = "link", at_least = 3, quiet_for = "1h""#),
        ("gap", r#"event = "visit""#, r#"gap = "5%", per = "link", within = "24h", at_least = 50"#),
    ] {
        text.push_str(&format!(
            "[rule.{name}]\nowner = \"me\"\nwhen = {{ {when} }}\nalert = {{ {alert} }}\nsend = {{ to = [\"log\"] }}\n"
        ));
    }
    text
}

/// The list of links.
pub(super) fn links() -> String {
    format!("link,expected_host\ngo.acme.example/moved,{EXPECTED}\n")
}
