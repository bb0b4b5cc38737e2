//! Values with names that stand behind the agent of the combined format: `request_time=0.003 us="200"`.
//!
//! They are called like nginx's variables, and those that nginx's own examples use by short names are known too.
//! All of what stands there is told as it stands as well.

use std::net::SocketAddr;

use super::entry::Entry;
use super::instant::Span;
use super::line::given;

/// What nginx's own examples call some variables behind the agent.
const SHORT_NAMES: [(&str, &str); 6] = [
    ("rt", "request_time"),
    ("ua", "upstream_addr"),
    ("uct", "upstream_connect_time"),
    ("uht", "upstream_header_time"),
    ("us", "upstream_status"),
    ("sn", "server_name"),
];

/// Takes what is well known of the named values of a text.
pub(super) fn read_named(text: &str, entry: &mut Entry<'_>) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.rsplit(' ').next().unwrap_or_default();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        rest = behind;
        let name = SHORT_NAMES.iter().find(|it| it.0 == name).map_or(name, |it| it.1);
        if given(value).is_some() {
            read_value(name, value, entry);
        }
    }
}

fn read_value(name: &str, value: &str, entry: &mut Entry<'_>) {
    let count = || value.parse::<u64>().ok().filter(|it| *it <= i64::MAX as u64);
    let span = |exponent| Span::of(last(value), exponent);
    match name {
        "request_time" => entry.duration = span(9),
        "request_time_ms" => entry.duration = span(6),
        "request_time_us" => entry.duration = span(3),
        "request_length" => entry.bytes_in = count(),
        "bytes_sent" => entry.bytes_out = count(),
        "remote_port" => entry.client_port = count(),
        "server_name" if entry.server_name.is_none() => {
            entry.server_name = Some(value.to_owned().into());
        }
        "upstream_addr" if is_address(last(value)) => set_upstream(value, entry),
        "upstream_status" => entry.upstream_status = last(value).parse().ok(),
        "upstream_connect_time" => entry.connect = span(9),
        "upstream_header_time" => entry.first_byte = span(9),
        _ => {}
    }
}

/// Takes the addresses of upstreams that were asked one after the other.
pub(super) fn set_upstream(list: &str, entry: &mut Entry<'_>) {
    let before = list.matches(", ").count() + list.matches(" : ").count();
    entry.retries = Some(before as u64);
    entry.upstream = Some(last(list).to_owned().into());
}

/// Others call the client's agent `ua`.
fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok() || text.starts_with("unix:")
}

/// Of several upstreams that were asked one after the other, the last one's value.
pub(super) fn last(list: &str) -> &str {
    let after = |separator| list.rfind(separator).map_or(0, |at: usize| at + 2);
    let colon = list.rfind(" : ").map_or(0, |at| at + 3);
    &list[after(", ").max(colon)..]
}
