//! The console: what [`operate`] reports, as pages for a browser.
//!
//! Pages are rendered here and work as links and forms; one small script makes the first page live. A person who
//! reaches the listener on loopback may read. Every change, the bytes of dead letters and the search for an event want
//! the token of
//! `[console]`; a listener that other machines reach wants it for everything.

mod chart;
mod guard;
mod listener;
mod pages;
mod redrives;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use config::SecretText;
use operate::Installation;
use operate::status::{self, StatusReport};
use runtime::{Current, Live, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use guard::Guard;
use redrives::Redrives;

/// How old a status may be that is shown once more: many may look at the same time, and the engines are asked once.
const STATUS_KEPT: Duration = Duration::from_secs(2);

/// What the console needs to know.
pub struct Settings {
    /// What it is about: the newest, for each page.
    pub installation: Live<Installation>,
    /// Addresses of metrics of services that the status shall ask, beside those that the configuration names.
    pub instances: Vec<String>,
    /// What changes need; without it the console only reads.
    pub token: Option<SecretText>,
}

/// Why a console cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Other machines could read it, and nothing would hold them off.
    #[error(
        "the console would listen on {0}, which other machines can reach, without a token; set [console] token, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The listener failed.
    #[error("the console's listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// What all pages stand on.
pub(crate) struct State {
    installation: Live<Installation>,
    instances: Vec<String>,
    guard: Guard,
    status: Mutex<Option<(Instant, Arc<StatusReport>)>>,
    redrives: Redrives,
}

impl State {
    fn new(Settings { installation, instances, token }: Settings, address: SocketAddr) -> Arc<Self> {
        let guard = Guard::new(address, token);
        Arc::new(Self { installation, instances, guard, status: Mutex::default(), redrives: Redrives::default() })
    }

    /// What a page is about.
    fn installation(&self) -> Current<Installation> {
        self.installation.current()
    }

    /// The status, at most [`STATUS_KEPT`] old.
    async fn status(&self) -> Arc<StatusReport> {
        let mut kept = self.status.lock().await;
        if let Some((at, report)) = &*kept
            && at.elapsed() < STATUS_KEPT
        {
            return Arc::clone(report);
        }
        let report = Arc::new(status::read(&self.installation(), &self.instances).await);
        *kept = Some((Instant::now(), Arc::clone(&report)));
        report
    }
}

/// Whether a console may listen there: on an address that other machines reach it needs a token.
///
/// # Errors
/// When it has none there.
pub fn may_listen(address: SocketAddr, token: Option<&SecretText>) -> Result<(), ConsoleError> {
    match address.ip().is_loopback() || token.is_some() {
        true => Ok(()),
        false => Err(ConsoleError::Open(address)),
    }
}

/// Serves the console until the stop is given, and the discard or the step of a redrive is over that was under way
/// then.
///
/// # Errors
/// When other machines reach the listener and the token is missing, or the listener fails.
pub async fn serve(listener: TcpListener, settings: Settings, shutdown: Shutdown) -> Result<(), ConsoleError> {
    let address = listener.local_addr()?;
    may_listen(address, settings.token.as_ref())?;
    if !address.ip().is_loopback() {
        guard::advise_on(settings.token.as_ref());
    }
    serve_until(listener, State::new(settings, address), shutdown).await;
    Ok(())
}

async fn serve_until(listener: TcpListener, state: Arc<State>, shutdown: Shutdown) {
    let router = router(Arc::clone(&state), shutdown.clone());
    let redrives = async {
        shutdown.given().await;
        state.redrives.finish().await;
    };
    tokio::join!(listener::serve(listener, router, listener::HEAD_WITHIN, shutdown.clone()), redrives);
}

fn router(state: Arc<State>, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/", get(pages::now::page))
        .route("/live", get(pages::now::live))
        .route("/ledger", get(pages::ledger::page))
        .route("/sources", get(pages::sources::page).post(pages::sources::switch))
        .route("/rules", get(pages::rules::page))
        .route("/dead-letters", get(pages::letters::page))
        .route("/dead-letters/bytes", get(pages::letters::bytes))
        .route("/dead-letters/redrive", get(pages::redrive::plan).post(pages::redrive::start))
        .route("/dead-letters/discard", get(pages::discard::plan).post(pages::discard::decide))
        .route("/dead-letters/progress", get(pages::redrive::progress))
        .route("/dead-letters/progress/live", get(pages::redrive::live))
        .route("/dead-letters/cancel", post(pages::redrive::cancel))
        .route("/links", get(pages::links::page))
        .route("/handbook", get(pages::handbook::page))
        .route("/reports", get(pages::reports::page))
        .route("/reports/csv", get(pages::reports::csv))
        .route("/event", get(pages::event::page))
        .route("/changes", get(pages::changes::page))
        .route("/sign-in", get(pages::sign_in).post(guard::sign_in))
        .route("/sign-out", post(guard::sign_out))
        .route("/console.css", get(style))
        .route("/console.js", get(script))
        .route("/favicon.ico", get(async || axum::http::StatusCode::NO_CONTENT))
        .layer(from_fn_with_state(Arc::clone(&state), guard::check))
        .layer(axum::Extension(shutdown))
        .with_state(state)
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/console.css"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/console.js"))
}

#[cfg(test)]
mod tests;
