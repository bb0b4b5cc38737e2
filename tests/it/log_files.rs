//! Log files as an entrance: followed by the real daemon through rotation, cutting, restarts and kills.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, patiently};
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
    let of_files = daemon.wait_for("all is kept", |status| {
        let files = status["ingest"]["files"]["files"].as_array().unwrap();
        let all = fs::metadata(logs.path("other.log")).unwrap().len();
        files.iter().any(|it| it["kept_offset"] == all && it["unread_bytes"] == 0)
    })["ingest"]["files"]
        .take();
    assert_eq!((&of_files["lines"], &of_files["refused_lines"]), (&8.into(), &1.into()));
    let settings = daemon.path("sluicegate.yaml");
    let listed = output_of(&["dead-letters", "list", "-c", settings.to_str().unwrap()], "");
    let place = format!("access.log:{}", line(1).len());
    assert!(listed.contains("(ingest.files)") && listed.contains(&place), "{listed}");
    assert!(listed.contains("ERR_SLUICEGATE_1150"), "{listed}");
    let metrics = http::get(daemon.api, "/metrics").body;
    assert!(metrics.contains("sluicegate_files_followed 3"), "{metrics}");
}

#[test]
fn a_log_that_is_renamed_before_anybody_looks_is_read_all_the_same() {
    let logs = Logs::new();
    let log = logs.path("access.log");
    // What was rotated before the first start is none of ours.
    append(&logs.path("access.log.1"), &line(0));
    let daemon = logs.daemon();
    append(&log, &line(1));
    logs.wait_for(&daemon, 1);
    let rotate = |number: usize| {
        append(&log, &line(number));
        fs::rename(&log, logs.path(&format!("access.log-{number}"))).unwrap();
    };
    // Five logs within a moment: at most one of them is seen under its own name.
    (2..7).for_each(rotate);
    append(&logs.path("other.log"), &line(7));
    fs::rename(logs.path("other.log"), logs.path("other-2026-11-26T15-54-47.123.log.1")).unwrap();
    append(&logs.path("other.log.gz"), "packed");
    logs.wait_for(&daemon, 7);
    drop(daemon);
    // The same while no daemon runs.
    (8..11).for_each(rotate);
    let daemon = logs.daemon();
    logs.wait_for(&daemon, 10);
    assert!(!logs.delivered().contains_key(&0));
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

/// Writes lines without a pause, in pieces that end anywhere, and renames the log when it is asked to.
fn write_on(
    folder: PathBuf,
    rotate: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let log = folder.join("access.log");
        let mut rotations = 0;
        while !stop.load(Ordering::SeqCst) {
            if rotate.swap(false, Ordering::SeqCst) {
                // As logrotate does it.
                for at in (0..=rotations).rev() {
                    let from =
                        if at == 0 { log.clone() } else { folder.join(format!("access.log.{at}")) };
                    fs::rename(from, folder.join(format!("access.log.{}", at + 1))).unwrap();
                }
                rotations += 1;
            }
            let number = written.load(Ordering::SeqCst) + 1;
            let line = line(number);
            let (one, other) = line.split_at(number % line.len());
            append(&log, one);
            append(&log, other);
            written.store(number, Ordering::SeqCst);
            // Some thousand lines a second, so that a debug build keeps up.
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    })
}

#[test]
fn kills_while_a_log_is_written_and_renamed_skip_no_line_and_give_each_one_id() {
    let logs = Logs::new();
    let (rotate, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let written = Arc::new(AtomicUsize::new(0));
    let shared = (Arc::clone(&rotate), Arc::clone(&stop), Arc::clone(&written));
    let writing = write_on(logs.folder.path().to_owned(), shared.0, shared.1, shared.2);
    let mut daemon = logs.daemon();
    // So often within a moment that nobody sees most of the logs under their own name.
    let rotate = |times: usize| {
        for _ in 0..times {
            rotate.store(true, Ordering::SeqCst);
            patiently("a rotation", || !rotate.load(Ordering::SeqCst));
        }
    };
    for round in 0..8 {
        let now = written.load(Ordering::SeqCst) + 1;
        daemon.wait_for("a line of now", |_| logs.delivered().contains_key(&now));
        rotate(round % 4);
        daemon.signal("KILL");
        drop(daemon);
        rotate(round % 3);
        daemon = logs.daemon();
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().unwrap();
    logs.wait_for(&daemon, written.load(Ordering::SeqCst));
    let of_files = daemon.status()["ingest"]["files"].take();
    assert_eq!(of_files["refused_lines"], 0, "{of_files}");
    assert_eq!(of_files["waits"], Value::Null);
}
