//! The rows of CEL's conformance suite, where they are at hand.
//!
//! The rows are no part of this project: the file is named by `CEL_CONFORMANCE`, by default
//! `../shared/conformance/cel-dev.jsonl`. Without it the test says so and passes.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::functions::time::parse_duration;
use super::super::*;
use crate::event::Timestamp;

fn value(json: &Json) -> Option<Value<'static>> {
    let (kind, of) = json.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "null" => Value::Null,
        "bool" => Value::Bool(of.as_bool()?),
        "int64" => Value::Int(of.as_str()?.parse().ok()?),
        "uint64" => Value::Uint(of.as_str()?.parse().ok()?),
        "double" => Value::Double(match of.as_str() {
            Some("NaN") => f64::NAN,
            Some("Infinity") => f64::INFINITY,
            Some("-Infinity") => f64::NEG_INFINITY,
            _ => of.to_string().parse().ok()?,
        }),
        "string" => Value::string(of.as_str()?),
        "bytes_b64" => Value::Bytes(base64(of.as_str()?).into()),
        "list" => Value::List(of.as_array()?.iter().map(value).collect::<Option<Vec<_>>>()?.into()),
        "map" => {
            let entry = |pair: &Json| Some((Key::new(&value(&pair[0])?)?, value(&pair[1])?));
            let entries = of.as_array()?.iter().map(entry).collect::<Option<Vec<_>>>()?;
            Value::Map(Map::new(entries).ok()?.into())
        }
        "timestamp" => Value::Timestamp(Timestamp::parse(of.as_str()?)?),
        "duration" => Value::Duration(parse_duration(of.as_str()?)?),
        "type" => Value::string(of.as_str()?),
        _ => return None,
    })
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | digit(byte);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn declared(json: &Json) -> Option<Type> {
    if let Some(name) = json.as_str() {
        return match name {
            "null_type" => Some(Type::Null),
            "any" => Some(Type::Dyn),
            name => Type::parse(name),
        };
    }
    let (kind, of) = json.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "list" => Type::list(declared(of)?),
        "map" => Type::map(declared(&of[0])?, declared(&of[1])?),
        "wrapper" => Type::Nullable(Box::new(declared(of)?)),
        "type" => Type::Type,
        _ => return None,
    })
}

/// Equal with types equal too, NaN equal to itself.
fn same(found: &Value<'_>, expected: &Value<'_>) -> bool {
    match (found, expected) {
        (Value::Type(name), Value::String(text)) => *name == &**text,
        (Value::Double(a), Value::Double(b)) if a.is_nan() => b.is_nan(),
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a.type_name() == b.type_name() && value::equal(a, b),
    }
}

/// Runs one row; what went wrong, if anything.
fn run(row: &Json) -> Result<(), String> {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let mut env = Environment::default().container(text("container"));
    if row["disable_check"] == true {
        env = env.unchecked();
    }
    if row["disable_macros"] == true {
        env = env.without_macros();
    }
    for item in row["type_env"].as_array().into_iter().flatten() {
        if let Some(declared) = declared(&item["ident"]) {
            env = env.variable(item["name"].as_str().unwrap_or_default(), declared);
        }
    }
    let mut bindings = BTreeMap::new();
    for (name, bound) in row["bindings"].as_object().into_iter().flatten() {
        bindings.insert(name.clone(), value(&bound["value"]).ok_or("a binding of unknown type")?);
        if row["disable_check"] == true {
            env = env.variable(name, Type::Dyn);
        }
    }
    let found = match env.check(text("expr")) {
        Err(error) => Err(error.to_string()),
        Ok(_) if row["check_only"] == true => return Ok(()),
        Ok(expression) => expression.evaluate(&bindings).map_err(|error| error.to_string()),
    };
    let expect = &row["expect"];
    match (found, expect.get("error")) {
        (Err(_), Some(_)) => Ok(()),
        (Ok(found), Some(_)) => Err(format!("expected an error, found {found:?}")),
        (Err(error), None) => Err(error),
        (Ok(found), None) => {
            let expected = value(&expect["value"]).ok_or("a value of unknown type")?;
            if same(&found, &expected) { Ok(()) } else { Err(format!("found {found:?}")) }
        }
    }
}

#[test]
fn every_core_row_of_the_conformance_suite_passes() {
    let path = std::env::var("CEL_CONFORMANCE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/cel-dev.jsonl").to_owned()
    });
    let Ok(rows) = std::fs::read_to_string(&path) else {
        println!("skipped: no conformance rows at {path}");
        return;
    };
    let mut passed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failed = Vec::new();
    for line in rows.lines() {
        let row: Json = serde_json::from_str(line).unwrap();
        let class = row["class"].as_str().unwrap_or_default();
        let result = run(&row);
        let count = passed.entry(format!("{class} {}", row["file"].as_str().unwrap())).or_default();
        count.0 += usize::from(result.is_ok());
        count.1 += 1;
        if let ("core", Err(error)) = (class, result) {
            failed.push(format!("{}: {}\n    {error}", row["id"], row["expr"]));
        }
    }
    for (file, (passed, all)) in passed {
        println!("{file}: {passed} of {all}");
    }
    assert!(failed.is_empty(), "{} core rows fail:\n{}", failed.len(), failed.join("\n"));
}
