//! A service of AWS that takes everything and bills it: what requests hold is counted as the service would,
//! and nothing leaves this process.
//!
//! Requests come through the sinks themselves, so what is counted is what would be sent. Prices are not
//! known here.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::auth::Keys;
use super::format::Format;
use super::transport::{Lines, Sending};
use super::{Auth, DEFAULT_TIMEOUT, LogOutput, Sink, Target};
use crate::form::{Checked, SecretOf};
use crate::lock::lock;

/// Bytes of one PUT payload unit of a provisioned Kinesis stream (AWS, "Amazon Kinesis Data Streams
/// pricing"): a record with its key is billed in whole ones.
const PAYLOAD_UNIT: u64 = 25 * 1024;
/// A record of an on-demand stream is billed in whole KiB (the same place).
const ON_DEMAND_STEP: u64 = 1024;
/// A record of Firehose's Direct PUT is billed in whole 5 KiB (AWS, "Amazon Data Firehose pricing").
const FIREHOSE_STEP: u64 = 5 * 1024;
/// What CloudWatch Logs counts for an event beside its message (API model, `PutLogEvents`).
const LOG_EVENT: u64 = 26;

/// What was sent to one destination, as its service counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Requests with records.
    pub requests: u64,
    /// Records, or log events.
    pub records: u64,
    /// Bytes of their data: with keys for Kinesis, with 26 bytes each for CloudWatch Logs.
    pub bytes: u64,
    /// PUT payload units of a provisioned Kinesis stream.
    pub put_units: u64,
    /// Bytes that are billed: rounded up by the record for Firehose, and for Kinesis on demand.
    pub billed_bytes: u64,
}

/// Takes requests and counts.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Bill>);

impl Meter {
    /// What was counted so far.
    #[must_use]
    pub fn bill(&self) -> Bill {
        *lock(&self.0)
    }

    fn answer(&self, request: &HttpRequest) -> Value {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let list = |name: &str| body[name].as_array().map_or(&[][..], Vec::as_slice);
        let length = |value: &Value| value.as_str().map_or(0, |text| text.len() as u64);
        match operation {
            "PutRecords" => {
                let sizes = list("Records")
                    .iter()
                    .map(|it| decoded(&it["Data"]) + length(&it["PartitionKey"]));
                let taken = self.count(sizes, |size| Bill {
                    put_units: size.div_ceil(PAYLOAD_UNIT),
                    billed_bytes: size.next_multiple_of(ON_DEMAND_STEP),
                    ..Bill::default()
                });
                let entry = json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"});
                json!({"FailedRecordCount": 0, "Records": vec![entry; taken]})
            }
            "PutRecordBatch" => {
                let sizes = list("Records").iter().map(|it| decoded(&it["Data"]));
                let taken = self.count(sizes, |size| Bill {
                    billed_bytes: size.next_multiple_of(FIREHOSE_STEP),
                    ..Bill::default()
                });
                let entry = json!({"RecordId": "1"});
                json!({"FailedPutCount": 0, "RequestResponses": vec![entry; taken]})
            }
            "PutLogEvents" => {
                let sizes = list("logEvents").iter().map(|it| length(&it["message"]) + LOG_EVENT);
                self.count(sizes, |size| Bill { billed_bytes: size, ..Bill::default() });
                json!({})
            }
            _ => described(operation),
        }
    }

    /// Counts the records of a request by their sizes, with what each is billed as; gives how many.
    fn count(&self, sizes: impl Iterator<Item = u64>, billed: impl Fn(u64) -> Bill) -> usize {
        let mut bill = lock(&self.0);
        bill.requests += 1;
        let before = bill.records;
        for size in sizes {
            let one = billed(size);
            bill.records += 1;
            bill.bytes += size;
            bill.put_units += one.put_units;
            bill.billed_bytes += one.billed_bytes;
        }
        usize::try_from(bill.records - before).unwrap_or_default()
    }
}

/// The length of what base64 stands for.
fn decoded(base64: &Value) -> u64 {
    let text = base64.as_str().unwrap_or_default();
    (text.trim_end_matches('=').len() as u64) * 3 / 4
}

/// A stream of the simplest kind, for sinks that ask: one shard, plain delivery to S3.
fn described(operation: &str) -> Value {
    match operation {
        "DescribeStreamSummary" => json!({"StreamDescriptionSummary": {
            "StreamName": "metered", "StreamARN": "metered", "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1, "EnhancedMonitoring": [],
            "OpenShardCount": 1, "RecordDistributionStrategy": "USER_PARTITION_KEY",
        }}),
        "ListShards" => json!({"Shards": [{
            "ShardId": "shardId-000000000000",
            "HashKeyRange": {
                "StartingHashKey": "0",
                "EndingHashKey": "340282366920938463463374607431768211455",
            },
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }]}),
        "DescribeDeliveryStream" => json!({"DeliveryStreamDescription": {
            "DeliveryStreamName": "metered", "DeliveryStreamARN": "metered",
            "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": "DirectPut",
            "VersionId": "1", "HasMoreDestinations": false,
            "Destinations": [{"DestinationId": "1", "ExtendedS3DestinationDescription": {
                "RoleARN": "metered", "BucketARN": "metered", "BufferingHints": {},
                "CompressionFormat": "UNCOMPRESSED", "EncryptionConfiguration": {},
            }}],
        }}),
        "DescribeLogStreams" => json!({"logStreams": []}),
        _ => json!({}),
    }
}

/// The connector of a meter.
#[derive(Clone, Debug)]
struct Metered(Arc<Meter>);

impl HttpConnector for Metered {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = self.0.answer(&request).to_string();
        let status = StatusCode::try_from(200).map_err(|it| ConnectorError::other(it.into(), None));
        HttpConnectorFuture::ready(status.map(|status| {
            let mut answer = HttpResponse::new(status, SdkBody::from(body));
            answer.headers_mut().insert("x-amzn-requestid", "metered");
            answer
        }))
    }
}

impl Target {
    /// Opens a target of AWS so that its requests go to a meter, signed with keys of nobody; none for
    /// other targets.
    pub async fn open_metered(&self, format: Format, meter: &Arc<Meter>) -> Option<Sink> {
        let mut target = self.clone();
        *target.auth_mut()? = Auth::Keys(Keys {
            aws_access_key_id: Checked::new("AKIAIOSFODNN7EXAMPLE").ok()?,
            aws_secret_access_key: SecretOf::new("none").ok()?,
        });
        let connector = SharedHttpConnector::new(Metered(Arc::clone(meter)));
        let lines = Some(Lines::Given(connector));
        let sending = Sending { timeout: DEFAULT_TIMEOUT, lines, format };
        let opened = target.settings().open(LogOutput::Stdout, sending).await.ok()?;
        Some(Sink { kind: target.kind(), format, limits: target.limits(), opened, barred: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_base64_is_that_of_what_it_stands_for() {
        for (text, length) in [("", 0), ("QQ==", 1), ("QUI=", 2), ("QUJD", 3), ("QUJDRA==", 4)] {
            assert_eq!(decoded(&json!(text)), length, "{text}");
        }
    }
}
