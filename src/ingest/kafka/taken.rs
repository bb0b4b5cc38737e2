//! Messages between Kafka and the journal: taken in, not kept yet; and how far the kept ones are.
//!
//! What is here can be forgotten at any moment without loss: no offset behind it was ever stored.

use std::collections::HashMap;
use std::time::Instant;

use super::gaps::Gaps;
use super::marks::{Marks, Partition};
use crate::event::{Hops, Timestamp};
use crate::ingest::letter::Letter;
use crate::journal::Settlement;
use crate::pipeline::Stood;

/// Most messages kept by one append.
const MAX_MESSAGES: usize = 1_000;

/// Most bytes of messages kept by one append, unless the first alone has more: no more than the
/// smallest journal holds.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Message {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub payload: Vec<u8>,
    /// When it was produced, in milliseconds since the epoch, as its broker has it.
    pub millis: Option<i64>,
    /// The hops that its events have made.
    pub hops: Hops,
}

impl Message {
    /// Where it stands, and would again. Its time is part of that, for a topic that is deleted and made again
    /// counts anew.
    pub(super) fn stood(&self) -> Stood {
        let Message { topic, partition, offset, .. } = self;
        let millis = self.millis.unwrap_or_default();
        let time = self.millis.map(|millis| {
            let seconds = millis.div_euclid(1_000);
            let time = Timestamp { seconds, nanos: 0 };
            time.clamp(Timestamp::MIN, Timestamp::MAX)
        });
        Stood { place: format!("{topic}/{partition}/{offset}/{millis}"), time }
    }
}

/// Messages that are kept together.
#[derive(Debug)]
pub(super) struct Batch {
    pub messages: Vec<Message>,
    /// What was kept of it, if only its dead letters are still to be written.
    pub kept: Option<Kept>,
    /// Not to be tried before this.
    pub due: Instant,
}

/// What became of a batch's good events, and the letters for its bad ones.
#[derive(Debug)]
pub(super) struct Kept {
    pub settlement: Settlement,
    pub letters: Vec<Letter>,
}

/// All that was taken in and is not settled.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Kept first; while it waits to be tried again, nothing else is.
    batch: Option<Batch>,
    next: Vec<Message>,
    next_bytes: usize,
    pub marks: Marks,
    pub gaps: Gaps,
    /// What comes is not kept any more.
    has_dropped: bool,
}

impl Taken {
    /// Takes a message in; tells whether there is room for another in its batch.
    pub(super) fn add(&mut self, message: Message) -> bool {
        self.next_bytes += message.payload.len();
        self.gaps.pass(&message.topic, message.partition, message.offset);
        self.next.push(message);
        self.next.len() < MAX_MESSAGES && self.next_bytes < MAX_BYTES
    }

    /// Whether a batch waits to be tried again.
    pub(super) fn is_held_up(&self) -> bool {
        self.batch.is_some()
    }

    /// The batch to keep now, if there is one whose time has come.
    pub(super) fn due(&mut self) -> Option<Batch> {
        if self.batch.is_none() && !self.next.is_empty() {
            self.next_bytes = 0;
            let messages = std::mem::take(&mut self.next);
            return Some(Batch { messages, kept: None, due: Instant::now() });
        }
        self.batch.take_if(|batch| batch.due <= Instant::now())
    }

    /// Puts back a batch that could not be kept.
    pub(super) fn hold_up(&mut self, batch: Batch) {
        self.batch = Some(batch);
    }

    /// Notes that a batch was kept.
    pub(super) fn kept(&mut self, batch: Batch, settlement: &Settlement) {
        let mut ends: HashMap<Partition, i64> = HashMap::new();
        for message in batch.messages {
            ends.insert((message.topic, message.partition), message.offset + 1);
        }
        for (partition, next) in ends {
            self.marks.add(partition, next, settlement.clone());
        }
    }

    /// Forgets partitions that belong to another consumer now.
    pub(super) fn forget(&mut self, revoked: &[Partition]) {
        let stays = |message: &Message| {
            !revoked.iter().any(|(topic, partition)| {
                *topic == message.topic && *partition == message.partition
            })
        };
        self.next.retain(stays);
        self.next_bytes = self.next.iter().map(|message| message.payload.len()).sum();
        if let Some(batch) = &mut self.batch {
            batch.messages.retain(stays);
        }
        self.batch.take_if(|batch| batch.messages.is_empty());
        for partition in revoked {
            self.marks.forget(partition);
            self.gaps.forget(partition);
        }
    }

    /// Whether anything of a partition is not settled.
    pub(super) fn waits(&self, topic: &str, partition: i32) -> bool {
        let of_batch = self.batch.iter().flat_map(|batch| &batch.messages);
        let mut unkept = of_batch.chain(&self.next);
        self.has_dropped
            || unkept.any(|it| it.topic == topic && it.partition == partition)
            || self.marks.has(&(topic.to_owned(), partition))
    }

    /// Forgets what is not kept.
    pub(super) fn drop_unkept(&mut self) {
        self.has_dropped = true;
        self.batch = None;
        self.next.clear();
        self.next_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(partition: i32, offset: i64, bytes: usize) -> Message {
        Message {
            topic: "events".to_owned(),
            partition,
            offset,
            payload: vec![b'x'; bytes],
            millis: None,
            hops: Hops::default(),
        }
    }

    fn at(partition: i32) -> Partition {
        ("events".to_owned(), partition)
    }

    #[test]
    fn a_batch_is_bounded_by_messages_and_by_bytes() {
        let mut taken = Taken::default();
        assert!((1..MAX_MESSAGES as i64).all(|offset| taken.add(message(0, offset, 1))));
        assert!(!taken.add(message(0, 0, 1)));
        assert_eq!(taken.due().unwrap().messages.len(), MAX_MESSAGES);
        assert!(taken.add(message(0, 0, MAX_BYTES - 1)));
        assert!(!taken.add(message(0, 1, 1)));
    }

    #[test]
    fn a_batch_that_is_held_up_stays_first_and_marks_move_only_when_it_is_kept() {
        let mut taken = Taken::default();
        taken.add(message(0, 7, 1));
        let batch = taken.due().unwrap();
        taken.hold_up(batch);
        taken.add(message(0, 8, 1));
        taken.add(message(1, 4, 1));
        let batch = taken.due().unwrap();
        assert_eq!(batch.messages[0].offset, 7);
        assert_eq!(taken.marks.advance(), []);
        taken.kept(batch, &Settlement::default());
        assert_eq!(taken.marks.advance(), [(at(0), 8)]);
        let batch = taken.due().unwrap();
        taken.kept(batch, &Settlement::default());
        assert_eq!(taken.marks.advance(), [(at(0), 9), (at(1), 5)]);
    }

    #[test]
    fn what_was_taken_of_a_revoked_partition_is_forgotten_wherever_it_is() {
        let mut taken = Taken::default();
        let (token, settlement) = Settlement::pending();
        taken.add(message(0, 1, 1));
        let batch = taken.due().unwrap();
        taken.kept(batch, &settlement);
        taken.add(message(0, 2, 1));
        let batch = taken.due().unwrap();
        taken.hold_up(batch);
        taken.add(message(0, 3, 1));
        taken.add(message(1, 3, 1));
        taken.forget(&[at(0)]);
        drop(token);
        assert_eq!(taken.marks.advance(), []);
        let batch = taken.due().unwrap();
        assert_eq!((batch.messages.len(), batch.messages[0].partition), (1, 1));
    }
}
