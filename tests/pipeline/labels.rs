//! Labels from the operator's own files, from webhook to row: countries, the catalogue, the naming standard, partners;
//! the files replaced and damaged while everything runs, and processes killed.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use maxminddb_writer::Database;
use maxminddb_writer::paths::IpAddrWithMask;
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::Sender;
use testkit::oracle::Fleet;

use crate::harness::{Running, SOON, configure, until};
use crate::tool::tool;

const LABELS: &str = r#"
[geo]
country = "country.mmdb"
[catalogue]
file = "links.csv"
[naming]
campaign = { pattern = "{quarter}-{region}-{name}", example = "2026q4-de-blackfriday" }
quarter = "20[0-9]{2}q[1-4]"
region = ["de", "fr"]
same_as = { channel = { newsletter = "email" } }
[partner.dealfox]
approved_sources = ["dealfox"]
"#;

const LINKS: &str = "link,kind,campaign,partner,contact,tags\n\
    go.acme.example/a,promo,2026q4-de-black-friday,,,q4\n\
    go.acme.example/b,proposal,winter sale,,c-1,\n\
    go.acme.example/c,affiliate,2026q4-fr-partners,dealfox,,\n";

/// A file that has one network in one country.
fn countries(country: &str) -> Vec<u8> {
    let mut database = Database::default();
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = 1_793_491_200;
    let value = database.insert_value(json!({ "country": { "iso_code": country } })).unwrap();
    database.insert_node("198.51.100.0/24".parse::<IpAddrWithMask>().unwrap(), value);
    database.write_to(Vec::new()).unwrap()
}

fn click(id: &str, slug: &str, utm_source: &str) -> Vec<u8> {
    json!({
        "id": id, "type": "click", "time": jiff::Timestamp::now().to_string(), "channel": "newsletter",
        "link": { "id": format!("l_{slug}"), "domain": "go.acme.example", "slug": slug }, "utm": { "source": utm_source },
        "visitor": { "ip": "198.51.100.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
    })
    .to_string()
    .into_bytes()
}

fn replace(file: &Path, bytes: impl AsRef<[u8]>) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_files_label_events_are_replaced_while_everything_runs_and_survive_kills() {
    let running = Running::engines();
    let folder = running.folder.path();
    let config = configure(folder, &[("canonical", "canonical", "standard-webhooks")]);
    let text = std::fs::read_to_string(&config).unwrap();
    let engines = &running.house.addresses;
    let platform = format!(
        "[kafka]\nbrokers = \"{}\"\nlanes = 2\nreplication = 1\n[clickhouse]\nurl = \"{}\"\nuser = \"hookline\"\n",
        engines.kafka, engines.clickhouse
    );
    std::fs::write(&config, format!("{text}{LABELS}{platform}")).unwrap();
    let (country, links) = (folder.join("country.mmdb"), folder.join("links.csv"));
    replace(&country, countries("DE"));
    replace(&links, LINKS);
    let fleet = Fleet::start(folder, &config, engines, &["ingest", "process", "report"]).unwrap();
    let secret = std::fs::read_to_string(folder.join("secrets").join("canonical")).unwrap();
    let sender =
        Sender::new(&fleet.ingest(), "canonical", Scheme::StandardWebhooks, Secret::new("first", secret.trim()))
            .unwrap();
    let asker = running.asker();
    let row = async |id: &str| -> Value {
        let sql = format!(
            "SELECT country, link_kind, campaign, channel, partner, partner_approved, extra['contact'] AS contact, extra['tags'] AS tags, \
             toString(naming_issues) AS issues, has(trace, 'country:mmdb:2026-11-01') AS located, catalogue_version > 0 AS joined \
             FROM hookline.events WHERE event_key LIKE '%{id}'"
        );
        until(SOON, "the row", async || asker.rows(&sql).await.ok()?.pop()).await.unwrap()
    };
    let bodies =
        vec![click("a1", "a", ""), click("b1", "b", ""), click("c1", "c", "dealfox"), click("c2", "c", "other")];
    sender.deliver_all(bodies, 2).await.unwrap();
    let a = row("a1").await;
    assert_eq!((&a["country"], &a["link_kind"], &a["tags"]), (&json!("DE"), &json!("promo"), &json!("q4")), "{a}");
    assert_eq!((&a["channel"], &a["issues"]), (&json!("email"), &json!("[]")), "{a}");
    assert_eq!((&a["located"], &a["joined"]), (&json!(1), &json!(1)), "{a}");
    let b = row("b1").await;
    assert_eq!((&b["contact"], &b["issues"]), (&json!("c-1"), &json!("['campaign:pattern']")), "{b}");
    assert_eq!(
        (&row("c1").await["partner_approved"], &row("c2").await["partner_approved"]),
        (&json!(true), &json!(false))
    );
    let metric = async |start: &str| {
        let text =
            reqwest::get(format!("{}/metrics", fleet.metrics("process").unwrap())).await.ok()?.text().await.ok()?;
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next().map(str::to_owned)
    };
    let issues = metric("hookline_naming_issues_total{issue=\"campaign:pattern\"").await;
    assert_eq!(issues.as_deref(), Some("1"));

    // Both are replaced while everything runs.
    replace(&country, countries("FR"));
    replace(&links, LINKS.replace("promo", "bio"));
    let tries = AtomicU32::new(0);
    let taken_up = async || {
        let id = format!("a2-{}", tries.fetch_add(1, Ordering::Relaxed));
        sender.deliver_all(vec![click(&id, "a", "")], 1).await.ok()?;
        let row = row(&id).await;
        (row["country"] == "FR" && row["link_kind"] == "bio").then_some(())
    };
    until(SOON, "the new files to be taken up", taken_up).await.unwrap();

    // Damaged ones are not, and a process that is killed does not start on them.
    replace(&country, "no countries");
    replace(&links, "link,kind\ngo.acme.example/a\n");
    for file in ["country", "catalogue"] {
        let name = format!("hookline_reference_refused{{file=\"{file}\"}}");
        let refused = async || (metric(&name).await? == "1").then_some(());
        until(SOON, "the damaged file to be refused", refused).await.unwrap();
    }
    sender.deliver_all(vec![click("a3", "a", "")], 1).await.unwrap();
    let a = row("a3").await;
    assert_eq!((&a["country"], &a["link_kind"]), (&json!("FR"), &json!("bio")), "what was there stays in force: {a}");
    let (code, checked) = tool(&config, &["check", "--without-secrets"]).await.unwrap();
    assert_eq!((code, checked["errors"].as_array().map(Vec::len)), (2, Some(2)), "{checked}");
    assert!(checked["errors"][1]["message"].as_str().unwrap().starts_with("line 2: 1 fields"), "{checked}");

    // Whole again, and killed: what is processed anew has the same labels.
    replace(&country, countries("FR"));
    replace(&links, LINKS.replace("promo", "bio"));
    fleet.kill("process").unwrap();
    sender.deliver_all((0..200).map(|n| click(&format!("kill-{n}"), "a", "")).collect::<Vec<_>>(), 4).await.unwrap();
    fleet.restart("process").unwrap();
    let all =
        "SELECT count() FROM hookline.events WHERE event_key LIKE '%kill-%' AND country = 'FR' AND link_kind = 'bio'";
    asker.until(all, 200, SOON).await.unwrap();
    fleet.stop().unwrap();
}
