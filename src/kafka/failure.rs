//! Why a message was not written, or a topic does not answer: librdkafka's codes by what helps.

use std::fmt;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// What helps against a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The topic is not there: make it, or name another.
    NoTopic,
    /// The brokers let us in not at all, or not to this topic, or we do not trust them.
    Access,
    /// The message is of a kind that the topic refuses.
    Message,
    /// The topic takes no messages of this size any more.
    Size,
    /// No broker answered in time: wait.
    Silence,
    /// A broker answered that it cannot now, or something else that passes.
    Passing,
}

/// A failure with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    /// The client's own.
    pub words: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Failure {
    /// The failure of a client's call or message. `trouble` is what the client last had with its brokers: a message
    /// that no broker let us write only times out, and that trouble says why.
    pub(super) fn of(error: &KafkaError, trouble: Option<Failure>) -> Failure {
        let code = error.rdkafka_error_code();
        let cause = code.map_or(Cause::Passing, cause_of);
        match trouble {
            Some(trouble) if cause == Cause::Silence => trouble,
            _ => Failure {
                cause,
                words: code.map_or_else(|| error.to_string(), |it| it.to_string()),
            },
        }
    }
}

/// What a code of librdkafka's or of the brokers' means.
pub(super) fn cause_of(code: Code) -> Cause {
    match code {
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic => Cause::NoTopic,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Cause::Access,
        Code::InvalidRecord | Code::PolicyViolation => Cause::Message,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            Cause::Size
        }
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve => Cause::Silence,
        _ => Cause::Passing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_timed_out_says_what_the_client_had_with_its_brokers() {
        let timed_out = KafkaError::MessageProduction(Code::MessageTimedOut);
        let alone = Failure::of(&timed_out, None);
        assert_eq!(alone.cause, Cause::Silence);
        let locked_out = Failure { cause: Cause::Access, words: "SASL".to_owned() };
        assert_eq!(Failure::of(&timed_out, Some(locked_out.clone())), locked_out);
        let gone = KafkaError::MessageProduction(Code::UnknownTopicOrPartition);
        assert_eq!(Failure::of(&gone, Some(locked_out)).cause, Cause::NoTopic);
    }
}
