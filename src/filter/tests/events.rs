//! What filters say of events: presence, absence, types, the envelope, headers and logs.

use super::super::*;
use super::{event_type, http, run, says};

const EVENT: &str = r#"{
    "backend":{"connection_reused":true},
    "conn":{"client_ip":"203.0.113.9","server_name":"app.ex\u0061mple.net","server_port":443,
            "start_ts":"2025-09-04T10:11:13.5Z"},
    "http":{"request":{"headers":{"Host":["app.example.net"],"X-Odd":7},"method":"GET",
                       "url":{"path":"/v1/items"}},
            "response":{"status_code":503}},
    "traffic_policy":{"logs":[{"metadata":{"message":"hit","count":3}}]},
    "load":1,"waited":"1.5s","anything":{"deep":[1,2.5,18446744073709551615,null]}
}"#;

#[test]
fn an_event_is_asked_in_its_own_words() {
    for text in [
        "ev.conn.client_ip == '203.0.113.9'",
        "ev.conn.server_name == 'app.example.net'",
        "ev.conn.server_name.endsWith('.net') && ev.conn.server_name.contains('exa')",
        "ev.conn.client_ip in ['198.51.100.4', '203.0.113.9']",
        "ev.conn.client_ip.startsWith('203.0.113.')",
        "ev.conn.client_ip.matches(r'^203\\.0\\.\\d+\\.9$')",
        "matches(ev.conn.client_ip, '9$')",
        "ev.conn.server_port >= 443 && 444 > ev.conn.server_port",
        "ev.http.response.status_code in [502, 503]",
        "ev.http.response.status_code / 100 == 5",
        "ev.backend.connection_reused",
        "!(ev.backend.connection_reused && ev.tls.version == '1.3')",
        "ev.http.request.headers['Host'][0] == 'app.example.net'",
        "ev.http.request.headers.Host == ['app.example.net']",
        "'Host' in ev.http.request.headers && !('Accept' in ev.http.request.headers)",
        "has(ev.http.request.headers.Host) && !has(ev.http.request.headers.Accept)",
        "has(ev.http.request.headers.`X-Odd`)",
        "ev.http.request.headers.exists(name, name == 'Host')",
        "ev.traffic_policy.logs.exists(l, l.metadata.message == 'hit')",
        "ev.traffic_policy.logs.all(l, l.metadata.count > 2)",
        "size(ev.traffic_policy.logs) == 1",
        "ev.conn.start_ts < event.event_timestamp",
        "ev.conn.start_ts >= timestamp('2025-09-04T10:11:13Z')",
        "event.event_timestamp - ev.conn.start_ts == duration('500ms')",
        "ev.conn.start_ts.getHours('Europe/Berlin') == 12",
        "ev.conn.start_ts.getDayOfWeek() == 4",
        "ev.load == 1.0 && ev.load * 2.0 > 1.5",
        "ev.waited > duration('1s')",
        "ev.anything.deep[0] == 1 && ev.anything.deep[1] == 2.5 && ev.anything.deep[3] == null",
        "ev.anything.deep[2] == 18446744073709551615u",
        "event.event_id == 'ev_1' && event.event_type == 'http_request_complete.v0'",
        "event.principal.subject.endsWith('@example.net') && has(event.principal)",
        "ev.http.response.status_code < 500 ? false : ev.conn.server_port == 443",
        "ev.conn.client_ip + ':' + string(ev.conn.server_port) == '203.0.113.9:443'",
    ] {
        assert_eq!(says(text, EVENT), "true", "{text}");
    }
}

#[test]
fn what_is_absent_or_null_has_its_types_zero() {
    let null = r#"{"conn":{"client_ip":null,"server_port":null,"start_ts":null},"oauth":null}"#;
    for object in ["{}", null, r#"{"conn":null}"#] {
        for text in [
            "ev.conn.client_ip == '' && ev.oauth.user.id == ''",
            "ev.conn.client_ip != 'a'",
            "ev.conn.server_port == 0 && ev.load == 0.0",
            "!ev.backend.connection_reused",
            "ev.http.request.headers == {} && ev.traffic_policy.logs == []",
            "ev.conn.start_ts == null && ev.waited == null && ev.anything == null",
            "!has(ev.conn.client_ip) && !has(ev.conn.start_ts) && !has(ev.oauth)",
            "event.account_id == '' && !has(event.account_id)",
            "event.principal.credential.id == ''",
        ] {
            assert_eq!(says(text, object), "true", "{text} on {object}");
        }
    }
}

#[test]
fn an_error_is_told_and_absorbed_as_cel_does() {
    for (text, said) in [
        ("ev.http.request.headers['Accept'][0] == ''", "no such key `Accept`"),
        ("ev.http.request.headers.Host[1] == ''", "no such index 1"),
        ("ev.conn.server_port / 0 == 1", "division by zero"),
        ("ev.conn.server_port + 9223372036854775807 > 0", "result of `+` is out of range"),
        ("ev.anything.deep[9] == 1 || ev.conn.server_port == 443", "true"),
        ("ev.anything.deep[9] == 1 && ev.conn.server_port == 1", "false"),
        ("ev.anything.deep[9] == 1 && ev.conn.server_port == 443", "no such index 9"),
        ("ev.anything.deep.x == 1", "`field selection` cannot take list"),
        ("ev.anything", "`a condition` cannot take map"),
        (
            "ev.tls.version.matches(ev.conn.client_ip + '(')",
            "bad regular expression: unclosed group",
        ),
        ("int(ev.conn.client_ip) == 1", "`203.0.113.9` is no int"),
    ] {
        assert_eq!(says(text, EVENT), said, "{text}");
    }
    for text in ["ev.conn.start_ts > event.event_timestamp", "ev.waited < duration('1s')"] {
        assert!(says(text, "{}").contains("cannot take null_type and"), "{text}");
    }
}

#[test]
fn json_of_another_type_is_an_error_and_never_coerced() {
    for (text, object, said) in [
        (
            "ev.conn.server_port == 0",
            r#"{"conn":{"server_port":""}}"#,
            "field `ev.conn.server_port` is not the int it is declared to be",
        ),
        ("ev.conn.server_port == 443", r#"{"conn":{"server_port":443.0}}"#, "true"),
        ("ev.conn.server_port == 443", r#"{"conn":{"server_port":4.43e2}}"#, "true"),
        (
            "ev.conn.server_port == 443",
            r#"{"conn":{"server_port":443.5}}"#,
            "field `ev.conn.server_port` is not the int it is declared to be",
        ),
        (
            "ev.conn.client_ip == ''",
            r#"{"conn":5}"#,
            "field `ev.conn.client_ip` is not the string it is declared to be",
        ),
        (
            "has(ev.conn.client_ip)",
            r#"{"conn":[]}"#,
            "field `ev.conn.client_ip` is not the string it is declared to be",
        ),
        (
            "ev.conn.start_ts == null",
            r#"{"conn":{"start_ts":"yesterday"}}"#,
            "field `ev.conn.start_ts` is not the timestamp it is declared to be",
        ),
        (
            "ev.traffic_policy.logs == []",
            r#"{"traffic_policy":{"logs":{}}}"#,
            "field `ev.traffic_policy.logs` is not the list(map(string, dyn)) it is declared to be",
        ),
        (
            "ev.backend.connection_reused",
            r#"{"backend":{"connection_reused":"true"}}"#,
            "field `ev.backend.connection_reused` is not the bool it is declared to be",
        ),
        // Inside a container the JSON wins: one odd item does not spoil the others.
        ("dyn(ev.http.request.headers['X-Odd']) == 7", EVENT, "true"),
        ("ev.http.request.headers['X-Odd'].exists(v, v == '')", EVENT, "`exists` cannot take int"),
    ] {
        assert_eq!(says(text, object), said, "{text} on {object}");
    }
}

#[test]
fn types_that_users_declare_are_filtered_alike() {
    let custom = event_type("order.v0", "order.total int\norder.items list(int)");
    let filter = check("ev.order.items.exists(i, i > ev.order.total)", &custom).unwrap();
    assert_eq!(run(&filter, r#"{"order":{"total":1.0,"items":[1,2.0]}}"#), Ok(true));
    assert_eq!(run(&filter, r#"{"order":{"total":3,"items":[1,2]}}"#), Ok(false));
}

#[test]
fn the_same_field_is_one_slot_for_all_filters() {
    let mut plan = SlotPlan::default();
    for text in ["ev.conn.client_ip == 'a' && ev.conn.client_ip != 'b'", "has(ev.conn.client_ip)"] {
        check(text, &http()).unwrap().compile(&mut plan);
    }
    assert_eq!(plan.len(), 1);
}

#[test]
fn filters_and_programs_may_go_to_any_thread() {
    fn threads<T: Send + Sync>() {}
    threads::<CheckedFilter>();
    threads::<Program>();
    threads::<FilterError>();
    threads::<EvalError>();
}
