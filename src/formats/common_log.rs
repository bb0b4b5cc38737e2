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
    let mut head = &rest[..at];
    let Some(client) = read_client(&mut head, entry) else {
        return line.misfit("a client, `-` and a user before the time");
    };
    let Some((_ident, user)) = head.split_once(' ') else {
        return line.misfit("a client, `-` and a user before the time");
    };
    entry.set_client(client);
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

/// The client, stepped over with what stands before it: a virtual host, or whom the request was forwarded for. The
/// first of those is the client where no other is told.
fn read_client<'l>(head: &mut &'l str, entry: &mut Entry<'l>) -> Option<&'l str> {
    let first = token(head)?;
    let mut client = first;
    if !is_list(first) {
        let mut behind = *head;
        let second = token(&mut behind)?;
        // A virtual host: four words, the last of which may have more words in it.
        let is_host = behind.contains(' ')
            && second != "-"
            && (!is_address(first) || is_address(second) || is_list(second));
        if is_host {
            let (host, port) = host_and_port(first);
            entry.server_name = given(host).map(Text::from);
            entry.server_port = port;
            (client, *head) = (second, behind);
        }
    }
    if is_list(client) {
        let list = client.trim_matches('"');
        entry.add_header("X-Forwarded-For", list);
        client = list.split(',').next().unwrap_or_default();
        let mut behind = *head;
        if let Some(own) = token(&mut behind).filter(|it| is_address(it)) {
            (client, *head) = (own, behind);
        }
    }
    Some(client)
}

/// The next word and the space behind it; what stands in quotes, and addresses with commas between, are one.
fn token<'l>(rest: &mut &'l str) -> Option<&'l str> {
    let whole = *rest;
    let mut end = match whole.strip_prefix('"') {
        Some(quoted) => quoted.find('"')? + 2,
        None => whole.find(' ')?,
    };
    while whole[..end].ends_with(',') {
        end += 1 + whole[end + 1..].find(' ')?;
    }
    *rest = whole[end..].strip_prefix(' ')?;
    Some(&whole[..end])
}

fn is_list(token: &str) -> bool {
    token.starts_with('"') || token.contains(", ")
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
