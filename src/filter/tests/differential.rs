//! The slot tests and the general evaluator say the same of every event.

use proptest::prelude::*;

use super::super::*;
use super::{http, run};

/// Conditions of the shapes that become slot tests.
pub(super) fn fast() -> impl Strategy<Value = String> {
    let text =
        prop_oneof![Just("ev.conn.client_ip"), Just("ev.tls.version"), Just("event.event_id")];
    let number = prop_oneof![Just("ev.conn.server_port"), Just("ev.http.request.body_length")];
    let comparison = proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let literal = proptest::sample::select(vec!["''", "'a'", "'b'", "'\\n'", "'ev_1'", "'é'"]);
    let test = proptest::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]);
    let leaf = prop_oneof![
        (text.clone(), comparison.clone(), literal.clone())
            .prop_map(|(field, operator, literal)| format!("{field} {operator} {literal}")),
        (literal.clone(), comparison.clone(), text.clone())
            .prop_map(|(literal, operator, field)| format!("{literal} {operator} {field}")),
        (number.clone(), comparison.clone(), -2..3i64)
            .prop_map(|(field, operator, int)| format!("{field} {operator} {int}")),
        (comparison.clone(), -1..2i64)
            .prop_map(|(operator, int)| format!("ev.load {operator} {int}.5")),
        comparison.clone().prop_map(|operator| format!(
            "ev.conn.start_ts {operator} timestamp('2025-01-01T00:00:00Z')"
        )),
        comparison.prop_map(|operator| format!("ev.waited {operator} duration('1s')")),
        (text.clone(), test, literal.clone())
            .prop_map(|(field, test, literal)| format!("{field}.{test}({literal})")),
        (text.clone(), literal.clone(), literal)
            .prop_map(|(field, a, b)| format!("{field} in [{a}, {b}]")),
        (number.clone(), -1..2i64).prop_map(|(field, int)| format!("{field} in [{int}, 443]")),
        (text.clone(), proptest::sample::select(vec!["10.0.0.0/8", "::/0", "0.0.0.0/0"]))
            .prop_map(|(field, network)| format!("cidr('{network}').containsIP({field})")),
        text.prop_map(|field| format!("has({field})")),
        number.prop_map(|field| format!("has({field})")),
        Just("ev.conn.start_ts == null".to_owned()),
        Just("ev.backend.connection_reused".to_owned()),
        Just("has(ev.conn)".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

/// The same with conditions among them that need the general evaluator.
pub(super) fn mixed() -> impl Strategy<Value = String> {
    let general = proptest::sample::select(vec![
        "ev.conn.server_port + 1 > 1",
        "ev.conn.client_ip == ev.tls.version",
        "ev.http.request.headers['a'][0] == 'b'",
        "ev.anything",
        "'a' in ev.http.request.headers && has(ev.http.request.headers.a)",
        "ev.anything in [1, 2]",
        "ev.anything == 1",
        "ev.traffic_policy.logs.exists(l, l.a == 1)",
        "10 / ev.conn.server_port > 5",
        "ev.?conn.client_ip.orValue('a') == 'a'",
        "ev.http.request.headers[?'a'].hasValue()",
        "ev.conn.client_ip.lowerAscii().split('a').size() == 2",
        "isIP(ev.conn.client_ip) && ip(ev.conn.client_ip).family() == 4",
        "cel.bind(a, ev.anything, a == 1 || a == 2)",
        "math.greatest(ev.conn.server_port, 1) == 443",
        "ev.traffic_policy.logs.all(i, l, i < 1 || has(l.a))",
        "'%d'.format([ev.conn.server_port]) == '443'",
        "regex.extract(ev.tls.version, '[ab]').optMap(x, x == 'a').orValue(false)",
    ]);
    (fast(), general, fast(), any::<bool>()).prop_map(|(a, general, b, and)| {
        let operator = if and { "&&" } else { "||" };
        format!("({a}) {operator} ({general}) {operator} ({b})")
    })
}

pub(super) fn json() -> impl Strategy<Value = String> {
    let scalar = proptest::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "1.0",
        "1.5",
        "1e0",
        "443",
        "\"\"",
        "\"a\"",
        "\"b\"",
        "\"\\n\"",
        "\"\\u0061\"",
        "\"é\"",
        "\"2025-01-01T00:00:00Z\"",
        "\"1s\"",
        "[]",
        "{}",
        "{\"a\":[\"b\"]}",
        "[{\"a\":1}]",
    ]);
    let absent = prop_oneof![3 => scalar.prop_map(Some), 1 => Just(None)];
    let names = ["client_ip", "server_port", "start_ts"];
    let conn = proptest::collection::vec(absent.clone(), names.len()).prop_map(move |values| {
        let members: Vec<String> = names
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)))
            .collect();
        format!("{{{}}}", members.join(","))
    });
    let conn = prop_oneof![6 => conn, 1 => Just("null".to_owned()), 1 => Just("5".to_owned())];
    (conn, proptest::collection::vec(absent, 7)).prop_map(|(conn, values)| {
        let paths = [
            "\"tls\":{\"version\":V}",
            "\"backend\":{\"connection_reused\":V}",
            "\"http\":{\"request\":{\"headers\":V,\"body_length\":1}}",
            "\"traffic_policy\":{\"logs\":V}",
            "\"load\":V",
            "\"waited\":V",
            "\"anything\":V",
        ];
        let members =
            paths.iter().zip(values).filter_map(|(path, value)| Some(path.replace('V', value?)));
        let members: Vec<String> = members.chain([format!("\"conn\":{conn}")]).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn slot_tests_mean_what_the_general_evaluator_means(text in fast(), object in json()) {
        let filter = check(&text, &http()).unwrap();
        let program = filter.compile(&mut SlotPlan::default());
        prop_assert!(program.is_fast(), "{}", text);
        // `run` compares the two.
        let _ = run(&filter, &object);
    }

    #[test]
    fn so_do_filters_of_both_parts(text in mixed(), object in json()) {
        let _ = run(&check(&text, &http()).unwrap(), &object);
    }
}
