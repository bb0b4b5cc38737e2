//! Made-up events for demos, measurements and tests: varied like real traffic, and the same bytes for
//! the same event type, seed and start on every machine.
//!
//! It writes text and does no I/O. The numbers behind it are in `random`, who takes part in
//! `population`; each class of event has a file of its own.

mod audit;
mod custom;
mod http;
mod object;
mod population;
mod random;
mod tcp;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use custom::Source;
use object::ObjectWriter;
use population::{Population, Site};
use random::Random;

use crate::event::{Class, EventType, Field, Timestamp, ksuid};

/// The longest time from one event to the next, in nanoseconds: 2 ms, so that a million events span
/// about 17 minutes. CloudWatch Logs refuses events that lie over two hours ahead.
const MAX_STEP: u32 = 2_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// An endless source of events of one type.
///
/// Events are JSON objects on one line each, as [`crate::event::Event::parse`] takes them. Their times begin
/// at the start and advance by 0 to 2 ms.
pub struct Generator {
    event_type: Arc<EventType>,
    kind: Kind,
    random: Random,
    population: Population,
    clock: Timestamp,
}

type WriteTraffic = fn(&mut ObjectWriter<'_, '_>, &mut Random, &Population, &Site, Timestamp);

/// What an object is made of.
enum Kind {
    Traffic(WriteTraffic),
    Audit(audit::Change, Vec<Field>),
    Custom(Vec<Field>),
}

impl Generator {
    /// A source of events of the type. The first event happens at `start`, as near to it as RFC 3339
    /// can say.
    #[must_use]
    pub fn new(event_type: &Arc<EventType>, seed: u64, start: Timestamp) -> Generator {
        let kind = match (event_type.class, event_type.name.as_str()) {
            (Class::Traffic, "http_request_complete.v0") => Kind::Traffic(http::write),
            (Class::Traffic, "tcp_connection_closed.v0") => Kind::Traffic(tcp::write),
            (Class::Audit | Class::Own, name) if audit::is_resource(name) => {
                Kind::Audit(audit::Change::of(name), grouped(event_type))
            }
            _ => Kind::Custom(grouped(event_type)),
        };
        Generator {
            event_type: Arc::clone(event_type),
            kind,
            random: Random::new(seed, &event_type.name),
            population: Population::new(seed),
            clock: start.clamp(Timestamp::MIN, Timestamp::MAX),
        }
    }

    /// Appends the next event to `out`: one JSON object, without a line break.
    pub fn next_event(&mut self, out: &mut String) {
        let Generator { event_type, kind, random, population, clock } = self;
        let now = *clock;
        *clock = later(now, u64::from(random.below(MAX_STEP + 1)));
        let mut envelope = ObjectWriter::new(out);
        envelope.text("event_id", &ksuid("ev", now, random.wide_bits()));
        envelope.text("event_type", &event_type.name);
        envelope.time("event_timestamp", now.whole_seconds());
        match kind {
            Kind::Traffic(write) => {
                let site = population.site(random);
                envelope.text("account_id", population.account_of(site.index));
                let mut object = ObjectWriter::new(envelope.value("object"));
                write(&mut object, random, population, &site, now);
                object.finish();
            }
            Kind::Audit(change, fields) => {
                let person = population.person(random);
                envelope.text("account_id", population.account_of(person.index));
                audit::write_principal(&mut envelope, random, population, &person);
                let mut object = ObjectWriter::new(envelope.value("object"));
                let mut source = Source { random, population, now };
                change.write(&mut object, &mut source, &person, fields);
                object.finish();
            }
            Kind::Custom(fields) => {
                let account = random.bits() as u32;
                envelope.text("account_id", population.account_of(account));
                let mut object = ObjectWriter::new(envelope.value("object"));
                Source { random, population, now }.write(&mut object, fields);
                object.finish();
            }
        }
        envelope.finish();
    }
}

impl Iterator for Generator {
    type Item = String;

    /// The next event; there always is one.
    fn next(&mut self) -> Option<String> {
        let mut event = String::new();
        self.next_event(&mut event);
        Some(event)
    }
}

/// The type's fields with those of one group side by side, otherwise in their order.
fn grouped(event_type: &EventType) -> Vec<Field> {
    let fields = &event_type.fields;
    // A field's place is where its outermost group first occurs, then the next group, and so on.
    let place = |field: &Field| {
        let groups = field.name.match_indices('.').map(|(at, _)| &field.name[..=at]);
        let first = |start: &str| fields.iter().position(|other| other.name.starts_with(start));
        groups.map(first).chain([first(&field.name)]).collect::<Vec<_>>()
    };
    let mut fields = fields.clone();
    fields.sort_by_cached_key(place);
    fields
}

/// The instant so many nanoseconds before, at the earliest [`Timestamp::MIN`].
fn earlier(time: Timestamp, nanos: u64) -> Timestamp {
    let (seconds, nanos) = (nanos / NANOS_PER_SECOND, (nanos % NANOS_PER_SECOND) as u32);
    let borrow = u32::from(nanos > time.nanos);
    let before = Timestamp {
        seconds: time.seconds.saturating_sub_unsigned(seconds + u64::from(borrow)),
        nanos: time.nanos + borrow * NANOS_PER_SECOND as u32 - nanos,
    };
    before.max(Timestamp::MIN)
}

/// The instant so many nanoseconds after, at the latest [`Timestamp::MAX`].
fn later(time: Timestamp, nanos: u64) -> Timestamp {
    let (seconds, nanos) =
        (nanos / NANOS_PER_SECOND, time.nanos + (nanos % NANOS_PER_SECOND) as u32);
    let carry = u32::from(u64::from(nanos) >= NANOS_PER_SECOND);
    let after = Timestamp {
        seconds: time.seconds.saturating_add_unsigned(seconds + u64::from(carry)),
        nanos: nanos - carry * NANOS_PER_SECOND as u32,
    };
    after.min(Timestamp::MAX)
}
