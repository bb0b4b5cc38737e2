//! How locks are taken: the one place that says what a panic elsewhere means.
//!
//! A thread that panics while it holds a lock poisons it. Here nobody minds: each place that changes
//! what a lock guards leaves it whole before anything that can fail, and a daemon that refused to go
//! on because one task failed would be worse than the failure. It wraps no lock and keeps no state.

#![expect(clippy::disallowed_types, reason = "here alone a poisoned lock is met")]

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Waits for a mutex, poisoned or not.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to read, poisoned or not.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to write, poisoned or not.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_is_taken_with_what_it_guards() {
        let (mutex, shared) = (Arc::new(Mutex::new(7)), Arc::new(RwLock::new(8)));
        let (held, held_shared) = (Arc::clone(&mutex), Arc::clone(&shared));
        let panicked = std::thread::spawn(move || {
            let _guards = (held.lock(), held_shared.write());
            panic!("while holding the locks");
        });
        assert!(panicked.join().is_err() && mutex.is_poisoned() && shared.is_poisoned());
        assert_eq!((*lock(&mutex), *read(&shared)), (7, 8));
        *write(&shared) += 1;
        assert_eq!(*read(&shared), 9);
    }
}
