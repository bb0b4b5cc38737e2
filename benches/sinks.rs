//! What delivery costs: `cargo bench --bench sinks`.
//!
//! A daemon empties its backlog into a service that takes everything at once; its processor's time from the
//! first request on is that of reading, batching, encoding, signing, sending and settling. The floor is one
//! thread that encodes the same records, signs them and sends them, beside it in the same run; the medians of
//! several rounds are printed. Then what a million events are billed, with packing and without, by
//! `sluicegate cost`; and how long 4 shards that throttle take beside what they let through.
//! `cargo bench --bench sinks -- EVENTS` takes as many events.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people to run, without a runtime"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use ring::{digest, hmac};
use serde_json::Value;

const SLUICEGATE: &str = env!("CARGO_BIN_EXE_sluicegate");

/// Rounds of each sink.
const ROUNDS: usize = 3;

/// What a shard takes a second (Kinesis developer guide, "quotas and limits").
const SHARD_RECORDS: f64 = 1_000.0;

/// Shards of the stream that throttles.
const SHARDS: usize = 4;

/// Name, target and what stands around a record in a request.
const SINKS: [(&str, &str); 6] = [
    (
        "kinesis",
        "kinesis: { stream_arn: 'arn:aws:kinesis:us-east-1:123456789012:stream/s', endpoint_url: URL, auth: AUTH }",
    ),
    (
        "firehose, pack: off",
        "firehose: { delivery_stream_arn: 'arn:aws:firehose:us-east-1:123456789012:deliverystream/d', pack: off, endpoint_url: URL, auth: AUTH }",
    ),
    (
        "firehose, pack: on",
        "firehose: { delivery_stream_arn: 'arn:aws:firehose:us-east-1:123456789012:deliverystream/d', pack: on, endpoint_url: URL, auth: AUTH }",
    ),
    (
        "cloudwatch_logs",
        "cloudwatch_logs: { log_group_arn: 'arn:aws:logs:us-east-1:123456789012:log-group:g', endpoint_url: URL, auth: AUTH }",
    ),
    ("debug, callback", "debug: { callback_url: URL }"),
    ("file", "file: { path: DIR/out.ndjson }"),
];

fn main() {
    let count = std::env::args().skip(1).find_map(|it| it.parse().ok()).unwrap_or(100_000);
    let events = generate(count);
    println!(
        "| sink | requests | bytes a record on the wire | of the floor's | CPU µs a record | floor µs | of the floor |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut rounds: Vec<Vec<Round>> = SINKS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (at, (_, target)) in SINKS.iter().enumerate() {
            rounds[at].push(round(target, &events));
        }
    }
    for ((name, _), rounds) in SINKS.iter().zip(&rounds) {
        let of = |what: fn(&Round) -> f64| median(rounds.iter().map(what).collect());
        let (cpu, floor) = (of(|it| it.cpu), of(|it| it.floor_cpu));
        println!(
            "| {name} | {} | {:.0} | {:.2} | {cpu:.2} | {floor:.2} | {:.1} |",
            of(|it| it.requests),
            of(|it| it.bytes),
            of(|it| it.bytes / it.floor_bytes),
            of(|it| it.cpu / it.floor_cpu),
        );
    }
    println!();
    billed(&events);
    println!();
    shards(&events);
}

/// Figures of one sink in one round; bytes and microseconds are those of a record.
struct Round {
    requests: f64,
    bytes: f64,
    floor_bytes: f64,
    cpu: f64,
    floor_cpu: f64,
}

fn round(target: &str, events: &[String]) -> Round {
    let count = events.len() as f64;
    let service = Service::start(None);
    let mut daemon = Daemon::start(target, &service.url());
    daemon.send(events);
    let before = daemon.cpu_seconds();
    daemon.enable();
    daemon.wait_until_delivered();
    let cpu = (daemon.cpu_seconds() - before) * 1e6 / count;
    let out = daemon.folder.path().join("out.ndjson");
    let (bodies, bytes) = match fs::read(&out) {
        Ok(file) => (vec![file], fs::metadata(&out).unwrap().len() as usize),
        Err(_) => service.taken(),
    };
    let requests = bodies.len() as f64;
    let kind = target.split(':').next().unwrap();
    let records: Vec<Vec<Vec<u8>>> = bodies.iter().map(|body| records(kind, body)).collect();
    let floor = Service::start(None);
    let began = thread_cpu();
    match kind {
        "file" => fs::write(daemon.folder.path().join("floor"), &bodies[0]).unwrap(),
        _ => send_plainly(kind, &records, floor.address),
    }
    let floor_cpu = (thread_cpu() - began) * 1e6 / count;
    let floor_bytes = if kind == "file" { bytes } else { floor.taken().1 };
    Round {
        requests,
        bytes: bytes as f64 / count,
        floor_bytes: floor_bytes as f64 / count,
        cpu,
        floor_cpu,
    }
}

/// The pieces of a request's body that stand for records.
fn records(kind: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let all = |name: &str| -> Vec<String> {
        let body: Value = serde_json::from_slice(body).unwrap();
        let (list, field) = name.split_once('.').unwrap();
        let items = body[list].as_array().unwrap().iter();
        items.map(|it| it[field].as_str().unwrap().to_owned()).collect()
    };
    match kind {
        "kinesis" | "firehose" => {
            all("Records.Data").iter().map(|it| STANDARD.decode(it).unwrap()).collect()
        }
        "cloudwatch_logs" => all("logEvents.message").into_iter().map(String::into_bytes).collect(),
        _ => vec![body.to_vec()],
    }
}

/// Encodes, signs and sends the records of each request: one buffer, one connection, nothing remembered.
fn send_plainly(kind: &str, requests: &[Vec<Vec<u8>>], to: SocketAddr) {
    let mut connection = BufReader::new(TcpStream::connect(to).unwrap());
    let mut body = String::new();
    for records in requests {
        body.clear();
        let (open, list) = match kind {
            "kinesis" => (
                r#"{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s","Records":["#,
                true,
            ),
            "firehose" => (r#"{"DeliveryStreamName":"d","Records":["#, true),
            "cloudwatch_logs" => {
                (r#"{"logGroupName":"g","logStreamName":"sluicegate","logEvents":["#, true)
            }
            _ => ("", false),
        };
        body.push_str(open);
        for (at, record) in records.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match kind {
                "kinesis" => {
                    let _ = write!(body, "{comma}{{\"Data\":\"");
                    STANDARD.encode_string(record, &mut body);
                    body.push_str(r#"","PartitionKey":"ev_3McfOb1LUE1hCl8i3uBleEZei75"}"#);
                }
                "firehose" => {
                    let _ = write!(body, "{comma}{{\"Data\":\"");
                    STANDARD.encode_string(record, &mut body);
                    body.push_str("\"}");
                }
                "cloudwatch_logs" => {
                    let _ = write!(body, "{comma}{{\"timestamp\":1700000000123,\"message\":\"");
                    body.push_str(&str::from_utf8(record).unwrap().replace('"', "\\\""));
                    body.push_str("\"}");
                }
                _ => body.push_str(str::from_utf8(record).unwrap()),
            }
        }
        if list {
            body.push_str("]}");
        }
        let signature = sign(body.as_bytes());
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: {}\r\nauthorization: {signature}\r\ncontent-length: {}\r\n\r\n",
            operation(kind),
            body.len()
        );
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        connection.get_mut().write_all(body.as_bytes()).unwrap();
        read_message(&mut connection).unwrap();
    }
}

fn operation(kind: &str) -> &'static str {
    match kind {
        "kinesis" => "Kinesis_20131202.PutRecords",
        "firehose" => "Firehose_20150804.PutRecordBatch",
        "cloudwatch_logs" => "Logs_20140328.PutLogEvents",
        _ => "",
    }
}

/// What AWS's signature takes: the body's hash, and five HMACs over little.
fn sign(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, b"AWS4secret");
    for part in ["20261126", "us-east-1", "kinesis", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    STANDARD.encode(hmac::sign(&key, hash.as_ref()).as_ref())
}

/// What a million events are billed, by `sluicegate cost`.
fn billed(events: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.yaml");
    let (_, target) = SINKS[2];
    fs::write(&file, settings(folder.path(), target, "http://127.0.0.1:9", true)).unwrap();
    let mut child = Command::new(SLUICEGATE)
        .args(["cost", "-o", "json", "--rate", "1000", "-c"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = events.join("\n");
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("| firehose, a million events | requests | records | GiB billed | USD |");
    println!("|---|---:|---:|---:|---:|");
    let packing = &answer["destinations"][0]["packing"];
    let sample = answer["destinations"][0]["sample"]["events"].as_f64().unwrap();
    for way in ["unpacked", "packed"] {
        let of = |name: &str| packing[way][name].as_f64().unwrap() * 1e6 / sample;
        let month = answer["destinations"][0]["month"]["events"].as_f64().unwrap();
        let money = packing[way]["money_a_month"].as_f64().unwrap() * 1e6 / month;
        println!(
            "| {way} | {:.0} | {:.0} | {:.3} | {money:.4} |",
            of("requests"),
            of("records"),
            of("billed_bytes") / f64::from(1u32 << 30),
        );
    }
}

/// How long it takes to empty a backlog into shards that throttle.
fn shards(events: &[String]) {
    let buckets = Arc::new(Mutex::new(vec![Bucket { tokens: 0.0, at: Instant::now() }; SHARDS]));
    let service = Service::start(Some(Arc::clone(&buckets)));
    let mut daemon = Daemon::start(SINKS[0].1, &service.url());
    daemon.send(events);
    let began = Instant::now();
    // Nothing was saved up meanwhile.
    buckets.lock().unwrap().fill(Bucket { tokens: 0.0, at: began });
    daemon.enable();
    daemon.wait_until_delivered();
    let took = began.elapsed().as_secs_f64();
    let least = events.len() as f64 / (SHARD_RECORDS * SHARDS as f64);
    let (requests, bytes) = service.taken();
    let sent: usize =
        requests.iter().map(|it| memmem::find_iter(it, b"\"PartitionKey\":").count()).sum();
    println!(
        "{} records into {SHARDS} shards: {took:.1} s, where the shards let them through in {least:.1} s: {:.2} times; {} requests, {:.2} sendings a record, {} MB",
        events.len(),
        took / least,
        requests.len(),
        sent as f64 / events.len() as f64,
        bytes / 1_000_000,
    );
}

/// What a shard still takes.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Whether one more record is taken; a second's worth is saved up at most.
    fn takes(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.at).as_secs_f64() * SHARD_RECORDS;
        *self = Bucket { tokens: (self.tokens + more).min(SHARD_RECORDS), at: now };
        let takes = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(takes));
        takes
    }
}

type Shards = Option<Arc<Mutex<Vec<Bucket>>>>;

/// A service of each kind, which counts what it gets.
struct Service {
    address: SocketAddr,
    /// The bodies with records, and the bytes of all requests with their heads.
    taken: Arc<Mutex<(Vec<Vec<u8>>, usize)>>,
}

impl Service {
    fn start(shards: Shards) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Service { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let taken = Arc::clone(&service.taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (taken, shards) = (Arc::clone(&taken), shards.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((head, body)) = read_message(&mut reader) {
                        let answer = answer(&head, &body, &shards);
                        let mut taken = taken.lock().unwrap();
                        taken.1 += head.len() + body.len();
                        taken.0.push(body);
                        drop(taken);
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nx-amzn-requestid: 1\r\ncontent-length: {}\r\n\r\n",
                            answer.len()
                        );
                        if reader.get_mut().write_all((head + &answer).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        service
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn taken(&self) -> (Vec<Vec<u8>>, usize) {
        let taken = self.taken.lock().unwrap();
        (taken.0.clone(), taken.1)
    }
}

fn answer(head: &str, body: &[u8], shards: &Shards) -> String {
    if head.contains("PutRecordBatch") {
        let count = memmem::find_iter(body, b"\"Data\":").count();
        let entries = vec![r#"{"RecordId":"1"}"#; count].join(",");
        return format!(r#"{{"FailedPutCount":0,"RequestResponses":[{entries}]}}"#);
    }
    if !head.contains("PutRecords") {
        return "{}".to_owned();
    }
    let name = b"\"PartitionKey\":";
    let mut failed = 0;
    let entries = memmem::find_iter(body, name).map(|at| {
        let key = &body[at + name.len() + 1..at + name.len() + 28];
        let hash = digest::digest(&digest::SHA256, key);
        let shard = usize::from(hash.as_ref()[0]) % SHARDS;
        let taken = shards.as_ref().is_none_or(|all| all.lock().unwrap()[shard].takes());
        failed += usize::from(!taken);
        match taken {
            true => format!(r#"{{"SequenceNumber":"1","ShardId":"shardId-00000000000{shard}"}}"#),
            false => format!(
                r#"{{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded for shard shardId-00000000000{shard} in stream s under account 123456789012."}}"#
            ),
        }
    });
    let entries = entries.collect::<Vec<_>>().join(",");
    format!(r#"{{"FailedRecordCount":{failed},"Records":[{entries}]}}"#)
}

/// The head and the body of a message of HTTP with a content-length.
fn read_message(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn settings(folder: &Path, target: &str, url: &str, enabled: bool) -> String {
    let auth =
        "{ creds: { aws_access_key_id: AKIAIOSFODNN7EXAMPLE, aws_secret_access_key: s3cret } }";
    let target = target.replace("URL", &format!("'{url}'")).replace("AUTH", auth);
    let text = format!(
        "data_dir: DIR/data\njournal: {{ durability: memory, max_bytes: 2GiB }}\ningest: {{ http: {{ listen: '127.0.0.1:0' }} }}\napi: {{ listen: '127.0.0.1:0' }}\ndestinations:\n  - {{ id: d, enabled: {enabled}, target: {{ {target} }} }}\nsubscriptions:\n  - id: s\n    sources:\n      - type: http_request_complete.v0\n        fields: [conn.client_ip, http.request.method, http.request.url.path, http.response.status_code]\n    destinations: [d]\n"
    );
    text.replace("DIR", folder.to_str().unwrap())
}

/// A daemon with one destination, which is off at first.
struct Daemon {
    child: Child,
    ingest: SocketAddr,
    api: SocketAddr,
    target: String,
    url: String,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(target: &str, url: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sluicegate.yaml");
        fs::write(&file, settings(folder.path(), target, url, false)).unwrap();
        let mut child = Command::new(SLUICEGATE)
            .args(["--log-format", "json", "run", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.contains("\"message\":\"ready\"")).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Daemon {
            child,
            ingest: address("ingest"),
            api: address("api"),
            target: target.to_owned(),
            url: url.to_owned(),
            folder,
        }
    }

    fn send(&self, events: &[String]) {
        let mut connection = BufReader::new(TcpStream::connect(self.ingest).unwrap());
        for body in events.chunks(1_000) {
            let body = body.join("\n");
            let head = format!(
                "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection.get_mut().write_all((head + &body).as_bytes()).unwrap();
            let (head, _) = read_message(&mut connection).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
    }

    fn enable(&mut self) {
        let text = settings(self.folder.path(), &self.target, &self.url, true);
        fs::write(self.folder.path().join("sluicegate.yaml"), text).unwrap();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    fn wait_until_delivered(&self) {
        loop {
            let mut connection = BufReader::new(TcpStream::connect(self.api).unwrap());
            connection.get_mut().write_all(b"GET /status HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            let (_, body) = read_message(&mut connection).unwrap();
            let status: Value = serde_json::from_slice(&body).unwrap();
            if status["destinations"][0]["pending_records"] == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processor's time that it has used; the system counts it in hundredths of a second.
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor's time that this thread has used, in seconds.
fn thread_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn generate(count: usize) -> Vec<String> {
    let output = Command::new(SLUICEGATE)
        .args(["generate", "--type", "http_request_complete.v0", "--seed", "1", "--count"])
        .arg(count.to_string())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
