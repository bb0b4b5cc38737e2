//! SIGHUP: destinations and subscriptions change under traffic; a bad file changes nothing.

use crate::support::daemon::Daemon;
use crate::support::settings::{Destination, Settings, Subscription};

fn settings(destination: &str, filter: &str) -> Settings {
    Settings::new()
        .destination(Destination::file(destination, format!("DIR/{destination}.ndjson")))
        .subscription(Subscription::new("sub", &[destination]).filter(filter))
}

fn event(id: u32, status: u32) -> String {
    format!(
        r#"{{"event_id":"{id}","event_type":"http_request_complete.v0","object":{{"http":{{"response":{{"status_code":{status}}}}}}}}}"#
    )
}

fn ids(daemon: &Daemon, file: &str) -> Vec<String> {
    daemon.wait_until_delivered();
    let text = std::fs::read_to_string(daemon.path(file)).unwrap_or_default();
    let id = |line: &str| line.split('"').nth(3).unwrap().to_owned();
    text.lines().map(id).collect()
}

#[test]
fn a_new_filter_and_a_new_destination_take_effect() {
    let daemon = Daemon::start(&settings("one", "ev.http.response.status_code == 500"));
    daemon.send(&[event(1, 500), event(2, 404)]);
    daemon.reload(&settings("two", "ev.http.response.status_code == 404"));
    daemon.wait_for_log("\"reloaded\"");
    daemon.send(&[event(3, 500), event(4, 404)]);
    assert_eq!(ids(&daemon, "one.ndjson"), ["1"]);
    assert_eq!(ids(&daemon, "two.ndjson"), ["4"]);
    let status = daemon.wait_for("only the new one", |status| {
        status["destinations"].as_array().unwrap().len() == 1
    });
    assert_eq!(status["destinations"][0]["id"], "two");
    assert_eq!(status["subscriptions"][0]["seen"], 4, "a subscription's counts go on");
}

fn metrics(daemon: &Daemon) -> String {
    crate::support::http::get(daemon.api, "/metrics").body
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let daemon = Daemon::start(&settings("one", "ev.http.response.status_code == 500"));
    let nowhere = settings("two", "true").change("two", |it| it.path("DIR/no/such/folder/out"));
    for (bad, reason) in [
        (settings("two", "ev.http.response.status == 500").to_string(), "does not compile"),
        ("destinations: []\nsubscriptions:\n  - {}\n".to_owned(), "is missing"),
        ("\u{0} nothing\n".to_owned(), "not valid YAML"),
        (nowhere.to_string(), "cannot be used"),
    ] {
        let before = daemon.log().matches("not reloaded").count();
        daemon.reload(&bad);
        daemon.wait_for_log(reason);
        assert_eq!(daemon.log().matches("not reloaded").count(), before + 1);
        let status = daemon.wait_for("told", |status| {
            status["reload"]["error"].as_str().is_some_and(|error| error.contains(reason))
        });
        assert!(status["reload"]["at"].as_str().unwrap() >= status["started_at"].as_str().unwrap());
        assert!(metrics(&daemon).contains("\nsluicegate_config_last_reload_successful 0\n"));
    }
    daemon.reload(&settings("one", "ev.http.response.status_code == 500"));
    daemon.wait_for("forgotten", |status| status["reload"].is_null());
    assert!(metrics(&daemon).contains("\nsluicegate_config_last_reload_successful 1\n"));
    daemon.send(&[event(1, 500)]);
    assert_eq!(ids(&daemon, "one.ndjson"), ["1"]);
}

#[test]
fn nothing_is_lost_or_doubled_while_settings_change_under_traffic() {
    let daemon = Daemon::start(&settings("one", "true"));
    let total = 4_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..total).step_by(20) {
                let events: Vec<_> = (first..first + 20).map(|id| event(id, 200)).collect();
                daemon.send(&events);
            }
        });
        for round in 1..=10 {
            daemon.wait_for("under traffic", |status| {
                status["ingest"]["accepted"].as_u64() >= Some(u64::from(total) * round / 11)
            });
            daemon.reload(&settings(if round % 2 == 1 { "two" } else { "one" }, "true"));
            daemon.wait_for_log_times("\"reloaded\"", round as usize);
        }
    });
    let mut all = ids(&daemon, "one.ndjson");
    all.extend(ids(&daemon, "two.ndjson"));
    all.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(all, (0..total).map(|id| id.to_string()).collect::<Vec<_>>());
}
