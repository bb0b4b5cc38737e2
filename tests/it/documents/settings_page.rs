//! `docs/settings.md` is made from the settings' JSON Schema, and each of its examples is read by the daemon's
//! own decoder. `UPDATE_PAGES=1` writes the page anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use sluicegate::config::{Config, Document, Format, SCHEMA};

const PAGE: &str = "docs/settings.md";

const BEGINNING: &str = "\
# Settings

A settings file is YAML, TOML or JSON, by its ending; `-c FILE` names it. `sluicegate check -c FILE` finds every
mistake of it at once, and unknown names are mistakes. `sluicegate config schema` prints the JSON Schema from which
this page is made, for editors; `sluicegate config reference` prints the page as a settings file of comments. Without a file the
daemon runs with all defaults and no subscriptions.

- A size is a number of bytes, or a number with a unit: `500KiB`, `16MiB`, `10GiB` (1 KiB is 1,024 bytes).
- A duration is a number with a unit: `200ms`, `30s`, `5m`, `1h`, `7d`.
- Any text may refer to what is not in the file: `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}`. What is
  filled in is never shown again.
- Relative paths begin where the daemon was started.
- `[]` in a name stands for each item of a list. What is required is so where its section is there at all.
- SIGHUP, `sluicegate reload`, or a change of a file that it names as `${file:/path}`, has the file read again.
  Destinations, subscriptions, event types, `bearer_tokens`, and what targets made through the API may do, change at once; for the rest the daemon says that it takes effect at the next start. A file
  with a mistake changes nothing, and one that takes most of what runs away only if somebody says that it may
  (`allow_removal`).
";

/// One setting: a leaf of the schema.
struct Leaf {
    /// Its name from the top, such as `destinations[].id`.
    path: String,
    schema: Map<String, Value>,
    required: bool,
}

fn schema() -> Value {
    serde_json::from_str(&SCHEMA).unwrap()
}

/// A part of the schema with what it refers to filled in; what it says itself has precedence.
fn resolved(part: &Value) -> Map<String, Value> {
    let mut own = part.as_object().unwrap().clone();
    if let Some(reference) = own.remove("$ref") {
        let pointer = reference.as_str().unwrap().trim_start_matches('#').to_owned();
        let mut all = resolved(schema().pointer(&pointer).unwrap());
        let name = pointer.rsplit('/').next().unwrap().to_owned();
        all.insert("form".to_owned(), Value::String(name));
        all.extend(own);
        return all;
    }
    own
}

fn leaves(part: &Value, path: &str, required: bool, found: &mut Vec<Leaf>) {
    let schema = resolved(part);
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let needed: Vec<&Value> = schema.get("required").into_iter().flat_map(items).collect();
        for (name, part) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            let needed = needed.iter().any(|it| *it == name);
            leaves(part, &format!("{path}{dot}{name}"), needed, found);
        }
    } else if schema.get("items").is_some_and(|it| resolved(it).contains_key("properties")) {
        leaves(&schema["items"], &format!("{path}[]"), required, found);
    } else {
        found.push(Leaf { path: path.to_owned(), schema, required });
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().unwrap()
}

fn all_leaves() -> Vec<Leaf> {
    let mut found = Vec::new();
    leaves(&schema(), "", false, &mut found);
    assert!(found.len() > 50, "not the whole schema");
    found
}

impl Leaf {
    fn text(&self, key: &str) -> &str {
        self.schema.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn default(&self) -> Option<&Value> {
        self.schema.get("default")
    }

    /// An example: one that the schema gives, or else the default.
    fn example(&self) -> Option<&Value> {
        let given = self.schema.get("examples").map(|list| &items(list)[0]);
        given.or(self.default()).or_else(|| Some(&items(self.schema.get("enum")?)[0]))
    }

    fn form(&self) -> String {
        if let Some(words) = self.schema.get("enum") {
            let words: Vec<String> = items(words).iter().map(inline).collect();
            return words.join(" or ");
        }
        match self.text("form") {
            "size" => return "size".to_owned(),
            "duration" => return "duration".to_owned(),
            "count" => return "number".to_owned(),
            "address" => return "address".to_owned(),
            _ => {}
        }
        match self.text("type") {
            "integer" => "number",
            "boolean" => "true or false",
            "array" => "list of texts",
            "object" => "names with values",
            _ => "text",
        }
        .to_owned()
    }
}

/// A value as it may stand in a settings file, on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{}`", flow(other)),
    }
}

/// A value in YAML's flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let member = |(name, value)| format!("{name}: {}", flow(value));
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if text.contains(['$', ',', ':', '#', ' ']) => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn page() -> String {
    let mut page = BEGINNING.to_owned();
    let mut section = String::new();
    for leaf in all_leaves() {
        let first = leaf.path.split(['.', '[']).next().unwrap();
        if section != first {
            section = first.to_owned();
            let _ = write!(page, "\n## {section}\n");
            if let Some(about) = resolved(&schema()["properties"][first]).get("description")
                && leaf.path != first
            {
                let _ = write!(page, "\n{}\n", about.as_str().unwrap());
            }
            page.push_str("\n| setting | form | default | example | |\n|---|---|---|---|---|\n");
        }
        let default = match (leaf.required, leaf.default()) {
            (true, _) => "required".to_owned(),
            (false, Some(value)) => inline(value),
            (false, None) => String::new(),
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {} | {} |",
            leaf.path,
            leaf.form(),
            leaf.example().map(inline).unwrap_or_default(),
            leaf.text("description").replace('|', "\\|"),
        );
    }
    page
}

#[test]
fn the_page_of_settings_tells_what_the_schema_tells() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == page, "{PAGE} is not what schema.json says; UPDATE_PAGES=1 writes it anew");
}

#[test]
fn every_setting_says_what_it_is_and_gives_an_example() {
    for leaf in all_leaves() {
        assert!(leaf.example().is_some(), "{} has neither default nor examples", leaf.path);
        assert!(!leaf.text("description").is_empty(), "{} has no description", leaf.path);
    }
}

/// What follows a name in a path, if the path begins with it; names may have dots of their own.
fn behind<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(name)?;
    let rest = rest.strip_prefix("[]").unwrap_or(rest);
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// The smallest value of a part that has the setting at a path (the names that are still to go), with all
/// that this requires.
fn smallest(part: &Value, path: &str) -> Value {
    let schema = resolved(part);
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let mut names: Vec<&str> = schema
            .get("required")
            .into_iter()
            .flat_map(items)
            .map(|it| it.as_str().unwrap())
            .collect();
        let wanted = properties.keys().find_map(|name| Some((name, behind(path, name)?)));
        let (wanted, rest) = wanted.map_or((None, ""), |(name, rest)| (Some(name.as_str()), rest));
        names.extend(wanted);
        if let Some(also) = wanted.and_then(|name| schema.get("dependentRequired")?.get(name)) {
            names.extend(items(also).iter().map(|it| it.as_str().unwrap()));
        }
        // Exactly one of several: the wanted one, or else the simplest.
        if schema.contains_key("maxProperties") && names.is_empty() {
            names.push("debug");
        }
        let member = |name: &str| {
            let rest = if wanted == Some(name) { rest } else { "" };
            (name.to_owned(), smallest(&properties[name], rest))
        };
        return Value::Object(names.into_iter().map(member).collect());
    }
    if let Some(item) = schema.get("items")
        && resolved(item).contains_key("properties")
    {
        return json!([smallest(item, path)]);
    }
    Leaf { path: String::new(), schema, required: false }.example().unwrap().clone()
}

#[test]
fn every_example_of_a_setting_is_taken_by_the_daemon() {
    let mut refused = Vec::new();
    let mut tried = 0;
    for leaf in all_leaves() {
        // Certificates are read; there are none of these names here.
        if leaf.path.contains(".tls.") || leaf.path.contains(".client_certificate.") {
            continue;
        }
        let mut settings = smallest(&schema(), &leaf.path);
        if settings.get("subscriptions").is_some() {
            let destination = json!([{"id": "errors", "target": {"debug": {"log": true}}}]);
            settings["destinations"] = destination;
        }
        let text = settings.to_string();
        let variables = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://user:password@db.example/gate".to_owned()),
            "WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            _ => Some(format!("value-of-{name}")),
        };
        let read = Document::parse("settings.json", text.clone(), Format::Json, &variables)
            .and_then(|document| Config::read(&document));
        tried += 1;
        if let Err(mistakes) = read {
            refused.push(format!("{}: {text}\n{mistakes}", leaf.path));
        }
    }
    assert!(tried > 50 && refused.is_empty(), "{}", refused.join("\n"));
}
