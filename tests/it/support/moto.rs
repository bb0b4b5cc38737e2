//! moto: an AWS emulator of another make, as a child process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{http, venv_program};

pub(crate) struct Moto {
    child: Child,
    pub address: SocketAddr,
}

impl Moto {
    /// Starts a server on a free port; `None` where moto is not installed.
    pub(crate) fn start() -> Option<Moto> {
        let program = venv_program("moto_server")?;
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("http://").nth(1)?.trim().parse().ok())
            .expect("moto tells its address");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Moto { child, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls an operation of one of the JSON protocol's services.
    pub(crate) fn call(
        &self,
        service: &str,
        operation: &str,
        input: serde_json::Value,
    ) -> serde_json::Value {
        let target = format!("{}.{operation}", prefix(service));
        let scope = scope(service);
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &*target),
            ("authorization", &*scope),
        ];
        let answer = http::request(self.address, "POST /", &headers, input.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    /// Makes a bucket.
    pub(crate) fn make_bucket(&self, name: &str) {
        let answer = http::request(self.address, &format!("PUT /{name}"), &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All objects of a bucket, one after the other.
    pub(crate) fn read_bucket(&self, name: &str) -> String {
        let listing = http::get(self.address, &format!("/{name}?list-type=2&max-keys=1000")).body;
        assert!(listing.contains("<IsTruncated>false</IsTruncated>"), "{listing}");
        let keys = listing.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        let authorization = scope("s3");
        let headers = [("authorization", &*authorization)];
        let read = |key| {
            let answer = http::request(self.address, &format!("GET /{name}/{key}"), &headers, b"");
            assert_eq!(answer.status, 200, "{key}: {answer:?}");
            answer.body
        };
        keys.map(read).collect()
    }
}

/// A signature's scope by which moto tells services apart; it checks no signature.
fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn prefix(service: &str) -> &'static str {
    match service {
        "kinesis" => "Kinesis_20131202",
        "firehose" => "Firehose_20150804",
        "logs" => "Logs_20140328",
        _ => panic!("unknown service {service}"),
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
