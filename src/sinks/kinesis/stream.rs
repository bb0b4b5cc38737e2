//! What is known of a stream beside its name: its shards, who places its records, how large they may be.
//!
//! Asks nothing itself; `kinesis.rs` does, where the settings need it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::types::{
    RecordDistributionStrategy, Shard, StreamDescriptionSummary, StreamMode, StreamModeDetails,
};
use tokio::time::Instant;

use crate::lock::lock;
use crate::sinks::ack::{Fault, FaultKind};
use crate::sinks::packing::Packing;

/// How long an answer counts: who changes a stream has this long to wait before it holds. A split or merged
/// shard shows with the next answer that names another one.
const COUNTS_FOR: Duration = Duration::from_secs(5 * 60);
/// How long after a question without an answer the next one is asked.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The open shards: together they have all hash keys, each those of a range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shards(Vec<OpenShard>);

#[derive(Debug, PartialEq, Eq)]
struct OpenShard {
    first: u128,
    last: u128,
    id: Box<str>,
}

impl Shards {
    /// Reads what the service lists.
    ///
    /// # Errors
    /// When some hash key is no shard's, or is that of several.
    pub(super) fn of(listed: &[Shard]) -> Result<Shards, String> {
        let shard = |shard: &Shard| {
            let range = shard.hash_key_range()?;
            let (first, last) = (range.starting_hash_key(), range.ending_hash_key());
            let id = shard.shard_id().into();
            Some(OpenShard { first: first.parse().ok()?, last: last.parse().ok()?, id })
        };
        // A closed one has an end.
        let is_open = |it: &&Shard| {
            it.sequence_number_range().is_none_or(|it| it.ending_sequence_number().is_none())
        };
        let mut shards: Vec<OpenShard> = listed.iter().filter(is_open).filter_map(shard).collect();
        shards.sort_by_key(|shard| shard.first);
        let begins = shards.first().is_some_and(|it| it.first == 0);
        let ends = shards.last().is_some_and(|it| it.last == u128::MAX);
        let follows = |pair: &[OpenShard]| pair[0].last.checked_add(1) == Some(pair[1].first);
        if begins && ends && shards.windows(2).all(follows) {
            return Ok(Shards(shards));
        }
        Err("its shards do not have all hash keys, as while one is being split".to_owned())
    }

    /// The number of the shard of a hash key.
    pub(super) fn number(&self, hash_key: u128) -> usize {
        self.0.partition_point(|shard| shard.last < hash_key)
    }

    /// Whether a hash key belongs to the shard of this id.
    pub(super) fn is_of(&self, hash_key: u128, id: &str) -> bool {
        self.0.get(self.number(hash_key)).is_some_and(|shard| *shard.id == *id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a stream's description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Most bytes of a record with its key; none where it is not said.
    pub max_record_bytes: Option<usize>,
    /// Why its records may not be placed by their keys, if that is so.
    pub placed_otherwise: Option<String>,
}

impl Described {
    pub(super) fn of(summary: &StreamDescriptionSummary) -> Described {
        let kib = summary.max_record_size_in_kib().and_then(|it| usize::try_from(it).ok());
        let mode = summary.stream_mode_details().map(StreamModeDetails::stream_mode);
        let placed_otherwise = match (summary.record_distribution_strategy(), mode) {
            (Some(RecordDistributionStrategy::UserPartitionKey), _)
            | (None, Some(StreamMode::Provisioned)) => None,
            (Some(strategy), _) => Some(format!(
                "its record distribution strategy is {strategy}, with which consumers drop aggregated records"
            )),
            (None, _) => Some(
                "its description does not say that records are placed by their keys".to_owned(),
            ),
        };
        Described { max_record_bytes: kib.map(|it| it * 1024), placed_otherwise }
    }
}

/// What is known of a stream.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Most bytes of a record with its key; none where nobody says.
    pub max_record_bytes: Option<usize>,
    /// The shards, if events may share records.
    pub shards: Option<Arc<Shards>>,
    /// Whether they do, and why.
    pub packing: Packing,
}

impl Known {
    /// What the answers to both questions come to; `shards` is none where they were not asked for.
    pub(super) fn of(described: Described, shards: Option<Result<Shards, String>>) -> Known {
        let Described { max_record_bytes, placed_otherwise } = described;
        let found = match (placed_otherwise, shards) {
            (Some(why), _) => Err(why),
            (None, Some(shards)) => shards,
            (None, None) => Err("its shards were not asked for".to_owned()),
        };
        let (shards, packing) = match found {
            Ok(shards) => {
                let reason = format!("its {} open shards are known", shards.len());
                (Some(Arc::new(shards)), Packing { packs: true, reason })
            }
            Err(reason) => (None, Packing { packs: false, reason }),
        };
        Known { max_record_bytes, shards, packing }
    }

    /// What is known where a question had no answer: what was known, if that may have changed no more than
    /// before.
    pub(super) fn without_answer(fault: &Fault, last: Option<Known>) -> Known {
        match (fault.kind, last) {
            (FaultKind::Throttled | FaultKind::Transient, Some(last)) => last,
            (_, last) => {
                let reason = format!("the stream cannot be looked at: {}", fault.message);
                let max_record_bytes = last.and_then(|it| it.max_record_bytes);
                Known { max_record_bytes, shards: None, packing: Packing { packs: false, reason } }
            }
        }
    }
}

/// What was known last, and until when it counts.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Option<(Known, Instant)>>);

impl Memory {
    pub(super) fn last(&self) -> Option<Known> {
        lock(&self.0).as_ref().map(|(known, _)| known.clone())
    }

    /// The same, if it still counts.
    pub(super) fn fresh(&self) -> Option<Known> {
        let known = lock(&self.0);
        known.as_ref().filter(|(_, until)| *until > Instant::now()).map(|(it, _)| it.clone())
    }

    /// Takes in what is known now; gives what was.
    pub(super) fn learn(&self, known: Known, answered: bool) -> Option<Known> {
        let until = Instant::now() + if answered { COUNTS_FOR } else { ASK_AGAIN };
        lock(&self.0).replace((known, until)).map(|(before, _)| before)
    }

    /// The shards are others than was known: they are asked for before the next request.
    pub(super) fn is_stale(&self) {
        if let Some((_, until)) = &mut *lock(&self.0) {
            *until = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::types::{HashKeyRange, SequenceNumberRange};

    use super::*;

    fn shard(id: &str, first: u128, last: u128, ended: Option<&str>) -> Shard {
        let keys = HashKeyRange::builder()
            .starting_hash_key(first.to_string())
            .ending_hash_key(last.to_string());
        let numbers = SequenceNumberRange::builder()
            .starting_sequence_number("1")
            .set_ending_sequence_number(ended.map(str::to_owned));
        Shard::builder()
            .shard_id(id)
            .hash_key_range(keys.build().unwrap())
            .sequence_number_range(numbers.build().unwrap())
            .build()
            .unwrap()
    }

    #[test]
    fn each_hash_key_belongs_to_one_open_shard_or_nothing_is_known() {
        let half = u128::MAX / 2;
        let listed = [
            shard("c", half + 1, u128::MAX, None),
            shard("old", 0, u128::MAX, Some("9")),
            shard("b", 0, half, None),
        ];
        let shards = Shards::of(&listed).unwrap();
        assert_eq!(shards.len(), 2);
        for (hash_key, id) in [(0, "b"), (half, "b"), (half + 1, "c"), (u128::MAX, "c")] {
            assert!(shards.is_of(hash_key, id), "{hash_key}");
        }
        assert!(!shards.is_of(0, "c") && !shards.is_of(0, "old"));
        for gap in [&listed[..1], &listed[1..2], &listed[2..], &[]] {
            assert!(Shards::of(gap).is_err());
        }
        let overlap = [shard("a", 0, half, None), shard("b", half, u128::MAX, None)];
        assert!(Shards::of(&overlap).is_err());
    }

    #[test]
    fn a_stream_that_places_records_by_itself_or_does_not_say_takes_no_aggregates() {
        let described = |strategy: Option<&str>, mode: Option<&str>| {
            let mode = mode.map(|it| {
                let details = StreamModeDetails::builder();
                details.stream_mode(it.into()).build().unwrap()
            });
            let summary = StreamDescriptionSummary::builder()
                .stream_name("s")
                .stream_arn("s")
                .stream_status("ACTIVE".into())
                .retention_period_hours(24)
                .stream_creation_timestamp(aws_smithy_types::DateTime::from_secs(1))
                .set_enhanced_monitoring(Some(vec![]))
                .open_shard_count(1)
                .max_record_size_in_kib(2048)
                .set_stream_mode_details(mode)
                .set_record_distribution_strategy(strategy.map(Into::into));
            Described::of(&summary.build().unwrap())
        };
        for (strategy, mode, by_key) in [
            (Some("USER_PARTITION_KEY"), Some("ON_DEMAND"), true),
            (Some("USER_PARTITION_KEY"), None, true),
            (None, Some("PROVISIONED"), true),
            (Some("AUTO"), Some("ON_DEMAND"), false),
            (Some("NEWER"), Some("PROVISIONED"), false),
            (None, Some("ON_DEMAND"), false),
            (None, None, false),
        ] {
            let described = described(strategy, mode);
            assert_eq!(described.placed_otherwise.is_none(), by_key, "{strategy:?} {mode:?}");
            assert_eq!(described.max_record_bytes, Some(2 << 20));
        }
    }
}
