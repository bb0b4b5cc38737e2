//! The settings of Kafka: of the group that reads, and of the relay that writes. What librdkafka's properties mean
//! is its own matter.

use std::collections::BTreeMap;

use super::decode::Section;
use super::machine::check_input_file;
use super::mistakes::Mistake;
use super::text::Text;
use crate::ingest::{KafkaSettings, RelaySettings, check_kafka_property, check_relay_property};
use crate::kafka::{EventKey, PropertyError, TopicSettings, could_be_brokers};
use crate::sinks::Secret;

pub(super) fn read_kafka(section: &mut Section<'_>, max_event: usize) -> Option<KafkaSettings> {
    let text = |text: Text<'_>| text.value.to_owned();
    let brokers = section.required("brokers").string();
    if let Some(text) = &brokers {
        check_brokers(section, text);
    }
    let topics = section.required("topics").strings();
    let group_id = section.required("group_id").string();
    let options = options(section, check_kafka_property);
    Some(KafkaSettings {
        brokers: text(brokers?),
        topics: topics?.into_iter().map(text).collect(),
        group_id: text(group_id?),
        max_event,
        options,
    })
}

/// Reads the topic that bodies are written to, of the one kind of relay that there is.
pub(super) fn read_relay(section: &mut Section<'_>) -> Option<RelaySettings> {
    section.required("kafka").section(|section| {
        let text = |text: Text<'_>| text.value.to_owned();
        let brokers = section.required("brokers").string();
        if let Some(text) = &brokers {
            check_brokers(section, text);
        }
        let topic = section.required("topic").string();
        let key = section.optional("key").word(&[
            ("account_id", EventKey::AccountId),
            ("event_id", EventKey::EventId),
            ("none", EventKey::None),
        ]);
        let options = options(section, check_relay_property);
        let to = TopicSettings { brokers: text(brokers?), topic: text(topic?), options };
        Some(RelaySettings { to, key: key.unwrap_or(EventKey::None) })
    })
}

/// Reads properties of librdkafka.
fn options(
    section: &mut Section<'_>,
    check: impl Fn(&str, &str) -> Result<(), PropertyError>,
) -> BTreeMap<String, Secret> {
    let given = section.optional("options").string_map().unwrap_or_default();
    let mut options = BTreeMap::new();
    for (name, value) in given {
        if let Err(error) = check(name.value, value.value) {
            section.push(match error {
                PropertyError::Owned { .. } => name.wrong(error),
                PropertyError::Refused(_) => value.wrong(error),
            });
        }
        // `probe` is librdkafka's word for "look where systems have it".
        if name.value.ends_with(".location") && value.value != "probe" {
            check_input_file(section, &value);
        }
        options.insert(name.value.to_owned(), Secret::new(value.value));
    }
    options
}

/// That brokers have addresses, and this build a client that can ask them.
fn check_brokers(section: &Section<'_>, brokers: &Text<'_>) {
    if !cfg!(feature = "kafka") {
        let message = format!("`{}` needs a build with the feature `kafka`", section.path());
        section.push(Mistake::at(section.place_of("brokers"), message));
    }
    if !could_be_brokers(brokers.value) {
        let message = "must be hosts with their ports, such as `kafka-1:9092,kafka-2:9092`";
        section.push(brokers.wrong(format!("`{}.brokers` {message}", section.path())));
    }
}
