//! The client's properties as we set them; and asking the brokers.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::KafkaSettings;

/// How long the brokers have to answer `check --online`.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Set before the user's own. A new group begins with the oldest message, since the newest would lose
/// what was produced before it; fetched messages that wait in the client take at most 16 MiB; statistics
/// come every second; a topic or a partition that is made later is found within 30 s. `probe`: OpenSSL
/// is linked in and does not know where the system keeps its certificates.
const DEFAULTS: [(&str, &str); 8] = [
    ("auto.commit.interval.ms", "1000"),
    ("auto.offset.reset", "earliest"),
    ("client.id", "sluicegate"),
    ("fetch.max.bytes", "8388608"),
    ("queued.max.messages.kbytes", "16384"),
    ("ssl.ca.location", "probe"),
    ("statistics.interval.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// Set after the user's own: the promise that nothing is lost rests on the first two.
const FIXED: [(&str, &str); 3] = [
    ("enable.auto.commit", "true"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "false"),
];

/// The properties of a consumer.
pub(super) fn properties(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    for (name, value) in &settings.options {
        config.set(name, value.expose());
    }
    for (name, value) in FIXED {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set("group.id", &settings.group_id);
    config.set_log_level(RDKafkaLogLevel::Debug);
    config
}

/// Asks the brokers for the topics, and tells what they are like. Blocks for some seconds at most,
/// and joins no group.
///
/// # Errors
/// When the client cannot be made, no broker answers, or a topic is not there.
pub fn ask_kafka(settings: &KafkaSettings) -> Result<String, String> {
    let consumer: BaseConsumer =
        properties(settings).create().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for topic in &settings.topics {
        let metadata = consumer.fetch_metadata(Some(topic), ASK_TIMEOUT);
        let metadata = metadata.map_err(|error| format!("no answer from the brokers: {error}"))?;
        for answer in metadata.topics() {
            if let Some(error) = answer.error() {
                let error = rdkafka::types::RDKafkaErrorCode::from(error);
                return Err(format!("topic `{topic}`: {error}"));
            }
            found.push(format!("`{topic}` has {} partitions", answer.partitions().len()));
        }
    }
    Ok(found.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sinks::Secret;

    /// TLS, SASL and the compressions that producers use are built in: asked of the very client.
    #[test]
    fn the_client_can_be_made_with_tls_sasl_and_every_compression() {
        let options = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let settings = KafkaSettings {
            brokers: "127.0.0.1:1".to_owned(),
            topics: vec!["events".to_owned()],
            group_id: "g".to_owned(),
            max_event: 1,
            options: BTreeMap::from(options),
        };
        let made: Result<BaseConsumer, _> = properties(&settings).create();
        assert!(made.is_ok(), "{:?}", made.err());
        let features = ClientConfig::new().create_native_config().unwrap();
        let features = features.get("builtin.features").unwrap();
        let wanted = [
            "gzip",
            "snappy",
            "lz4",
            "zstd",
            "ssl",
            "sasl_plain",
            "sasl_scram",
            "sasl_oauthbearer",
        ];
        for feature in wanted {
            assert!(features.split(',').any(|it| it == feature), "{feature}: {features}");
        }
    }
}
