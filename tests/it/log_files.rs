//! Log files as an entrance: followed by the real daemon through rotation, cutting, restarts and kills.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::{http, output_of};

/// A daemon whose data and logs outlive it.
struct Logs {
    folder: TempDir,
}

impl Logs {
    fn new() -> Logs {
        Logs { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn daemon(&self) -> Daemon {
        let folder = self.folder.path().display();
        Daemon::start(&format!(
            r#"
data_dir: {folder}/data
ingest:
  http: {{ listen: "127.0.0.1:0" }}
  files: [{{ path: "{folder}/*.log", format: nginx, account_id: ac_1 }}]
destinations:
  - {{ id: out, target: {{ file: {{ path: "{folder}/out.ndjson" }} }}, batch: {{ linger: 10ms }} }}
subscriptions:
  - id: all
    sources: [{{ type: http_request_complete.v0 }}]
    destinations: [out]
"#
        ))
    }

    /// The ids of the events of each line that were delivered.
    fn delivered(&self) -> BTreeMap<usize, Vec<String>> {
        let text = fs::read_to_string(self.path("out.ndjson")).unwrap_or_default();
        let mut ids: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        // The last line may be on its way.
        for record in text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok()) {
            assert_eq!(record["account_id"], "ac_1");
            let path = record["object"]["http"]["request"]["url"]["path"].as_str().unwrap();
            let number = path.trim_start_matches('/').parse().unwrap();
            ids.entry(number).or_default().push(record["event_id"].as_str().unwrap().to_owned());
        }
        ids
    }

    /// Waits until so many lines are delivered, each with one id.
    fn wait_for(&self, daemon: &Daemon, lines: usize) {
        daemon.wait_for("all lines", |_| self.delivered().len() == lines);
        for (number, mut ids) in self.delivered() {
            ids.dedup();
            assert_eq!(ids.len(), 1, "line {number} has one id: {ids:?}");
        }
    }
}

fn line(number: usize) -> String {
    format!(
        "198.51.100.7 - - [26/Nov/2026:15:54:47 +0100] \"GET /{number} HTTP/1.1\" 200 120 \"-\" \"curl/8.9.1\"\n"
    )
}

fn append(path: &Path, text: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_log_is_followed_through_rotation_and_bad_lines_become_dead_letters() {
    let logs = Logs::new();
    let daemon = logs.daemon();
    let (log, rotated) = (logs.path("access.log"), logs.path("access.log.1"));
    append(&log, &(line(1) + "no line of an access log\n" + &line(2)));
    // A last line without an end waits.
    append(&log, &line(3)[..20]);
    logs.wait_for(&daemon, 2);
    append(&log, &line(3)[20..]);
    append(&log, &line(4));
    fs::rename(&log, &rotated).unwrap();
    // Whoever writes goes on in the old file for a moment.
    append(&rotated, &line(5));
    append(&log, &line(6));
    append(&logs.path("other.log"), &line(7));
    logs.wait_for(&daemon, 7);
    let settings = daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    let place = format!("access.log:{}", line(1).len());
    assert!(listed.contains("(ingest.files)") && listed.contains(&place), "{listed}");
    assert!(listed.contains("ERR_SLUICEGATE_1150"), "{listed}");
    let metrics = http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains("sluicegate_files_followed 3"), "{metrics}");
}

#[test]
fn a_log_that_is_cut_is_read_from_its_beginning_again() {
    let logs = Logs::new();
    let daemon = logs.daemon();
    let log = logs.path("access.log");
    append(&log, &(line(1) + &line(2)));
    logs.wait_for(&daemon, 2);
    File::create(&log).unwrap();
    append(&log, &line(3));
    logs.wait_for(&daemon, 3);
    daemon.wait_for_log("a log file was cut");
}

#[test]
fn after_kills_with_rotations_meanwhile_every_line_is_there_with_one_id() {
    let logs = Logs::new();
    let mut daemon = logs.daemon();
    let log = logs.path("access.log");
    let mut number = 0;
    for round in 1..=4 {
        for _ in 0..500 {
            number += 1;
            append(&log, &line(number));
        }
        daemon.wait_for("some lines", |_| logs.delivered().len() > number - 400);
        // A kill, as the daemon has no time to say anything.
        drop(daemon);
        fs::rename(&log, logs.path(&format!("access.log.{round}"))).unwrap();
        daemon = logs.daemon();
    }
    append(&log, &line(number + 1));
    logs.wait_for(&daemon, number + 1);
    assert!(daemon.stop().status.success());
    let daemon = logs.daemon();
    append(&log, &line(number + 2));
    logs.wait_for(&daemon, number + 2);
    assert_eq!(logs.delivered()[&(number + 1)].len(), 1, "a stop repeats nothing");
}
