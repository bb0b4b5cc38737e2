//! How many requests the control API takes: so many in any window of time, not in any calendar one.
//!
//! Each owner of keys has a window, and each address from which requests come without a valid key; so who
//! guesses or floods uses up nobody's window but their own. It does not know what a request asks for.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Most requests.
    pub requests: usize,
    /// In this time.
    pub per: Duration,
}

impl Default for RateLimit {
    /// 120 requests in 60 seconds, as ngrok (`api/index.mdx` of its documentation).
    fn default() -> RateLimit {
        RateLimit { requests: 120, per: Duration::from_secs(60) }
    }
}

/// Most windows of a sort that are kept at a time: 8 MiB with the default limit, all used up. Whoever
/// comes when that many are in use shares one more.
const MAX_WINDOWS: usize = 4_096;

/// Whose window a request takes a place of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker<'r> {
    /// The owner of a valid key.
    Owner(&'r str),
    /// Somebody without one, at an address if it is known.
    Stranger(Option<IpAddr>),
}

/// The windows of all who ask.
#[derive(Debug)]
pub(super) struct Windows {
    limit: RateLimit,
    owners: Mutex<Crowd<String>>,
    strangers: Mutex<Crowd<IpAddr>>,
}

/// The windows of one sort.
#[derive(Debug)]
struct Crowd<K> {
    windows: HashMap<K, Window>,
    /// Of all for whom there is no more room.
    others: Window,
}

/// The requests of the last window.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Windows {
    pub(super) fn new(limit: RateLimit) -> Windows {
        let (owners, strangers) = (Mutex::default(), Mutex::default());
        Windows { limit, owners, strangers }
    }

    /// Takes a place, or tells how long until one is free. A refused request takes none.
    pub(super) fn take(&self, asker: Asker<'_>, now: Instant) -> Result<(), Duration> {
        match asker {
            Asker::Owner(id) => lock(&self.owners).take(id.to_owned(), self.limit, now),
            Asker::Stranger(address) => {
                let network = network(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()));
                lock(&self.strangers).take(network, self.limit, now)
            }
        }
    }

    pub(super) fn words(&self) -> String {
        let RateLimit { requests, per } = self.limit;
        match per.as_secs() {
            60 => format!("{requests} API requests per minute"),
            _ => format!("{requests} API requests per {per:?}"),
        }
    }
}

impl<K> Default for Crowd<K> {
    fn default() -> Crowd<K> {
        Crowd { windows: HashMap::new(), others: Window::default() }
    }
}

impl<K: Eq + Hash> Crowd<K> {
    fn take(&mut self, who: K, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        if !self.windows.contains_key(&who) && self.windows.len() >= MAX_WINDOWS {
            self.windows.retain(|_, window| window.is_in_use(limit, now));
            if self.windows.len() >= MAX_WINDOWS {
                return self.others.take(limit, now);
            }
        }
        self.windows.entry(who).or_default().take(limit, now)
    }
}

impl Window {
    fn take(&mut self, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let Window(taken) = self;
        while taken.front().is_some_and(|first| now.duration_since(*first) >= limit.per) {
            taken.pop_front();
        }
        match taken.front() {
            Some(first) if taken.len() >= limit.requests => {
                Err(limit.per.saturating_sub(now.duration_since(*first)))
            }
            _ => {
                taken.push_back(now);
                Ok(())
            }
        }
    }

    fn is_in_use(&self, limit: RateLimit, now: Instant) -> bool {
        self.0.back().is_some_and(|last| now.duration_since(*last) < limit.per)
    }
}

/// What of an address one client is sure to have no choice of: an IPv6 client has a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const TWO: RateLimit = RateLimit { requests: 2, per: Duration::from_secs(60) };

    fn stranger(text: &str) -> Asker<'static> {
        Asker::Stranger(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_place_is_free_again_when_its_window_is_over() {
        let windows = Windows::new(TWO);
        let start = Instant::now();
        let take =
            |seconds| windows.take(Asker::Owner("usr"), start + Duration::from_secs(seconds));
        assert_eq!(take(0), Ok(()));
        assert_eq!(take(30), Ok(()));
        assert_eq!(take(45), Err(Duration::from_secs(15)));
        assert_eq!(take(60), Ok(()));
        assert_eq!(take(61), Err(Duration::from_secs(29)));
        assert_eq!(windows.words(), "2 API requests per minute");
    }

    #[test]
    fn nobody_uses_up_anothers_window() {
        let windows = Windows::new(TWO);
        let now = Instant::now();
        let is_taken = |asker| windows.take(asker, now).is_ok();
        let asks = [
            (Asker::Owner("bot_1"), [true, true, false]),
            (Asker::Owner("usr_1"), [true, true, false]),
            (stranger("192.0.2.1"), [true, true, false]),
            (stranger("::ffff:192.0.2.1"), [false; 3]),
            (stranger("192.0.2.2"), [true, true, false]),
            (stranger("2001:db8:0:1::1"), [true, true, false]),
            (stranger("2001:db8:0:1:ffff::2"), [false; 3]),
            (stranger("2001:db8:0:2::1"), [true, true, false]),
            (Asker::Stranger(None), [true, true, false]),
        ];
        for (asker, expected) in asks {
            assert_eq!([(); 3].map(|()| is_taken(asker)), expected, "{asker:?}");
        }
    }

    #[test]
    fn a_flood_of_addresses_shares_one_window_until_others_are_free_again() {
        let windows = Windows::new(TWO);
        let start = Instant::now();
        let at = |n: usize, now| {
            let address = Ipv4Addr::from_bits(u32::try_from(n).unwrap());
            windows.take(Asker::Stranger(Some(address.into())), now)
        };
        for n in 0..MAX_WINDOWS {
            assert_eq!(at(n, start), Ok(()));
        }
        let late: Vec<bool> = (0..3).map(|n| at(MAX_WINDOWS + n, start).is_ok()).collect();
        assert_eq!(late, [true, true, false]);
        assert_eq!(lock(&windows.strangers).windows.len(), MAX_WINDOWS);
        assert_eq!(windows.take(Asker::Owner("usr"), start), Ok(()), "owners are apart");
        assert_eq!(at(MAX_WINDOWS + 3, start + TWO.per), Ok(()));
        assert_eq!(lock(&windows.strangers).windows.len(), 1);
    }
}
