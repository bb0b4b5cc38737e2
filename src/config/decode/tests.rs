//! What decoders asked for, so that the schema can be held to it.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    /// The settings that this thread's decoders have asked for, with whether they must be there.
    static ASKED: RefCell<BTreeMap<String, bool>> = const { RefCell::new(BTreeMap::new()) };
}

pub(in crate::config::decode) fn note(path: &str, required: bool) {
    let path = path.replace("[0]", "[]");
    ASKED.with_borrow_mut(|all| *all.entry(path).or_default() |= required);
}

/// Every setting asked for by this thread so far: `destinations[].id` and whether it is required.
pub(in crate::config) fn asked() -> BTreeMap<String, bool> {
    ASKED.with_borrow(Clone::clone)
}
