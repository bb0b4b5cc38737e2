//! The journal on disk: what was accepted arrives, whatever dies when.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, pause};
use crate::support::fake_kinesis::{FakeKinesis, Mood, Take};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::small_disk::SmallDisk;
use crate::support::{generate, http, sluicegate};

/// Everything goes to a service and to a file, which lies with the data.
fn settings(folder: &Path, fake: &FakeKinesis) -> Settings {
    Settings::new()
        .data_dir(folder)
        .drain_limit("1s")
        .destination(Destination::kinesis("stream", fake))
        .destination(Destination::file("copy", folder.join("copy.ndjson").display()))
        .subscription(Subscription::new("all", &["stream", "copy"]))
}

/// The same with another name for the service, which nothing is sent to.
fn without_stream(settings: &Settings) -> Settings {
    settings
        .clone()
        .change("stream", |it| it.id("other"))
        .replace("all", Subscription::new("all", &["copy"]))
}

fn arrived(fake: &FakeKinesis) -> BTreeSet<String> {
    fake.records().into_keys().collect()
}

fn arrived_in_file(folder: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder.join("copy.ndjson")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_restart_goes_on_with_what_was_pending_and_the_accounts_stay_exact() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(folder.path(), &fake);
    let events = generate("http_request_complete.v0", 2_000, 31);
    let daemon = Daemon::start(&settings);
    daemon.send(&events[..1_500]);
    daemon.wait_for("one is through", |it| it["destinations"][1]["delivered"] == 1_500);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("the rest waits in the journal"), "{}", ended.log);
    let daemon = Daemon::start(&settings);
    assert!(!daemon.log().contains("no longer configured"), "{}", daemon.log());
    let stream = daemon.destination("stream");
    assert_eq!((&stream["pending_records"], &stream["delivered"]), (&1_500.into(), &0.into()));
    let copy = daemon.destination("copy");
    assert_eq!((&copy["pending_records"], &copy["delivered"]), (&0.into(), &1_500.into()));
    fake.set(Mood::Well);
    daemon.send(&events[1_500..]);
    daemon.wait_until_delivered();
    let ended = daemon.stop();
    assert!(ended.log.contains("nothing is pending"), "{}", ended.log);
    let daemon = Daemon::start(&settings);
    for id in ["stream", "copy"] {
        let destination = daemon.destination(id);
        assert_eq!(destination["delivered"], 2_000, "{destination}");
        assert_eq!(destination["dropped"], 0, "{destination}");
        assert_eq!(destination["pending_records"], 0, "{destination}");
    }
    assert_eq!(daemon.status()["journal"]["durability"], "disk");
    let sent: BTreeSet<_> = events.into_iter().collect();
    assert_eq!(arrived(&fake), sent);
    assert_eq!(arrived_in_file(folder.path()), sent);
}

/// Kills in one round; `make chaos` runs more rounds.
const KILLS: u64 = 25;

/// How many send at a time, meanwhile.
const SENDERS: usize = 4;

#[test]
fn nothing_that_was_accepted_is_lost_however_often_the_daemon_is_killed() {
    let rounds = std::env::var("SLUICEGATE_CHAOS_ROUNDS").map_or(1, |text| text.parse().unwrap());
    for round in 0..rounds {
        kill_often(round);
    }
}

/// Sends, kills and starts again, [`KILLS`] times; then compares. Different events and moments for
/// each round.
fn kill_often(round: u64) {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Well);
    // Small segments, so that many are sealed and deleted between kills.
    let settings = settings(folder.path(), &fake).journal_bytes("32MiB");
    let traffic = Traffic::new(generate("http_request_complete.v0", 80_000, 32 + round));
    let mut lives = Vec::new();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let traffic = &traffic;
            scope.spawn(move || traffic.send(sender));
        }
        // Stops the senders if a check below fails.
        let _end = OnDrop(|| traffic.ended.store(true, Ordering::Relaxed));
        for kill in 0..KILLS {
            let settings = settings.clone().change("stream", |it| it.stream(&kill.to_string()));
            let daemon = Daemon::start(&settings);
            *traffic.ingest.lock().unwrap() = Some(daemon.ingest);
            let moods = [Mood::Well, Mood::Throttling, Mood::CuttingAfter, Mood::Failing];
            let bodies = 20 + (kill * 977 + round * 311) % 90;
            fake.set(moods[kill as usize % moods.len()]);
            traffic.wait_for_more(bodies / 2);
            fake.set(Mood::Throttling);
            traffic.wait_for_more(bodies / 2);
            let mut life = Life::before_its_end(&daemon);
            daemon.signal("KILL");
            *traffic.ingest.lock().unwrap() = None;
            daemon.wait();
            life.gone = Instant::now();
            lives.push(life);
        }
    });
    fake.set(Mood::Well);
    let settings = settings.change("stream", |it| it.stream(&KILLS.to_string()));
    let daemon = Daemon::start(&settings);
    let status = daemon.wait_until_delivered();
    let accepted: BTreeSet<String> = traffic.accepted.into_inner().unwrap().into_iter().collect();
    assert!(accepted.len() > 1_000, "only {} were accepted", accepted.len());
    let in_file = arrived_in_file(folder.path());
    let in_stream = arrived(&fake);
    let lost = |there: &BTreeSet<String>| accepted.difference(there).count();
    assert_eq!((lost(&in_stream), lost(&in_file)), (0, 0), "lost of {}", accepted.len());
    let copies = Copies::of(&fake.takes(), &lives);
    println!("round {round}: {KILLS} kills, {} events accepted, {copies:?}", accepted.len());
    assert_eq!(copies.settled, 0, "what was settled before a kill came again: {copies:?}");
    for destination in status["destinations"].as_array().unwrap() {
        assert_eq!(destination["dropped"], 0, "{destination}");
    }
    assert_eq!(status["journal"]["damaged"], 0);
}

/// Senders that go on whatever happens to the daemon.
struct Traffic {
    events: Vec<String>,
    accepted: Mutex<Vec<String>>,
    ended: AtomicBool,
    /// Bodies that had an answer, or were cut off.
    tried: AtomicU64,
    /// Senders that still have some.
    senders: AtomicUsize,
    /// Where to send, while there is a daemon.
    ingest: Mutex<Option<SocketAddr>>,
}

impl Traffic {
    fn new(events: Vec<String>) -> Traffic {
        Traffic {
            events,
            accepted: Mutex::default(),
            ended: AtomicBool::new(false),
            tried: AtomicU64::new(0),
            senders: AtomicUsize::new(SENDERS),
            ingest: Mutex::new(None),
        }
    }

    /// Sends one sender's share of the events.
    fn send(&self, sender: usize) {
        let _end = OnDrop(|| {
            self.senders.fetch_sub(1, Ordering::Relaxed);
        });
        for body in self.events.chunks(20).skip(sender).step_by(SENDERS) {
            let address = loop {
                match *self.ingest.lock().unwrap() {
                    _ if self.ended.load(Ordering::Relaxed) => return,
                    Some(address) => break address,
                    None => pause(),
                }
            };
            if http::try_post(address, &body.join("\n")) {
                self.accepted.lock().unwrap().extend_from_slice(body);
            } else {
                pause();
            }
            self.tried.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wait_for_more(&self, bodies: u64) {
        let goal = self.tried.load(Ordering::Relaxed) + bodies;
        while self.tried.load(Ordering::Relaxed) < goal && self.senders.load(Ordering::Relaxed) > 0
        {
            pause();
        }
    }
}

/// What a daemon said of one destination just before it was killed.
struct Life {
    asked: Instant,
    told: Instant,
    /// When it was dead for certain.
    gone: Instant,
    /// Records that it called delivered, in all lives.
    delivered: u64,
}

impl Life {
    fn before_its_end(daemon: &Daemon) -> Life {
        let asked = Instant::now();
        let delivered = daemon.destination("stream")["delivered"].as_u64().unwrap();
        let told = Instant::now();
        Life { asked, told, gone: told, delivered }
    }
}

/// Copies that a service got, by their cause.
#[derive(Debug, Default)]
struct Copies {
    /// The service took the record and cut its answer short.
    answer_cut: usize,
    /// The answer was on its way when the daemon was killed: it had not said that it was settled.
    in_flight: usize,
    /// The daemon had said that it was settled.
    settled: usize,
}

impl Copies {
    /// Each life sends to a stream of its own number, so that an answer to one that was dead is known as
    /// such.
    ///
    /// Which of the records answered before `/status` was asked were settled when it told, nobody says;
    /// but how many were not, at most: all that were answered before it told, less what it called
    /// delivered. Copies beyond that were settled. What an earlier life heard between its word and its death it
    /// may have settled, so that it is among what later ones call delivered.
    fn of(takes: &[Vec<Take>], lives: &[Life]) -> Copies {
        let life_of = |take: &Take| lives.get(take.stream.parse::<usize>().unwrap());
        let mut copies = Copies::default();
        let mut answered_before_asked = vec![0; lives.len() + 1];
        for (take, _) in takes.iter().flat_map(|takes| takes.iter().zip(takes.iter().skip(1))) {
            match (take.answered, life_of(take)) {
                (None, _) => copies.answer_cut += 1,
                (Some(at), Some(life)) if at >= life.asked => copies.in_flight += 1,
                _ => answered_before_asked[take.stream.parse::<usize>().unwrap()] += 1,
            }
        }
        for (life, came_again) in lives.iter().zip(answered_before_asked) {
            let is_answered = |take: &Take| {
                let heard = life_of(take).map_or(life.told, |it| it.gone.min(life.told));
                take.answered.is_some_and(|at| at < heard)
            };
            let answered = takes.iter().filter(|takes| takes.iter().any(is_answered)).count();
            let on_their_way = answered.saturating_sub(life.delivered.try_into().unwrap());
            copies.in_flight += on_their_way.min(came_again);
            copies.settled += came_again.saturating_sub(on_their_way);
        }
        copies
    }
}

/// Calls a function when it goes.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn two_daemons_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Well);
    let settings = settings(folder.path(), &fake);
    let _first = Daemon::start(&settings);
    let said = Daemon::fail_to_start(&settings);
    assert!(said.contains("cannot be used: another process uses it"), "{said}");
}

#[test]
fn records_of_a_removed_destination_wait_until_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let both = settings(folder.path(), &fake);
    let daemon = Daemon::start(&both);
    let events = generate("http_request_complete.v0", 50, 33);
    daemon.send(&events);
    daemon.wait_for("one is through", |it| it["destinations"][1]["delivered"] == 50);
    daemon.stop();
    let without = without_stream(&both);
    let daemon = Daemon::start(&without);
    daemon.wait_for_log("records of an earlier run wait for it");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    fake.set(Mood::Well);
    let daemon = Daemon::start(&both);
    daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), events.into_iter().collect());
}

#[test]
fn what_waits_for_a_destination_that_is_gone_can_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeKinesis::start(Mood::Failing);
    let both = settings(folder.path(), &fake);
    let daemon = Daemon::start(&both);
    daemon.send(&generate("http_request_complete.v0", 50, 36));
    daemon.wait_for("one is through", |it| it["destinations"][1]["delivered"] == 50);
    let without = without_stream(&both);
    let file = folder.path().join("settings.yaml");
    let forget = |settings: &Settings, id: &str| {
        std::fs::write(&file, settings.to_string()).unwrap();
        let arguments = ["journal", "forget", "--destination", id, "-c", file.to_str().unwrap()];
        let output = sluicegate(&arguments, "");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout) + &text(output.stderr))
    };
    let refused = |(code, said): (Option<i32>, String), why: &str| {
        assert!(code == Some(1) && said.contains(why), "{said}");
    };
    refused(forget(&without, "stream"), "a daemon uses the journal");
    daemon.stop();
    refused(forget(&both, "stream"), "is in the settings");
    refused(forget(&without, "streem"), "did you mean `stream`?");
    let (code, said) = forget(&without, "stream");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("given up: 50 records for `stream`\n"), "{said}");
    let daemon = Daemon::start(&without);
    assert!(!daemon.log().contains("wait for it"), "{}", daemon.log());
    let ledger = http::get(daemon.api, "/ledger").json();
    let stream = &ledger["destinations"].as_array().unwrap()[2];
    assert_eq!((&stream["id"], &stream["dropped"]), (&"stream".into(), &50.into()));
    assert_eq!(ledger["balanced"], true);
}

#[test]
fn a_full_disk_is_told_to_senders_and_heals_by_itself() {
    let Some(disk) = SmallDisk::mount() else { return };
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(&disk.folder, &fake).journal_bytes("64MiB");
    let settings = settings.change("copy", |it| it.path("/dev/null"));
    let daemon = Daemon::start(&settings);
    let events = generate("http_request_complete.v0", 2_000, 34);
    let (first, second) = events.split_at(1_000);
    // Somebody else fills the disk.
    disk.fill();
    let answer = daemon.post("application/x-ndjson", first.join("\n"));
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.body.contains("cannot write: No space left"), "{answer:?}");
    let status = daemon.status();
    let error = status["journal"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("cannot be written") && error.contains("No space left"), "{error}");
    assert_eq!(daemon.log().matches("cannot be written").count(), 1, "said once");
    assert_eq!(http::get(daemon.api, "/healthz").status, 200);
    assert_eq!(http::get(daemon.api, "/readyz").status, 503);
    disk.make_room();
    let began = Instant::now();
    while daemon.post("application/x-ndjson", first.join("\n")).status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", daemon.log());
        pause();
    }
    daemon.send(second);
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    // What could not be noted or copied meanwhile is told until the keeper's next pass.
    daemon.wait_for("all is well", |status| status["journal"]["error"].is_null());
    assert_eq!(arrived(&fake), events.into_iter().collect());
    daemon.wait_for_log("the journal works again");
}

#[test]
fn a_file_that_may_not_grow_is_left_for_another_and_no_sender_notices() {
    let fake = FakeKinesis::start(Mood::Failing);
    let settings = settings(Path::new("DIR/data"), &fake).journal_bytes("1GiB");
    let settings = settings.change("copy", |it| it.path("/dev/null"));
    // 2 or 4 MiB, by the shell.
    let daemon = Daemon::start_under("ulimit -f 4096", &settings);
    let events = generate("http_request_complete.v0", 12_000, 35);
    for body in events.chunks(500) {
        let answer = daemon.post("application/x-ndjson", body.join("\n"));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(daemon.status()["journal"]["segments"].as_u64() > Some(1));
    fake.set(Mood::Well);
    daemon.wait_until_delivered();
    assert_eq!(arrived(&fake), events.into_iter().collect());
}
