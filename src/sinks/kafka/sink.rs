//! The producer of a target, opened with the first batch, and the verdict on each message.

use std::borrow::Cow;
#[cfg(test)]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::super::ack::{Ack, Fault};
use super::super::format::envelope;
use super::super::kind::{Boxed, Opened};
use super::super::trouble::Trouble;
use crate::event::{JsonCursor, Record, string_value};
use crate::kafka::{
    Cause, EventKey, Failure, Message, NotSent, Producer, Standing, TopicSettings, Watch, ask_topic,
};

/// How long what the topic takes is known before it is asked again for the sake of a record that is too large.
const FACTS_LAST: Duration = Duration::from_secs(30);

/// How long before a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A topic whose producer is made when it is first needed, and anew when it cannot go on.
pub(super) struct Sink {
    to: TopicSettings,
    key: EventKey,
    timeout: Duration,
    standing: Arc<Standing>,
    producer: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    producer: Arc<Producer>,
    since: Instant,
}

impl Opened for Sink {
    fn deliver<'s>(&'s self, records: &'s [Arc<Record>]) -> Boxed<'s, Vec<Ack>> {
        Box::pin(self.deliver(records))
    }

    fn probe(&self) -> Boxed<'_, Result<String, Fault>> {
        Box::pin(self.probe())
    }
}

impl Sink {
    /// Each message has its answer within `timeout`.
    pub(super) fn new(to: TopicSettings, key: EventKey, timeout: Duration) -> Sink {
        Sink { to, key, timeout, standing: Arc::default(), producer: Mutex::default() }
    }

    async fn open(&self) -> Result<Open, Fault> {
        let mut open = self.producer.lock().await;
        if let Some(it) = &*open
            && it.producer.fatal_error().is_none()
        {
            return Ok(it.clone());
        }
        let (to, timeout, standing) = (self.to.clone(), self.timeout, Arc::clone(&self.standing));
        let runtime = Handle::current();
        let made = spawn_blocking(move || Producer::open(&to, timeout, standing, &runtime)).await;
        let producer = match made {
            Ok(made) => Arc::new(made.map_err(|failure| self.fault(&failure))?),
            Err(stopped) => return Err(Fault::transient(format!("it was cut: {stopped}"))),
        };
        let it = Open { producer, since: Instant::now() };
        *open = Some(it.clone());
        Ok(it)
    }

    /// Has the topic asked again what it takes.
    async fn forget(&self) {
        *self.producer.lock().await = None;
    }

    async fn deliver(&self, records: &[Arc<Record>]) -> Vec<Ack> {
        let open = match self.open().await {
            Ok(open) => open,
            Err(fault) => return vec![Ack::Retry(fault); records.len()],
        };
        let (watch, until) = (Arc::new(Watch::default()), Instant::now() + self.timeout);
        let mut acks = vec![Ack::Delivered; records.len()];
        let mut is_stale = false;
        for (number, record) in records.iter().enumerate() {
            let key = key(self.key, record);
            let length = record.body.len() + key.as_ref().map_or(0, String::len);
            let most = open.producer.max_bytes();
            if length > most {
                let has_lasted = open.since.elapsed() > FACTS_LAST;
                is_stale |= has_lasted;
                acks[number] = self.too_large(length, most, has_lasted);
                continue;
            }
            let hops = record.hops.saturating_add(1);
            let message = Message { number, key: key.as_deref(), value: &record.body, hops };
            if let Err(fault) = self.send(&open.producer, message, &watch, until).await {
                acks[number] = Ack::Retry(fault);
            }
        }
        for (number, failure) in watch.answered().await.failed {
            is_stale |= failure.cause == Cause::Size;
            acks[number] = self.ack(&failure);
        }
        if is_stale {
            self.forget().await;
        }
        acks
    }

    /// Sends a message as soon as there is room for it.
    async fn send(
        &self,
        producer: &Producer,
        message: Message<'_>,
        watch: &Arc<Watch>,
        until: Instant,
    ) -> Result<(), Fault> {
        loop {
            match producer.send(message, watch) {
                Ok(()) => return Ok(()),
                Err(NotSent::Full) if Instant::now() < until => {
                    tokio::time::sleep(QUEUE_PAUSE).await;
                }
                Err(NotSent::Full) => {
                    return Err(Fault::unanswered("too many messages wait for the brokers"));
                }
                Err(NotSent::Failed(failure)) => return Err(self.fault(&failure)),
            }
        }
    }

    /// The verdict on a record that the topic does not take, as far as is known of it.
    fn too_large(&self, length: usize, most: usize, is_stale: bool) -> Ack {
        let topic = &self.to.topic;
        if is_stale {
            let message =
                format!("the topic `{topic}` is asked again whether it takes {length} bytes");
            return Ack::Retry(Fault::transient(message));
        }
        Ack::Rejected(format!(
            "the event has {length} bytes with its key, and the topic `{topic}` takes {most} (its \
             `max.message.bytes`, less 1 KiB for what is around an event)"
        ))
    }

    /// The verdict on a message that was not written.
    fn ack(&self, failure: &Failure) -> Ack {
        match failure.cause {
            Cause::Message if self.key != EventKey::None => Ack::Rejected(self.words(failure)),
            _ => Ack::Retry(self.fault(failure)),
        }
    }

    fn fault(&self, failure: &Failure) -> Fault {
        let (words, topic) = (self.words(failure), &self.to.topic);
        let fault = match failure.cause {
            Cause::NoTopic => Fault::configuration(format!(
                "{words}; make the topic `{topic}`, or correct `topic`"
            )),
            Cause::Access => Fault::configuration(format!(
                "{words}; correct the target's `options`, or what the brokers allow its user"
            )),
            Cause::Message => {
                Fault::configuration(format!("{words}; a topic that is compacted needs a `key`"))
            }
            Cause::Silence => Fault::unanswered(words),
            Cause::Size | Cause::Passing => Fault::transient(words),
        };
        fault.with(trouble(failure))
    }

    fn words(&self, failure: &Failure) -> String {
        format!("topic `{}`: {failure}", self.to.topic)
    }

    async fn probe(&self) -> Result<String, Fault> {
        let (to, runtime) = (self.to.clone(), Handle::current());
        let facts = match spawn_blocking(move || ask_topic(&to, &runtime)).await {
            Ok(facts) => facts.map_err(|failure| self.fault(&failure))?,
            Err(stopped) => return Err(Fault::transient(format!("it was cut: {stopped}"))),
        };
        let remark = match facts.min_in_sync {
            Some(1) => "; what is delivered may be one copy, since `min.insync.replicas` is 1",
            _ => "",
        };
        Ok(facts.of(&self.to.topic) + remark)
    }
}

/// What is wrong. Between causes that librdkafka has one code for, its words tell.
fn trouble(failure: &Failure) -> Option<Trouble> {
    let words = failure.words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|it| words.contains(it));
    Some(match failure.cause {
        Cause::NoTopic => Trouble::MissingTarget,
        Cause::Access | Cause::Silence if says(&["ssl handshake", "certificate"]) => Trouble::Tls,
        Cause::Access => Trouble::Refused,
        Cause::Silence if says(&["resol"]) => Trouble::Name,
        Cause::Silence => Trouble::Unreachable,
        Cause::Message | Cause::Size | Cause::Passing => return None,
    })
}

/// What a record's message is spread by.
fn key(by: EventKey, record: &Record) -> Option<String> {
    match by {
        EventKey::None => None,
        EventKey::EventId => Some(record.event_id.to_string()),
        EventKey::AccountId => account_id(envelope(&record.body)),
    }
}

/// The account of a record, if it names one before its object, which stands last.
fn account_id(body: &[u8]) -> Option<String> {
    let mut cursor = JsonCursor::new(str::from_utf8(body).ok()?);
    let mut has_more = cursor.enter(b'{', b'}').ok()?;
    while has_more {
        let key = cursor.key().ok()?;
        if key == "object" {
            return None;
        }
        cursor.next_token();
        let start = cursor.position();
        cursor.value(1).ok()?;
        if key == "account_id" {
            return string_value(cursor.since(start)).map(Cow::into_owned);
        }
        has_more = cursor.more(b'}').ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;
    use crate::sinks::{FaultKind, Format};

    #[test]
    fn the_account_is_read_from_the_envelope_alone() {
        for (body, found) in [
            (r#"{"event_id":"e","account_id":"a\"c","object":{}}"#, Some("a\"c")),
            (r#"{"event_id":"e","object":{"account_id":"no"}}"#, None),
            (r#"{"account_id":7,"object":{}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(account_id(body.as_bytes()).as_deref(), found, "{body}");
        }
    }

    #[test]
    fn the_account_is_that_of_the_event_in_a_cloud_event_too() {
        let body = r#"{"event_id":"e","event_type":"a.v0","event_timestamp":"2026-11-26T10:00:00Z","account_id":"ac_1","object":{}}"#;
        let record = Record {
            event_id: "e".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from_static(body.as_bytes()),
            hops: 0,
        };
        for format in [Format::Json, Format::CloudEvents] {
            let key = key(EventKey::AccountId, &format.written(&record));
            assert_eq!(key.as_deref(), Some("ac_1"), "{format:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart_by_cause_and_words() {
        for (cause, words, expected) in [
            (Cause::NoTopic, "Unknown topic", Some(Trouble::MissingTarget)),
            (Cause::Access, "sasl_ssl://h:1/b: SASL authentication error", Some(Trouble::Refused)),
            (Cause::Access, "ssl://h:1/b: SSL handshake failed", Some(Trouble::Tls)),
            (Cause::Access, "certificate verify failed", Some(Trouble::Tls)),
            (Cause::Silence, "h:1/b: Failed to resolve 'h:1'", Some(Trouble::Name)),
            (
                Cause::Silence,
                "h:1/b: Connect to ipv4#127.0.0.1:1 failed",
                Some(Trouble::Unreachable),
            ),
            (Cause::Size, "too large", None),
        ] {
            let failure = Failure { cause, words: words.to_owned() };
            assert_eq!(trouble(&failure), expected, "{words}");
        }
    }

    #[test]
    fn each_failure_has_its_class() {
        let verdict = |key, cause| {
            let to = TopicSettings {
                brokers: "127.0.0.1:1".to_owned(),
                topic: "t".to_owned(),
                options: BTreeMap::new(),
            };
            let sink = Sink::new(to, key, Duration::from_secs(1));
            match sink.ack(&Failure { cause, words: "no".to_owned() }) {
                Ack::Retry(fault) => Some((fault.kind, fault.unanswered)),
                _ => None,
            }
        };
        let configuration = Some((FaultKind::Configuration, false));
        for (cause, class) in [
            (Cause::NoTopic, configuration),
            (Cause::Access, configuration),
            (Cause::Message, None),
            (Cause::Size, Some((FaultKind::Transient, false))),
            (Cause::Passing, Some((FaultKind::Transient, false))),
            (Cause::Silence, Some((FaultKind::Transient, true))),
        ] {
            assert_eq!(verdict(EventKey::EventId, cause), class, "{cause:?}");
        }
        assert_eq!(verdict(EventKey::None, Cause::Message), configuration);
    }
}
