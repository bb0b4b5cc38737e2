//! The door by itself: a pipeline over a journal in memory, bodies in, accounts out.

use std::time::Duration;

use super::super::examination::MAX_HINTS;
use super::*;
use crate::event::{Acl, Class, EventType};
use crate::journal::{Durability, Generation, Journal, JournalSettings};
#[cfg(feature = "kafka")]
use crate::kafka::EventKey;
use crate::resources::{Resources, Source, Subscription};
use crate::sinks::LogOutput;
use crate::telemetry::Entrance;

const NAMES: [&str; 2] = ["order_placed.v0", "order_paid.v0"];

fn resources(filter: &str) -> Resources {
    let mut catalog = crate::event::Catalog::default();
    for name in NAMES {
        let event_type = EventType {
            name: name.to_owned(),
            class: Class::Custom,
            description: String::new(),
            fields: Vec::new(),
        };
        catalog.add(event_type).unwrap();
    }
    let source = Source::new(&catalog, NAMES[0], Some(filter), None).unwrap();
    let mut resources = Resources::new(catalog);
    let subscription = Subscription {
        id: crate::resources::ResourceId::new("sub").unwrap(),
        description: String::new(),
        sources: vec![source],
        destinations: Vec::new(),
        enabled: true,
    };
    resources.add_subscription(subscription).unwrap();
    resources
}

/// A pipeline with one subscription; the folder must live as long.
async fn pipeline(filter: &str) -> (Pipeline, Journal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&JournalSettings {
        durability: Durability::Memory,
        max_bytes: 1 << 20,
        retention: Duration::ZERO,
        max_dead_letter_bytes: 1 << 30,
        directory: folder.path().to_owned(),
    });
    let journal = journal.unwrap();
    let resources = resources(filter);
    let started = Pipeline::start(&resources, journal.clone(), LogOutput::Stdout).await;
    (started.unwrap(), journal, folder)
}

fn sender(max_event: usize, acl: Option<Acl>) -> Arc<Sender> {
    Arc::new(Sender::new(Entrance::Http, max_event, acl))
}

fn lines(lines: &[String]) -> Arc<Framed> {
    Arc::new(Framed::of(Bytes::from(lines.join("\n")), Framing::Ndjson).unwrap())
}

fn event(event_type: &str, id: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_type":"{event_type}","object":{{}}}}"#)
}

fn seen(pipeline: &Pipeline) -> (u64, u64) {
    let counts = pipeline.status().subscriptions[0].1.clone();
    (counts.seen, counts.matched)
}

#[tokio::test]
async fn each_bad_event_is_named_by_its_place_and_counted_by_its_code() {
    let (pipeline, ..) = pipeline("true").await;
    let long = event(NAMES[0], &"x".repeat(200));
    let body = lines(&[
        event(NAMES[0], "1"),
        "not json".to_owned(),
        String::new(),
        event("order_place.v0", "2"),
        long.clone(),
        event(NAMES[1], "3"),
    ]);
    let acl = Acl::new(&["bind:order_placed.v0"]);
    let taken = pipeline.take(&body, &sender(200, Some(acl))).await.unwrap();
    assert_eq!(taken.accepted, 1);
    let refused = taken.refused.iter();
    let refused: Vec<_> =
        refused.map(|it| (it.place.index, it.place.line, it.code, it.message.as_str())).collect();
    let too_long = format!("the event has {} bytes, at most 200 are allowed", long.len());
    assert_eq!(
        refused,
        [
            (1, 1, "ERR_SLUICEGATE_1001", "not valid JSON: expected a value at byte 0"),
            (
                2,
                3,
                "ERR_NGROK_238",
                "unknown event type `order_place.v0`, did you mean `order_placed.v0`?"
            ),
            (3, 4, "ERR_SLUICEGATE_1007", too_long.as_str()),
            (
                4,
                5,
                "ERR_NGROK_619",
                "the rules of this credential do not allow the event's type or host"
            ),
        ]
    );
    let status = pipeline.status();
    assert_eq!((status.accepted, status.rejected), (1, 4));
    let codes: Vec<_> = status.refused.iter().map(|(code, count)| (*code, *count)).collect();
    assert_eq!(
        codes,
        [
            ("ERR_NGROK_238", 1),
            ("ERR_NGROK_619", 1),
            ("ERR_SLUICEGATE_1001", 1),
            ("ERR_SLUICEGATE_1007", 1)
        ]
    );
    assert_eq!(seen(&pipeline), (1, 1));
}

#[tokio::test]
async fn a_similar_type_is_looked_for_a_few_times_a_body_only() {
    let (pipeline, ..) = pipeline("true").await;
    let wrong: Vec<String> =
        (0..20).flat_map(|n| vec![event(&format!("order_placed.v{}", n + 1), "x"); 3]).collect();
    let taken = pipeline.take(&lines(&wrong), &sender(1_000, None)).await.unwrap();
    assert_eq!(taken.refused.len(), 60);
    let with_hint = taken.refused.iter().filter(|it| it.message.contains("did you mean"));
    assert_eq!(with_hint.count(), MAX_HINTS * 3, "each as often as it occurs");
}

#[tokio::test]
async fn a_body_that_was_matched_by_earlier_subscriptions_is_not_kept() {
    let (pipeline, journal, _folder) = pipeline("true").await;
    // As if the set changed each time between the dispatch and the append.
    let far = (0..10).fold(Generation::default(), |generation, _| generation.next());
    journal.begin(far).await;
    let body = lines(&[event(NAMES[0], "1")]);
    let taken = pipeline.take(&body, &sender(1_000, None)).await;
    assert_eq!(taken.err(), Some(NotTaken::Changing));
    assert_eq!(seen(&pipeline), (0, 0), "a body that was not taken counts nowhere");
    assert_eq!(pipeline.status().accepted, 0);
    assert!(pipeline.recent_events(NAMES[0], 10).is_empty());
}

#[tokio::test]
async fn a_sender_that_is_put_out_while_its_body_is_examined_keeps_nothing() {
    let (pipeline, ..) = pipeline("true").await;
    let body = lines(&[event(NAMES[0], "1")]);
    let put_out = Sender::new(Entrance::Http, 1_000, None).provided(|| false);
    let taken = pipeline.take(&body, &Arc::new(put_out)).await;
    assert_eq!(taken.err(), Some(NotTaken::Withdrawn));
    assert_eq!((seen(&pipeline), pipeline.status().accepted), ((0, 0), 0));
}

#[tokio::test]
async fn bodies_are_matched_by_the_subscriptions_in_force_until_the_pipeline_closes() {
    let (pipeline, ..) = pipeline("false").await;
    let (body, sender) = (lines(&[event(NAMES[0], "1")]), sender(1_000, None));
    pipeline.take(&body, &sender).await.unwrap();
    pipeline.apply(&resources("true")).await.unwrap();
    pipeline.take(&body, &sender).await.unwrap();
    assert_eq!(seen(&pipeline), (2, 1));
    pipeline.drain(Duration::ZERO).await;
    assert_eq!(pipeline.take(&body, &sender).await.err(), Some(NotTaken::Closed));
}

#[tokio::test]
async fn while_on_hold_nothing_from_outside_is_taken_or_relayed_but_own_events_are() {
    let (pipeline, ..) = pipeline("true").await;
    let (body, sender) = (lines(&[event(NAMES[0], "1")]), sender(1_000, None));
    let held = OnHold { code: "ERR_SLUICEGATE_1432", reason: "stale".to_owned() };
    pipeline.hold(Some(held.clone()));
    let taken = pipeline.take(&body, &sender).await;
    assert_eq!(taken.err(), Some(NotTaken::Held(held.clone())));
    #[cfg(feature = "kafka")]
    assert_eq!(pipeline.check(&body, &sender, EventKey::None).err(), Some(NotTaken::Held(held)));
    pipeline.publish(&event(NAMES[0], "2")).await.unwrap();
    pipeline.hold(None);
    assert_eq!(pipeline.take(&body, &sender).await.unwrap().accepted, 1);
}

#[tokio::test]
async fn a_short_body_is_taken_while_a_change_waits_for_the_journal() {
    let (pipeline, ..) = pipeline("true").await;
    let _waiting = pipeline.changing.lock().await;
    let taken = pipeline.take(&lines(&[event(NAMES[0], "1")]), &sender(1_000, None)).await;
    assert_eq!(taken.unwrap().accepted, 1);
}

#[tokio::test]
async fn own_events_are_matched_like_others_and_not_counted_as_taken_in() {
    let (pipeline, ..) = pipeline("true").await;
    pipeline.publish(&event(NAMES[0], "1")).await.unwrap();
    assert_eq!(seen(&pipeline), (1, 1));
    assert_eq!(pipeline.status().accepted, 0);
    assert_eq!(pipeline.recent_events(NAMES[0], 10).len(), 1, "they can be tried filters on");
    let refused = pipeline.publish("{}").await.unwrap_err().to_string();
    assert_eq!(refused, "`event_type` is missing");
}

/// On one runtime thread: had the large body been examined on it, the short one would come later.
#[tokio::test]
async fn a_short_body_does_not_wait_for_a_large_one() {
    let (pipeline, ..) = pipeline("false").await;
    let many: Vec<String> = (0..50_000).map(|n| event(NAMES[0], &n.to_string())).collect();
    let large = Bytes::from(many.join("\n"));
    let sender = sender(1_000, None);
    let taking_large = async {
        let framed = Arc::new(pipeline.frame(large, Framing::Ndjson).await.unwrap());
        pipeline.take(&framed, &sender).await.unwrap().accepted
    };
    let taking_short = async {
        pipeline.take(&lines(&[event(NAMES[0], "short")]), &sender).await.unwrap().accepted
    };
    tokio::pin!(taking_large, taking_short);
    let first = tokio::select! {
        // Asked first each time, so that only where the work is done decides.
        biased;
        accepted = &mut taking_large => accepted,
        accepted = &mut taking_short => accepted,
    };
    assert_eq!(first, 1, "the large body came first");
    assert_eq!(taking_large.await, 50_000);
}
