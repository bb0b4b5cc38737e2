//! What the verdicts of one answer come to, all together. What is done about it is the delivery task's matter.

use crate::pipeline::concurrency::Sign;
use crate::sinks::{Fault, FaultKind};

/// What an answer says of how much the service takes at a time. Where it throttles less than half of a
/// request, it is a part of the service that is short of room, and not the service.
pub(super) fn sign(fault: Option<&Fault>, failed: usize, sent: usize) -> Sign {
    match fault {
        None => Sign::Taken,
        Some(fault) if fault.unanswered => Sign::Silent,
        Some(fault) if fault.kind == FaultKind::Throttled && 2 * failed >= sent => Sign::Throttled,
        Some(_) if failed < sent => Sign::Taken,
        Some(_) => Sign::None,
    }
}

/// The graver of two faults, with the longer wait that was asked for.
pub(super) fn worse(one: Option<Fault>, other: Fault) -> Fault {
    let Some(one) = one else { return other };
    let retry_after = one.retry_after.max(other.retry_after);
    let unanswered = one.unanswered || other.unanswered;
    let graver = if one.kind >= other.kind { one } else { other };
    Fault { retry_after, unanswered, ..graver }
}

pub(super) fn no_verdict() -> Fault {
    let message = "the sink gave no verdict on the record".to_owned();
    Fault::new(FaultKind::Transient, message)
}
