//! The common log format and what grew out of it: what nginx's `combined` and Apache's formats share.
//!
//! ```text
//! [vhost[:port] ]client ident user [time] "request" status bytes[ "referer" "agent"[ more]]
//! ```
//!
//! A user's name may have spaces in it, so the time is looked for first.

use std::net::IpAddr;

use super::Misfit;
use super::entry::{Entry, Text};
use super::instant::Instant;
use super::line::{Escapes, Line, given, host_and_port};

/// Reads a line. `more` behind the agent is an `X-Forwarded-For` if it is one quoted list of addresses, as in
/// the format `main` of nginx's packages; anything else goes to `proxy.extra`.
pub(super) fn read<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    read_head(line, entry)?;
    let request = line.quoted(Escapes::Backslash, "the request in quotes")?;
    entry.set_request(request);
    entry.status = line.parsed("a status of three digits", status)?;
    entry.response_length = line.parsed("a number of bytes, or `-`", count)?;
    if line.rest().starts_with('"') {
        let referer = line.quoted(Escapes::Backslash, "the referer in quotes")?;
        entry.add_header("Referer", referer);
        let agent = line.quoted(Escapes::Backslash, "the agent in quotes")?;
        entry.user_agent = Some(agent).filter(|it| given(it).is_some());
    }
    read_more(line, entry)?;
    entry.is_escaped |= line.has_escaped_bytes;
    Ok(())
}

/// Who asked, and when.
fn read_head<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    let rest = line.rest();
    let Some(at) = start_of_time(rest) else {
        return line.misfit("a time such as `[10/Oct/2000:13:55:36 -0700]`");
    };
    let head = forwarded(&rest[..at], entry);
    let Some((first, after)) = head.split_once(' ') else {
        return line.misfit("a client, `-` and a user before the time");
    };
    let Some((second, user)) = after.split_once(' ') else {
        return line.misfit("a client, `-` and a user before the time");
    };
    let (client, user) = match user.split_once(' ') {
        // Four words: a virtual host stands before.
        Some((_ident, user)) if second != "-" && (!is_address(first) || is_address(second)) => {
            let (host, port) = host_and_port(first);
            entry.server_name = given(host).map(Text::from);
            entry.server_port = port;
            (second, user)
        }
        _ => (first, user),
    };
    if entry.client_ip.is_none() {
        entry.set_client(client);
    }
    entry.username = given(user).map(|it| line.undone(it, Escapes::Backslash));
    line.go_to(at + 1);
    let before = line.clone();
    let text = line.bracketed("a time in brackets")?;
    let time = Instant::of_common_log(text).or_else(|| Instant::of_rfc_3339(text));
    let Some(time) = time else {
        return before.misfit("a time such as `[10/Oct/2000:13:55:36 -0700]`");
    };
    entry.time = Some(time);
    Ok(())
}

/// Who is told to have asked, where a list of whom a request was forwarded for stands in the client's place: the
/// first of it.
fn forwarded<'l>(head: &'l str, entry: &mut Entry<'l>) -> &'l str {
    let mut end = 0;
    while let Some(length) = head[end..].find(' ').filter(|it| head[end..end + it].ends_with(',')) {
        end += length + 1;
    }
    let Some(last) = head[end..].find(' ').filter(|_| end > 0) else { return head };
    let list = &head[..end + last];
    if !list.split(", ").all(is_address) {
        return head;
    }
    entry.add_header("X-Forwarded-For", list);
    entry.set_client(list.split(',').next().unwrap_or_default());
    &head[end..]
}

fn is_address(word: &str) -> bool {
    word.parse::<IpAddr>().is_ok()
}

fn read_more<'l>(line: &mut Line<'l>, entry: &mut Entry<'l>) -> Result<(), Misfit> {
    if line.is_at_end() {
        return Ok(());
    }
    let more = line.rest();
    if more.starts_with('"') {
        let first = line.quoted(Escapes::Backslash, "a value in quotes")?;
        if first == "-" && line.is_at_end() {
            return Ok(());
        }
        if line.is_at_end() && first.split(',').all(|it| is_address(it.trim())) {
            entry.add_header("X-Forwarded-For", first);
            return Ok(());
        }
    }
    entry.extra = Some(more.into());
    Ok(())
}

/// Where ` [dd/` begins, or ` [yyyy-`.
pub(super) fn start_of_time(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'[', bytes).find_map(|at| {
        let digits = bytes[at + 1..].iter().take_while(|it| it.is_ascii_digit()).count();
        let is_date =
            matches!((digits, bytes.get(at + 1 + digits)), (2, Some(b'/')) | (4, Some(b'-')));
        (is_date && at > 0 && bytes[at - 1] == b' ').then(|| at - 1)
    })
}

/// A status, or none for `-` and `000`.
pub(super) fn status(word: &str) -> Option<Option<u64>> {
    if word == "-" {
        return Some(None);
    }
    let is_status = word.len() == 3 && word.bytes().all(|it| it.is_ascii_digit());
    is_status.then(|| word.parse().ok().filter(|it| *it > 0))
}

/// A count, or none for `-`.
pub(super) fn count(word: &str) -> Option<Option<u64>> {
    if word == "-" {
        return Some(None);
    }
    let all_digits = word.bytes().all(|it| it.is_ascii_digit());
    all_digits.then(|| word.parse().ok()).map(|it| it.filter(|it| *it <= i64::MAX as u64))
}
