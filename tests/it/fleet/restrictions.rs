//! What a fleet's daemons do when somebody takes the restrictions out of their database.

use serde_json::{Value, json};

use super::{HTTP, KEY, make_key, send, settings, start};
use crate::control::{Client, id};
use crate::support::daemon::{Daemon, patiently};
use crate::support::generate;
use crate::support::postgres::Postgres;

/// The status that a daemon gives to events from another machine.
fn from_elsewhere(daemon: &Daemon) -> u16 {
    let headers = [("content-type", "application/x-ndjson"), ("x-forwarded-for", "203.0.113.9")];
    daemon.post_with(&headers, generate(HTTP, 1, 1).join("\n")).status
}

/// Restricts events to a network and gives what was made.
fn restricted(client: &Client<'_>, network: &str) -> Value {
    let policy = client.must("POST /ip_policies", &json!({}));
    let rule = json!({"ip_policy_id": id(&policy), "cidr": network, "action": "allow"});
    client.must("POST /ip_policy_rules", &rule);
    let asked = json!({"type": "endpoints", "enforced": true, "ip_policy_ids": [id(&policy)]});
    client.must("POST /ip_restrictions", &asked)
}

#[test]
fn restrictions_that_vanish_from_the_database_open_no_daemon() {
    let Some(server) = Postgres::start() else { return };
    let plain = settings(&server.url(server.port), "");
    let proxied = format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0', trusted_proxies: ['127.0.0.1'] }} }}\n{plain}"
    );
    let running = start(&proxied);
    let key = make_key(&running.path("sluicegate.yaml"));
    let client = Client::with_key(&running, &key);
    let restriction = restricted(&client, "198.51.100.0/24");
    assert_eq!(from_elsewhere(&running), 403);
    // Somebody says that it went with the change that comes next, which is another.
    let next = "(SELECT version + 1 FROM sluicegate_state)";
    let went = format!(
        "INSERT INTO sluicegate_gone VALUES ({next}, 'ip_restrictions', '{}')",
        id(&restriction)
    );
    server.sql(&went).unwrap();
    let other = start(&proxied);
    client.must("POST /ip_policies", &json!({}));
    let version = running.status()["store"]["version"].clone();
    other.wait_for("the change", |status| status["store"]["version"] == version);
    assert_eq!((from_elsewhere(&other), from_elsewhere(&running)), (403, 403));
    // It is taken away, and so is what says that it should be there.
    server.sql("DELETE FROM sluicegate_objects WHERE kind = 'ip_restrictions'").unwrap();
    for _ in 0..2 {
        let daemon = start(&proxied);
        assert_eq!((from_elsewhere(&daemon), send(&daemon, "").status), (403, 200));
        daemon.wait_for_log("only this machine is let in");
    }
    server.sql("UPDATE sluicegate_state SET sealed = ''").unwrap();
    assert_eq!(from_elsewhere(&start(&proxied)), 403);
    server.sql("CREATE TABLE state AS SELECT * FROM sluicegate_state").unwrap();
    server.sql("DELETE FROM sluicegate_state").unwrap();
    let refused = Daemon::fail_to_start_with(&proxied, &[KEY]);
    assert!(refused.contains("the row of its state is missing"), "{refused}");
    server.sql("INSERT INTO sluicegate_state SELECT * FROM state").unwrap();
    running.wait_for("it is reached again", |status| status["store"]["error"].is_null());
    // Another change opens nothing, and one of a restriction is somebody's who has looked.
    client.must("POST /ip_policies", &json!({}));
    let closed = start(&proxied);
    assert_eq!(from_elsewhere(&closed), 403);
    restricted(&Client::with_key(&closed, &key), "203.0.113.0/24");
    for daemon in [&running, &other, &closed, &start(&proxied)] {
        patiently("it is open to whom it says", || from_elsewhere(daemon) == 200);
    }
}
