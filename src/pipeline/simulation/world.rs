//! A daemon's life and everything around it: services, a disk, senders, operators, and death.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::service::{BODY, MOODS, Mood, Service};
use super::truth::Truth;
use crate::budget::{POOL_BYTES, Pool};
use crate::event::{Catalog, Framed, Framing, Record, Timestamp};
use crate::journal::{Delays, Fault, Faults, Journal, Refusal, StoredLetter, read_dead_letters};
use crate::pipeline::deliveries::Outlet;
use crate::pipeline::delivery::Deliver;
use crate::pipeline::dispatch::Dispatcher;
use crate::pipeline::{NotTaken, Pipeline, Prepared, Sender, Workers};
use crate::resources::{
    BatchSettings, Destination, Overflow, ResourceId, Resources, Source, Subscription,
};
use crate::sinks::{
    Auth, Batch, CloudwatchLogsTarget, DEFAULT_TIMEOUT, DebugTarget, FileTarget, FirehoseTarget,
    KinesisTarget, LogOutput, Sink, Target,
};
use crate::telemetry::Entrance;

/// A service of each kind; the letters are what events are marked with that are for them.
const KINDS: [(&str, char); 5] =
    [("kinesis", 'k'), ("firehose", 'f'), ("logs", 'l'), ("callback", 'c'), ("file", 'd')];

/// How long everything may take to be delivered once all is well: the longest wait before something is
/// tried again, several times.
const RECOVERY: Duration = Duration::from_secs(3_600);

/// How long a healthy neighbour of a sick service may take: as long as it may wait for its own.
const NEIGHBOURS: Duration = Duration::from_secs(180);

/// Long enough for what was answered to be settled.
const SETTLING: Duration = Duration::from_millis(500);

pub(super) struct World {
    random: StdRng,
    folder: TempDir,
    faults: Faults,
    max_bytes: u64,
    services: Vec<Arc<Service>>,
    truths: Vec<Truth>,
    in_force: Vec<bool>,
    bodies: u64,
    /// Since the last checkpoint the disk failed, so what was settled meanwhile may not be noted.
    disk_failed: bool,
    /// What happened, in words.
    story: String,
    /// Whether it is printed as it happens.
    is_verbose: bool,
    life: Option<Life>,
}

/// One process.
struct Life {
    pipeline: Arc<Pipeline>,
    journal: Journal,
    /// Never used: services take batches without a connection.
    sink: Arc<Sink>,
    /// Dropped last, with all tasks.
    runtime: Runtime,
}

/// What a sender was told of a body.
type Answer = Result<(), NotTaken>;

fn folder() -> TempDir {
    // In memory where there is such a folder: what is simulated is not the disk's speed.
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => folder,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

fn target(kind: &str, folder: &Path) -> Target {
    let arn = |service: &str, resource: &str| {
        format!("arn:aws:{service}:us-east-1:123456789012:{resource}")
    };
    let chain = || Auth::DefaultChain;
    match kind {
        "kinesis" => {
            let stream = KinesisTarget::new(&arn("kinesis", "stream/s"), chain(), None).unwrap();
            // One of some dozens of keys, so that many records have each.
            Target::Kinesis(stream.placed_by("ev.http.request.url.path").unwrap())
        }
        "firehose" => Target::Firehose(
            FirehoseTarget::new(&arn("firehose", "deliverystream/s"), chain(), None).unwrap(),
        ),
        "logs" => Target::CloudwatchLogs(
            CloudwatchLogsTarget::new(&arn("logs", "log-group:g"), None, chain(), None).unwrap(),
        ),
        "callback" => {
            let url = Some("http://127.0.0.1:9/");
            Target::Debug(DebugTarget::new(Some(false), url).unwrap())
        }
        _ => Target::File(FileTarget::new(folder.join("events.ndjson")).unwrap()),
    }
}

fn deliver_to(service: &Arc<Service>, target: &Target) -> Deliver {
    let (service, target) = (Arc::clone(service), target.clone());
    Arc::new(move |Batch { records }: Batch| {
        let places = records.iter().map(|it| target.measured(it).place).collect();
        Box::pin(Arc::clone(&service).deliver(records, places))
    })
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let mut service = |(name, _): (&'static str, char)| {
            let answers_each = name == "kinesis" || name == "firehose";
            Arc::new(Service::new(name, answers_each, StdRng::from_rng(&mut random)))
        };
        let services: Vec<_> = KINDS.map(&mut service).to_vec();
        let max_bytes = if random.random_bool(0.3) { 60_000 } else { 1 << 30 };
        let mut world = World {
            random,
            folder: folder(),
            faults: Faults::switchable(),
            max_bytes,
            services,
            truths: KINDS.map(|_| Truth::default()).into(),
            in_force: vec![true; KINDS.len()],
            bodies: 0,
            disk_failed: false,
            story: String::new(),
            is_verbose: false,
            life: None,
        };
        world.start();
        world
    }

    pub(super) fn verbose(self, is_verbose: bool) -> World {
        World { is_verbose, ..self }
    }

    pub(super) fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.check();
        }
        self.finish();
    }

    /// What happens in a run, in words.
    pub(super) fn trace(mut self, steps: usize) -> String {
        for _ in 0..steps {
            self.step();
            for service in &self.services {
                let seen = service.look(|seen| (seen.requests, seen.taken.len()));
                let _ = write!(self.story, " {seen:?}");
            }
            self.story.push('\n');
        }
        self.story
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    fn start(&mut self) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let delays = Delays::new(StdRng::from_rng(&mut self.random));
        let workers = Workers::Simulated(delays.clone());
        // In half of all lives there is hardly memory for anything.
        let pool = Pool::new(if self.random.random_bool(0.5) { POOL_BYTES } else { 16_000 });
        let from = (StdRng::from_rng(&mut self.random), workers, pool);
        let (path, faults) = (self.folder.path().to_owned(), self.faults.clone());
        let (pipeline, journal, sink) = runtime.block_on(async {
            let journal = Journal::simulated(&path, self.max_bytes, &faults, delays).unwrap();
            let none = Resources::new(Catalog::builtin());
            let pipeline =
                Pipeline::start_from(&none, journal.clone(), LogOutput::Stdout, from).await;
            let sink = target("file", &path).open(LogOutput::Stdout, DEFAULT_TIMEOUT, None).await;
            (Arc::new(pipeline.unwrap()), journal, Arc::new(sink.unwrap()))
        });
        self.life = Some(Life { pipeline, journal, sink, runtime });
        let prepared = self.prepared(&self.in_force);
        let life = self.life();
        life.runtime.block_on(life.pipeline.put_in_force(prepared));
    }

    fn prepared(&self, in_force: &[bool]) -> Prepared {
        let mut resources = Resources::new(Catalog::builtin());
        let mut outlets = Vec::new();
        for (at, (name, mark)) in KINDS.into_iter().enumerate().filter(|(at, _)| in_force[*at]) {
            let id = ResourceId::new(name).unwrap();
            let target = target(name, self.folder.path());
            let linger = Some(Duration::from_millis(50));
            let batch = BatchSettings::new(&target, Some(12), None, linger).unwrap();
            let destination = Destination {
                id: id.clone(),
                description: String::new(),
                target,
                batch,
                overflow: Overflow::Block,
                max_pending_bytes: None,
                enabled: true,
                timeout: DEFAULT_TIMEOUT,
                format: crate::sinks::Format::Json,
                bounds: None,
            };
            resources.add_destination(destination).unwrap();
            let destination = Arc::clone(resources.destination(&id).unwrap());
            let sink = Arc::clone(&self.life().sink);
            let limits = destination.target.limits();
            let limits = Arc::new(move || limits);
            let deliver = deliver_to(&self.services[at], &destination.target);
            outlets.push(Outlet { destination, sink, deliver, limits });
            let filter = format!("ev.http.request.url.path.contains(\"{mark}\")");
            let filter = Some(filter.as_str());
            let catalog = &resources.catalog;
            let source = Source::new(catalog, "http_request_complete.v0", filter, None).unwrap();
            let subscription = Subscription {
                id: id.clone(),
                description: String::new(),
                sources: vec![source],
                destinations: vec![id],
                enabled: true,
            };
            resources.add_subscription(subscription).unwrap();
        }
        let subscriptions = resources.subscriptions().iter().map(|it| it.id.clone()).collect();
        let stats = &self.life().pipeline.stats;
        Prepared {
            outlets,
            subscriptions,
            dispatcher: Arc::new(Dispatcher::new(&resources, stats)),
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..40 => self.bodies(),
            40..55 => self.change_mood(),
            55..75 => {
                let millis = [10, 300, 2_000, 30_000, 200_000][self.random.random_range(0..5)];
                self.note(&format!("{millis} ms pass"));
                self.pass(Duration::from_millis(millis));
            }
            75..80 => {
                self.note("all services are well");
                self.services.iter().for_each(|service| service.set_mood(Mood::Well));
            }
            80..86 => self.save(),
            86..90 => self.disk_fails(),
            90..94 => self.die(),
            94..96 => self.stop(),
            _ => self.one_is_sick(),
        }
    }

    fn note(&mut self, what: &str) {
        let _ = writeln!(self.story, "{what}");
        if self.is_verbose {
            println!("{what}");
        }
    }

    fn pass(&self, time: Duration) {
        self.life().runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// A body of events for random destinations, each marked with the letters of those it is for.
    fn body(&mut self) -> (Vec<(u64, String)>, Framed) {
        let first = self.bodies * BODY;
        self.bodies += 1;
        let count = self.random.random_range(1..9);
        let mut events = Vec::new();
        let mut text = String::new();
        for event in first..first + count {
            let to: String = KINDS
                .iter()
                .filter(|_| self.random.random_bool(0.5))
                .map(|(_, mark)| *mark)
                .collect();
            let day = self.random.random_range(1..4);
            let _ = writeln!(
                text,
                r#"{{"event_id":"{event}","event_type":"http_request_complete.v0","event_timestamp":"2025-09-0{day}T00:00:00Z","object":{{"http":{{"request":{{"url":{{"path":"/{to}"}}}}}}}}}}"#
            );
            events.push((event, to));
        }
        (events, Framed::of(Bytes::from(text), Framing::Ndjson).unwrap())
    }

    /// Some bodies come at once, now and then while the subscriptions change or the daemon is killed.
    fn bodies(&mut self) {
        let bodies: Vec<_> = (0..self.random.random_range(1..5)).map(|_| self.body()).collect();
        let before = self.in_force.clone();
        let changes = self.random.random_bool(0.2);
        if changes {
            self.in_force = KINDS.map(|_| self.random.random_bool(0.8)).into();
        }
        let prepared = changes.then(|| self.prepared(&self.in_force));
        let killed_after = self.random.random_bool(0.05).then(|| self.random.random_range(0..40));
        let starts: Vec<u64> = bodies.iter().map(|_| self.random.random_range(0..30)).collect();
        self.note(&format!("{} bodies, change {changes}, killed {killed_after:?}", bodies.len()));
        let marks: Vec<Vec<(u64, String)>> = bodies.iter().map(|it| it.0.clone()).collect();
        let sent = self.send(bodies.into_iter().map(|it| it.1).zip(starts), prepared, killed_after);
        let (answers, appended) = sent.unwrap_or_default();
        for (at, marks) in marks.iter().enumerate() {
            let answer = answers.get(at).cloned();
            for (event, to) in marks {
                self.learn(*event, to, answer.as_ref(), &before);
            }
        }
        if killed_after.is_some() {
            self.die();
        } else if let Some(appended) = appended {
            self.note_ends(&appended);
        }
    }

    /// Sends bodies, each after its milliseconds, and puts other subscriptions into force meanwhile.
    /// Gives the answers, and what had been appended for each destination when the change was in force.
    /// `None` if the time was up before all were answered.
    fn send(
        &mut self,
        bodies: impl Iterator<Item = (Framed, u64)>,
        prepared: Option<Prepared>,
        limit: Option<u64>,
    ) -> Option<(Vec<Answer>, Option<Vec<u64>>)> {
        let life = self.life();
        let pipeline = &life.pipeline;
        let sends: Vec<_> = bodies
            .map(|(framed, start)| {
                let pipeline = Arc::clone(pipeline);
                let sender = Arc::new(Sender::new(Entrance::Http, 10_000, None));
                async move {
                    tokio::time::sleep(Duration::from_millis(start)).await;
                    let taken = pipeline.take(&Arc::new(framed), &sender).await;
                    taken.map(|taken| assert!(taken.refused.is_empty()))
                }
            })
            .collect();
        let change = async {
            let prepared = prepared?;
            tokio::time::sleep(Duration::from_millis(10)).await;
            pipeline.put_in_force(prepared).await;
            Some(self.appended())
        };
        let all = async { tokio::join!(futures_util::future::join_all(sends), change) };
        life.runtime.block_on(async {
            match limit {
                None => Some(all.await),
                Some(millis) => tokio::time::timeout(Duration::from_millis(millis), all).await.ok(),
            }
        })
    }

    /// What an answer says of one event.
    fn learn(&mut self, event: u64, to: &str, answer: Option<&Answer>, before: &[bool]) {
        for (at, (_, mark)) in KINDS.into_iter().enumerate() {
            let (was, is) = (before[at], self.in_force[at]);
            let truth = &mut self.truths[at];
            if !to.contains(mark) || (!was && !is) {
                truth.forbid(event, &self.services[at]);
                continue;
            }
            match answer {
                Some(Ok(())) if was && is => {
                    truth.owed.insert(event);
                }
                // What a disk that failed was asked to write may be there after a crash.
                Some(Err(NotTaken::Full(full)))
                    if matches!(full.cause, Refusal::NoRoom | Refusal::NoRoomFor(_)) =>
                {
                    truth.forbid(event, &self.services[at]);
                }
                Some(Err(NotTaken::Closed | NotTaken::Changing)) => {
                    truth.forbid(event, &self.services[at]);
                }
                // Killed before the answer, or dispatched before or after a change.
                _ => {}
            }
        }
    }

    /// How many records were ever appended for each destination.
    fn appended(&self) -> Vec<u64> {
        let of = |(name, _): (&str, char)| {
            let account = self.life().journal.account(&ResourceId::new(name).unwrap());
            account.unwrap_or_default().appended
        };
        KINDS.map(of).to_vec()
    }

    /// Remembers how much had been appended for destinations when they went out of force.
    fn note_ends(&mut self, appended: &[u64]) {
        for (at, truth) in self.truths.iter_mut().enumerate() {
            truth.appended_at_end = (!self.in_force[at]).then_some(appended[at]);
        }
    }

    fn change_mood(&mut self) {
        let service = self.random.random_range(0..self.services.len());
        let mood = MOODS[self.random.random_range(0..MOODS.len())];
        self.note(&format!("{} is {mood:?}", self.services[service].name));
        self.services[service].set_mood(mood);
    }

    /// The daemon saves which records are settled.
    fn save(&mut self) {
        self.note("saved");
        self.checkpoint();
    }

    /// What was answered so far is settled and saved: none of it may come again.
    fn checkpoint(&mut self) {
        self.settle_answers(|world| {
            let life = world.life();
            life.runtime.block_on(life.journal.checkpoint());
        });
        self.disk_failed = false;
    }

    /// What was answered so far is settled, and saved by what is done then: none of it may come again.
    fn settle_answers(&self, save: impl FnOnce(&World)) {
        let answered: Vec<_> = self.services.iter().map(|service| service.answered()).collect();
        self.pass(SETTLING);
        save(self);
        for (service, answered) in self.services.iter().zip(answered) {
            service.saved(&answered);
        }
    }

    /// A body comes while the disk fails: it must be refused.
    fn disk_fails(&mut self) {
        let fault = match self.random.random_bool(0.5) {
            true => Fault::NoSync,
            false => Fault::FullAfter(self.random.random_range(0..200)),
        };
        self.note(&format!("the disk fails: {fault:?}"));
        let (marks, framed) = self.body();
        self.faults.set(fault);
        self.disk_failed = true;
        let (sent, _) = self.send([(framed, 0)].into_iter(), None, None).unwrap();
        self.faults.set(Fault::None);
        let before = self.in_force.clone();
        for (event, to) in marks {
            self.learn(event, &to, Some(&sent[0]), &before);
        }
    }

    /// The process is killed at any moment: the log's end may be torn. What was answered a while before
    /// is noted, and none of it may come again.
    fn die(&mut self) {
        if !self.disk_failed && self.random.random_bool(0.5) {
            self.settle_answers(|_| {});
        }
        self.disk_failed = false;
        let torn = self.random.random_range(0..60);
        self.note(&format!("killed, {torn} bytes behind the log's end"));
        let copy = folder();
        let mut last = None;
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        names.sort();
        for path in names {
            let to = copy.path().join(path.file_name().unwrap());
            fs::copy(&path, &to).unwrap();
            if to.extension().is_some_and(|it| it == "log") {
                last = Some(to);
            }
        }
        copy_folder(&self.folder.path().join("dead-letters"), &copy.path().join("dead-letters"));
        if let Some(last) = last {
            let garbage: Vec<u8> = (0..torn).map(|_| self.random.random()).collect();
            let mut file = fs::OpenOptions::new().append(true).open(last).unwrap();
            file.write_all(&garbage).unwrap();
        }
        self.life = None;
        self.folder = copy;
        self.services.iter().for_each(|service| service.daemon_died());
        self.begin_again();
    }

    /// The daemon drains for a while and stops.
    fn stop(&mut self) {
        self.note("stopped and started again");
        let life = self.life();
        let limit = Duration::from_secs(20);
        life.runtime.block_on(life.pipeline.drain(limit));
        self.checkpoint();
        // What was under way may have been taken.
        self.services.iter().for_each(|service| service.daemon_died());
        self.life = None;
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.start();
        self.note_ends(&self.appended());
    }

    /// One service fails for as long as it takes: all others must go on.
    fn one_is_sick(&mut self) {
        let sick = self.random.random_range(0..self.services.len());
        let mood = [Mood::Down, Mood::Misconfigured][self.random.random_range(0..2)];
        self.note(&format!("only {} is {mood:?}", self.services[sick].name));
        for (at, service) in self.services.iter().enumerate() {
            service.set_mood(if at == sick { mood } else { Mood::Well });
        }
        let (marks, framed) = self.body();
        let (sent, _) = self.send([(framed, 0)].into_iter(), None, None).unwrap();
        let before = self.in_force.clone();
        for (event, to) in &marks {
            self.learn(*event, to, Some(&sent[0]), &before);
        }
        self.pass(NEIGHBOURS);
        // What was set aside before waits longer; what came now must not.
        for (at, service) in self.services.iter().enumerate().filter(|(at, _)| *at != sick) {
            // Nor what has to wait for it.
            let place = |to: &str| self.place(at, to);
            let is_kept_back = |to: &str| service.look(|seen| seen.is_kept_back(place(to)));
            let came = marks.iter().filter(|(_, to)| !is_kept_back(to)).map(|(event, _)| event);
            let owed = came.filter(|event| self.truths[at].owed.contains(event));
            let held_up: Vec<_> =
                owed.filter(|event| service.look(|seen| !seen.taken.contains_key(event))).collect();
            assert!(held_up.is_empty(), "{} does not get {held_up:?}", service.name);
        }
    }

    /// Where a destination's service places events with these marks, if their order counts there.
    fn place(&self, at: usize, to: &str) -> Option<u128> {
        let body = format!(
            r#"{{"event_id":"1","event_type":"t.v0","event_timestamp":"2025-09-01T00:00:00Z","object":{{"http":{{"request":{{"url":{{"path":"/{to}"}}}}}}}}}}"#
        );
        let (event_id, time) = ("1".into(), Timestamp { seconds: 0, nanos: 0 });
        let record = Record { event_id, time, body: Bytes::from(body), hops: 0 };
        target(KINDS[at].0, self.folder.path()).measured(&record).place
    }

    fn check(&self) {
        for (at, (name, _)) in KINDS.into_iter().enumerate() {
            let account = self.life().journal.account(&ResourceId::new(name).unwrap());
            self.truths[at].check(&self.services[at], &account.unwrap_or_default());
        }
    }

    /// All is well at last: everything must arrive.
    fn finish(mut self) {
        self.services.iter().for_each(|service| service.set_mood(Mood::Well));
        self.in_force = vec![true; KINDS.len()];
        let prepared = self.prepared(&self.in_force);
        let life = self.life();
        life.runtime.block_on(life.pipeline.put_in_force(prepared));
        self.note_ends(&self.appended());
        let life = self.life();
        let drained = async { tokio::time::timeout(RECOVERY, life.journal.drained()).await };
        assert!(life.runtime.block_on(drained).is_ok(), "never delivered\n{}", self.story);
        assert!(self.services.iter().all(|service| service.is_well()));
        self.check();
        let mut letters: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let note = |letter: StoredLetter| {
            let event = letter.record.event_id.parse().unwrap();
            letters.entry(letter.destination.clone()).or_default().insert(event);
            Ok(())
        };
        let damaged = read_dead_letters(self.folder.path(), note).unwrap();
        assert_eq!(damaged, 0, "a dead letter cannot be read");
        for (at, (name, _)) in KINDS.into_iter().enumerate() {
            let events = letters.remove(name).unwrap_or_default();
            let account = self.life().journal.account(&ResourceId::new(name).unwrap());
            self.truths[at].check_end(&self.services[at], &events, &account.unwrap_or_default());
        }
    }
}

/// Copies the files of a folder, if it is there.
fn copy_folder(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir(to).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
