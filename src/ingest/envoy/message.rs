//! Messages of a stream before they are read: their bytes as gRPC frames them, counted against what all streams may
//! hold while they come, and how long one may take to come.
//!
//! What stands in a message is the format's matter.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::Instant;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::budget::{Budget, Held, OverBudget};
use crate::lock::lock;

/// What gRPC puts before each message: a flag and the length.
pub(super) const PREFIX: usize = 5;

/// What a stream takes beside its message, in bytes.
const OF_A_STREAM: usize = 12 << 10;

/// How long a message may take from its first byte to its last: Envoy writes it in one go.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether a message is overdue.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What one stream has received and not given back, for as long as anything of it is there.
pub(super) struct Received {
    held: Held,
    since: Mutex<Option<Instant>>,
}

impl Received {
    /// Of a stream that has received nothing yet.
    ///
    /// # Errors
    /// When there are too many streams.
    pub(super) fn new(budget: &Arc<Budget>) -> Result<Received, OverBudget> {
        let held = budget.hold();
        held.grow(OF_A_STREAM)?;
        Ok(Received { held, since: Mutex::new(None) })
    }

    fn add(&self, bytes: usize) -> Result<(), OverBudget> {
        self.held.grow(bytes)?;
        lock(&self.since).get_or_insert_with(Instant::now);
        Ok(())
    }

    /// A message has come whole; another may have begun.
    pub(super) fn whole(&self) {
        *lock(&self.since) = Some(Instant::now());
    }

    /// A whole message of so many bytes is not held any more.
    pub(super) fn give_back(&self, bytes: usize) {
        let left = self.held.bytes().saturating_sub(PREFIX + bytes).max(OF_A_STREAM);
        self.held.shrink_to(left);
        if left == OF_A_STREAM {
            *lock(&self.since) = None;
        }
    }

    /// Done when a message has begun and has taken too long to come.
    pub(super) async fn overdue(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if lock(&self.since).is_some_and(|since| since.elapsed() > MESSAGE_TIMEOUT) {
                return;
            }
        }
    }
}

/// The body of a request, whose bytes are counted.
pub(super) struct Metered {
    pub(super) body: Incoming,
    pub(super) received: Arc<Received>,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(Some(match self.received.add(length) {
            Ok(()) => Ok(frame),
            Err(over) => Err(Status::resource_exhausted(over.to_string()).into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Messages as they came, and an answer without anything in it, which is never sent.
#[derive(Clone, Copy)]
pub(super) struct Untouched;

impl Codec for Untouched {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Untouched;
    type Decoder = Untouched;

    fn encoder(&mut self) -> Untouched {
        Untouched
    }

    fn decoder(&mut self) -> Untouched {
        Untouched
    }
}

impl Encoder for Untouched {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Untouched {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_end_is_overdue_and_one_that_waits_to_be_kept_is_not() {
        let budget = Budget::new(1 << 20);
        let received = Received::new(&budget).unwrap();
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, received.overdue()).await.is_err(), "silence");
        received.add(105).unwrap();
        received.whole();
        received.give_back(100);
        assert!(tokio::time::timeout(hour, received.overdue()).await.is_err(), "all was taken");
        received.add(106).unwrap();
        received.whole();
        received.give_back(100);
        assert!(tokio::time::timeout(hour, received.overdue()).await.is_ok(), "a byte of another");
    }

    #[test]
    fn streams_and_their_messages_are_held_until_they_are_given_back() {
        let budget = Budget::new(2 * OF_A_STREAM + 1_000);
        let one = Received::new(&budget).unwrap();
        let other = Received::new(&budget).unwrap();
        assert!(Received::new(&budget).is_err());
        one.add(900).unwrap();
        assert_eq!(other.add(900), Err(OverBudget::Busy));
        one.give_back(900 - PREFIX);
        other.add(900).unwrap();
    }
}
