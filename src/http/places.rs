//! The places of a listener: who may come when, and who must go for whom.
//!
//! A connection that waits for a request has the weakest claim: when all places are taken, the one
//! that has waited longest goes, so that half heads and idle connections keep nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::Activity;
use super::limits::ConnectionLimits;
use super::reserve::Reserve;
use crate::lock::lock;

/// How long to wait before looking again whether somebody waits for a request.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who began to wait no longer ago than this keeps the place: a request may have come that was not read yet, and
/// would be answered without a place.
const JUST_CAME: Duration = Duration::from_millis(100);

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    /// For whom there is no place; none where such connections wait, or are not taken.
    reserve: Option<Reserve>,
    /// Told whenever a place becomes free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    connections: HashMap<u64, (Source, Arc<Activity>)>,
    by_source: HashMap<Source, usize>,
    next: u64,
}

/// Whose connection it is, as far as a share of the places goes: an address, or none for loopback and
/// trusted proxies, behind which are many.
type Source = Option<IpAddr>;

/// A place that a connection has; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Its number; none in the reserve.
    number: Option<u64>,
    pub(super) activity: Arc<Activity>,
}

impl Places {
    /// Places for as many connections as the limits say.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Places {
        Places { limits, taken: Mutex::default(), reserve: None, freed: Notify::new() }
    }

    /// The same with a reserve beside them.
    pub(super) fn reserving(self) -> Places {
        Places { reserve: Some(Reserve::default()), ..self }
    }

    /// Takes a place for a connection, somebody else's if need be. While all places, or the share of its
    /// address, belong to requests that are being answered, it is one of the reserve; without a reserve it
    /// waits, or there is none if its address has its share.
    pub(super) async fn take(self: &Arc<Places>, peer: IpAddr, is_exempt: bool) -> Option<Place> {
        let source = (!is_exempt).then(|| subscriber(peer));
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Enabled before the places are counted, so that none that becomes free in between is missed.
            freed.as_mut().enable();
            match (self.try_take(source, JUST_CAME), &self.reserve) {
                (Answer::Taken(place), _) => return Some(place),
                (Answer::Refused | Answer::Full, Some(reserve)) => {
                    let (places, activity) = (Arc::clone(self), reserve.take(source));
                    return Some(Place { places, number: None, activity });
                }
                (Answer::Refused, None) => return None,
                (Answer::Full, None) => {}
            }
            // Whoever ends an answer tells nobody; looking again now and then is enough.
            let _again = tokio::time::timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// The same for who does not wait: also none while all places belong to connections that are busy.
    #[must_use]
    pub fn take_now(self: &Arc<Places>, peer: IpAddr, is_exempt: bool) -> Option<Place> {
        match self.try_take((!is_exempt).then(|| subscriber(peer)), Duration::ZERO) {
            Answer::Taken(place) => Some(place),
            Answer::Refused | Answer::Full => None,
        }
    }

    fn try_take(self: &Arc<Places>, source: Source, just_came: Duration) -> Answer {
        let mut taken = lock(&self.taken);
        let of_source = taken.by_source.get(&source).copied().unwrap_or(0);
        let has_its_share = source.is_some() && of_source >= self.limits.for_one_address();
        if has_its_share && !taken.oust(|other| other == source, just_came) {
            return Answer::Refused;
        }
        let is_full = taken.connections.len() >= self.limits.max_connections;
        if is_full && !taken.oust(|_| true, just_came) {
            return Answer::Full;
        }
        let activity = Arc::new(Activity::new());
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, (source, Arc::clone(&activity)));
        *taken.by_source.entry(source).or_default() += 1;
        Answer::Taken(Place { places: Arc::clone(self), number: Some(number), activity })
    }
}

impl Place {
    /// Whether it is one of the reserve.
    pub(super) fn is_reserve(&self) -> bool {
        self.number.is_none()
    }

    /// Keeps the place until [`Place::rests`]: what came is being worked on.
    pub fn works(&self) {
        self.activity.begin_answer();
    }

    /// The connection waits for its client from now on, and may have to give way.
    pub fn rests(&self) {
        self.activity.end_answer();
        self.activity.written();
    }

    /// Done when the place was given to another.
    pub async fn ousted(&self) {
        self.activity.ousted().await;
    }
}

/// What a connection that asks for a place is told.
enum Answer {
    Taken(Place),
    /// Its address has its share.
    Refused,
    /// All places belong to requests that are being answered.
    Full,
}

/// An IPv6 address stands for its network of 64 bits, the least that anybody is given (RFC 6177).
fn subscriber(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Taken {
    /// Of the connections whose source is asked for, the one that has waited longest for a request, if long enough.
    fn longest_waiting(&self, of: impl Fn(Source) -> bool, just_came: Duration) -> Option<u64> {
        let connections = self.connections.iter().filter(|(_, (source, _))| of(*source));
        let waiting = connections
            .filter_map(|(number, (_, activity))| Some((activity.waits_since()?, *number)))
            .filter(|(since, _)| since.elapsed() >= just_came);
        waiting.min().map(|(_, number)| number)
    }

    /// Takes the place of the one that has waited longest; tells whether any waits.
    fn oust(&mut self, of: impl Fn(Source) -> bool, just_came: Duration) -> bool {
        let longest = self.longest_waiting(of, just_came).and_then(|number| self.remove(number));
        longest.is_some_and(|activity| {
            activity.oust();
            true
        })
    }

    /// None if it was ousted before.
    fn remove(&mut self, number: u64) -> Option<Arc<Activity>> {
        let (source, activity) = self.connections.remove(&number)?;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        Some(activity)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match (self.number, &self.places.reserve) {
            (Some(number), _) => {
                lock(&self.places.taken).remove(number);
                self.places.freed.notify_waiters();
            }
            (None, Some(reserve)) => reserve.give_back(&self.activity),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Waker;

    use super::*;

    fn places(max_connections: usize) -> Arc<Places> {
        Arc::new(Places::new(ConnectionLimits { max_connections, ..Default::default() }))
    }

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn is_ousted(place: &Place) -> bool {
        place.activity.is_ousted(Waker::noop())
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_longest_goes_when_all_places_are_taken() {
        let places = places(2);
        let first = places.take(ONE, true).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = places.take(ONE, true).await.unwrap();
        first.activity.begin_answer();
        let third = places.take(OTHER, true).await.unwrap();
        assert_eq!([&first, &second, &third].map(is_ousted), [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_let_in_while_everyone_is_answered() {
        let places = places(1);
        let only = places.take(ONE, true).await.unwrap();
        only.activity.begin_answer();
        let waiting = tokio::time::timeout(Duration::from_secs(60), places.take(OTHER, true));
        assert!(waiting.await.is_err());
        // Until the client has taken its answer, it has its place.
        only.activity.end_answer();
        let waiting = tokio::time::timeout(Duration::from_secs(60), places.take(OTHER, true));
        assert!(waiting.await.is_err());
        only.activity.written();
        let next = places.take(OTHER, true).await.unwrap();
        assert!(is_ousted(&only) && !is_ousted(&next));
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_half_of_the_places_and_ousts_only_its_own() {
        let places = places(4);
        let other = places.take(OTHER, false).await.unwrap();
        let first = places.take(ONE, false).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = places.take(ONE, false).await.unwrap();
        let third = places.take(ONE, false).await.unwrap();
        assert_eq!([&other, &first, &second, &third].map(is_ousted), [false, true, false, false]);
        second.activity.begin_answer();
        third.activity.begin_answer();
        assert!(places.take(ONE, false).await.is_none());
        assert!(places.take(OTHER, false).await.is_some());
    }

    #[tokio::test]
    async fn whoever_finds_no_place_has_one_of_the_reserve() {
        let limits = ConnectionLimits { max_connections: 2, ..Default::default() };
        let places = Arc::new(Places::new(limits).reserving());
        let first = places.take(ONE, false).await.unwrap();
        first.activity.begin_answer();
        assert!(places.take(ONE, false).await.unwrap().is_reserve(), "its address has its share");
        let second = places.take(OTHER, false).await.unwrap();
        second.activity.begin_answer();
        assert!(places.take(OTHER, true).await.unwrap().is_reserve(), "all are busy");
        drop(second);
        assert!(!places.take(OTHER, true).await.unwrap().is_reserve());
    }

    #[tokio::test]
    async fn a_network_of_64_bits_is_one_address() {
        let places = places(2);
        let place = places.take("2001:db8::1".parse().unwrap(), false).await.unwrap();
        place.activity.begin_answer();
        assert!(places.take("2001:db8::2".parse().unwrap(), false).await.is_none());
        assert!(places.take("2001:db8:0:1::2".parse().unwrap(), false).await.is_some());
    }
}
