//! The real daemon as a child process on free ports, with a folder of its own.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Answer};

/// How long anything may take before a test gives up. Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Daemon {
    child: Child,
    pub ingest: SocketAddr,
    pub api: SocketAddr,
    folder: TempDir,
    log: Arc<Mutex<String>>,
    /// The rest of the log, and standard output, are read by threads until the daemon closes them.
    reader: Option<JoinHandle<()>>,
    output: Option<JoinHandle<String>>,
}

/// How a daemon ended.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub log: String,
    pub output: String,
}

impl Daemon {
    /// Starts the daemon with settings (destinations, subscriptions, …) in which `DIR` stands for
    /// its folder. Listeners are on free ports unless the settings say otherwise.
    pub(crate) fn start(settings: &(impl Display + ?Sized)) -> Daemon {
        Daemon::start_with(settings, &[])
    }

    /// The same with further environment variables.
    pub(crate) fn start_with(
        settings: &(impl Display + ?Sized),
        environment: &[(&str, &str)],
    ) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let command = command(folder.path(), environment);
        Daemon::start_command(settings, folder, command)
    }

    /// The same under a limit that a shell sets, such as `ulimit -f 100`.
    pub(crate) fn start_under(limit: &str, settings: &(impl Display + ?Sized)) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let plain = command(folder.path(), &[]);
        let mut command = limited(limit, &plain);
        command.current_dir(folder.path());
        Daemon::start_command(settings, folder, command)
    }

    /// The same with standard input that stays open and can be written to.
    pub(crate) fn start_piped(
        settings: &(impl Display + ?Sized),
    ) -> (Daemon, std::process::ChildStdin) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path(), &[]);
        command.stdin(Stdio::piped());
        let mut daemon = Daemon::start_command(settings, folder, command);
        let input = daemon.child.stdin.take().unwrap();
        (daemon, input)
    }

    fn start_command(
        settings: &(impl Display + ?Sized),
        folder: TempDir,
        mut command: Command,
    ) -> Daemon {
        write_settings(folder.path(), settings);
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut ready = None;
        for line in lines.by_ref().map_while(Result::ok) {
            log.lock().unwrap().push_str(&format!("{line}\n"));
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "ready" {
                ready = Some(event);
                break;
            }
        }
        let ready = ready.unwrap_or_else(|| panic!("did not start:\n{}", log.lock().unwrap()));
        let sink = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let address = |key: &str| ready[key].as_str().unwrap().parse().unwrap();
        let (ingest, api) = (address("ingest"), address("api"));
        Daemon { child, ingest, api, folder, log, reader: Some(reader), output: Some(output) }
    }

    /// Starts a daemon that is to end at once with an error, and gives what it says.
    pub(crate) fn fail_to_start(settings: &(impl Display + ?Sized)) -> String {
        Daemon::fail_to_start_with(settings, &[])
    }

    /// The same with further environment variables.
    pub(crate) fn fail_to_start_with(
        settings: &(impl Display + ?Sized),
        environment: &[(&str, &str)],
    ) -> String {
        let folder = tempfile::tempdir().unwrap();
        write_settings(folder.path(), settings);
        let output = command(folder.path(), environment).output().unwrap();
        assert!(!output.status.success(), "it started");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Posts a body to ingest with a content type.
    pub(crate) fn post(&self, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(&[("content-type", content_type)], body)
    }

    /// Posts a body to ingest with headers.
    pub(crate) fn post_with(&self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        http::request(self.ingest, "POST /v1/events", headers, body.as_ref())
    }

    /// Posts events, one a line, and demands that all are accepted.
    pub(crate) fn send(&self, events: &[String]) {
        for body in events.chunks(500) {
            let answer = self.post("application/x-ndjson", body.join("\n"));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["accepted"], body.len(), "{answer:?}");
        }
    }

    pub(crate) fn status(&self) -> Value {
        let answer = http::get(self.api, "/status");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The status entry of a destination.
    pub(crate) fn destination(&self, id: &str) -> Value {
        let status = self.status();
        let all = status["destinations"].as_array().unwrap();
        all.iter().find(|it| it["id"] == id).cloned().unwrap_or(Value::Null)
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            let log = || self.log();
            assert!(began.elapsed() < PATIENCE, "never {what}: {status:#}\n{}", log());
            pause();
        }
    }

    /// Waits until nothing is pending anywhere.
    pub(crate) fn wait_until_delivered(&self) -> Value {
        self.wait_for("delivered", |status| {
            let all = status["destinations"].as_array().unwrap();
            all.iter().all(|it| it["pending_records"] == 0)
        })
    }

    /// Waits until the log says something.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait_for_log_times(text, 1);
    }

    /// The same for what it says more than once.
    pub(crate) fn wait_for_log_times(&self, text: &str, times: usize) {
        let began = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(began.elapsed() < PATIENCE, "not logged {times}x `{text}`:\n{}", self.log());
            pause();
        }
    }

    /// Replaces the settings file and sends SIGHUP.
    pub(crate) fn reload(&self, settings: &(impl Display + ?Sized)) {
        write_settings(self.folder.path(), settings);
        self.signal("HUP");
    }

    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// A size that the system tells of the process, in KiB, such as `VmHWM`.
    pub(crate) fn memory(&self, field: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Stops the daemon as a container runtime does, and waits for its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the daemon's end.
    pub(crate) fn wait(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "does not end:\n{}", self.log());
            pause();
        };
        self.reader.take().unwrap().join().unwrap();
        let output = self.output.take().unwrap().join().unwrap();
        Ended { status, log: self.log(), output }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command
        .args(["--log-format", "json", "run", "-c"])
        .arg(settings_path(folder))
        .current_dir(folder)
        .env_remove("SLUICEGATE_LOG")
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A shell that sets a limit and then becomes what the command would be.
fn limited(limit: &str, plain: &Command) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_remove("SLUICEGATE_LOG")
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn settings_path(folder: &Path) -> PathBuf {
    folder.join("sluicegate.yaml")
}

fn write_settings(folder: &Path, settings: &(impl Display + ?Sized)) {
    let settings = settings.to_string();
    let mut text = String::new();
    // Settings from the builder say everything themselves.
    let is_whole = settings.starts_with('{');
    for (section, default) in [
        ("ingest:", "ingest: { http: { listen: \"127.0.0.1:0\" } }\n"),
        ("api:", "api: { listen: \"127.0.0.1:0\" }\n"),
        ("data_dir:", "data_dir: DIR/data\n"),
    ] {
        if !is_whole && !settings.lines().any(|line| line.starts_with(section)) {
            text.push_str(default);
        }
    }
    text.push_str(&settings);
    let text = text.replace("DIR", folder.to_str().unwrap());
    fs::write(settings_path(folder), text).unwrap();
}

/// Waits until something is so.
pub(crate) fn patiently(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        pause();
    }
}

pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
