//! The files of `examples/`: each is checked and started, and does what it says it shows. Those that README
//! runs with commands (`first`, `pipe`, `emulator`) do their work there.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use crate::support::daemon::{patiently, pause};
use crate::support::moto::Moto;
use crate::support::receiver::Receiver;
use crate::support::tls::Certificates;
use crate::support::{generate, http, venv_program};

use super::session::{Folder, examples};

/// A daemon with one of the examples.
struct Running {
    child: Child,
    folder: Folder,
}

impl Running {
    /// Starts one in a folder, with further environment variables, and waits until it is ready.
    fn start(folder: Folder, name: &str, environment: &[(&str, &str)]) -> Running {
        let child = folder
            .command("sluicegate")
            .args(["run", "-c", &format!("examples/{name}")])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut running = Running { child, folder };
        patiently("ready", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name}: {}", running.log());
            running.log().contains("INFO ready ")
        });
        running
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap()
    }

    fn ingest(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.folder.ports.ingest))
    }

    /// Posts some requests, of which at least one failed.
    fn send(&self) {
        let events = generate("http_request_complete.v0", 500, 1).join("\n");
        let headers = [("content-type", "application/x-ndjson")];
        let answer = http::request(self.ingest(), "POST /v1/events", &headers, events.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(self.folder.command("sh").args(["-c", &kill]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts one text of an example in the place of another.
fn change(folder: &Folder, name: &str, from: &str, to: &str) {
    let path = folder.path(&format!("examples/{name}"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} does not have `{from}` any more");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn every_example_starts_and_stops() {
    let files = examples();
    assert!(files.len() >= 7, "{files:?}");
    for (name, text) in files {
        if text.contains("tls:") && venv_program("python").is_none() {
            continue;
        }
        println!("{name}");
        assert!(
            text.starts_with(&format!("# examples/{name}: ")),
            "{name} does not say what it is"
        );
        // The pipe's daemon ends with its input, of which there is none here.
        let pipe = text.contains("stdin:");
        let certificates = !text.contains("tls:") || venv_program("python").is_some();
        if certificates && !pipe {
            Running::start(Folder::new(), &name, &[]).stop();
        }
    }
}

#[test]
fn the_example_of_a_callback_posts_batches_to_the_receiver() {
    let receiver = Receiver::start(200, None);
    let folder = Folder::new();
    change(&folder, "callback.yaml", "127.0.0.1:8080", &receiver.address.to_string());
    let running = Running::start(folder, "callback.yaml", &[]);
    running.send();
    patiently("posted", || {
        let lines = receiver.take_lines();
        pause();
        !lines.is_empty()
    });
    running.stop();
}

#[test]
fn the_example_of_a_role_delivers_to_the_stream() {
    let Some(moto) = Moto::start() else { return };
    let stream = serde_json::json!({"StreamName": "errors", "ShardCount": 1});
    moto.call("kinesis", "CreateStream", stream);
    let url = moto.url();
    let environment = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
    ];
    let running = Running::start(Folder::new(), "kinesis.yaml", &environment);
    running.send();
    let api = SocketAddr::from(([127, 0, 0, 1], running.folder.ports.api));
    patiently("delivered", || {
        let destination = &http::get(api, "/status").json()["destinations"][0];
        assert_eq!(destination["state"], "healthy", "{destination}");
        destination["delivered"].as_u64() > Some(0) && destination["pending_records"] == 0
    });
    running.stop();
}

#[test]
fn the_example_of_tls_wants_the_token() {
    let Some(certificates) = Certificates::make() else { return };
    let folder = Folder::new();
    for (file, name) in
        [("server.pem", "tls.pem"), ("server.key", "tls.key"), ("ca.pem", "clients.pem")]
    {
        fs::copy(certificates.path(file), folder.path(name)).unwrap();
    }
    let running = Running::start(folder, "tls.yaml", &[]);
    let answer = certificates.request(running.ingest(), "ca", None, "POST /v1/events").unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
    running.stop();
}
