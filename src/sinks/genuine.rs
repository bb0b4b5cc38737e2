//! Whether an answer is AWS's own: only then does it say that anything was delivered.
//!
//! A success has status 200, the service's request id, and a body that reads as the answer of the
//! operation that was called. What the body says of each record, the sinks read. Errors pass as they
//! are, but for those of STS that the SDK cannot read.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};

use super::ack::{Fault, FaultKind};
use super::refusal::{Class, Refusal, class_of, kind_of};
use super::trouble::Trouble;

/// Headers under which services give the id of a request.
const REQUEST_ID: [&str; 2] = ["x-amzn-requestid", "x-amz-request-id"];

/// What must be in the answer to an operation of the JSON protocol; the others need only be objects.
const MEMBERS: [(&str, &str); 5] = [
    ("PutRecords", "Records"),
    ("PutRecordBatch", "RequestResponses"),
    ("DescribeStreamSummary", "StreamDescriptionSummary"),
    ("DescribeDeliveryStream", "DeliveryStreamDescription"),
    ("DescribeLogStreams", "logStreams"),
];

/// Operations without a result, whose answers have an empty body (or `{}`).
const WITHOUT_RESULT: [&str; 1] = ["CreateLogStream"];

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An operation of a service that speaks JSON: Kinesis, Firehose, CloudWatch Logs.
    Json { operation: String },
    /// An action of a service that takes forms and answers in XML: STS.
    Xml { action: String },
    /// A place of credentials of another kind, whose answers the SDK checks.
    Other,
}

impl Expected {
    /// What a request asks for.
    pub(super) fn of(request: &HttpRequest) -> Expected {
        let headers = request.headers();
        if let Some(target) = headers.get("x-amz-target") {
            let operation = target.rsplit('.').next().unwrap_or_default();
            return Expected::Json { operation: operation.to_owned() };
        }
        let is_form = headers
            .get("content-type")
            .is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
        let fields = request.body().bytes().filter(|_| is_form).unwrap_or_default();
        match form_urlencoded::parse(fields).find(|(name, _)| name == "Action") {
            Some((_, action)) => Expected::Xml { action: action.into_owned() },
            None => Expected::Other,
        }
    }

    /// Passes an answer on, unless it is a stranger's.
    pub(super) fn check(&self, answer: HttpResponse) -> Result<HttpResponse, Strange> {
        let problem = match self {
            Expected::Json { operation } => json_problem(operation, &answer),
            Expected::Xml { action } => return xml(action, answer),
            Expected::Other => None,
        };
        match problem.filter(|_| answer.status().is_success()) {
            Some(problem) => Err(Strange::new(answer.status().as_u16(), problem)),
            None => Ok(answer),
        }
    }
}

/// What keeps a success from being the answer to an operation of the JSON protocol.
fn json_problem(operation: &str, answer: &HttpResponse) -> Option<String> {
    let body = bytes(answer);
    let object = serde_json::from_slice::<Map<String, Value>>(body);
    let empty_is_right = body.is_empty() && WITHOUT_RESULT.contains(&operation);
    match object {
        Err(_) if empty_is_right => {}
        Err(_) => return Some(kind_of(body).to_owned()),
        Ok(object) => {
            let member = MEMBERS.iter().find(|(it, _)| *it == operation).map(|(_, member)| *member);
            if object.contains_key("__type") {
                return Some("an error in its body".to_owned());
            }
            if let Some(member) = member.filter(|it| !object.contains_key(*it)) {
                return Some(format!("JSON without `{member}`"));
            }
        }
    }
    if !has_request_id(answer) {
        return Some("no request id (`x-amzn-requestid`)".to_owned());
    }
    (answer.status().as_u16() != 200).then(|| "a status that the service never gives".to_owned())
}

/// Passes on what the SDK can read of STS.
fn xml(action: &str, answer: HttpResponse) -> Result<HttpResponse, Strange> {
    let status = answer.status().as_u16();
    let body = bytes(&answer);
    let text = String::from_utf8_lossy(body);
    if answer.status().is_success() {
        let named = text.contains(&format!("<{action}Response"));
        let has_id = has_request_id(&answer) || text.contains("<RequestId>");
        return match (status, named, has_id) {
            (200, true, true) => Ok(answer),
            (_, false, _) => Err(Strange::new(status, kind_of(body))),
            _ => Err(Strange::new(status, "no request id (`x-amzn-requestid`)")),
        };
    }
    if text.contains("<ErrorResponse") {
        return Ok(answer);
    }
    let refusal = Box::new(Refusal::of(&answer));
    Err(Strange { refusal: Some(refusal), ..Strange::new(status, kind_of(body)) })
}

fn bytes(answer: &HttpResponse) -> &[u8] {
    answer.body().bytes().unwrap_or_default()
}

fn has_request_id(answer: &HttpResponse) -> bool {
    REQUEST_ID.iter().any(|name| answer.headers().get(name).is_some_and(|id| !id.trim().is_empty()))
}

/// An answer that is not AWS's.
#[derive(Debug)]
pub(super) struct Strange {
    /// Who gave it: scheme, host and port.
    address: String,
    status: u16,
    what: String,
    /// What the answer refuses, if it does not look like a success.
    refusal: Option<Box<Refusal>>,
}

impl Strange {
    pub(super) fn new(status: u16, what: impl Into<String>) -> Strange {
        Strange { address: String::new(), status, what: what.into(), refusal: None }
    }

    /// The same with the address of who gave it.
    pub(super) fn from(self, address: String) -> Strange {
        Strange { address, ..self }
    }

    /// What to do about it: a stranger's success is no verdict, so the request goes out again.
    pub(super) fn fault(&self) -> Fault {
        let Some(refusal) = &self.refusal else {
            return Fault::unanswered(self.to_string()).with(Trouble::Stranger);
        };
        let kind = match class_of(refusal) {
            Class::Fault(kind) => kind,
            Class::Poison => FaultKind::Configuration,
        };
        refusal.marked(Fault::new(kind, self.to_string()))
    }
}

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strange { address, status, what, refusal } = self;
        match refusal.as_ref().filter(|it| !it.code.is_empty()) {
            Some(refusal) => write!(f, "`{address}` answered `{}`: {}", refusal.code, refusal.text),
            None => write!(
                f,
                "`{address}` answered {status} with {what}: a proxy or another service? check \
                 `endpoint_url`"
            ),
        }
    }
}

impl Error for Strange {}
