//! What goes out in one request, and how much may.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Record;

/// Records of one request, never over the target's [`Limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The records, in the order in which the verdicts are to come back.
    pub records: Vec<Arc<Record>>,
}

/// How much one request may carry. The numbers stand in each kind's own file, with their sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most records in a batch.
    pub max_records: usize,
    /// Most bytes in a batch, as [`Limits::record_bytes`] counts them.
    pub max_bytes: usize,
    /// Most bytes of one record, counted likewise. A longer one can never be delivered.
    pub max_record_bytes: usize,
    /// The times of a batch's records must lie less than this apart.
    pub max_span: Option<Duration>,
    /// How many requests may be under way at once, at most.
    pub in_flight: usize,
    /// What the service counts as a record's bytes.
    pub count: Count,
}

/// What a service counts as the bytes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// The body and a newline.
    Line,
    /// The body and the event's id, which is the partition key (Kinesis).
    BodyAndId,
    /// The body and a newline, in base64 (Firehose).
    Base64Line,
    /// The body and a fixed addition (CloudWatch Logs).
    BodyPlus(usize),
}

impl Limits {
    /// What one record adds to a batch's bytes.
    #[must_use]
    pub fn record_bytes(&self, record: &Record) -> usize {
        let body = record.body.len();
        match self.count {
            Count::Line => body + 1,
            Count::BodyAndId => body + record.event_id.len(),
            Count::Base64Line => (body + 1).div_ceil(3) * 4,
            Count::BodyPlus(addition) => body + addition,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn each_service_counts_a_record_in_its_own_way() {
        let record = Record {
            event_id: "ev_12".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(b"{\"a\":1}"),
            hops: 0,
        };
        for (count, bytes) in [
            (Count::Line, 8),
            (Count::BodyAndId, 12),
            (Count::Base64Line, 12),
            (Count::BodyPlus(26), 33),
        ] {
            let limits = Limits {
                max_records: 1,
                max_bytes: 1,
                max_record_bytes: 1,
                max_span: None,
                in_flight: 1,
                count,
            };
            assert_eq!(limits.record_bytes(&record), bytes, "{count:?}");
        }
    }
}
