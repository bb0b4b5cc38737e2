//! What AWS must allow: the policies that are printed, those of `deploy/`, and what is really called.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{output_of, sluicegate, venv_program};

const ROLE: &str = "arn:aws:iam::123456789012:role/teams/sluicegate";
const KINESIS: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
const FIREHOSE: &str = "arn:aws:firehose:us-east-1:123456789012:deliverystream/d";
const LOGS: &str = "arn:aws:logs:us-east-1:123456789012:log-group:/app";

/// One destination of each kind of AWS.
fn destinations(auth: &str, more: &str) -> String {
    format!(
        r#"
destinations:
  - {{ id: stream, target: {{ kinesis: {{ stream_arn: "{KINESIS}"{auth}{more} }} }} }}
  - {{ id: delivery, target: {{ firehose: {{ delivery_stream_arn: "{FIREHOSE}"{auth}{more} }} }} }}
  - {{ id: group, target: {{ cloudwatch_logs: {{ log_group_arn: "{LOGS}:*"{auth}{more} }} }} }}
  - {{ id: out, target: {{ debug: {{ log: true }} }} }}
"#
    )
}

/// A settings file, whose data is beside it.
fn settings_file(settings: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.yaml");
    let data = folder.path().join("data");
    std::fs::write(&file, format!("data_dir: {}\n{settings}", data.display())).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn role(external_id: &str) -> String {
    format!(r#", auth: {{ role: {{ role_arn: "{ROLE}"{external_id} }} }}"#)
}

fn policy(settings: &str, more: &[&str]) -> Value {
    let (_folder, file) = settings_file(settings);
    let arguments = [&["aws", "policy", "-c", file.as_str()], more].concat();
    serde_json::from_str(&output_of(&arguments, "")).unwrap()
}

/// Every action that a document allows, wherever it stands.
fn actions(document: &Value) -> BTreeSet<String> {
    let text = document.to_string();
    let pieces = text.split(['"', '\\']).filter(|it| {
        ["kinesis:", "firehose:", "logs:", "sts:", "kms:"].iter().any(|service| {
            it.strip_prefix(service)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        })
    });
    let conditions = ["sts:ExternalId", "kms:ViaService"];
    pieces.filter(|it| !conditions.contains(it)).map(str::to_owned).collect()
}

#[test]
fn a_role_is_allowed_the_least_and_trusts_who_brings_its_external_id() {
    let settings = destinations(&role(", external_id: tenant-7"), "");
    let principal = "arn:aws:iam::210987654321:role/daemon";
    let printed = policy(&settings, &["--principal", principal]);
    let [daemon, role] = printed["identities"].as_array().unwrap().as_slice() else {
        panic!("{printed}");
    };
    assert_eq!(role["role_arn"], ROLE);
    assert_eq!(role["destinations"], json!(["stream", "delivery", "group"]));
    let allow = |sid: &str, action: &str, resource: &str| json!({"Sid": sid, "Effect": "Allow", "Action": action, "Resource": [resource]});
    let expected = [
        allow("DescribeDeliveryStream", "firehose:DescribeDeliveryStream", FIREHOSE),
        allow("PutRecordBatch", "firehose:PutRecordBatch", FIREHOSE),
        allow("DescribeStreamSummary", "kinesis:DescribeStreamSummary", KINESIS),
        allow("PutRecords", "kinesis:PutRecords", KINESIS),
        allow("CreateLogStream", "logs:CreateLogStream", &format!("{LOGS}:*")),
        allow("DescribeLogStreams", "logs:DescribeLogStreams", &format!("{LOGS}:*")),
        allow("PutLogEvents", "logs:PutLogEvents", &format!("{LOGS}:log-stream:sluicegate")),
    ];
    assert_eq!(role["policy"]["Statement"], json!(expected));
    let trust = &role["trust_policy"]["Statement"][0];
    assert_eq!(trust["Principal"], json!({"AWS": principal}));
    assert_eq!(trust["Condition"], json!({"StringEquals": {"sts:ExternalId": ["tenant-7"]}}));
    assert_eq!(daemon["policy"]["Statement"], json!([allow("AssumeRole", "sts:AssumeRole", ROLE)]));
}

#[test]
fn a_role_without_an_external_id_is_given_that_of_the_installation() {
    let (_folder, file) = settings_file(&destinations(&role(""), ""));
    let printed = || sluicegate(&["aws", "policy", "-c", &file], "");
    let (first, again) = (printed(), printed());
    let said = String::from_utf8(first.stderr.clone()).unwrap();
    let document: Value = serde_json::from_slice(&first.stdout).unwrap();
    let trust = &document["identities"][1]["trust_policy"]["Statement"][0];
    let id = trust["Condition"]["StringEquals"]["sts:ExternalId"][0].as_str().unwrap();
    assert!(id.starts_with("sluicegate-"), "{id}");
    assert!(said.contains(&format!("add `external_id: {id}` to its `role`")), "{said}");
    assert_eq!(first.stdout, again.stdout, "the id stays");
    assert_eq!(trust["Principal"]["AWS"], "${PRINCIPAL}");
    assert!(said.contains("give --principal ARN"), "{said}");
}

#[test]
fn keys_and_the_daemon_itself_need_no_role() {
    let keys = r#", auth: { creds: { aws_access_key_id: AKIAIOSFODNN7EXAMPLE, aws_secret_access_key: s3cret } }"#;
    for (auth, name) in [(keys, "access key"), ("", "what the daemon runs as")] {
        let printed = policy(&destinations(auth, ""), &["--deliver-only"]);
        let identities = printed["identities"].as_array().unwrap();
        assert_eq!(identities.len(), 1, "{printed}");
        assert_eq!(identities[0]["identity"], name);
        assert!(!printed.to_string().contains("s3cret"));
        let names: Vec<String> = actions(&printed).into_iter().collect();
        let delivering = [
            "firehose:PutRecordBatch",
            "kinesis:PutRecords",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ];
        assert_eq!(names, delivering);
    }
}

/// Answers as the three services do, for what exists; a log stream has to be made first.
fn services() -> FakeService {
    let made = AtomicBool::new(false);
    FakeService::start(move |request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        let well = |body: Value| Reply::new(200, "x-amzn-requestid: 1\r\n", body.to_string());
        match target.rsplit('.').next().unwrap() {
            "PutRecords" => request.taken(),
            "DescribeStreamSummary" => well(json!({"StreamDescriptionSummary": {
                "StreamName": "s", "StreamARN": KINESIS, "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0,
                "EnhancedMonitoring": [], "OpenShardCount": 1,
            }})),
            "PutRecordBatch" => {
                well(json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]}))
            }
            "DescribeDeliveryStream" => well(json!({"DeliveryStreamDescription": {
                "DeliveryStreamName": "d", "DeliveryStreamARN": FIREHOSE,
                "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": "DirectPut",
                "VersionId": "1", "Destinations": [], "HasMoreDestinations": false,
            }})),
            "DescribeLogStreams" => well(json!({"logStreams": []})),
            "PutLogEvents" if !made.load(Ordering::Relaxed) => {
                Reply::error(400, "ResourceNotFoundException")
            }
            "PutLogEvents" => well(json!({})),
            "CreateLogStream" => {
                made.store(true, Ordering::Relaxed);
                well(json!({}))
            }
            other => Reply::error(400, &format!("NotPlayed{other}")),
        }
    })
}

/// The IAM action of a request.
fn action(request: &Request) -> String {
    let target = request.header("x-amz-target").unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap();
    let service = service.split('_').next().unwrap().to_lowercase();
    format!("{service}:{operation}")
}

#[test]
fn what_is_called_is_what_the_policy_allows_and_nothing_else() {
    let services = services();
    let keys = r#", auth: { creds: { aws_access_key_id: AKIAIOSFODNN7EXAMPLE, aws_secret_access_key: s3cret } }"#;
    let settings = destinations(keys, &format!(r#", endpoint_url: "{}""#, services.url()));
    let (_folder, file) = settings_file(&settings);
    output_of(&["check", "-c", &file, "--online"], "");
    for id in ["stream", "delivery", "group"] {
        output_of(&["test-event", "-c", &file, "--destination", id], "");
    }
    let called: BTreeSet<String> = services.requests().iter().map(action).collect();
    assert_eq!(called, actions(&policy(&settings, &[])));
}

/// The actions of each target that the files of `deploy/aws` allow.
fn of_the_script(target: &str, more: &[&str]) -> BTreeSet<String> {
    let script = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/aws/setup.sh"))
        .args(["--target", target, "--dry-run", "--external-id", "tenant-7"])
        .args(["--principal", "arn:aws:iam::210987654321:role/daemon"])
        .args(more)
        .output()
        .unwrap();
    assert!(script.status.success(), "{script:?}");
    actions(&json!(String::from_utf8(script.stdout).unwrap()))
}

#[test]
fn the_script_allows_the_actions_of_the_policy() {
    let role = role(", external_id: tenant-7");
    let aggregated = format!(
        "destinations: [{{ id: s, target: {{ kinesis: {{ stream_arn: \"{KINESIS}\", aggregate: kpl{role} }} }} }}]\n"
    );
    assert_eq!(of_the_script(KINESIS, &["--aggregate"]), actions(&policy(&aggregated, &[])));
    for more in [&[][..], &["--deliver-only"]] {
        let script = [KINESIS, FIREHOSE, LOGS].iter().flat_map(|it| of_the_script(it, more));
        let printed = policy(&destinations(&role, ""), more);
        assert_eq!(script.collect::<BTreeSet<_>>(), actions(&printed), "{more:?}");
    }
}

/// What `python-hcl2` reads in texts of Terraform; none, with a line that says so, where it is not.
fn read_hcl(texts: &[String]) -> Option<Value> {
    let python = venv_program("python")?;
    if !Command::new(&python).args(["-c", "import hcl2"]).output().unwrap().status.success() {
        println!("skipped: Python's `hcl2` is not installed; `make clean-venv test` installs it");
        return None;
    }
    let program =
        "import hcl2, json, sys; print(json.dumps([hcl2.loads(it) for it in sys.argv[1:]]))";
    let output = Command::new(python).args(["-c", program]).args(texts).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_module_of_terraform_allows_the_actions_of_the_policy() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/terraform");
    let read = |name| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let Some(module) = read_hcl(&["main.tf", "variables.tf", "outputs.tf"].map(read)) else {
        return;
    };
    let settings = destinations(&role(", external_id: tenant-7"), "");
    let settings = settings
        .replace("stream_arn: \"arn:aws:kinesis", "aggregate: kpl, stream_arn: \"arn:aws:kinesis");
    let kms = ["--kms-key", "arn:aws:kms:us-east-1:123456789012:key/1"];
    assert_eq!(actions(&module), actions(&policy(&settings, &kms)));
}

#[test]
fn the_policy_as_terraform_is_the_policy_as_json() {
    let settings = destinations(&role(", external_id: tenant-7"), "");
    let (_folder, file) = settings_file(&settings);
    let printed = output_of(&["aws", "policy", "-c", &file, "--terraform"], "");
    assert!(printed.contains("\"AWS\": var.principal"), "{printed}");
    let Some(read) = read_hcl(&[printed]) else { return };
    assert_eq!(actions(&read), actions(&policy(&settings, &[])));
    let text = read.to_string();
    for part in ["/teams/", "tenant-7", KINESIS, FIREHOSE, LOGS] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn settings_without_aws_have_no_policy() {
    let (_folder, file) =
        settings_file("destinations: [{ id: out, target: { debug: { log: true } } }]\n");
    let output = sluicegate(&["aws", "policy", "-c", &file], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no destination is one of AWS"), "{said}");
}
