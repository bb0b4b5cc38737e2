//! Targets as the API writes them: ngrok's form, with a few settings of our own.
//!
//! Every kind stands in an answer, all null but one, and no secret is shown. In requests a secret
//! that is left out or null stays what it was, so that an answer can be sent back.

use serde_json::Value;

use super::door::{self, From};
use super::refusal::Refusal;
use crate::form;
use crate::sinks::{ApiTargets, Barred, Target};

/// Reads a target that is to be saved. `before` is the one it takes the place of, whose kind it must have;
/// `rules` says what it may do.
pub(super) fn read(
    value: &Value,
    before: Option<&Target>,
    rules: &ApiTargets,
) -> Result<Target, Refusal> {
    let target = door::read("target", value, before, From::Request)?;
    if let Err(barred) = rules.check(&target) {
        let plain = target.addresses().into_iter().find(|(_, url)| {
            barred == Barred::PlainHttp && rules.outbound.check_plain_http(url).is_err()
        });
        let message = match plain {
            Some((at, _)) => format!("`{}` {barred}", at.name()),
            None => barred.to_string(),
        };
        return Err(Refusal::invalid(barred.code(), message));
    }
    Ok(rules.with_own_external_id(target))
}

/// A target as the store keeps it, secrets included.
pub(super) fn write(target: &Target) -> Value {
    form::whole(target)
}

/// A target of the store as answers and events show it.
///
/// It is read and written anew, so that what is hidden follows from the types of its settings. Of a
/// row that cannot be read, nothing is known to be no secret, and nothing is shown.
pub(super) fn shown(kept: &Value) -> Value {
    form::shown(read_kept(kept).ok().as_ref())
}

/// Reads a target that was accepted before, be it from the settings file. What it may do is not asked.
pub(super) fn read_kept(kept: &Value) -> Result<Target, Refusal> {
    door::read("target", kept, None, From::Store)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::FileTarget;

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
        assert!(shown(&broken).as_object().unwrap().values().all(Value::is_null));
        let file = write(&Target::File(FileTarget::new("/var/log/events").unwrap()));
        assert_eq!(shown(&file)["file"], file["file"]);
        let allowed = json!({"debug": {"callback_url": "http://hooks.example:8080/in?t=1"}});
        let answer = shown(&write(&read_kept(&allowed).unwrap()));
        assert_eq!(answer["debug"]["callback_url"], "http://hooks.example:8080/in?***");
    }

    #[test]
    fn a_debug_target_logs_unless_it_has_a_callback_or_is_told_not_to() {
        let log = |asked: Value| {
            let target = read_kept(&json!({"debug": asked})).unwrap();
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
            (json!({"file": {"path": "/etc/passwd"}}), None, "ERR_SLUICEGATE_1302"),
            (json!({"kafka": {"brokers": "h:1", "topic": "t"}}), None, "ERR_SLUICEGATE_1413"),
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
