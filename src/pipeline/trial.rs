//! One source tried on events without a journal or destinations: for the command line.

use std::sync::Arc;

use bytes::Bytes;

use super::dispatch::Dispatcher;
use super::stats::{Stats, SubscriptionCounts, SubscriptionStats};
use crate::event::Event;
use crate::resources::{ResourceError, ResourceId, Resources, Source, Subscription};

/// A source by itself. It goes through the very dispatch that the daemon uses.
#[derive(Debug)]
pub struct Trial {
    dispatcher: Dispatcher,
    stats: Arc<SubscriptionStats>,
}

impl Trial {
    /// Compiles a source.
    ///
    /// # Errors
    /// None that the source's own check has not told already.
    pub fn new(source: Source) -> Result<Trial, ResourceError> {
        let id = ResourceId::new("trial")?;
        let subscription = Subscription {
            id: id.clone(),
            description: String::new(),
            sources: vec![source],
            destinations: Vec::new(),
        };
        let mut resources = Resources::default();
        resources.add_subscription(subscription)?;
        let stats = Stats::default();
        let dispatcher = Dispatcher::new(&resources, &stats);
        Ok(Trial { dispatcher, stats: stats.subscription(&id) })
    }

    /// What would be delivered for an event, if it matches. Events of other types do not.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> Option<Bytes> {
        let mut dispatched = self.dispatcher.dispatch(std::slice::from_ref(event));
        let entry = dispatched.entries.pop();
        dispatched.count();
        entry.map(|entry| entry.record.body.clone())
    }

    /// What was seen, matched and failed so far.
    #[must_use]
    pub fn counts(&self) -> SubscriptionCounts {
        self.stats.counts()
    }
}
