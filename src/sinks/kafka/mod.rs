//! A topic of Apache Kafka, or of what speaks its protocol: one message an event, by an idempotent producer.
//!
//! A record is delivered when all in-sync replicas have its message (`acks=all`). Only the settings file may name one:
//! the client connects to wherever the brokers say that they are, and no bound of ours holds it back.

#[cfg(feature = "kafka")]
mod sink;

use std::collections::BTreeMap;
use std::fmt;

use super::batch::{Count, Limits};
use super::error::{OpenError, SETTING};
use super::kind::{Boxed, Kind, Opened, Unfit};
use super::log_output::LogOutput;
use super::transport::Sending;
use super::trouble::Trouble;
use crate::form::{Checked, Door, Field, Form, Nature, Rule, Secret, Wrong, field, section};
use crate::kafka::{EventKey, TopicSettings, check_property, could_be_brokers};

/// Most records of one batch; each has a message and a verdict of its own, so that a failure sends no other again.
const MAX_RECORDS: usize = 10_000;
/// Most bytes of one batch, and of one record: no event is longer, since no body that brings one is. What the topic
/// takes is asked of the brokers.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most batches at once: with all of them full, the producer's queue is (64 MiB).
const IN_FLIGHT: usize = 4;
/// Longest name of a topic (Kafka, `Topic.MAX_NAME_LENGTH`).
const MAX_TOPIC: usize = 249;

const LIMITS: Limits = Limits {
    max_records: MAX_RECORDS,
    max_bytes: MAX_BYTES,
    max_record_bytes: MAX_BYTES,
    max_span: None,
    in_flight: IN_FLIGHT,
    count: Count::BodyAndId,
};

/// A topic, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTarget {
    brokers: Checked<Brokers>,
    topic: Checked<Topic>,
    key: EventKey,
    options: Option<Options>,
}

impl Form for KafkaTarget {
    fn form<D: Door>(d: &mut D, it: Option<&KafkaTarget>) -> Option<KafkaTarget> {
        let brokers = d.required(
            field(
                "brokers",
                "Where to find the first brokers: host:port, with commas between them.",
                "127.0.0.1:9092",
            ),
            it.map(|it| &it.brokers),
        );
        let topic = d.required(
            field("topic", "The topic, which must be there.", "events"),
            it.map(|it| &it.topic),
        );
        let key = d.or(
            field("key", "By what events are spread over the partitions.", ""),
            EventKey::EventId,
            it.map(|it| &it.key),
        );
        let options = d.group(
            section("options", "Properties of librdkafka, each value a text."),
            it.and_then(|it| it.options.as_ref()),
        );
        Some(KafkaTarget { brokers: brokers?, topic: topic?, key: key?, options })
    }
}

/// The addresses of brokers, with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Brokers;

impl Rule for Brokers {
    const NATURE: Nature = Nature::Brokers;

    fn check(text: &str) -> Result<(), Wrong> {
        let must = "must be hosts with their ports, such as `kafka-1:9092,kafka-2:9092`";
        could_be_brokers(text).then_some(()).ok_or_else(|| Wrong::must(SETTING, must))
    }
}

/// The name of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topic;

impl Rule for Topic {
    fn check(text: &str) -> Result<(), Wrong> {
        let is_name = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
        if text.len() <= MAX_TOPIC && text.bytes().all(is_name) && ![".", ".."].contains(&text) {
            return Ok(());
        }
        let must = "must be the name of a topic: up to 249 letters, digits, `.`, `_` and `-`";
        Err(Wrong::must(SETTING, must))
    }
}

/// A property of librdkafka's that a target may set. What promises delivery, and what loads code, is not among them.
struct Property {
    field: Field,
    of: Of,
}

/// What a property holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Text,
    Secret,
    /// The path of a file that is read.
    File,
}

const fn property(
    of: Of,
    name: &'static str,
    about: &'static str,
    example: &'static str,
) -> Property {
    Property { field: field(name, about, example).ours(), of }
}

const PROPERTIES: [Property; 21] = [
    property(
        Of::Text,
        "security.protocol",
        "plaintext, ssl, sasl_plaintext or sasl_ssl.",
        "sasl_ssl",
    ),
    property(Of::Text, "sasl.mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.", "SCRAM-SHA-512"),
    property(Of::Text, "sasl.username", "The user.", "sluicegate"),
    property(Of::Secret, "sasl.password", "The user's password.", "${env:KAFKA_PASSWORD}"),
    property(
        Of::File,
        "ssl.ca.location",
        "The certificates that are trusted; default: the system's.",
        "/etc/kafka/ca.pem",
    ),
    property(
        Of::File,
        "ssl.certificate.location",
        "Our certificate, where brokers ask for one.",
        "/etc/kafka/own.pem",
    ),
    property(Of::File, "ssl.key.location", "Its private key.", "/etc/kafka/own.key"),
    property(
        Of::Secret,
        "ssl.key.password",
        "The password of that file.",
        "${env:KAFKA_KEY_PASSWORD}",
    ),
    property(
        Of::Text,
        "ssl.endpoint.identification.algorithm",
        "https, or none: whose certificate it is, is not looked at.",
        "https",
    ),
    property(Of::Text, "broker.address.family", "any, v4 or v6.", "v4"),
    property(
        Of::Text,
        "client.id",
        "What brokers call us in their logs and quotas.",
        "sluicegate-1",
    ),
    property(Of::Text, "client.rack", "The rack that we are in.", "eu-west-1a"),
    property(Of::Text, "compression.type", "none, gzip, snappy, lz4 or zstd.", "zstd"),
    property(Of::Text, "compression.level", "How hard it compresses.", r#""3""#),
    property(
        Of::Text,
        "linger.ms",
        "How long messages wait for others of their partition.",
        r#""20""#,
    ),
    property(
        Of::Text,
        "batch.size",
        "Most bytes of one request's messages for a partition.",
        r#""1000000""#,
    ),
    property(
        Of::Text,
        "partitioner",
        "How keys choose a partition; murmur2_random is that of clients in Java.",
        "murmur2_random",
    ),
    property(
        Of::Text,
        "queue.buffering.max.kbytes",
        "Most that waits for the brokers, in KiB.",
        r#""65536""#,
    ),
    property(
        Of::Text,
        "queue.buffering.max.messages",
        "Most messages that wait for the brokers.",
        r#""100000""#,
    ),
    property(
        Of::Text,
        "reconnect.backoff.max.ms",
        "How long at most before a broker is connected to again.",
        r#""1000""#,
    ),
    property(
        Of::Text,
        "socket.keepalive.enable",
        "Whether TCP looks if idle connections live.",
        r#""true""#,
    ),
];

/// The path of a file that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InputFile;

impl Rule for InputFile {
    const NATURE: Nature = Nature::InputFile;

    fn check(_: &str) -> Result<(), Wrong> {
        Ok(())
    }
}

/// Properties that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options(BTreeMap<&'static str, Secret>);

impl Form for Options {
    fn form<D: Door>(d: &mut D, it: Option<&Options>) -> Option<Options> {
        let mut options = BTreeMap::new();
        for Property { field, of } in PROPERTIES {
            let it = it.and_then(|Options(it)| it.get(field.name));
            let open = it.map(|it| it.expose().to_owned());
            let value = match of {
                Of::Secret => d.optional(field, it),
                Of::Text => d.optional(field, open.as_ref()).map(Secret::new),
                Of::File => {
                    let path = open.and_then(|it| Checked::<InputFile>::new(&it).ok());
                    d.optional(field, path.as_ref()).map(|it| Secret::new(it.as_str()))
                }
            };
            options.extend(value.map(|value| (field.name, value)));
        }
        Some(Options(options))
    }
}

impl KafkaTarget {
    /// Where its producer writes.
    fn to(&self) -> TopicSettings {
        let options = self.options.iter().flat_map(|Options(all)| all);
        TopicSettings {
            brokers: self.brokers.as_str().to_owned(),
            topic: self.topic.as_str().to_owned(),
            options: options.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}

impl Kind for KafkaTarget {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn held_bytes(&self) -> u64 {
        self.to().queue_bytes()
    }

    fn unfit(&self) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        if !cfg!(feature = "kafka") {
            let problem = "a target `kafka` needs a build with the feature `kafka`".to_owned();
            unfit.push(Unfit { path: "brokers".to_owned(), problem });
        }
        for (name, value) in self.options.iter().flat_map(|Options(all)| all) {
            let path = format!("options.{name}");
            if let Err(error) = check_property(&[], name, value.expose()) {
                unfit.push(Unfit { path, problem: error.to_string() });
            }
        }
        unfit
    }

    fn next(&self, trouble: Trouble) -> Option<String> {
        let (brokers, topic) = (&self.brokers, &self.topic);
        let first = brokers.as_str().split(',').next().unwrap_or_default().trim();
        let (host, port) = first.rsplit_once(':').unwrap_or((first, "9092"));
        Some(match trouble {
            Trouble::Name => {
                format!("getent hosts {host} (if it finds nothing: correct `brokers`)")
            }
            Trouble::Unreachable => format!(
                "nc -vz {host} {port} (if it is reached: `security.protocol` in `options` must be that of this port)"
            ),
            Trouble::Tls => format!(
                "openssl s_client -connect {first} </dev/null (its issuer must be in `ssl.ca.location` of `options`)"
            ),
            Trouble::MissingTarget => format!(
                "kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --replication-factor 3"
            ),
            Trouble::Refused => format!(
                "kafka-acls.sh --bootstrap-server {brokers} --list --topic {topic} (the user of `options` needs Write and Describe; or correct `sasl.username` and `sasl.password`)"
            ),
            _ => return None,
        })
    }

    fn open(
        &self,
        _: LogOutput,
        sending: Sending,
    ) -> Boxed<'_, Result<Box<dyn Opened>, OpenError>> {
        #[cfg(feature = "kafka")]
        let opened: Result<Box<dyn Opened>, OpenError> =
            Ok(Box::new(sink::Sink::new(self.to(), self.key, sending.timeout)));
        #[cfg(not(feature = "kafka"))]
        let opened: Result<Box<dyn Opened>, OpenError> = {
            drop(sending);
            Err(OpenError { message: "this build has no client of Kafka".to_owned() })
        };
        Box::pin(std::future::ready(opened))
    }
}

/// For status pages, without secrets.
impl fmt::Display for KafkaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic `{}` at {}", self.topic, self.brokers)
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_every_property_that_a_target_may_set() {
        for Property { field, .. } in PROPERTIES {
            let value = match field.name {
                "security.protocol" => "sasl_ssl",
                "sasl.mechanism" => "SCRAM-SHA-512",
                "ssl.endpoint.identification.algorithm" => "https",
                "broker.address.family" => "v4",
                "compression.type" => "zstd",
                "partitioner" => "murmur2_random",
                "socket.keepalive.enable" => "true",
                _ => "1",
            };
            assert_eq!(check_property(&[], field.name, value), Ok(()), "{}", field.name);
        }
    }

    #[test]
    fn a_topic_has_a_name_that_kafka_takes() {
        for (name, is_one) in [("a.b_c-9", true), ("a b", false), ("..", false), ("é", false)] {
            assert_eq!(Topic::check(name).is_ok(), is_one, "{name}");
        }
        assert!(Topic::check(&"t".repeat(250)).is_err());
    }
}
