//! Who may see and change what: hosts, sessions, and where a change comes from.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Form;
use axum::extract::{Request, State as From};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use config::SecretText;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::{State, pages};

/// How long a browser stays signed in.
const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// Sessions that are kept; the oldest goes.
const MOST_SESSIONS: usize = 100;
/// The wait after a wrong token.
const AFTER_A_WRONG_TOKEN: Duration = Duration::from_secs(1);
/// So many wrong tokens wait at a time; others are answered at once, so that they hold nothing.
const MOST_WRONG: usize = 8;
/// How long a browser that is not signed in may take to send a form.
const FORM_WITHIN: Duration = Duration::from_secs(10);
/// A token that is shorter than this many bytes can be guessed by a program that asks for weeks.
const SHORT: usize = 16;
const COOKIE: &str = "hookline_console";
/// Nothing but what this listener serves, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A signed-in browser.
#[derive(Debug, Clone)]
struct Session {
    since: Instant,
    /// What each of its forms carries.
    form_key: String,
}

pub(crate) struct Guard {
    /// Names under which this listener is asked; any other is a page that made a browser ask (DNS rebinding).
    hosts: Vec<String>,
    is_loopback: bool,
    token: Option<SecretText>,
    sessions: Mutex<HashMap<String, Session>>,
    /// For the waits after wrong tokens. The right one waits for nothing, so strangers cannot keep the operator out.
    wrong: Semaphore,
}

/// What the asking browser may do.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// What its forms carry, if it is signed in.
    pub(crate) form_key: Option<String>,
    /// Whether there is a token to sign in with.
    pub(crate) can_sign_in: bool,
}

impl Visitor {
    pub(crate) fn is_signed_in(&self) -> bool {
        self.form_key.is_some()
    }
}

impl Guard {
    pub(crate) fn new(address: SocketAddr, token: Option<SecretText>) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string()];
        if address.ip().is_loopback() {
            hosts.extend([format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
        }
        let (sessions, wrong) = (Mutex::default(), Semaphore::new(MOST_WRONG));
        Self { hosts, is_loopback: address.ip().is_loopback(), token, sessions, wrong }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visitor(&self, headers: &HeaderMap) -> Visitor {
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.since.elapsed() < SESSION);
        let form_key = cookie(headers).and_then(|id| sessions.get(id)).map(|session| session.form_key.clone());
        Visitor { form_key, can_sign_in: self.token.is_some() }
    }

    /// A listener that other machines reach may have any name: the token holds strangers off there.
    fn knows(&self, host: &str) -> bool {
        !self.is_loopback || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Whether a request that changes something comes from a page of ours, as far as the browser says.
fn is_own(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    match site {
        // The browser has compared them itself; a page whose referrer is withheld has the origin "null".
        Some(site) => site == "same-origin",
        None => origin.is_none_or(|origin| origin.eq_ignore_ascii_case(host)),
    }
}

/// Stands before every page.
pub(crate) async fn check(From(state): From<Arc<State>>, mut request: Request, next: Next) -> Response {
    let guard = &state.guard;
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let visitor = guard.visitor(request.headers());
    let is_open = matches!(request.uri().path(), "/sign-in" | "/console.css" | "/console.js");
    let mut response = if !guard.knows(&host) {
        let text = format!("this console is not {host:?}: open it by the address that `hookline up` prints");
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if request.method() == Method::POST && !is_own(request.headers(), &host) {
        (StatusCode::FORBIDDEN, "a change must come from a page of this console").into_response()
    } else if !guard.is_loopback && !visitor.is_signed_in() && !is_open {
        Redirect::to("/sign-in").into_response()
    } else {
        let is_form_of_a_stranger = request.method() == Method::POST && !visitor.is_signed_in();
        request.extensions_mut().insert(visitor);
        let answer = next.run(request);
        match is_form_of_a_stranger {
            true => tokio::time::timeout(FORM_WITHIN, answer).await.unwrap_or_else(|_| too_slow()),
            false => answer.await,
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn too_slow() -> Response {
    (StatusCode::REQUEST_TIMEOUT, format!("the form did not come within {} s", FORM_WITHIN.as_secs())).into_response()
}

/// Says so where a token is one that a program could guess, on a listener that other machines reach.
pub(crate) fn advise_on(token: Option<&SecretText>) {
    if token.is_some_and(|token| token.reveal().trim().len() < SHORT) {
        tracing::warn!(
            "the token of the console is shorter than {SHORT} bytes, and other machines reach its listener: give it a random one, as from \
             `openssl rand -hex 32`"
        );
    }
}

/// Whether a form carries the key of the session that sends it.
pub(crate) fn is_of_session(visitor: &Visitor, form_key: &str) -> bool {
    visitor.form_key.as_ref().is_some_and(|key| bool::from(key.as_bytes().ct_eq(form_key.as_bytes())))
}

/// The answer to a form that is not.
pub(crate) fn of_another_session() -> Response {
    (StatusCode::FORBIDDEN, "this form is not of your session: sign in, and send it again").into_response()
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    token: String,
}

/// Takes the token, and gives the browser a session.
pub(crate) async fn sign_in(From(state): From<Arc<State>>, Form(form): Form<SignIn>) -> Response {
    let guard = &state.guard;
    let Some(token) = &guard.token else {
        return (StatusCode::FORBIDDEN, pages::sign_in_page(&Visitor { form_key: None, can_sign_in: false }, None))
            .into_response();
    };
    if !bool::from(token.reveal().trim().as_bytes().ct_eq(form.token.trim().as_bytes())) {
        let Ok(_turn) = guard.wrong.try_acquire() else {
            let wait = [(header::RETRY_AFTER, AFTER_A_WRONG_TOKEN.as_secs().to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, wait, "many wrong tokens are given: try again in a moment")
                .into_response();
        };
        tracing::warn!("a wrong token was given at the console");
        tokio::time::sleep(AFTER_A_WRONG_TOKEN).await;
        let visitor = Visitor { form_key: None, can_sign_in: true };
        return (StatusCode::FORBIDDEN, pages::sign_in_page(&visitor, Some("This is not the token."))).into_response();
    }
    let (id, form_key) = (random(), random());
    let mut sessions = guard.sessions();
    if sessions.len() >= MOST_SESSIONS
        && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.since).map(|(id, _)| id.clone())
    {
        sessions.remove(&oldest);
    }
    sessions.insert(id.clone(), Session { since: Instant::now(), form_key });
    drop(sessions);
    let set = format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", SESSION.as_secs());
    ([(header::SET_COOKIE, set)], Redirect::to("/")).into_response()
}

/// Ends the session of the browser.
pub(crate) async fn sign_out(From(state): From<Arc<State>>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie(&headers) {
        state.guard.sessions().remove(id);
    }
    let set = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, set)], Redirect::to("/")).into_response()
}

fn random() -> String {
    const_hex::encode(rand::random::<[u8; 32]>())
}
