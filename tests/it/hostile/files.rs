//! Files: what the daemon writes is its owner's alone, whatever the umask, and what is looser is told.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::control::Client;
use crate::support::daemon::{Daemon, patiently};
use crate::support::{generate, sluicegate};

/// A process that takes nothing away from the rights that it gives.
const NO_UMASK: &str = "umask 000";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A folder and all that is in it, however deep.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            let inside = fs::read_dir(&found[at]).unwrap();
            found.extend(inside.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
        }
        at += 1;
    }
    found
}

/// Those that others than their owner may use.
fn open_to_others(folder: &Path) -> Vec<String> {
    let all = all_in(folder);
    assert!(all.len() > 2, "{all:?}");
    let open = all.into_iter().filter(|path| mode(path) & 0o077 != 0);
    open.map(|path| format!("{} {:o}", path.display(), mode(&path))).collect()
}

/// Runs `sluicegate` without a umask, in a folder.
fn unmasked(folder: &Path, arguments: &str) {
    let program = env!("CARGO_BIN_EXE_sluicegate");
    let command = format!("{NO_UMASK}; exec {program} {arguments}");
    let output = Command::new("sh").args(["-c", &command]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const SETTINGS: &str = "ingest: { stdin: {}, http: { listen: '127.0.0.1:0' } }
destinations:
  - { id: default, target: { file: { path: DIR/default.ndjson } } }
  - { id: wider, target: { file: { path: DIR/wider.ndjson, mode: '0640' } } }
subscriptions: [{ id: all, sources: [{ type: http_request_complete.v0 }], destinations: [default, wider] }]
";

#[test]
fn whatever_the_daemon_writes_is_its_owners_alone() {
    let daemon = Daemon::start_under(NO_UMASK, SETTINGS);
    Client::new(&daemon).must("POST /ip_policies", &json!({}));
    daemon.send(&generate("http_request_complete.v0", 100, 1));
    daemon.wait_until_delivered();
    let data = daemon.path("data");
    daemon.wait_for("a checkpoint", |_| data.join("journal/cursors").exists());
    assert_eq!(open_to_others(&data), [""; 0]);
    assert_eq!(mode(&daemon.path("default.ndjson")), 0o600);
    assert_eq!(mode(&daemon.path("wider.ndjson")), 0o640);
    let letters = daemon.path("letters.txt");
    let settings = daemon.path("sluicegate.yaml");
    let export = format!("dead-letters export -c {} -o {}", settings.display(), letters.display());
    unmasked(&data, &export);
    assert_eq!(mode(&letters), 0o600);
    assert!(!daemon.log().contains("closes it to others"), "{}", daemon.log());
}

#[test]
fn a_key_that_is_made_without_a_daemon_lies_in_a_folder_of_its_owners_own() {
    let folder = tempfile::tempdir().unwrap();
    unmasked(folder.path(), "api-key create");
    assert_eq!(open_to_others(&folder.path().join("sluicegate-data")), [""; 0]);
}

#[test]
fn what_is_open_to_others_is_told_by_the_start_and_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings = format!("data_dir: {}\n{SETTINGS}", data.display());
    drop(Daemon::start(&settings));
    set_mode(&data, 0o755);
    set_mode(&data.join("master.key"), 0o644);
    let daemon = Daemon::start(&settings);
    let file = daemon.path("sluicegate.yaml");
    let checked = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
    let said = String::from_utf8(checked.stderr).unwrap();
    for (path, rights) in [(data.clone(), "0755"), (data.join("master.key"), "0644")] {
        let remark = format!("{} has the rights {rights}", path.display());
        assert!(daemon.log().contains(&remark), "no `{remark}` in\n{}", daemon.log());
        assert!(said.contains(&remark), "no `{remark}` in\n{said}");
    }
    assert_eq!(said.matches("closes it to others").count(), 2, "{said}");
    assert_eq!(mode(&data), 0o755, "somebody may have meant it");
}

/// A line of an access log.
const LINE: &str = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1\n";

#[test]
fn a_line_without_an_end_a_pipe_and_a_folder_keep_no_other_log_from_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A terabyte of nothing: what a program wrote far behind the end of its log.
    File::create(at("0.log")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(at("1.log")).unwrap();
    let made = Command::new("mkfifo").arg(at("2.log")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("3.log", at("3.log")).unwrap();
    fs::write(at("4.log"), LINE).unwrap();
    let daemon = Daemon::start(&format!(
        "ingest: {{ http: {{ listen: '127.0.0.1:0' }}, files: [{{ path: '{}/*.log', format: apache }}] }}
destinations: [{{ id: kept, target: {{ file: {{ path: DIR/out.ndjson }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [kept] }}]",
        folder.path().display()
    ));
    patiently("the line is delivered", || daemon.destination("kept")["delivered"] == 1);
    let mut log = File::options().append(true).open(at("4.log")).unwrap();
    for line in 2..5 {
        log.write_all(LINE.as_bytes()).unwrap();
        patiently("so is the next", || daemon.destination("kept")["delivered"] == line);
    }
    let ended = daemon.stop();
    assert!(ended.status.success(), "{}", ended.log);
}

#[test]
fn a_file_of_nothing_but_mistakes_is_refused_before_each_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    for (names, told) in
        [(5_000, "more than 1000 mistakes in "), (300_000, "a section has more than 10000 names")]
    {
        for (ending, is) in [("yaml", ":"), ("toml", " =")] {
            let path = folder.path().join(format!("settings.{ending}"));
            let text: String = (0..names).map(|name| format!("k{name}{is} {name}\n")).collect();
            fs::write(&path, text).unwrap();
            let output = sluicegate(&["check", "-c", path.to_str().unwrap()], "");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(told), "{ending}: {}", &said[said.len() - 200..]);
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_told_of_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let daemon = Daemon::start(&format!(
        "destinations: [{{ id: piped, target: {{ file: {{ path: {} }} }} }}]
subscriptions: [{{ id: all, sources: [{{ type: http_request_complete.v0 }}], destinations: [piped] }}]
",
        pipe.display()
    ));
    daemon.send(&generate("http_request_complete.v0", 1, 1));
    patiently("it is told", || {
        let told = daemon.destination("piped")["last_error"].to_string();
        told.contains("a pipe that no program reads")
    });
    let reader = Command::new("head").args(["-n", "1"]).arg(&pipe).output().unwrap();
    assert!(reader.stdout.ends_with(b"}\n"), "{reader:?}");
    daemon.wait_until_delivered();
}
