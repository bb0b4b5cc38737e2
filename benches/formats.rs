//! How fast log lines become events: `cargo bench --bench formats`.
//!
//! For each format the lines a second on one core and the nanoseconds a line, the least of several rounds,
//! beside what it takes to read the same bytes once (to find the line ends and check that they are UTF-8).
//! The lines are the format's samples over and over, with numbers that differ; a round is short, so that some
//! rounds are undisturbed on a busy machine too.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sluicegate::config::{self, Config, Document};
use sluicegate::formats::{Format, Stamp};

/// A format that is mapped: that of docs/entrances/json.md.
const MAPPED: &str = r#"
formats:
  - name: mapped
    json:
      type: http_request_complete.v0
      event_timestamp: time
      fields:
        conn.client_ip: client
        http.request.method: req.method
        http.request.url.raw: req.uri
        http.request.headers: req.headers
        http.response.status_code: { path: status, required: true }
        http.response.body_length: bytes
        proxy.duration_ms: { path: took, unit: s }
        proxy.upstream: /upstream.addrs/0
"#;

/// A line of it.
const LINE: &str = r#"{"time":1795708487.97,"client":"127.0.0.1","req":{"method":"POST","uri":"https://shop.example/orders?page=2","headers":{"accept":"Text/HTML"}},"status":"502","bytes":157,"took":0.0415,"upstream.addrs":["10.0.0.1:80"]}"#;

const LINES: usize = 1_000;
const ROUNDS: usize = 201;

fn main() {
    println!("{LINES} lines, one core, least of {ROUNDS} rounds");
    println!("{:>10} {:>9} {:>9} {:>11} {:>9}", "format", "bytes", "ns/line", "lines/s", "ns read");
    for format in Format::all() {
        // The plain form of nginx's lines, which most people have, by itself.
        let samples: Vec<&str> = format.samples().collect();
        measure(&format, format.name(), &samples);
        if format.name() == "nginx" {
            measure(&format, "combined", &samples[..1]);
        }
    }
    let format = config::Format::Yaml;
    let document = Document::parse("s.yaml", MAPPED.to_owned(), format, &|_| None).unwrap();
    let formats = Config::read(&document).unwrap().formats;
    measure(&formats.find("mapped").unwrap(), "mapped", &[LINE]);
}

fn measure(format: &Format, name: &str, samples: &[&str]) {
    let mut text = String::new();
    for at in 0..LINES {
        text.push_str(
            &samples[at % samples.len()]
                .replace("127.0.0.1", &format!("10.0.{}.{}", at / 250 % 250, at % 250)),
        );
        text.push('\n');
    }
    let read = least(|| {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).count();
        black_box((ends, str::from_utf8(black_box(text.as_bytes())).unwrap()));
    });
    let mut out = String::new();
    let convert = least(|| {
        out.clear();
        for line in text.as_bytes().split(|byte| *byte == b'\n').filter(|it| !it.is_empty()) {
            format.convert(line, Stamp::default(), &mut out).unwrap();
        }
        black_box(&out);
    });
    println!(
        "{name:>10} {:>9} {convert:>9} {:>11} {read:>9}",
        text.len() / LINES,
        1_000_000_000 / convert.max(1)
    );
}

/// The least time of several rounds, in nanoseconds per line.
fn least(mut round: impl FnMut()) -> u128 {
    let once = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    let least = (0..ROUNDS).map(once).min().unwrap_or(Duration::ZERO);
    least.as_nanos() / LINES as u128
}
