//! A number is the same double wherever it is read: written in a filter, in a declared field of an event,
//! in one of any type, by `double(…)`, and by serde_json, which reads what the API is sent.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::*;
use super::{http, run};

/// What an expression without variables gives.
fn double(text: &str) -> f64 {
    let expression = Environment::default().check(text).unwrap_or_else(|error| panic!("{error}"));
    match expression.evaluate(&BTreeMap::new()) {
        Ok(Value::Double(double)) => double,
        other => panic!("{text}: {other:?}"),
    }
}

fn is_one_double_everywhere(text: &str) {
    let expected: f64 = text.parse().unwrap();
    let bits = expected.to_bits();
    let json: Json = serde_json::from_str(text).unwrap();
    assert_eq!(json.as_f64().map(f64::to_bits), Some(bits), "serde_json: {text}");
    // What serde_json writes again, as events that are posted to `filters/try` are.
    for text in [text, &json.to_string()] {
        assert_eq!(double(text).to_bits(), bits, "in a filter: {text}");
        assert_eq!(double(&format!("double('{text}')")).to_bits(), bits, "converted: {text}");
        // Equality of doubles takes -0.0 for 0.0, which is no difference that a filter can see.
        let filter = check(&format!("ev.load == {text} && dyn(ev.anything) == {text}"), &http());
        let object = format!(r#"{{"load": {text}, "anything": {text}}}"#);
        assert_eq!(run(&filter.unwrap(), &object), Ok(true), "in an event: {text}");
    }
}

#[test]
fn doubles_that_a_quick_parser_reads_wrong_are_read_right() {
    for text in [
        "1.38e-23",
        "-1.38e-23",
        "6.02214076e23",
        "9007199254740993.0",
        "1.7976931348623157e308",
        "2.2250738585072011e-308",
        "5e-324",
        "2.4703282292062328e-324",
        "-0.0",
        "0.1",
        "123456789012345678901234567890.5",
    ] {
        is_one_double_everywhere(text);
    }
}

proptest! {
    #[test]
    fn every_double_is_read_as_it_is_written(bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        is_one_double_everywhere(&format!("{double:?}"));
        let scientific = format!("{double:e}");
        is_one_double_everywhere(&scientific.replace('e', "E"));
    }

    #[test]
    fn every_decimal_number_is_read_alike(
        text in r"-?(0|[1-9][0-9]{0,25})\.[0-9]{1,25}([eE][+-]?[0-9]{1,3})?",
    ) {
        prop_assume!(text.parse::<f64>().unwrap().is_finite());
        is_one_double_everywhere(&text);
    }
}
