//! Daemons that share a PostgreSQL database: keys, changes and revocations of one in force on all, times without
//! the database, daemons that do not fit, audit events told once.

mod daemons;
mod moving;
mod orders;
mod restrictions;
mod storm;
mod tls;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::{Daemon, patiently};
use crate::support::generate;
use crate::support::http::{self, Answer};
use crate::support::postgres::Postgres;
use crate::support::proxy::{Proxy, Way};
use crate::support::receiver::Receiver;

const HTTP: &str = "http_request_complete.v0";

/// The master key of every fleet here.
const KEY: (&str, &str) =
    ("SLUICEGATE_MASTER_KEY", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");

/// Daemons in front of one database, the last of them behind proxies.
struct Fleet {
    server: Postgres,
    proxies: Vec<Proxy>,
    daemons: Vec<Daemon>,
    key: String,
}

/// Settings of a daemon whose database is at a URL, with more in `control`.
fn settings(url: &str, more: &str) -> String {
    format!("{UNLIMITED}control: {{ store: {{ postgres: {{ url: \"{url}\" }} }}{more} }}\n")
}

fn start(settings: &str) -> Daemon {
    Daemon::start_with(settings, &[KEY])
}

/// Makes a key on the command line, beside the daemons.
fn make_key(settings: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["api-key", "create", "-c", settings.to_str().unwrap()])
        .envs([KEY])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Fleet {
    /// So many daemons that reach the database directly, and so many through a proxy each, with more settings.
    fn start(direct: usize, proxied: usize, more: &str) -> Option<Fleet> {
        let server = Postgres::start()?;
        let mut ports = vec![server.port; direct];
        let proxies: Vec<Proxy> = (0..proxied).map(|_| Proxy::before(server.port)).collect();
        ports.extend(proxies.iter().map(|proxy| proxy.port));
        let start = |port: u16| start(&format!("{}{more}", settings(&server.url(port), "")));
        let daemons: Vec<Daemon> = ports.into_iter().map(start).collect();
        let key = make_key(&daemons[0].path("sluicegate.yaml"));
        Some(Fleet { server, proxies, daemons, key })
    }

    fn client(&self, daemon: usize) -> Client<'_> {
        Client::with_key(&self.daemons[daemon], &self.key)
    }

    fn clients(&self) -> impl Iterator<Item = Client<'_>> {
        (0..self.daemons.len()).map(|daemon| self.client(daemon))
    }

    /// Waits until something is so through every daemon.
    fn everywhere(&self, what: &str, is_so: impl Fn(&Client<'_>) -> bool) {
        for (daemon, client) in self.clients().enumerate() {
            patiently(&format!("{what} at daemon {daemon}"), || is_so(&client));
        }
    }
}

fn status_of(client: &Client<'_>, line: &str) -> u16 {
    client.ask(line, &Value::Null).status
}

fn send(daemon: &Daemon, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-ndjson")];
    daemon.post_with(&headers, generate(HTTP, 1, 1).join("\n"))
}

fn ready(daemon: &Daemon) -> Answer {
    http::get(daemon.api, "/readyz")
}

#[test]
fn what_one_of_five_daemons_is_told_is_in_force_on_all() {
    let Some(fleet) = Fleet::start(3, 2, "") else { return };
    for (maker, other) in [(0, 4), (4, 0), (3, 1)] {
        let made = fleet.client(maker).must("POST /api_keys", &json!({"description": "d"}));
        let key = made["token"].as_str().unwrap();
        for daemon in &fleet.daemons {
            // A key that was made elsewhere is asked for, so nobody has to wait for it.
            let client = Client::with_key(daemon, key);
            assert_eq!(status_of(&client, "GET /event_destinations"), 200);
        }
        let line = format!("DELETE /api_keys/{}", id(&made));
        fleet.client(other).must(&line, &Value::Null);
        assert_eq!(status_of(&Client::with_key(&fleet.daemons[other], key), "GET /self"), 403);
        for daemon in &fleet.daemons {
            let client = Client::with_key(daemon, key);
            patiently("revoked", || status_of(&client, "GET /self") == 403);
        }
    }
    let policy = fleet.client(1).must("POST /ip_policies", &json!({}));
    let rule = json!({"ip_policy_id": id(&policy), "cidr": "192.0.2.0/24", "action": "allow"});
    // Another daemon knows the policy at once, since its turn comes after.
    fleet.client(2).must("POST /ip_policy_rules", &rule);
    let restriction =
        json!({"type": "endpoints", "enforced": true, "ip_policy_ids": [id(&policy)]});
    let restriction = fleet.client(3).must("POST /ip_restrictions", &restriction);
    for daemon in &fleet.daemons {
        patiently("restricted", || send(daemon, "").status == 403);
    }
    fleet.client(0).must(&format!("DELETE /ip_restrictions/{}", id(&restriction)), &Value::Null);
    for daemon in &fleet.daemons {
        patiently("open again", || send(daemon, "").status == 200);
    }
}

#[test]
fn daemons_that_meet_an_empty_database_at_once_all_start() {
    let Some(server) = Postgres::start() else { return };
    let settings = settings(&server.url(server.port), "");
    let count = |what: &str| {
        server.sql(&format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {what}"))
    };
    thread::scope(|scope| {
        // The lock under which tables are made, held until all of them wait for it.
        let lock = "SELECT pg_advisory_lock(x'736c756963656774'::BIGINT), pg_sleep(60)";
        scope.spawn(|| server.sql(lock));
        patiently("held", || count("granted").as_deref() == Some("1"));
        let daemons = [0; 3].map(|_| scope.spawn(|| start(&settings)));
        patiently("all wait", || count("NOT granted").as_deref() == Some("3"));
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
        for daemon in daemons {
            assert_eq!(ready(&daemon.join().unwrap()).status, 200);
        }
    });
}

#[test]
fn changes_from_all_sides_at_once_are_made_one_after_the_other() {
    let Some(fleet) = Fleet::start(2, 1, "") else { return };
    let receiver = Receiver::start(200, None);
    let target = json!({"debug": {"callback_url": format!("http://{}/", receiver.address)}});
    let shared = json!({"format": "json", "target": target});
    let shared = fleet.client(0).must("POST /event_destinations", &shared);
    let make = |client: &Client<'_>, n: usize| {
        let body = json!({
            "description": format!("s{n}"),
            "sources": [{"type": HTTP}],
            "destination_ids": [id(&shared)],
        });
        let made = id(&client.must("POST /event_subscriptions", &body));
        client.must(&format!("PATCH /event_subscriptions/{made}"), &json!({"metadata": "m"}));
        made
    };
    let made: BTreeSet<String> = thread::scope(|scope| {
        let (fleet, make) = (&fleet, &make);
        let threads = (0..12).map(|n| scope.spawn(move || make(&fleet.client(n % 3), n)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.len(), 12, "no id was given twice");
    fleet.everywhere("all there", |client| {
        let listed = client.must("GET /event_subscriptions?limit=100", &Value::Null);
        let listed = listed["event_subscriptions"].as_array().unwrap();
        listed.iter().map(id).collect::<BTreeSet<_>>() == made
            && listed.iter().all(|it| it["metadata"] == "m")
    });
    for daemon in &fleet.daemons {
        send(daemon, "");
        let status = daemon.status();
        let all = status["subscriptions"].as_array().unwrap();
        assert!(all.len() == 12 && all.iter().all(|it| it["matched"] == 1), "{status:#}");
    }
}

#[test]
fn a_lost_notice_delays_a_change_by_no_more_than_the_next_question() {
    let Some(fleet) = Fleet::start(1, 1, "") else { return };
    fleet.proxies[0].set(Way::Cut);
    patiently("cut", || fleet.daemons[1].status()["store"]["error"].is_string());
    fleet.proxies[0].set(Way::WithoutNotices);
    patiently("back", || fleet.daemons[1].status()["store"]["error"].is_null());
    let made = fleet.client(0).must("POST /credentials", &json!({}));
    let token = made["token"].as_str().unwrap();
    patiently("in force", || send(&fleet.daemons[1], token).status == 200);
    fleet.client(0).must(&format!("DELETE /credentials/{}", id(&made)), &Value::Null);
    patiently("revoked", || send(&fleet.daemons[1], token).status == 401);
}

#[test]
fn without_the_database_daemons_go_on_and_change_nothing() {
    let Some(mut fleet) = Fleet::start(1, 1, "") else { return };
    let made = fleet.client(0).must("POST /credentials", &json!({}));
    let token = made["token"].as_str().unwrap();
    patiently("in force", || send(&fleet.daemons[1], token).status == 200);
    // A network that swallows everything is no end of the connection.
    fleet.proxies[0].set(Way::Hole);
    let lost = &fleet.daemons[1];
    let status = lost.wait_for("told", |status| status["store"]["error"].is_string());
    assert!(status["store"]["stale_seconds"].as_f64().unwrap() > 0.0, "{status:#}");
    assert!(ready(lost).status == 200 && ready(lost).body.contains("cannot be reached"));
    assert!(http::get(lost.api, "/metrics").body.contains("sluicegate_store_error 1"));
    let refused = fleet.client(1).ask("POST /ip_policies", &json!({}));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1430", "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(send(lost, token).status, 200, "the credentials stay in force");
    // The other is not held up, not even by what the lost one had begun.
    fleet.client(0).must("POST /ip_policies", &json!({}));
    fleet.proxies[0].set(Way::Cut);
    fleet.server.end();
    let policies = fleet.client(0).ask("POST /ip_policies", &json!({}));
    assert_eq!(policies.status, 503, "{policies:?}");
    assert_eq!(send(&fleet.daemons[0], token).status, 200);
    fleet.server.begin();
    fleet.proxies[0].set(Way::Open);
    fleet.everywhere("changed again", |client| {
        client.ask("POST /ip_policies", &json!({})).status == 201
    });
    fleet.client(1).must(&format!("DELETE /credentials/{}", id(&made)), &Value::Null);
    patiently("revoked", || send(&fleet.daemons[0], token).status == 401);
}

#[test]
fn a_daemon_that_starts_without_the_database_goes_on_from_its_copy() {
    let Some(mut server) = Postgres::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let settings =
        format!("{}data_dir: {}\n", settings(&server.url(server.port), ""), data.path().display());
    let first = start(&settings);
    let key = make_key(&first.path("sluicegate.yaml"));
    let client = Client::with_key(&first, &key);
    let made = client.must("POST /credentials", &json!({}));
    let token = made["token"].as_str().unwrap().to_owned();
    let revoked = client.must("POST /credentials", &json!({}));
    client.must(&format!("DELETE /credentials/{}", id(&revoked)), &Value::Null);
    let account = client.must("GET /self", &Value::Null)["account"]["id"].clone();
    first.stop();
    server.end();
    let second = start(&settings);
    second.wait_for_log("going on from the copy");
    assert_eq!(send(&second, &token).status, 200);
    assert_eq!(send(&second, revoked["token"].as_str().unwrap()).status, 401);
    let client = Client::with_key(&second, &key);
    assert_eq!(client.must("GET /self", &Value::Null)["account"]["id"], account);
    assert_eq!(client.refused("POST /credentials", &json!({})).0, 503);
    server.begin();
    patiently("changed again", || client.ask("POST /credentials", &json!({})).status == 201);
    let bytes = std::fs::read(data.path().join("control.copy.db")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("token_hash"), "the copy is sealed");
}

#[test]
fn a_daemon_that_is_cut_off_for_too_long_takes_no_events() {
    let Some(server) = Postgres::start() else { return };
    let proxy = Proxy::before(server.port);
    let daemon = start(&settings(&server.url(proxy.port), ", max_staleness: 5s"));
    assert_eq!(send(&daemon, "").status, 200);
    proxy.set(Way::Cut);
    patiently("refused", || send(&daemon, "").status == 503);
    let refused = send(&daemon, "");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1432", "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(ready(&daemon).status == 503 && ready(&daemon).body.contains("max_staleness"));
    proxy.set(Way::Open);
    patiently("taken again", || send(&daemon, "").status == 200);
}

#[test]
fn a_daemon_whose_file_lacks_a_destination_is_not_ready_and_says_which() {
    let Some(server) = Postgres::start() else { return };
    let plain = settings(&server.url(server.port), "");
    let kept = "destinations: [{ id: kept, target: { file: { path: DIR/out.ndjson } } }]\n";
    let whole = start(&format!("{plain}{kept}"));
    let lacking = start(&plain);
    let key = make_key(&whole.path("sluicegate.yaml"));
    let client = Client::with_key(&whole, &key);
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": ["kept"]});
    let made = id(&client.must("POST /event_subscriptions", &body));
    patiently("not ready", || ready(&lacking).status == 503);
    let said = ready(&lacking).body;
    assert!(said.contains("`kept`") && said.contains(&made), "{said}");
    let refused = send(&lacking, "");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1433", "{refused:?}");
    assert_eq!(send(&whole, "").status, 200);
    // It starts like this too, and manages what it cannot do.
    let third = start(&plain);
    assert_eq!(ready(&third).status, 503);
    let listed = Client::with_key(&third, &key).must("GET /event_subscriptions", &Value::Null);
    assert_eq!(id(&listed["event_subscriptions"][0]), made);
    lacking.reload(&format!("{plain}{kept}"));
    patiently("ready", || ready(&lacking).status == 200);
    send(&lacking, "");
    assert_eq!(lacking.status()["subscriptions"][0]["matched"], 1);
}

/// The ids of the audit events of a type that a receiver has got.
fn told(receiver: &Receiver, event_type: &str) -> Vec<String> {
    let all = receiver.requests();
    let events = all.iter().flat_map(|(_, body)| body.lines());
    let events = events.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_type = events.filter(|event| event["event_type"] == event_type);
    of_type.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_change_is_told_by_one_daemon_or_by_another_with_the_same_id() {
    const CREATED: &str = "ip_policy_created.v0";
    let receiver = Receiver::start(200, None);
    let audited = format!(
        "journal: {{ durability: memory }}\n\
         destinations: [{{ id: audit, batch: {{ linger: 10ms }}, target: {{ debug: {{ callback_url: \"http://{}/\" }} }} }}]\n\
         subscriptions: [{{ id: s, sources: [{{ type: {CREATED} }}], destinations: [audit] }}]\n",
        receiver.address
    );
    let Some(mut fleet) = Fleet::start(3, 0, &audited) else { return };
    for client in fleet.clients() {
        client.must("POST /ip_policies", &json!({}));
    }
    patiently("told", || told(&receiver, CREATED).len() >= 3);
    let waiting = || fleet.server.sql("SELECT count(*) FROM sluicegate_outbox").unwrap();
    patiently("forgotten", || waiting() == "0");
    assert_eq!(told(&receiver, CREATED).len(), 3, "each once");
    // What a journal in memory has not delivered is another's when the daemon dies.
    receiver.set(500);
    fleet.client(0).must("POST /ip_policies", &json!({}));
    patiently("tried", || told(&receiver, CREATED).len() > 3);
    let dying = fleet.daemons.remove(0);
    dying.signal("KILL");
    dying.wait();
    receiver.set(200);
    let before = told(&receiver, CREATED).len();
    patiently("told by another", || told(&receiver, CREATED).len() > before);
    let ids: BTreeSet<String> = told(&receiver, CREATED).into_iter().collect();
    assert_eq!(ids.len(), 4, "with the id that it had");
}

#[test]
fn a_fleet_is_refused_without_its_key_and_with_another() {
    let Some(server) = Postgres::start() else { return };
    let plain = settings(&server.url(server.port), "");
    assert!(Daemon::fail_to_start(&plain).contains("SLUICEGATE_MASTER_KEY"));
    let daemon = start(&plain);
    let path = daemon.path("sluicegate.yaml");
    let other = ("SLUICEGATE_MASTER_KEY", "a".repeat(64));
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["api-key", "create", "-c", path.to_str().unwrap()])
        .envs([other])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("sealed with another key"), "{said}");
    server.sql("UPDATE sluicegate_schema SET major = 2").unwrap();
    daemon.wait_for("too old", |status| {
        status["store"]["error"].as_str().is_some_and(|it| it.contains("version 2"))
    });
    assert_eq!(send(&daemon, "").status, 200, "it goes on");
}

#[test]
fn rows_that_others_put_back_are_told_at_the_start() {
    let Some(server) = Postgres::start() else { return };
    let plain = settings(&server.url(server.port), "");
    let daemon = start(&plain);
    let key = make_key(&daemon.path("sluicegate.yaml"));
    let client = Client::with_key(&daemon, &key);
    let policy = client.must("POST /ip_policies", &json!({"description": "old"}));
    server.sql("CREATE TABLE old AS SELECT * FROM sluicegate_objects").unwrap();
    client.must(&format!("DELETE /ip_policies/{}", id(&policy)), &Value::Null);
    let clean = start(&plain);
    assert_eq!(clean.status()["store"]["changed_outside"], json!([]));
    server
        .sql("INSERT INTO sluicegate_objects SELECT * FROM old WHERE kind = 'ip_policies'")
        .unwrap();
    let told = start(&plain);
    let changed = told.status()["store"]["changed_outside"].to_string();
    assert!(changed.contains("put back"), "{changed}");
    assert!(told.log().contains("ERR_SLUICEGATE_1340"));
}
