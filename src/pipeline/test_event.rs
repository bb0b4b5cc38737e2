//! Test events: one small record sent straight to a destination, past journal and batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Record, Timestamp, ksuid};
use crate::sinks::{Ack, Batch, Sink};

/// What became of a test event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// The id it was sent with.
    pub event_id: String,
    /// How long the service took to answer.
    pub latency: Duration,
    /// The service's verdict.
    pub ack: Ack,
}

/// A test event as a record: the envelope with a fresh id, type `test` and an empty object.
fn test_record(now: Timestamp, random: u128) -> Record {
    let event_id = ksuid("ev", now, random);
    let time = now.whole_seconds();
    let body = format!(
        r#"{{"event_id":"{event_id}","event_type":"test","event_timestamp":"{time}","object":{{}}}}"#
    );
    Record { event_id: event_id.into(), time, body: Bytes::from(body), hops: 0 }
}

/// Sends one test event and waits for the verdict.
pub async fn send_test_event(sink: &Sink) -> TestOutcome {
    let record = test_record(Timestamp::now(), rand::random());
    let event_id = record.event_id.to_string();
    let began = Instant::now();
    let mut acks = sink.deliver(&Batch { records: vec![Arc::new(record)] }).await;
    let latency = began.elapsed();
    let ack = acks.pop().unwrap_or_else(|| Ack::Rejected("the sink gave no verdict".to_owned()));
    TestOutcome { event_id, latency, ack }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_event_is_the_envelope_with_an_empty_object() {
        let record = test_record(Timestamp { seconds: 1_756_980_674, nanos: 9 }, 0);
        let body = String::from_utf8(record.body.to_vec()).unwrap();
        let id = &record.event_id;
        assert_eq!(
            body,
            format!(
                r#"{{"event_id":"{id}","event_type":"test","event_timestamp":"2025-09-04T10:11:14Z","object":{{}}}}"#
            )
        );
        assert!(id.starts_with("ev_"));
    }
}
