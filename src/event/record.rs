//! One event made ready for one subscription's destinations.

use bytes::Bytes;

use super::time::Timestamp;

/// The bytes that a destination is to receive, and what the sinks need to know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's id, decoded; at most 256 bytes. Kinesis takes it as the partition key.
    pub event_id: Box<str>,
    /// When the event happened.
    pub time: Timestamp,
    /// One JSON object in UTF-8 without line breaks or a trailing newline.
    pub body: Bytes,
    /// How many daemons the event had come through when it came in; at most [`super::MAX_HOPS`].
    pub hops: u8,
}
