//! The snippets of one section as one shell script in a folder of its own, which is laid out as the project's
//! is for a reader.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::page::Snippet;
use crate::support::tls::Certificates;
use crate::support::venv_program;

/// What comes before the snippets.
const BEGINNING: &str = include_str!("session.sh");

/// What references of the settings are filled in with.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("SLUICEGATE_INGEST_TOKEN", "example-ingest-token"),
    ("SLUICEGATE_API_TOKEN", "example-api-token"),
    ("KAFKA_PASSWORD", "example"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// The folder that a reader works in, with its ports.
pub(super) struct Folder {
    folder: TempDir,
    /// What stands in the documents, and what takes its place.
    replaced: Vec<(&'static str, String)>,
    pub ports: Ports,
}

/// Free ports in place of those of the documents.
pub(super) struct Ports {
    pub ingest: u16,
    pub api: u16,
}

impl Folder {
    /// Makes one with `examples/` and, where Python's environment is there, the certificates that they name.
    pub(super) fn new() -> Folder {
        let [ingest, api, emulator] = free_ports();
        let mut replaced = vec![
            ("0.0.0.0:4180", format!("127.0.0.1:{ingest}")),
            ("4180", ingest.to_string()),
            ("4181", api.to_string()),
            ("127.0.0.1:5000", format!("127.0.0.1:{emulator}")),
            ("-p 5000", format!("-p {emulator}")),
            // No name of a service is looked up.
            ("kafka-1:9093,kafka-2:9093", "127.0.0.1:9".to_owned()),
        ];
        if let Some(python) = venv_program("python") {
            let programs = python.parent().unwrap().to_str().unwrap();
            replaced.push((".venv/bin/", format!("{programs}/")));
        }
        let made =
            Folder { folder: tempfile::tempdir().unwrap(), replaced, ports: Ports { ingest, api } };
        fs::create_dir(made.path("examples")).unwrap();
        for (name, text) in examples() {
            fs::write(made.path(&format!("examples/{name}")), made.settings(&text)).unwrap();
        }
        if let Some(certificates) = Certificates::make() {
            for (file, name) in
                [("server.pem", "tls.pem"), ("server.key", "tls.key"), ("ca.pem", "clients.pem")]
            {
                fs::copy(certificates.path(file), made.path(name)).unwrap();
            }
        }
        made
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text with what is true here in place of what is true for a reader.
    fn adapted(&self, text: &str) -> String {
        let replace = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        self.replaced.iter().fold(text.to_owned(), replace)
    }

    /// A settings file whose listeners are on the free ports too where it does not name any.
    pub(super) fn settings(&self, text: &str) -> String {
        let mut text = self.adapted(text);
        let Ports { ingest, api } = self.ports;
        let has =
            |text: &str, key: &str| text.lines().any(|line| line.trim_start().starts_with(key));
        let http = format!("http: {{ listen: \"127.0.0.1:{ingest}\" }}");
        // Where standard input is the only entrance there is no listener for events.
        let only_stdin = text.contains("ingest: { stdin: {} }");
        if !has(&text, "ingest:") {
            let _ = writeln!(text, "ingest: {{ {http} }}");
        } else if !only_stdin && !has(&text, "http:") {
            text = text.replace("ingest:\n", &format!("ingest:\n  {http}\n"));
        }
        if !has(&text, "api:") {
            let _ = writeln!(text, "api: {{ listen: \"127.0.0.1:{api}\" }}");
        }
        text
    }

    /// A command in the folder, with `sluicegate` on the path.
    pub(super) fn command(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_sluicegate"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", binary.parent().unwrap().display()))
            .env("SLUICEGATE_API_URL", format!("http://127.0.0.1:{}", self.ports.api))
            .env("DATABASE_URL", "postgres://sluicegate@127.0.0.1/sluicegate")
            .env_remove("SLUICEGATE_LOG")
            .env_remove("SLUICEGATE_API_KEY")
            .envs(ENVIRONMENT)
            .stdin(Stdio::null());
        command
    }
}

/// The settings files of `examples/`: name and text.
pub(super) fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Ports that nobody has now. They lie below those that the system gives out, so that no other test gets one.
fn free_ports() -> [u16; 3] {
    let mut held = Vec::new();
    while held.len() < 3 {
        let port = 10_000 + rand::random::<u16>() % 20_000;
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    [0, 1, 2].map(|at: usize| held[at].local_addr().unwrap().port())
}

/// The session of one section.
pub(super) struct Session<'p> {
    page: &'p str,
    folder: Folder,
    script: String,
    /// What a snippet's last line of output looks like, by the snippet's line.
    expected: HashMap<usize, &'p str>,
    /// Why nothing of it is run here.
    skipped: bool,
}

impl<'p> Session<'p> {
    pub(super) fn new(page: &'p str) -> Session<'p> {
        let folder = Folder::new();
        Session { page, folder, script: String::new(), expected: HashMap::new(), skipped: false }
    }

    /// Adds commands, and what they print.
    pub(super) fn shell(&mut self, snippet: &'p Snippet, prints: Option<&'p Snippet>) {
        // Without Python's environment what needs it is skipped, and what follows on it.
        self.skipped |= snippet.text.contains(".venv/") && venv_program("python").is_none();
        let mut commands = String::new();
        for line in self.folder.adapted(&snippet.text).lines() {
            let line = line.replace("| sluicegate run ", "| start_piped run ");
            match line.strip_prefix("sluicegate run ") {
                Some(arguments) => commands.push_str(&format!("start run {arguments}\n")),
                None => commands.push_str(&format!("{line}\n")),
            }
        }
        if let Some(prints) = prints {
            self.expected.insert(snippet.line, &prints.text);
        }
        self.add(snippet.line, &commands);
    }

    /// Adds a program in Python.
    pub(super) fn python(&mut self, snippet: &'p Snippet) {
        self.skipped |= venv_program("python").is_none();
        let text = format!(".venv/bin/python - <<'PROGRAM'\n{}PROGRAM\n", snippet.text);
        self.add(snippet.line, &self.folder.adapted(&text));
    }

    fn add(&mut self, line: usize, commands: &str) {
        let block = format!("AT={line}\nsettle\n{{\n{commands}}} >\"$OUT/{line}\"\n");
        self.script.push_str(&block);
    }

    /// Has a settings file checked at once. One that names an example is that example; one that is named
    /// otherwise is put into the folder.
    pub(super) fn settings(&mut self, snippet: &'p Snippet) {
        let place = format!("{}:{}", self.page, snippet.line);
        let first = snippet.text.lines().next().unwrap_or_default();
        if let Some(name) = first.strip_prefix("# examples/").and_then(|it| it.split(':').next()) {
            let examples = examples();
            let example = examples.iter().find(|(file, _)| file == name);
            let text = example.map(|(_, text)| text.as_str());
            assert_eq!(text, Some(snippet.text.as_str()), "{place}: not as in examples/{name}");
            return;
        }
        // A file for a command of the section, which says what it thinks of it.
        if let Some(name) = first.strip_prefix("# ").filter(|name| name.ends_with(".yaml")) {
            fs::write(self.folder.path(name), &snippet.text).unwrap();
            return;
        }
        let file = self.folder.path(&format!("line-{}.yaml", snippet.line));
        fs::write(&file, self.folder.settings(&snippet.text)).unwrap();
        let output = self.folder.command("sluicegate").args(["check", "-c"]).arg(&file).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs what was added, and holds what it prints to the page.
    pub(super) fn run(self) {
        if self.script.is_empty() {
            return;
        }
        if self.skipped {
            println!("skipped: this section needs Python's environment; `make test` makes it");
            return;
        }
        let out = tempfile::tempdir().unwrap();
        let script = out.path().join("session.sh");
        fs::write(&script, format!("{BEGINNING}{}stop\n", self.script)).unwrap();
        let output =
            self.folder.command("bash").arg(&script).env("OUT", out.path()).output().unwrap();
        let log = fs::read_to_string(out.path().join("daemon.log")).unwrap_or_default();
        assert!(
            output.status.success(),
            "{}: {}\n{log}",
            self.page,
            String::from_utf8_lossy(&output.stderr)
        );
        for (line, expected) in &self.expected {
            let printed = fs::read_to_string(out.path().join(line.to_string())).unwrap();
            let last = printed.lines().last().unwrap_or_default();
            let parse = |text: &str| serde_json::from_str::<Value>(text).ok().map(shape);
            let (found, wanted) = (parse(last), parse(expected));
            assert!(wanted.is_some(), "{}: no JSON follows line {line}", self.page);
            assert_eq!(found, wanted, "{}:{line} prints {printed}", self.page);
        }
    }
}

/// A value without what differs from run to run: ids and times are texts like any other.
fn shape(value: Value) -> Value {
    match value {
        Value::String(_) => Value::String("text".to_owned()),
        Value::Array(items) => items.into_iter().map(shape).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, shape(value))).collect()
        }
        other => other,
    }
}
