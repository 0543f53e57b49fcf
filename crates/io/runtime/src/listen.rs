//! Listeners, and the one that serves `/metrics`, `/healthz`, `/readyz` and `/livez`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::{Router, routing::get};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::{Shutdown, Telemetry};

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {what}: {cause}; choose another address with {flag}")]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
    cause: String,
}

/// Between two attempts to listen.
const RETRY: Duration = Duration::from_millis(50);
/// How long a port may be held by a program that is ending: the threads of one that was killed outlive its main thread.
const FREE_WITHIN: Duration = Duration::from_secs(15);

/// Listens on `address`; `flag` is what the message tells a user to change. A port that is in use is waited for, up to 15 s: a
/// service that was killed and is started at once meets its own last threads.
///
/// # Errors
/// When the address is taken by something that stays, or is not ours.
pub async fn bind(what: &'static str, address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    bind_within(FREE_WITHIN, what, address, flag).await
}

async fn bind_within(
    patience: Duration,
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<TcpListener, BindError> {
    let asked = Instant::now();
    let mut said = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        if !in_use || asked.elapsed() > patience {
            let cause = if in_use { "the port is in use".into() } else { error.to_string() };
            return Err(BindError { what, address, flag, cause });
        }
        if !said {
            tracing::warn!("{address} for {what} is in use: waiting for it, up to {} s", patience.as_secs());
            said = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Serves metrics and health until the stop is given.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(listener: TcpListener, telemetry: Telemetry, shutdown: Shutdown) -> std::io::Result<()> {
    let beat = telemetry.beats.register("listener", "the listener of metrics");
    let serving =
        axum::serve(listener, routes(telemetry)).with_graceful_shutdown(async move { shutdown.given().await });
    beat.alongside(serving.into_future()).await
}

/// `/metrics`, `/healthz`, `/readyz` and `/livez`: for listeners that strangers cannot reach.
pub fn routes(telemetry: Telemetry) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(telemetry.clone()).merge(health_routes(telemetry))
}

/// `/healthz` (a person must look), `/readyz` (send traffic) and `/livez` (a restart helps), for listeners that
/// strangers may reach: they name components, and metrics name sources and secrets.
pub fn health_routes(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/livez", get(live))
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn alive(State(telemetry): State<Telemetry>) -> Response {
    answer(telemetry.health.is_alive(), &telemetry)
}

/// 503: a thread or task shows no sign of life, and a restart helps. Everything else is the business of the other two.
async fn live(State(telemetry): State<Telemetry>) -> Response {
    let names: Vec<_> = telemetry.beats.stuck().into_iter().map(|stuck| stuck.name).collect();
    let status = if names.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ok": names.is_empty(), "stuck": names }))).into_response()
}

async fn ready(State(telemetry): State<Telemetry>) -> Response {
    answer(telemetry.health.is_ready(), &telemetry)
}

fn answer(fine: bool, telemetry: &Telemetry) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ok": fine, "components": telemetry.health.states() });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn livez_is_503_from_a_panic_on_and_the_listener_is_itself_watched() {
        let (telemetry, shutdown) = (Telemetry::new("").unwrap(), Shutdown::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(serve_metrics(listener, telemetry.clone(), shutdown.clone()));
        while telemetry.beats.names() != ["the listener of metrics"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let status = async || live(State(telemetry.clone())).await.status();
        assert_eq!(status().await, StatusCode::OK);
        let beat = telemetry.beats.register("lane watch", "lane watch");
        let thread = std::thread::spawn(move || {
            beat.tick();
            panic!("a defect");
        });
        assert!(thread.join().is_err());
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        shutdown.stop();
        serving.await.unwrap().unwrap();
        assert_eq!(telemetry.beats.names(), ["lane watch"]);
    }

    #[tokio::test]
    async fn a_port_that_is_given_back_soon_is_waited_for_and_one_that_is_not_is_named() {
        let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = holder.local_addr().unwrap();
        let refused = bind_within(Duration::from_millis(200), "metrics", address, "--metrics").await.unwrap_err();
        assert!(refused.to_string().contains("the port is in use; choose another address with --metrics"), "{refused}");
        let ends = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(holder);
        });
        let listener = bind("metrics", address, "--metrics").await.unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        ends.await.unwrap();
    }
}
