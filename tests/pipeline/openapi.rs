//! The OpenAPI description that ingest serves is valid, and is what ingest does.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::oracle;

use crate::foreign::{Python, said};
use crate::harness::{ROOT, Running, SOON};

#[test]
fn the_description_is_valid_and_holds_the_schema_of_the_canonical_event() {
    let python = Python::with_clients();
    let file = format!("{ROOT}/schemas/openapi.json");
    said(std::process::Command::new(&python.program).args(["-m", "openapi_spec_validator", &file]));
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/schemas/{name}")).unwrap()).unwrap()
    };
    let (description, mut event) = (read("openapi.json"), read("canonical-event.schema.json"));
    // A component has no address of its own.
    event.as_object_mut().unwrap().retain(|key, _| key != "$schema" && key != "$id");
    let component = &description["components"]["schemas"]["CanonicalEvent"];
    assert_eq!(
        component, &event,
        "CanonicalEvent in openapi.json is a copy of canonical-event.schema.json: copy it again"
    );
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(component["properties"].as_object().unwrap().len() - 3, {
        let data = &description["components"]["schemas"]["CanonicalEventData"]["properties"];
        data.as_object().unwrap().len()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_answers_as_its_description_says() {
    let python = Python::with_clients();
    let scheme = "standard-webhooks";
    let running = Running::of(&[("canonical", "canonical", scheme), ("cloud", "cloudevents", scheme)]);
    let address = format!("{}/openapi.json", running.ingest());
    let served = testkit::http::client(SOON).unwrap().get(&address).send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "application/json");
    assert!(served.headers()["cache-control"].to_str().unwrap().starts_with("public, max-age="));
    let file = std::fs::read_to_string(format!("{ROOT}/schemas/openapi.json")).unwrap();
    assert_eq!(served.text().await.unwrap(), file);

    let report = running.folder.path().join("answers.json");
    let sources = json!({ "canonical": running.secret("canonical"), "cloud": running.secret("cloud") });
    let mut schemathesis = std::process::Command::new(&python.program);
    schemathesis
        .args([
            "-m",
            "schemathesis.cli",
            "--no-color",
            "--config-file",
            &format!("{ROOT}/tests/clients/schemathesis.toml"),
        ])
        .args(["run", &address])
        .env("PYTHONPATH", format!("{ROOT}/tests/clients"))
        .env("SOURCES", sources.to_string())
        .env("REPORT", &report)
        .current_dir(running.folder.path());
    let output = said(&mut schemathesis);

    let answers: BTreeMap<String, u64> = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let count = |what: &str| answers.iter().filter(|(answer, _)| answer.contains(what)).map(|(_, n)| n).sum::<u64>();
    println!("{output}\n{answers:#?}");
    for (what, least) in [
        ("POST /v1/webhooks/{source} 202 accepted positive", 50),
        ("PUT /v1/webhooks/{source} 202 accepted positive", 50),
        ("POST /v1/webhooks/{source} 202 accepted negative", 50),
        ("POST /v1/webhooks/{source} 202 quarantined negative", 20),
        ("POST /v1/webhooks/{source} 404", 5),
        ("OPTIONS /v1/webhooks/{source} 20", 5),
        ("GET /healthz 200", 1),
        ("GET /readyz 200", 1),
        (" 405 ", 10),
        (" stored", 100),
    ] {
        assert!(count(what) >= least, "only {} of {what:?}: {answers:#?}", count(what));
    }
    assert_eq!(count("} 5"), 0, "{answers:#?}");
    assert!(running.counted("hookline_auth_failures_total").await >= 10, "requests without a signature were tried");

    // What was answered 202, and no dry run, is there.
    let asker = running.asker();
    let rows = format!("SELECT toUInt64(uniqExact(request_id)) FROM {}", oracle::ROWS);
    asker.until(&rows, count(" stored"), SOON).await.unwrap();
    oracle::every_offset_is_one_row(&asker).await.unwrap();
}
