//! The API listener: the operations routes, and the control API with ngrok's routes and manners.
//!
//! It decides who may ask and how often, and translates between HTTP and the control plane, which
//! decides what a change may be.

mod answer;
mod bury;
mod control;
mod daemons;
mod drain;
mod examine;
mod forget;
mod ledger;
mod letters;
mod metrics;
mod openapi;
mod orders;
mod place;
mod rate;
mod reload;
mod replay;
mod request;
mod routes;
mod snapshot;
mod status;
mod try_filter;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::metrics_exporter_prometheus::PrometheusHandle;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::error;

use crate::budget::Budget;
use crate::control::Control;
use crate::event::Timestamp;
use crate::http::{
    BearerTokens, ConnectionLimits, ErrorAnswer, TlsSettings, TrustedProxies, held_answer,
};
use crate::ingest::Boards;
use crate::pipeline::Pipeline;
use crate::telemetry;

pub use daemons::keep_reporting;
pub use examine::examination;
pub use ledger::ledger_to_json;
pub use orders::keep_obeying;
pub use rate::RateLimit;
pub use reload::CONFIRM_REMOVAL;
pub use request::{MAX_BODY, encode};
use snapshot::Snapshot;

/// The settings of the API listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiSettings {
    pub listen: SocketAddr,
    /// Who may read `/status`, `/ledger` and `/metrics` where the address is not loopback, besides
    /// the owners of API keys: for programs that know one fixed token. On a loopback address
    /// everyone may.
    pub bearer_tokens: BearerTokens,
    /// How many connections there may be, and how long they may take.
    pub connections: ConnectionLimits,
    /// How many requests the control API takes of each owner of keys, and of each address without one.
    pub rate_limit: RateLimit,
    /// The base of addresses in answers, without a slash at its end; if there is none, the host
    /// that each request names.
    pub public_url: Option<String>,
    /// Whether a restriction of the type `api` refuses anybody: without it, whoever shut themselves
    /// out can fix the restriction.
    pub enforce_ip_restrictions: bool,
    /// Whether TLS is spoken, and with which certificate.
    pub tls: Option<TlsSettings>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
}

impl Default for ApiSettings {
    /// Loopback port 4181.
    fn default() -> ApiSettings {
        ApiSettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4181),
            bearer_tokens: BearerTokens::default(),
            connections: ConnectionLimits {
                max_connections: MAX_CONNECTIONS,
                ..ConnectionLimits::default()
            },
            rate_limit: RateLimit::default(),
            public_url: None,
            enforce_ip_restrictions: true,
            tls: None,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// Most that the bodies of requests may hold together, with what they are parsed into, in bytes: the
/// largest subscriptions of some callers at a time.
pub const MAX_MEMORY: usize = 24 << 20;

/// Most that answers may hold together which their clients have not taken yet, in bytes: some large pages, or
/// readings of thousands of subscriptions, at a time.
pub const MAX_ANSWERS: usize = 8 << 20;

/// Most connections if nothing else is set: people, probes and programs that change things are fewer than
/// senders.
const MAX_CONNECTIONS: usize = 256;

/// What the API listener serves from.
pub struct Api {
    settings: ApiSettings,
    /// Where others reach it.
    address: String,
    /// Which process this is, among those of one name.
    instance: String,
    control: Arc<Control>,
    pipeline: Arc<Pipeline>,
    accepting: Arc<AtomicBool>,
    metrics: PrometheusHandle,
    boards: Boards,
    windows: rate::Windows,
    budget: Arc<Budget>,
    /// What answers hold.
    answers: Arc<Budget>,
    started_at: Timestamp,
    snapshots: Snapshots,
    meter: daemons::Meter,
    /// What other daemons have asked.
    done: orders::Done,
}

/// The last readings of the operations routes.
#[derive(Default)]
struct Snapshots {
    status: Snapshot,
    ledger: Snapshot,
    metrics: Snapshot,
}

/// The routes while the daemon starts, which takes a while if the journal has much to recover: it is
/// alive and not ready.
pub fn starting() -> Routes {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let not_ready = move || async move { (unavailable, "starting\n") };
    let not_yet = move || async move {
        let message = "the daemon is starting: ask again when `/readyz` says 200";
        ErrorAnswer::new(unavailable, "ERR_SLUICEGATE_1354", message).retry_after(1)
    };
    let probes =
        Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(not_ready));
    Routes { reserve: reserve(probes.clone()), all: probes.fallback(not_yet) }
}

/// The routes of the API listener.
pub struct Routes {
    pub all: Router,
    /// What is answered where all connections are busy: probes.
    pub reserve: Router,
}

/// The probes, and for all else that there is no place, and after either the end.
fn reserve(probes: Router) -> Router {
    let busy = || async {
        let message = "all connections that the API may have, or your address, are busy: ask again later, or raise `api.max_connections`";
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        ErrorAnswer::new(unavailable, "ERR_SLUICEGATE_1370", message).retry_after(1)
    };
    let hang_up = |mut response: Response| async {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    };
    probes.fallback(busy).method_not_allowed_fallback(busy).layer(middleware::map_response(hang_up))
}

/// The routes of the API listener.
///
/// The probes are answered where the router is served; all else is done on the runtime that this is called
/// on, so that a probe waits for nothing.
pub fn router(api: Arc<Api>) -> Routes {
    let guarded = Router::new()
        .route("/status", get(show_status))
        .route("/ledger", get(show_ledger))
        .route("/metrics", get(show_metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), guard));
    let rest = guarded
        .fallback(control_api)
        .method_not_allowed_fallback(control_api)
        .with_state(Arc::clone(&api))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), hold_answer));
    let main = Handle::current();
    let elsewhere = move |request: Request| forward(main.clone(), rest.clone(), request);
    let probes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(api);
    let all = probes.clone().fallback(elsewhere.clone()).method_not_allowed_fallback(elsewhere);
    Routes { all, reserve: reserve(probes) }
}

/// Where an API is reached: by its public address, or by the one that it listens on, in which the host's name
/// stands for all addresses.
fn address(settings: &ApiSettings, listens: SocketAddr, control: &Control) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    match listens.ip().is_unspecified() {
        true => format!("{scheme}://{}:{}", control.host(), listens.port()),
        false => format!("{scheme}://{listens}"),
    }
}

/// Has a request answered on another runtime. It is given up when its client goes.
async fn forward(main: Handle, router: Router, request: Request) -> Response {
    let mut answering = JoinSet::new();
    answering.spawn_on(TowerToHyperService::new(router).call(request), &main);
    match answering.join_next().await {
        Some(Ok(Ok(response))) => response,
        Some(Err(failure)) => {
            error!(%failure, "a request was not answered");
            let message = "the daemon failed over this request; its log says more";
            ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_SLUICEGATE_1355", message)
                .into_response()
        }
        _ => {
            let message = "the daemon is stopping: ask again once it runs";
            ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "ERR_SLUICEGATE_1107", message)
                .into_response()
        }
    }
}

impl Api {
    /// An API that listens on an address. `/readyz` says whether the next body would be kept, which none is
    /// while `accepting` is false; `boards` tell of the entrances.
    pub fn new(
        settings: ApiSettings,
        listens: SocketAddr,
        (control, accepting): (Arc<Control>, Arc<AtomicBool>),
        metrics: PrometheusHandle,
        boards: Boards,
    ) -> Arc<Api> {
        Arc::new(Api {
            address: address(&settings, listens, &control),
            instance: format!("{:016x}", rand::random::<u64>()),
            windows: rate::Windows::new(settings.rate_limit),
            pipeline: Arc::clone(control.pipeline()),
            budget: Budget::new(MAX_MEMORY),
            answers: Budget::new(MAX_ANSWERS),
            started_at: Timestamp::now(),
            snapshots: Snapshots::default(),
            meter: daemons::Meter::default(),
            done: orders::Done::default(),
            settings,
            control,
            accepting,
            metrics,
            boards,
        })
    }

    /// Why the next body would not be kept, if so.
    fn not_ready(&self) -> Option<String> {
        if !self.accepting.load(Ordering::Acquire) {
            return Some("stopping".to_owned());
        }
        if let Some(held) = self.pipeline.on_hold() {
            return Some(held.reason);
        }
        match &self.boards.relay {
            Some(relay) => relay.refusal().map(|why| format!("the relay cannot write: {why}")),
            None => self.pipeline.refusal(),
        }
    }
}

/// Lets readers of the operations routes in: everyone on a loopback address, elsewhere those with a
/// token of the settings or an API key.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let open = api.settings.listen.ip().is_loopback();
    let tokens = &api.settings.bearer_tokens;
    let admitted = match control::check_address(&api, &parts) {
        Ok(()) if open => Ok(()),
        Ok(()) if !tokens.is_empty() && tokens.check(&parts.headers).is_ok() => Ok(()),
        Ok(()) => control::identify(&api, &parts).await.map(drop),
        Err(refused) => Err(refused),
    };
    match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => {
            control::note(&api, &parts, &refused);
            answer::respond(Err(refused), &routes::operation_id())
        }
    }
}

/// Counts what an answer holds. Where there is no memory for it, a reading is refused; of a change, which is made,
/// only that is said.
async fn hold_answer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let is_reading = request.method().is_safe();
    let (mut parts, body) = next.run(request).await.into_parts();
    // All of them are made whole.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return no_room() };
    let held = api.answers.hold();
    match held.grow(bytes.len()) {
        Ok(()) => Response::from_parts(parts, held_answer(bytes, held)),
        Err(_) if is_reading => no_room(),
        Err(_) => {
            let warning = "199 sluicegate \"clients take no answers: read what was made\"";
            parts.headers.insert(header::WARNING, HeaderValue::from_static(warning));
            Response::from_parts(parts, "{}".into())
        }
    }
}

fn no_room() -> Response {
    let message = "answers that clients have not taken yet hold all the memory that they may: ask again later, for less";
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    ErrorAnswer::new(unavailable, "ERR_SLUICEGATE_1371", message).retry_after(1).into_response()
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.not_ready() {
        None => match api.control.standing().and_then(|it| it.reach.error) {
            None => "ready\n".into_response(),
            // It goes on with the set in force, and a probe is no place to stop that.
            Some(error) => format!("ready, with the set in force: {error}\n").into_response(),
        },
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn show_status(State(api): State<Arc<Api>>, request: Request) -> Response {
    match names_daemon(&request) {
        true => control::answer(&api, request).await,
        false => json(read_status(&api).await),
    }
}

async fn show_ledger(State(api): State<Arc<Api>>, request: Request) -> Response {
    match names_daemon(&request) {
        true => control::answer(&api, request).await,
        false => json(read_ledger(&api).await),
    }
}

/// Whether a reading is asked of a daemon by name, which needs a key everywhere: the daemon that is named may
/// not be on loopback.
fn names_daemon(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("daemon="))
}

async fn read_status(api: &Api) -> Bytes {
    let (pipeline, control) = (Arc::clone(&api.pipeline), Arc::clone(&api.control));
    let (boards, started_at) = (api.boards.clone(), api.started_at);
    let make = move || {
        let (status, entrances) = (pipeline.status(), boards.read());
        status::to_json(&status, &control, started_at, &entrances).to_string().into_bytes()
    };
    api.snapshots.status.read(make).await
}

async fn read_ledger(api: &Api) -> Bytes {
    let pipeline = Arc::clone(&api.pipeline);
    let make = move || ledger_to_json(&pipeline.ledger()).to_string().into_bytes();
    api.snapshots.ledger.read(make).await
}

/// A reading as a part of another answer.
fn reading(body: Bytes) -> Value {
    serde_json::from_slice(&body).unwrap_or_default()
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn show_metrics(State(api): State<Arc<Api>>) -> Response {
    let of_reading = Arc::clone(&api);
    let body = api.snapshots.metrics.read(move || {
        metrics::set(&of_reading.pipeline.status(), &of_reading.boards.read());
        metrics::set_ledger(&of_reading.pipeline.ledger());
        metrics::set_access(&of_reading.control.access());
        metrics::set_ready(of_reading.not_ready().is_none());
        metrics::set_reload(of_reading.control.rejected_reload().is_none());
        metrics::set_refused(of_reading.pipeline.refusals());
        let control = &of_reading.control;
        metrics::set_store(control.cannot_write().is_some(), control.changed_outside().len());
        metrics::set_fleet(control.standing().as_ref());
        telemetry::show_counts();
        of_reading.metrics.render().into_bytes()
    });
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], body.await).into_response()
}

async fn control_api(State(api): State<Arc<Api>>, request: Request) -> Response {
    control::answer(&api, request).await
}
