//! Targets as the API writes them: ngrok's form, with a few settings of our own.
//!
//! Every kind stands in an answer, all null but one, and no secret is shown. In requests a secret
//! that is left out or null stays what it was, so that an answer can be sent back.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::sinks::{
    ApiTargets, Auth, Barred, CloudwatchLogsTarget, DebugTarget, FileTarget, FirehoseTarget,
    KinesisTarget, Secret, Target,
};

/// The kinds that a request may name, in the order of ngrok's answers.
const KINDS: [&str; 4] = ["cloudwatch_logs", "debug", "firehose", "kinesis"];

/// ngrok's kinds that there is no sink for.
const NOT_HERE: [&str; 2] = ["azure_logs_ingestion", "datadog"];

/// The members of one object of a request, taken one by one.
struct Members<'v> {
    path: String,
    members: &'v Map<String, Value>,
}

impl<'v> Members<'v> {
    fn new(path: &str, value: &'v Value, known: &[&str]) -> Result<Members<'v>, Refusal> {
        let Some(members) = value.as_object() else {
            return Err(Refusal::wrong_type(path, "an object"));
        };
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            let known: Vec<String> = known.iter().map(|it| format!("{path}.{it}")).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(Refusal::unknown(&format!("{path}.{name}"), &known));
        }
        Ok(Members { path: path.to_owned(), members })
    }

    fn get(&self, name: &str) -> Option<&'v Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn text(&self, name: &str) -> Result<Option<&'v str>, Refusal> {
        let wrong = || Refusal::wrong_type(&self.path_of(name), "a string");
        let text = self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn required(&self, name: &str) -> Result<&'v str, Refusal> {
        self.text(name)?.ok_or_else(|| {
            Refusal::invalid("ERR_NGROK_236", format!("`{}` is missing", self.path_of(name)))
        })
    }

    fn owned(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(name)?.map(str::to_owned))
    }
}

/// Reads a target that is to be saved. `before` is the one it takes the place of, whose kind it must have;
/// `rules` says what it may do.
pub(super) fn read(
    value: &Value,
    before: Option<&Target>,
    rules: &ApiTargets,
) -> Result<Target, Refusal> {
    let target = read_any(value, before)?;
    if let Err(barred) = rules.check(&target) {
        let message = match (&barred, target.given_url()) {
            (Barred::PlainHttp, Some((name, _))) => format!("`{name}` {barred}"),
            _ => barred.to_string(),
        };
        return Err(Refusal::invalid(barred.code(), message));
    }
    Ok(rules.with_own_external_id(target))
}

fn read_any(value: &Value, before: Option<&Target>) -> Result<Target, Refusal> {
    let known: Vec<&str> = KINDS.into_iter().chain(NOT_HERE).chain(["file"]).collect();
    let target = Members::new("target", value, &known)?;
    let given: Vec<&str> =
        known.iter().copied().filter(|kind| target.get(kind).is_some()).collect();
    let (kind, value) = match given[..] {
        [kind] => (kind, target.get(kind).unwrap_or(&Value::Null)),
        [] => {
            let message = format!("`target` names none of `{}`", KINDS.join("`, `"));
            return Err(Refusal::invalid("ERR_NGROK_5100", message));
        }
        _ => {
            let message = format!("`target` names more than one: `{}`", given.join("`, `"));
            return Err(Refusal::invalid("ERR_NGROK_5115", message));
        }
    };
    if let Some(before) = before.filter(|before| before.kind() != kind) {
        let message = format!(
            "the kind of a target cannot be changed from `{}` to `{kind}`: make a new destination",
            before.kind()
        );
        return Err(Refusal::invalid("ERR_NGROK_5108", message));
    }
    match kind {
        "kinesis" => kinesis(value, before),
        "firehose" => firehose(value, before),
        "cloudwatch_logs" => cloudwatch_logs(value, before),
        "debug" => debug(value, before),
        "file" => Err(Refusal::invalid(
            "ERR_SLUICEGATE_1302",
            "a target `file` writes on the daemon's own machine: only the settings file may name it",
        )),
        _ => Err(Refusal::invalid(
            "ERR_NGROK_236",
            format!("there is no target `{kind}` here; there are `{}`", KINDS.join("`, `")),
        )),
    }
}

fn kinesis(value: &Value, before: Option<&Target>) -> Result<Target, Refusal> {
    let target = Members::new("target.kinesis", value, &["stream_arn", "auth", "endpoint_url"])?;
    let auth = auth(&target, before)?;
    let (arn, endpoint) = (target.required("stream_arn")?, target.owned("endpoint_url")?);
    Ok(Target::Kinesis(KinesisTarget::new(arn, auth, endpoint)?))
}

fn firehose(value: &Value, before: Option<&Target>) -> Result<Target, Refusal> {
    let known = ["delivery_stream_arn", "auth", "endpoint_url"];
    let target = Members::new("target.firehose", value, &known)?;
    let auth = auth(&target, before)?;
    let (arn, endpoint) = (target.required("delivery_stream_arn")?, target.owned("endpoint_url")?);
    Ok(Target::Firehose(FirehoseTarget::new(arn, auth, endpoint)?))
}

fn cloudwatch_logs(value: &Value, before: Option<&Target>) -> Result<Target, Refusal> {
    let known = ["log_group_arn", "log_stream", "auth", "endpoint_url"];
    let target = Members::new("target.cloudwatch_logs", value, &known)?;
    let auth = auth(&target, before)?;
    let (arn, stream) = (target.required("log_group_arn")?, target.owned("log_stream")?);
    let endpoint = target.owned("endpoint_url")?;
    Ok(Target::CloudwatchLogs(CloudwatchLogsTarget::new(arn, stream, auth, endpoint)?))
}

fn debug(value: &Value, before: Option<&Target>) -> Result<Target, Refusal> {
    let target = Members::new("target.debug", value, &["log", "callback_url"])?;
    let log = match target.get("log") {
        None => None,
        Some(Value::Bool(log)) => Some(*log),
        Some(_) => return Err(Refusal::wrong_type("target.debug.log", "true or false")),
    };
    let kept = match before {
        Some(Target::Debug(before)) => before.callback_url(),
        _ => None,
    };
    let given = target.text("callback_url")?;
    let unchanged = kept.filter(|kept| given == Some(&*without_query(kept)));
    let moved = kept.is_some_and(|kept| kept.contains('?')) && unchanged.is_none();
    if moved && given.is_some_and(|it| it.ends_with(HIDDEN_QUERY)) {
        return Err(secret_again(&target.path_of("callback_url")));
    }
    let callback_url = unchanged.or(given);
    Ok(Target::Debug(DebugTarget::new(log, callback_url)?))
}

fn auth(target: &Members<'_>, before: Option<&Target>) -> Result<Auth, Refusal> {
    let Some(value) = target.get("auth") else { return Ok(Auth::DefaultChain) };
    let auth = Members::new(&target.path_of("auth"), value, &["role", "creds"])?;
    match (auth.get("role"), auth.get("creds")) {
        (Some(role), None) => {
            let role = Members::new(&auth.path_of("role"), role, &["role_arn", "external_id"])?;
            let role_arn = role.required("role_arn")?.to_owned();
            Ok(Auth::Role { role_arn, external_id: role.owned("external_id")? })
        }
        (None, Some(creds)) => {
            let moved = before.map(Target::endpoint_url) != Some(target.text("endpoint_url")?);
            keys(&auth.path_of("creds"), creds, (before, moved))
        }
        (None, None) => Err(Refusal::invalid(
            "ERR_NGROK_5107",
            format!("`{}` names neither `role` nor `creds`", auth.path),
        )),
        (Some(_), Some(_)) => Err(Refusal::invalid(
            "ERR_NGROK_5116",
            format!("`{}` names both `role` and `creds`", auth.path),
        )),
    }
}

/// Reads keys. A secret that is left out stays what it was, unless the target has `moved`: it goes nowhere
/// but where it was sent by somebody who knew it.
fn keys(
    path: &str,
    creds: &Value,
    (before, moved): (Option<&Target>, bool),
) -> Result<Auth, Refusal> {
    let creds = Members::new(path, creds, &["aws_access_key_id", "aws_secret_access_key"])?;
    let id = creds.required("aws_access_key_id")?;
    let given = creds.text("aws_secret_access_key")?.map(Secret::new);
    let kept = || match before.and_then(Target::auth) {
        Some(Auth::Keys { aws_access_key_id, aws_secret_access_key })
            if aws_access_key_id == id =>
        {
            Some(aws_secret_access_key.clone())
        }
        _ => None,
    };
    match given.clone().or_else(kept) {
        Some(_) if given.is_none() && moved => {
            Err(secret_again(&creds.path_of("aws_secret_access_key")))
        }
        Some(secret) => {
            Ok(Auth::Keys { aws_access_key_id: id.to_owned(), aws_secret_access_key: secret })
        }
        None => Err(Refusal::invalid(
            "ERR_NGROK_240",
            format!("`{}` is missing", creds.path_of("aws_secret_access_key")),
        )),
    }
}

fn secret_again(path: &str) -> Refusal {
    Refusal::invalid(
        "ERR_SLUICEGATE_1325",
        format!("`{path}` must be given again, since the target's address changes"),
    )
}

/// Whether secrets are written with the rest.
#[derive(Clone, Copy)]
enum Secrets {
    Kept,
    Hidden,
}

impl Secrets {
    /// The only way from a secret to JSON.
    fn write(self, secret: &Secret) -> Value {
        match self {
            Secrets::Kept => secret.expose().into(),
            Secrets::Hidden => Value::Null,
        }
    }
}

/// A target as the store keeps it, secrets included.
pub(super) fn write(target: &Target) -> Value {
    written(target, Secrets::Kept)
}

/// A target of the store as answers and events show it: with null for every secret, and asterisks
/// for a callback's query.
///
/// It is read and written anew, so that what is hidden follows from the types of its settings. Of a
/// row that cannot be read, nothing is known to be no secret, and nothing is shown.
pub(super) fn shown(kept: &Value) -> Value {
    match read_kept(kept) {
        Ok(target) => written(&target, Secrets::Hidden),
        Err(_) => Value::Object(nothing()),
    }
}

/// Reads a target that was accepted before, be it from the settings file. What it may do is not asked.
pub(super) fn read_kept(kept: &Value) -> Result<Target, Refusal> {
    if let Some(path) = kept["file"]["path"].as_str() {
        let target = FileTarget::new(path)?;
        return Ok(Target::File(match kept["file"]["mode"].as_str() {
            Some(digits) => target.with_mode(digits)?,
            None => target,
        }));
    }
    read_any(kept, None)
}

/// Every kind, and none of them.
fn nothing() -> Map<String, Value> {
    KINDS.iter().chain(&NOT_HERE).map(|&kind| (kind.to_owned(), Value::Null)).collect()
}

fn written(target: &Target, secrets: Secrets) -> Value {
    let settings = match target {
        Target::Kinesis(it) => json!({
            "auth": write_auth(it.auth(), secrets),
            "stream_arn": it.stream_arn(),
            "endpoint_url": it.endpoint_url(),
        }),
        Target::Firehose(it) => json!({
            "auth": write_auth(it.auth(), secrets),
            "delivery_stream_arn": it.delivery_stream_arn(),
            "endpoint_url": it.endpoint_url(),
        }),
        Target::CloudwatchLogs(it) => json!({
            "auth": write_auth(it.auth(), secrets),
            "log_group_arn": it.log_group_arn(),
            "log_stream": it.log_stream(),
            "endpoint_url": it.endpoint_url(),
        }),
        Target::Debug(it) => {
            let callback_url = it.callback_url().map(|url| match secrets {
                Secrets::Kept => url.to_owned(),
                Secrets::Hidden => without_query(url),
            });
            json!({"log": it.log(), "callback_url": callback_url})
        }
        Target::File(it) => json!({"path": it.path(), "mode": it.mode()}),
    };
    let mut all = nothing();
    all.insert(target.kind().to_owned(), settings);
    Value::Object(all)
}

fn write_auth(auth: &Auth, secrets: Secrets) -> Value {
    match auth {
        Auth::DefaultChain => Value::Null,
        Auth::Role { role_arn, external_id } => json!({
            "role": {"role_arn": role_arn, "external_id": external_id},
            "creds": null,
        }),
        Auth::Keys { aws_access_key_id, aws_secret_access_key } => json!({
            "role": null,
            "creds": {
                "aws_access_key_id": aws_access_key_id,
                "aws_secret_access_key": secrets.write(aws_secret_access_key),
            },
        }),
    }
}

/// What stands for a callback's query in answers.
const HIDDEN_QUERY: &str = "?***";

/// A callback as answers show it: its query may be a token.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((place, _)) => format!("{place}{HIDDEN_QUERY}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/errors";

    fn with_keys(secret: Value) -> Value {
        json!({"kinesis": {"stream_arn": ARN, "auth": {"creds": {
            "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
            "aws_secret_access_key": secret,
        }}}})
    }

    #[test]
    fn an_answer_can_be_sent_back_and_keeps_the_secret() {
        let rules = ApiTargets::default();
        let target = read(&with_keys(json!("wJalrXUtnFEMI")), None, &rules).unwrap();
        let answer = shown(&write(&target));
        assert!(!answer.to_string().contains("wJalr"));
        assert_eq!(answer["firehose"], Value::Null);
        assert_eq!(read(&answer, Some(&target), &rules).unwrap(), target);
        assert_eq!(read(&write(&target), None, &rules).unwrap(), target);
    }

    #[test]
    fn a_callbacks_query_is_not_shown_and_kept_when_sent_back() {
        let rules = ApiTargets::default();
        let asked = json!({"debug": {"callback_url": "https://example.net/in?token=abc"}});
        let target = read(&asked, None, &rules).unwrap();
        let answer = shown(&write(&target));
        assert_eq!(answer["debug"]["callback_url"], "https://example.net/in?***");
        assert_eq!(read(&answer, Some(&target), &rules).unwrap(), target);
        let other = json!({"debug": {"callback_url": "https://example.net/in"}});
        assert_ne!(read(&other, Some(&target), &rules).unwrap(), target);
    }

    #[test]
    fn what_cannot_be_read_and_what_stands_in_the_settings_file_shows_no_secret() {
        let broken = json!({"kinesis": {"stream_arn": "no arn", "auth": {"creds": {
            "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI",
        }}}});
        assert_eq!(shown(&broken), Value::Object(nothing()));
        let file = write(&Target::File(FileTarget::new("/var/log/events").unwrap()));
        assert_eq!(shown(&file), file);
        let allowed = json!({"debug": {"callback_url": "http://hooks.example:8080/in?t=1"}});
        let answer = shown(&write(&read_any(&allowed, None).unwrap()));
        assert_eq!(answer["debug"]["callback_url"], "http://hooks.example:8080/in?***");
    }

    #[test]
    fn a_debug_target_logs_unless_it_has_a_callback_or_is_told_not_to() {
        let log = |asked: Value| {
            let target = read_any(&json!({"debug": asked}), None).unwrap();
            write(&target)["debug"]["log"].clone()
        };
        assert_eq!(log(json!({})), true);
        assert_eq!(log(json!({"log": null})), true);
        assert_eq!(log(json!({"callback_url": "https://example.net/"})), false);
        assert_eq!(log(json!({"log": false})), false);
        assert_eq!(log(json!({"log": true, "callback_url": "https://example.net/"})), true);
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_code() {
        let rules = ApiTargets::default();
        let debug = read(&json!({"debug": {"log": true}}), None, &rules).unwrap();
        for (value, before, code) in [
            (json!({}), None, "ERR_NGROK_5100"),
            (json!({"debug": null}), None, "ERR_NGROK_5100"),
            (json!({"debug": {}, "kinesis": {}}), None, "ERR_NGROK_5115"),
            (json!({"s3": {}}), None, "ERR_NGROK_214"),
            (json!({"datadog": {}}), None, "ERR_NGROK_236"),
            (json!({"file": {"path": "/etc/passwd"}}), None, "ERR_SLUICEGATE_1302"),
            (json!({"debug": {"log": "yes"}}), None, "ERR_NGROK_215"),
            (json!({"debug": {"logs": true}}), None, "ERR_NGROK_214"),
            (json!({"debug": {"callback_url": "http://example.net"}}), None, "ERR_NGROK_236"),
            (json!({"kinesis": {"stream_arn": ARN, "auth": {}}}), None, "ERR_NGROK_5107"),
            (
                json!({"kinesis": {"stream_arn": ARN, "auth": {"role": {}, "creds": {}}}}),
                None,
                "ERR_NGROK_5116",
            ),
            (json!({"kinesis": {"stream_arn": "x"}}), None, "ERR_NGROK_5120"),
            (with_keys(Value::Null), None, "ERR_NGROK_240"),
            (with_keys(json!("secret")), Some(&debug), "ERR_NGROK_5108"),
        ] {
            let refused = read(&value, before, &rules).unwrap_err();
            assert_eq!(refused.code, Some(code), "{value}: {refused}");
        }
    }
}
