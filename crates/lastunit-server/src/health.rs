//! Whether the server lives, whether it can serve, and its figures; none of them asks for a key.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};

use crate::{app::App, openapi::openapi_json, problem::Problem, schema};

fn constant(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Whether the process answers at all.
#[utoipa::path(
    get, path = "/health/live", tag = "operation", operation_id = "live", security(()),
    responses((status = 200, description = "It does", body = schema::Health)),
)]
pub(crate) async fn live() -> Response {
    constant("application/json", &br#"{"status":"ok"}"#[..])
}

/// Whether the server can place orders: it isn't stopping, and its database answers.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "It can", body = schema::Health),
        (status = 503, description = "store_unavailable or overloaded (stopping): send it no requests now",
            body = schema::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds to wait"))),
    ),
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if app.stopping.load(Ordering::Acquire) {
        return Err(Problem::overloaded().because("stopping"));
    }
    match tokio::time::timeout(app.config.ping_timeout, app.store().ping()).await {
        Ok(pong) => pong?,
        Err(_) => return Err(Problem::unavailable().because("no answer to a ping in time")),
    }
    Ok(constant("application/json", &br#"{"status":"ok"}"#[..]))
}

/// Figures for Prometheus, as OpenMetrics text.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics", security(()),
    responses((status = 200, description = "OpenMetrics 1.0", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text =
        app.metrics.encode(app.engine.waiting()).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(constant("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(crate) async fn openapi() -> Response {
    constant("application/json", openapi_json())
}
