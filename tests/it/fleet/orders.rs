//! `?daemon=NAME|all`: what is asked of one daemon through another, by their database alone.

use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Fleet, KEY, make_key, ready, send, settings, start};
use crate::control::{Client, UNLIMITED};
use crate::support::daemon::{Daemon, patiently};
use crate::support::http;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Proxy, Way};
use crate::support::receiver::Receiver;

/// Two named daemons, each with a destination of the same name, the second behind a proxy.
struct Two {
    server: Postgres,
    proxy: Proxy,
    receiver: Receiver,
    first: Daemon,
    second: Daemon,
    key: String,
}

impl Two {
    fn start() -> Option<Two> {
        let server = Postgres::start()?;
        let receiver = Receiver::start(422, None);
        let proxy = Proxy::before(server.port);
        let begin = |name: &str, port: u16| {
            let shared = settings(&server.url(port), "");
            start(&format!(
                "{}destinations: [{{ id: hook, batch: {{ linger: 10ms }}, target: {{ debug: {{ callback_url: \"http://{}/\" }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [hook] }}]
",
                shared.replace("control: {", &format!("control: {{ name: {name},")),
                receiver.address
            ))
        };
        let (first, second) = (begin("first", server.port), begin("second", proxy.port));
        let key = make_key(&first.path("sluicegate.yaml"));
        let two = Two { server, proxy, receiver, first, second, key };
        patiently("both are known", || {
            two.client().must("GET /daemons", &Value::Null)["daemons"].as_array().unwrap().len()
                == 2
        });
        Some(two)
    }

    fn client(&self) -> Client<'_> {
        Client::with_key(&self.first, &self.key)
    }

    /// A command that asks the first daemon.
    fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args(arguments)
            .args(["--api", &format!("http://{}", self.first.api)])
            .env("SLUICEGATE_API_KEY", &self.key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn one_daemon_is_worked_on_through_another() {
    let Some(two) = Two::start() else { return };
    assert_eq!(send(&two.second, "").status, 200);
    two.second.wait_until_delivered();
    let client = two.client();
    let status = client.must("GET /status?daemon=second", &Value::Null);
    assert_eq!(status["store"]["daemon"], "second");
    assert_eq!(status["destinations"][0]["dead_lettered"], 1, "{status:#}");
    let own = client.must("GET /status?daemon=first", &Value::Null);
    assert_eq!(own["destinations"][0]["dead_lettered"], 0);
    let ledgers = client.must("GET /ledger?daemon=all", &Value::Null);
    let of = |at: usize| &ledgers["daemons"][at];
    assert_eq!((&of(0)["name"], &of(1)["name"]), (&json!("first"), &json!("second")));
    assert_eq!(of(1)["answer"]["destinations"][0]["listed"], 1, "{ledgers:#}");
    assert_eq!((&of(1)["status_code"], &ledgers["unanswered"]), (&json!(200), &json!([])));
    // Readings that are open here are not so elsewhere.
    let open = http::get(two.first.api, "/status");
    let closed = http::get(two.first.api, "/status?daemon=second");
    assert_eq!((open.status, closed.status), (200, 403));
    let letters = client.must("GET /dead_letters?daemon=second&destination_id=hook", &Value::Null);
    let letter = letters["dead_letters"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.must("GET /dead_letters", &Value::Null)["dead_letters"], json!([]));
    let listed = two.command(&["dead-letters", "list", "--daemon", "second"]);
    assert!(listed.starts_with(&letter), "{listed}");
    let shown = two.command(&["dead-letters", "show", &letter, "--daemon", "second", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["id"], letter.as_str());
    let ledger = two.command(&["ledger", "--daemon", "second", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ledger).unwrap()["destinations"][0]["listed"], 1);
    two.receiver.set(200);
    let sent = two.command(&["dead-letters", "redrive", "--all", "--daemon", "second"]);
    assert_eq!(sent, "1 letter delivered to hook\n");
    let log = two.second.log();
    assert!(log.contains("asked through another daemon") && log.contains("\"redriven\""), "{log}");
    assert!(log.contains("\"by\":\"usr_"), "it is said who asked: {log}");
    let rows = "SELECT count(*) FROM sluicegate_commands";
    assert_eq!(two.server.sql(rows).as_deref(), Some("0"), "answers go when they were read");
    let unknown = client.ask("GET /status?daemon=thrid", &Value::Null);
    assert_eq!(unknown.json()["error_code"], "ERR_SLUICEGATE_1443", "{unknown:?}");
    assert!(unknown.body.contains("`first`, `second`"), "{unknown:?}");
    assert_eq!(client.refused("GET /api_keys?daemon=second", &Value::Null).1, "ERR_NGROK_231");
    let reloaded = two.command(&["reload", "--daemon", "second"]);
    assert!(reloaded.starts_with("reloaded: 1 destination and 1 subscription"), "{reloaded}");
    let bury = json!({"destination_id": "hook", "event_id": "ev_none"});
    assert_eq!(
        client.refused("POST /dead_letters/bury?daemon=second", &bury).1,
        "ERR_SLUICEGATE_1311"
    );
    let drained = two.command(&["drain", "--daemon", "second"]);
    assert!(drained.contains("drained: the daemon has ended"), "{drained}");
    assert!(two.second.wait().status.success());
}

#[test]
fn a_daemon_that_does_not_answer_is_named() {
    let Some(two) = Two::start() else { return };
    let client = two.client();
    two.proxy.set(Way::Hole);
    let began = Instant::now();
    let refused = client.ask("GET /status?daemon=second", &Value::Null);
    assert_eq!(refused.status, 504, "{refused:?}");
    assert_eq!(refused.json()["error_code"], "ERR_SLUICEGATE_1442", "{refused:?}");
    assert!(refused.body.contains("`second`"), "{refused:?}");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    let all = client.must("GET /ledger?daemon=all", &Value::Null);
    assert_eq!(all["unanswered"], json!(["second"]), "{all:#}");
    assert_eq!(all["daemons"][0]["status_code"], 200, "{all:#}");
    assert!(all["daemons"][1]["answer"]["msg"].as_str().unwrap().contains("`second`"), "{all:#}");
    // What was not taken is not done later.
    two.proxy.set(Way::Open);
    patiently("back", || ready(&two.second).body == "ready\n");
    patiently("asked again", || {
        client.ask("GET /status?daemon=second", &Value::Null).status == 200
    });
}

#[test]
fn what_somebody_puts_into_the_database_is_done_by_nobody() {
    let Some(two) = Two::start() else { return };
    let client = two.client();
    two.server.sql("CREATE TABLE seen AS SELECT * FROM sluicegate_commands").unwrap();
    two.server
        .sql(
            "CREATE FUNCTION keep() RETURNS TRIGGER LANGUAGE plpgsql AS
                'BEGIN INSERT INTO seen SELECT NEW.*; RETURN NEW; END';
            CREATE TRIGGER keep AFTER INSERT ON sluicegate_commands
                FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .unwrap();
    client.must("POST /reload?daemon=second", &json!({}));
    let reloads = || two.second.log().matches("a reload is asked for through the API").count();
    assert_eq!(reloads(), 1);
    let readable = "SELECT count(*) FROM seen WHERE position('reload'::BYTEA in command) > 0";
    assert_eq!(two.server.sql(readable).as_deref(), Some("0"), "questions are sealed");
    two.server.sql("DROP TRIGGER keep ON sluicegate_commands").unwrap();
    // The same once more, the same for another daemon, and one that nobody sealed.
    for (daemon, command) in [("second", "command"), ("first", "command"), ("second", "'\\x00'")] {
        let again = format!(
            "INSERT INTO sluicegate_commands (daemon, expires_at, command)
             SELECT '{daemon}', now() + INTERVAL '1 minute', {command} FROM seen"
        );
        two.server.sql(&again).unwrap();
    }
    let taken = "SELECT count(*) FROM sluicegate_commands WHERE NOT taken";
    patiently("taken", || two.server.sql(taken).as_deref() == Some("0"));
    client.must("GET /status?daemon=second", &Value::Null);
    assert_eq!(reloads(), 1);
    assert_eq!(two.first.log().matches("a reload is asked for").count(), 0);
}

#[test]
fn without_a_fleet_a_daemon_may_be_asked_by_its_own_name() {
    let daemon = Daemon::start_with(UNLIMITED, &[KEY]);
    let client = Client::with_key(&daemon, &make_key(&daemon.path("sluicegate.yaml")));
    let name = client.must("GET /daemons", &Value::Null)["daemons"][0]["name"].clone();
    let line = format!("GET /status?daemon={}", name.as_str().unwrap());
    assert!(client.must(&line, &Value::Null)["started_at"].is_string());
    let all = client.must("GET /ledger?daemon=all", &Value::Null);
    assert_eq!(
        (&all["daemons"][0]["name"], &all["daemons"][0]["status_code"]),
        (&name, &json!(200))
    );
    let Some(fleet) = Fleet::start(1, 0, "") else { return };
    let large = json!({"destination_id": "x".repeat(300_000), "event_id": "e"});
    let second = start(
        &settings(&fleet.server.url(fleet.server.port), "")
            .replace("control: {", "control: { name: other,"),
    );
    let client = fleet.client(0);
    patiently("known", || client.ask("GET /status?daemon=other", &Value::Null).status == 200);
    let refused = client.refused("POST /dead_letters/bury?daemon=other", &large);
    assert_eq!(refused, (413, "ERR_SLUICEGATE_1444".to_owned()));
    drop(second);
}
