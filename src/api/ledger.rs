//! `/ledger`: every destination's account as JSON, also of those that are configured no more.

use serde_json::{Value, json};

use crate::journal::Account;
use crate::resources::ResourceId;

/// The ledger in the shape of `GET /ledger`.
#[must_use]
pub fn ledger_to_json(accounts: &[(ResourceId, Account)]) -> Value {
    let balanced = accounts.iter().all(|(_, account)| account.imbalance() == 0);
    let destinations: Vec<Value> =
        accounts.iter().map(|(id, account)| entry(id, account)).collect();
    json!({"balanced": balanced, "destinations": destinations})
}

fn entry(id: &ResourceId, account: &Account) -> Value {
    json!({
        "id": id.as_str(),
        "accepted": account.accepted,
        "filtered_out": account.filtered_out,
        "delivered": account.delivered,
        "dead_lettered": account.dead_lettered,
        "dropped": account.dropped,
        "lost": account.lost,
        "pending": account.pending_records,
        "imbalance": account.imbalance(),
    })
}
