//! The language itself, where the conformance rows may not be at hand: expressions and their values.

use std::collections::BTreeMap;

use super::super::*;

/// The value of an expression without variables, as text, or its error.
fn value(text: &str, env: &Environment) -> String {
    match env.check(text) {
        Err(error) => format!("refused: {}", error.mistakes()[0].message),
        Ok(expression) => match expression.evaluate(&BTreeMap::new()) {
            Ok(value) => written(&value),
            Err(error) => format!("error: {error}"),
        },
    }
}

fn written(value: &Value<'_>) -> String {
    match value {
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => format!("{uint}u"),
        Value::Double(double) => format!("{double:?}"),
        Value::String(text) => format!("'{}'", &**text),
        Value::Type(name) => (*name).to_owned(),
        Value::List(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn expressions_have_the_values_that_cel_gives_them() {
    let env = Environment::default();
    for (text, expected) in [
        ("1 + 2 * 3 - 4 / 2 % 2", "7"),
        ("1 < 2 == true", "true"),
        ("false && true || true", "true"),
        ("-5 % 3", "-2"),
        ("--5", "5"),
        ("!-5", "refused: `!` cannot take int"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-(9223372036854775807) - 1", "-9223372036854775808"),
        ("-(-9223372036854775808)", "error: result of `-` is out of range"),
        ("dyn(-9223372036854775808) / -1", "error: result of `/` is out of range"),
        ("-9223372036854775808 % -1", "error: result of `%` is out of range"),
        ("0u - 1u", "error: result of `-` is out of range"),
        ("1.0 / 0.0", "inf"),
        ("true ? 1 : false ? 2 : 3", "1"),
        ("true ? false ? 1 : 2 : 3", "refused: unexpected `?`"),
        ("-!true", "refused: unexpected `!`"),
        ("(1 / 0 > 0) || true", "true"),
        ("false && 1 / 0 > 0", "false"),
        ("1 / 0 > 0 || false", "error: division by zero"),
        ("[1 / 0] == [1]", "error: division by zero"),
        ("[1, 2, 3].all(e, 6 / (2 - e) == 6)", "false"),
        ("[1, 2, 3].exists_one(e, e > 2)", "true"),
        ("[1, 2, 3].map(e, e > 1, e * e)", "[4, 9]"),
        ("{'b': 1, 'a': 2}.map(k, k)", "['b', 'a']"),
        ("{'a': 1}.filter(k, k == 'a')", "['a']"),
        ("[[1], [2, 3]].map(l, l.map(i, i + l[0]))", "[[2], [4, 5]]"),
        ("{1u: 'x'}[dyn(1)]", "'x'"),
        ("3.0 in {3: 1, 4u: 2}", "true"),
        ("[1, 2][dyn(1.0)]", "2"),
        ("[1, 2][dyn(0.5)]", "error: `[]` cannot take list and double"),
        ("{'a': {'b': 1}}.a.b", "1"),
        ("{'a b': 1}.`a b`", "1"),
        ("has({'a': null}.a)", "true"),
        ("has({'a': 1}.b.c)", "refused: int has no field `c`"),
        ("type(1) == int && type(type(1)) == type", "true"),
        ("type(timestamp(0))", "google.protobuf.Timestamp"),
        ("size('é€')", "2"),
        ("int('-7') + int(7.9) + int(3u)", "3"),
        ("int(' 1')", "error: ` 1` is no int"),
        ("int('+1')", "error: `+1` is no int"),
        ("int(9223372036854775807.0)", "error: result of `int` is out of range"),
        ("uint(-1)", "error: result of `uint` is out of range"),
        ("string(123.456) + string(-4.5e-3) + string(1e30)", "'123.456-0.00451e30'"),
        ("string(b'\\xff')", "error: the bytes are not UTF-8"),
        ("string(duration('1.5s')) + string(timestamp(0))", "'1.5s1970-01-01T00:00:00Z'"),
        ("int(timestamp('1969-12-31T23:59:59.5Z'))", "-1"),
        (
            "timestamp('9999-12-31T23:59:59Z') + duration('1s')",
            "error: result of `+` is out of range",
        ),
        ("duration('123.321456789s').getMilliseconds()", "321"),
        ("dyn(0.0 / 0.0) == dyn(0.0 / 0.0)", "false"),
        ("!(0.0 / 0.0 < 1.0)", "true"),
        ("dyn(1) == 1u && dyn(1) == 1.0", "true"),
        ("dyn('a') in dyn('abc')", "error: `in` cannot take string and string"),
        ("null < dyn(null)", "error: `<` cannot take null_type and null_type"),
        ("// a comment\n1 // another", "1"),
        ("[1, 2, ]", "[1, 2]"),
        ("1.", "refused: the filter ends where an operand or a bracket is missing"),
    ] {
        assert_eq!(value(text, &env), expected, "{text}");
    }
}

/// Expressions of the extension libraries, and their values or how they are refused.
const EXTENSIONS: &[(&str, &str)] = &[
    ("['a', 'b'].transformList(i, v, i > 0, v + string(i))", "['b1']"),
    ("{'a': 1}.transformMap(k, v, v + 1).a", "2"),
    ("{'a': 1, 'b': 1}.transformMapEntry(k, v, {v: k})", "error: a map has a key twice"),
    ("{'a': 'x'}.transformMapEntry(k, v, {v: k}).x", "'a'"),
    ("[1, 2].all(i, i, true)", "refused: `all` needs two variables of different names"),
    ("cel.bind(x, 1 / 0, true)", "true"),
    ("cel.bind(x, 1 / 0, x == 1 || true)", "true"),
    ("cel.bind(x, [1], [2].map(y, cel.bind(x, x + [y], x)))", "[[1, 2]]"),
    ("{'a': {'b': 1}}.?a.?b.orValue(0)", "1"),
    ("{'a': {'b': 1}}.?a.c.hasValue()", "false"),
    ("optional.of(1).or(optional.of(1 / 0)).value()", "1"),
    ("optional.none().orValue(1 / 0)", "error: division by zero"),
    ("[?optional.of(1), ?optional.none(), 3]", "[1, 3]"),
    ("[?1]", "refused: `?` takes an optional, found int"),
    ("{?'a': optional.none()}.size()", "0"),
    ("optional.of(2).optMap(x, x * 2).value()", "4"),
    ("optional.of(2).optFlatMap(x, x)", "refused: `optFlatMap` gives an optional, found int"),
    ("optional.none().value()", "error: `value` of an optional that is empty"),
    ("optional.unwrap([optional.of(1), optional.none()])", "[1]"),
    ("type(optional.none()) == optional_type", "true"),
    ("'tacocat'.charAt(7) + 'é'.charAt(0)", "'é'"),
    ("'tacocat'.charAt(8)", "error: no such index 8"),
    ("'héllo'.indexOf('l', 3)", "3"),
    ("'ééé'.lastIndexOf('é', 1)", "1"),
    ("'abc'.substring(2, 1)", "error: no such index 2"),
    ("'a,b,c'.split(',', 2)", "['a', 'b,c']"),
    ("'abc'.split('')", "['a', 'b', 'c']"),
    ("'abc'.split('', 2)", "['a', 'bc']"),
    ("''.split(',')", "['']"),
    ("'ab'.replace('', '-')", "'-a-b-'"),
    ("['a', 'b'].join('-').reverse()", "'b-a'"),
    (
        "'%s %d %.1f %e %x %o %b %X'.format([[1, 'a'], 7, 2.25, 12.5, 'z', 8, 5, 255])",
        "'[1, a] 7 2.2 1.250000e+01 7a 10 101 FF'",
    ),
    ("'%s'.format([])", "error: `format`: there is no value for `%s`"),
    ("'%q'.format([1])", "error: `format`: unknown clause `%q`"),
    ("'%.1001f'.format([1.0])", "error: over the limit of 1000 digits after the point"),
    ("math.greatest(1, 2u, 2.0)", "2u"),
    ("math.least([])", "refused: `math.least` takes numbers or a list of them"),
    ("math.greatest('a', 1)", "refused: `math.greatest` takes numbers or a list of them"),
    ("math.bitShiftRight(-1024, 3)", "2305843009213693824"),
    ("math.round(-2.5) + math.sign(-0.1)", "-4.0"),
    ("[3, 1, 2].sort().first().value()", "1"),
    ("['bb', 'a'].sortBy(s, size(s))", "['a', 'bb']"),
    ("[1, 'a'].sort()", "error: `sort` cannot take string and int"),
    ("[1, [2, [3]]].flatten(2)", "[1, 2, 3]"),
    ("[1, 1.0, 2u, 2].distinct()", "[1, 2u]"),
    ("lists.range(3) + [1, 2, 3].slice(1, 2)", "[0, 1, 2, 2]"),
    (
        "lists.range(100000000)",
        "error: over the limit of 1048576 bytes of results in one evaluation",
    ),
    (
        "sets.contains([1, 2], [2.0]) || sets.intersects([1], [2])",
        "refused: `sets.contains` cannot take (list(int), list(double))",
    ),
    ("sets.equivalent([1, 2, 1], [2, 1])", "true"),
    ("regex.replace('a1b2', r'([a-z])(\\d)', r'\\2\\1')", "'1a2b'"),
    ("regex.extract('id=42;', r'id=(\\d+)').value()", "'42'"),
    ("regex.extractAll('a1b22', r'\\d+')", "['1', '22']"),
    ("regex.extract('ab', '(a)(b)')", "error: a pattern to extract has at most one group, not 2"),
    ("regex.extract('ab', '(')", "refused: bad regular expression: unclosed group"),
    ("string(ip('2001:DB8::1')) + string(cidr('10.1.2.3/8').masked())", "'2001:db8::110.0.0.0/8'"),
    ("ip('1.2.3')", "refused: `1.2.3` is no IP address"),
    ("cidr('10.0.0.0/8').containsIP('::1')", "false"),
    (
        "cidr('10.0.0.0/8').containsIP('10.1')",
        "refused: `10.1` is no address or network that can be contained",
    ),
    ("isIP(cidr('10.0.0.0/8'))", "refused: `isIP` cannot take (net.CIDR)"),
    ("math.abss(1)", "refused: unknown function `math.abss`"),
    ("base64.encode(b'hi')", "'aGk='"),
];

#[test]
fn extensions_have_the_values_that_cel_gives_them() {
    let env = Environment::default();
    for (text, expected) in EXTENSIONS {
        assert_eq!(value(text, &env), *expected, "{text}");
    }
}

#[test]
fn unchecked_mistakes_are_errors_that_can_be_absorbed() {
    let env = Environment::default().unchecked();
    for (text, expected) in [
        ("x || true", "true"),
        ("f(17) || true", "true"),
        ("a.if() || true", "true"),
        ("'horses' && false", "false"),
        ("1.0 == 1 && [1] == [1.0]", "true"),
        ("1 == 'a'", "false"),
        ("{null: 1}[null]", "error: `a map key` cannot take null_type"),
        ("x", "error: unknown name `x`"),
    ] {
        assert_eq!(value(text, &env), expected, "{text}");
    }
}

#[test]
fn the_longest_declared_name_wins_but_local_variables_shadow_it() {
    let env = Environment::default()
        .container("com.example")
        .variable("a.b.c", Type::Int)
        .variable("com.example.y", Type::Int)
        .variable("y", Type::Int);
    let bindings = BTreeMap::from([
        ("a.b.c".to_owned(), Value::Int(1)),
        ("com.example.y".to_owned(), Value::Int(2)),
        ("y".to_owned(), Value::Int(3)),
    ]);
    for (text, expected) in [
        ("a.b.c", "1"),
        ("y", "2"),
        (".y", "3"),
        ("[4].map(y, y)[0]", "4"),
        ("[4].map(y, .y)[0]", "3"),
    ] {
        let value = env.check(text).unwrap().evaluate(&bindings).unwrap();
        assert_eq!(written(&value), expected, "{text}");
    }
    assert!(Environment::default().without_macros().check("[1].all(x, true)").is_err());
}

#[test]
fn types_are_deduced_as_the_most_general_that_fit() {
    let nullable = Type::Nullable(Box::new(Type::Int));
    let env = Environment::default().variable("w", nullable).variable("d", Type::Dyn);
    for (text, deduced) in [
        ("[[], [[]]]", "list(list(list(dyn)))"),
        ("[[[]], []]", "list(list(list(dyn)))"),
        ("[{}, {1: 'a'}]", "list(map(int, string))"),
        ("[{1: 'a'}, {}, {2: d}]", "list(map(int, dyn))"),
        ("[{}, {'a': {}}, {'b': {'c': {}}}]", "list(map(string, map(string, map(dyn, dyn))))"),
        ("[optional.none(), optional.of(1)]", "list(optional_type(int))"),
        ("[optional.of(1), optional.of(dyn(1))]", "list(optional_type(dyn))"),
        ("[optional.of(dyn(1)), optional.of(1)]", "list(optional_type(dyn))"),
        ("[optional.of(1), null][0]", "optional_type(int)"),
        ("[null, duration('1s')][0]", "duration"),
        ("[1, w]", "list(int)"),
        ("[1, w][0] == null", "bool"),
        ("[w, 1][0] == null", "bool"),
        ("true ? w : 1", "int"),
        ("[1, 'a']", "list(dyn)"),
        ("[d, 1]", "list(dyn)"),
        ("d + 1", "int"),
        ("d[0]", "dyn"),
        ("{'a': 1}.?a", "optional_type(int)"),
        ("[1].map(x, [x])", "list(list(int))"),
        ("{'a': 1}.transformMap(k, v, k)", "map(string, string)"),
        ("cel.bind(x, [1], x[0])", "int"),
        ("[[1], [2]].flatten()", "list(int)"),
        ("math.greatest(1, 2u)", "dyn"),
        ("math.greatest(1, 2, 3)", "int"),
    ] {
        let result = env.check(text).map(|expression| expression.result.to_string());
        assert_eq!(result.as_deref(), Ok(deduced), "{text}");
    }
}
