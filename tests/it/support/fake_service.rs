//! An HTTP service that answers as a script says: AWS services and places of credentials with faults
//! that emulators do not make, and proxies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line.
    pub line: String,
    pub head: String,
    pub body: String,
}

impl Request {
    /// A header's value, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The id of the access key that signed it.
    pub(crate) fn access_key(&self) -> &str {
        let authorization = self.header("authorization").unwrap_or_default();
        let rest = authorization.split("Credential=").nth(1).unwrap_or_default();
        rest.split('/').next().unwrap()
    }

    /// The answer of a Kinesis that takes every record.
    pub(crate) fn taken(&self) -> Reply {
        let input: Value = serde_json::from_str(&self.body).unwrap();
        let entry = json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"});
        let entries = vec![entry; input["Records"].as_array().unwrap().len()];
        let body = json!({"FailedRecordCount": 0, "Records": entries});
        Reply::new(200, "x-amzn-requestid: 1\r\n", body.to_string())
    }
}

/// What a request is answered with.
pub(crate) enum Reply {
    /// A status, headers (each with its line end) and a body.
    Answer(u16, String, String),
    /// The same, its body in twenty pieces with a pause before each.
    Dripped(u16, String, String, Duration),
    /// The bytes of a connection to another address, from here on.
    Tunnel(SocketAddr),
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &str, body: impl Into<String>) -> Reply {
        Reply::Answer(status, headers.to_owned(), body.into())
    }

    /// The same answer in pieces, with a pause before each.
    pub(crate) fn dripped(self, pause: Duration) -> Reply {
        match self {
            Reply::Answer(status, headers, body) => Reply::Dripped(status, headers, body, pause),
            other => other,
        }
    }

    /// An error of the services that speak JSON.
    pub(crate) fn error(status: u16, code: &str) -> Reply {
        Reply::new(
            status,
            "x-amzn-requestid: 1\r\n",
            json!({"__type": code, "message": "no"}).to_string(),
        )
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// A running service.
pub(crate) struct FakeService {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeService {
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> FakeService {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || serve(&stream, &*script, &seen));
            }
        });
        FakeService { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, script: &Script, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let mut writer = stream;
        match script(&request) {
            Reply::Answer(status, headers, body) => {
                let answer = head(status, &headers, &body) + &body;
                if writer.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Dripped(status, headers, body, pause) => {
                let head = head(status, &headers, &body);
                let pieces = body.as_bytes().chunks(body.len().div_ceil(20).max(1));
                for piece in [head.as_bytes()].into_iter().chain(pieces) {
                    if writer.write_all(piece).is_err() {
                        return;
                    }
                    std::thread::sleep(pause);
                }
            }
            Reply::Tunnel(to) => {
                writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                return tunnel(stream, to);
            }
        }
    }
}

fn head(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len())
}

/// Carries bytes both ways until both sides have ended.
fn tunnel(near: &TcpStream, to: SocketAddr) {
    let far = TcpStream::connect(to).unwrap();
    let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let there = std::thread::spawn(move || {
        let _ended = std::io::copy(&mut from_near, &mut to_far);
        let _closed = to_far.shutdown(std::net::Shutdown::Write);
    });
    let _ended = std::io::copy(&mut &far, &mut &*near);
    let _closed = near.shutdown(std::net::Shutdown::Both);
    there.join().unwrap();
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let line = head.lines().next()?.to_owned();
    let mut request = Request { line, head, body: String::new() };
    let length = request.header("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if request.header("content-encoding") == Some("gzip") {
        let packed = std::mem::take(&mut body);
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut body).unwrap();
    }
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
