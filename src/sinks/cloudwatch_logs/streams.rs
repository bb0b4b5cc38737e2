//! The log streams that are written to at present: not more than there may be, whatever events bring.
//!
//! Makes none. What a name looks like is `names.rs`'s matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::names::Template;
use crate::event::Record;
use crate::lock::lock;
use crate::sinks::kind::LogStreams;
use crate::telemetry;

/// Most log streams that one destination writes to at a time: a day of hours for forty event types, or a
/// thousand accounts; and at CloudWatch's 50 CreateLogStream a second all are made in 20 s.
const MOST: usize = 1_000;
/// A log stream that was not written to for so long gives its place to another.
const UNUSED: Duration = Duration::from_secs(60 * 60);

/// Those of one destination.
#[derive(Debug)]
pub(super) struct Streams {
    template: Template,
    /// All have this one where the template is but a name.
    fixed: Option<Arc<str>>,
    other: Arc<str>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    streams: BTreeMap<Arc<str>, Stream>,
    other_events: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    used: Instant,
    /// How often it has been made: of several requests that miss it, one makes it and the others see that
    /// the number has moved.
    made: u64,
}

impl Streams {
    pub(super) fn new(template: Template) -> Streams {
        let fixed = template.is_fixed().then(|| template.prefix().into());
        let other = template.other().into();
        Streams { template, fixed, other, open: Mutex::default() }
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    /// Where an event goes: the log stream of its name, or the one for all others while too many are open.
    pub(super) fn of(&self, record: &Record) -> Arc<str> {
        if let Some(fixed) = &self.fixed {
            return Arc::clone(fixed);
        }
        let name = self.template.name(record);
        let now = Instant::now();
        let mut open = lock(&self.open);
        if let Some((known, _)) = open.streams.get_key_value(name.as_str()) {
            let known = Arc::clone(known);
            open.streams.entry(Arc::clone(&known)).and_modify(|it| it.used = now);
            return known;
        }
        if open.streams.len() >= MOST {
            open.streams.retain(|_, it| now.duration_since(it.used) < UNUSED);
        }
        if open.streams.len() < MOST {
            let name: Arc<str> = name.into();
            open.streams.insert(Arc::clone(&name), Stream { used: now, made: 0 });
            return name;
        }
        if open.other_events == 0 {
            tracing::warn!(
                log_stream = &*self.other,
                most = MOST,
                "too many log streams: events that would need one more go to this one"
            );
        }
        open.other_events += 1;
        telemetry::log_stream_was_one_too_many();
        Arc::clone(&self.other)
    }

    /// How often a log stream has been made.
    pub(super) fn made(&self, name: &str) -> u64 {
        lock(&self.open).streams.get(name).map_or(0, |it| it.made)
    }

    /// A log stream has been made.
    pub(super) fn note_made(&self, name: &Arc<str>) {
        let new = Stream { used: Instant::now(), made: 0 };
        lock(&self.open).streams.entry(Arc::clone(name)).or_insert(new).made += 1;
    }

    /// How many there are; none where all events go to one.
    pub(super) fn read(&self) -> Option<LogStreams> {
        if self.fixed.is_some() {
            return None;
        }
        let open = lock(&self.open);
        Some(LogStreams { open: open.streams.len(), max: MOST, other_events: open.other_events })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Timestamp;

    fn of_account(account: usize) -> Record {
        Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 0, nanos: 0 },
            body: Bytes::from(format!("{{\"account_id\":\"{account}\"}}")),
            hops: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_thousand_share_one_until_others_are_not_used_any_more() {
        let streams = Streams::new(Template::parse("e-{account_id}").unwrap());
        for account in 0..1_000 {
            assert_eq!(&*streams.of(&of_account(account)), format!("e-{account}"));
        }
        assert_eq!(&*streams.of(&of_account(1_000)), "e-other");
        assert_eq!(&*streams.of(&of_account(7)), "e-7", "those that are open stay");
        tokio::time::advance(Duration::from_secs(1_800)).await;
        assert_eq!(&*streams.of(&of_account(8)), "e-8");
        assert_eq!(&*streams.of(&of_account(1_001)), "e-other");
        let told = LogStreams { open: 1_000, max: 1_000, other_events: 2 };
        assert_eq!(streams.read(), Some(told));
        tokio::time::advance(Duration::from_secs(1_801)).await;
        assert_eq!(&*streams.of(&of_account(1_001)), "e-1001");
        assert_eq!(streams.read().unwrap().open, 2, "e-8 and the new one");
    }

    #[test]
    fn one_name_for_all_has_no_bound() {
        let streams = Streams::new(Template::parse("events").unwrap());
        assert_eq!(&*streams.of(&of_account(1)), "events");
        assert_eq!(streams.read(), None);
        let name: Arc<str> = "events".into();
        assert_eq!(streams.made(&name), 0);
        streams.note_made(&name);
        assert_eq!(streams.made(&name), 1);
    }
}
