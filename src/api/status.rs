//! `/status`: the pipeline's reading as JSON.

use serde_json::{Value, json};

use crate::pipeline::{DestinationStatus, Status};

pub(super) fn to_json(status: &Status) -> Value {
    let subscriptions: Vec<Value> = status
        .subscriptions
        .iter()
        .map(|(id, counts)| {
            json!({
                "id": id.as_str(),
                "seen": counts.seen,
                "matched": counts.matched,
                "filter_errors": counts.filter_errors,
                "last_filter_error": counts.last_filter_error,
            })
        })
        .collect();
    let destinations: Vec<Value> = status.destinations.iter().map(destination).collect();
    json!({
        "ingest": {"accepted": status.accepted, "rejected": status.rejected},
        "subscriptions": subscriptions,
        "destinations": destinations,
        "journal": {
            "durability": status.journal.durability.to_string(),
            "bytes": status.journal.bytes,
            "segments": status.journal.segments,
            "damaged": status.journal.damaged,
            "error": status.journal.error,
        },
    })
}

pub(super) fn destination(status: &DestinationStatus) -> Value {
    json!({
        "id": status.id.as_str(),
        "target": status.kind,
        "removed": status.removed,
        "state": status.condition.state.as_str(),
        "pending_records": status.account.pending_records,
        "pending_bytes": status.account.pending_bytes,
        "oldest_pending_seconds": status.account.oldest_pending.as_secs_f64(),
        "accepted": status.account.accepted,
        "filtered_out": status.account.filtered_out,
        "delivered": status.account.delivered,
        "retried": status.condition.retried,
        "dead_lettered": status.account.dead_lettered,
        "dropped": status.account.dropped,
        "last_error": status.condition.last_error,
    })
}
