//! Tests of arguments: what is typed becomes which request, and what is refused before anything is
//! sent.

use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use super::*;
use crate::cli::{Arguments, Command as Line, Failure};

/// The request of a command line, or what is said of it.
fn request(line: &[&str]) -> Result<Request, String> {
    let words = ["sluicegate", "api"].iter().chain(line);
    let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
    let Line::Api(api) = arguments.command else { return Err("another command".to_owned()) };
    let request = match api.call {
        Call::Resource(spec, verb) => Request::of_resource(spec, verb),
        Call::Sources(sources) => Request::of_source(sources),
        Call::TryFilter(trial) => Ok(Request::of_trial(trial)),
        Call::TestEvent(item) | Call::Status(item) => Ok(Request::get(item.id)),
    };
    request.map_err(|failure| match failure {
        Failure::Usage(message) => message,
        other => format!("{other:?}"),
    })
}

fn asked(line: &[&str]) -> (String, Value) {
    let request = request(line).unwrap();
    (format!("{} {}", request.method, request.path), request.body.unwrap_or_default())
}

#[test]
fn the_commands_hold_together() {
    Arguments::command().debug_assert();
}

#[test]
fn every_kind_of_the_table_has_its_commands() {
    for spec in &KINDS {
        for name in [spec.path.to_owned(), command_name(spec)] {
            let at = format!("/{}", spec.path);
            assert_eq!(asked(&[&name, "list"]).0, format!("GET {at}"));
            assert_eq!(asked(&[&name, "get", "a/b"]).0, format!("GET {at}/a%2Fb"));
            assert_eq!(asked(&[&name, "create"]), (format!("POST {at}"), json!({})));
            assert_eq!(asked(&[&name, "update", "x"]), (format!("PATCH {at}/x"), json!({})));
            assert_eq!(asked(&[&name, "delete", "x"]).0, format!("DELETE {at}/x"));
        }
    }
    assert!(request(&["ip-policies", "test", "x"]).is_err(), "only destinations can be tested");
    assert!(request(&["ip-polices", "list"]).unwrap_err().contains("ip-policies"));
}

#[test]
fn a_value_is_text_or_json_by_the_table() {
    let line = ["ip-restrictions", "create", "type=api", "enforced=true", "description=true"];
    let (_, body) = asked(&[&line[..], &["ip-policy-ids=[\"ipp_1\"]"]].concat());
    let expected =
        json!({"type": "api", "enforced": true, "description": "true", "ip_policy_ids": ["ipp_1"]});
    assert_eq!(body, expected);
    let data = ["--data", r#"{"description": "a", "metadata": "m"}"#];
    let (_, body) = asked(&[&["ip-policies", "create", "description=a=b"], &data[..]].concat());
    assert_eq!(body, json!({"description": "a=b", "metadata": "m"}));
}

#[test]
fn a_wrong_field_is_told_before_anything_is_sent() {
    let refused = |line: &[&str]| request(line).unwrap_err();
    let said = refused(&["ip-policies", "create", "descripton=x"]);
    assert!(said.starts_with("no field `descripton`, did you mean `description`?"), "{said}");
    let said = refused(&["ip-policies", "create", "--data", r#"{"metdata": ""}"#]);
    assert!(said.contains("did you mean `metadata`?"), "{said}");
    let said = refused(&["api-keys", "create", "token=x"]);
    assert_eq!(said, "`token` is set by the daemon");
    let said = refused(&["ip-restrictions", "update", "x", "type=api"]);
    assert_eq!(said, "`type` is set when it is made and cannot be changed");
    let said = refused(&["bot-users", "update", "x", "active=yes"]);
    assert_eq!(said, "`active` must be JSON such as true, not `yes`");
    let said = refused(&["credentials", "create", r#"acl="*""#]);
    assert!(said.starts_with("`acl` must be JSON such as [\"bind:tcp_*\"]"), "{said}");
    let said = refused(&["ip-policies", "create", "metadata=a", "metadata=b"]);
    assert_eq!(said, "`metadata` is given twice");
    assert_eq!(
        refused(&["ip-policies", "create", "metadata"]),
        "`metadata` is not of the form FIELD=VALUE"
    );
    assert_eq!(
        refused(&["ip-policies", "create", "--data", "[]"]),
        "`--data` must be a JSON object"
    );
    assert!(refused(&["ip-policies", "create", "--data", "{"]).contains("is no JSON"));
}

#[test]
fn a_list_asks_for_no_more_than_is_wanted() {
    let shown = |line: &[&str]| match request(line).unwrap().shown {
        Shown::List { query, most, .. } => (query, most),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&["credentials", "list"]), ("limit=100".to_owned(), usize::MAX));
    let line = ["credentials", "list", "--limit", "3", "--filter", "obj.id == 'x'"];
    assert_eq!(shown(&line), ("limit=3&filter=obj.id%20%3D%3D%20%27x%27".to_owned(), 3));
    assert!(request(&["credentials", "list", "--limit", "0"]).is_err());
}

#[test]
fn sources_and_trials_have_their_own_places() {
    let at = "/event_subscriptions/esb_1/sources";
    assert_eq!(asked(&["sources", "esb_1", "list"]).0, format!("GET {at}"));
    let (line, body) = asked(&["sources", "esb_1", "create", "x.v0", "fields=[\"a\"]"]);
    assert_eq!((line, body), (format!("POST {at}"), json!({"type": "x.v0", "fields": ["a"]})));
    let (line, body) = asked(&["sources", "esb_1", "update", "x.v0", "filter=ev.a == 1"]);
    assert_eq!((line, body), (format!("PATCH {at}/x.v0"), json!({"filter": "ev.a == 1"})));
    assert_eq!(asked(&["sources", "esb_1", "delete", "x.v0"]).0, format!("DELETE {at}/x.v0"));
    let (line, body) = asked(&["try-filter", "--type", "x.v0", "true", "--last", "5"]);
    assert_eq!(line, "POST /filters/try");
    assert_eq!(body, json!({"type": "x.v0", "filter": "true", "last": 5}));
}

#[test]
fn options_may_stand_anywhere() {
    let words = ["sluicegate", "api", "ip-policies", "list", "--api", "http://h", "-o", "json"];
    let Line::Api(api) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
    assert_eq!(api.options.access.given(), Some("http://h"));
    assert_eq!(api.options.output, OutputFormat::Json);
}
