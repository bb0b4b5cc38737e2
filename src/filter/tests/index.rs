//! What an index leaves out is false, and nothing else: neither true nor an error.

use proptest::prelude::*;

use super::super::*;
use super::differential::{fast, json, mixed};
use super::http;
use crate::event::{Event, Slots, Timestamp};

/// Filters, compiled for one plan and indexed.
struct Indexed {
    texts: Vec<String>,
    programs: Vec<Program>,
    plan: SlotPlan,
    index: Index,
}

impl Indexed {
    fn new(texts: impl IntoIterator<Item = String>) -> Indexed {
        let texts: Vec<String> = texts.into_iter().collect();
        let mut plan = SlotPlan::default();
        let compile = |text: &String| check(text, &http()).unwrap().compile(&mut plan);
        let programs: Vec<Program> = texts.iter().map(compile).collect();
        let index = Index::new(programs.iter().map(Some));
        Indexed { texts, programs, plan, index }
    }

    /// The filters that are possible for an event with this object, all others being false.
    fn possible(&self, object: &str, search: &mut Search) -> Vec<usize> {
        let text = format!(r#"{{"event_id":"ev_1","event_type":"t.v0","object":{object}}}"#);
        let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
        let mut slots = Slots::new();
        self.plan.extract(&event, &mut slots);
        search.begin();
        self.index.search(&slots, search);
        let possible: Vec<usize> = search.possible(0).collect();
        for (at, program) in self.programs.iter().enumerate() {
            let result = program.matches(&slots);
            let left_out = !possible.contains(&at);
            assert!(!left_out || result == Ok(false), "{}: {result:?}", self.texts[at]);
        }
        for from in [1, 63, 64, self.programs.len()] {
            let rest = possible.iter().copied().filter(|at| *at >= from);
            assert!(search.possible(from).eq(rest));
        }
        possible
    }
}

/// Filters of a kind that users have by the thousand, from numbers.
fn ordinary(seed: u64) -> String {
    let of = |what: u64, count: u64| (seed >> what) % count;
    let account = format!("ev.oauth.user.id == 'u{}'", of(0, 400));
    let terms = [
        account.clone(),
        format!("ev.http.response.status_code >= {}", 100 * of(3, 6)),
        format!("ev.http.request.method in ['GET', 'M{}']", of(5, 3)),
        format!("ev.http.request.body_length < {}", of(7, 2000)),
        format!("ev.http.request.url.host == 'h{}'", of(9, 20)),
        format!("ev.load > {}.5", of(11, 40)),
        format!("ev.conn.server_port != {}", of(13, 5)),
        "ev.backend.connection_reused".to_owned(),
        "!has(ev.tls.version)".to_owned(),
        format!("ev.http.request.url.path.startsWith('/p{}')", of(15, 9)),
        format!("ev.http.request.user_agent.matches('b{}')", of(17, 9)),
        format!("(ev.conn.client_ip == 'a{}' || ev.conn.client_ip == 'b')", of(19, 300)),
        format!("({account} || ev.http.response.status_code == {})", of(21, 600)),
    ];
    let count = terms.len() as u64;
    let chosen: Vec<&str> =
        (0..1 + of(1, 3)).map(|at| &*terms[((seed >> (23 + 4 * at)) % count) as usize]).collect();
    chosen.join(if of(40, 8) == 0 { " || " } else { " && " })
}

fn event(seed: u64) -> String {
    let of = |what: u64, count: u64| (seed >> what) % count;
    format!(
        r#"{{"oauth":{{"user":{{"id":"u{}"}}}},"http":{{"response":{{"status_code":{}}},
            "request":{{"method":"M{}","body_length":{},"url":{{"host":"h{}","path":"/p{}/x"}},
            "user_agent":"b{}"}}}},"load":{},"conn":{{"server_port":{},"client_ip":"a{}"}},
            "backend":{{"connection_reused":{}}},"tls":{{"version":{}}}}}"#,
        of(0, 410),
        of(3, 650),
        of(5, 4),
        of(7, 2100),
        of(9, 22),
        of(11, 10),
        of(13, 10),
        of(15, 42),
        of(17, 6),
        of(19, 310),
        ["true", "false", "null", "7"][of(21, 4) as usize],
        ["null", "\"1.3\""][of(23, 2) as usize],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn filters_of_any_shape_are_left_out_only_if_they_are_false(
        texts in proptest::collection::vec(prop_oneof![fast(), mixed()], 8..80),
        objects in proptest::collection::vec(json(), 1..12),
    ) {
        let indexed = Indexed::new(texts);
        let mut search = Search::default();
        for object in objects {
            indexed.possible(&object, &mut search);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn so_are_hundreds_of_ordinary_ones(
        filters in proptest::collection::vec(any::<u64>(), 600),
        events in proptest::collection::vec(any::<u64>(), 40),
    ) {
        let indexed = Indexed::new(filters.into_iter().map(ordinary));
        let mut search = Search::default();
        for seed in events {
            indexed.possible(&event(seed), &mut search);
        }
    }
}

#[test]
fn a_filter_that_names_a_rare_value_is_left_out_of_events_without_it() {
    let named = |number: usize| {
        format!("ev.oauth.user.id == 'u{number}' && ev.http.response.status_code >= 500")
    };
    let indexed = Indexed::new((0..1_000).map(named));
    let object = |user| {
        format!(
            r#"{{"oauth":{{"user":{{"id":"{user}"}}}},"http":{{"response":{{"status_code":503}}}}}}"#
        )
    };
    let mut search = Search::default();
    assert_eq!(indexed.possible(&object("u700"), &mut search), [700]);
    assert_eq!(indexed.possible(&object("u1000"), &mut search), [0; 0]);
    assert_eq!(indexed.possible(&object(r"\u0075700"), &mut search), [700]);
    // No value is known of a user that is no text, and each filter has an error to tell.
    assert_eq!(indexed.possible(r#"{"oauth":{"user":{"id":7}}}"#, &mut search).len(), 1_000);
    let bytes = indexed.index.bytes();
    assert!(bytes < 200 * 1_000, "{bytes}");
}

#[test]
fn an_index_takes_no_more_memory_than_it_may() {
    let users = |number: usize, count: usize| {
        let users = (0..count).map(|at| format!("'u{}'", count * number + at));
        format!("ev.oauth.user.id in [{}]", users.collect::<Vec<_>>().join(", "))
    };
    let object = |port: usize| {
        format!(
            r#"{{"oauth":{{"user":{{"id":"u510"}}}},"conn":{{"server_port":{port}}},"load":7}}"#
        )
    };
    let mut search = Search::default();

    let many = Indexed::new((0..1_000).map(|number| users(number, 50)));
    let bytes = many.index.bytes();
    assert!(bytes < (100 + 60 * 50) * 1_000, "{bytes}");
    assert_eq!(many.possible(&object(0), &mut search), [10]);

    let too_many = Indexed::new((0..1_000).map(|number| users(number, 100)));
    let bytes = too_many.index.bytes();
    assert!(bytes < 400 * 1_000, "{bytes}");
    assert!(too_many.possible(&object(0), &mut search).contains(&5));

    let thresholds = |number: usize| {
        let number = 3 * number;
        format!(
            "ev.conn.server_port >= {number} && ev.conn.server_port < {} && ev.load > 6.{number}",
            number + 3
        )
    };
    let ranges = Indexed::new((0..1_000).map(thresholds));
    let bytes = ranges.index.bytes();
    assert!(bytes < 400 * 1_000, "{bytes}");
    let possible = ranges.possible(&object(100), &mut search);
    assert!(possible.contains(&33) && possible.len() < 20, "{possible:?}");
}

#[test]
fn filters_that_would_run_out_of_work_are_not_left_out() {
    let text = "ev.conn.client_ip != 'x' && ev.tls.version != 'y' && ev.oauth.user.id == 'z'";
    let indexed = Indexed::new((0..8).map(|_| text.to_owned()));
    let long = r"\u0061".repeat(170_000);
    let object = format!(
        r#"{{"conn":{{"client_ip":"{long}"}},"tls":{{"version":"{long}"}},"oauth":{{"user":{{"id":"a"}}}}}}"#
    );
    let mut search = Search::default();
    assert_eq!(indexed.possible(&object, &mut search).len(), 8);
    assert_eq!(indexed.possible(r#"{"oauth":{"user":{"id":"a"}}}"#, &mut search), [0; 0]);
}
