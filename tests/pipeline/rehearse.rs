//! A rehearsal of a running system: everything is tried down to rows and messages, and nothing of it is production data
//! or reaches a destination.

use std::path::Path;

use serde_json::Value;
use testkit::receiver::{Platform, Receiver};

use crate::harness::{Running, configure};
use crate::tool::{said, tool};

const OWNED: &str = r#"
[owner.ann]
name = "Ann"
slack = "U0ANN"
[partner.dealfox]
approved_sources = ["dealfox"]
[destination.log]
kind = "csv"
owner = "me"
path = "alerts.csv"
[rule.proposal]
owner = "me"
when = { event = "visit", link_kind = "proposal" }
alert = { each = true }
send = { to = ["log", "chat"], first = "now", then_every = "5m" }
do = "Call the contact."
[rule.mailing]
owner = "me"
when = { event = "visit", utm_medium = "email", country = "D*" }
alert = { each = true }
send = { to = ["chat"], first = "now" }
[rule.shelf]
owner = "me"
when = { event = "qr_scan", programme = "instore" }
alert = { each = true }
send = { to = ["log"], first = "10m" }
[rule.burst]
owner = "me"
when = { event = "visit", link_kind = "promo" }
alert = { count = 500, per = "link", within = "5m" }
send = { to = ["chat"], first = "now", say_when_over = true }
[rule.broken]
owner = "me"
when = { event = "error" }
alert = { count = 3, per = "link", within = "10m" }
send = { to = ["log", "tickets"], one_open_per = "link", say_when_over = true }
do = "Open the link, then fix its destination."
[rule.moved]
owner = "me"
when = { event = "link.destination_changed" }
alert = { each = true }
send = { to = ["log"], first = "now" }
[rule.unapproved]
owner = "me"
when = { event = "visit", partner_approved = false }
alert = { count = 10, per = "partner", within = "10m" }
send = { to = ["chat"], first = "now" }
[rule.hourly]
owner = "me"
when = { event = "visit", link_kind = "promo" }
alert = { count = 400, per = "link", within = "1h" }
[rule.spike]
owner = "me"
when = { event = "visit", link_kind = "promo" }
alert = { spike = "3x", per = "link", within = "5m" }
send = { to = ["chat"] }
[rule.intended]
owner = "me"
when = { event = "visit", intent = "high" }
alert = { each = true }
send = { to = ["chat"] }
"#;

fn written(config: &Path, more: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, format!("{text}{more}")).unwrap();
}

fn of<'v>(report: &'v Value, list: &str, key: &str, name: &str) -> &'v Value {
    let found = report[list].as_array().unwrap().iter().find(|one| one[key] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list}: {report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_holds_down_to_rows_and_messages_and_leaves_production_and_destinations_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = configure(&data, &[("dub", "dub", "dub"), ("canonical", "canonical", "standard-webhooks")]);
    let (chat, tickets) = (Receiver::start(Platform::Slack).unwrap(), Receiver::start(Platform::GitHub).unwrap());
    let (chat_at, tickets_at) = (chat.address, tickets.address);
    std::fs::write(data.join("secrets/token"), "ghp_secret\n").unwrap();
    written(
        &config,
        &format!(
            "{OWNED}\n[destination.chat]\nkind = \"slack\"\nowner = \"me\"\nurl = \"http://{chat_at}/services/T/B/x\"\nallow_private = true\n\
             [destination.tickets]\nkind = \"github-issues\"\nowner = \"me\"\nallow_private = true\napi = \"http://{tickets_at}\"\n\
             repo = {{ name = \"acme/web\", token = {{ file = \"secrets/token\" }} }}\n"
        ),
    );
    let running = Running::within(folder, &["--config", config.to_str().unwrap()]);

    let (code, report) = tool(&config, &["rehearse"]).await.unwrap();
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report:#}");
    let rules = |name: &str| of(&report, "scenarios", "name", name)["rules"].clone();
    for (scenario, rule) in [
        ("click", "proposal"),
        ("utm", "mailing"),
        ("qr_scan", "shelf"),
        ("burst", "burst"),
        ("burst", "unapproved"),
        ("broken_destination", "broken"),
        ("destination_changed", "moved"),
    ] {
        assert!(rules(scenario).as_array().unwrap().contains(&rule.into()), "{scenario}: {}", rules(scenario));
    }
    assert_eq!(of(&report, "scenarios", "name", "duplicate")["duplicates"], 2);
    for name in ["link_edited", "destination_changed", "link_expired"] {
        assert_eq!(of(&report, "scenarios", "name", name)["rows"], 2, "{name}");
    }
    for (rule, why) in [("spike", "learns"), ("intended", "intent")] {
        assert!(of(&report, "left_out", "rule", rule)["why"].as_str().unwrap().contains(why), "{report:#}");
    }
    // Each message is in the capture sink, and each destination's rendering is made of what is stored.
    let proposal = of(&report, "rules", "rule", "proposal");
    assert_eq!((&proposal["message"], proposal["captured"].as_array().unwrap().len()), (&"captured".into(), 1));
    assert_eq!(of(proposal, "messages", "destination", "chat")["sent"]["body"]["blocks"][0]["type"], "header");
    assert_eq!(of(&report, "rules", "rule", "shelf")["message"], "waits");
    let broken = of(&report, "rules", "rule", "broken");
    let ticket = &of(broken, "messages", "destination", "tickets")["sent"];
    assert!(ticket["body"]["title"].as_str().unwrap().contains("broken: 3 events"), "{ticket}");
    assert!(!report.to_string().contains("ghp_secret"));

    // Nothing of it is production data, and nothing reached a destination.
    for table in ["records", "alerts", "delivery_attempts"] {
        let count = running.asker().number(&format!("SELECT count() FROM hookline.{table}")).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
    let rows = running.asker().number("SELECT count() FROM hookline_test.records").await.unwrap();
    assert_eq!(rows, report["deliveries"].as_u64().unwrap());
    assert!(!data.join("alerts.csv").exists());
    assert_eq!((chat.requests().len(), tickets.requests().len()), (0, 0));

    // Again, at once: what an earlier rehearsal has said is not said again, which is not a fault.
    let (code, page, errors) = said(&config, &["rehearse"]).await.unwrap();
    assert_eq!(code, 0, "{page}{errors}");
    assert!(page.starts_with("HOLDS") && page.contains("Nothing has left."), "{page}");

    // A file that what runs does not have: a rule that says nothing is found.
    written(&config, "[rule.new]\nowner = \"me\"\nwhen = { event = \"lead\" }\nalert = { each = true }\n");
    let (code, report) = tool(&config, &["rehearse", "--patience", "30"]).await.unwrap();
    assert_eq!((code, &report["ok"]), (1, &Value::Bool(false)), "{report:#}");
    let other = of(&report, "scenarios", "name", "other");
    assert!(other["problems"].as_array().unwrap().contains(&"rule new said nothing".into()), "{other}");

    // A source whose platform cannot say that an event is test data is refused, and so is an ingest that is not there.
    let (code, _, errors) = said(&config, &["rehearse", "--source", "dub"]).await.unwrap();
    assert!(code == 2 && errors.contains("adapter = \"canonical\""), "{errors}");
    let (code, _, errors) = said(&config, &["rehearse", "--ingest", "http://127.0.0.1:9"]).await.unwrap();
    assert!(code == 2 && errors.contains("cannot be reached"), "{errors}");
    assert_eq!((chat.requests().len(), tickets.requests().len()), (0, 0));
}
