//! A sample of events through the subscriptions and into batches: what each destination would be sent.
//!
//! Dispatch and batches are the daemon's own; there is no journal, and nothing is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dispatch::Dispatcher;
use super::redrive::redrive;
use super::stats::Stats;
use crate::budget::Budget;
use crate::event::{EventError, Record, Timestamp, read_event};
use crate::resources::{Destination, ResourceId, Resources};
use crate::sinks::{Ack, Bill, Meter};

/// The records of each destination.
pub type Sampled = BTreeMap<ResourceId, Vec<Arc<Record>>>;

/// The subscriptions of some resources, compiled.
#[derive(Debug)]
pub struct Sampler {
    dispatcher: Dispatcher,
}

impl Sampler {
    /// Compiles the subscriptions that are on.
    #[must_use]
    pub fn new(resources: &Resources) -> Sampler {
        Sampler { dispatcher: Dispatcher::new(resources, &Stats::default()) }
    }

    /// Reads an event as ingest does and adds the records that it makes. Gives when it happened.
    ///
    /// # Errors
    /// When the text is no event.
    pub fn add(&self, text: &str, to: &mut Sampled) -> Result<Timestamp, EventError> {
        let plan_of = |name: &str| self.dispatcher.plan_of(self.dispatcher.type_of(name)?);
        let event = read_event(text, Timestamp::now(), rand::random, plan_of)?;
        let time = event.0.time;
        let held = Budget::unbounded().hold();
        if let Ok(mut dispatched) = self.dispatcher.dispatch(&[event], &held) {
            for entry in dispatched.take_records().0 {
                for id in entry.destinations.iter() {
                    to.entry(id.clone()).or_default().push(Arc::clone(&entry.record));
                }
            }
        }
        Ok(time)
    }
}

/// What sending records to a destination would be billed as, by batches and requests as they would be
/// sent; none where the service's bill is not known. Tells too how many would be refused.
pub async fn metered(destination: &Destination, records: &[Arc<Record>]) -> Option<(Bill, usize)> {
    let meter = Arc::new(Meter::default());
    let sink = destination.target.open_metered(destination.format, &meter).await?;
    let acks = redrive(destination, &sink, records).await;
    let refused = acks.iter().filter(|ack| !matches!(ack, Ack::Delivered)).count();
    Some((meter.bill(), refused))
}
