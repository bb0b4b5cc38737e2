//! Whether events share Firehose's records: the setting, what a stream's description says of it, and what
//! was decided last.
//!
//! Asks nothing itself. How large a record gets is here too; what stands in one is `firehose.rs`'s matter.

use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_firehose::types::{DeliveryStreamDescription, ExtendedS3DestinationDescription};
use tokio::time::Instant;

use crate::form::{Shape, Value, Written};
use crate::lock::lock;
use crate::sinks::ack::{Fault, FaultKind};
use crate::sinks::packing::{Packing, Room};

/// What a packed record holds: a record is billed in whole 5 KiB, so that at 128 KiB at most 4 % of what is
/// billed is rounding, and a record that fails or is repeated is still a small part of a request. Firehose
/// takes no more than 500 events of a record apart (AWS, "multi record deaggregation").
pub(super) const ROOM: Room = Room { records: 500, bytes: 128 * 1024 };

/// How long a description counts: who changes a stream has this long to wait before it holds.
const COUNTS_FOR: Duration = Duration::from_secs(5 * 60);
/// How long after a question without an answer the next one is asked.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Whether several events go into one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pack {
    /// Where the stream's description shows that nobody downstream can tell.
    #[default]
    Auto,
    On,
    Off,
}

impl Value for Pack {
    const SHAPE: Shape<Pack> =
        Shape::Words(&[("auto", Pack::Auto), ("on", Pack::On), ("off", Pack::Off)]);

    fn written(&self) -> Written {
        Written::open(match self {
            Pack::Auto => "auto",
            Pack::On => "on",
            Pack::Off => "off",
        })
    }
}

impl Pack {
    /// What the setting says by itself; none if the stream is to be asked.
    pub(super) fn given(self) -> Option<Packing> {
        match self {
            Pack::Auto => None,
            Pack::On => Some(Packing { packs: true, reason: "`pack` is `on`".to_owned() }),
            Pack::Off => Some(Packing { packs: false, reason: "`pack` is `off`".to_owned() }),
        }
    }
}

/// What `auto` comes to for a stream: S3 objects are the records one after the other, so that nobody can
/// tell how many there were, unless something looks at each record before.
pub(super) fn of_stream(stream: &DeliveryStreamDescription) -> Packing {
    let against = match stream.destinations() {
        [only] if !stream.has_more_destinations() => {
            let s3 = only.extended_s3_destination_description();
            match s3 {
                Some(s3) => against_packing(s3),
                None if only.s3_destination_description().is_some() => None,
                None => Some("does not deliver to S3"),
            }
        }
        _ => Some("does not deliver to one destination in S3"),
    };
    match against {
        Some(why) => Packing { packs: false, reason: format!("the stream {why}") },
        None => Packing {
            packs: true,
            reason: "the stream delivers to S3 and looks into no record".to_owned(),
        },
    }
}

fn against_packing(s3: &ExtendedS3DestinationDescription) -> Option<&'static str> {
    let processing = s3.processing_configuration();
    let processes =
        processing.is_some_and(|it| it.enabled() == Some(true) || !it.processors().is_empty());
    let partitions = s3.dynamic_partitioning_configuration();
    let converts = s3.data_format_conversion_configuration();
    if partitions.is_some_and(|it| it.enabled() == Some(true)) {
        Some("partitions dynamically")
    } else if processes {
        Some("has processors")
    } else if converts.is_some_and(|it| it.enabled() != Some(false)) {
        Some("converts the format of records")
    } else {
        None
    }
}

/// What `auto` comes to where the stream's description could not be had; `last` is what was known before.
pub(super) fn of_fault(fault: &Fault, last: Option<Packing>) -> Packing {
    match (fault.kind, last) {
        // What did not answer has not changed for all that is known.
        (FaultKind::Throttled | FaultKind::Transient, Some(last)) => last,
        _ => Packing {
            packs: false,
            reason: format!("the stream's description is not to be had: {}", fault.message),
        },
    }
}

/// What was decided last, and until when it counts.
#[derive(Debug, Default)]
pub(super) struct Decided(Mutex<Option<(Packing, Instant)>>);

impl Decided {
    /// What was decided last.
    pub(super) fn last(&self) -> Option<Packing> {
        lock(&self.0).as_ref().map(|(packing, _)| packing.clone())
    }

    /// The same, if it still counts.
    pub(super) fn fresh(&self) -> Option<Packing> {
        let decided = lock(&self.0);
        decided.as_ref().filter(|(_, until)| *until > Instant::now()).map(|(it, _)| it.clone())
    }

    /// Takes in an answer, or that there was none. Gives what was decided before.
    pub(super) fn decide(&self, packing: Packing, answered: bool) -> Option<Packing> {
        let until = Instant::now() + if answered { COUNTS_FOR } else { ASK_AGAIN };
        lock(&self.0).replace((packing, until)).map(|(before, _)| before)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_firehose::types::builders::{
        DeliveryStreamDescriptionBuilder, ExtendedS3DestinationDescriptionBuilder,
    };
    use aws_sdk_firehose::types::{
        BufferingHints, CompressionFormat, DataFormatConversionConfiguration, DeliveryStreamStatus,
        DeliveryStreamType, DestinationDescription, DynamicPartitioningConfiguration,
        EncryptionConfiguration, ProcessingConfiguration, Processor, ProcessorType,
        SplunkDestinationDescription,
    };

    use super::*;

    type S3 = ExtendedS3DestinationDescriptionBuilder;

    fn s3(change: impl FnOnce(S3) -> S3) -> DestinationDescription {
        let plain = ExtendedS3DestinationDescription::builder()
            .role_arn("r")
            .bucket_arn("b")
            .buffering_hints(BufferingHints::builder().build())
            .compression_format(CompressionFormat::Gzip)
            .encryption_configuration(EncryptionConfiguration::builder().build());
        DestinationDescription::builder()
            .destination_id("1")
            .extended_s3_destination_description(change(plain).build().unwrap())
            .build()
            .unwrap()
    }

    fn stream(of: impl IntoIterator<Item = DestinationDescription>) -> DeliveryStreamDescription {
        let stream: DeliveryStreamDescriptionBuilder = DeliveryStreamDescription::builder()
            .delivery_stream_name("d")
            .delivery_stream_arn("a")
            .delivery_stream_status(DeliveryStreamStatus::Active)
            .delivery_stream_type(DeliveryStreamType::DirectPut)
            .version_id("1")
            .has_more_destinations(false)
            .set_destinations(Some(of.into_iter().collect()));
        stream.build().unwrap()
    }

    #[test]
    fn only_a_plain_stream_to_s3_has_its_records_packed() {
        let processing = |enabled| {
            let lambda = Processor::builder().r#type(ProcessorType::Lambda).build().unwrap();
            ProcessingConfiguration::builder().enabled(enabled).processors(lambda).build()
        };
        let partitions = |on| DynamicPartitioningConfiguration::builder().enabled(on).build();
        let converts = |on| DataFormatConversionConfiguration::builder().enabled(on).build();
        let splunk = DestinationDescription::builder()
            .destination_id("1")
            .splunk_destination_description(SplunkDestinationDescription::builder().build())
            .build()
            .unwrap();
        let none = ProcessingConfiguration::builder().enabled(false).build();
        for (destinations, packs, why) in [
            (vec![s3(|it| it)], true, "looks into no record"),
            (vec![s3(|it| it.processing_configuration(none))], true, "looks into no record"),
            (vec![s3(|it| it.processing_configuration(processing(true)))], false, "processors"),
            (vec![s3(|it| it.processing_configuration(processing(false)))], false, "processors"),
            (
                vec![s3(|it| it.dynamic_partitioning_configuration(partitions(true)))],
                false,
                "partitions dynamically",
            ),
            (
                vec![s3(|it| {
                    it.dynamic_partitioning_configuration(partitions(false))
                        .data_format_conversion_configuration(converts(false))
                })],
                true,
                "looks into no record",
            ),
            (
                vec![s3(|it| it.data_format_conversion_configuration(converts(true)))],
                false,
                "converts the format",
            ),
            (vec![splunk], false, "does not deliver to S3"),
            (vec![s3(|it| it), s3(|it| it)], false, "one destination"),
            (vec![], false, "one destination"),
        ] {
            let packing = of_stream(&stream(destinations));
            assert_eq!(packing.packs, packs, "{packing:?}");
            assert!(packing.reason.contains(why), "{packing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_counts_for_five_minutes_and_without_an_answer_for_one() {
        let decided = Decided::default();
        assert_eq!((decided.last(), decided.fresh()), (None, None));
        let packed = of_stream(&stream([s3(|it| it)]));
        assert_eq!(decided.decide(packed.clone(), true), None);
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(decided.fresh(), Some(packed.clone()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((decided.fresh(), decided.last()), (None, Some(packed.clone())));
        let kept = of_fault(&Fault::transient("reset"), decided.last());
        assert_eq!(kept, packed, "a question without an answer changes nothing");
        decided.decide(kept, false);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(decided.fresh(), None);
        let denied = of_fault(&Fault::configuration("denied"), decided.last());
        assert!(!denied.packs && denied.reason.ends_with("not to be had: denied"), "{denied:?}");
    }
}
