//! Listeners, and the one that serves `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

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

/// Listens on `address`; `flag` is what the message tells a user to change.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(what: &'static str, address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError {
        what,
        address,
        flag,
        cause: match error.kind() {
            std::io::ErrorKind::AddrInUse => "the port is in use".into(),
            _ => error.to_string(),
        },
    })
}

/// Serves metrics and health until the stop is given.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(listener: TcpListener, telemetry: Telemetry, shutdown: Shutdown) -> std::io::Result<()> {
    axum::serve(listener, routes(telemetry)).with_graceful_shutdown(async move { shutdown.given().await }).await
}

/// `/metrics`, `/healthz` and `/readyz`: for listeners that strangers cannot reach.
pub fn routes(telemetry: Telemetry) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(telemetry.clone()).merge(health_routes(telemetry))
}

/// `/healthz` and `/readyz`, for listeners that anybody may reach: they name components, and metrics name sources and secrets.
pub fn health_routes(telemetry: Telemetry) -> Router {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(telemetry)
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

async fn ready(State(telemetry): State<Telemetry>) -> Response {
    answer(telemetry.health.is_ready(), &telemetry)
}

fn answer(fine: bool, telemetry: &Telemetry) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ok": fine, "components": telemetry.health.states() });
    (status, Json(body)).into_response()
}
