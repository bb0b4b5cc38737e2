//! Work: filters, events and requests that would take a processor for themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use sluicegate::event::Catalog;

use crate::control::Client;
use crate::support::daemon::Daemon;
use crate::support::generate;
use crate::support::http::request;
use crate::support::settings::{Settings, Tls};
use crate::support::tls::Certificates;

const HTTP: &str = "http_request_complete.v0";

const SETTINGS: &str = "
api: { listen: 127.0.0.1:0, rate_limit: { requests: 1000000 } }
destinations: [{ id: kept, target: { debug: { log: false } } }]
";

/// The most work of one evaluation, as `filters/README.md` states it.
const MAX_WORK: u64 = 2_500_000;

/// A regular expression whose states are as many as the texts that it is asked about.
const COSTLY: &str = "(.?){80}[ab]{900}c";

/// A text of a's and b's without order.
fn mixed(length: usize) -> String {
    let mut seed = 7u64;
    let next = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if seed >> 63 == 0 { 'a' } else { 'b' }
    };
    (0..length).map(next).collect()
}

fn event(path: &str) -> String {
    json!({"event_type": HTTP, "object": {"http": {"request": {"url": {"path": path}}}}})
        .to_string()
}

fn on_path(pattern: &str) -> String {
    format!("ev.http.request.url.path.matches('{pattern}')")
}

fn subscribe(client: &Client<'_>, filter: &str) -> String {
    let source = json!({"type": HTTP, "filter": filter});
    let asked = json!({"sources": [source], "destination_ids": ["kept"]});
    let made = client.must("POST /event_subscriptions", &asked);
    made["id"].as_str().unwrap().to_owned()
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let metrics = request(daemon.api, "GET /metrics", &[], b"").body;
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[test]
fn a_costly_filter_is_stopped_and_counted_on_a_large_event() {
    let daemon = Daemon::start(SETTINGS);
    let client = Client::new(&daemon);
    let costly = subscribe(&client, &on_path(COSTLY));
    daemon.send(&[event(&mixed(15_000))]);
    let status = daemon.status();
    let found = status["subscriptions"].as_array().unwrap().iter().find(|it| it["id"] == *costly);
    assert_eq!(found.unwrap()["filter_errors"], 1, "{status}");
    let said = found.unwrap()["last_filter_error"].as_str().unwrap();
    assert_eq!(said, format!("over the limit of {MAX_WORK} units of work in one evaluation"));
    let name = format!("sluicegate_subscription_filter_work_total{{subscription=\"{costly}\"}}");
    let work = metric(&daemon, &name);
    assert!(work > MAX_WORK / 2 && work <= MAX_WORK, "{work}");
}

#[test]
fn of_a_text_that_is_too_long_for_an_address_or_a_network_nothing_is_read() {
    let daemon = Daemon::start(SETTINGS);
    let client = Client::new(&daemon);
    let often =
        |test: &str| format!("lists.range(90).exists(y, lists.range(90).exists(z, {test}))");
    let path = "ev.http.request.url.path";
    let tests = [format!("isCIDR({path})"), format!("isIP({path})"), "y < 0".to_owned()];
    tests.iter().for_each(|test| drop(subscribe(&client, &often(test))));
    let took = |path: &str| {
        let body = event(path);
        let once = || {
            let start = Instant::now();
            assert_eq!(daemon.post("application/json", &body).status, 200);
            start.elapsed()
        };
        (0..5).map(|_| once()).min().unwrap()
    };
    // 16,200 readings of a megabyte of digits would take ten seconds.
    let (short, long) = (took("0/1"), took(&format!("0/{}", "1".repeat(1_000_000))));
    assert!(long < short * 100, "{long:?} with a long text, {short:?} with a short one");
}

#[test]
fn a_trial_ends_with_its_work_and_says_how_many_events_were_left() {
    let daemon = Daemon::start(SETTINGS);
    let client = Client::new(&daemon);
    let events: Vec<Value> =
        (0..300).map(|_| serde_json::from_str(&event(&mixed(3_000))).unwrap()).collect();
    let asked = json!({"type": HTTP, "filter": on_path(COSTLY), "events": events});
    let tried = client.must("POST /filters/try", &asked);
    let (seen, errors) = (tried["seen"].as_u64().unwrap(), tried["errors"].as_u64().unwrap());
    assert!(seen > 10 && seen == errors, "{seen} {errors}");
    assert_eq!(tried["untried"], 300 - seen);
}

#[test]
fn compiled_regexes_are_refused_by_the_name_of_their_limit() {
    let daemon = Daemon::start(SETTINGS);
    let client = Client::new(&daemon);
    let before = metric(&daemon, "sluicegate_filter_compiled_bytes");
    let create = |sources: Vec<Value>| {
        let asked = json!({"sources": sources, "destination_ids": ["kept"]});
        let answer = client.ask("POST /event_subscriptions", &asked);
        let error = answer.json()["error_code"].as_str().unwrap_or_default().to_owned();
        (answer.status, error, answer.body)
    };
    // Half a mebibyte each, no two the same.
    let large = |n: usize| format!(r"^{n}(\\pL{{8}}){{4}}");
    let source = |(at, event_type): (usize, &str)| json!({"type": event_type, "filter": format!("event.event_id.matches('{}')", large(at))});
    let three =
        format!("{} || {} || {}", on_path(&large(1)), on_path(&large(2)), on_path(&large(3)));
    let (status, error, body) = create(vec![json!({"type": HTTP, "filter": three})]);
    assert_eq!((status, error.as_str()), (400, "ERR_NGROK_5404"), "{body}");
    assert!(body.contains("bytes of compiled regular expressions in one filter"), "{body}");
    let catalog = Catalog::builtin();
    let names: Vec<&str> = catalog.iter().map(|it| it.name.as_str()).collect();
    let (status, error, body) =
        create(names.iter().copied().take(20).enumerate().map(source).collect());
    assert_eq!((status, error.as_str()), (400, "ERR_SLUICEGATE_1207"), "{body}");
    let after = metric(&daemon, "sluicegate_filter_compiled_bytes");
    assert_eq!(before, after, "nothing of what was refused is kept");
}

#[test]
fn probes_are_answered_while_bodies_meet_many_filters() {
    let daemon = Daemon::start(SETTINGS);
    let client = Client::new(&daemon);
    for n in 0..30 {
        subscribe(&client, &on_path(&format!("^/{n}[a-z]+$")));
    }
    let is_done = AtomicBool::new(false);
    let probed = thread::scope(|scope| {
        let bodies = scope.spawn(|| {
            let body = format!("{}\n", event("/none")).repeat(20_000);
            assert_eq!(daemon.post("application/x-ndjson", &body).status, 200);
            is_done.store(true, Ordering::Release);
        });
        let mut probed = 0;
        while !is_done.load(Ordering::Acquire) {
            assert_eq!(request(daemon.api, "GET /healthz", &[], b"").status, 200);
            assert_eq!(request(daemon.api, "GET /readyz", &[], b"").status, 200);
            probed += 1;
        }
        bodies.join().unwrap();
        probed
    });
    assert!(probed > 10, "only {probed} probes were answered before the body was");
}

#[test]
fn refusing_costs_no_more_than_ten_times_accepting() {
    let daemon = Daemon::start(SETTINGS);
    let took = |events: &[String]| {
        let body = events.join("\n");
        let once = || {
            let start = Instant::now();
            daemon.post("application/x-ndjson", &body);
            start.elapsed()
        };
        (0..3).map(|_| once()).min().unwrap()
    };
    let good = generate(HTTP, 5_000, 1);
    let accepted = took(&good);
    let wrong_types =
        (0..5_000).map(|n| event("/").replace(HTTP, &format!("http_request_completd.v{n}")));
    let wrong: [Vec<String>; 3] = [
        wrong_types.collect(),
        good.iter().map(|it| it.replacen("event_type", "event_typ", 1)).collect(),
        good.iter().map(|it| format!("{}!", &it[..it.len() - 1])).collect(),
    ];
    for events in wrong {
        let refused = took(&events);
        assert!(
            refused < accepted * 10,
            "{refused:?} to refuse, {accepted:?} to accept {}",
            events[0]
        );
    }
}

/// How long a probe takes on a connection that is open, the median of some.
fn probed(stream: &mut (impl Read + Write)) -> Duration {
    let mut took: Vec<Duration> = (0..41)
        .map(|_| {
            let began = Instant::now();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let (mut answer, mut bytes) = (String::new(), [0; 1_024]);
            while !answer.ends_with("ok\n") {
                let read = stream.read(&mut bytes).unwrap();
                assert!(read > 0, "cut off after {answer}");
                answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

#[test]
fn handshakes_that_come_as_fast_as_they_can_hold_up_no_probe() {
    let Some(certificates) = Certificates::make() else { return };
    let tls = Tls::new(&certificates.path("server.pem"), &certificates.path("server.key"));
    let daemon = Daemon::start(&Settings::new().api_tls(tls));
    let connect = || {
        let mut config = ClientConfig::clone(&certificates.config("ca", None));
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, TcpStream::connect(daemon.api).unwrap())
    };
    let mut probe = connect();
    let before = probed(&mut probe);
    let (over, shaken) = (AtomicBool::new(false), AtomicUsize::new(0));
    let during = thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = connect();
                    while stream.conn.is_handshaking()
                        && stream.conn.complete_io(&mut stream.sock).is_ok()
                    {}
                    shaken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while shaken.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
        let during = probed(&mut probe);
        over.store(true, Ordering::Relaxed);
        during
    });
    let shaken = shaken.load(Ordering::Relaxed);
    println!("a probe took {before:?} before and {during:?} beside {shaken} handshakes");
    assert!(during < Duration::from_millis(50).max(before * 20), "{before:?} {during:?}");
}
