//! What tells a bot that no list names, and what tells the browser, system and device of a person.

/// A word that programs use of themselves.
#[derive(Debug)]
pub(super) struct Word {
    /// In lower case.
    pub(super) text: &'static str,
    /// The kind that it makes.
    pub(super) kind: &'static str,
    /// Whether a letter may follow: `crawl` in `crawler`. After `bot` none may, or `bottle` would be one.
    pub(super) open: bool,
    /// Whether it counts in the agent of a browser too, behind the device. Phones and apps of people are called
    /// `CamScanner`, `Spider 8` and `M bot 51`.
    pub(super) in_browsers: bool,
}

const fn word(text: &'static str, kind: &'static str, open: bool, in_browsers: bool) -> Word {
    Word { text, kind, open, in_browsers }
}

/// The general words, the more telling first.
pub(super) const WORDS: &[Word] = &[
    word("preview", "preview", true, true),
    word("unfurl", "preview", true, true),
    word("scan", "scanner", true, false),
    word("inspect", "scanner", true, true),
    word("validator", "scanner", true, true),
    word("checker", "scanner", true, true),
    word("check", "scanner", false, false),
    word("audit", "scanner", true, false),
    word("detect", "scanner", true, false),
    word("discovery", "scanner", true, false),
    word("analyzer", "scanner", true, false),
    word("grab", "scanner", true, false),
    word("monitor", "monitor", false, true),
    word("synthetic", "monitor", true, true),
    word("headless", "program", true, true),
    word("bot", "crawler", false, true),
    word("bots", "crawler", false, true),
    word("crawl", "crawler", true, true),
    word("spider", "crawler", true, true),
    word("scrape", "crawler", true, true),
    word("archiv", "crawler", true, true),
    word("fetch", "program", true, true),
    word("feed", "crawler", true, false),
    word("rss", "crawler", false, false),
    word("search", "crawler", false, false),
    word("parser", "program", true, false),
    word("proxy", "program", true, false),
    word("library", "program", true, false),
    word("agent", "program", false, false),
    word("server", "program", true, false),
    word("download", "program", true, false),
    word("retriever", "program", true, false),
    word("lookup", "program", true, false),
    word("extractor", "program", true, false),
    word("finder", "program", true, false),
    word("http", "program", true, false),
    word("url", "program", true, false),
    word("java", "program", false, false),
    word("perl", "program", false, false),
    word("python", "program", true, false),
];

/// What stands before `bot` and `scan` in names of phones and apps.
pub(super) const HARMLESS_BEFORE: &[(&str, &str)] = &[("bot", "cu"), ("scan", "cam"), ("http", "lib")];

/// An address to write to or to read at: people's browsers have none.
pub(super) const CONTACTS: &[&str] = &["http://", "https://", "www."];

/// What browsers hold, and programs hardly ever.
pub(super) const BROWSER_MARKS: &[&str] =
    &["safari/", "firefox/", "applewebkit", "gecko/", "presto/", "trident/", "msie ", "opera/", "opera mini"];

/// What a device says of itself; a bare `Mozilla/5.0` without any of it is a program's.
pub(super) const SYSTEM_MARKS: &[&str] =
    &["android", "linux", "windows", "mac os", "iphone", "ipad", "symbian", "cros ", "darwin", "tizen"];

/// Browsers inside apps, and the channel of the app.
pub(super) const APPS: &[(&str, &str)] = &[
    ("fban/", "social"),
    ("fbav/", "social"),
    ("instagram", "social"),
    ("snapchat", "social"),
    ("pinterest", "social"),
    ("musical_ly", "social"),
    ("bytedancewebview", "social"),
    ("linkedinapp", "social"),
    ("twitter", "social"),
    (" line/", "social"),
    ("micromessenger", "social"),
    ("kakaotalk", "social"),
    ("barcelona ", "social"),
    ("telegram-android", "social"),
    ("teams/", "chat"),
    ("slack/", "chat"),
];

/// The places of the device, the system and the browser in [`CLASSES`].
pub(super) const DEVICE: usize = 0;
pub(super) const OS: usize = 1;
pub(super) const BROWSER: usize = 2;

/// What a person's agent holds, and the class that it means; the first of a kind counts.
pub(super) const CLASSES: [&[(&str, &str)]; 3] = [
    &[
        ("ipad", "tablet"),
        ("tablet", "tablet"),
        ("kindle", "tablet"),
        ("smart-tv", "tv"),
        ("smarttv", "tv"),
        ("hbbtv", "tv"),
        ("appletv", "tv"),
        ("android tv", "tv"),
        ("bravia", "tv"),
        ("crkey", "tv"),
        ("iphone", "mobile"),
        ("ipod", "mobile"),
        ("mobile", "mobile"),
        ("opera mini", "mobile"),
        ("windows nt", "desktop"),
        ("macintosh", "desktop"),
        ("x11;", "desktop"),
        ("cros ", "desktop"),
    ],
    &[
        ("windows phone", "Windows Phone"),
        ("tizen", "Tizen"),
        ("harmonyos", "HarmonyOS"),
        ("kaios", "KaiOS"),
        ("iphone", "iOS"),
        ("ipad", "iOS"),
        ("ipod", "iOS"),
        ("android", "Android"),
        ("cros ", "Chrome OS"),
        ("windows", "Windows"),
        ("mac os x", "macOS"),
        ("macintosh", "macOS"),
        ("linux", "Linux"),
        ("x11;", "Linux"),
    ],
    &[
        ("samsungbrowser/", "Samsung Internet"),
        ("ucbrowser/", "UC Browser"),
        ("yabrowser/", "Yandex Browser"),
        ("vivaldi/", "Vivaldi"),
        ("duckduckgo/", "DuckDuckGo"),
        ("edg/", "Edge"),
        ("edga/", "Edge"),
        ("edgios/", "Edge"),
        ("edge/", "Edge"),
        ("opr/", "Opera"),
        ("opera", "Opera"),
        ("opios/", "Opera"),
        ("fxios/", "Firefox"),
        ("firefox/", "Firefox"),
        ("crios/", "Chrome"),
        ("chrome/", "Chrome"),
        ("trident/", "Internet Explorer"),
        ("msie ", "Internet Explorer"),
        ("safari/", "Safari"),
    ],
];
