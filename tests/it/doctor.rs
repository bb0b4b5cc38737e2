//! The doctor: each trouble between a destination and its service, told apart from what came back, with
//! where that was learned and what to type next.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::control::Client;
use crate::support::daemon::Daemon;
use crate::support::fake_service::{FakeService, Reply};
use crate::support::moto::Moto;

const ROLE: &str = "arn:aws:iam::123456789012:role/sluicegate";

/// A settings file with one destination, `d`.
struct Patient {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Patient {
    fn new(target: &str) -> Patient {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let settings = format!(
            "data_dir: {}\ndestinations: [{{ id: d, target: {target} }}]\n",
            data.display()
        );
        std::fs::write(folder.path().join("sluicegate.yaml"), settings).unwrap();
        Patient { folder, environment: vec![] }
    }

    /// A Kinesis stream at an address, by a key.
    fn kinesis(url: &str) -> Patient {
        Patient::new(&kinesis(url, KEYS))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Patient {
        self.environment.push((name, value.into()));
        self
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let file = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(arguments).arg("-c").arg(file("sluicegate.yaml"));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "AWS_REGION"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_DEFAULT_REGION")
            .env_remove("SLUICEGATE_API_URL")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_SHARED_CREDENTIALS_FILE", file("credentials"))
            .env("AWS_CONFIG_FILE", file("config"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    fn check(&self) -> Value {
        let output = self.run(&["destination", "check", "d", "-o", "json"]);
        let answer = serde_json::from_slice(&output.stdout);
        let answer: Value = answer.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(output.status.success(), answer["result"] != "failed", "{output:?}");
        answer
    }

    /// The one finding that is not well.
    fn trouble(&self) -> Value {
        let answer = self.check();
        let found = answer["findings"].as_array().unwrap();
        let ill: Vec<&Value> = found.iter().filter(|it| it["result"] != "ok").collect();
        let [one] = ill.as_slice() else { panic!("{answer:#}") };
        (*one).clone()
    }
}

const KEYS: &str =
    "auth: { creds: { aws_access_key_id: AKIAIOSFODNN7EXAMPLE, aws_secret_access_key: s3cret } }";

fn kinesis(url: &str, auth: &str) -> String {
    format!(
        r#"{{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", endpoint_url: "{url}", {auth} }} }}"#
    )
}

/// That a finding is this trouble, and in which words.
fn assert_words(finding: &Value, trouble: &str, learned: &str, next: &str) {
    assert_eq!(finding["trouble"], trouble, "{finding:#}");
    assert_eq!(finding["learned"], learned, "{finding:#}");
    let typed = finding["next"].as_str().unwrap();
    assert!(typed.starts_with(next), "{finding:#}");
    assert!(!finding["failed"].as_str().unwrap().is_empty());
}

/// An error as the services give it.
fn refused(code: &'static str, message: &'static str) -> FakeService {
    FakeService::start(move |_| {
        let body = json!({"__type": code, "message": message}).to_string();
        Reply::new(400, "x-amzn-requestid: 1\r\n", body)
    })
}

#[test]
fn every_answer_of_aws_that_names_a_trouble_is_told_in_its_words() {
    let aws = "from AWS's answer";
    let clock = "from AWS, which refused the signature for its time";
    let region =
        "from asking in the other region, or from AWS, which refused the region of the signature";
    let expired = "Signature expired: 20260101T000000Z is now earlier than 20261126T000000Z";
    for (code, message, trouble, learned, next) in [
        ("InvalidSignatureException", expired, "clock", clock, "timedatectl status"),
        ("RequestExpired", "no", "clock", clock, "timedatectl status"),
        (
            "UnrecognizedClientException",
            "no",
            "unknown_key",
            aws,
            "aws sts get-access-key-info --access-key-id AKIAIOSFODNN7EXAMPLE",
        ),
        (
            "InvalidSignatureException",
            "The request signature we calculated does not match",
            "wrong_secret",
            aws,
            "aws sts get-caller-identity --region us-east-1",
        ),
        ("ExpiredTokenException", "no", "expired", aws, "aws sso login"),
        (
            "AccessDeniedException",
            "User x is not authorized",
            "missing_action",
            "from AWS's answer, which may name the policy that denies it",
            "sluicegate aws policy -c FILE",
        ),
        (
            "KMSAccessDeniedException",
            "no",
            "kms_key",
            aws,
            "sluicegate aws policy -c FILE --kms-key ARN",
        ),
        (
            "ResourceNotFoundException",
            "no",
            "missing_target",
            aws,
            "aws kinesis list-streams --region us-east-1",
        ),
        (
            "InvalidSignatureException",
            "Credential should be scoped to a valid region. ",
            "wrong_region",
            region,
            "aws kinesis list-streams --region us-east-1",
        ),
    ] {
        let service = refused(code, message);
        let finding = Patient::kinesis(&service.url()).trouble();
        assert_words(&finding, trouble, learned, next);
        assert!(finding["msg"].as_str().unwrap().contains(code), "{finding:#}");
    }
}

#[test]
fn a_test_event_that_fails_is_explained_in_the_same_words() {
    let service = refused("ResourceNotFoundException", "Stream s not found");
    let patient = Patient::kinesis(&service.url());
    let output = patient.run(&["test-event", "--destination", "d"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("learned      from AWS's answer\n"), "{shown}");
    assert!(
        shown.contains("next         aws kinesis list-streams --region us-east-1\n"),
        "{shown}"
    );
    let shown = patient.run(&["destination", "check", "d"]);
    assert_eq!(shown.status.code(), Some(1));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("\n  next       aws kinesis list-streams --region us-east-1\n"),
        "{shown}"
    );
}

#[test]
fn what_lies_on_the_way_to_the_service_is_told_apart() {
    let finding = Patient::kinesis("https://nowhere.invalid:4567").trouble();
    assert_words(&finding, "dns", "from looking the name up", "getent hosts nowhere.invalid");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let finding = Patient::kinesis(&format!("http://{closed}")).trouble();
    assert_words(
        &finding,
        "unreachable",
        "from the connection",
        &format!("curl -v http://{closed}/"),
    );

    let plain = FakeService::start(|_| Reply::new(200, "", ""));
    let finding = Patient::kinesis(&format!("https://{}", plain.address)).trouble();
    let next = format!("openssl s_client -connect {} -servername 127.0.0.1", plain.address);
    assert_words(&finding, "tls", "from the TLS handshake", &next);

    let page = FakeService::start(|_| Reply::new(200, "", "<html>Sign in</html>"));
    let finding = Patient::kinesis(&page.url()).trouble();
    assert_words(
        &finding,
        "stranger",
        "from the answer, which AWS would not give",
        "curl -v http://",
    );

    let learned = "from the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) and what the proxy did";
    for proxy in [format!("http://{closed}"), "no proxy".to_owned()] {
        let finding =
            Patient::kinesis("https://nowhere.invalid:4567").with("HTTPS_PROXY", proxy).trouble();
        assert_words(&finding, "proxy", learned, "env | grep -i _proxy");
    }
    let asks = FakeService::start(|_| Reply::new(407, "proxy-authenticate: Basic\r\n", ""));
    let finding =
        Patient::kinesis("https://nowhere.invalid:4567").with("HTTPS_PROXY", asks.url()).trouble();
    assert_words(&finding, "proxy", learned, "env | grep -i _proxy");
}

#[test]
fn the_absence_of_credentials_is_told_with_where_they_are_looked_for() {
    let service = FakeService::start(|_| Reply::error(500, "InternalFailure"));
    let patient = Patient::new(&kinesis(&service.url(), "auth: null").replace(", auth: null", ""));
    let learned = "from the places of credentials: `auth`, environment, profile files, web identity, container, instance metadata";
    assert_words(&patient.trouble(), "no_credentials", learned, "aws sts get-caller-identity");
    assert!(service.requests().is_empty());
}

/// An STS whose role asks for an external id, or is open.
fn sts(asks: bool) -> FakeService {
    FakeService::start(move |request| {
        if asks && !request.body.contains("ExternalId=tenant-7") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error><RequestId>1</RequestId></ErrorResponse>";
            return Reply::new(403, "x-amzn-requestid: 1\r\n", error);
        }
        let answer = format!(
            "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId><Arn>{ROLE}</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIATESTINGTESTING00</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
        );
        Reply::new(200, "x-amzn-requestid: 1\r\n", answer)
    })
}

fn well() -> FakeService {
    FakeService::start(|_| {
        let summary = json!({"StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/s",
            "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0,
            "EnhancedMonitoring": [], "OpenShardCount": 4,
        }});
        Reply::new(200, "x-amzn-requestid: 1\r\n", summary.to_string())
    })
}

fn with_role(service: &FakeService, sts: &FakeService, external_id: &str) -> Patient {
    let auth = format!(r#"auth: {{ role: {{ role_arn: "{ROLE}"{external_id} }} }}"#);
    Patient::new(&kinesis(&service.url(), &auth))
        .with("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .with("AWS_SECRET_ACCESS_KEY", "s3cret")
        .with("AWS_ENDPOINT_URL_STS", sts.url())
}

#[test]
fn a_role_that_asks_for_the_external_id_is_well_and_one_that_does_not_is_warned_of() {
    let (service, strict, open) = (well(), sts(true), sts(false));
    let answer = with_role(&service, &strict, ", external_id: tenant-7").check();
    assert_eq!(answer["result"], "ok", "{answer:#}");
    let role = answer["findings"].as_array().unwrap().last().unwrap();
    assert_eq!(role["msg"], format!("`{ROLE}` lets nobody in without the external id"));

    for external_id in [", external_id: tenant-7", ""] {
        let finding = with_role(&service, &open, external_id).trouble();
        assert_eq!(finding["result"], "warning");
        let learned =
            "from STS, which gave the role's credentials when asked without an external id";
        assert_words(
            &finding,
            "open_role",
            learned,
            "sluicegate aws policy -c FILE --principal ARN",
        );
        assert!(finding["failed"].as_str().unwrap().contains("confused deputy"));
    }

    let finding = with_role(&service, &strict, "").trouble();
    let learned = "from STS, which refused `sts:AssumeRole`";
    assert_words(&finding, "role_trust", learned, "sluicegate aws policy -c FILE --principal ARN");
    assert!(finding["next"].as_str().unwrap().contains("--role-name sluicegate "));
}

#[test]
fn a_stream_that_is_in_another_region_is_found_there() {
    let Some(moto) = Moto::start() else { return };
    moto.call("kinesis", "CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    let target = kinesis(&moto.url(), KEYS).replace("us-east-1", "eu-west-1");
    let finding = Patient::new(&target).with("AWS_REGION", "us-east-1").trouble();
    assert_eq!(finding["trouble"], "wrong_region", "{finding:#}");
    assert!(finding["msg"].as_str().unwrap().ends_with("; it is in `us-east-1`"), "{finding:#}");
    let finding = Patient::new(&target).trouble();
    assert_eq!(finding["trouble"], "missing_target", "{finding:#}");
    let there = Patient::new(&kinesis(&moto.url(), KEYS)).check();
    assert_eq!(there["result"], "ok");
    assert_eq!(there["findings"][1]["msg"], "stream `s` is active, open shards: 1");
}

#[test]
fn a_missing_log_group_and_a_firehose_of_another_kind_are_told() {
    let logs = |url: &str| {
        format!(
            r#"{{ cloudwatch_logs: {{ log_group_arn: "arn:aws:logs:us-east-1:123456789012:log-group:/app", endpoint_url: "{url}", {KEYS} }} }}"#
        )
    };
    let missing = refused("ResourceNotFoundException", "The specified log group does not exist.");
    let finding = Patient::new(&logs(&missing.url())).trouble();
    assert_words(&finding, "missing_target", "from AWS's answer", "aws logs describe-log-groups");
    let next = finding["next"].as_str().unwrap();
    assert!(next.contains("create-log-group --region us-east-1 --log-group-name /app"), "{next}");

    let firehose = FakeService::start(|_| {
        let answer = json!({"DeliveryStreamDescription": {
            "DeliveryStreamName": "d", "DeliveryStreamARN": "a", "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "KinesisStreamAsSource", "VersionId": "1", "Destinations": [],
            "HasMoreDestinations": false,
        }});
        Reply::new(200, "x-amzn-requestid: 1\r\n", answer.to_string())
    });
    let target = format!(
        r#"{{ firehose: {{ delivery_stream_arn: "arn:aws:firehose:us-east-1:123456789012:deliverystream/d", endpoint_url: "{}", {KEYS} }} }}"#,
        firehose.url()
    );
    let finding = Patient::new(&target).trouble();
    let learned = "from the description of the target, or from AWS's answer";
    assert_words(
        &finding,
        "wrong_kind",
        learned,
        "aws firehose describe-delivery-stream --region us-east-1 --delivery-stream-name d",
    );
}

#[test]
fn a_running_daemon_examines_too_and_keeps_a_strangers_words_to_itself() {
    let service = refused("ResourceNotFoundException", "s3cret of the inside");
    let daemon = Daemon::start("control: { api_targets: { endpoint_url: true } }\n");
    let client = Client::new(&daemon);
    let target = json!({"kinesis": {
        "stream_arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s",
        "endpoint_url": service.url(),
        "auth": {"creds": {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "s3cret"}},
    }});
    let made =
        client.must("POST /event_destinations", &json!({"format": "json", "target": target}));
    let id = made["id"].as_str().unwrap();
    let answer = client.must(&format!("POST /event_destinations/{id}/check"), &json!({}));
    assert_eq!(answer["result"], "failed");
    let finding = answer["findings"].as_array().unwrap().last().unwrap();
    assert_words(finding, "missing_target", "from AWS's answer", "aws kinesis list-streams");
    assert!(!answer.to_string().contains("s3cret"), "{answer:#}");

    let api = format!("http://{}", daemon.api);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(arguments).args(["--api", &api]).env("SLUICEGATE_API_KEY", client.key());
        command.output().unwrap()
    };
    let output = run(&["destination", "check", id]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("\n  next       aws kinesis"));
    let output = run(&["test-event", "--destination", id]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("; next: aws kinesis list-streams --region us-east-1"), "{said}");
    let refused = client.refused("POST /event_destinations/ed_none/check", &json!({}));
    assert_eq!(refused.0, 404);
}

/// A target of the service at a URL, for each kind of target that is none of AWS's and speaks HTTP.
const OTHERS: [&str; 4] = [
    r#"{ datadog: { api_key: k, endpoint_url: "URL" } }"#,
    r#"{ azure_logs_ingestion: { tenant_id: t, client_id: c, client_secret: s, logs_ingestion_uri: "URL", data_collection_rule_id: dcr-1, data_collection_stream_name: Custom-E, token_url: "URL/token" } }"#,
    r#"{ http: { url: "URL/in", auth: { oauth2: { token_url: "URL/token", client_id: c, client_secret: s } } } }"#,
    r#"{ splunk_hec: { url: "URL", token: s } }"#,
];

#[test]
fn the_way_to_services_that_are_none_of_aws_is_told_in_the_same_words() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let page = FakeService::start(|_| Reply::new(200, "", "<html>Sign in</html>"));
    let plain = FakeService::start(|_| Reply::new(200, "", ""));
    let proxy = "from the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) and what the proxy did";
    for other in OTHERS {
        let patient = |url: &str| Patient::new(&other.replace("URL", url));
        let finding = patient("https://nowhere.invalid:4567").trouble();
        assert_words(&finding, "dns", "from looking the name up", "getent hosts nowhere.invalid");
        let finding = patient(&format!("http://{closed}")).trouble();
        let next = format!("curl -v http://{closed}/");
        assert_words(&finding, "unreachable", "from the connection", &next);
        let finding = patient(&format!("https://{}", plain.address)).trouble();
        let next = format!("openssl s_client -connect {} -servername 127.0.0.1", plain.address);
        assert_words(&finding, "tls", "from the TLS handshake", &next);
        let finding = patient("https://nowhere.invalid:4567")
            .with("HTTPS_PROXY", format!("http://{closed}"))
            .trouble();
        assert_words(&finding, "proxy", proxy, "env | grep -i _proxy");
        let finding = patient(&page.url()).trouble();
        let learned = "from the answer, which it would not give";
        assert_words(&finding, "stranger", learned, "curl -v http://");
    }
}

#[test]
fn credentials_that_no_service_takes_are_told_with_what_shows_it() {
    let learned = "from the answer of the service, or of the place that gives its tokens";
    for (other, status, next) in [
        (OTHERS[0], 403, "curl -H \"DD-API-KEY: $DD_API_KEY\" http://"),
        (OTHERS[1], 401, "az ad app credential list --id c"),
        (OTHERS[2], 401, "curl -v http://"),
        (OTHERS[3], 403, "curl -i -H \"Authorization: Splunk $SPLUNK_HEC_TOKEN\" http://"),
    ] {
        let service = FakeService::start(move |_| Reply::new(status, "", "{}"));
        let finding = Patient::new(&other.replace("URL", &service.url())).trouble();
        assert_words(&finding, "refused", learned, next);
    }
    let missing = FakeService::start(|_| Reply::new(404, "", "{}"));
    let finding = Patient::new(&OTHERS[3].replace("URL", &missing.url())).trouble();
    assert_words(&finding, "missing_target", "from the service's answer", "curl -i -H");
}

#[test]
fn a_clock_that_spoils_signatures_is_told_by_the_date_of_an_answer() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let receiver = FakeService::start(move |it| match it.line.starts_with("OPTIONS") {
        true => Reply::new(204, date, ""),
        false => Reply::new(400, date, "timestamp too old"),
    });
    let target = |more: &str| format!(r#"{{ http: {{ url: "{}"{more} }} }}"#, receiver.url());
    let signed = target(r#", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]"#);
    let finding = Patient::new(&signed).trouble();
    assert_words(&finding, "clock", "from the date of its answer", "timedatectl status");
    assert_eq!(Patient::new(&target("")).check()["result"], "ok", "nothing is signed");
    let output = Patient::new(&signed).run(&["test-event", "--destination", "d", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["answer"], &answer["trouble"]), (&json!("failed"), &json!("clock")));
}

#[cfg(feature = "kafka")]
#[test]
fn the_way_to_brokers_is_told_with_what_they_are_asked_by() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (brokers, trouble, learned, next) in [
        (
            "nowhere.invalid:9092".to_owned(),
            "dns",
            "from looking the name up",
            "getent hosts nowhere.invalid",
        ),
        (closed.to_string(), "unreachable", "from the connection", "nc -vz 127.0.0.1"),
    ] {
        let target = format!(r#"{{ kafka: {{ brokers: "{brokers}", topic: events }} }}"#);
        assert_words(&Patient::new(&target).trouble(), trouble, learned, next);
    }
}
