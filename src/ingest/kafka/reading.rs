//! What a reading of Kafka ingest says.

/// What the consumer does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "kafka"),
    expect(dead_code, reason = "without a client nothing is consumed")
)]
pub enum KafkaState {
    /// It looks for brokers, its group or its partitions.
    #[default]
    Joining,
    /// It has its share of the partitions.
    Consuming,
    /// What it took cannot be kept now; it takes no more until it can.
    Paused,
    /// It has left the group.
    Stopped,
}

impl KafkaState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KafkaState::Joining => "joining",
            KafkaState::Consuming => "consuming",
            KafkaState::Paused => "paused",
            KafkaState::Stopped => "stopped",
        }
    }
}

/// How far one partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPartition {
    pub topic: String,
    pub partition: i32,
    /// Where the group would go on; `None` if the group has never stored an offset here.
    pub stored_offset: Option<i64>,
    /// The offset of the next message to be produced, as far as it is known.
    pub high_watermark: Option<i64>,
    /// Messages between the two.
    pub lag: Option<i64>,
}

/// What one reading says of Kafka ingest.
#[derive(Clone, Debug)]
pub struct KafkaReading {
    pub group_id: String,
    pub state: KafkaState,
    /// What keeps it from working as it should, for people.
    pub error: Option<String>,
    /// Messages kept since the process began.
    pub messages: u64,
    /// Messages that the topics' retention threw away before they were read.
    pub skipped: u64,
    /// The partitions that this daemon has; at most a thousand.
    pub partitions: Vec<KafkaPartition>,
}
