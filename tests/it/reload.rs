//! SIGHUP and `POST /reload`: destinations and subscriptions change under traffic; a bad file changes nothing.

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::settings::{Destination, Settings, Subscription};
use crate::support::sluicegate;

fn settings(destination: &str, filter: &str) -> Settings {
    Settings::new()
        .destination(Destination::file(destination, format!("DIR/{destination}.ndjson")))
        .subscription(Subscription::new("sub", &[destination]).filter(filter))
}

/// Settings with so many destinations, each with a subscription.
fn many(count: usize) -> Settings {
    (1..=count).fold(Settings::new(), |settings, number| {
        let (one, sub) = (format!("d{number}"), format!("s{number}"));
        settings
            .destination(Destination::file(&one, format!("DIR/{one}.ndjson")))
            .subscription(Subscription::new(&sub, &[&one]))
    })
}

fn in_force(daemon: &Daemon) -> (usize, usize) {
    let status = daemon.status();
    let count = |kind: &str| status[kind].as_array().unwrap().len();
    (count("destinations"), count("subscriptions"))
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
fn a_file_that_was_cut_short_takes_nothing_away_unless_somebody_says_that_it_may() {
    let daemon = Daemon::start(&many(5));
    for (cut, of) in [(2, "3 of 5 destinations"), (0, "5 of 5 subscriptions")] {
        daemon.reload(&many(cut));
        daemon.wait_for_log(of);
        let status = daemon.wait_for("told", |status| {
            status["reload"]["error"].as_str().is_some_and(|error| error.contains(of))
        });
        assert!(status["reload"]["error"].as_str().unwrap().contains("ERR_SLUICEGATE_1400"));
        assert_eq!(in_force(&daemon), (5, 5));
    }
    assert!(metrics(&daemon).contains("sluicegate_config_reloads_total{outcome=\"removal\"} 2\n"));
    daemon.reload(&many(3));
    daemon.wait_for_log("\"reloaded\"");
    daemon.reload("allow_removal: true\ndestinations: []\nsubscriptions: []\n");
    daemon.wait_for_log_times("\"reloaded\"", 2);
    daemon.wait_for("gone", |_| in_force(&daemon).1 == 0);
}

#[test]
fn a_reload_is_asked_for_over_the_api_and_tells_what_came_of_it() {
    let daemon = Daemon::start(&many(4));
    let client = Client::new(&daemon);
    let key = daemon.path("key");
    std::fs::write(&key, client.key()).unwrap();
    let reload = |more: &[&str]| {
        let api = format!("http://{}", daemon.api);
        let asked = ["reload", "--api", &api, "--key-file", key.to_str().unwrap()];
        let output = sluicegate(&[&asked[..], more].concat(), "");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout) + &text(output.stderr))
    };
    let settings = daemon.path("sluicegate.yaml");
    let write = |settings_are: String| {
        let folder = daemon.path("");
        let text = settings_are.replace("DIR", folder.to_str().unwrap().trim_end_matches('/'));
        std::fs::write(&settings, text).unwrap();
    };
    assert_eq!(
        reload(&[]),
        (Some(0), "reloaded: 4 destinations and 4 subscriptions of the settings file\n".into())
    );
    write(many(1).to_string());
    let (code, said) = reload(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("3 of 4 destinations (`d2`, `d3`, `d4`)"), "{said}");
    assert!(said.contains("409") && said.contains("ERR_SLUICEGATE_1400"), "{said}");
    assert_eq!(in_force(&daemon), (4, 4));
    let (code, said) = reload(&["--confirm-removal", "-o", "json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"destinations\":1"), "{said}");
    write("destinations: []\nsubscriptions: [{}]\n".to_owned());
    let refused = client.ask("POST /reload", &serde_json::Value::Null);
    assert_eq!(
        (refused.status, &refused.json()["error_code"]),
        (400, &"ERR_SLUICEGATE_1402".into())
    );
    write(many(1).drain_limit("9s").to_string());
    let answer = client.must("POST /reload", &serde_json::Value::Null);
    assert_eq!(answer["at_next_start"], serde_json::json!(["stop"]));
    let anybody = crate::support::http::request(daemon.api, "POST /reload", &[], b"");
    assert_eq!(anybody.status, 403, "{anybody:?}");
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

#[test]
fn tokens_are_replaced_by_a_reload_and_in_the_files_that_settings_name_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let settings = |listed: &str| {
        format!(
            "ingest: {{ http: {{ listen: '127.0.0.1:0', bearer_tokens: ['${{file:{}}}'{listed}] }} }}\n",
            file.display()
        )
    };
    let daemon = Daemon::start(&settings(""));
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/x-ndjson"), ("authorization", &*bearer)];
        daemon.post_with(&headers, event(1, 200)).status
    };
    assert_eq!([status("first"), status("second")], [200, 401]);
    std::fs::write(folder.path().join("new"), "second").unwrap();
    std::fs::rename(folder.path().join("new"), &file).unwrap();
    patiently("the new token opens", || status("second") == 200);
    assert_eq!(status("first"), 401, "who has the old one is let in no more");
    daemon.reload(&settings(", third"));
    patiently("the token of the new settings opens", || status("third") == 200);
    assert!(!daemon.log().contains("takes effect only at the next start"));
}
