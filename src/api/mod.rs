//! The API listener: for now the operations routes, read-only.
//!
//! It translates readings into answers and decides nothing. The control API (ngrok's routes) will
//! stand beside them on the same listener.

mod metrics;
mod status;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::metrics_exporter_prometheus::PrometheusHandle;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::{BearerTokens, ErrorAnswer};
use crate::pipeline::Pipeline;

/// The settings of the API listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may read `/status` and `/metrics` where the address is not loopback. Without a token
    /// nobody may there; on a loopback address everyone may.
    pub bearer_tokens: BearerTokens,
    /// Most connections at a time; more wait.
    pub max_connections: usize,
}

impl Default for Settings {
    /// Loopback port 4181.
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4181),
            bearer_tokens: BearerTokens::default(),
            max_connections: 256,
        }
    }
}

struct Api {
    settings: Settings,
    pipeline: Arc<Pipeline>,
    accepting: Arc<AtomicBool>,
    metrics: PrometheusHandle,
}

/// The routes of the API listener. `/readyz` says whether `accepting` is true.
pub fn router(
    settings: Settings,
    pipeline: Arc<Pipeline>,
    accepting: Arc<AtomicBool>,
    metrics: PrometheusHandle,
) -> Router {
    let api = Arc::new(Api { settings, pipeline, accepting, metrics });
    let guarded = Router::new()
        .route("/status", get(show_status))
        .route("/metrics", get(show_metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), guard));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .fallback(not_found)
        .with_state(api)
}

async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if api.settings.listen.ip().is_loopback() {
        return next.run(request).await;
    }
    if api.settings.bearer_tokens.is_empty() {
        return ErrorAnswer::new(
            StatusCode::FORBIDDEN,
            "ERR_NGROK_200",
            "this address is not loopback: set `api.bearer_tokens` to let readers in",
        )
        .into_response();
    }
    match api.settings.bearer_tokens.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            let message = refused.to_string();
            ErrorAnswer::new(StatusCode::UNAUTHORIZED, refused.code(), message).into_response()
        }
    }
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    if api.accepting.load(Ordering::Acquire) {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
}

async fn show_status(State(api): State<Arc<Api>>) -> Response {
    axum::Json(status::to_json(&api.pipeline.status())).into_response()
}

async fn show_metrics(State(api): State<Arc<Api>>) -> Response {
    metrics::set(&api.pipeline.status());
    let text = api.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn not_found() -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::NOT_FOUND,
        "ERR_SLUICEGATE_1109",
        "nothing here: there are /healthz, /readyz, /status and /metrics",
    )
}
