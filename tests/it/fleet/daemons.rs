//! `GET /daemons` and `sluicegate fleet`: what each daemon says of itself, and what is shown of one that is dead.

use std::process::Command;

use serde_json::{Value, json};

use super::{Fleet, KEY, make_key, send, settings, start, status_of};
use crate::control::{Client, UNLIMITED};
use crate::support::daemon::{Daemon, patiently};
use crate::support::postgres::Postgres;
use crate::support::proxy::Way;

fn daemons(client: &Client<'_>) -> Vec<Value> {
    let listed = client.must("GET /daemons", &Value::Null);
    listed["daemons"].as_array().unwrap().clone()
}

fn of<'d>(daemons: &'d [Value], name: &str) -> &'d Value {
    daemons.iter().find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

/// What `sluicegate fleet` prints.
fn printed(daemon: &Daemon, key: &str, output: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["fleet", "--api", &format!("http://{}", daemon.api), "-o", output])
        .env("SLUICEGATE_API_KEY", key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_daemon_tells_how_it_stands_and_a_dead_one_shows_when_it_was_last_heard_of() {
    let Some(server) = Postgres::start() else { return };
    let url = server.url(server.port);
    let named = |name: &str| {
        settings(&url, "").replace("control: {", &format!("control: {{ name: {name},"))
    };
    let first = start(&named("first"));
    let second = start(&format!(
        "{}destinations: [{{ id: kept, target: {{ file: {{ path: DIR/out.ndjson }} }} }}]\n",
        named("second")
    ));
    let third = start(&named("third"));
    let key = make_key(&first.path("sluicegate.yaml"));
    let client = Client::with_key(&first, &key);
    send(&second, "");
    let body = json!({"sources": [{"type": "ip_policy_created.v0"}], "destination_ids": ["kept"]});
    Client::with_key(&second, &key).must("POST /event_subscriptions", &body);
    patiently("told", || {
        let all = daemons(&client);
        let version = |name| of(&all, name)["set_version"].as_i64();
        all.len() == 3
            && of(&all, "second")["state"] == "ready"
            && of(&all, "third")["state"] == "not_ready"
            && version("first") == version("second")
            && all.iter().all(|it| it["behind_by"] == 0)
            && of(&all, "second")["events_per_second"].as_f64() > Some(0.0)
    });
    let all = daemons(&client);
    let names: Vec<&Value> = all.iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["first", "second", "third"]);
    let (told, lacks) = (of(&all, "second"), of(&all, "third"));
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["address"], format!("http://{}", second.api));
    assert_eq!(told["pending_records"], 0);
    assert!(lacks["not_ready"].as_str().unwrap().contains("`kept`"), "{lacks}");
    assert_ne!(told["settings_hash"], lacks["settings_hash"]);
    let sum = Command::new("sha256sum").arg(second.path("sluicegate.yaml")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(sum.starts_with(told["settings_hash"].as_str().unwrap()), "{sum}: {told}");
    let sealed = server.sql(
        "SELECT count(*) FROM sluicegate_daemons WHERE position('version'::BYTEA in report) > 0",
    );
    assert_eq!(sealed.as_deref(), Some("0"), "reports are sealed");
    let page = client.must("GET /daemons?limit=2", &Value::Null);
    let next = page["next_page_uri"].as_str().unwrap();
    let (_, query) = next.split_once('?').unwrap();
    let rest = client.must(&format!("GET /daemons?{query}"), &Value::Null);
    assert_eq!(
        (&rest["daemons"][0]["name"], &rest["next_page_uri"]),
        (&json!("third"), &Value::Null)
    );
    // One that is killed stays, with the time; one that stops in order goes.
    third.signal("KILL");
    assert!(second.stop().status.success());
    patiently("silent", || {
        let all = daemons(&client);
        all.len() == 2 && of(&all, "third")["state"] == "silent"
    });
    let table = printed(&first, &key, "table");
    assert!(table.contains("third was last heard of at 20"), "{table}");
    assert!(table.lines().next().unwrap().starts_with("daemon  state"), "{table}");
    let whole: Value = serde_json::from_str(&printed(&first, &key, "json")).unwrap();
    // The file of the first lacks the destination too.
    let states = [&whole[0]["state"], &whole[1]["state"]];
    assert_eq!(states, ["not_ready", "silent"]);
    server.sql(
        "UPDATE sluicegate_daemons SET seen_at = now() - INTERVAL '25 hours' WHERE name = 'third'",
    );
    patiently("forgotten", || daemons(&client).len() == 1);
}

#[test]
fn a_daemon_that_is_behind_says_by_how_much_and_without_the_database_nobody_can() {
    let Some(mut fleet) = Fleet::start(1, 1, "") else { return };
    let in_force = |it: &Value| it["set_version"] == 1;
    patiently("in force", || daemons(&fleet.client(0)).iter().all(in_force));
    fleet.proxies[0].set(Way::Cut);
    patiently("cut", || fleet.daemons[1].status()["store"]["error"].is_string());
    let client = fleet.client(0);
    client.must("POST /ip_policies", &json!({}));
    client.must("POST /ip_policies", &json!({}));
    patiently("behind", || daemons(&client).iter().any(|it| it["behind_by"] == 2));
    drop(client);
    fleet.server.end();
    patiently("told", || status_of(&fleet.client(0), "GET /daemons") == 503);
}

#[test]
fn a_daemon_without_a_fleet_lists_itself() {
    let daemon = Daemon::start_with(UNLIMITED, &[KEY]);
    let client = Client::with_key(&daemon, &make_key(&daemon.path("sluicegate.yaml")));
    let all = daemons(&client);
    assert_eq!(
        (all.len(), &all[0]["state"], &all[0]["behind_by"]),
        (1, &json!("ready"), &json!(0))
    );
    assert!(printed(&daemon, &client.key, "table").contains(" ready "));
    assert_eq!(client.refused("GET /daemons?x=1", &Value::Null).1, "ERR_NGROK_231");
}

#[test]
fn two_daemons_of_one_name_are_told() {
    let Some(server) = Postgres::start() else { return };
    let url = server.url(server.port);
    let twin = settings(&url, "").replace("control: {", "control: { name: twin,");
    let (one, other) = (start(&twin), start(&twin));
    patiently("told", || [&one, &other].iter().any(|it| it.log().contains("ERR_SLUICEGATE_1446")));
}
