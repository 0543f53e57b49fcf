//! The description of this service for platforms and their tools.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// OpenAPI 3.1. A test of the pipeline holds it against a running ingest.
const DESCRIPTION: &str = include_str!("../../../../schemas/openapi.json");
/// It changes with a release, so whoever has a copy of this hour has a good one.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `GET /openapi.json`.
pub(crate) async fn description() -> Response {
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::CACHE_CONTROL, CACHE_CONTROL)];
    (headers, DESCRIPTION).into_response()
}
