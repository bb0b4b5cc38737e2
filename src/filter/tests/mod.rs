//! Tests of the filter language as a whole; those of its parts stand beside them.

mod book;
mod differential;
mod doubles;
mod events;
mod index;
mod language;
mod limits;
mod mistakes;
mod neighbours;

use std::sync::Arc;

use crate::event::{Class, Event, EventType, Field, FieldType, SlotPlan, Slots, Timestamp};

use super::{CheckedFilter, EvalError, check};

/// An event type from lines of a name and a type.
fn event_type(name: &str, fields: &str) -> Arc<EventType> {
    let field = |line: &str| {
        let (name, field_type) = line.trim().split_once(' ').unwrap();
        Field {
            name: name.to_owned(),
            field_type: FieldType::parse(field_type).unwrap(),
            description: String::new(),
        }
    };
    Arc::new(EventType {
        name: name.to_owned(),
        class: Class::Traffic,
        description: String::new(),
        fields: fields.lines().filter(|line| !line.trim().is_empty()).map(field).collect(),
    })
}

/// A part of the type that most filters are for.
pub(super) fn http() -> Arc<EventType> {
    event_type(
        "http_request_complete.v0",
        "backend.connection_reused bool
        conn.client_ip string
        conn.server_ip string
        conn.server_name string
        conn.server_port int
        conn.start_ts timestamp
        http.request.body_length int
        http.request.headers map(string, list(string))
        http.request.method string
        http.request.url.host string
        http.request.url.path string
        http.request.user_agent string
        http.response.headers map(string, list(string))
        http.response.status_code int
        ja4_fingerprint string
        oauth.user.id string
        tls.version string
        traffic_policy.logs list(map(string, dyn))
        load double
        waited duration
        anything dyn",
    )
}

/// What a filter says of an event with this object.
pub(super) fn run(filter: &CheckedFilter, object: &str) -> Result<bool, EvalError> {
    let text = format!(
        r#"{{"event_id":"ev_1","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z",
            "principal":{{"subject":"ada@example.net"}},"object":{object}}}"#
    );
    let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
    let mut plan = SlotPlan::default();
    let program = filter.compile(&mut plan);
    let mut slots = Slots::new();
    plan.extract(&event, &mut slots);
    let result = program.matches(&slots);
    let generally = program.matches_generally(&filter.expression, &slots);
    assert_eq!(result.is_ok(), generally.is_ok(), "{}: {result:?}, {generally:?}", filter.text());
    if let (Ok(result), Ok(generally)) = (&result, generally) {
        assert_eq!(*result, generally, "{}", filter.text());
    }
    result
}

/// The same for the text of a filter on [`http`], as `true`, `false` or the error's message.
fn says(text: &str, object: &str) -> String {
    let filter = check(text, &http()).unwrap_or_else(|error| panic!("{error}"));
    run(&filter, object).map_or_else(|error| error.to_string(), |result| result.to_string())
}
