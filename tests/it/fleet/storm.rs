//! Five daemons, two of them behind a network that is cut and mended, a sixth that is killed again and again, a
//! database that stops and comes back, and changes and events from all sides at once: nobody is refused what one daemon would take, keys and
//! revocations are in force everywhere within a second, and nothing that was acknowledged is missing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Fleet, HTTP, send, settings, start, status_of};
use crate::control::{Client, id};
use crate::support::daemon::{Daemon, patiently, pause};
use crate::support::http::{Answer, try_post};
use crate::support::proxy::Way;
use crate::support::receiver::Receiver;

/// In force everywhere: by the promise, with room for a machine that does much else.
const WITHIN: Duration = Duration::from_secs(1);
const ROOM: Duration = Duration::from_secs(4);

/// An event with an id, as one line.
fn event(id: &str) -> String {
    json!({"event_id": id, "event_type": HTTP, "object": {"http": {"response": {"status_code": 503}}}}).to_string()
}

/// Sends events to all daemons until told to stop; gives the ids of those that were acknowledged.
fn stream(fleet: &Fleet, stop: &AtomicBool, acknowledged: &Mutex<BTreeSet<String>>) {
    let mut n = 0;
    while !stop.load(Ordering::Acquire) {
        for (at, daemon) in fleet.daemons.iter().enumerate() {
            let ids: Vec<String> = (0..5).map(|k| format!("e-{at}-{n}-{k}")).collect();
            let body: Vec<String> = ids.iter().map(|id| event(id)).collect();
            let answer = daemon.post("application/x-ndjson", body.join("\n"));
            assert_eq!(answer.status, 200, "events are taken throughout: {answer:?}");
            acknowledged.lock().unwrap().extend(ids);
        }
        n += 1;
        pause();
    }
}

/// Starts a daemon, kills it while it takes events, and starts it again on the same folder, until told to stop.
/// Gives how often that was, and the daemon that lives.
fn killed_again_and_again(
    settings: &str,
    stop: &AtomicBool,
    acknowledged: &Mutex<BTreeSet<String>>,
) -> (usize, Daemon) {
    let mut lives = 0;
    loop {
        let daemon = start(settings);
        if stop.load(Ordering::Acquire) {
            return (lives, daemon);
        }
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    let ids: Vec<String> = (0..20).map(|k| format!("k-{lives}-{n}-{k}")).collect();
                    let body: Vec<String> = ids.iter().map(|id| event(id)).collect();
                    if !try_post(daemon.ingest, &body.join("\n")) {
                        break;
                    }
                    acknowledged.lock().unwrap().extend(ids);
                    taken.fetch_add(1, Ordering::Release);
                }
            });
            patiently("bodies are taken", || taken.load(Ordering::Acquire) > 10 + lives);
            daemon.signal("KILL");
        });
        daemon.wait();
        lives += 1;
    }
}

/// Asks for a change, again for as long as the store cannot be reached; anything else must be done.
fn change(client: &Client<'_>, line: &str, body: &Value) -> Answer {
    let began = Instant::now();
    loop {
        let answer = client.ask(line, body);
        if answer.status != 503 {
            return answer;
        }
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        let code = answer.json()["error_code"].as_str().unwrap_or_default().to_owned();
        assert!(
            ["ERR_SLUICEGATE_1430", "ERR_SLUICEGATE_1431"].contains(&code.as_str()),
            "{answer:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(60), "never changed: {answer:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Makes, changes and deletes through one daemon, as Terraform does with ten at once; gives what is left.
fn terraform(fleet: &Fleet, daemon: usize, destination: &str, rounds: usize) -> Vec<String> {
    let one = |n: usize| {
        let client = fleet.client(daemon);
        let body = json!({
            "description": format!("{daemon}-{n}"),
            "sources": [{"type": "tcp_connection_closed.v0"}],
            "destination_ids": [destination],
        });
        let made = change(&client, "POST /event_subscriptions", &body);
        assert_eq!(made.status, 201, "{made:?}");
        let made = id(&made.json());
        let line = format!("PATCH /event_subscriptions/{made}");
        let changed = change(&client, &line, &json!({"metadata": "changed"}));
        assert_eq!(changed.status, 200, "{changed:?}");
        if n.is_multiple_of(2) {
            return Some(made);
        }
        // An answer that was lost over the change may have been a deletion.
        let deleted = change(&client, &format!("DELETE /event_subscriptions/{made}"), &Value::Null);
        assert!([204, 404].contains(&deleted.status), "{deleted:?}");
        None
    };
    (0..rounds)
        .flat_map(|round| {
            thread::scope(|scope| {
                let one = &one;
                let threads = (0..10).map(|n| scope.spawn(move || one(10 * round + n)));
                let threads: Vec<_> = threads.collect();
                threads.into_iter().filter_map(|it| it.join().unwrap()).collect::<Vec<_>>()
            })
        })
        .collect()
}

/// How long it takes until something is so through all daemons of a list.
fn everywhere(fleet: &Fleet, daemons: &[usize], is_so: impl Fn(usize) -> bool) -> Duration {
    let began = Instant::now();
    for &daemon in daemons {
        patiently("everywhere", || is_so(daemon));
    }
    let took = began.elapsed();
    assert!(took < WITHIN + ROOM, "{took:?} of {} daemons", fleet.daemons.len());
    took
}

#[test]
fn five_daemons_keep_every_promise_while_network_and_database_come_and_go() {
    let Some(mut fleet) = Fleet::start(3, 2, "") else { return };
    let receiver = Receiver::start(200, None);
    let target = json!({"debug": {"callback_url": format!("http://{}/", receiver.address)}});
    let body = json!({"format": "json", "target": target, "batch": {"linger": "10ms"}});
    let destination = id(&fleet.client(0).must("POST /event_destinations", &body));
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": [destination]});
    let subscription = id(&fleet.client(1).must("POST /event_subscriptions", &body));
    fleet.everywhere("in force", |client| {
        status_of(client, &format!("GET /event_subscriptions/{subscription}")) == 200
            && client.daemon.status()["subscriptions"].as_array().unwrap().len() == 1
    });
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Mutex::default());
    let folder = tempfile::tempdir().unwrap();
    let data_dir = format!("data_dir: {}\n", folder.path().join("data").display());
    let of_sixth = settings(&fleet.server.url(fleet.server.port), "") + &data_dir;
    let (left, (kills, _sixth)): (BTreeSet<String>, _) = thread::scope(|scope| {
        let (shared, acknowledged, stop) = (&fleet, &acknowledged, &stop);
        let sending = scope.spawn(move || stream(shared, stop, acknowledged));
        let killed = scope.spawn(|| killed_again_and_again(&of_sixth, stop, acknowledged));
        let destination = destination.as_str();
        let changing = |daemon| scope.spawn(move || terraform(shared, daemon, destination, 2));
        let threads: Vec<_> = [0, 2, 3, 4].map(changing).into();
        // The network of two is cut and mended under the changes.
        for way in [Way::Cut, Way::Open, Way::Hole, Way::Open, Way::Cut, Way::WithoutNotices] {
            thread::sleep(Duration::from_millis(700));
            shared.proxies.iter().for_each(|proxy| proxy.set(way));
        }
        let left = threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
        stop.store(true, Ordering::Release);
        sending.join().unwrap();
        (left, killed.join().unwrap())
    });
    assert!(kills > 0, "the sixth was killed");
    assert_eq!(left.len(), 40, "half of the eighty that were made");
    // One more answer may have been lost over a change that was made: nothing else is there.
    fleet.everywhere("all see the same", |client| {
        let mut found = BTreeSet::new();
        let mut query = "limit=100".to_owned();
        loop {
            let page = client.must(&format!("GET /event_subscriptions?{query}"), &Value::Null);
            let items = page["event_subscriptions"].as_array().unwrap();
            found.extend(items.iter().map(id));
            match page["next_page_uri"].as_str() {
                Some(next) => query = next.split_once('?').unwrap().1.to_owned(),
                None => return left.is_subset(&found) && found.contains(&subscription),
            }
        }
    });
    keys_and_revocations(&fleet);
    database_stops_and_starts(&mut fleet);
    let taken = || -> BTreeSet<String> {
        let all = receiver.requests();
        let lines = all.iter().flat_map(|(_, body)| body.lines());
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.map(|it| it["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 100, "{} events", acknowledged.len());
    patiently("every acknowledged match is found", || acknowledged.is_subset(&taken()));
}

/// With notices dropped for two of the five, a key and its revocation are in force everywhere.
fn keys_and_revocations(fleet: &Fleet) {
    let all: Vec<usize> = (0..fleet.daemons.len()).collect();
    fleet.everywhere("reached", |client| client.daemon.status()["store"]["error"].is_null());
    for maker in [0, 3] {
        let made = fleet.client(maker).must("POST /credentials", &json!({}));
        let token = made["token"].as_str().unwrap();
        let known =
            everywhere(fleet, &all, |daemon| send(&fleet.daemons[daemon], token).status == 200);
        fleet.client(4 - maker).must(&format!("DELETE /credentials/{}", id(&made)), &Value::Null);
        let gone =
            everywhere(fleet, &all, |daemon| send(&fleet.daemons[daemon], token).status == 401);
        println!("made at {maker}: in force after {known:?}, revoked after {gone:?}");
    }
}

/// All five go on without the database, change nothing, and change again once it is back.
fn database_stops_and_starts(fleet: &mut Fleet) {
    fleet.server.end();
    for client in fleet.clients() {
        patiently("refused", || client.ask("POST /ip_policies", &json!({})).status == 503);
        let refused = client.ask("POST /ip_policies", &json!({}));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(status_of(&client, "GET /event_subscriptions"), 200, "reading goes on");
        assert_eq!(send(client.daemon, "").status, 200);
    }
    fleet.server.begin();
    let began = Instant::now();
    fleet.everywhere("changed again", |client| {
        client.ask("POST /ip_policies", &json!({})).status == 201
    });
    println!("changes through all five daemons {:?} after the database answered", began.elapsed());
}
