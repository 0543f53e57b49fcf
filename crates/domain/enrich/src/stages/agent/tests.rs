use super::*;

#[test]
fn bots_are_told_with_their_kind_and_people_are_not() {
    let mut agents = Agents::default();
    for (user_agent, expected) in [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler:googlebot"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview:slackbot"),
        ("facebookexternalhit/1.1", "preview:facebookexternalhit"),
        ("WhatsApp", "preview:whatsapp"),
        ("WhatsApp/2.23.20.0 A", "preview:whatsapp"),
        ("Perplexity-User/1.0", "assistant:perplexity-user"),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0", "assistant:chatgpt-user"),
        ("curl/8.5.0", "program:curl"),
        ("Uptime-Kuma/1.23.16", "monitor:uptime-kuma"),
        ("BlueCoat DRTR", "scanner:bluecoat"),
        ("SomethingNew/1.0 (+https://example.com/about)", "crawler:contact"),
        ("SomethingNew (ops@example.com) Safari/1", "crawler:contact"),
        ("ExampleBot", "crawler:bot"),
        ("KlarnaBot-PriceWatcher/1.0", "crawler:bot"),
        ("cohere-ai", "crawler:cohere-ai"),
        ("new-thing", "program:bare-name"),
        ("new-thing/2.0.1", "program:bare-name"),
        ("Mozilla/5.0", "program:bare-name"),
        ("Mozilla/5.0 (compatible)", "program:bare-name"),
    ] {
        let expected = format!("user_agent:{expected}");
        assert_eq!(agents.read(user_agent).bot, Some(expected.as_str()), "{user_agent}");
        assert_eq!(agents.read(user_agent).bot, Some(expected.as_str()), "remembered: {user_agent}");
    }
    let android = |device: &str, app: &str| {
        format!(
            "Mozilla/5.0 (Linux; Android 13; {device}) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 \
             Chrome/124.0.0.0 Mobile Safari/537.36{app}"
        )
    };
    for person in [
        android("CUBOT P80", ""),
        android("M bot 51 Build/MRA58K; wv", ""),
        android("VR BOT 552", ""),
        android("XBot Junior", ""),
        android("Spider 8", ""),
        android("Expanse", ""),
        android("Fever_Plus Build/O11019; wv", ""),
        android("CPH2557 Build/AP3A.240617.008; wv", ""),
        android("Pixel 8; wv", " Barcode Scanner/2.4"),
        android("2201116SI Build/TKQ1.221114.001; wv", " CamScanner/4.5.0.2305051722"),
        android("SM-F966N; wv", " Viber/27.4"),
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) WhatsApp/2.2424.6 \
         Chrome/126.0.0.0 Electron/31.1.0 Safari/537.36"
            .to_owned(),
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1"
            .to_owned(),
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
        "Opera/9.80 (Android; Opera Mini/36.2/119.132; U; id) Presto/2.12.423 Version/12.16".to_owned(),
        String::new(),
    ] {
        assert_eq!(agents.read(&person).bot, None, "{person}");
    }
}

#[test]
fn an_agent_is_read_alike_in_any_case() {
    let mut agents = Agents::default();
    for agent in ["GOOGLEBOT/2.1", "googlebot/2.1", "GoogleBot/2.1"] {
        assert_eq!(agents.read(agent).bot, Some("user_agent:crawler:googlebot"));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic_and_alike_each_time(text in ".{0,300}") {
        let mut agents = Agents::default();
        let first = agents.read(&text);
        proptest::prop_assert_eq!(agents.read(&text), first);
    }

    #[test]
    fn what_holds_an_entry_of_the_lists_is_a_bot_whatever_stands_around(
        at in 0..1_000_usize, before in "[ -~]{0,40}", after in "[ -~]{0,40}",
    ) {
        let anywhere: Vec<_> = lists::entries().filter(|entry| entry.place == Place::Anywhere).collect();
        let text = format!("{before}{}{after}", anywhere[at % anywhere.len()].text);
        proptest::prop_assert!(Agents::default().read(&text).bot.is_some(), "{}", text);
    }
}

#[test]
fn a_persons_agent_tells_device_system_browser_and_app() {
    let mut agents = Agents::default();
    let chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0";
    for (agent, expected) in [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 \
             Safari/604.1"
                .to_owned(),
            ("mobile", "iOS", "Safari", None),
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Instagram 350.0.0"
                .to_owned(),
            ("mobile", "iOS", "", Some("social")),
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 CriOS/120.0 Mobile/15E148 Safari/604.1".to_owned(),
            ("tablet", "iOS", "Chrome", None),
        ),
        (
            format!("Mozilla/5.0 (Linux; Android 14; Pixel 8) {chrome} Mobile Safari/537.36"),
            ("mobile", "Android", "Chrome", None),
        ),
        (format!("Mozilla/5.0 (Linux; Android 13; SM-X200) {chrome} Safari/537.36"), ("tablet", "Android", "Chrome", None)),
        (
            format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {chrome} Safari/537.36 Edg/124.0"),
            ("desktop", "Windows", "Edge", None),
        ),
        (
            format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {chrome} Safari/537.36"),
            ("desktop", "macOS", "Chrome", None),
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
            ("desktop", "Linux", "Firefox", None),
        ),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".to_owned(), ("", "", "", None)),
    ] {
        let told = agents.read(&agent);
        assert_eq!((told.device, told.os, told.browser, told.app), expected, "{agent}");
    }
}
