//! Platforms that sign with SDKs of others, unmodified: what they sign is taken, and no damaged form of it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::foreign::{Node, Python, told};
use crate::harness::{Running, SOON};

/// Sources by name: their adapter, their scheme, and the SDK that signs for them.
const SOURCES: [(&str, &str, &str, &str); 5] = [
    ("standard", "canonical", "standard-webhooks", "standardwebhooks"),
    ("branded", "canonical", "svix", "svix"),
    ("money", "canonical", "stripe", "stripe"),
    ("cloud", "cloudevents", "standard-webhooks", "cloudevents"),
    ("binary", "cloudevents", ATTRIBUTES_AND_BODY, "cloudevents-binary"),
];

/// Signs what makes a CloudEvent in binary mode. Lines, since a header has none: no attribute can give a part of itself to its neighbour.
const ATTRIBUTES_AND_BODY: &str = r#"{ hmac = "sha256", header = "X-Acme-Signature", encoding = "hex", signed = "{header:ce-id}\n{header:ce-source}\n{header:ce-type}\n{header:ce-time}\n{body}" }"#;

/// What became of one source's requests, as its platform tells it.
#[derive(Debug, Deserialize)]
struct Told {
    /// The receipts of accepted requests.
    receipts: Vec<String>,
    /// The keys of their events, repeats included.
    keys: Vec<String>,
    /// How many damaged requests were refused, each with 401.
    refused: u64,
    /// How many were taken and set aside, since what they say is not proven.
    #[serde(default)]
    quarantined: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sdks_of_others_sign_is_accepted_and_every_mutation_of_it_is_refused() {
    let (python, node) = (Python::with_clients(), Node::with_clients());
    let running = Running::of(&SOURCES.map(|(name, adapter, scheme, _)| (name, adapter, scheme)));
    let sources = |kinds: &[&str]| -> Value {
        let chosen = SOURCES.iter().filter(|(.., kind)| kinds.contains(kind));
        let entry = |(name, _, _, kind): &(&str, &str, &str, &str)| {
            ((*name).to_owned(), json!({ "kind": kind, "secret": running.secret(name) }))
        };
        Value::Object(chosen.map(entry).collect())
    };
    let platforms = |text: &str| -> BTreeMap<String, Told> { serde_json::from_str(text).unwrap() };

    let all = sources(&["standardwebhooks", "svix", "stripe", "cloudevents", "cloudevents-binary"]).to_string();
    let in_python = platforms(&told(&mut python.script("send_with_sdks.py", &[running.ingest()]), &all));
    let some = sources(&["standardwebhooks", "svix"]).to_string();
    let in_node = platforms(&told(&mut node.script("send_with_sdks.mjs", &[running.ingest()]), &some));

    let asker = running.asker();
    let (mut events, mut refused) = (0, 0);
    for (name, ..) in SOURCES {
        let of: Vec<&Told> = [&in_python, &in_node].into_iter().filter_map(|told| told.get(name)).collect();
        let keys: Vec<&String> = of.iter().flat_map(|told| &told.keys).collect();
        let distinct: std::collections::BTreeSet<&String> = keys.iter().copied().collect();
        let refusals: u64 = of.iter().map(|told| told.refused).sum();
        let quarantined: u64 = of.iter().map(|told| told.quarantined).sum();
        assert!(refusals >= 150 && !distinct.is_empty(), "{name}: {refusals} refused, {} accepted", keys.len());
        // Each accepted event is a row, under its receipt; a repeat is a duplicate. Nothing of what was refused is.
        let rows = format!("SELECT count() FROM hookline.records WHERE source = '{name}'");
        asker.until(&rows, keys.len() as u64 + quarantined, SOON).await.unwrap();
        let once = format!("{rows} AND outcome = 'event'");
        assert_eq!(asker.number(&once).await.unwrap(), distinct.len() as u64, "{name}");
        let text = |list: Vec<&String>| list.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(",");
        let known = format!(
            "SELECT toUInt64(uniqExact(event_key)) FROM hookline.records WHERE source = '{name}' AND event_key IN ({}) \
             AND request_id IN ({})",
            text(keys.clone()),
            text(of.iter().flat_map(|told| &told.receipts).collect())
        );
        assert_eq!(asker.number(&known).await.unwrap(), distinct.len() as u64, "{name}");
        events += keys.len() as u64 + quarantined;
        refused += refusals;
    }
    assert_eq!(asker.number("SELECT count() FROM hookline.records").await.unwrap(), events);
    assert_eq!(running.counted("hookline_auth_failures_total").await, refused);
    assert_eq!(running.counted("hookline_events_total").await, events);
    assert_eq!(
        asker.number("SELECT count() FROM hookline.records WHERE reason = 'unsigned_attributes'").await.unwrap(),
        2
    );
    println!("{events} events accepted, {refused} damaged requests refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_of_others_verify_what_hookline_send_signs() {
    let python = Python::with_clients();
    let folder = tempfile::tempdir().unwrap();
    let sources = &SOURCES[..3];
    let three: Vec<_> = sources.iter().map(|(name, adapter, scheme, _)| (*name, *adapter, *scheme)).collect();
    let config = crate::harness::configure(folder.path(), &three);
    let secret = |name: &str| std::fs::read_to_string(folder.path().join("secrets").join(name)).unwrap();
    let known: serde_json::Map<String, Value> = sources
        .iter()
        .map(|(name, _, _, kind)| ((*name).to_owned(), json!({ "kind": kind, "secret": secret(name).trim() })))
        .collect();
    let binary = testkit::house::binary().unwrap();
    let arguments = [binary.to_str().unwrap(), config.to_str().unwrap(), "100"];
    let verified = told(&mut python.script("verify_hookline_send.py", &arguments), &Value::Object(known).to_string());
    let verified: BTreeMap<String, u64> = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified.len(), 3);
    assert!(verified.values().all(|count| *count == 100), "{verified:?}");
}
