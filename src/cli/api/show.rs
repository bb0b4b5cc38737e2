//! Answers of the API for people: lists as tables, a resource as lines.
//!
//! Texts come from others, so nothing in them reaches the terminal as a command to it.

use std::io;

use serde_json::{Map, Value};

use super::super::table::table;
use crate::control::Kind;
use crate::report::{counted, escaped};

/// Most characters of a cell in a list; `get` shows the whole.
const MAX_CELL: usize = 64;

/// The columns of a source.
pub(super) const SOURCE_COLUMNS: &[&str] = &["type", "filter", "fields"];

/// The columns of a kind's list, as answers name them.
pub(super) fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::EventSubscription => {
            &["id", "description", "sources", "destinations", "managed_by", "created_at"]
        }
        Kind::EventDestination => &["id", "description", "target", "managed_by", "created_at"],
        Kind::ApiKey => &["id", "description", "owner_id", "created_at"],
        Kind::ServiceUser => &["id", "name", "active", "created_at"],
        Kind::Credential => &["id", "description", "acl", "owner_id", "created_at"],
        Kind::IpPolicy => &["id", "description", "created_at"],
        Kind::IpPolicyRule => &["id", "description", "action", "cidr", "ip_policy", "created_at"],
        Kind::IpRestriction => {
            &["id", "description", "type", "enforced", "ip_policies", "created_at"]
        }
        Kind::AgentIngress => &["id", "description", "domain", "created_at"],
        Kind::ReservedDomain => &["id", "description", "domain", "region", "created_at"],
        Kind::ReservedAddr => &["id", "description", "addr", "region", "created_at"],
    }
}

/// A list: a line of names, then a line for each.
pub(super) fn list(out: &mut impl io::Write, names: &[&str], items: &[Value]) -> io::Result<()> {
    let head = names.iter().map(|&name| name.to_owned()).collect();
    let row = |item: &Value| names.iter().map(|&name| cut(cell(&item[name]))).collect();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(items.iter().map(row)).collect();
    out.write_all(table(&rows, 0).as_bytes())
}

/// A resource: a line for each field that holds something.
pub(super) fn one(out: &mut impl io::Write, resource: &Value) -> io::Result<()> {
    let none = Map::new();
    let members = resource.as_object().unwrap_or(&none);
    // The id first, whatever order the answer has.
    let (id, rest): (Vec<_>, Vec<_>) = members.iter().partition(|(name, _)| *name == "id");
    let mut rows = Vec::new();
    for (name, value) in id.into_iter().chain(rest) {
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::Array(list) if list.is_empty() => continue,
            Value::String(text) => text.clone(),
            other => without_nulls(other).to_string(),
        };
        rows.push(vec![name.clone(), text]);
    }
    out.write_all(table(&rows, 0).as_bytes())
}

/// An object without its empty members: a target names every service there is.
fn without_nulls(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let held = members.iter().filter(|(_, member)| !member.is_null());
    held.map(|(name, member)| (name.clone(), without_nulls(member))).collect()
}

/// What a filter did, as a whole and term by term.
pub(super) fn trial(out: &mut impl io::Write, answer: &Value) -> io::Result<()> {
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let (seen, matched, errors) = (number("seen"), number("matched"), number("errors"));
    let (events, errors) = (counted(seen, "event"), counted(errors, "filter error"));
    writeln!(out, "{matched} of {events} match, {errors}")?;
    if let Some(error) = answer["last_error"].as_str() {
        writeln!(out, "last error: {}", escaped(error))?;
    }
    match answer["terms"].as_array() {
        Some(terms) if !terms.is_empty() => {
            writeln!(out, "\nwhat decided:")?;
            list(out, &["term", "true", "false", "errors"], terms)
        }
        _ => Ok(()),
    }
}

/// A value in few words.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => escaped(text).into_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(members) => object(members),
        other => escaped(&other.to_string()).into_owned(),
    }
}

/// An object by what names it: a reference's id, a source's type, or a target's service and place.
fn object(members: &Map<String, Value>) -> String {
    if let Some(name) = ["id", "type", "value"].iter().find_map(|it| members.get(*it)) {
        return cell(name);
    }
    let Some((service, inner)) = members.iter().find(|(_, inner)| !inner.is_null()) else {
        return "-".to_owned();
    };
    let place = |name: &str| {
        let ends = ["_arn", "path", "uri", "url"].iter().any(|end| name.ends_with(end));
        ends && name != "endpoint_url"
    };
    let inner = inner.as_object().into_iter().flatten();
    let place = inner.filter(|(name, _)| place(name)).find_map(|(_, value)| value.as_str());
    match place {
        Some(place) => format!("{} {}", escaped(service), escaped(place)),
        None => escaped(service).into_owned(),
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CELL) {
        None => text,
        Some(_) => text.chars().take(MAX_CELL - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_names_what_is_inside() {
        let items = [
            json!({"id": "ed_1", "description": "büro", "created_at": "t",
                "target": {"kinesis": {"auth": {}, "endpoint_url": "http://h", "stream_arn": "arn:s"}, "debug": null}}),
            json!({"id": "ed_22", "description": "", "created_at": "t", "target": {"debug": {"log": true}}}),
        ];
        let names = ["id", "description", "target", "created_at"];
        assert_eq!(
            printed(|out| list(out, &names, &items)),
            "id     description  target         created_at\n\
             ed_1   büro         kinesis arn:s  t\n\
             ed_22  -            debug          t\n"
        );
        assert_eq!(cell(&json!([{"id": "a", "uri": "x"}, {"type": "b"}])), "a,b");
        assert_eq!(cell(&json!(false)), "false");
        let long = cut("x".repeat(100));
        assert!(long.chars().count() == MAX_CELL && long.ends_with('…'), "{long}");
    }

    #[test]
    fn a_resource_shows_what_it_holds_and_cannot_command_the_terminal() {
        let resource = json!({"acl": [], "description": "a\u{1b}[2Jb", "id": "cr_1", "token": null,
            "list": ["\u{1b}"], "target": {"debug": {"log": true, "callback_url": null}, "kinesis": null}});
        assert_eq!(
            printed(|out| one(out, &resource)),
            "id           cr_1\ndescription  a\\u{1b}[2Jb\nlist         [\"\\u001b\"]\n\
             target       {\"debug\":{\"log\":true}}\n"
        );
    }
}
