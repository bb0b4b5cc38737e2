//! What must be true of each destination, told as simply as possible.

use std::collections::BTreeSet;

use super::service::Service;
use crate::journal::Account;

/// What is known of the events of one destination.
#[derive(Default)]
pub(super) struct Truth {
    /// Accepted: each must arrive, or become a dead letter that its service wanted.
    pub owed: BTreeSet<u64>,
    /// Not accepted, or not for this destination: none may arrive.
    pub never: BTreeSet<u64>,
    /// Records appended when the destination was last taken out of force; `None` while it is in force.
    pub appended_at_end: Option<u64>,
}

impl Truth {
    /// An event that was not accepted for this destination.
    pub(super) fn forbid(&mut self, event: u64, service: &Service) {
        let was_sent = service.look(|seen| seen.sent.contains(&event));
        assert!(!was_sent, "{} was sent {event}, which was not accepted for it", service.name);
        self.never.insert(event);
    }

    /// What must hold at any moment.
    pub(super) fn check(&self, service: &Service, account: &Account) {
        let name = service.name;
        assert_eq!(account.imbalance(), 0, "{name}: the ledger does not add up: {account:?}");
        assert_eq!(account.dropped, 0, "{name}: records were given up: {account:?}");
        assert_eq!(account.lost, 0, "{name}: records were lost: {account:?}");
        if let Some(appended) = self.appended_at_end {
            assert_eq!(
                account.appended, appended,
                "{name}: something was appended for a destination that had gone"
            );
        }
        service.look(|seen| {
            let last = seen.sent_last.iter();
            let wrong: Vec<_> = last.filter(|event| self.never.contains(event)).collect();
            assert!(wrong.is_empty(), "{name} was sent what it must not have: {wrong:?}");
            seen.sent_last.clear();
            let needless = &seen.needless;
            assert!(needless.is_empty(), "{name} got copies without a cause: {needless:?}");
            let overtaking = &seen.overtaking;
            assert!(overtaking.is_empty(), "{name}: overtaken of the same key: {overtaking:?}");
            let disordered = &seen.disordered;
            assert!(disordered.is_empty(), "{name} got records out of order: {disordered:?}");
        });
    }

    /// What must hold once all services are well and nothing is pending.
    pub(super) fn check_end(&self, service: &Service, letters: &BTreeSet<u64>, account: &Account) {
        let name = service.name;
        assert_eq!(account.pending_records, 0, "{name}: something is still pending");
        service.look(|seen| {
            let missing: Vec<_> = self
                .owed
                .iter()
                .filter(|it| !seen.taken.contains_key(it) && !letters.contains(it))
                .collect();
            assert!(missing.is_empty(), "{name}: accepted and never delivered: {missing:?}");
            let unwanted: Vec<_> = letters.difference(&seen.refused).collect();
            assert!(unwanted.is_empty(), "{name}: dead letters that it took: {unwanted:?}");
        });
    }
}
