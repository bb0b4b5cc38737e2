//! Reading requests: every parameter of a body checked against its field of the table.
//!
//! It looks at one body alone. What depends on other resources is checked in `rules`.

use std::borrow::Cow;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::kind::{Field, Kind, MAX_ITEMS, Presence, Shape, Spec};
use super::object::{Object, owner};
use super::refusal::Refusal;
use super::{sending, targets};
use crate::event::Timestamp;
use crate::sinks::ApiTargets;

/// Reads the body of a creation into the fields to keep.
pub(super) fn create(
    spec: &'static Spec,
    input: &Map<String, Value>,
    rules: &ApiTargets,
) -> Result<Map<String, Value>, Refusal> {
    let input = &by_newer_names(spec.kind, input)?;
    refuse_unknown(spec, input, true)?;
    let mut body = Map::new();
    for field in spec.fields() {
        let given = input.get(field.name).filter(|value| !value.is_null());
        let value = match (given, field.presence) {
            (None, Presence::Required(code) | Presence::FixedRequired(code)) => {
                return Err(missing(field, code));
            }
            (None, _) => default(field.shape),
            (Some(value), _) => read(field, value, (None, rules))?,
        };
        if let Presence::Required(code) | Presence::FixedRequired(code) = field.presence
            && (value == json!("") || value == json!([]))
        {
            return Err(missing(field, code));
        }
        if field.presence != Presence::Request {
            body.insert(field.name.to_owned(), value);
        }
    }
    Ok(body)
}

/// Reads the body of an update over the resource as it is. Null means "not given", but for what ngrok does
/// not have: there it means the default.
pub(super) fn update(
    before: &Object,
    input: &Map<String, Value>,
    rules: &ApiTargets,
) -> Result<Map<String, Value>, Refusal> {
    let spec = before.kind.spec();
    let input = &by_newer_names(before.kind, input)?;
    refuse_unknown(spec, input, false)?;
    agrees("id", input.get("id").map(by_either_id).as_ref(), &before.id)?;
    let mut body = before.body.clone();
    let mut any = false;
    for field in spec.fields() {
        let resets = |value: &Value| value.is_null() && field.presence == Presence::Ours;
        if input.get(field.name).is_some_and(resets) {
            any = true;
            body.insert(field.name.to_owned(), default(field.shape));
        }
        let Some(value) = input.get(field.name).filter(|value| !value.is_null()) else { continue };
        if !field.presence.given(false) {
            fixed(field, value, before, rules)?;
            continue;
        }
        any = true;
        let value = read(field, value, (Some(before), rules))?;
        if let Presence::Required(code) = field.presence
            && (value == json!("") || value == json!([]))
        {
            return Err(missing(field, code));
        }
        if field.presence != Presence::Request {
            body.insert(field.name.to_owned(), value);
        }
    }
    match spec.empty_update {
        Some(code) if !any => {
            let message = format!("an update of this {} must name a value", spec.noun);
            Err(Refusal::invalid(code, message))
        }
        _ => Ok(body),
    }
}

/// Takes what a body repeats of what an update cannot change, such as the id in its path: ngrok's clients
/// send it along. Null and an empty text are not given.
///
/// # Errors
/// When it is another value.
pub(super) fn agrees(name: &str, given: Option<&Value>, own: &str) -> Result<(), Refusal> {
    match given {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text.is_empty() || text == own => Ok(()),
        Some(Value::String(text)) => {
            let message = format!("`{name}` is `{own}` and cannot become `{text}`: leave it out");
            Err(Refusal::invalid("ERR_SLUICEGATE_1350", message))
        }
        Some(_) => Err(Refusal::wrong_type(name, "a string")),
    }
}

fn by_either_id(id: &Value) -> Value {
    id.as_str().map_or_else(|| id.clone(), |id| json!(owner(id)))
}

/// The same for a field that is set when the resource is made.
fn fixed(field: &Field, value: &Value, before: &Object, rules: &ApiTargets) -> Result<(), Refusal> {
    if *value == json!("") {
        return Ok(());
    }
    let value = read(field, value, (None, rules))?;
    agrees(field.name, Some(&by_either_id(&value)), &owner(before.text(field.name)))
}

/// A body with the newer names of its fields: ngrok's Go client before v5 calls a domain's `domain` `name`.
fn by_newer_names(
    kind: Kind,
    input: &Map<String, Value>,
) -> Result<Cow<'_, Map<String, Value>>, Refusal> {
    let Some(name) = input.get("name").filter(|_| kind == Kind::ReservedDomain) else {
        return Ok(Cow::Borrowed(input));
    };
    let mut renamed = input.clone();
    renamed.remove("name");
    let is_given = |value: &Value| !value.is_null() && *value != json!("");
    match input.get("domain").filter(|domain| is_given(domain)) {
        Some(domain) if is_given(name) && domain != name => {
            let message = "`name` is the older name of `domain`: give one of them";
            return Err(Refusal::invalid("ERR_NGROK_215", message));
        }
        Some(_) => {}
        None => drop(renamed.insert("domain".to_owned(), name.clone())),
    }
    Ok(Cow::Owned(renamed))
}

fn refuse_unknown(
    spec: &'static Spec,
    input: &Map<String, Value>,
    on_create: bool,
) -> Result<(), Refusal> {
    let known = |name: &str| match spec.field(name) {
        Some(field) => field.presence != Presence::ReadOnly,
        None => name == "id" && !on_create,
    };
    let Some(name) = input.keys().find(|name| !known(name)) else { return Ok(()) };
    if spec.path == "ip_policies" && name == "action" {
        let message = "`action` belongs on the rules of an IP policy, not on the policy";
        return Err(Refusal::invalid("ERR_NGROK_1423", message));
    }
    let supported: Vec<&str> = spec
        .fields()
        .iter()
        .filter(|field| field.presence.given(on_create))
        .map(|field| field.name)
        .collect();
    Err(Refusal::unknown(name, &supported))
}

fn missing(field: &Field, code: &'static str) -> Refusal {
    let choices = match field.shape {
        Shape::Choice(choices, _) => format!(", one of `{}`", choices.join("`, `")),
        _ => String::new(),
    };
    Refusal::invalid(code, format!("`{}` is required{choices}", field.name))
}

fn default(shape: Shape) -> Value {
    match shape {
        Shape::Bytes(_) | Shape::Chars(_) => json!(""),
        Shape::Flag(default) => json!(default),
        Shape::Choice(choices, _) => json!(choices.first()),
        Shape::List(_) | Shape::Refs(..) | Shape::Sources | Shape::Rules | Shape::Hosts => {
            json!([])
        }
        _ => Value::Null,
    }
}

fn read(
    field: &Field,
    value: &Value,
    (before, of_targets): (Option<&Object>, &ApiTargets),
) -> Result<Value, Refusal> {
    let name = field.name;
    let text = || value.as_str().ok_or_else(|| Refusal::wrong_type(name, "a string"));
    match field.shape {
        Shape::Bytes(max) => bounded(name, text()?, text()?.len(), (max, "bytes")),
        Shape::Chars(max) => bounded(name, text()?, text()?.chars().count(), (max, "characters")),
        Shape::Flag(_) => match value {
            Value::Bool(_) => Ok(value.clone()),
            _ => Err(Refusal::wrong_type(name, "true or false")),
        },
        Shape::Choice(choices, code) => choice(name, text()?, choices, code),
        Shape::Cidr => network(text()?).map(|network| json!(network.to_string())),
        Shape::Ref(..) | Shape::Owner => Ok(json!(text()?)),
        // An empty text is what clients send for an optional id that nobody gave.
        Shape::CertificateRef => Ok(Some(text()?).filter(|id| !id.is_empty()).into()),
        Shape::Refs(..) => ids(name, value),
        Shape::Sources => sources(value),
        Shape::Term => sending::read(name, value),
        Shape::Time => match Timestamp::parse(text()?) {
            Some(_) => Ok(value.clone()),
            None => Err(Refusal::wrong_type(name, "a time such as `2030-01-31T12:00:00Z`")),
        },
        Shape::Rules => rules(name, value),
        Shape::Hosts => hosts(name, value),
        Shape::Certificate(kind) => certificate(name, value, kind),
        Shape::Target => {
            let before = before.and_then(|it| it.body.get(name));
            let before = before.map(targets::read_kept).transpose()?;
            Ok(targets::write(&targets::read(value, before.as_ref(), of_targets)?))
        }
        Shape::List(_) | Shape::Token | Shape::LastUse | Shape::Nothing => Ok(Value::Null),
    }
}

fn bounded(
    name: &str,
    text: &str,
    length: usize,
    (max, unit): (usize, &str),
) -> Result<Value, Refusal> {
    if length > max {
        let code = match name {
            "name" => "ERR_NGROK_4110",
            _ => "ERR_NGROK_215",
        };
        let message = format!("`{name}` has {length} {unit}, at most {max} are allowed");
        return Err(Refusal::invalid(code, message));
    }
    Ok(json!(text))
}

fn choice(
    name: &str,
    text: &str,
    choices: &[&'static str],
    code: &'static str,
) -> Result<Value, Refusal> {
    // An empty text is what clients send for an optional choice that nobody made.
    if text.is_empty() && name == "region" {
        return Ok(json!(choices.first()));
    }
    match choices.iter().find(|choice| choice.eq_ignore_ascii_case(text)) {
        // ngrok's documents write `JSON` and its answers `json`; Terraform wants back what it sent.
        Some(_) if name == "format" => Ok(json!(text)),
        Some(choice) => Ok(json!(choice)),
        None => {
            let message =
                format!("`{name}` must be one of `{}`, not `{text}`", choices.join("`, `"));
            Err(Refusal::invalid(code, message))
        }
    }
}

/// Reads a network as IP policy rules have it: with a mask, from its lowest address.
pub(super) fn network(text: &str) -> Result<IpNet, Refusal> {
    let wrong = || {
        let message = format!("`{text}` is no network, such as 203.0.113.0/24 or 2001:db8::/32");
        Refusal::invalid("ERR_NGROK_1406", message)
    };
    if text.parse::<std::net::IpAddr>().is_ok() {
        let mask = if text.contains(':') { 128 } else { 32 };
        let message = format!("`{text}` has no mask: write `{text}/{mask}` for this one address");
        return Err(Refusal::invalid("ERR_NGROK_1413", message));
    }
    let network: IpNet = text.parse().map_err(|_| wrong())?;
    if let IpNet::V6(mapped) = network
        && mapped.addr().to_ipv4_mapped().is_some()
    {
        let message =
            format!("`{text}` is IPv4 written as IPv6, which no address here is: write it as IPv4");
        return Err(Refusal::invalid("ERR_NGROK_1406", message));
    }
    if network.addr() != network.network() {
        let message = format!(
            "`{text}` must begin at the network's lowest address: write `{}`",
            network.trunc()
        );
        return Err(Refusal::invalid("ERR_NGROK_1409", message));
    }
    Ok(network)
}

fn ids(name: &str, value: &Value) -> Result<Value, Refusal> {
    let wrong = || Refusal::wrong_type(name, "a list of ids");
    let items = value.as_array().ok_or_else(wrong)?;
    for (at, item) in items.iter().enumerate() {
        let id = item.as_str().ok_or_else(wrong)?;
        if items[..at].contains(item) {
            let message = format!("`{name}` names `{id}` twice");
            return Err(Refusal::invalid("ERR_SLUICEGATE_1203", message));
        }
    }
    Ok(value.clone())
}

/// Reads one source: `type`, `filter` and `fields`; what is empty is not given.
pub(super) fn source(value: &Value) -> Result<Value, Refusal> {
    let members =
        value.as_object().ok_or_else(|| Refusal::wrong_type("sources", "a list of objects"))?;
    let known = ["type", "filter", "fields"];
    // An answer's source has its address too, and may be sent back.
    if let Some(name) =
        members.keys().find(|name| !known.contains(&name.as_str()) && *name != "uri")
    {
        return Err(Refusal::unknown(name, &known));
    }
    let mut source = Map::new();
    let event_type = members.get("type").and_then(Value::as_str).unwrap_or_default();
    if event_type.is_empty() {
        return Err(Refusal::invalid("ERR_NGROK_238", "a source needs a `type`, an event type"));
    }
    source.insert("type".to_owned(), json!(event_type));
    match members.get("filter") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.trim().is_empty() => {}
        Some(Value::String(text)) => {
            source.insert("filter".to_owned(), json!(text));
        }
        Some(_) => return Err(Refusal::wrong_type("filter", "a string")),
    }
    match members.get("fields") {
        None | Some(Value::Null) => {}
        Some(Value::Array(fields)) if fields.iter().all(Value::is_string) => {
            if !fields.is_empty() {
                source.insert("fields".to_owned(), json!(fields));
            }
        }
        Some(_) => return Err(Refusal::wrong_type("fields", "a list of strings")),
    }
    Ok(Value::Object(source))
}

fn sources(value: &Value) -> Result<Value, Refusal> {
    let items =
        value.as_array().ok_or_else(|| Refusal::wrong_type("sources", "a list of objects"))?;
    items.iter().map(source).collect()
}

/// A credential's rules: `*`, or `bind:` and a name with wildcards.
fn rules(name: &str, value: &Value) -> Result<Value, Refusal> {
    let wrong = || Refusal::wrong_type(name, "a list of strings");
    let items = value.as_array().ok_or_else(wrong)?;
    limit(name, items.len())?;
    for item in items {
        let rule = item.as_str().ok_or_else(wrong)?;
        let bound = rule.strip_prefix("bind:").is_some_and(|it| {
            !matches!(it, "" | "account:")
                && it.len() <= 255
                && it.bytes().all(|byte| byte.is_ascii_graphic())
        });
        if rule != "*" && !bound {
            let message = format!(
                "`{rule}` is no rule: write `*`, or `bind:` with an event type or a host, such as `bind:*.example.net`, or with `account:` and an account's id"
            );
            return Err(Refusal::invalid("ERR_NGROK_600", message));
        }
    }
    Ok(value.clone())
}

fn hosts(name: &str, value: &Value) -> Result<Value, Refusal> {
    let wrong = || Refusal::wrong_type(name, "a list of objects with the key `value`");
    let items = value.as_array().ok_or_else(wrong)?;
    limit(name, items.len())?;
    let host = |item: &Value| {
        let value = item.as_object().filter(|it| it.len() == 1)?.get("value")?.as_str()?;
        Some(json!({"value": value}))
    };
    items.iter().map(|item| host(item).ok_or_else(wrong)).collect()
}

fn limit(name: &str, length: usize) -> Result<(), Refusal> {
    if length <= MAX_ITEMS {
        return Ok(());
    }
    let message = format!("`{name}` has {length} items, at most {MAX_ITEMS} are allowed");
    Err(Refusal::invalid("ERR_NGROK_215", message))
}

fn certificate(name: &str, value: &Value, default_kind: &str) -> Result<Value, Refusal> {
    let wrong = |what: &str| Refusal::invalid("ERR_NGROK_215", format!("`{name}` must be {what}"));
    let members = value.as_object().ok_or_else(|| wrong("an object"))?;
    let known = ["authority", "private_key_type"];
    if let Some(member) = members.keys().find(|member| !known.contains(&member.as_str())) {
        return Err(Refusal::unknown(&format!("{name}.{member}"), &known));
    }
    let word = |key: &str, choices: &[&str], default: &str| {
        let given =
            members.get(key).filter(|it| !it.is_null()).map_or(Some(default), Value::as_str);
        let given = given.map(|it| if it.is_empty() { default } else { it });
        let found = choices.iter().find(|choice| Some(**choice) == given);
        found
            .copied()
            .map(str::to_owned)
            .ok_or_else(|| wrong(&format!("given with `{key}`, one of `{}`", choices.join("`, `"))))
    };
    Ok(json!({
        "authority": word("authority", &["letsencrypt"], "letsencrypt")?,
        "private_key_type": word("private_key_type", &["rsa", "ecdsa"], default_kind)?,
    }))
}
