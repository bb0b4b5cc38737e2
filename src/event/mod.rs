//! What happened: events as they come in, how they stand in a body, the catalog of their types, and
//! the one pass that finds fields in their bytes.
//!
//! Knows JSON and the catalog; knows nothing of filters, subscriptions or I/O.

mod acl;
mod bitmaps;
mod builtin;
mod catalog;
#[cfg(test)]
mod differential;
mod envelope;
mod escapes;
mod extract;
mod frame;
mod hops;
mod id;
mod once;
mod record;
mod scan;
mod shapes;
mod slots;
mod time;
mod walk;

pub use acl::{Acl, Denied};
pub use catalog::{Catalog, CatalogError, Class, Declared, EventType, Field, FieldType};
pub use envelope::{Event, EventError, MAX_EVENT_ID};
pub use escapes::{string_value, unescape};
pub use extract::{EventReader, Root, SlotPlan, read_event};
pub use frame::{Framed, Framing, MAX_EVENTS, Place, Rejection, TooMany};
pub use hops::{HOPS_HEADER, Hops, MAX_HOPS};
pub use id::{ksuid, ksuid_after};
pub use record::{EventId, Record};
pub use scan::{JsonCursor, MAX_DEPTH, ScanError, next_special, push_string};
pub use slots::{Slot, SlotId, Slots};
pub use time::Timestamp;
