//! What the tests stand on: the daemon as a process, plain HTTP and TLS clients, certificates, moto,
//! Kafka brokers, faulty services, proxies.

#[cfg(feature = "kafka")]
pub(crate) mod apache;
pub(crate) mod daemon;
pub(crate) mod fake_kinesis;
pub(crate) mod fake_service;
pub(crate) mod http;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod moto;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod scripted;
pub(crate) mod settings;
pub(crate) mod small_disk;
pub(crate) mod tls;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A program of the tests' Python environment; `None`, with a line that says so, where there is none.
/// `make test` makes it, and then its absence is an error.
pub(crate) fn venv_program(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("SLUICEGATE_TEST_VENV").map(PathBuf::from);
    let required = given.is_some();
    let venv =
        given.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.venv")));
    let program = venv.join("bin").join(name);
    if program.exists() {
        return Some(program);
    }
    assert!(!required, "{} is missing", program.display());
    println!("skipped: `{name}` is not installed; `make test` installs it");
    None
}

/// Runs `sluicegate` with arguments and input until it ends.
pub(crate) fn sluicegate(arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(arguments)
        .env_remove("SLUICEGATE_LOG")
        .env_remove("SLUICEGATE_API_KEY")
        .env_remove("SLUICEGATE_API_URL")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A child that ends without reading closes the pipe, which is its right.
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join();
    output
}

/// Text with one part changed, which must be in it.
pub(crate) fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no `{from}` in\n{text}");
    text.replace(from, to)
}

/// Standard output of a run that must succeed.
pub(crate) fn output_of(arguments: &[&str], input: &str) -> String {
    let output = sluicegate(arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Generated events, parsed.
pub(crate) fn generate(event_type: &str, count: usize, seed: u64) -> Vec<String> {
    let (count, seed) = (count.to_string(), seed.to_string());
    let arguments = ["generate", "--type", event_type, "--count", &count, "--seed", &seed];
    output_of(&arguments, "").lines().map(str::to_owned).collect()
}
