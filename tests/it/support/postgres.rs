//! PostgreSQL for the tests: a server of their own on a free port of loopback, in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::daemon::pause;

/// How long the server may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian installs the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    pub port: u16,
    child: Option<Child>,
    /// Whether it speaks TLS.
    tls: bool,
}

impl Postgres {
    /// Starts a server with an empty database; `None`, with a line that says so, where it is not installed.
    pub(crate) fn start() -> Option<Postgres> {
        Postgres::start_with(None)
    }

    /// The same that speaks TLS too, with a certificate and its key.
    pub(crate) fn start_with(tls: Option<(&Path, &Path)>) -> Option<Postgres> {
        let Some(programs) = programs() else {
            println!("skipped: PostgreSQL is not installed (Debian: apt-get install postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let mut init = as_owner(&programs.join("initdb"));
        init.args(["-A", "trust", "-U", "sluicegate", "-E", "UTF8", "--no-locale", "-N", "-D"]);
        run(init.arg(folder.path().join("data")));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if let Some((certificate, key)) = tls {
            for (file, name) in [(certificate, "tls.pem"), (key, "tls.key")] {
                let to = folder.path().join("data").join(name);
                fs::copy(file, &to).unwrap();
                run(Command::new("chmod").arg("600").arg(&to));
                if is_root() {
                    run(Command::new("chown").arg("postgres").arg(&to));
                }
            }
        }
        let mut server = Postgres { programs, folder, port, child: None, tls: tls.is_some() };
        server.begin();
        Some(server)
    }

    /// Starts the server again.
    pub(crate) fn begin(&mut self) {
        let mut command = as_owner(&self.programs.join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data"));
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        command.args([
            "-c",
            "unix_socket_directories=",
            "-c",
            "fsync=off",
            "-c",
            "log_min_messages=fatal",
        ]);
        if self.tls {
            command.args([
                "-c",
                "ssl=on",
                "-c",
                "ssl_cert_file=tls.pem",
                "-c",
                "ssl_key_file=tls.key",
            ]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let began = Instant::now();
        // It listens before it answers.
        while self.sql("SELECT 1").is_none() {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not answer");
            pause();
        }
    }

    /// Stops the server, whoever is connected.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            run(Command::new("kill").args(["-INT", &id]));
            child.wait().unwrap();
        }
    }

    /// Runs a statement and gives what it prints; `None` if it fails.
    pub(crate) fn sql(&self, statement: &str) -> Option<String> {
        let url = self.url(self.port);
        let mut psql = Command::new(self.programs.join("psql"));
        let output = psql.args(["-X", "-q", "-A", "-t", &url, "-c", statement]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| said.trim().to_owned())
    }

    /// The URL of the database by a port, which may be a proxy's.
    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgres://sluicegate@127.0.0.1:{port}/postgres?sslmode=disable")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0\n")
}

/// A program that runs as the user whom Debian has for the server, if we are root.
fn as_owner(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    // The tests' own folder may be closed to that user.
    command.current_dir("/");
    command
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = versions.map(|it| it.path().join("bin")).collect();
    folders.retain(|it| it.join("initdb").exists());
    folders.sort();
    folders.pop()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
