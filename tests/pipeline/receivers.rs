//! Messages as the places show them that they go to: doubles that answer as their platforms do, well and badly.

use std::path::Path;

use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::receiver::{Behaviour, Platform, Receiver};
use testkit::{House, Sender};
use tokio::runtime::Runtime;
use traffic::canonical::Generator;

use crate::alerts::{SECRET, wait_for};
use crate::foreign::{Python, told};

/// What a hostile sender calls a campaign.
const HOSTILE: &str = "<!channel> <at>A</at> @org/team #12 <!-- x --> `c` =1+1 & <script>";

struct Everywhere {
    folder: tempfile::TempDir,
    receivers: Vec<(&'static str, Receiver)>,
}

impl Everywhere {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let receivers = Platform::ALL.map(|(name, platform)| (name, Receiver::start(platform).unwrap()));
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self { folder, receivers: receivers.to_vec() }
    }

    fn of(&self, name: &str) -> &Receiver {
        &self.receivers.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// A destination for each, and a rule that counts and says when it is over.
    fn configure(&self, path: &Path) {
        let mut text = "version = 1\n[owner]\nme = { name = \"Ann\", slack = \"U0ANN\", teams = \"ann@example.com\", \
            github = \"ann\", jira = \"5b10a\", email = \"ann@example.com\" }\n[source.canonical]\nadapter = \"canonical\"\n\
            owner = \"me\"\nsecrets = [{ id = \"first\", file = \"secret\" }]\n"
            .to_owned();
        for ((name, platform), (_, receiver)) in Platform::ALL.iter().zip(&self.receivers) {
            let section = platform.section(receiver.address);
            // The secrets of sections come from the environment there; any text does here, as long as it is one.
            let section: Vec<String> =
                section.lines().map(|line| line.split("    #").next().unwrap().to_owned()).collect();
            let mut section = section.join("\n");
            while let Some((before, rest)) = section.split_once("{ env = \"") {
                let rest = rest.split_once('}').unwrap().1;
                section = format!("{before}{{ file = \"secret\" }}{rest}");
            }
            text.push_str(&format!("[destination.{name}]\nowner = \"me\"\n{section}\n"));
        }
        let all = Platform::ALL.map(|(name, _)| format!("{name:?}")).join(", ");
        text.push_str(&format!(
            "[rule.broken]\nowner = \"me\"\nwhen = {{ event = \"error\" }}\nalert = {{ count = 3, per = \"link\", within = \"5s\" }}\n\
             send = {{ to = [{all}], mention = \"link.owner\", first = \"now\", then_every = \"1s\", say_when_over = true }}\ndo = \"Fix it.\"\n"
        ));
        std::fs::write(path, text).unwrap();
    }
}

fn breaks(house: &House, runtime: &Runtime, generator: &mut Generator) {
    let ingest = house.addresses.ingest.as_deref().unwrap();
    let sender = Sender::new(ingest, "canonical", Scheme::StandardWebhooks, Secret::new("first", SECRET)).unwrap();
    for _ in 0..4 {
        let event = generator.event_with(&json!({
            "type": "error", "link": { "id": "l_gone", "slug": "gone", "owner": "me" }, "campaign": HOSTILE,
            "error": { "kind": "destination_unavailable", "detail": "HTTP 503" },
            "visitor": { "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
        }));
        let (status, answer) = runtime.block_on(sender.once(&event)).unwrap();
        assert_eq!(status, 202, "{answer}");
    }
}

#[test]
fn each_place_shows_the_beginning_and_the_end_once_whatever_it_answered_at_first() {
    let everywhere = Everywhere::start();
    let config = everywhere.folder.path().join("hookline.toml");
    everywhere.configure(&config);
    // Each has a bad moment: it is busy, it takes a message and says nothing of it, it breaks (PagerDuty asks for two
    // minutes then).
    for (name, receiver) in &everywhere.receivers {
        receiver.next([Behaviour::Busy, Behaviour::Resets]);
        receiver.next((*name != "pagerduty").then_some(Behaviour::Broken));
    }
    let data = everywhere.folder.path().join("data");
    let house = House::up(&data, &["--config", config.to_str().unwrap()]).unwrap();
    let (runtime, mut generator) = (Runtime::new().unwrap(), Generator::new(1));
    breaks(&house, &runtime, &mut generator);

    let shows = |name: &str, words: &[&str]| {
        let page = everywhere.of(name).page();
        words.iter().all(|word| page.contains(word))
    };
    wait_for("Slack to show both", || shows("slack", &["Over since", "broken: over", "(edited)"]));
    wait_for("Teams to show both", || shows("teams", &["broken: over"]));
    wait_for("PagerDuty to resolve", || shows("pagerduty", &["class=resolved"]));
    wait_for("GitHub to close", || shows("github", &["class=closed", "broken: over"]));
    wait_for("Jira to close", || shows("jira", &["class=closed", "broken: over"]));
    wait_for("HubSpot to have both notes", || shows("hubspot", &["broken: over"]));
    wait_for("the webhook to have both", || shows("webhook", &["resolved"]));
    wait_for("both mails", || shows("smtp", &["broken: over"]));

    // A place that has ids has one of each, whatever was lost on the way.
    let count = |name: &str, word: &str| everywhere.of(name).page().matches(word).count();
    assert_eq!(count("github", "<article>"), 1);
    assert_eq!(count("jira", "<article>"), 1);
    assert_eq!(count("pagerduty", "<article>"), 1);
    assert_eq!(count("hubspot", "<article>"), 2, "a note for the beginning, and one for the end");
    assert_eq!(count("smtp", "<article>"), 2, "the same mail twice is one by its id");
    for (name, receiver) in &everywhere.receivers {
        assert_eq!(receiver.faults(), Vec::<String>::new(), "{name}");
        let page = receiver.page();
        for markup in ["<!channel>", "<at>A", "<script"] {
            assert!(!page.contains(markup), "{name} shows {markup}: {page}");
        }
        if let Ok(folder) = std::env::var("HOOKLINE_TEST_PAGES") {
            std::fs::write(Path::new(&folder).join(format!("{name}.html")), page).unwrap();
        }
    }
    // Cards are what their schema says.
    let cards: Vec<Value> =
        everywhere.of("teams").requests().iter().map(|one| one.json()["attachments"][0]["content"].take()).collect();
    let checked = told(&mut Python::with_clients().script("check_cards.py", &[]), &json!(cards).to_string());
    let wrong: Vec<Vec<String>> = serde_json::from_str(&checked).unwrap();
    assert!(wrong.len() >= 2 && wrong.iter().all(Vec::is_empty), "{wrong:?}");

    // The owner of the link is pinged once, by the first message.
    let pings = |name: &str, word: &str| {
        let requests = everywhere.of(name).requests();
        let with: Vec<Value> = requests.iter().filter(|one| one.body.contains(word)).map(|one| one.json()).collect();
        with.len()
    };
    assert!(pings("slack", "<@U0ANN>") >= 1 && pings("teams", "\"mentioned\"") >= 1);
    assert!(!everywhere.of("slack").requests().last().unwrap().body.contains("<@U0ANN>"));
}
