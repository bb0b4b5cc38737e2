//! What a topic is like, as far as its brokers tell.

/// What a topic is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: usize,
    /// Copies of its first partition.
    pub replicas: usize,
    /// Copies that must be in sync for a write; none if the brokers do not tell.
    pub min_in_sync: Option<u32>,
    /// Largest batch of messages, in bytes.
    pub max_message: usize,
}

#[cfg(feature = "kafka")]
impl TopicFacts {
    /// The facts of a topic of this name, in a line for people.
    #[must_use]
    pub fn of(&self, topic: &str) -> String {
        let TopicFacts { partitions, replicas, min_in_sync, .. } = self;
        let least = min_in_sync.map_or_else(|| "not shown".to_owned(), |it| it.to_string());
        format!(
            "`{topic}` has {partitions} partitions, {replicas} replicas, min.insync.replicas {least}"
        )
    }
}
