//! Answers that a registry gives when something is wrong. What a good one does is held by tests/pipeline/registry.rs, with a real one.

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;

/// What answers every request so, and its address.
async fn answering(status: u16, text: &'static str) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let app = Router::new().fallback(move || async move { (status, text).into_response() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/api/")
}

async fn asked(status: u16, text: &'static str, register: bool) -> Result<Ids, RegistryError> {
    let url = answering(status, text).await;
    ids(&Settings { url, login: Some(("ana".into(), "hidden".into())), register }).await
}

#[tokio::test]
async fn each_refusal_says_what_and_what_to_do() {
    let subject = "hookline.events.v1-value";
    for (status, text, transient, words) in [
        (401, "", false, "look at user and password"),
        (403, "{}", false, "look at user and password"),
        (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, false, "may need a path"),
        (404, "<html>", false, "may need a path"),
        (302, "", false, "redirects elsewhere"),
        (409, r#"{"error_code":409,"message":"incompatible: a"}"#, false, "not compatible with: incompatible: a"),
        (422, r#"{"error_code":42205,"message":"Subject is in read-only mode"}"#, false, "read-only"),
        (429, "slow down", true, "cannot work now (status 429): slow down"),
        (500, r#"{"error_code":50001,"message":"Error in the backend data store"}"#, true, "backend"),
        (503, "", true, "cannot work now"),
        (200, "{}", false, "its answer has no id"),
        (200, "fine", false, "its answer has no id"),
        (200, r#"{"id":-1}"#, false, "its answer has no id"),
    ] {
        let error = asked(status, text, true).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.is_transient(), transient, "{status} {text}: {shown}");
        assert!(shown.contains(words) && shown.contains("http://127.0.0.1"), "{status} {text}: {shown}");
        assert!(!shown.contains("hidden"));
        if (401..=422).contains(&status) {
            assert!(shown.contains(subject) || status == 404, "{shown}");
        }
    }
}

#[tokio::test]
async fn what_is_only_to_be_looked_up_is_not_registered() {
    let missing = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let error = asked(404, missing, false).await.unwrap_err();
    assert!(matches!(error, RegistryError::Missing { file: "link_event.1.avsc", .. }), "{error}");
    // One that is to register asks to, and hears the same no.
    let error = asked(404, missing, true).await.unwrap_err();
    assert!(matches!(error, RegistryError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_worth_another_try_and_a_long_answer_is_not_read_to_its_end() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = ids(&Settings { url, login: None, register: true }).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("does not answer"), "{error}");

    let long: &'static str = Box::leak("x".repeat(MOST + 1).into_boxed_str());
    let error = asked(200, long, true).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[test]
fn settings_do_not_show_the_password() {
    let settings = Settings { url: "http://x".into(), login: Some(("ana".into(), "hidden".into())), register: true };
    let shown = format!("{settings:?}");
    assert!(shown.contains("ana") && !shown.contains("hidden"), "{shown}");
}
