//! The filters that take longest: `cargo bench --bench worst`, with a part of a name as argument for some
//! of them.
//!
//! Accepted filters are made of each costly thing that the language has, repeated as often as the
//! checker allows, and run on events of 16 KiB and of 1 MiB whose values are the worst for it. Printed
//! are the longest times and, of all, units of work and nanoseconds a unit: above 1 a price of
//! `filter/limits.rs` is too low on this machine. It fails if an evaluation takes longer than
//! promised there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, not the daemon"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluicegate::event::{Class, Event, EventType, Field, FieldType, SlotPlan, Slots, Timestamp};
use sluicegate::filter::{CheckedFilter, check};

/// Sizes of events, in bytes, and how long an evaluation may take on them.
const SIZES: [(usize, Duration); 2] =
    [(16 << 10, Duration::from_millis(5)), (1 << 20, Duration::from_millis(20))];

const ROUNDS: usize = 3;

/// Tests that are joined by `||`, `N` being another number in each.
const TESTS: &[&str] = &[
    "ev.s == 'N'",
    "ev.s < 'N'",
    "'N' + ev.s < ev.s",
    "ev.s + 'N' == ev.s",
    "ev.s in ['N','M']",
    "ev.s.contains('abN')",
    "ev.s.contains('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabN')",
    "ev.s.startsWith(ev.s + 'N')",
    "ev.s.endsWith(ev.s + 'N')",
    "ev.s.indexOf('aabN') == 5",
    "ev.s.lastIndexOf('aabN') == 5",
    "ev.s.lastIndexOf('aabN', 500) == 5",
    "size(ev.s) == N",
    "ev.s.charAt(N) == 'xx'",
    "ev.s.substring(N) == ''",
    "ev.s.lowerAscii() == 'N'",
    "ev.s.trim() == 'N'",
    "ev.s.reverse() == 'N'",
    "strings.quote(ev.s) == 'N'",
    "ev.s.replace('a', 'N') == ''",
    "ev.s.replace('', 'N') == ''",
    "ev.s.replace('aN', 'b') == ''",
    "ev.s.split('').size() == N",
    "ev.s.split('a').size() == N",
    "ev.s.split('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaN').size() == N",
    "ev.s.split('').join('N') == ''",
    "ev.s.split('').distinct().size() == N",
    "ev.s.split('').sort().size() == N",
    "'%s'.format([ev.s]) == 'N'",
    "'%x'.format([ev.s]) == 'N'",
    "'%.1000f'.format([1.0 / double(N + ev.i)]) == 'N'",
    "base64.encode(bytes(ev.s)) == 'N'",
    "base64.decode(ev.s) == b'N'",
    "bytes(ev.s) == b'N'",
    "string(bytes(ev.s)) == 'N'",
    "double(ev.s) == N.0",
    "int(ev.s) == N",
    "timestamp(ev.s) == ev.t",
    "duration(ev.s) == duration('Ns')",
    "ip.isCanonical(ev.s) && isIP(ev.s)",
    "cidr('10.0.0.0/8').containsIP(ev.s)",
    "isCIDR(ev.s)",
    "isIP(ev.s) && isCIDR('/' + ev.s)",
    "ev.t.getHours('Europe/Berlin') == N",
    "ev.t.getHours(ev.s) == N",
    "ev.i + N == 7",
    "ev.f == N.5",
    "ev.s.matches('a[^N]*b')",
    "ev.s.matches('(a|b)*bN')",
    "ev.s.matches('.*a[ab]{900}cN')",
    "ev.s.matches('a[ab]{1,400}cN')",
    "ev.s.matches('(?i)N[a-z]{100}')",
    "ev.s.matches('([ab]?){500}N')",
    "ev.s.matches('(a?){200}a{200}N')",
    "ev.s.matches('\\\\pL{20}N')",
    "ev.s.matches('(\\\\pL|\\\\pN){5}N')",
    "ev.s.matches('(((a*)*)*)*N')",
    "ev.s.matches('\\\\b\\\\B|N\\\\bx')",
    "ev.s.matches('(.?){80}(aN|bN)')",
    "ev.s.matches('(a|aN|ab|ba|bb)*c')",
    "ev.s.matches('[ab]{0,30}[a]{0,30}[b]{0,30}[ab]{0,30}N')",
    "regex.extract(ev.s, 'a[ab]{300}N').hasValue()",
    "regex.extract(ev.s, '(a|b)*').orValue('') == 'N'",
    "regex.extract(ev.s, '((a|b|N)*)').orValue('') == 'N'",
    "regex.extractAll(ev.s, 'a|N').size() == N",
    "regex.extractAll(ev.s, 'a*?|N').size() == N",
    "regex.extractAll(ev.s, '.*x|aN?').size() == N",
    "regex.extractAll(ev.s, '.*[^ab]|[ab]N?').size() == N",
    "regex.replace(ev.s, '(a)(b)', r'\\\\2\\\\1N') == ''",
    "regex.replace(ev.s, '', 'N') == ''",
    "'x'.matches(ev.s + '(')",
    "'x'.matches('(?i)[a-z\\\\pL]{9}N' + ev.e)",
    "'x'.matches('(?i)\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL\\\\PL' + ev.e)",
    "'x'.matches('[a-z]{200}N' + ev.e)",
    "'x'.matches('((a{9}){9}){9}N' + ev.e)",
    "N in ev.l",
    "'N' in ev.l",
    "ev.l == [N]",
    "ev.l + [N] == ev.l",
    "ev.l.size() == N",
    "ev.l.all(x, x != 'N')",
    "ev.l.exists(x, x == N)",
    "ev.l.map(x, x).size() == N",
    "ev.l.filter(x, true).size() == N",
    "ev.l.distinct().size() == N",
    "ev.l.sort().size() == N",
    "ev.l.sortBy(x, x).size() == N",
    "ev.l.reverse().size() == N",
    "ev.l.flatten().size() == N",
    "ev.l.slice(0, N).size() == N + 1",
    "sets.contains(ev.l, ev.l)",
    "sets.equivalent(ev.l, [N])",
    "sets.intersects(ev.l, ['N'])",
    "math.greatest(ev.l) == N",
    "'%s'.format([ev.l]) == 'N'",
    "lists.range(1000 + N).size() == N",
    "lists.range(1000).map(x, x + N).size() == N",
    "lists.range(1000).transformMap(i, x, x + N).size() == N",
    "ev.m.x == N",
    "ev.m['xN'] == 1",
    "'xN' in ev.m",
    "has(ev.m.xN)",
    "ev.m.all(k, k != 'N')",
    "ev.m.all(k, v, k != 'N')",
    "ev.m == {'N': 1}",
    "ev.m == ev.m && ev.i == N",
    "ev.m.transformMap(k, v, v).size() == N",
    "'%s'.format([ev.m]) == 'N'",
    "ev.d == N",
    "ev.d == ev.d && ev.i == N",
    "dyn(ev.d).size() == N",
    "has(ev.d) && ev.i == N",
    "[ev.s, ev.s, ev.s].distinct().size() == N",
    "{'a': ev.s, ev.s: N}.size() == N",
    "cel.bind(x, ev.s + 'N', x == x + 'a')",
];

/// What stands around the tests.
const AROUND: &[&str] = &[
    "TESTS",
    "ev.l.exists(y, TESTS)",
    "lists.range(100).exists(y, lists.range(100).exists(z, TESTS))",
];

/// Texts and JSON values of a size, the worst for one thing or another.
fn values(size: usize) -> Vec<(&'static str, String)> {
    let text = |part: &str| format!("\"{}\"", part.repeat(size / part.len()));
    let mut seed = 7u64;
    let mixed: String = (0..size)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed >> 63 == 0 { 'a' } else { 'b' }
        })
        .collect();
    let list =
        |item: &str| format!("[{}{item}]", format!("{item},").repeat(size / (item.len() + 1)));
    let numbered: Vec<String> = (0..size / 9).map(|n| format!("\"{n:06}\"")).collect();
    let keys: Vec<String> = (0..size / 13).map(|n| format!("\"k{n:06}\":{}", n % 10)).collect();
    vec![
        ("s", text("a")),
        ("s", text("ab")),
        ("s", format!("\"{mixed}\"")),
        ("s", text("\\n")),
        ("s", text("\\u0061")),
        ("s", text("é")),
        ("s", text(" ")),
        ("s", text("1")),
        ("s", format!("\"0/{}\"", "1".repeat(size))),
        ("l", list("1")),
        ("l", list("\"\"")),
        ("l", list("[]")),
        ("l", format!("[{}]", numbered.join(","))),
        ("l", format!("[{},{}]", text("a").replacen("aa", "", 1), text("ab"))),
        ("m", format!("{{{}}}", keys.join(","))),
        ("d", list("1")),
        ("d", list("{\"a\":1}")),
        ("i", "1".repeat(size)),
        ("f", format!("0.{}", "1".repeat(size))),
    ]
}

fn event_type() -> Arc<EventType> {
    let fields = [
        ("s", "string"),
        ("e", "string"),
        ("l", "list(dyn)"),
        ("m", "map(string, dyn)"),
        ("d", "dyn"),
        ("i", "int"),
        ("f", "double"),
        ("t", "timestamp"),
    ];
    let field = |(name, declared): (&str, &str)| Field {
        name: name.to_owned(),
        field_type: FieldType::parse(declared).unwrap(),
        description: String::new(),
    };
    Arc::new(EventType {
        name: "worst.v0".to_owned(),
        class: Class::Traffic,
        description: String::new(),
        fields: fields.into_iter().map(field).collect(),
    })
}

/// The largest accepted filter of a test, and how many of it there are.
fn largest(
    test: &str,
    around: &str,
    event_type: &Arc<EventType>,
) -> Option<(usize, CheckedFilter)> {
    let made = |count: usize| {
        let numbered = |n: usize| test.replace('N', &n.to_string());
        let tests: Vec<String> = (0..count).map(numbered).collect();
        check(&around.replace("TESTS", &tests.join(" || ")), event_type).ok()
    };
    let (mut low, mut found) = (0, None);
    let mut high = 16 * 1024 / test.len() + 2;
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        match made(middle) {
            Some(filter) => (low, found) = (middle, Some(filter)),
            None => high = middle,
        }
    }
    found.map(|filter| (low, filter))
}

struct Row {
    took: Duration,
    units: u64,
    said: String,
}

fn measure(filter: &CheckedFilter, field: &str, value: &str, said: &str) -> Row {
    let mut plan = SlotPlan::default();
    let program = filter.compile(&mut plan);
    let text = format!(
        "{{\"event_type\":\"worst.v0\",\"object\":{{\"t\":\"2025-09-04T10:11:14Z\",\"{field}\":{value}}}}}"
    );
    let event = Event::parse(&text, Timestamp::MIN, || 0).unwrap();
    let mut slots = Slots::new();
    plan.extract(&event, &mut slots);
    let mut row = Row { took: Duration::MAX, units: 0, said: String::new() };
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (result, units) = program.counted(&slots);
        let took = start.elapsed();
        if took < row.took {
            let shown = result.map_or_else(|error| error.to_string(), |is| is.to_string());
            row = Row { took, units, said: format!("{said} on {field} = {value:.12}…: {shown}") };
        }
    }
    row
}

fn main() {
    let event_type = event_type();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let mut late = 0;
    let mut filters = Vec::new();
    for test in TESTS.iter().filter(|it| wanted.iter().all(|part| it.contains(part.as_str()))) {
        for around in AROUND {
            let begun = Instant::now();
            let Some((count, filter)) = largest(test, around, &event_type) else {
                println!("none is accepted: {around} {test}");
                continue;
            };
            let took = begun.elapsed();
            if took > Duration::from_secs(2) {
                println!("{took:?} to check some of {around} {test}");
            }
            filters.push((format!("{count} x {test} in {around}"), filter));
        }
    }
    for (size, limit) in SIZES {
        let mut rows = Vec::new();
        for (field, value) in values(size) {
            for (said, filter) in &filters {
                let about = format!("ev.{field}");
                if said.contains(&about) {
                    rows.push(measure(filter, field, &value, said));
                }
            }
        }
        late += rows.iter().filter(|row| row.took > limit).count();
        println!("\n{size} bytes: {} evaluations, at most {limit:?} promised", rows.len());
        rows.sort_by_key(|row| std::cmp::Reverse(row.took));
        rows.iter().take(25).for_each(show);
        println!("dearest units, of evaluations over 100 µs:");
        rows.retain(|row| row.took > Duration::from_micros(100));
        rows.sort_by_key(|row| row.units * 1000 / u64::try_from(row.took.as_nanos()).unwrap_or(1));
        rows.iter().take(25).for_each(show);
    }
    assert_eq!(late, 0, "evaluations took longer than promised");
}

fn show(row: &Row) {
    let nanoseconds = row.took.as_secs_f64() * 1e9 / row.units.max(1) as f64;
    println!("{:>9.3} ms {nanoseconds:>7.3} ns a unit  {}", row.took.as_secs_f64() * 1e3, row.said);
}
