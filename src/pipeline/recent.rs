//! The last events that came in, whole, so that a filter can be tried on them.
//!
//! A sample for people, not a record: where senders are many, most events are not in it, and it
//! never makes a sender wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::projection::Projection;
use crate::event::{Event, SlotPlan, Timestamp};
use crate::lock::lock;

/// Most events kept.
const MAX_EVENTS: usize = 1_000;
/// Most bytes kept, the events' texts alone.
const MAX_BYTES: usize = 4 << 20;
/// Most events taken in one second: enough that nothing is missed where people try things out, and
/// a thousandth of a core in a flood.
pub(super) const PER_SECOND: usize = MAX_EVENTS;

#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<str>>,
    bytes: usize,
    /// The second that events are being taken in, and how many were.
    second: i64,
    taken: usize,
}

impl Recent {
    /// The texts of the last events of a body that are to be kept; none while another body's are
    /// chosen, or once the second has had enough.
    pub(super) fn sample(&self, events: &[Event<'_>], now: Timestamp) -> Vec<Arc<str>> {
        let room = {
            let Ok(mut kept) = self.kept.try_lock() else { return Vec::new() };
            if kept.second != now.seconds {
                (kept.second, kept.taken) = (now.seconds, 0);
            }
            let room = (PER_SECOND - kept.taken).min(events.len());
            kept.taken += room;
            room
        };
        let whole = Projection::compile(None, &mut SlotPlan::default());
        let text = |event: &Event<'_>| {
            let mut text = Vec::with_capacity(event.object.len() + 256);
            whole.write(event, &[], &mut text);
            String::from_utf8(text).ok().map(Arc::from)
        };
        events[events.len() - room..].iter().filter_map(text).collect()
    }

    /// While it is held nothing is sampled.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        lock(&self.kept)
    }

    /// Keeps what was chosen from a body that was taken.
    pub(super) fn keep(&self, sample: Vec<Arc<str>>) {
        if sample.is_empty() {
            return;
        }
        let mut kept = lock(&self.kept);
        for text in sample {
            kept.push(text);
        }
    }

    /// The last `max` events, the oldest first, of one type.
    pub(super) fn read(&self, max: usize, is_of_type: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let kept = lock(&self.kept);
        let of_type = kept.events.iter().rev().filter(|text| is_of_type(text));
        let mut events: Vec<Arc<str>> = of_type.take(max).cloned().collect();
        events.reverse();
        events
    }
}

impl Kept {
    fn push(&mut self, text: Arc<str>) {
        self.bytes += text.len();
        self.events.push_back(text);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn the_last_events_are_kept_within_bounds() {
        let recent = Recent::default();
        let note = |events: &[_], now| recent.keep(recent.sample(events, now));
        let texts: Vec<String> = (0..2_000)
            .map(|n| format!(r#"{{"event_type":"t{}","object":{{"n":{n}}}}}"#, n % 2))
            .collect();
        let read = |text| Event::parse(text, Timestamp::MIN, || 0).unwrap();
        for (at, text) in texts.iter().enumerate() {
            note(&[read(text)], Timestamp { seconds: at as i64, nanos: 0 });
        }
        assert_eq!(recent.read(usize::MAX, |_| true).len(), MAX_EVENTS);
        let last = recent.read(2, |text| text.contains(r#""event_type":"t1""#));
        assert!(last[1].ends_with(r#""object":{"n":1999}}"#), "{last:?}");
        assert!(last[0].ends_with(r#""object":{"n":1997}}"#), "{last:?}");
        let later = Timestamp { seconds: 9_999, nanos: 0 };
        let filling = "x".repeat(MAX_BYTES - 200);
        let large = format!(r#"{{"event_type":"t","object":{{"a":"{filling}"}}}}"#);
        note(&[read(&large)], later);
        assert!(recent.read(usize::MAX, |_| true).len() < 5);
        let flood: Vec<_> = texts.iter().map(|it| read(it.as_str())).collect();
        note(&flood, later);
        let last = recent.read(1, |_| true);
        assert!(last[0].ends_with(r#""object":{"n":1999}}"#), "the last of a body are taken");
        let kept = recent.read(usize::MAX, |_| true).len();
        note(&flood, later);
        assert_eq!(recent.read(usize::MAX, |_| true).len(), kept, "the second has had enough");
    }
}
