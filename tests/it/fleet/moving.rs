//! `sluicegate control move`: an installation goes from a data folder into a database and back, whole.

use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

use super::{HTTP, KEY, make_key, settings, start};
use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::{Daemon, patiently};
use crate::support::postgres::Postgres;
use crate::support::receiver::Receiver;

fn command(file: &Path, to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(["control", "move", "-c", file.to_str().unwrap(), "--to", to]).envs([KEY]);
    command
}

fn run(file: &Path, to: &str) -> Output {
    command(file, to).output().unwrap()
}

fn moved(file: &Path, to: &str) -> String {
    let output = run(file, to);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(file: &Path, to: &str) -> String {
    let output = run(file, to);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// All that a daemon shows of what was made, without the addresses, which have its port.
fn everything(client: &Client<'_>) -> Value {
    let paths = [
        "api_keys",
        "credentials",
        "event_destinations",
        "event_subscriptions",
        "ip_policies",
        "ip_policy_rules",
    ];
    let strip = |value: Value| -> Value {
        let text = value.to_string().replace(&format!("http://{}", client.daemon.api), "");
        serde_json::from_str(&text).unwrap()
    };
    let mut all = json!({"self": strip(client.must("GET /self", &Value::Null))["account"]});
    for path in paths {
        // A kind's key in its list is not always its path.
        let listed = strip(client.must(&format!("GET /{path}"), &Value::Null));
        let mut lists = listed.as_object().unwrap().values();
        let mut listed = lists.find(|it| it.is_array()).unwrap().clone();
        // A key is used by looking.
        listed.as_array_mut().unwrap().iter_mut().for_each(|it| {
            it.as_object_mut().unwrap().remove("last_used_at");
        });
        all[path] = listed;
    }
    all
}

fn make_some(client: &Client<'_>, receiver: &Receiver) -> Value {
    let target = json!({"debug": {"callback_url": format!("http://{}/", receiver.address)}});
    let made =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let body = json!({"sources": [{"type": HTTP}], "destination_ids": [id(&made)]});
    client.must("POST /event_subscriptions", &body);
    let policy = client.must("POST /ip_policies", &json!({"description": "p"}));
    for n in 0..5 {
        let rule = json!({"ip_policy_id": id(&policy), "cidr": format!("192.0.2.{n}/32"), "action": "allow"});
        client.must("POST /ip_policy_rules", &rule);
    }
    client.must("POST /credentials", &json!({}))["token"].clone()
}

#[test]
fn an_installation_goes_into_a_database_and_back_with_its_ids_and_its_order() {
    let Some(server) = Postgres::start() else { return };
    let receiver = Receiver::start(200, None);
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data_dir: {}\n", folder.path().join("data").display());
    let plain = format!("{UNLIMITED}{data}");
    let fleet = format!("{}{data}", settings(&server.url(server.port), ""));
    let file = folder.path().join("fleet.yaml");
    std::fs::write(&file, &fleet).unwrap();
    assert!(refused(&file, "postgres").contains("there is nothing to move"));
    let daemon = Daemon::start_with(&plain, &[KEY]);
    let key = make_key(&daemon.path("sluicegate.yaml"));
    let client = Client::with_key(&daemon, &key);
    let token = make_some(&client, &receiver);
    let before = everything(&client);
    assert!(refused(&file, "postgres").contains("a daemon uses `data_dir`"));
    daemon.stop();
    let said = moved(&file, "postgres");
    assert!(said.starts_with("moved into the database: "), "{said}");
    assert!(!folder.path().join("data/control.db").exists());
    let first = start(&fleet);
    let client = Client::with_key(&first, &key);
    assert_eq!(everything(&client), before);
    let answer = super::send(&first, token.as_str().unwrap());
    assert_eq!(answer.status, 200, "{answer:?}");
    patiently("delivered", || receiver.take_lines().len() == 1);
    assert_eq!(first.status()["store"]["changed_outside"], json!([]));
    // What is made later keeps its place behind the rest, and goes back too.
    let later = client.must("POST /ip_policies", &json!({"description": "later"}));
    let before = everything(&client);
    assert_eq!(before["ip_policies"][0]["id"], later["id"]);
    let other = folder.path().join("other.yaml");
    let elsewhere = format!("data_dir: {}\n", folder.path().join("elsewhere").display());
    std::fs::write(&other, settings(&server.url(server.port), "") + &elsewhere).unwrap();
    let running = refused(&other, "sqlite");
    assert!(
        running.contains("of the fleet runs") && running.contains("stop every daemon"),
        "{running}"
    );
    first.stop();
    let said = moved(&file, "sqlite");
    assert!(said.starts_with("moved into control.db: "), "{said}");
    assert_eq!(server.sql("SELECT count(*) FROM sluicegate_objects").as_deref(), Some("0"));
    let back = Daemon::start_with(&plain, &[KEY]);
    assert_eq!(everything(&Client::with_key(&back, &key)), before);
    assert_eq!(back.status()["store"]["changed_outside"], json!([]));
}

/// Kills a move while it waits for a table that somebody else has locked in a mode.
fn cut_short(server: &Postgres, file: &Path, to: &str, mode: &str) {
    thread::scope(|scope| {
        let lock =
            format!("BEGIN; LOCK TABLE sluicegate_objects IN {mode} MODE; SELECT pg_sleep(60)");
        scope.spawn(move || server.sql(&lock));
        let locks = |what: &str| {
            let table = "relation = 'sluicegate_objects'::regclass";
            server.sql(&format!("SELECT count(*) FROM pg_locks WHERE {table} AND {what}"))
        };
        patiently("locked", || locks("granted").as_deref() == Some("1"));
        let mut moving = command(file, to).spawn().unwrap();
        patiently("it waits", || locks("NOT granted").as_deref() == Some("1"));
        moving.kill().unwrap();
        moving.wait().unwrap();
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()");
        patiently("nobody is left", || locks("TRUE").as_deref() == Some("0"));
    });
}

#[test]
fn a_move_that_is_killed_loses_nothing_and_is_made_again() {
    let Some(server) = Postgres::start() else { return };
    let receiver = Receiver::start(200, None);
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data_dir: {}\n", folder.path().join("data").display());
    let plain = format!("{UNLIMITED}{data}");
    let fleet = format!("{}{data}", settings(&server.url(server.port), ""));
    let file = folder.path().join("fleet.yaml");
    std::fs::write(&file, &fleet).unwrap();
    // It makes the tables.
    start(&settings(&server.url(server.port), "")).stop();
    let daemon = Daemon::start_with(&plain, &[KEY]);
    let key = make_key(&daemon.path("sluicegate.yaml"));
    make_some(&Client::with_key(&daemon, &key), &receiver);
    let before = everything(&Client::with_key(&daemon, &key));
    let is_whole = |daemon: Daemon| {
        assert_eq!(everything(&Client::with_key(&daemon, &key)), before);
        assert_eq!(daemon.status()["store"]["changed_outside"], json!([]));
        daemon.stop();
    };
    daemon.stop();
    cut_short(&server, &file, "postgres", "ACCESS EXCLUSIVE");
    assert_eq!(server.sql("SELECT count(*) FROM sluicegate_objects").as_deref(), Some("0"));
    is_whole(Daemon::start_with(&plain, &[KEY]));
    moved(&file, "postgres");
    is_whole(start(&fleet));
    // Whoever reads goes on under this lock, and whoever deletes does not: the file is full, and the database is too.
    cut_short(&server, &file, "sqlite", "SHARE");
    assert!(refused(&file, "sqlite").contains("control.db has "));
    is_whole(start(&fleet));
    for name in ["control.db", "control.db-wal", "control.db-shm", "control.register"] {
        let _ = std::fs::remove_file(folder.path().join("data").join(name));
    }
    moved(&file, "sqlite");
    is_whole(Daemon::start_with(&plain, &[KEY]));
}

#[test]
fn a_target_that_has_something_is_left_alone() {
    let Some(server) = Postgres::start() else { return };
    let fleet = settings(&server.url(server.port), "");
    let first = start(&fleet);
    make_key(&first.path("sluicegate.yaml"));
    let second = Daemon::start_with(UNLIMITED, &[KEY]);
    let file = second.path("fleet.yaml");
    let data = format!("data_dir: {}\n", second.path("data").display());
    std::fs::write(&file, format!("{fleet}{data}")).unwrap();
    make_key(&second.path("sluicegate.yaml"));
    second.signal("STOP");
    first.stop();
    second.signal("CONT");
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(second.path("data")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let file = folder.path().join("fleet.yaml");
    let data = format!("data_dir: {}\n", folder.path().join("data").display());
    std::fs::write(&file, format!("{fleet}{data}")).unwrap();
    let said = refused(&file, "postgres");
    assert!(said.contains("nothing was moved") && said.contains("1 resource and"), "{said}");
    let said = refused(&file, "sqlite");
    assert!(said.contains("control.db has 1 resource"), "{said}");
    assert!(folder.path().join("data/control.db").exists());
    assert_eq!(server.sql("SELECT count(*) FROM sluicegate_objects").as_deref(), Some("1"));
    let wrong = run(&file, "mysql");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
