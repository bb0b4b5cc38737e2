//! Amazon Resource Names: what they say of service, region, account and resource.
//!
//! Knows the few resources that targets need. Whether a resource exists, only its service can tell.

use std::marker::PhantomData;
use std::ops::Deref;

use super::error::ArnError;
use crate::form::{Nature, Rule, Shape, Value, Written, Wrong};

/// Longest ARN: STS and Kinesis take 2,048 characters (their API models, `arnType`, `StreamARN`).
const MAX_ARN: usize = 2_048;
/// Longest region: it becomes one label of a host name (RFC 1035, section 2.3.4).
const MAX_REGION: usize = 63;
/// Longest account: AWS gives 12 digits; emulators are less strict.
const MAX_ACCOUNT: usize = 63;

/// The services that a target's ARN can name.
const SERVICES: [&str; 3] = ["kinesis", "firehose", "logs"];

/// The ARN of something that a target writes to, or of a role. Made only by the functions here, so
/// that its parts are safe to put into host names and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    text: String,
    service: &'static str,
    region: String,
    account: String,
    name: String,
}

/// A type of resource: the service it belongs to, and how its ARN ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceType {
    service: &'static str,
    prefix: &'static str,
    /// An ending that may follow the name and says nothing.
    ending: &'static str,
    form: &'static str,
    max_name: usize,
    /// Characters besides ASCII letters and digits that a name may have.
    punctuation: &'static str,
}

/// A type of resource that a target of AWS writes to.
pub trait Resource: Clone + 'static {
    #[doc(hidden)]
    const TYPE: ResourceType;
}

/// The ARN of a resource of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnOf<R>(Arn, PhantomData<R>);

impl<R: Resource> ArnOf<R> {
    pub(super) fn new(text: &str) -> Result<ArnOf<R>, Wrong> {
        Ok(ArnOf(Arn::parse(text, R::TYPE)?, PhantomData))
    }
}

impl<R> Deref for ArnOf<R> {
    type Target = Arn;

    fn deref(&self) -> &Arn {
        &self.0
    }
}

impl<R: Resource> Value for ArnOf<R> {
    const SHAPE: Shape<ArnOf<R>> = Shape::Text(ArnOf::new);
    const NATURE: Nature = Nature::Arn;

    fn written(&self) -> Written {
        Written::open(self.as_str())
    }
}

/// The ARN of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn;

impl Rule for RoleArn {
    fn check(text: &str) -> Result<(), Wrong> {
        Ok(check_role(text)?)
    }
}

/// A Kinesis data stream; names have 1 to 128 characters (Kinesis API model, `StreamName`).
pub(super) const STREAM: ResourceType = ResourceType {
    service: "kinesis",
    prefix: "stream/",
    ending: "",
    form: "stream/NAME",
    max_name: 128,
    punctuation: "_.-",
};

/// A Kinesis data stream, as what an ARN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream;

impl Resource for Stream {
    const TYPE: ResourceType = STREAM;
}

/// A Firehose stream; names have 1 to 64 characters (Firehose API model, `DeliveryStreamName`).
pub(super) const DELIVERY_STREAM: ResourceType = ResourceType {
    service: "firehose",
    prefix: "deliverystream/",
    ending: "",
    form: "deliverystream/NAME",
    max_name: 64,
    punctuation: "_.-",
};

/// A Firehose stream, as what an ARN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryStream;

impl Resource for DeliveryStream {
    const TYPE: ResourceType = DELIVERY_STREAM;
}

/// A log group; names have 1 to 512 characters (CloudWatch Logs API model, `LogGroupName`). The
/// console and IAM write its ARN with `:*` at the end, which means its log streams.
pub(super) const LOG_GROUP: ResourceType = ResourceType {
    service: "logs",
    prefix: "log-group:",
    ending: ":*",
    form: "log-group:NAME",
    max_name: 512,
    punctuation: "._-/#",
};

/// A log group, as what an ARN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGroup;

impl Resource for LogGroup {
    const TYPE: ResourceType = LOG_GROUP;
}

/// The six parts of an ARN, separated by colons; the last may have colons of its own.
struct Parts<'a> {
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl Arn {
    /// Reads the ARN of a resource of the given type.
    ///
    /// Fails, in this order, when the text is no ARN, its partition cannot be one, its service is
    /// unknown or another target's, its resource has another type, or a part is unusable.
    pub(super) fn parse(text: &str, kind: ResourceType) -> Result<Arn, ArnError> {
        let parts = split(text)?;
        let arn = || text.to_owned();
        if !SERVICES.contains(&parts.service) {
            return Err(ArnError::ArnService { arn: arn(), expected: kind.service });
        }
        if parts.service != kind.service {
            return Err(ArnError::ArnOtherService { arn: arn(), expected: kind.service });
        }
        let Some(name) = parts.resource.strip_prefix(kind.prefix) else {
            return Err(ArnError::ArnResource { arn: arn(), expected: kind.form });
        };
        let name = name.strip_suffix(kind.ending).unwrap_or(name);
        let allowed = |c: char| c.is_ascii_alphanumeric() || kind.punctuation.contains(c);
        if !name.chars().all(allowed) {
            // `stream/NAME/consumer/…` and `log-group:NAME:log-stream:…` are types of their own.
            return Err(ArnError::ArnResource { arn: arn(), expected: kind.form });
        }
        let problem = |problem| Err(ArnError::Arn { arn: arn(), problem });
        if name.is_empty() || name.len() > kind.max_name {
            return problem("the resource's name is empty or too long");
        }
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !is_name(parts.region, MAX_REGION, label) {
            return problem("it names no region, such as `us-east-1`");
        }
        if !is_name(parts.account, MAX_ACCOUNT, |c| c.is_ascii_alphanumeric()) {
            return problem("it names no account, which has 12 digits");
        }
        Ok(Arn {
            text: arn(),
            service: kind.service,
            region: parts.region.to_owned(),
            account: parts.account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The text that was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The service, as ARNs name it.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The region, such as `us-east-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account that owns the resource.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The resource's name, without its type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether the text is the ARN of an IAM role.
pub(super) fn check_role(text: &str) -> Result<(), ArnError> {
    let is_role = split(text).is_ok_and(|parts| {
        let name = parts.resource.strip_prefix("role/").unwrap_or("");
        parts.service == "iam"
            && parts.region.is_empty()
            && is_name(parts.account, MAX_ACCOUNT, |c| c.is_ascii_alphanumeric())
            && !name.is_empty()
            && !name.ends_with('/')
    });
    if is_role { Ok(()) } else { Err(ArnError::RoleArn { arn: text.to_owned() }) }
}

fn split(text: &str) -> Result<Parts<'_>, ArnError> {
    let problem = |problem| Err(ArnError::Arn { arn: text.to_owned(), problem });
    if text.len() > MAX_ARN {
        let shown = text[..text.floor_char_boundary(100)].to_owned();
        return Err(ArnError::Arn { arn: shown, problem: "it is longer than 2,048 bytes" });
    }
    if !text.starts_with("arn:") {
        return problem("it does not begin with `arn:`");
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return problem("it has a space, a control character or a letter outside ASCII");
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [_, partition, service, region, account, resource] = parts[..] else {
        return problem("it has fewer than six parts");
    };
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !is_name(partition, MAX_REGION, label) || !partition.starts_with(char::is_alphabetic) {
        return Err(ArnError::ArnPartition { arn: text.to_owned() });
    }
    Ok(Parts { service, region, account, resource })
}

fn is_name(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_arn_gives_region_account_and_name() {
        for (text, kind, region, account, name) in [
            (
                "arn:aws:kinesis:us-east-1:123456789012:stream/errors",
                STREAM,
                "us-east-1",
                "123456789012",
                "errors",
            ),
            (
                "arn:aws-cn:firehose:cn-north-1:123456789012:deliverystream/to.s3",
                DELIVERY_STREAM,
                "cn-north-1",
                "123456789012",
                "to.s3",
            ),
            (
                "arn:aws:logs:eu-west-1:123456789012:log-group:/app/events:*",
                LOG_GROUP,
                "eu-west-1",
                "123456789012",
                "/app/events",
            ),
            ("arn:ngrok-local:kinesis:local:1:stream/mystream", STREAM, "local", "1", "mystream"),
        ] {
            let arn = Arn::parse(text, kind).unwrap();
            assert_eq!(arn.as_str(), text);
            assert_eq!((arn.region(), arn.account(), arn.name()), (region, account, name));
        }
    }

    #[test]
    fn each_way_to_be_wrong_has_its_own_code() {
        for (text, kind, code) in [
            ("", STREAM, "ERR_NGROK_5120"),
            ("errors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis:us-east-1:stream/errors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis:us-east-1:1:stream/err ors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis::123456789012:stream/errors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis:evil.example/:1:stream/errors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis:us-east-1::stream/errors", STREAM, "ERR_NGROK_5120"),
            ("arn:aws:kinesis:us-east-1:1:stream/", STREAM, "ERR_NGROK_5120"),
            ("arn::kinesis:us-east-1:1:stream/errors", STREAM, "ERR_NGROK_5118"),
            ("arn:AWS!:kinesis:us-east-1:1:stream/errors", STREAM, "ERR_NGROK_5118"),
            ("arn:aws:s3:::bucket", STREAM, "ERR_NGROK_5119"),
            ("arn:aws:firehose:us-east-1:1:deliverystream/x", STREAM, "ERR_NGROK_5129"),
            ("arn:aws:kinesis:us-east-1:1:stream/x", LOG_GROUP, "ERR_NGROK_5129"),
            ("arn:aws:kinesis:us-east-1:1:application/x", STREAM, "ERR_NGROK_5130"),
            ("arn:aws:kinesis:us-east-1:1:stream/x/consumer/y:1", STREAM, "ERR_NGROK_5130"),
            ("arn:aws:logs:us-east-1:1:log-group:x:log-stream:y", LOG_GROUP, "ERR_NGROK_5130"),
        ] {
            assert_eq!(Arn::parse(text, kind).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn the_text_of_an_error_says_what_would_do() {
        for (text, expected) in [
            (
                "errors",
                "`errors` is not a usable ARN: it does not begin with `arn:`; the form is \
                 `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`",
            ),
            (
                "arn:aws:sqs:us-east-1:1:queue",
                "the service of `arn:aws:sqs:us-east-1:1:queue` is none that events can go to, \
                 here it must be `kinesis`",
            ),
            (
                "arn:aws:logs:us-east-1:1:log-group:x",
                "`arn:aws:logs:us-east-1:1:log-group:x` belongs to another kind of target, here \
                 its service must be `kinesis`",
            ),
            (
                "arn:aws:kinesis:us-east-1:1:x",
                "`arn:aws:kinesis:us-east-1:1:x` names another type of resource, it must end with \
                 `stream/NAME`",
            ),
        ] {
            assert_eq!(Arn::parse(text, STREAM).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn only_the_arn_of_a_role_passes_as_one() {
        for text in
            ["arn:aws:iam::123456789012:role/sluicegate", "arn:aws:iam::123456789012:role/a/b/c"]
        {
            assert_eq!(check_role(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "sluicegate",
            "arn:aws:iam::123456789012:user/sluicegate",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam:::role/sluicegate",
            "arn:aws:sts::123456789012:assumed-role/sluicegate/session",
        ] {
            assert_eq!(check_role(text).unwrap_err().code(), "ERR_NGROK_5104", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".*") {
            let _ = Arn::parse(&text, STREAM);
            let _ = Arn::parse(&format!("arn:aws:{text}"), LOG_GROUP);
            let _ = check_role(&text);
        }

        #[test]
        fn every_well_formed_arn_is_read_back_in_parts(
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            account in "[0-9]{12}",
            name in "[a-zA-Z0-9_.-]{1,128}",
        ) {
            let text = format!("arn:aws:kinesis:{region}:{account}:stream/{name}");
            let arn = Arn::parse(&text, STREAM).unwrap();
            prop_assert_eq!(
                (arn.region(), arn.account(), arn.name()),
                (region.as_str(), account.as_str(), name.as_str())
            );
        }

        #[test]
        fn what_passes_is_safe_in_a_host_name(
            region in "[ -~]{0,20}", account in "[ -~]{0,14}", name in "[ -~]{0,20}",
        ) {
            let text = format!("arn:aws:kinesis:{region}:{account}:stream/{name}");
            if let Ok(arn) = Arn::parse(&text, STREAM) {
                let safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
                prop_assert!(arn.region().chars().all(safe));
                prop_assert!(arn.account().chars().all(safe));
            }
        }
    }
}
