//! The daemon: opens everything in order, reloads, drains and stops. The only room that sees all
//! others.

mod adopt;
mod referenced;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::api::{self, Api};
use crate::config::{Config, Mistakes};
use crate::control::{Control, Refusal, ReloadAsked, Saved};
use crate::http::{CannotListen, ConnectionLimits, Listener, TrustedProxies, fit_to_files};
use crate::ingest;
use crate::ingest::{
    Boards, CannotConsume, CannotFollow, Envoy, Files, HttpSettings, Kafka, Relay, Stdin, Syslog,
};
use crate::journal::{Durability, Journal, JournalSettings};
use crate::pipeline::{CannotOpen, Pipeline, Status};
use crate::resources::Resources;
use crate::sinks::LogOutput;
use crate::supervision;
use crate::telemetry::Entrance;
use referenced::Watch;

pub use adopt::adopt;

/// How often the metrics recorder folds its histograms, so that they stay small when nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Why the daemon did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal's folder cannot be used.
    #[error("`data_dir`: {directory} cannot be used: {cause}")]
    Journal { directory: PathBuf, cause: io::Error },
    #[error(transparent)]
    Destination(#[from] CannotOpen),
    /// What was made through the API cannot be used.
    #[error(transparent)]
    Control(#[from] Refusal),
    /// Kafka cannot be consumed with these settings.
    #[error("`ingest.kafka`: {0}")]
    Kafka(CannotConsume),
    /// The relay has no thread.
    #[error("`ingest.http.relay`: no thread: {0}")]
    Relay(io::Error),
    /// Log files cannot be followed.
    #[error("{0}")]
    Files(CannotFollow),
    /// An address cannot be listened on.
    #[error("`{setting}`: {cause}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        cause: CannotListen,
    },
}

/// A listener that is being served.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Served {
    fn new(
        listener: Listener,
        router: Router,
        limits: ConnectionLimits,
        proxies: TrustedProxies,
    ) -> Served {
        let address = listener.address();
        let (stop, stopped) = watch::channel(false);
        let serve = serving(listener, router, limits, proxies, stopped);
        let task = tokio::spawn(supervision::keep("ingest", serve));
        Served { address, stop, task }
    }

    /// The API on a thread and a runtime of its own, so that who is served there waits for nobody
    /// elsewhere. Its routes are to do nothing long there.
    ///
    /// # Errors
    /// When the system gives no thread.
    fn apart(
        listener: Listener,
        routes: api::Routes,
        limits: ConnectionLimits,
        proxies: TrustedProxies,
    ) -> Result<Served, CannotListen> {
        let address = listener.address();
        let cannot = |cause| CannotListen { address, cause };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(cannot)?;
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = oneshot::channel::<()>();
        let listener = listener.reserving(routes.reserve);
        let serving = serving(listener, routes.all, limits, proxies, stopped);
        let serve = move || {
            runtime.block_on(supervision::keep("api", serving));
            drop(ending);
        };
        thread::Builder::new().name("api".to_owned()).spawn(serve).map_err(cannot)?;
        let task = tokio::spawn(async move {
            // That the thread is done is told by its end of the channel going.
            let _ = ended.await;
        });
        Ok(Served { address, stop, task })
    }

    /// Stops accepting and waits until the requests in progress are answered.
    async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(address = %self.address, %error, "the listener ended early");
        }
    }
}

/// Serves a listener until the stop, each time that it is called.
fn serving(
    listener: Listener,
    router: Router,
    limits: ConnectionLimits,
    proxies: TrustedProxies,
    stopped: watch::Receiver<bool>,
) -> impl FnMut() -> BoxFuture<'static, Result<(), String>> {
    move || {
        let serve = listener.clone().serve(
            router.clone(),
            limits,
            proxies.clone(),
            is_set(stopped.clone()),
        );
        Box::pin(async { serve.await.map_err(|error| error.to_string()) })
    }
}

/// Waits for a stop.
async fn is_set(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

pub struct Daemon {
    config: Config,
    pipeline: Arc<Pipeline>,
    control: Arc<Control>,
    accepting: Arc<AtomicBool>,
    ingest: Option<Served>,
    others: Entrances,
    api: Served,
}

impl Daemon {
    /// Opens journal, destinations and listeners, in this order, and starts. `recovery` learns of it while
    /// the journal is recovered how many bytes have been read, and how many there are to read.
    ///
    /// # Errors
    /// When any of them cannot be opened.
    pub async fn start(
        mut config: Config,
        metrics: PrometheusHandle,
        log_output: LogOutput,
        recovery: impl Fn(u64, u64) + Send + 'static,
    ) -> Result<Daemon, StartError> {
        let cannot = |setting| move |cause| StartError::Listen { setting, cause };
        let (of_api, of_ingest) = connection_limits(&mut config);
        let ingest_listener = match &config.ingest {
            Some(http) => {
                let bound = Listener::bind(http.listen, http.tls.as_ref()).await;
                Some(bound.map_err(cannot("ingest.http.listen"))?)
            }
            None => None,
        };
        let api_listener = Listener::bind(config.api.listen, config.api.tls.as_ref())
            .await
            .map_err(cannot("api.listen"))?;
        let own = ingest_listener.iter().map(Listener::address).chain([api_listener.address()]);
        let own = own.chain(config.other_listeners());
        config.resources.api_targets.outbound.set_own(own.collect());
        let (limits, proxies) = (of_api, config.api.trusted_proxies.clone());
        let starting = Served::apart(api_listener.clone(), api::starting(), limits, proxies);
        let starting = starting.map_err(cannot("api.listen"))?;
        let journal = open_journal(config.journal.clone(), recovery).await?;
        let saved = load_saved(&config).await?;
        let resources = saved.resources()?;
        let pipeline = Arc::new(Pipeline::start(&resources, journal, log_output).await?);
        let control = Control::new(saved, Arc::clone(&pipeline))?;
        control.note_settings(config.hash.clone());
        starting.stop().await;
        begin_upkeep(&metrics, &control);
        let accepting = Arc::new(AtomicBool::new(true));
        let shared = || (Arc::clone(&control), Arc::clone(&accepting));
        let relay = config.ingest.as_ref().and_then(|http| http.relay.clone());
        let relay = relay.map(Relay::start).transpose().map_err(StartError::Relay)?;
        let relay_board = relay.as_ref().map(|it| it.board());
        let serve = |(listener, http): (Listener, HttpSettings)| {
            let (limits, proxies) = (of_ingest, http.trusted_proxies.clone());
            let (to_control, to_accepting) = shared();
            let listener = listener.telling(Entrance::Http, pipeline.refusals());
            let router = ingest::router(http, relay.clone(), to_control, to_accepting);
            Served::new(listener, router, limits, proxies)
        };
        let ingest = ingest_listener.zip(config.ingest.clone()).map(serve);
        let others = Entrances::start(&config, &pipeline).await?;
        let boards = Boards { relay: relay_board, ..others.boards() };
        let own = (config.api.clone(), api_listener.address());
        let api = Api::new(own.0, own.1, shared(), metrics, boards);
        begin_reporting(&api);
        let routes = api::router(api);
        let (limits, proxies) = (of_api, config.api.trusted_proxies.clone());
        let api_listener = api_listener.telling(Entrance::Api, pipeline.refusals());
        let api = Served::apart(api_listener, routes, limits, proxies);
        let api = api.map_err(cannot("api.listen"))?;
        remark(&config, &resources, &control);
        info!(
            ingest = ingest.as_ref().map(|it| tracing::field::display(it.address)),
            api = %api.address,
            durability = %config.journal.durability,
            destinations = resources.destinations().len(),
            subscriptions = resources.subscriptions().len(),
            "ready"
        );
        let started = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "destinations": resources.destinations().len(),
            "subscriptions": resources.subscriptions().len(),
        });
        control.tell("daemon_started.v0", started, None).await;
        Ok(Daemon { config, pipeline, control, accepting, ingest, others, api })
    }

    /// The address of HTTP ingest, if there is any.
    #[must_use]
    pub fn ingest_address(&self) -> Option<SocketAddr> {
        self.ingest.as_ref().map(|it| it.address)
    }

    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api.address
    }

    /// A reading of everything that is counted.
    #[must_use]
    pub fn status(&self) -> Status {
        self.pipeline.status()
    }

    /// Done when nothing can come in any more: standard input is the only entrance and has ended.
    async fn entrance_ended(&self) {
        match &self.others.stdin {
            Some(stdin) if self.ingest.is_none() && self.others.is_only_stdin() => {
                stdin.ended().await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Stops accepting, answers what is in progress, delivers what is pending for as long as the
    /// settings allow, and tells what became of it.
    pub async fn stop(self) -> Ended {
        let pending = self
            .pipeline
            .status()
            .destinations
            .iter()
            .map(|it| it.account.pending_records)
            .sum::<u64>();
        info!(pending, "stopping: nothing more is accepted");
        self.accepting.store(false, Ordering::Release);
        self.others.stop_following();
        if let Some(ingest) = self.ingest {
            ingest.stop().await;
        }
        let followed = self.others.stop_taking().await;
        if let Err(error) = self.control.save_uses().await {
            warn!(%error, "when keys were last used is not saved");
        }
        let left = self.pipeline.drain(self.config.drain_limit).await;
        followed.leave().await;
        if let Err(error) = self.control.leave_fleet().await {
            warn!(%error, "the fleet shows this daemon for a day");
        }
        self.api.stop().await;
        match (left, self.config.journal.durability) {
            (0, _) => {
                info!("stopped: nothing is pending");
                Ended::Clean
            }
            (left, Durability::Disk) => {
                warn!(left, "stopped: the rest waits in the journal for the next start");
                Ended::Kept(left)
            }
            (left, Durability::Memory) => {
                error!(left, "stopped at the deadline: records that were in memory are lost");
                Ended::Lost(left)
            }
        }
    }
}

/// The limits of the API's and of ingest's connections, as far as there are files for them.
fn connection_limits(config: &mut Config) -> (ConnectionLimits, ConnectionLimits) {
    let mut of_api = config.api.connections;
    let mut of_ingest = config.ingest.as_ref().map(|http| http.connections);
    let mut listeners = vec![&mut of_api];
    listeners.extend(of_ingest.as_mut());
    listeners.extend(config.envoy.as_mut().map(|envoy| &mut envoy.connections));
    fit_to_files(&mut listeners);
    (of_api, of_ingest.unwrap_or_default())
}

/// Opens the journal where it blocks nobody: recovery reads all that is pending.
async fn open_journal(
    settings: JournalSettings,
    watch: impl Fn(u64, u64) + Send + 'static,
) -> Result<Journal, StartError> {
    let directory = settings.directory.clone();
    let opening = move || Journal::open_watched(&settings, &watch);
    let opened = tokio::task::spawn_blocking(opening).await;
    let opened = opened.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
    opened.map_err(|cause| StartError::Journal { directory, cause })
}

/// Reads what was made through the API where it blocks nobody: a database may take seconds.
async fn load_saved(config: &Config) -> Result<Saved, Refusal> {
    let (data_dir, settings) = (config.data_dir.clone(), config.control.clone());
    let file = config.resources.clone();
    let load = move || Saved::load(&data_dir, &settings, &file);
    match tokio::task::spawn_blocking(load).await {
        Ok(loaded) => loaded,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Says what the operator may not have meant.
fn remark(config: &Config, resources: &Resources, control: &Control) {
    for remark in config.loose() {
        warn!("{remark}");
    }
    if resources.subscriptions().is_empty() {
        warn!("there are no subscriptions: events are accepted and go nowhere");
    }
    if !control.has_keys() {
        info!("the control API has no key yet: `sluicegate api-key create` makes one");
    }
}

/// The entrances beside HTTP.
struct Entrances {
    kafka: Option<Kafka>,
    stdin: Option<Stdin>,
    files: Option<Files>,
    syslog: Option<Syslog>,
    envoy: Option<Envoy>,
}

impl Entrances {
    async fn start(config: &Config, pipeline: &Arc<Pipeline>) -> Result<Entrances, StartError> {
        let shared = || Arc::clone(pipeline);
        let kafka = config.kafka.clone().map(|it| Kafka::start(it, shared()));
        let kafka = kafka.transpose().map_err(StartError::Kafka)?;
        let stdin = config.stdin.clone().map(|it| Stdin::start(it, shared()));
        let follow = || Files::start(config.files.clone(), &config.data_dir, shared());
        let files = (!config.files.is_empty()).then(follow);
        let files = files.transpose().map_err(StartError::Files)?;
        let syslog = match config.syslog.clone() {
            Some(settings) => {
                let started = Syslog::start(settings, shared()).await;
                let cannot = |cause| StartError::Listen { setting: "ingest.syslog.listen", cause };
                Some(started.map_err(cannot)?)
            }
            None => None,
        };
        let envoy = start_envoy(config, shared()).await?;
        Ok(Entrances { kafka, stdin, files, syslog, envoy })
    }

    fn boards(&self) -> Boards {
        Boards {
            kafka: self.kafka.as_ref().map(Kafka::board),
            files: self.files.as_ref().map(Files::board),
            syslog: self.syslog.as_ref().map(Syslog::board),
            envoy: self.envoy.as_ref().map(Envoy::board),
            relay: None,
        }
    }

    fn is_only_stdin(&self) -> bool {
        let listens = self.syslog.is_some() || self.envoy.is_some();
        self.kafka.is_none() && self.files.is_none() && !listens
    }

    /// Has those whose positions move behind what is settled take nothing more.
    fn stop_following(&self) {
        if let Some(kafka) = &self.kafka {
            kafka.stop();
        }
        if let Some(files) = &self.files {
            files.stop();
        }
    }

    /// Waits until the others have kept what they took, and gives those of before back.
    async fn stop_taking(self) -> Entrances {
        if let Some(stdin) = self.stdin {
            stdin.stop().await;
        }
        if let Some(syslog) = self.syslog {
            syslog.stop().await;
        }
        if let Some(envoy) = self.envoy {
            envoy.stop().await;
        }
        Entrances { stdin: None, syslog: None, envoy: None, kafka: self.kafka, files: self.files }
    }

    /// Has the positions stored of what is settled by now.
    async fn leave(self) {
        if let Some(files) = self.files {
            files.leave().await;
        }
        if let Some(kafka) = self.kafka {
            kafka.leave().await;
        }
    }
}

#[cfg(feature = "envoy")]
async fn start_envoy(
    config: &Config,
    pipeline: Arc<Pipeline>,
) -> Result<Option<Envoy>, StartError> {
    let Some(settings) = config.envoy.clone() else { return Ok(None) };
    let started = Envoy::start(settings, pipeline).await;
    let cannot = |cause| StartError::Listen { setting: "ingest.envoy.listen", cause };
    started.map(Some).map_err(cannot)
}

/// The settings say that there is none in this build.
#[cfg(not(feature = "envoy"))]
async fn start_envoy(_: &Config, _: Arc<Pipeline>) -> Result<Option<Envoy>, StartError> {
    Ok(None)
}

/// Begins what goes on beside everything else.
fn begin_upkeep(metrics: &PrometheusHandle, control: &Arc<Control>) {
    let recorder = metrics.clone();
    tokio::spawn(supervision::keep("metrics", move || upkeep(recorder.clone())));
    let publishing = Arc::clone(control);
    tokio::spawn(supervision::keep("audit events", move || {
        let publishing = Arc::clone(&publishing);
        async move { publishing.keep_publishing().await }
    }));
    let following = Arc::clone(control);
    tokio::spawn(supervision::keep("fleet", move || {
        let following = Arc::clone(&following);
        async move { following.keep_following().await }
    }));
}

/// Has the daemon tell its fleet how it stands, and do what others of it ask.
fn begin_reporting(api: &Arc<Api>) {
    let reporting = Arc::clone(api);
    tokio::spawn(supervision::keep("report", move || api::keep_reporting(Arc::clone(&reporting))));
    let obeying = Arc::clone(api);
    tokio::spawn(supervision::keep("orders", move || api::keep_obeying(Arc::clone(&obeying))));
}

async fn upkeep(metrics: PrometheusHandle) -> Result<(), String> {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything accepted was delivered.
    Clean,
    /// This many records were left when the time to drain was over; the next start delivers them.
    Kept(u64),
    /// This many records were left and went with the process's memory.
    Lost(u64),
    /// A second signal cut the drain short.
    Cut,
    /// This task of the daemon's own could not go on.
    Failed(&'static str),
}

/// The signals that a daemon listens to. To be made before the daemon starts, so that none is missed
/// once it says that it is ready.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Never waited for: being listened to, it no longer kills, and a write past `ulimit -f` fails as
    /// it does on a full disk.
    _file_too_large: Signal,
}

/// `SIGXFSZ`, the same number on all architectures of Linux but MIPS, and on the BSDs and macOS.
const SIGXFSZ: i32 = 25;

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// On a handle of its own, since the daemon is changed by what else is waited for.
fn drain_asked(control: &Arc<Control>) -> impl Future<Output = ()> + use<> {
    let control = Arc::clone(control);
    async move { control.drain_asked().await }
}

/// Runs until SIGTERM or SIGINT, until a drain is asked for, or until the only entrance has ended, and then stops; a signal to stop
/// during that ends it at once. SIGHUP and the API call `load`, which gives nothing where there is no
/// file, and what it gives is put into force; mistakes change nothing.
pub async fn run_until_signalled(
    mut daemon: Daemon,
    mut signals: Signals,
    load: impl Fn() -> Result<Option<Config>, Mistakes>,
) -> Ended {
    let mut asked = daemon.control.reloads_asked();
    let mut watch = Watch::new(&daemon.config.referenced);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            task = supervision::given_up() => {
                daemon.stop().await;
                return Ended::Failed(task);
            }
            () = daemon.entrance_ended() => {
                info!("the only entrance has ended");
                break;
            }
            () = drain_asked(&daemon.control) => {
                info!("a drain is asked for through the API");
                break;
            }
            // Why it was not taken is in the log and in `/status`.
            _ = signals.hangup.recv() => drop(daemon.reload(&load, false).await),
            () = watch.changed() => {
                info!("a file that the settings name has changed");
                drop(daemon.reload(&load, false).await);
            }
            Some(ReloadAsked { confirmed, answer }) = asked.recv() => {
                // Whoever asked may have gone.
                let _gone = answer.send(daemon.reload(&load, confirmed).await);
            }
        }
        watch.follow(&daemon.config.referenced);
    }
    tokio::select! {
        ended = daemon.stop() => ended,
        () = signals.stop() => Ended::Cut,
    }
}
