//! Asking the brokers what a topic is like.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Handle;

use super::TopicSettings;
use super::client::{Context, Standing, properties};
use super::failure::{Cause, Failure, cause_of};
use super::topic::TopicFacts;

/// How long the brokers have to tell what the topic is like.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it is listened to what the client had with its brokers.
const TELL_TIMEOUT: Duration = Duration::from_millis(100);

/// The largest message of a topic whose settings the brokers do not show: less than Kafka's default.
const USUAL_MAX: usize = 1_000_000;

/// Asks the brokers what a topic is like. Blocks for some seconds at most, and must not be called by a thread
/// that runs the runtime's tasks.
///
/// # Errors
/// When the client cannot be made, no broker answers, or the topic is not there.
pub fn ask_topic(settings: &TopicSettings, runtime: &Handle) -> Result<TopicFacts, Failure> {
    let standing = Arc::new(Standing::default());
    let failed = |words: &str, error: &KafkaError| {
        let failure = Failure::of(error, standing.trouble());
        Failure { words: format!("{words}{failure}"), ..failure }
    };
    let config = properties(settings);
    let client: BaseProducer<Context> = config
        .create_with_context(Context::new(Arc::clone(&standing)))
        .map_err(|error| failed("", &error))?;
    let topic = &settings.topic;
    let metadata = client.client().fetch_metadata(Some(topic), ASK_TIMEOUT);
    if metadata.is_err() {
        // What the client had with its brokers meanwhile is told here.
        client.poll(TELL_TIMEOUT);
    }
    let metadata = metadata.map_err(|error| failed("no answer from the brokers: ", &error))?;
    let answer = metadata.topics().first();
    let answer = answer.ok_or_else(|| Failure {
        cause: Cause::Passing,
        words: format!("topic `{topic}`: no answer"),
    })?;
    if let Some(error) = answer.error() {
        let code = RDKafkaErrorCode::from(error);
        return Err(Failure { cause: cause_of(code), words: format!("topic `{topic}`: {code}") });
    }
    let admin: AdminClient<DefaultClientContext> =
        config.create().map_err(|error| failed("", &error))?;
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let wanted = [ResourceSpecifier::Topic(topic)];
    let described = runtime.block_on(admin.describe_configs(&wanted, &options));
    let described = described.ok().and_then(|all| all.into_iter().next()?.ok());
    let number =
        |name: &str| -> Option<u64> { described.as_ref()?.get(name)?.value.as_ref()?.parse().ok() };
    let max_message = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
    Ok(TopicFacts {
        partitions: answer.partitions().len(),
        replicas: answer.partitions().first().map_or(0, |it| it.replicas().len()),
        min_in_sync: number("min.insync.replicas").and_then(|it| u32::try_from(it).ok()),
        max_message: max_message.unwrap_or(USUAL_MAX),
    })
}
