//! The filters that are measured, each by the name that `benches/README.md` gives it, and the events.

use std::sync::Arc;

use sluicegate::event::{EventType, Timestamp};
use sluicegate::generate::Generator;

/// The type of the events.
pub const TYPE: &str = "http_request_complete.v0";

const STATUS_OR_PATH: &str = r#"ev.http.response.status_code >= 500 || (ev.http.request.method == "post" && ev.http.request.url.path.startsWith("/api/"))"#;
const REGEX: &str = r#"ev.http.request.user_agent.matches("(?i)curl|wget|bot\\b")"#;

/// Private and shared networks, and one of those that the events come from.
const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "198.51.100.0/24",
    "fd00::/8",
    "192.0.2.0/24",
];

/// Lines with one generated event each, always the same.
pub fn events(event_type: &Arc<EventType>, count: usize) -> Vec<String> {
    let start = Timestamp::parse("2025-09-04T10:00:00Z").expect("it is a timestamp");
    let mut generator = Generator::new(event_type, 1, start);
    let mut line = || {
        let mut line = String::new();
        generator.next_event(&mut line);
        line
    };
    (0..count).map(|_| line()).collect()
}

/// Names with their expressions.
pub fn filters(events: &[String]) -> Vec<(&'static str, String)> {
    let networks: Vec<String> = NETWORKS
        .iter()
        .map(|network| format!("cidr('{network}').containsIP(ev.conn.client_ip)"))
        .collect();
    vec![
        ("status or path", STATUS_OR_PATH.to_owned()),
        ("regex", REGEX.to_owned()),
        ("8 networks", networks.join(" || ")),
        ("50 hosts", format!("ev.conn.server_name in [{}]", hosts(events).join(", "))),
    ]
}

/// The hosts of every twentieth event, fifty of them, in quotes.
fn hosts(events: &[String]) -> Vec<String> {
    let host = |line: &String| {
        let (_, after) = line.split_once("\"server_name\":\"")?;
        Some(format!("'{}'", after.split('"').next()?))
    };
    events.iter().step_by(20).filter_map(host).take(50).collect()
}
