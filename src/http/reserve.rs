//! The reserve of a listener: a few connections more than there are places, for requests that must be
//! answered whatever others do, such as probes.
//!
//! A connection of the reserve is a short one: it ends with its first answer, after a second at the latest, and
//! at once when newer ones need its place. So nobody holds the reserve, and who wants to keep others from it has
//! to connect more often than they take to ask. What is answered there is not known here.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::activity::Activity;
use crate::lock::lock;

/// Connections in the reserve: some probes and readers at a time.
pub(super) const RESERVE: usize = 16;

/// How long a connection of the reserve may take: many round trips.
pub(super) const RESERVE_TIME: Duration = Duration::from_secs(1);

/// The connections that are in the reserve, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Reserve(Mutex<VecDeque<Guest>>);

#[derive(Debug)]
struct Guest {
    source: Option<IpAddr>,
    activity: Arc<Activity>,
}

impl Reserve {
    /// Takes a connection in. If there is no room, or an address has half of it, the oldest, or the oldest of
    /// that address, has to go.
    pub(super) fn take(&self, source: Option<IpAddr>) -> Arc<Activity> {
        let mut guests = lock(&self.0);
        let is_own = |it: &Guest| source.is_some() && it.source == source;
        let of_source = guests.iter().filter(|it| is_own(it)).count();
        let leaving = match of_source >= RESERVE / 2 {
            true => guests.iter().position(is_own),
            false => (guests.len() >= RESERVE).then_some(0),
        };
        if let Some(oldest) = leaving.and_then(|at| guests.remove(at)) {
            oldest.activity.oust();
        }
        let activity = Arc::new(Activity::new());
        guests.push_back(Guest { source, activity: Arc::clone(&activity) });
        activity
    }

    /// A connection has ended.
    pub(super) fn give_back(&self, activity: &Arc<Activity>) {
        lock(&self.0).retain(|it| !Arc::ptr_eq(&it.activity, activity));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn address(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, n]))
    }

    fn ousted(activities: &[Arc<Activity>]) -> Vec<usize> {
        let is_ousted = |it: &usize| activities[*it].is_ousted(Waker::noop());
        (0..activities.len()).filter(is_ousted).collect()
    }

    #[test]
    fn the_oldest_goes_when_the_reserve_is_full() {
        let reserve = Reserve::default();
        let taken: Vec<_> = (0..RESERVE + 2).map(|_| reserve.take(None)).collect();
        assert_eq!(ousted(&taken), [0, 1]);
        taken.iter().for_each(|it| reserve.give_back(it));
        assert!(lock(&reserve.0).is_empty());
    }

    #[test]
    fn one_address_has_half_of_the_reserve() {
        let reserve = Reserve::default();
        let other = reserve.take(address(1));
        let mut taken = vec![other];
        taken.extend((0..RESERVE / 2 + 1).map(|_| reserve.take(address(2))));
        assert_eq!(ousted(&taken), [1]);
    }
}
