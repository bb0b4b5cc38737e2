//! That an event on its way through the pipeline takes no memory of its own, and a record little.
//!
//! It counts what its own thread allocates, in all unit tests of the crate; nothing else makes use of that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use super::dispatch::Dispatcher;
use super::examination::{Examination, Sender};
use super::recent::Recent;
use super::stats::Stats;
use crate::event::{Catalog, Framed, Framing};
use crate::resources::{ResourceId, Resources, Source, Subscription};

/// What a record takes: itself. Its id and body lie among those of others for the same destinations.
const A_RECORD: u64 = 1;

/// Lists that grow by doubling, over thousands of events.
const A_FEW: u64 = 30;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator, which is asked for what was asked for here; what is counted
// lies in a cell of the thread that allocates nothing itself.
#[expect(unsafe_code, reason = "an allocator cannot be written without; the proof stands above")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|it| it.set(it.get() + 1));
        // SAFETY: the caller's promises are the system's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|it| it.set(it.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// What it takes to examine a body of so many events with one subscription, of which every tenth event
/// matches.
fn allocations(events: usize, filter: &str, filler: &str) -> u64 {
    let fields = vec!["http.response.status_code".to_owned(), "conn.client_ip".to_owned()];
    let catalog = Catalog::builtin();
    let source = Source::new(&catalog, "http_request_complete.v0", Some(filter), Some(fields));
    let mut resources = Resources::default();
    resources
        .add_subscription(Subscription {
            enabled: true,
            id: ResourceId::new("sub").unwrap(),
            description: String::new(),
            sources: vec![source.unwrap()],
            destinations: Vec::new(),
        })
        .unwrap();
    let dispatcher = Arc::new(Dispatcher::new(&resources, &Stats::default()));
    let line = |at: usize| {
        let status = if at.is_multiple_of(10) { 500 } else { 200 };
        format!(
            r#"{{"event_id":"ev_{at}","event_type":"http_request_complete.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{{"conn":{{"client_ip":"192.0.2.1"}},"http":{{"request":{{"headers":{{"Accept":["{filler}"]}}}},"response":{{"status_code":{status}}}}}}}}}"#
        )
    };
    let lines: Vec<String> = (0..events).map(line).collect();
    let framed = Arc::new(Framed::of(Bytes::from(lines.join("\n")), Framing::Ndjson).unwrap());
    let (sender, recent) = (Arc::new(Sender::own()), Arc::new(Recent::default()));
    let mut examination = Examination::new(framed, sender, dispatcher, Arc::clone(&recent));
    // The sample of events for people is bounded by time, not by events, and left out.
    let _nothing_is_sampled = recent.hold();
    let before = ALLOCATIONS.get();
    assert!(examination.go_on(u64::MAX).unwrap());
    let _examined = examination.finish();
    ALLOCATIONS.get() - before
}

#[test]
fn an_event_takes_no_memory_and_a_record_what_it_is_made_of() {
    let none = "ev.http.response.status_code == 1";
    let few = "ev.http.response.status_code >= 500";
    for filler in ["text/html", r#"\"quoted\" \u00e9"#] {
        let of_events = allocations(3_000, none, filler) - allocations(1_000, none, filler);
        assert!(of_events <= A_FEW, "{of_events} for 2,000 events");
        let of_records = allocations(3_000, few, filler) - allocations(1_000, few, filler);
        assert!(of_records <= 200 * A_RECORD + A_FEW, "{of_records} for 200 records");
        assert!(of_records >= 200, "records are counted");
    }
}
