//! The streams: who may open one, what is read from it, and what becomes of that.
//!
//! A message is kept by a task of its own, with those that came while the last ones were kept, so that a client that goes
//! away cuts none short; the next ones are read once they are kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::response::Response as HttpResponse;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::{ClientStreamingService, Grpc};
use tonic::{Code, Request as Call, Response, Status, Streaming};
use tracing::{debug, error, info};

use super::message::{Metered, PREFIX, Received, Untouched};
use super::{ENVOY_MEMORY, EnvoyBoard, EnvoySettings};
use crate::budget::Budget;
use crate::event::{Framing, Place};
use crate::formats::{Converted, Entries, MAX_ENTRY, Malformed};
use crate::http::{BearerTokens, CannotListen, ClientAddress, Listener};
use crate::ingest::counted::Counted;
use crate::ingest::keeping::Keeping;
use crate::journal::AT_ENVOY;
use crate::pipeline::{Pipeline, Sender};
use crate::supervision;
use crate::telemetry::{self, Entrance};

/// The one method of the service.
const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// Largest message: gRPC's own default, and 256 times what Envoy's buffer holds by default.
const MAX_MESSAGE: usize = 4 << 20;

/// Messages that are converted and kept at a time; others wait as they came.
const MAX_AT_ONCE: usize = 32;

/// Messages that came meanwhile are kept together until they have so many bytes: one append for all of them.
const TOGETHER: usize = 192 << 10;

/// Events are handed on once they have so many bytes.
const BATCH: usize = 256 << 10;

/// Up to so many bytes a message is converted on the thread that took it in: some hundred entries.
const SHORT: usize = 64 << 10;

/// Largest event, in bytes: what the largest entry may become.
const MAX_EVENT: usize = 8 * MAX_ENTRY;

/// Envoy's entrance, running.
pub struct Envoy {
    board: Arc<EnvoyBoard>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Done when nothing of what was taken is still to be kept.
    kept: mpsc::Receiver<Infallible>,
}

/// What all streams share.
#[derive(Clone)]
struct Streams {
    keeping: Keeping,
    tokens: BearerTokens,
    account_id: Option<Arc<str>>,
    board: Arc<EnvoyBoard>,
    budget: Arc<Budget>,
    turns: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    /// Numbers the streams, for the places of dead letters.
    next: Arc<AtomicU64>,
    taking: mpsc::Sender<Infallible>,
}

impl Envoy {
    /// Listens and begins to take streams.
    ///
    /// # Errors
    /// When the address cannot be listened on, or a certificate cannot be used.
    pub async fn start(
        settings: EnvoySettings,
        pipeline: Arc<Pipeline>,
    ) -> Result<Envoy, CannotListen> {
        let listener = Listener::bind(settings.listen, settings.tls.as_ref()).await?;
        let address = listener.address();
        let (stop, stopped) = watch::channel(false);
        let (taking, kept) = mpsc::channel(1);
        let board = Arc::new(EnvoyBoard::default());
        let sender = Arc::new(Sender::new(Entrance::Envoy, MAX_EVENT, None));
        let streams = Streams {
            keeping: Keeping { pipeline, sender, entrance: Entrance::Envoy, owner: AT_ENVOY },
            tokens: settings.bearer_tokens,
            account_id: settings.account_id.map(Into::into),
            board: Arc::clone(&board),
            budget: Budget::new(ENVOY_MEMORY),
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            stopped: stopped.clone(),
            next: Arc::default(),
            taking,
        };
        let limits = settings.connections;
        let serve = move || {
            let (streams, mut stopped) = (streams.clone(), stopped.clone());
            let service = move |request| streams.clone().answer(request);
            let stop = async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            let serving = listener.clone().serve_http2(service, limits, stop);
            async { serving.await.map_err(|error| error.to_string()) }
        };
        let task = tokio::spawn(supervision::keep("envoy", serve));
        info!(%address, "Envoy's access logs are listened for");
        Ok(Envoy { board, stop, task, kept })
    }

    /// What it tells of itself.
    #[must_use]
    pub fn board(&self) -> Arc<EnvoyBoard> {
        Arc::clone(&self.board)
    }

    /// Takes nothing more, and waits until what was taken is kept.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(%error, "Envoy's entrance ended early");
        }
        // Nothing is ever sent: it ends when the last sender is gone.
        let _none = self.kept.recv().await;
    }
}

impl Streams {
    fn refuse(&self, code: &'static str, message: impl std::fmt::Display) {
        self.keeping.pipeline.refusals().tell(Entrance::Envoy, code, 1, message);
    }

    /// Answers a request: opens a stream, or says why not.
    async fn answer(self, request: Request<Incoming>) -> HttpResponse<Body> {
        let peer = request.extensions().get::<ClientAddress>().map(|it| it.0);
        if let Err(unauthorized) = self.tokens.check(request.headers()) {
            self.refuse(unauthorized.code(), unauthorized);
            let message = format!("{unauthorized}; Envoy sends it as `initial_metadata`");
            return Status::unauthenticated(message).into_http();
        }
        if request.uri().path() != METHOD {
            let message = "only `StreamAccessLogs` of Envoy's Access Log Service v3 is served here";
            self.refuse("ERR_SLUICEGATE_1157", message);
            return Status::unimplemented(message).into_http();
        }
        let received = match Received::new(&self.budget) {
            Ok(received) => Arc::new(received),
            Err(over) => {
                self.refuse("ERR_SLUICEGATE_1120", over);
                return Status::resource_exhausted(over.to_string()).into_http();
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = Stream { streams: self, received: Arc::clone(&received), peer, number };
        let request = request.map(|body| Metered { body, received });
        let mut grpc = Grpc::new(Untouched).apply_max_message_size_config(Some(MAX_MESSAGE), None);
        grpc.client_streaming(stream, request).await
    }
}

/// One stream.
#[derive(Clone)]
struct Stream {
    streams: Streams,
    received: Arc<Received>,
    peer: Option<IpAddr>,
    number: u64,
}

impl ClientStreamingService<Bytes> for Stream {
    type Response = ();
    type Future = BoxFuture<'static, Result<Response<()>, Status>>;

    fn call(&mut self, call: Call<Streaming<Bytes>>) -> Self::Future {
        Box::pin(self.clone().take(call.into_inner()))
    }
}

impl Stream {
    /// Takes messages until the client ends the stream.
    async fn take(self, mut messages: Streaming<Bytes>) -> Result<Response<()>, Status> {
        let _open = Counted::new(&self.streams.board.streams);
        let mut stopped = self.streams.stopped.clone();
        let (mut node, mut number) = (None, 0);
        loop {
            let message = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return Err(Status::unavailable("the daemon is stopping")),
                message = messages.message() => message,
                () = self.received.overdue() => Err(Status::deadline_exceeded("a message did not come to its end in time")),
            };
            let mut next = Some(message);
            let (mut lengths, mut bytes) = (Vec::new(), 0);
            let mut entries = VecDeque::new();
            while let Some(Ok(Some(message))) = next.take_if(|it| matches!(it, Ok(Some(_)))) {
                self.received.whole();
                lengths.push(message.len());
                bytes += PREFIX + message.len();
                entries.push_back(Entries::of(message));
                if bytes < TOGETHER {
                    next = messages.message().now_or_never();
                }
            }
            if !entries.is_empty() {
                let is_long = bytes > SHORT;
                let keeping = Messages { stream: self.clone(), entries, is_long, node, at: number };
                (node, number) = match tokio::spawn(keeping.keep()).await {
                    Ok(kept) => kept?,
                    Err(failure) => {
                        telemetry::task_failed("envoy stream");
                        error!(%failure, "messages of Envoy's were not taken");
                        return Err(Status::internal("the daemon failed over a message"));
                    }
                };
                lengths.iter().for_each(|it| self.received.give_back(*it));
            }
            match next {
                None | Some(Ok(Some(_))) => {}
                Some(Ok(None)) => return Ok(Response::new(())),
                Some(Err(status)) => {
                    self.tell(&status);
                    return Err(status);
                }
            }
        }
    }

    /// Counts why a stream ends, if it is for what its client sent.
    fn tell(&self, status: &Status) {
        let code = match status.code() {
            Code::ResourceExhausted => "ERR_SLUICEGATE_1120",
            Code::DeadlineExceeded => "ERR_SLUICEGATE_1158",
            Code::OutOfRange => "ERR_SLUICEGATE_1155",
            Code::Unimplemented | Code::Internal | Code::InvalidArgument => "ERR_SLUICEGATE_1154",
            _ => {
                debug!(%status, "a stream of Envoy's ended");
                return;
            }
        };
        self.streams.refuse(code, status.message());
    }
}

/// Messages that are being kept.
struct Messages {
    stream: Stream,
    entries: VecDeque<Entries>,
    is_long: bool,
    node: Option<String>,
    /// The number of its first entry on the stream.
    at: u64,
}

/// Events of a part of some messages.
#[derive(Default)]
struct Part {
    text: String,
    /// How many messages came to their end.
    messages: u64,
    events: u64,
    passed_over: u64,
    /// How large those were that were too large, one of them.
    too_large: (u64, usize),
    ended: Option<Result<(), Malformed>>,
}

impl Messages {
    /// Keeps the events of all entries, part by part; gives the node's id and the number of the next entry.
    async fn keep(mut self) -> Result<(Option<String>, u64), Status> {
        let streams = self.stream.streams.clone();
        let _taking = streams.taking.clone();
        let board = Arc::clone(&streams.board);
        let _waiting = Counted::new(&board.waiting);
        let Ok(_turn) = streams.turns.acquire().await else {
            return Err(Status::unavailable("the daemon is stopping"));
        };
        let pipeline = &streams.keeping.pipeline;
        loop {
            let is_long = self.is_long;
            let (messages, part) = pipeline
                .workers()
                .run(is_long, || {
                    let part = self.next_part();
                    (self, part)
                })
                .await;
            self = messages;
            let Part { text, messages, events, passed_over, too_large, ended } = part;
            if events > 0 {
                self.keep_events(&streams, text, events).await?;
            }
            board.messages.fetch_add(messages, Ordering::Relaxed);
            board.entries.fetch_add(events, Ordering::Relaxed);
            board.passed_over.fetch_add(passed_over, Ordering::Relaxed);
            self.at += events + passed_over + too_large.0;
            if too_large.0 > 0 {
                let message =
                    format!("an entry has {} bytes, at most {MAX_ENTRY} are allowed", too_large.1);
                let refusals = pipeline.refusals();
                refusals.tell(Entrance::Envoy, "ERR_SLUICEGATE_1156", too_large.0, message);
            }
            match ended {
                None => {}
                Some(Ok(())) => return Ok((self.node, self.at)),
                Some(Err(malformed)) => {
                    streams.refuse("ERR_SLUICEGATE_1154", &malformed);
                    return Err(Status::invalid_argument(malformed.to_string()));
                }
            }
        }
    }

    /// The events of the next entries, up to a batch of bytes.
    fn next_part(&mut self) -> Part {
        let account_id = self.stream.streams.account_id.as_deref();
        let mut part = Part::default();
        while part.text.len() < BATCH {
            let Some(entries) = self.entries.front_mut() else {
                part.ended = Some(Ok(()));
                break;
            };
            match entries.next(&mut self.node, account_id, &mut part.text) {
                Ok(Some(Converted::Event)) => part.events += 1,
                Ok(Some(Converted::PassedOver)) => part.passed_over += 1,
                Ok(Some(Converted::TooLarge(bytes))) => {
                    part.too_large = (part.too_large.0 + 1, bytes);
                }
                Ok(None) => {
                    self.entries.pop_front();
                    part.messages += 1;
                }
                Err(malformed) => {
                    part.ended = Some(Err(malformed));
                    break;
                }
            }
        }
        part
    }

    async fn keep_events(
        &self,
        streams: &Streams,
        text: String,
        events: u64,
    ) -> Result<(), Status> {
        let pipeline = &streams.keeping.pipeline;
        // A batch has fewer events than a body may have.
        let Ok(framed) = pipeline.frame(Bytes::from(text), Framing::Ndjson).await else {
            return Err(Status::resource_exhausted("a message has too many entries"));
        };
        let (number, at) = (self.stream.number, self.at);
        let peer = self.stream.peer.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        let id = |place: Place| format!("{peer}/{number}/{}", at + place.index as u64);
        let mut stopped = streams.stopped.clone();
        if streams.keeping.keep(framed, id, &mut stopped).await {
            return Ok(());
        }
        error!(events, "entries of Envoy's were read and could not be kept before the stop");
        Err(Status::unavailable("the daemon is stopping"))
    }
}
