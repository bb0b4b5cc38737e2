//! Bodies as ngrok's clients write them: with ids that stand in the path too, null for what was not
//! given, and empty lists.

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED, id};
use crate::support::daemon::Daemon;

const AUDIT: &str = "ip_policy_created.v0";

fn fixed() -> (u16, String) {
    (400, "ERR_SLUICEGATE_1350".to_owned())
}

#[test]
fn what_a_body_repeats_of_its_path_must_agree_with_it() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let policy = id(&client.must("POST /ip_policies", &json!({})));
    let line = format!("PATCH /ip_policies/{policy}");
    for same in [json!(policy), json!(null), json!("")] {
        let changed = client.must(&line, &json!({"id": same, "description": same.to_string()}));
        assert_eq!(changed["description"], same.to_string());
    }
    let other = json!({"id": "ipp_other", "description": "x"});
    assert_eq!(client.refused(&line, &other), fixed());
    let wrong = (400, "ERR_NGROK_215".to_owned());
    assert_eq!(client.refused(&line, &json!({"id": 5, "description": "x"})), wrong);

    let user = id(&client.must("POST /service_users", &json!({"name": "ci"})));
    let line = format!("PATCH /service_users/{user}");
    client.must(&line, &json!({"id": user, "active": false}));

    let address = client.must("POST /reserved_addrs", &json!({"region": "eu"}));
    let line = format!("PATCH /reserved_addrs/{}", id(&address));
    client.must(&line, &json!({"region": "eu", "description": "d"}));
    assert_eq!(client.refused(&line, &json!({"region": "us", "description": "d"})), fixed());
}

#[test]
fn a_source_may_name_its_subscription_and_itself() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let subscription = id(&client.must("POST /event_subscriptions", &json!({})));
    let sources = format!("/event_subscriptions/{subscription}/sources");
    let named = json!({"subscription_id": subscription, "type": AUDIT});
    client.must(&format!("POST {sources}"), &named);
    let source = format!("{sources}/{AUDIT}");
    let with_null = json!({"subscription_id": subscription, "type": AUDIT, "fields": null});
    client.must(&format!("PATCH {source}"), &with_null);
    let other = json!({"subscription_id": "esb_other", "type": "ip_policy_updated.v0"});
    assert_eq!(client.refused(&format!("POST {sources}"), &other), fixed());
    let other = json!({"type": "ip_policy_updated.v0"});
    assert_eq!(client.refused(&format!("PATCH {source}"), &other), fixed());
}

#[test]
fn null_takes_nothing_away_and_what_would_has_a_route() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    for path in ["reserved_domains", "agent_ingresses"] {
        let body = json!({"domain": "a.example.net", "certificate_management_policy": {}});
        let made = client.must(&format!("POST /{path}"), &body);
        let policy = made["certificate_management_policy"].clone();
        assert_eq!(policy["authority"], "letsencrypt");
        let line = format!("/{path}/{}", id(&made));
        let nulls =
            json!({"description": "d", "metadata": null, "certificate_management_policy": null});
        let kept = client.must(&format!("PATCH {line}"), &nulls);
        assert_eq!(kept["certificate_management_policy"], policy);
        client.must(&format!("DELETE {line}/certificate_management_policy"), &Value::Null);
        let without = client.must(&format!("GET {line}"), &Value::Null);
        assert_eq!(without["certificate_management_policy"], Value::Null);
    }
}

#[test]
fn an_empty_list_empties() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let pinned = json!({"domain": "a.example.net", "resolves_to": [{"value": "us"}]});
    let domain =
        format!("/reserved_domains/{}", id(&client.must("POST /reserved_domains", &pinned)));
    let shown = client.must(&format!("PATCH {domain}"), &json!({"description": "d"}));
    assert_eq!(shown["resolves_to"], json!([{"value": "us"}]), "not named, not changed");
    let shown = client.must(&format!("PATCH {domain}"), &json!({"resolves_to": []}));
    assert!(shown["resolves_to"].as_array().is_none_or(Vec::is_empty), "{shown}");

    let to = id(&client
        .must("POST /event_destinations", &json!({"format": "json", "target": {"debug": {}}})));
    let body = json!({"sources": [{"type": AUDIT}], "destination_ids": [to]});
    let made = client.must("POST /event_subscriptions", &body);
    let line = format!("PATCH /event_subscriptions/{}", id(&made));
    assert_eq!(client.must(&line, &json!({"sources": []}))["sources"], json!([]));
    assert_eq!(client.must(&line, &json!({"destination_ids": []}))["destinations"], json!([]));
    client.must(&format!("DELETE /event_destinations/{to}"), &Value::Null);

    let policy = id(&client.must("POST /ip_policies", &json!({})));
    let body = json!({"type": "endpoints", "ip_policy_ids": [policy]});
    let line =
        format!("PATCH /ip_restrictions/{}", id(&client.must("POST /ip_restrictions", &body)));
    let refused = client.refused(&line, &json!({"ip_policy_ids": []}));
    assert_eq!(refused, (400, "ERR_NGROK_1804".to_owned()));
}

#[test]
fn an_answer_has_what_was_sent_as_it_was_sent() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let body = json!({"format": "JSON", "target": {"debug": {}}});
    let made = client.must("POST /event_destinations", &body);
    assert_eq!(made["format"], "JSON");
    let line = format!("/event_destinations/{}", id(&made));
    assert_eq!(client.must(&format!("GET {line}"), &Value::Null)["format"], "JSON");

    let user = id(&client.must("POST /service_users", &json!({"name": "ci"})));
    assert!(user.starts_with("service_"));
    let key = client.must("POST /api_keys", &json!({"owner_id": user}));
    assert_eq!(key["owner_id"], json!(user));
    let line = format!("GET /api_keys?filter=obj.owner_id%3D%3D%22{user}%22");
    let found = client.must(&line, &Value::Null);
    assert_eq!(found["keys"].as_array().unwrap().len(), 1);
    let by_other_id = json!({"owner_id": user.replace("service_", "bot_"), "description": "d"});
    client.must(&format!("PATCH /api_keys/{}", id(&key)), &by_other_id);

    let made = client.must("POST /reserved_domains", &json!({"domain": "a.example.net"}));
    assert_eq!(made["resolves_to"], Value::Null);
}

#[test]
fn a_domain_goes_by_its_older_name_too() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let body = json!({"name": "a.example.net", "region": "us"});
    let made = client.must("POST /reserved_domains", &body);
    assert_eq!((&made["domain"], &made["region"]), (&json!("a.example.net"), &json!("us")));
    let line = format!("PATCH /reserved_domains/{}", id(&made));
    let same = json!({"name": "a.example.net", "region": "us", "description": "d"});
    assert_eq!(client.must(&line, &same)["description"], "d");
    for other in [json!({"name": "b.example.net"}), json!({"region": "eu"})] {
        assert_eq!(client.refused(&line, &other), fixed(), "{other}");
    }
    let both = json!({"name": "b.example.net", "domain": "c.example.net"});
    let refused = client.refused("POST /reserved_domains", &both);
    assert_eq!(refused, (400, "ERR_NGROK_215".to_owned()));
}

#[test]
fn a_restriction_that_restricts_nothing_says_so() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let policy = id(&client.must("POST /ip_policies", &json!({})));
    let restrict = |of: &str| {
        client.ask("POST /ip_restrictions", &json!({"type": of, "ip_policy_ids": [policy]}))
    };
    assert_eq!(restrict("endpoints").header("warning"), None);
    let made = restrict("dashboard");
    assert!(made.header("warning").unwrap().contains("`dashboard`"), "{made:?}");
    let made = made.json();
    let changed =
        client.ask(&format!("PATCH /ip_restrictions/{}", id(&made)), &json!({"description": "d"}));
    assert!(changed.header("warning").is_some());
    let told = json!([{"id": id(&made), "type": "dashboard"}]);
    assert_eq!(daemon.status()["ip_restrictions"]["restrict_nothing"], told);
    daemon.wait_for_log("restricts nothing");
}
