//! Requests that were not let in, gathered: whoever knocks a thousand times is told of once a minute.
//!
//! It decides nothing; the doors tell it what they refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::access::Scope;
use crate::lock::lock;

/// How often the same code and address are told at most.
const EVERY: Duration = Duration::from_secs(60);

/// Most codes and addresses that are kept apart; refusals of others are told together, without an address.
const MAX_KEPT: usize = 1_000;

/// What is told apart.
type Which = (Scope, &'static str, Option<IpAddr>);

/// Requests refused and not told yet.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<BTreeMap<Which, Untold>>);

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    told: Option<Instant>,
}

/// Refusals that are to be told together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gathered {
    pub(super) scope: Scope,
    pub(super) code: &'static str,
    /// None for several addresses together.
    pub(super) address: Option<IpAddr>,
    pub(super) count: u64,
}

impl Refused {
    /// Counts a request that was not let in.
    pub(super) fn note(&self, scope: Scope, code: &'static str, address: Option<IpAddr>) {
        let mut all = lock(&self.0);
        let which = (scope, code, address.map(|it| it.to_canonical()));
        let is_kept = all.len() < MAX_KEPT || all.contains_key(&which);
        let which = if is_kept { which } else { (scope, code, None) };
        all.entry(which).or_default().count += 1;
    }

    /// What is to be told now: each code and address when it first occurs, and then once a minute.
    pub(super) fn due(&self, now: Instant) -> Vec<Gathered> {
        let mut due = Vec::new();
        lock(&self.0).retain(|&(scope, code, address), untold| {
            if untold.told.is_some_and(|told| now.duration_since(told) < EVERY) {
                return true;
            }
            let count = std::mem::take(&mut untold.count);
            if count > 0 {
                untold.told = Some(now);
                due.push(Gathered { scope, code, address, count });
            }
            count > 0
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const WRONG: &str = "ERR_NGROK_203";

    fn note(refused: &Refused, n: u32) {
        refused.note(Scope::Api, WRONG, Some(Ipv4Addr::from_bits(n).into()));
    }

    fn counts(refused: &Refused, now: Instant) -> Vec<u64> {
        refused.due(now).iter().map(|it| it.count).collect()
    }

    #[test]
    fn one_code_and_address_are_told_at_once_and_then_once_a_minute_with_their_count() {
        let refused = Refused::default();
        let start = Instant::now();
        note(&refused, 1);
        assert_eq!(counts(&refused, start), [1]);
        (0..5).for_each(|_| note(&refused, 1));
        note(&refused, 2);
        assert_eq!(counts(&refused, start + EVERY / 2), [1], "another address");
        assert_eq!(counts(&refused, start + EVERY), [5]);
        assert_eq!(counts(&refused, start + 3 * EVERY), [0; 0]);
        assert!(lock(&refused.0).is_empty(), "nothing is kept of who came no more");
    }

    #[test]
    fn a_flood_of_addresses_is_told_together() {
        let refused = Refused::default();
        (0..3 * MAX_KEPT as u32).for_each(|n| note(&refused, n));
        let told = refused.due(Instant::now());
        assert_eq!(told.len(), MAX_KEPT + 1);
        assert_eq!(told.iter().map(|it| it.count).sum::<u64>(), 3 * MAX_KEPT as u64);
        assert_eq!(told.iter().filter(|it| it.address.is_none()).count(), 1);
    }
}
