//! The annotated reference of all settings, made from their schema: a settings file in YAML in which every line is
//! a comment, so that what one wants is taken out of it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::settings::SCHEMA;

/// Where lines of prose are broken.
const WIDTH: usize = 100;

/// The reference. Lines of settings begin with `#`, what is said of them with `##`.
#[must_use]
pub fn reference() -> String {
    let schema: Value = serde_json::from_str(&SCHEMA).unwrap_or_default();
    let mut out = String::new();
    let beginning = "Every setting of Sluicegate with its default or an example. Take the first `#` away from the \
         lines that you want, and from the names of the sections around them. What is left out has its default.";
    prose(&mut out, 0, beginning);
    for (name, part) in properties(&schema) {
        out.push('\n');
        setting(&mut out, &schema, (name, part), is_required(&schema, name), 0);
    }
    out
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().into_iter().flatten().any(|it| it == name)
}

/// A part with what it refers to in its place; what it says itself has precedence. With the reference's name.
fn resolved(whole: &Value, part: &Value) -> (Value, String) {
    let Some(to) = part["$ref"].as_str() else { return (part.clone(), String::new()) };
    let (mut all, inner) =
        resolved(whole, whole.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null));
    if let (Some(all), Some(own)) = (all.as_object_mut(), part.as_object()) {
        all.extend(
            own.iter().filter(|(key, _)| *key != "$ref").map(|(k, v)| (k.clone(), v.clone())),
        );
    }
    let name = to.rsplit('/').next().unwrap_or_default().to_owned();
    (all, if inner.is_empty() { name } else { inner })
}

fn setting(
    out: &mut String,
    whole: &Value,
    (name, part): (&str, &Value),
    required: bool,
    indent: usize,
) {
    let (part, form) = resolved(whole, part);
    let mut said = part["description"].as_str().unwrap_or_default().to_owned();
    let is_section = part["properties"].is_object();
    let items = resolved(whole, &part["items"]).0;
    let is_list_of_sections = items["properties"].is_object();
    if !is_section && !is_list_of_sections {
        let form = form_of(&part, &form);
        let _ = write!(
            said,
            "{}({form}{})",
            if said.is_empty() { "" } else { " " },
            fact(&part, required)
        );
    } else if required {
        said.push_str(" (required)");
    }
    if part["maxProperties"] == 1 {
        said.push_str(" One of these:");
    }
    prose(out, indent, said.trim());
    let space = " ".repeat(indent);
    if is_section {
        let _ = writeln!(out, "#{space}{name}:");
        for (inner, inner_part) in properties(&part) {
            let required = is_required(&part, inner);
            setting(out, whole, (inner, inner_part), required, indent + 2);
        }
    } else if is_list_of_sections {
        let _ = writeln!(out, "#{space}{name}:\n#{space}  -");
        for (inner, inner_part) in properties(&items) {
            let required = is_required(&items, inner);
            setting(out, whole, (inner, inner_part), required, indent + 4);
        }
    } else {
        let _ = writeln!(out, "#{space}{name}: {}", value_of(&part));
    }
}

/// What may be written, in a word or two.
fn form_of(part: &Value, named: &str) -> String {
    if let Some(words) = part["enum"].as_array() {
        let words: Vec<String> = words.iter().map(written).collect();
        return words.join(" or ");
    }
    match (named, part["type"].as_str()) {
        ("size" | "duration" | "address", _) => named,
        ("count", _) | (_, Some("integer")) => "number",
        (_, Some("boolean")) => "true or false",
        (_, Some("array")) => "list",
        (_, Some("object")) => "names with values",
        _ => "text",
    }
    .to_owned()
}

fn fact(part: &Value, required: bool) -> String {
    match (required, part.get("default")) {
        (true, _) => ", required".to_owned(),
        (false, Some(default)) => format!(", default {}", written(default)),
        (false, None) => String::new(),
    }
}

/// The default, or an example.
fn value_of(part: &Value) -> String {
    let example = || part["examples"].get(0).or_else(|| part["enum"].get(0));
    part.get("default").or_else(example).map_or_else(String::new, written)
}

/// A value on one line of YAML.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Object(members) => flow(members),
        other => other.to_string(),
    }
}

fn flow(members: &Map<String, Value>) -> String {
    let each = members.iter().map(|(name, value)| format!("{name}: {}", written(value)));
    format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
}

/// Whether a text is the same text in YAML without quotes, whatever stands around it.
fn is_plain(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/');
    is_word && text.chars().all(is_fit) && !["true", "false", "null", "yes", "no"].contains(&text)
        || text.ends_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Writes prose as comments.
fn prose(out: &mut String, indent: usize, text: &str) {
    let space = " ".repeat(indent);
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.len() + word.len() + 4 > WIDTH {
            let _ = writeln!(out, "#{space}#{line}");
            line.clear();
        }
        let _ = write!(line, " {word}");
    }
    if !line.is_empty() {
        let _ = writeln!(out, "#{space}#{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Format};

    #[test]
    fn every_setting_of_the_schema_stands_in_it_and_it_reads_as_yaml_without_its_first_signs() {
        let reference = reference();
        assert!(reference.lines().all(|line| line.is_empty() || line.starts_with('#')));
        let yaml: String = reference
            .lines()
            .map(|line| line.strip_prefix('#').unwrap_or_default().to_owned() + "\n")
            .collect();
        let variable = |_: &str| Some("x".to_owned());
        let document = Document::parse("reference.yaml", yaml, Format::Yaml, &variable);
        assert!(document.is_ok(), "{}", document.err().unwrap());
        fn leaves(part: &Value, whole: &Value) -> usize {
            let part = resolved(whole, part).0;
            let items = resolved(whole, &part["items"]).0;
            let inner = if items["properties"].is_object() { &items } else { &part };
            match properties(inner).count() {
                0 => 1,
                _ => properties(inner).map(|(_, it)| leaves(it, whole)).sum(),
            }
        }
        let whole: Value = serde_json::from_str(&SCHEMA).unwrap();
        let is_setting = |line: &&str| !line.trim_start_matches('#').trim().is_empty();
        let settings = reference.lines().filter(is_setting).filter(|line| {
            let line = line[1..].trim_start();
            !line.starts_with('#') && !line.ends_with(':') && line != "-"
        });
        assert_eq!(settings.count(), leaves(&whole, &whole));
    }
}
