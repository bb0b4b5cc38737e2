//! The subscriptions in force: a snapshot with a number, for whoever dispatches a body.
//!
//! A change makes a new snapshot with the next number. The journal is given the number and refuses an
//! append that was dispatched by an older one, so that no lock is held from dispatch to append.

use std::sync::{Arc, Mutex};

use super::dispatch::Dispatcher;
use crate::journal::Generation;
use crate::lock::lock;

/// The snapshot of the moment.
#[derive(Debug, Default)]
pub(super) struct InForce(Mutex<Snapshot>);

/// One set of subscriptions, whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Grows with each change.
    pub generation: Generation,
    /// `None` before the first set, and once nothing is taken in any more.
    pub dispatcher: Option<Arc<Dispatcher>>,
}

impl InForce {
    pub(super) fn read(&self) -> Snapshot {
        lock(&self.0).clone()
    }

    /// Puts another set into force, or none; gives its number and the set before it.
    pub(super) fn replace(
        &self,
        dispatcher: Option<Arc<Dispatcher>>,
    ) -> (Generation, Option<Arc<Dispatcher>>) {
        let mut now = lock(&self.0);
        now.generation = now.generation.next();
        (now.generation, std::mem::replace(&mut now.dispatcher, dispatcher))
    }
}
