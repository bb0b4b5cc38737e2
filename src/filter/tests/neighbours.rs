//! Where readers of the specification may differ: what Google's C++ runtime was seen to do, and we do
//! too. Patterns have such a table in `functions/pattern.rs`.

use std::collections::BTreeMap;

use super::super::*;

/// Whether an expression without variables is true; none if it is refused or has no value.
fn truth(text: &str) -> Option<bool> {
    let expression = Environment::default().check(text).ok()?;
    match expression.evaluate(&BTreeMap::new()) {
        Ok(Value::Bool(bool)) => Some(bool),
        _ => None,
    }
}

#[test]
fn these_are_true_there_too() {
    for text in [
        // A comma may stand alone; one minus is a number's, two are operators.
        "[,] == [] && {,} == {}",
        "--9223372036854775807 == 9223372036854775807",
        "---1.5 == -1.5",
        "0 - -5 == 5",
        "1 in[1] && [1][0]in[1]",
        "{'as': 1}.as == 1 && {'package': 1}.package == 1",
        r"r'\\' == '\\\\' && bR'\n' == b'\\n'",
        // The calendar reaches the last nanosecond that a timestamp may have.
        "timestamp('9999-12-31T23:59:59.999999999Z').getHours() == 23",
        "timestamp('9999-12-31T23:59:59Z').getHours('America/New_York') == 18",
        "timestamp('9999-12-31T23:59:59Z').getFullYear('-11:00') == 9999",
        "timestamp('0001-01-01T00:00:00Z').getFullYear('-11:00') == 0",
        "timestamp('0001-01-01T00:00:00Z').getDayOfWeek() == 1",
        // Zero, and what only looks like it.
        "!optional.ofNonZeroValue(timestamp(0)).hasValue()",
        "!optional.ofNonZeroValue(duration('0')).hasValue()",
        "!optional.ofNonZeroValue(-0.0).hasValue()",
        "optional.ofNonZeroValue(0.0 / 0.0).hasValue()",
        "optional.ofNonZeroValue(optional.none()).hasValue()",
        "optional.ofNonZeroValue(int).hasValue()",
    ] {
        assert_eq!(truth(text), Some(true), "{text}");
    }
}

#[test]
fn these_are_refused_there_too() {
    let refused = |text: &str| Environment::default().check(text).is_err();
    for text in [
        "--9223372036854775808",
        "---9223372036854775808",
        "- -9223372036854775808",
        "--0x8000000000000000",
        "-(9223372036854775808)",
        "-!true",
        "!-x",
        "true ? true ? 1 : 2 : 3",
        "1. == 1.0",
        "1.e5 == 1.0",
        "5u.size()",
        "[,1]",
        "[1,,2]",
        "size('a',)",
        "{'in': 1}.in",
        "{1: 1}.`a$b`",
        "'a' 'b'",
        r"r'\'",
        r"rb'a' == b'a'",
        r"'\08'",
        "[1].map(__result__, 1)",
        "[1].exists(.x, true)",
        "[1].all(in, true)",
        "cel.bind(a.b, 1, 1)",
        "has({'a': 1}['a'])",
        "has({'a': 1}.?a)",
        "math.greatest([1, 'a'])",
        "math.least([[1]])",
        "[1][0u]",
        "duration('1s') * 2",
        "'a' in 'abc'",
    ] {
        assert!(refused(text), "{text}");
    }
}

#[test]
fn format_writes_doubles_and_broken_text_as_the_specification_says() {
    for text in [
        "'%d'.format([3.14]) == '3.14' && '%d'.format([1.0]) == '1'",
        "'%d'.format([0.0 / 0.0]) == 'NaN' && '%d'.format([-1.0 / 0.0]) == '-Infinity'",
        r"'%s'.format([b'a\xff\xfeb\xff']) == 'a\ufffdb\ufffd'",
        r"'%s'.format([b'\xe2\x82\xff']) == '\ufffd'",
    ] {
        assert_eq!(truth(text), Some(true), "{text}");
    }
}
