//! The rows of CEL's conformance suite, where they are at hand.
//!
//! The rows are no part of this project: the file is named by `CEL_CONFORMANCE`, by default
//! `../shared/conformance/cel-dev.jsonl`. Without it the test says so and passes.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use sluicegate::event::Timestamp;
use sluicegate::filter::{Declaration, Environment, Key, Map, Type, Value};

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
            _ => of.as_f64()?,
        }),
        "string" => Value::string(of.as_str()?),
        "bytes_b64" => Value::Bytes(STANDARD.decode(of.as_str()?).ok()?.into()),
        "list" => Value::List(of.as_array()?.iter().map(value).collect::<Option<Vec<_>>>()?.into()),
        "map" => {
            let entry = |pair: &Json| Some((Key::new(&value(&pair[0])?)?, value(&pair[1])?));
            let entries = of.as_array()?.iter().map(entry).collect::<Option<Vec<_>>>()?;
            Value::Map(Map::new(entries).ok()?.into())
        }
        "timestamp" => Value::Timestamp(Timestamp::parse(of.as_str()?)?),
        "duration" => Value::Duration(nanoseconds(of.as_str()?)?),
        "type" => Value::string(of.as_str()?),
        _ => return None,
    })
}

/// A span such as `-1.5s`.
fn nanoseconds(text: &str) -> Option<i64> {
    let seconds = text.strip_suffix('s')?;
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
    let nanos: i64 = format!("{part:0<9}").parse().ok()?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(sign * nanos)
}

/// A type; type variables are numbered as they are met.
fn declared(json: &Json, variables: &mut Vec<String>) -> Option<Type> {
    if let Some(name) = json.as_str() {
        return match name {
            "null_type" => Some(Type::Null),
            "any" => Some(Type::Dyn),
            name => Type::parse(name),
        };
    }
    let (kind, of) = json.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "list" => Type::list(declared(of, variables)?),
        "map" => Type::map(declared(&of[0], variables)?, declared(&of[1], variables)?),
        "wrapper" => Type::Nullable(Box::new(declared(of, variables)?)),
        "type" => Type::Type,
        "type_param" => {
            let name = of.as_str()?;
            let known = variables.iter().position(|known| known == name);
            Type::Variable(known.unwrap_or_else(|| {
                variables.push(name.to_owned());
                variables.len() - 1
            }))
        }
        "abstract" => {
            let parameters = of["params"].as_array()?.iter();
            let parameters: Option<Vec<_>> =
                parameters.map(|json| declared(json, variables)).collect();
            Type::Abstract(of["name"].as_str()?.to_owned(), parameters?)
        }
        _ => return None,
    })
}

fn declaration(json: &Json) -> Option<Declaration> {
    let mut variables = Vec::new();
    let parameters = json["params"].as_array()?.iter();
    let parameters: Option<Vec<_>> =
        parameters.map(|json| declared(json, &mut variables)).collect();
    Some(Declaration {
        parameters: parameters?,
        result: declared(&json["result"], &mut variables)?,
        receiver: json["is_instance"] == true,
    })
}

/// Whether a deduced type is the expected one; what is left open counts as dyn.
fn same_type(found: &Type, expected: &Type) -> bool {
    match (found, expected) {
        (Type::Variable(_), Type::Dyn) => true,
        (Type::List(a), Type::List(b)) | (Type::Nullable(a), Type::Nullable(b)) => same_type(a, b),
        (Type::Map(a_key, a_value), Type::Map(b_key, b_value)) => {
            same_type(a_key, b_key) && same_type(a_value, b_value)
        }
        (Type::Abstract(a, a_of), Type::Abstract(b, b_of)) => {
            a == b
                && a_of.len() == b_of.len()
                && a_of.iter().zip(b_of).all(|(a, b)| same_type(a, b))
        }
        (a, b) => a == b,
    }
}

/// Equal with types equal too, NaN equal to itself.
fn same(found: &Value<'_>, expected: &Value<'_>) -> bool {
    match (found, expected) {
        (Value::Type(name), Value::String(text)) => *name == &**text,
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Uint(a), Value::Uint(b)) => a == b,
        (Value::Double(a), Value::Double(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => false,
    }
}

/// The names that a row declares and binds.
fn environment(row: &Json) -> Option<(Environment, BTreeMap<String, Value<'static>>)> {
    let unchecked = row["disable_check"] == true;
    let mut env = Environment::default().container(row["container"].as_str().unwrap_or_default());
    if unchecked {
        env = env.unchecked();
    }
    if row["disable_macros"] == true {
        env = env.without_macros();
    }
    for item in row["type_env"].as_array().into_iter().flatten() {
        let name = item["name"].as_str()?;
        if let Some(ident) = item.get("ident") {
            env = env.variable(name, declared(ident, &mut Vec::new())?);
        }
        for overload in item["function"].as_array().into_iter().flatten() {
            env = env.function(name, declaration(overload)?);
        }
    }
    let mut bindings = BTreeMap::new();
    for (name, bound) in row["bindings"].as_object().into_iter().flatten() {
        bindings.insert(name.clone(), value(&bound["value"])?);
        if unchecked {
            env = env.variable(name, Type::Dyn);
        }
    }
    Some((env, bindings))
}

/// Runs one row; what was expected and got, if they differ.
fn run(row: &Json) -> Result<(), String> {
    let expect = &row["expect"];
    let (env, bindings) = environment(row).ok_or("the row cannot be read")?;
    let differs = |got: String| Err(format!("expected {expect}, got {got}"));
    let expression = match env.check(row["expr"].as_str().unwrap_or_default()) {
        Ok(expression) => expression,
        Err(_) if expect.get("error").is_some() => return Ok(()),
        Err(error) => return differs(error.to_string()),
    };
    if let Some(deduced) = expect.get("deduced_type") {
        let deduced = declared(deduced, &mut Vec::new()).ok_or("an unknown type")?;
        if !same_type(&expression.result, &deduced) {
            return differs(format!("the type {:?}", expression.result));
        }
    }
    if row["check_only"] == true {
        return Ok(());
    }
    match (expression.evaluate(&bindings), expect.get("value")) {
        (Err(_), None) => Ok(()),
        (Ok(found), Some(expected)) => {
            let expected = value(expected).ok_or("a value of unknown type")?;
            if same(&found, &expected) { Ok(()) } else { differs(format!("{found:?}")) }
        }
        (found, _) => differs(format!("{found:?}")),
    }
}

#[test]
fn cel_conformance() {
    let path = std::env::var("CEL_CONFORMANCE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/cel-dev.jsonl").to_owned()
    });
    let Ok(rows) = std::fs::read_to_string(&path) else {
        println!("skipped: no CEL conformance rows at {path}");
        return;
    };
    let (mut passed, mut all) = (0, 0);
    for line in rows.lines().filter(|line| !line.trim().is_empty()) {
        let row: Json = serde_json::from_str(line).unwrap();
        all += 1;
        match run(&row) {
            Ok(()) => passed += 1,
            Err(difference) => {
                println!("{}: {}\n    {difference}", row["id"], row["expr"]);
            }
        }
    }
    // Straight to standard error: what is printed by macros shows only when a test fails.
    let _ = writeln!(std::io::stderr(), "{passed} of {all} CEL rows pass");
    assert!(passed == all, "{} CEL rows fail", all - passed);
}
