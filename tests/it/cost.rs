//! What a sample costs: the billed units that are told are those of what is really sent.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::fake_kinesis::decode_base64;
use crate::support::fake_service::{FakeService, Reply, Request};
use crate::support::{changed, generate, output_of, sluicegate};

/// Takes everything that the three services are sent.
fn services() -> FakeService {
    let made = AtomicBool::new(false);
    FakeService::start(move |request| {
        let well = |body: Value| Reply::new(200, "x-amzn-requestid: 1\r\n", body.to_string());
        let input: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let entries = |entry| vec![entry; input["Records"].as_array().map_or(0, Vec::len)];
        match operation(request) {
            "PutRecords" => request.taken(),
            "PutRecordBatch" => {
                let taken = entries(json!({"RecordId": "1"}));
                well(json!({"FailedPutCount": 0, "RequestResponses": taken}))
            }
            "PutLogEvents" if !made.swap(true, Ordering::Relaxed) => {
                Reply::error(400, "ResourceNotFoundException")
            }
            "PutLogEvents" | "CreateLogStream" => well(json!({})),
            "DescribeDeliveryStream" => well(json!({"DeliveryStreamDescription": {
                "DeliveryStreamName": "d", "DeliveryStreamARN": "d", "VersionId": "1",
                "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": "DirectPut",
                "HasMoreDestinations": false,
                "Destinations": [{"DestinationId": "1", "S3DestinationDescription": {
                    "RoleARN": "r", "BucketARN": "b", "BufferingHints": {},
                    "CompressionFormat": "GZIP", "EncryptionConfiguration": {},
                }}],
            }})),
            _ => Reply::error(400, "AccessDeniedException"),
        }
    })
}

fn operation(request: &Request) -> &str {
    request.header("x-amz-target").unwrap_or_default().rsplit('.').next().unwrap()
}

fn settings(url: &str) -> String {
    let auth = "auth: { creds: { aws_access_key_id: AKIAIOSFODNN7EXAMPLE, aws_secret_access_key: s3cret } }";
    let end = format!(r#"endpoint_url: "{url}", {auth}"#);
    format!(
        r#"
destinations:
  - {{ id: stream, target: {{ kinesis: {{ stream_arn: "arn:aws:kinesis:us-east-1:123456789012:stream/s", {end} }} }} }}
  - {{ id: delivery, target: {{ firehose: {{ delivery_stream_arn: "arn:aws:firehose:us-east-1:123456789012:deliverystream/d", {end} }} }}, batch: {{ linger: 5s }} }}
  - {{ id: group, target: {{ cloudwatch_logs: {{ log_group_arn: "arn:aws:logs:us-east-1:123456789012:log-group:/app", {end} }} }} }}
  - {{ id: out, target: {{ file: {{ path: out.ndjson }} }} }}
subscriptions:
  - id: all
    sources:
      - type: http_request_complete.v0
        filter: ev.http.response.status_code >= 200
        fields: [http.request.url.path, http.response.status_code]
    destinations: [stream, delivery, group, out]
"#
    )
}

/// The same where each event has a record of Firehose's to itself.
fn unpacked(settings: &str) -> String {
    changed(settings, "deliverystream/d\",", "deliverystream/d\", pack: off,")
}

/// Runs `cost` on a sample.
fn cost(settings: &str, sample: &str, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.yaml");
    let data = folder.path().join("data");
    std::fs::write(&file, format!("data_dir: {}\n{settings}", data.display())).unwrap();
    let arguments = ["cost", "-c", file.to_str().unwrap(), "-o", "json"];
    serde_json::from_str(&output_of(&[&arguments, more].concat(), sample)).unwrap()
}

fn of<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let all = answer["destinations"].as_array().unwrap();
    all.iter().find(|it| it["destination_id"] == id).unwrap()
}

/// Records and billed bytes of all requests of an operation; each record's size is rounded up so.
fn sent(requests: &[Request], name: &str, round: impl Fn(&Value) -> u64) -> (u64, u64) {
    let records = requests.iter().filter(|it| operation(it) == name).flat_map(|request| {
        let input: Value = serde_json::from_str(&request.body).unwrap();
        let list = if name == "PutLogEvents" { "logEvents" } else { "Records" };
        input[list].as_array().unwrap().clone()
    });
    records.fold((0, 0), |(count, sum), record| (count + 1, sum + round(&record)))
}

#[test]
fn the_billed_units_of_a_sample_are_those_of_what_is_sent() {
    let sample: Vec<String> = generate("http_request_complete.v0", 1_500, 7);
    let services = services();
    let settings = settings(&services.url());
    let told = cost(&settings, &sample.join("\n"), &["--rate", "1000"]);
    assert!(services.requests().is_empty(), "nothing is sent to find out");

    let daemon = Daemon::start(&settings.replace("out.ndjson", "DIR/out.ndjson"));
    daemon.send(&sample);
    daemon.wait_until_delivered();
    let requests = services.requests();
    let data = |it: &Value| decode_base64(it["Data"].as_str().unwrap()).len() as u64;
    let key = |it: &Value| it["PartitionKey"].as_str().unwrap().len() as u64;

    let kinesis = &of(&told, "stream")["sample"];
    let (records, units) =
        sent(&requests, "PutRecords", |it| (data(it) + key(it)).div_ceil(25 * 1024));
    assert_eq!((&kinesis["records"], &kinesis["put_units"]), (&json!(records), &json!(units)));
    let (_, bytes) = sent(&requests, "PutRecords", |it| data(it) + key(it));
    assert_eq!(kinesis["bytes"], bytes);

    // All of them in one batch, as the sample was.
    let firehose = &of(&told, "delivery")["sample"];
    let (records, billed) = sent(&requests, "PutRecordBatch", |it| data(it).div_ceil(5120) * 5120);
    assert_eq!(
        (&firehose["records"], &firehose["billed_bytes"]),
        (&json!(records), &json!(billed))
    );

    let logs = &of(&told, "group")["sample"];
    let (_, billed) =
        sent(&requests, "PutLogEvents", |it| it["message"].as_str().unwrap().len() as u64 + 26);
    // The first request was made once more, when its log stream was there.
    let first = requests.iter().find(|it| operation(it) == "PutLogEvents").cloned().unwrap();
    let (_, twice) =
        sent(&[first], "PutLogEvents", |it| it["message"].as_str().unwrap().len() as u64 + 26);
    assert_eq!(logs["billed_bytes"], billed - twice);
    assert_eq!(
        of(&told, "out")["sample"]["bytes"],
        std::fs::metadata(daemon.path("out.ndjson")).unwrap().len()
    );
}

#[test]
fn a_month_is_counted_from_the_rate_and_the_prices_of_a_file() {
    let sample: Vec<String> = generate("http_request_complete.v0", 100, 3);
    let sample = sample.join("\n");
    let settings = settings("http://127.0.0.1:9");
    let answer = cost(&settings, &sample, &["--rate", "2000"]);
    let stream = of(&answer, "stream");
    let seconds = 730.0 * 3600.0;
    let records = stream["month"]["records"].as_f64().unwrap();
    assert!((records - 2000.0 * seconds).abs() < 1.0, "{records}");
    assert_eq!(stream["month"]["shards"], 2.0, "two thousand records a second need two shards");
    let money = stream["month"]["money"]["provisioned"].as_f64().unwrap();
    let expected = records / 1e6 * 0.014 + 2.0 * 730.0 * 0.015;
    assert!((money - expected).abs() < 0.01, "{money} {expected}");

    let printed = output_of(&["cost", "--print-prices"], "");
    let mut prices: Value = serde_json::from_str(&printed).unwrap();
    for price in prices["prices"].as_object().unwrap().values() {
        assert!(price["source"].as_str().unwrap().starts_with("https://"), "{price}");
    }
    prices["prices"]["firehose_gib"]["price"] = json!(2.9);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.json");
    std::fs::write(&file, prices.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let dearer = cost(&settings, &sample, &["--rate", "2000", "--prices", file]);
    let money =
        |answer: &Value| of(answer, "delivery")["month"]["money"]["direct_put"].as_f64().unwrap();
    assert!((money(&dearer) / money(&answer) - 100.0).abs() < 1e-6);

    std::fs::write(file, "{}").unwrap();
    let output = sluicegate(&["cost", "-c", "none.yaml", "--prices", file], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("has no price `prices.cloudwatch_logs_gib.price`, a number"), "{said}");
}

#[test]
fn each_selected_field_has_its_price() {
    let sample = generate("http_request_complete.v0", 400, 3).join("\n");
    let settings = settings("http://127.0.0.1:9");
    let answer = cost(&settings, &sample, &["--rate", "1000"]);
    let fields = of(&answer, "group")["fields"].as_array().unwrap().clone();
    let names: Vec<&str> = fields.iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(names, ["http.request.url.path", "http.response.status_code"]);
    for field in &fields {
        assert!(field["money_a_month"].as_f64().unwrap() > 0.0, "{field}");
    }
    let of_firehose =
        |answer: &Value| of(answer, "delivery")["fields"][0]["money_a_month"].as_f64().unwrap();
    assert!(of_firehose(&answer) > 0.0, "what shares a record is billed by its bytes");
    let answer = cost(&unpacked(&settings), &sample, &["--rate", "1000"]);
    assert_eq!(of_firehose(&answer), 0.0, "a record of less than 5 KiB costs no less without it");
}

#[test]
fn what_packing_saves_is_the_difference_of_both_ways() {
    let sample = generate("http_request_complete.v0", 600, 3).join("\n");
    let settings = settings("http://127.0.0.1:9");
    let answer = cost(&settings, &sample, &["--rate", "1000"]);
    let delivery = of(&answer, "delivery");
    let packing = &delivery["packing"];
    assert_eq!(packing["unpacked"]["records"], 600);
    assert_eq!(packing["unpacked"]["billed_bytes"], 600 * 5 * 1024);
    assert_eq!(packing["packed"]["records"], delivery["sample"]["records"], "it is the default");
    let money = |way: &str| packing[way]["money_a_month"].as_f64().unwrap();
    assert!(money("unpacked") > 10.0 * money("packed"), "{packing}");
    assert_eq!(packing["saves_a_month"], money("unpacked") - money("packed"));
    assert_eq!(of(&answer, "out")["packing"], Value::Null);

    let unpacked = cost(&unpacked(&settings), &sample, &["--rate", "1000"]);
    let delivery = of(&unpacked, "delivery");
    assert_eq!(
        (&delivery["sample"]["records"], &delivery["sample"]["events"]),
        (&json!(600), &json!(600))
    );
    assert_eq!(delivery["packing"], *packing, "whatever the setting is");
}

#[test]
fn what_aggregation_saves_at_a_stream_is_told_whether_it_is_set_or_not() {
    let sample = generate("http_request_complete.v0", 600, 3).join("\n");
    let settings = settings("http://127.0.0.1:9");
    let told = |settings: &str| {
        let answer = cost(settings, &sample, &["--rate", "2000"]);
        of(&answer, "stream").clone()
    };
    let (off, on) =
        (told(&settings), told(&changed(&settings, "stream/s\",", "stream/s\", aggregate: kpl,")));
    let packing = &off["packing"];
    assert_eq!(packing["unpacked"]["records"], 600);
    assert_eq!(packing["unpacked"]["put_units"], off["sample"]["put_units"]);
    assert_eq!(packing["packed"]["put_units"], on["sample"]["put_units"]);
    assert_eq!(packing["packed"]["records"], on["sample"]["records"]);
    let units = |way: &str| packing[way]["put_units"].as_u64().unwrap();
    assert!(units("unpacked") > 10 * units("packed"), "{packing}");
    assert!(packing["saves_a_month"].as_f64().unwrap() > 10.0, "{packing}");
    assert_eq!(on["packing"], *packing, "whatever the setting is");
    // The service has no such thing.
    let answer = cost(&settings, &sample, &["--rate", "2000"]);
    assert_eq!(of(&answer, "group")["packing"], Value::Null);
}

#[test]
fn a_sample_without_an_event_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.yaml");
    std::fs::write(&file, settings("http://127.0.0.1:9")).unwrap();
    for (sample, more, expected) in [
        ("", &[][..], "the sample is empty: give events as NDJSON"),
        (
            "\nnothing\n{\"event_type\":\"http_request_complete.v0\"}\n",
            &[],
            "the sample has no event: 2 lines, and none can be read as one; line 2: ",
        ),
        ("no log line\n", &["--format", "apache"], "1 line, and none can be read as one; line 1: "),
    ] {
        let arguments = [&["cost", "--rate", "1", "-c", file.to_str().unwrap()], more].concat();
        let output = sluicegate(&arguments, sample);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let events = generate("http_request_complete.v0", 3, 3).join("\n") + "\nnothing";
    let file = file.to_str().unwrap();
    let output = sluicegate(&["cost", "--rate", "1", "-c", file], &events);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("remark: 1 line of the sample cannot be read as events; line 4: "),
        "{said}"
    );
}

#[test]
fn a_running_daemon_tells_its_destinations_and_subscriptions() {
    let sample = generate("http_request_complete.v0", 300, 3).join("\n");
    let text = settings("http://127.0.0.1:9");
    let by_file = cost(&text, &sample, &["--rate", "1000"]);
    let daemon = Daemon::start(&text.replace("out.ndjson", "DIR/out.ndjson"));
    let file = daemon.path("sluicegate.yaml");
    let key = output_of(&["api-key", "create", "-c", file.to_str().unwrap()], "");
    let key_file = daemon.path("key");
    std::fs::write(&key_file, key).unwrap();
    let url = format!("http://{}", daemon.api);
    let access = ["--api", url.as_str(), "--key-file", key_file.to_str().unwrap()];
    let more = ["cost", "-o", "json", "--rate", "1000"];
    let by_api: Value =
        serde_json::from_str(&output_of(&[&more[..], &access[..]].concat(), &sample)).unwrap();
    for id in ["stream", "delivery", "group", "out"] {
        for part in ["sample", "month", "fields", "packing", "kind"] {
            assert_eq!(of(&by_api, id)[part], of(&by_file, id)[part], "{id} {part}");
        }
    }
}

#[test]
fn lines_of_an_access_log_are_a_sample_too() {
    let line =
        r#"192.0.2.1 - - [26/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8""#;
    let settings = settings("http://127.0.0.1:9");
    let answer = cost(&settings, line, &["--rate", "1", "--format", "apache"]);
    assert_eq!(of(&answer, "stream")["sample"]["records"], 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluicegate.yaml");
    std::fs::write(&file, settings).unwrap();
    let output = sluicegate(&["cost", "-c", file.to_str().unwrap(), "--format", "apache"], line);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("say with --rate how many events a second come in"), "{said}");
}
