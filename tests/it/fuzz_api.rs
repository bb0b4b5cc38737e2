//! Mutated requests to the control API of the real daemon: whatever comes, it answers in its own words and goes
//! on. Seeds and cases as in `fuzz.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::control::{Client, UNLIMITED};
use crate::fuzz::{Random, mutated, seeds};
use crate::support::daemon::Daemon;
use crate::support::http::request;

/// Cases where nothing else is asked for: a request or two each.
const CASES: u64 = 300;

/// The lists of the API with a body that makes one of each.
fn made() -> Vec<(&'static str, Value)> {
    let source = json!({
        "type": "http_request_complete.v0",
        "filter": "ev.http.response.status_code >= 500 && ev.http.request.url.path.matches('^/a')",
        "fields": ["http.request.method", "conn.client_ip"],
    });
    let callback = json!({"debug": {"callback_url": "http://127.0.0.1:9/x?secret=1"}});
    let kinesis = json!({"kinesis": {
        "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/a",
        "auth": {"creds": {"aws_access_key_id": "AKIATESTINGTESTING00", "aws_secret_access_key": "s"}},
    }});
    let sending = json!({
        "format": "json", "target": callback, "batch": {"max_records": 10, "linger": "1s"},
        "timeout": "5s", "overflow": "drop_oldest", "max_pending_bytes": "1MiB", "enabled": true,
    });
    vec![
        ("event_subscriptions", json!({"description": "d", "metadata": "m", "sources": [source]})),
        ("event_destinations", sending),
        ("event_destinations", json!({"format": "json", "target": kinesis})),
        ("ip_policies", json!({"description": "office"})),
        ("credentials", json!({"acl": ["bind:*.example.com", "bind:account:ac_1", "*"]})),
        ("service_users", json!({"name": "n", "active": true})),
        ("reserved_domains", json!({"domain": "a.example.com", "region": "us"})),
        (
            "filters/try",
            json!({"type": "http_request_complete.v0", "filter": source["filter"],
            "events": [{"event_type": "http_request_complete.v0", "object": {}}]}),
        ),
    ]
}

/// Queries of lists.
const QUERIES: [&str; 4] = [
    "limit=5&before_id=ipp_2abc",
    "filter=obj.description+%3D%3D+%22office%22",
    "filter=obj.created_at+%3C+timestamp(time.now).subtract(%227d%22)&limit=100",
    "filter=obj.acl.exists(x,+x.startsWith(%22bind%22))",
];

struct Asked<'d> {
    client: Client<'d>,
    bodies: Vec<String>,
    queries: Vec<String>,
}

impl Asked<'_> {
    /// Sends a request and looks at its answer; gives the id of what was made.
    fn ask(&self, line: &str, body: &[u8]) -> Option<String> {
        let bearer = format!("Bearer {}", self.client.key());
        let headers = [
            ("authorization", bearer.as_str()),
            ("ngrok-version", "2"),
            ("content-type", "application/json"),
        ];
        let answer = request(self.client.daemon.api, line, &headers, body);
        assert!(answer.status < 500, "{line} {}: {answer:?}", String::from_utf8_lossy(body));
        let said = if answer.body.is_empty() { Value::Null } else { answer.json() };
        assert!(answer.status < 400 || !said["msg"].as_str().unwrap_or_default().is_empty());
        said["id"].as_str().map(str::to_owned)
    }

    fn case(&self, seed: u64) {
        let mut random = Random::of(seed);
        let body = mutated(&self.bodies, &mut random);
        let all = made();
        let (path, _) = &all[random.below(all.len())];
        if random.below(4) == 0 {
            let query = mutated(&self.queries, &mut random);
            // Others are refused before anybody asks what they mean.
            let fits = |byte: &u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(byte);
            let query: String = query.into_iter().filter(fits).map(char::from).collect();
            self.ask(&format!("GET /{path}?{query}"), b"");
            return;
        }
        if let Some(id) = self.ask(&format!("POST /{path}"), &body) {
            let other = mutated(&self.bodies, &mut random);
            self.ask(&format!("PATCH /{path}/{id}"), &other);
            self.ask(&format!("DELETE /{path}/{id}"), b"");
        }
    }
}

#[test]
fn no_mutated_request_breaks_the_api() {
    let daemon = Daemon::start(UNLIMITED);
    let client = Client::new(&daemon);
    let bodies = made().iter().map(|(_, body)| body.to_string()).collect();
    let asked = Asked { client, bodies, queries: QUERIES.map(str::to_owned).to_vec() };
    for seed in seeds(CASES) {
        let case = AssertUnwindSafe(|| asked.case(seed));
        assert!(catch_unwind(case).is_ok(), "SLUICEGATE_FUZZ_SEED={seed} breaks it");
    }
    assert_eq!(daemon.status()["api"]["refused"]["ERR_SLUICEGATE_1355"], Value::Null);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
