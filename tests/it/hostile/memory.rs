//! Memory: what resources take, and that all of the daemon stays within the bound that `check` states.

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::Daemon;
use crate::support::http::Answer;

const UNLIMITED: &str = "api: { listen: '127.0.0.1:0', rate_limit: { requests: 1000000 } }\n";

fn code(answer: &Answer) -> String {
    answer.json()["error_code"].as_str().unwrap_or_default().to_owned()
}

/// A subscription with filters of so many bytes for each of so many types.
fn with_filters(types: usize, bytes: usize) -> Value {
    let catalog = sluicegate::event::Catalog::builtin();
    let filter = format!("'{}' == ''", "x".repeat(bytes - 8));
    let sources = catalog.iter().take(types);
    let sources: Vec<Value> =
        sources.map(|it| json!({"type": it.name, "filter": filter})).collect();
    json!({"sources": sources, "destination_ids": []})
}

#[test]
fn what_the_api_makes_ends_where_its_memory_ends_and_goes_on_when_some_is_deleted() {
    let daemon = Daemon::start(&format!("{UNLIMITED}control: {{ max_memory: 3MiB }}\n"));
    let client = Client::new(&daemon);
    let large = with_filters(8, 8 << 10);
    let first = client.must("POST /event_subscriptions", &large)["id"].clone();
    let refused = (0..10)
        .map(|_| client.ask("POST /event_subscriptions", &large))
        .find(|answer| answer.status != 201)
        .expect("2 MiB fit once into 3 MiB, and not eleven times");
    assert_eq!((refused.status, code(&refused).as_str()), (400, "ERR_SLUICEGATE_1360"));
    // Other kinds count too, and what makes less of it is never refused.
    let metadata = json!({"metadata": "m".repeat(4_000)});
    let rows = (0..300).map(|_| client.ask("POST /ip_policies", &metadata).status);
    assert!(rows.filter(|status| *status == 400).count() > 0);
    let id = first.as_str().unwrap();
    client.must(&format!("PATCH /event_subscriptions/{id}"), &json!({"sources": []}));
    client.must("POST /event_subscriptions", &with_filters(1, 1_000));
}

#[test]
fn the_filters_of_one_subscription_have_an_end_together() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    client.must("POST /event_subscriptions", &with_filters(16, 16 << 10));
    let refused = client.ask("POST /event_subscriptions", &with_filters(17, 16 << 10));
    assert_eq!((refused.status, code(&refused).as_str()), (400, "ERR_SLUICEGATE_1361"));
}
