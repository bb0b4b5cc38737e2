//! Mutated answers of services, for every kind of call: each record has a verdict whatever is answered, and no
//! verdict is long. The same of STS's, from which a role's keys come. Cases as in `tests/it/fuzz.rs`.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::super::{Base, Connection, Settings, StdMutex, base, connect};
use super::{answer, batch, service, sinks};
use crate::form::Checked;
use crate::lock::lock;
use crate::sinks::answer::CallError;
use crate::sinks::auth::Role;
use crate::sinks::transport::Sending;
use crate::sinks::{Ack, Auth, DebugTarget, LogOutput, Target};

/// Cases where nothing else is asked for: four requests each.
const CASES: u64 = 100;

/// Most bytes of a verdict's words: those of the service are cut, ours beside them are a few sentences.
const MAX_WORDS: usize = 2_000;

/// Answers as services give them.
fn answers() -> Vec<Vec<u8>> {
    let id = "x-amzn-requestid: 7f1c\r\ncontent-type: application/x-amz-json-1.1\r\n";
    let kinesis = r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"21","ShardId":"shardId-0"},{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded"}],"EncryptionType":"KMS"}"#;
    let firehose = r#"{"Encrypted":false,"FailedPutCount":1,"RequestResponses":[{"RecordId":"a"},{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down"}]}"#;
    let logs = r#"{"nextSequenceToken":"49","rejectedLogEventsInfo":{"tooNewLogEventStartIndex":1,"tooOldLogEventEndIndex":1,"expiredLogEventEndIndex":0}}"#;
    let refused = r#"{"__type":"com.amazonaws.kinesis#ResourceNotFoundException","message":"Stream a under account 1 not found."}"#;
    let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized</Message></Error><RequestId>1</RequestId></ErrorResponse>";
    vec![
        answer(200, id, kinesis),
        answer(200, id, firehose),
        answer(200, id, logs),
        answer(200, id, "{}"),
        answer(400, id, refused),
        answer(403, &format!("{id}x-amzn-errortype: AccessDeniedException\r\n"), xml),
        answer(503, "retry-after: 7\r\n", "busy"),
        answer(429, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", ""),
        b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec(),
    ]
}

/// An answer with one to four changes: a part taken out, doubled or replaced by a part of another, or any byte.
fn mutated(answers: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = answers[random.random_range(0..answers.len())].clone();
    for _ in 0..random.random_range(1..5) {
        let start = random.random_range(0..=bytes.len());
        let end = (start + random.random_range(0..20)).min(bytes.len());
        let other = &answers[random.random_range(0..answers.len())];
        let from = random.random_range(0..other.len());
        let new = match random.random_range(0..4) {
            0 => Vec::new(),
            1 => bytes[start..end].repeat(random.random_range(2..50)),
            2 => other[from..(from + 30).min(other.len())].to_vec(),
            _ => vec![random.random()],
        };
        bytes.splice(start..end, new);
    }
    bytes
}

fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SLUICEGATE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SLUICEGATE_FUZZ_CASES").unwrap_or(CASES),
    }
}

/// Answers as STS gives them.
fn answers_of_sts() -> Vec<Vec<u8>> {
    let id = "x-amzn-requestid: 7f1c\r\ncontent-type: text/xml\r\n";
    let space = "https://sts.amazonaws.com/doc/2011-06-15/";
    let given = format!(
        "<AssumeRoleResponse xmlns=\"{space}\"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId>\
         <Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE\
         </AccessKeyId><SecretAccessKey>wJalr</SecretAccessKey><SessionToken>AQoDYXdz</SessionToken>\
         <Expiration>2099-11-26T15:54:48Z</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize>\
         </AssumeRoleResult><ResponseMetadata><RequestId>7f1c</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    let refused = |code: &str, words: &str| {
        format!(
            "<ErrorResponse xmlns=\"{space}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{words}</Message>\
             </Error><RequestId>7f1c</RequestId></ErrorResponse>"
        )
    };
    vec![
        answer(200, id, &given),
        // A token that no header may hold.
        answer(200, id, &given.replace("AQoDYXdz", "AQo&#10;DYXdz")),
        answer(200, id, &given.replace("2099", "1999")),
        answer(200, id, &given.replace("ASIA", "<!-- &lt; --><![CDATA[ASIA]]>&#x41;")),
        answer(
            403,
            id,
            &refused("AccessDenied", "User a is not authorized to perform: sts:AssumeRole"),
        ),
        answer(400, id, &refused("ExpiredTokenException", &"long ".repeat(2_000))),
        answer(503, id, &refused("Throttling", "Rate exceeded")),
        answer(200, id, "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"cccc\">]><a>&b;</a>"),
    ]
}

#[tokio::test]
async fn no_mutated_answer_of_sts_makes_long_words_or_no_verdict() {
    let current = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&current);
    let endpoint = service(move |head| match head.contains("x-amz-target: ") {
        true => answer(200, "x-amzn-requestid: 1\r\n", "{}"),
        false => lock(&given).clone(),
    })
    .await;
    let own = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", None, None, "test");
    let Base { config, origin, number, loaded } = base("us-east-1", None).await;
    let config = config.into_builder().endpoint_url(endpoint);
    let config = config.credentials_provider(SharedCredentialsProvider::new(own)).build();
    let base = Base { config, origin, number, loaded };
    let role_arn = Checked::new("arn:aws:iam::123456789012:role/r").unwrap();
    let mut answered = [0, 0];
    for seed in seeds() {
        let mut random = StdRng::seed_from_u64(seed);
        *lock(&current) = match seed {
            0 => answers_of_sts().remove(0),
            1 => answers_of_sts().remove(1),
            2 => answer(
                400,
                "",
                &format!("<E><Error><Code>{}</Code></Error></E>", "c".repeat(9_000)),
            ),
            _ => mutated(&answers_of_sts(), &mut random),
        };
        let auth = Auth::Role(Role { role_arn: role_arn.clone(), external_id: None });
        let sending = Sending { timeout: Duration::from_secs(5), ..Sending::default() };
        let region = "us-east-1".to_owned();
        let settings = Settings { region, auth, endpoint_url: None, sending };
        let build = |config: &_, _: Option<&str>| aws_sdk_kinesis::Client::new(config);
        let (current, _) = connect(&settings, build, &base).await;
        let (current, origin) = (tokio::sync::Mutex::new(current), StdMutex::default());
        let connection = Connection { settings, build, current, origin };
        let called = connection.call(|client| client.list_streams().send()).await;
        answered[usize::from(called.is_err())] += 1;
        let words = match called {
            Ok(_) => String::new(),
            Err(CallError::Refused(refusal)) => format!("{} {}", refusal.code, refusal.text),
            Err(CallError::Unanswered(fault) | CallError::NoCredentials(fault)) => fault.message,
        };
        let shown = words.chars().take(300).collect::<String>();
        assert!(words.len() < MAX_WORDS, "SLUICEGATE_FUZZ_SEED={seed} {shown:?}");
    }
    println!("{} answers of STS gave keys, {} did not", answered[0], answered[1]);
    assert!(answered[0] > 0, "the one that is whole gives keys");
}

#[tokio::test]
async fn no_mutated_answer_leaves_a_record_without_a_verdict() {
    let current = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&current);
    let endpoint = service(move |_| lock(&given).clone()).await;
    let timeout = Duration::from_secs(5);
    let mut sinks = Vec::from(sinks(&endpoint, timeout).await);
    let callback = Target::Debug(DebugTarget::new(Some(false), Some(&endpoint)).unwrap());
    sinks.push(callback.open(LogOutput::Stdout, timeout, None).await.unwrap());
    let answers = answers();
    for seed in seeds() {
        *lock(&current) = mutated(&answers, &mut StdRng::seed_from_u64(seed));
        for sink in &sinks {
            let acks = sink.deliver(&batch()).await;
            assert_eq!(acks.len(), 2, "SLUICEGATE_FUZZ_SEED={seed} {sink:?}");
            for ack in acks {
                let words = match ack {
                    Ack::Delivered => String::new(),
                    Ack::Rejected(words) => words,
                    Ack::Retry(fault) => fault.message,
                };
                let shown = words.chars().take(300).collect::<String>();
                assert!(words.len() < MAX_WORDS, "SLUICEGATE_FUZZ_SEED={seed} {sink:?} {shown:?}");
            }
        }
    }
}
