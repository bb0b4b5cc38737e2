//! The daemons of a fleet, as each tells the others of itself through their store. Without a fleet there is
//! one, which tells nobody. What a daemon says of itself is not known here.

use std::sync::atomic::Ordering;

use super::Control;
use super::refusal::Refusal;
use crate::lock::{read, write};
use crate::store::{Seen, Store};

impl Control {
    /// The name of this daemon: that of the settings, or one that was made of its host's.
    #[must_use]
    pub fn daemon(&self) -> String {
        self.store().daemon().map_or_else(|| self.host(), str::to_owned)
    }

    /// The name of the host.
    #[must_use]
    pub fn host(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Whether it shares its control plane with others.
    #[must_use]
    pub fn is_in_fleet(&self) -> bool {
        self.store().is_shared()
    }

    /// The version of the fleet's set that is in force here.
    #[must_use]
    pub fn set_version(&self) -> i64 {
        if self.is_in_fleet() { self.seen() } else { 0 }
    }

    /// Notes by what the settings file in force is told from others.
    pub fn note_settings(&self, hash: Option<String>) {
        *write(&self.following.settings) = hash;
    }

    #[must_use]
    pub fn settings_hash(&self) -> Option<String> {
        read(&self.following.settings).clone()
    }

    /// Says to the fleet how this daemon stands; gives what it, or another of its name, said a moment ago. That its store cannot be reached is noted there, and its
    /// follower finds when it is reached again.
    pub async fn report(&self, report: String) -> Option<String> {
        let has_left = self.following.has_left.load(Ordering::Acquire);
        if has_left || self.store().cannot_write().is_some() {
            return None;
        }
        self.in_store(move |store| store.report(&report)).await.ok().flatten()
    }

    /// Takes this daemon out of its fleet, since it ends.
    ///
    /// # Errors
    /// When the store cannot be reached; then its row stays for a day.
    pub async fn leave_fleet(&self) -> Result<(), Refusal> {
        self.following.has_left.store(true, Ordering::Release);
        self.check_reached()?;
        self.in_store(Store::leave).await
    }

    /// The newest version of the fleet's set, and its daemons by name; none where there is no fleet.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn daemons(&self) -> Result<(i64, Vec<Seen>), Refusal> {
        self.check_reached()?;
        self.in_store(Store::daemons).await
    }
}
