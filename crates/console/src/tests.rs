//! Requests as browsers and their attackers make them; no engine is there, so pages say that.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use config::{Config, Environment};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const ADDRESS: &str = "127.0.0.1:8088";
const CONFIG: &str = r#"
version = 1
[owner]
ops = { name = "Ops" }
[source.dub]
adapter = "dub"
owner = "ops"
secrets = [{ id = "first", env = "DUB" }]
"#;

fn console(token: Option<&str>) -> Router {
    router(state(token), Shutdown::default())
}

fn state(token: Option<&str>) -> Arc<State> {
    let folder = tempfile();
    let file = folder.join("hookline.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let environment = Environment::new([("", ""); 0], jiff::Timestamp::UNIX_EPOCH).without_secrets();
    let config = Config::load(&file, &environment);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let installation = Installation::without_engines(config, &file).unwrap();
    let token = token.map(SecretText::new);
    let settings = Settings { installation: installation.into(), instances: Vec::new(), token };
    State::new(settings, ADDRESS.parse().unwrap())
}

fn tempfile() -> std::path::PathBuf {
    let folder =
        std::env::temp_dir().join(format!("hookline-console-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn ask(console: &Router, request: Request<Body>) -> (StatusCode, Response) {
    let response = console.clone().oneshot(request).await.unwrap();
    (response.status(), response)
}

fn get_page(path: &str) -> axum::http::request::Builder {
    Request::get(path).header(header::HOST, ADDRESS)
}

fn post_form(path: &str) -> axum::http::request::Builder {
    Request::post(path).header(header::HOST, ADDRESS).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_page_under_another_name_is_refused_so_that_no_other_site_can_read_it() {
    let console = console(None);
    let rebound = Request::get("/sign-in").header(header::HOST, "attacker.example:8088").body(Body::empty()).unwrap();
    assert_eq!(ask(&console, rebound).await.0, StatusCode::MISDIRECTED_REQUEST);
    for host in [ADDRESS, "localhost:8088", "[::1]:8088"] {
        let known = Request::get("/sign-in").header(header::HOST, host).body(Body::empty()).unwrap();
        assert_eq!(ask(&console, known).await.0, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn nothing_inline_runs_and_nothing_is_kept() {
    let (_, response) = ask(&console(None), get_page("/sign-in").body(Body::empty()).unwrap()).await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let page = text(response).await;
    assert!(!page.contains("style=") && !page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn a_change_needs_a_session_its_form_and_a_page_of_ours() {
    let console = console(Some("s3cret"));
    let form = "form_key=x&source=dub&state=pause&minutes=&who=ana&why=test";
    let foreign = post_form("/sources").header("sec-fetch-site", "cross-site").body(Body::from(form)).unwrap();
    assert_eq!(ask(&console, foreign).await.0, StatusCode::FORBIDDEN);
    let origin =
        post_form("/sources").header(header::ORIGIN, "https://attacker.example").body(Body::from(form)).unwrap();
    assert_eq!(ask(&console, origin).await.0, StatusCode::FORBIDDEN);
    let (status, response) = ask(&console, post_form("/sources").body(Body::from(form)).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text(response).await.contains("session"));
}

#[tokio::test]
async fn the_token_opens_a_session_and_a_wrong_one_does_not() {
    let console = console(Some("s3cret"));
    let (status, response) = ask(&console, post_form("/sign-in").body(Body::from("token=guess")).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(response.headers().get(header::SET_COOKIE).is_none());
    let (status, response) = ask(&console, post_form("/sign-in").body(Body::from("token=s3cret")).unwrap()).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let event = |cookie: &str| get_page("/event?id=").header(header::COOKIE, cookie).body(Body::empty()).unwrap();
    assert_eq!(ask(&console, event(&pair)).await.0, StatusCode::OK);
    assert_eq!(ask(&console, event("hookline_console=guess")).await.0, StatusCode::FORBIDDEN);
    let out = post_form("/sign-out").header(header::COOKIE, &pair).body(Body::empty()).unwrap();
    assert_eq!(ask(&console, out).await.0, StatusCode::SEE_OTHER);
    assert_eq!(ask(&console, event(&pair)).await.0, StatusCode::FORBIDDEN, "the session is over");
}

#[tokio::test(start_paused = true)]
async fn the_right_token_waits_for_no_wrong_one() {
    let console = console(Some("s3cret"));
    let sign_in = |token: &str| {
        let request = post_form("/sign-in").body(Body::from(format!("token={token}"))).unwrap();
        console.clone().oneshot(request)
    };
    let wrong: Vec<_> = (0..50).map(|n| tokio::spawn(sign_in(&format!("guess-{n}")))).collect();
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(sign_in("s3cret").await.unwrap().status(), StatusCode::SEE_OTHER);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let mut answers = std::collections::BTreeMap::new();
    for answer in wrong {
        *answers.entry(answer.await.unwrap().unwrap().status().as_u16()).or_insert(0) += 1;
    }
    // Some wait, so that one who guesses by hand is slowed; the others hold nothing.
    assert_eq!(answers, [(403, 8), (429, 42)].into());
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_form_that_a_stranger_does_not_send_is_not_waited_for() {
    let never = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    let (status, _) = ask(&console(Some("s3cret")), post_form("/sign-in").body(never).unwrap()).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn without_a_token_bytes_and_events_are_not_shown_and_it_is_said_what_to_set() {
    let console = console(None);
    for path in ["/dead-letters/bytes", "/event?id=req_1"] {
        let (status, response) = ask(&console, get_page(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(text(response).await.contains("[console] token"), "{path}");
    }
}

#[tokio::test]
async fn a_redrive_and_a_discard_are_planned_begun_and_cancelled_with_a_session_alone() {
    let console = console(Some("s3cret"));
    for page in ["redrive", "discard"] {
        let plan = format!("/dead-letters/{page}?source=dub&stage=adapt&reason=not_json");
        let (status, response) = ask(&console, get_page(&plan).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text(response).await.contains("sign in"));
        // A part of what is to be chosen is not enough: never all of them because nothing was said.
        let all = get_page(&format!("/dead-letters/{page}?source=dub")).body(Body::empty()).unwrap();
        assert_eq!(ask(&console, all).await.0, StatusCode::BAD_REQUEST);
    }
    let confirmed = "form_key=x&source=dub&stage=adapt&reason=not_json&until=1&who=ana&why=test";
    for (path, form) in [
        ("/dead-letters/redrive", confirmed),
        ("/dead-letters/discard", confirmed),
        ("/dead-letters/cancel", "form_key=x&number=1"),
    ] {
        let (status, response) = ask(&console, post_form(path).body(Body::from(form)).unwrap()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(text(response).await.contains("session"), "{path}");
    }
    let (status, response) =
        ask(&console, get_page("/dead-letters/progress?number=7").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text(response).await.contains("No such redrive"));
}

/// A page as a signed-in browser sees it.
async fn seen(console: &Router, cookie: &str, path: &str) -> String {
    let request = get_page(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap();
    let (status, response) = ask(console, request).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    text(response).await
}

#[tokio::test]
async fn a_redrive_runs_alone_and_ends_when_it_is_cancelled() {
    let (state, shutdown) = (state(Some("s3cret")), Shutdown::default());
    let console = router(Arc::clone(&state), shutdown.clone());
    let (_, response) = ask(&console, post_form("/sign-in").body(Body::from("token=s3cret")).unwrap()).await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();

    // It is held in its first step.
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let chosen = redrives::Chosen { source: "dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
    let held = |job: Arc<redrives::Job>| async move {
        let _ = gate.await;
        let cancelled = job.is_cancelled();
        Ok(operate::dead_letters::redrive::RedriveReport { seen: 2, redriven: 2, cancelled, ..Default::default() })
    };
    let job = state.redrives.start(chosen, 5, ("ana".into(), "mended".into()), &shutdown, held).ok().unwrap();
    let progress = format!("/dead-letters/progress?number={}", job.number);
    let page = seen(&console, &cookie, &progress).await;
    assert!(page.contains("RUNS"), "{page}");
    let form_key = page.split_once("name=\"form_key\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();

    let send = |path: &str, form: String| {
        let request = post_form(path).header(header::COOKIE, &cookie).body(Body::from(form)).unwrap();
        ask(&console, request)
    };
    let confirmed = format!("form_key={form_key}&source=dub&stage=adapt&reason=not_json&until=1&who=ana&why=test");
    for (path, not_done) in [("/dead-letters/redrive", "Not started"), ("/dead-letters/discard", "Not discarded")] {
        let (status, response) = send(path, confirmed.clone()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let page = text(response).await;
        assert!(page.contains(&progress) && page.contains(not_done), "{page}");
        // Without a reason, or all of them because a part was not said, it is not even asked whether one runs.
        let (status, _) = send(path, confirmed.replace("why=test", "why=")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let (status, _) = send(path, confirmed.replace("&reason=not_json", "")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    let (status, _) = send("/dead-letters/cancel", format!("form_key={form_key}&number={}", job.number)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(seen(&console, &cookie, &progress).await.contains("ENDS after this step"));
    open.send(()).unwrap();
    state.redrives.finish().await;
    let page = seen(&console, &cookie, &progress).await;
    assert!(
        page.contains("CANCELLED") && page.contains("3 of the 5 that were open when it began were not redriven"),
        "{page}"
    );
    assert!(!page.contains("/dead-letters/cancel"), "{page}");

    // Another that reaches its end and leaves some as they are does not look like one that left none.
    let chosen = redrives::Chosen { source: "dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
    let some = |_| async {
        Ok(operate::dead_letters::redrive::RedriveReport { seen: 5, redriven: 4, left: 1, ..Default::default() })
    };
    let other = state.redrives.start(chosen, 5, ("ana".into(), "mended".into()), &shutdown, some).ok().unwrap();
    state.redrives.finish().await;
    let page = seen(&console, &cookie, &format!("/dead-letters/progress?number={}", other.number)).await;
    assert!(page.contains("state attention") && page.contains("DONE, not all were redriven"), "{page}");

    // What holds off while letters are discarded.
    let held = state.redrives.hold().ok().unwrap();
    for path in ["/dead-letters/redrive", "/dead-letters/discard"] {
        let (status, response) = send(path, confirmed.clone()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(text(response).await.contains("others are being discarded"));
    }
    drop(held);

    // Its stream says so once, and ends.
    let live = get_page(&format!("/dead-letters/progress/live?number={}", job.number)).body(Body::empty()).unwrap();
    let (_, response) = ask(&console, live).await;
    let stream = text(response).await;
    assert_eq!(stream.matches("CANCELLED").count(), 1, "{stream}");
}

#[tokio::test]
async fn a_browser_that_holds_its_connection_does_not_hold_a_stop_and_a_redrive_in_its_step_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile();
    let file = folder.join("held.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let environment = Environment::new([("", ""); 0], jiff::Timestamp::UNIX_EPOCH).without_secrets();
    let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    let installation = Installation::without_engines(config, &file).unwrap();
    let settings = Settings { installation: installation.into(), instances: Vec::new(), token: None };
    let state = State::new(settings, address);
    let shutdown = Shutdown::default();

    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let chosen = redrives::Chosen { source: "dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
    let held = |_| async move {
        let _ = gate.await;
        Ok(operate::dead_letters::redrive::RedriveReport::default())
    };
    let job = state.redrives.start(chosen, 5, ("ana".into(), "mended".into()), &shutdown, held).ok().unwrap();
    let connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let serving = tokio::spawn(serve_until(listener, state, shutdown.clone()));
    shutdown.stop();
    while !job.is_cancelled() {
        tokio::task::yield_now().await;
    }
    assert!(!serving.is_finished(), "its step has not ended");
    open.send(()).unwrap();
    serving.await.unwrap();
    assert!(job.is_over());
    drop(connection);
}

#[tokio::test]
async fn a_listener_that_others_reach_is_refused_without_a_token() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let folder = tempfile();
    let file = folder.join("open.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let environment = Environment::new([("", ""); 0], jiff::Timestamp::UNIX_EPOCH).without_secrets();
    let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    let installation = Installation::without_engines(config, &file).unwrap();
    let settings = Settings { installation: installation.into(), instances: Vec::new(), token: None };
    let refused = serve(listener, settings, Shutdown::default()).await;
    assert!(matches!(refused, Err(ConsoleError::Open(_))), "{refused:?}");
}
