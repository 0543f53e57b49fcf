//! HTTP/2, TLS, and the stop.

use std::path::Path;
use std::time::{Duration, Instant};

use config::{Ingest as Http, Tls};
use prometheus::Gauge;
use reqwest::{Certificate, Client, StatusCode, Version};

use super::door::{Door, click, dubs, signature};

/// Posts a signed dry run with a client of the caller's; the version of the answer.
async fn dry_run(client: &Client, base: &str) -> reqwest::Result<Version> {
    let body = click("a");
    let mut request = client.post(format!("{base}/v1/webhooks/dub?dry_run=1")).body(body.clone());
    for (name, value) in signature(&body) {
        request = request.header(name, value);
    }
    let response = request.send().await?;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    Ok(response.version())
}

#[tokio::test]
async fn http2_is_spoken_without_tls_to_whoever_begins_with_it() {
    let door = Door::with_defaults().await;
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let base = format!("http://{}", door.address);
    for _ in 0..3 {
        assert_eq!(dry_run(&client, &base).await.unwrap(), Version::HTTP_2);
    }
    assert_eq!(dry_run(&door.client, &base).await.unwrap(), Version::HTTP_11);
}

/// Writes a new certificate for `localhost` that ends with a year, and its key, and returns the certificate.
fn fresh_certificate(folder: &Path, year: i32) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut asked = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    asked.not_after = rcgen::date_time_ymd(year, 12, 31);
    let cert = asked.self_signed(&key).unwrap();
    // As tools that renew certificates do it: whole files are put in place.
    for (name, text) in [("key.pem", key.serialize_pem()), ("cert.pem", cert.pem())] {
        let new = folder.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.join(name)).unwrap();
    }
    cert.pem()
}

fn who_trusts(certificate: &str) -> Client {
    let root = Certificate::from_pem(certificate.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap()
}

#[tokio::test]
async fn tls_is_spoken_and_a_replaced_certificate_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = fresh_certificate(folder.path(), 2090);
    let tls = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let door = Door::open(dubs(), Http { tls: Some(tls), ..Http::default() }).await;
    let base = format!("https://localhost:{}", door.address.port());
    assert_eq!(dry_run(&who_trusts(&first), &base).await.unwrap(), Version::HTTP_2);

    let mut watched = door.watched();
    watched.sort_unstable();
    let all = [
        "edge-probe",
        "edge-reports",
        "edge-send",
        "ingest certificate",
        "ingest readiness",
        "ingest switches",
        "the listener of webhooks",
    ];
    assert_eq!(watched, all, "each thread and task that lives as long as ingest shows signs of life");

    let ends = |door: &Door| door.metric("hookline_certificate_expires_timestamp_seconds").unwrap();
    assert_eq!(ends(&door), "2090-12-31T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() as f64);

    // A key that does not belong to the certificate is not taken up.
    std::fs::write(folder.path().join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(dry_run(&who_trusts(&first), &base).await.is_ok());

    let second = fresh_certificate(folder.path(), 2091);
    let begun = Instant::now();
    while dry_run(&who_trusts(&second), &base).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the new certificate is not taken up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(dry_run(&who_trusts(&first), &base).await.is_err());
    assert_eq!(ends(&door), "2091-12-31T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() as f64);
    assert!(door.metric(r#"hookline_connections_refused_total{reason="tls"}"#).unwrap() > 0.0);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_and_its_key_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    fresh_certificate(folder.path(), 2090);
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let secret = std::fs::read_to_string(&key).unwrap();
    let refused = |cert: &Path, key: &Path| {
        let files = Tls { cert: cert.to_owned(), key: key.to_owned() };
        let error = crate::tls::Certificates::load(files, Gauge::new("ends", "when it ends").unwrap()).unwrap_err();
        format!("{error} {error:?}")
    };
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    std::fs::write(folder.path().join("other.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    for said in [
        refused(&folder.path().join("nothing.pem"), &key),
        refused(&folder.path().join("empty.pem"), &key),
        refused(&cert, &cert),
        refused(&key, &key),
        refused(&cert, &folder.path().join("other.pem")),
    ] {
        assert!(said.contains(".pem"), "{said}");
        for line in secret.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!said.contains(line), "{said}");
        }
    }
}
