//! Learning when the journal has nothing left to lose of one append.
//!
//! For entrances whose senders can send again for as long as they are not told that all is well. It
//! does not say how records ended: delivered, dead letter or dropped are all an end.

use std::sync::{Arc, Weak};

/// Held by each record of one append for as long as the process's death would lose it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hold(Arc<()>);

/// Tells whether an append's records can still be lost with the process.
#[derive(Clone, Debug, Default)]
pub struct Settlement(Weak<()>);

impl Hold {
    pub(super) fn settlement(&self) -> Settlement {
        Settlement(Arc::downgrade(&self.0))
    }
}

impl Settlement {
    /// Whether nothing of the append can be lost any more. Once true it stays so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// One that is done when the returned token is dropped: for tests of what waits for it.
    #[cfg(test)]
    #[must_use]
    pub fn pending() -> (Arc<()>, Settlement) {
        let hold = Hold::default();
        (Arc::clone(&hold.0), hold.settlement())
    }
}
